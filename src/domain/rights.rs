//! What a configuration may do, in plain words: shown by `bgagent trust`, and compared to decide whether an
//! unreviewed change of a file extends its rights.
//!
//! All rights are lines of text, grouped by subject. Their texts are compared, so each line contains everything
//! that matters for one right: which program with which arguments, where, and with what in its environment. A new
//! configuration key that grants a right, such as another way out, needs a line in one of the functions here.
use super::agent::{AgentSpec, Body, CheckBody, QuerySpec, Schedule};
use super::export::RedisSpec;
use super::fleet::{
    EmailSpec, Fleet, McpEffect, McpSpec, ModelSpec, NotifyTarget, NotifyTargetKind, Price, Retention,
};
use super::memory::Memory;
use super::redis::{RedisMemorySpec, RedisServer};
use super::runner::{PermissionDefault, PermissionRule, RunnerQuery, RunnerSpec, Workspace};
use super::skill::SkillSpec;
use super::store_spec::StoreSpec;
use super::telemetry::TelemetrySpec;
use super::tool_use::ToolUse;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use words::{calls, headers, program, runs, secret, value, walls, with_env, word, word_of};

mod tools;
mod words;

pub use words::RightsOf;

/// What the rights of an agent are called.
fn about_agent(agent: &AgentSpec) -> String {
    format!("agent {}", word(agent.id.as_str()))
}

/// What the rights of the daemon itself are called.
const DAEMON: &str = "daemon";

/// The rights of a configuration, by subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rights(BTreeMap<String, RightsOf>);

impl Rights {
    /// Returns the rights of a fleet.
    pub fn of(fleet: &Fleet) -> Self {
        let mut all = BTreeMap::new();
        for agent in &fleet.agents {
            all.insert(about_agent(agent), of_agent(agent));
        }
        for (name, spec) in &fleet.tools {
            all.insert(format!("tool {}", word(name)), tools::of_tool(&spec.settings));
        }
        for (name, spec) in &fleet.mcp {
            all.insert(format!("MCP server {}", word(name)), of_server(spec));
        }
        for (name, spec) in &fleet.runners {
            all.insert(format!("runner {}", word(name)), of_runner(spec));
        }
        for (name, spec) in &fleet.models {
            all.insert(format!("model {}", word(name)), of_model(spec));
        }
        for (name, target) in &fleet.notify {
            all.insert(format!("receiver {}", word(name)), of_receiver(target));
        }
        let mut of_daemon = RightsOf::default();
        if let Some(ping) = &fleet.daemon.ping {
            of_daemon.may(format!("says at {} that it lives", value(&ping.url)));
        }
        if let Some(address) = &fleet.daemon.webhooks {
            of_daemon.may(format!("takes webhooks at {address}"));
        }
        of_retention(&fleet.daemon.retention, &mut of_daemon);
        if of_daemon != RightsOf::default() {
            all.insert(DAEMON.to_owned(), of_daemon);
        }
        for (name, hook) in &fleet.hooks {
            let mut rights = RightsOf::default();
            let key = secret(&hook.secret);
            rights.may(format!("lets whoever signs with {key} start agents (scheme {})", hook.scheme));
            all.insert(format!("webhook {}", word(name)), rights);
        }
        if let Some(spec) = &fleet.redis {
            all.insert("log".to_owned(), of_stream(spec));
        }
        if let Some(spec) = &fleet.memory {
            all.insert("memory".to_owned(), of_memory(spec));
        }
        if let Some(spec) = &fleet.telemetry {
            all.insert("telemetry".to_owned(), of_telemetry(spec));
        }
        if let Some(spec) = &fleet.store {
            all.insert("store".to_owned(), of_store(spec));
        }
        Self(all)
    }

    /// Returns whether no right is granted.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(|rights| rights.may.is_empty())
    }

    /// Returns the rights of one subject: an agent, tool, server, model or receiver.
    pub fn get(&self, about: &str) -> Option<&RightsOf> {
        self.0.get(about)
    }

    /// The skills of a fleet that are not among these rights as they are, each with the agent that has it.
    pub fn without<'f>(
        &self,
        fleet: &'f Fleet,
    ) -> impl Iterator<Item = (&'f Arc<AgentSpec>, &'f Arc<SkillSpec>)> {
        let all =
            fleet.agents.iter().flat_map(|agent| agent.body.skills().iter().map(move |skill| (agent, skill)));
        all.filter(|(agent, skill)| {
            let own = self.get(&about_agent(agent));
            own.is_none_or(|own| !own.may.contains(&follows(skill)))
        })
    }

    /// By what they are about, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RightsOf)> {
        self.0.iter().map(|(about, rights)| (about.as_str(), rights))
    }

    /// Returns what exceeds the trusted rights: new permissions, and restrictions that were removed.
    pub fn beyond(&self, trusted: &Self) -> Vec<String> {
        let none = RightsOf::default();
        let mut wider = Vec::new();
        for (about, rights) in &self.0 {
            let before = trusted.0.get(about).unwrap_or(&none);
            wider.extend(rights.may.difference(&before.may).map(|line| format!("{about} {line}")));
            wider
                .extend(before.held.difference(&rights.held).map(|line| format!("{about} no longer {line}")));
        }
        // the daemon exists even without a table
        if let (Some(before), None) = (trusted.0.get(DAEMON), self.0.get(DAEMON)) {
            wider.extend(before.held.iter().map(|line| format!("{DAEMON} no longer {line}")));
        }
        wider
    }
}

/// One skill, as it is.
fn follows(skill: &SkillSpec) -> String {
    let (name, folder) = (word(&skill.head.name), word_of(&skill.folder));
    format!("follows the skill {name} of {folder} (sha256 {})", skill.digest)
}

fn of_agent(agent: &AgentSpec) -> RightsOf {
    let mut rights = RightsOf::default();
    for schedule in agent.schedule.parts() {
        of_outside(schedule, &mut rights);
    }
    if let Some(why) = &agent.accept_risk {
        rights.may(format!("joins what strangers write, what is private and a way out, since {why:?}"));
    }
    match &agent.body {
        Body::Command(command) => {
            rights.may(runs(command));
            walls("its program", command.sandbox.as_deref(), &mut rights);
        }
        Body::Tool(call) => rights.may(calls(call)),
        Body::Query(query) => of_query(query, &mut rights),
        Body::Runner(query) => of_runner_query(query, &mut rights),
    }
    if let Some(uses) = agent.body.tool_use() {
        let who = if matches!(agent.body, Body::Runner(_)) { "the agent program" } else { "a model" };
        of_tools(who, uses, &mut rights);
    }
    for skill in agent.body.skills() {
        rights.may(follows(skill));
    }
    let proofs = agent.success_when.iter().map(|check| ("proof", check));
    for (what, check) in agent.gate.iter().map(|gate| ("gate", &**gate)).chain(proofs) {
        rights.may(match &check.body {
            CheckBody::Command(command) => format!("has a {what} that {}", runs(command)),
            CheckBody::Tool(call) => format!("has a {what} that {}", calls(call)),
        });
        if let CheckBody::Command(command) = &check.body {
            walls(&format!("a {what}"), command.sandbox.as_deref(), &mut rights);
        }
    }
    for target in agent.notify.iter().flat_map(|notify| &notify.to) {
        rights.may(format!("has messages about it sent to {}", word(target)));
    }
    for target in agent.deliver.iter().flat_map(|deliver| &deliver.to) {
        rights.may(format!("has its results sent to {}", word(target)));
    }
    if let Some(ping) = &agent.ping {
        rights.may(format!("says at {} how its runs go", value(&ping.url)));
    }
    if let Some(control) = agent.control {
        rights.may(format!("lets its programs ask the daemon, control {control}"));
    }
    rights
}

/// Adds the rights of external triggers: whoever starts an agent from outside chooses its input.
fn of_outside(schedule: &Schedule, rights: &mut RightsOf) {
    match schedule {
        Schedule::Webhook(name) => {
            rights.may(format!("is started by deliveries to the webhook {}, which it is given", word(name)));
        }
        Schedule::File(file) => {
            rights.may(format!("is started by files that arrive as {}", word(&file.pattern)))
        }
        Schedule::On(trigger) if trigger.untrusted => {
            let of = trigger.agent.as_ref().map(|agent| format!(" of {}", word(agent.as_str())));
            rights.may(format!(
                "is started by {}{}, also where strangers wrote what it tells",
                trigger.event,
                of.unwrap_or_default()
            ));
        }
        Schedule::Mcp(mcp) => {
            let args = match mcp.args.is_empty() {
                true => String::new(),
                false => format!(" with {}", serde_json::Value::Object(mcp.args.clone())),
            };
            let (server, event) = (word(&mcp.server), word(&mcp.event));
            rights.may(format!("is started by the MCP server {server} (event {event}{args})"));
        }
        _ => {}
    }
}

/// Adds access to the context of earlier runs, its own and others'.
fn of_query(query: &QuerySpec, rights: &mut RightsOf) {
    match (&query.session_id, query.memory) {
        (Some(session), _) => rights.may(format!("shares the session {}", word(session))),
        (None, Memory::Session { .. }) => {
            rights.may("reads in each run what its runs before have read and said")
        }
        (None, Memory::None | Memory::LastResult) => {}
    }
}

/// Adds retention periods that differ from the defaults: shorter ones remove data, longer ones keep it.
fn of_retention(retention: &Retention, rights: &mut RightsOf) {
    let Retention { runs, events, transcripts, output, max_db_size, workspaces } = *retention;
    let usual = Retention::default();
    for (what, span, usual) in [
        ("runs", runs, usual.runs),
        ("events", events, usual.events),
        ("transcripts", transcripts, usual.transcripts),
        ("output", output, usual.output),
    ] {
        match span.cmp(&usual) {
            Ordering::Less => rights.may(format!("removes {what} after {} seconds", span.as_secs())),
            Ordering::Equal => {}
            Ordering::Greater => rights.held(format!("keeps {what} for {} seconds", span.as_secs())),
        }
    }
    match max_db_size.cmp(&usual.max_db_size) {
        Ordering::Less => rights.may(format!("removes the oldest records past {max_db_size} bytes")),
        Ordering::Equal => {}
        Ordering::Greater => rights.held(format!("keeps records up to {max_db_size} bytes")),
    }
    let Some(workspaces) = workspaces else { return };
    match workspaces.cmp(&Retention::WORKSPACES) {
        Ordering::Less => rights.may(format!("removes the oldest work of runs past {workspaces} bytes")),
        Ordering::Equal => {}
        Ordering::Greater => rights.held(format!("keeps work of runs up to {workspaces} bytes")),
    }
}

/// Adds the rights of tool use. `who`: a model, or an agent program.
fn of_tools(who: &str, uses: ToolUse<'_>, rights: &mut RightsOf) {
    for tool in uses.tools {
        rights.may(format!("lets {who} call {}", word(tool)));
    }
    for tool in uses.sinks {
        rights.may(format!("lets {who} call {} after it has read what strangers wrote", word(tool)));
    }
    for target in uses.route.iter().flat_map(|route| &route.via) {
        rights.may(format!("lets people at {} allow calls that need a person", word(target)));
    }
    for tool in uses.approve {
        rights.held(format!("asks a person before it calls {}", word(tool)));
    }
}

fn of_runner_query(query: &RunnerQuery, rights: &mut RightsOf) {
    rights.may(format!("has the agent program {} do what it asks", word(&query.runner)));
    match &query.workspace {
        Workspace::Empty => {}
        Workspace::Folder(path) => rights.may(format!("lets it change {}", word_of(path))),
        Workspace::Repository(spec) => {
            let (path, keep) = (word_of(&spec.path), spec.keep);
            rights
                .may(format!("lets it work in a clone of {path}, branches of which come back (keep {keep})"));
        }
    }
    if query.trusts_workspace {
        rights.may("takes instructions and skills from its workspace");
    }
    let Some(permissions) = &query.permissions else { return };
    let named = |rules: &[PermissionRule]| match rules {
        [] => "nothing".to_owned(),
        rules => rules.iter().map(PermissionRule::to_string).collect::<Vec<_>>().join(", "),
    };
    if permissions.default == PermissionDefault::Deny {
        rights.held(format!("allows it {}, and nothing else", named(&permissions.allow)));
    }
    if !permissions.ask.is_empty() {
        rights.held(format!("asks a person before it does {}", named(&permissions.ask)));
    }
}

fn of_runner(spec: &RunnerSpec) -> RightsOf {
    let mut rights = RightsOf::default();
    let preset = spec.preset.map(|preset| format!(" as {preset}")).unwrap_or_default();
    rights.may(format!("runs {}{preset}{}", program(&spec.command), with_env(&spec.env)));
    rights.may(format!("has its requests answered by the model {}", word(&spec.meter)));
    walls("its program", spec.sandbox.unless_off().as_deref(), &mut rights);
    if let Some(version) = spec.version.as_ref().filter(|version| version.exact) {
        rights.held(format!("runs version {} only", word(&version.expected)));
    }
    rights
}

fn of_server(spec: &McpSpec) -> RightsOf {
    let mut rights = RightsOf::default();
    if let Some(argv) = &spec.command {
        let cwd = spec.cwd.as_deref().map(|cwd| format!(" in {}", word_of(cwd))).unwrap_or_default();
        rights.may(format!("runs {}{cwd}{}", program(argv), with_env(&spec.env)));
    }
    if spec.command.is_some() {
        walls("its program", spec.sandbox.unless_off().as_deref(), &mut rights);
    }
    if let Some(url) = &spec.url {
        rights.may(format!("is asked at {}", word(url)));
    }
    headers(&spec.headers, &mut rights);
    match &spec.allow {
        None => rights.may("offers all tools of which it says that they destroy nothing"),
        Some(allow) => allow.iter().for_each(|tool| rights.may(format!("offers {}", word(tool)))),
    }
    for tool in &spec.deny {
        rights.held(format!("does not offer {}", word(tool)));
    }
    for (tool, effect) in spec.effects.iter().filter(|(_, effect)| **effect < McpEffect::Effect) {
        rights.may(format!("is believed that {} is {effect}", word(tool)));
    }
    rights
}

fn of_model(spec: &ModelSpec) -> RightsOf {
    let mut rights = RightsOf::default();
    let place = spec.base_url.as_deref().map(|url| format!(" at {}", word(url))).unwrap_or_default();
    rights.may(format!("is asked of {}{place}", spec.provider));
    if let Some(key) = &spec.api_key {
        rights.may(format!("is sent {}", secret(key)));
    }
    headers(&spec.headers, &mut rights);
    // may mean anything to the provider: other models, programs, destinations
    for (name, sent) in &spec.settings.params {
        rights.may(format!("is sent the field {} of each request: {sent}", word(name)));
    }
    for other in &spec.fallback {
        rights.may(format!("has {} asked in its place", word(other)));
    }
    // limits in dollars depend on these prices
    if let Some(Price { input, cached_input, cache_write, output }) = spec.price {
        rights.held(format!(
            "counts {} at {input} for input, {cached_input} for cached input, {cache_write} for what is cached and {output} \
             for output (US dollars per million tokens)",
            word(&spec.model)
        ));
    }
    rights
}

fn of_receiver(target: &NotifyTarget) -> RightsOf {
    let mut rights = RightsOf::default();
    match &target.kind {
        NotifyTargetKind::Webhook(spec) => {
            rights.may(format!("is sent messages at {}", value(&spec.url)));
            headers(&spec.headers, &mut rights);
            if let Some(reference) = &spec.secret {
                rights.may(format!("is sent signatures by {}", secret(reference)));
            }
        }
        NotifyTargetKind::Service(spec) => {
            let keys: Vec<String> =
                spec.keys.iter().map(|(name, key)| format!("{name} {}", value(key))).collect();
            rights.may(format!("is sent messages by {}, {}", spec.kind, keys.join(", ")));
        }
        NotifyTargetKind::Command(command) => {
            rights.may(runs(command));
            walls("its program", command.sandbox.as_deref(), &mut rights);
        }
        NotifyTargetKind::File(path) => rights.may(format!("appends to {}", word_of(path))),
        NotifyTargetKind::Desktop => rights.may("shows messages on the screen"),
        NotifyTargetKind::Email(email) => mail(email, &mut rights),
    }
    rights
}

/// Returns the rights of the event stream, which contains all that agents do and say.
fn of_stream(spec: &RedisSpec) -> RightsOf {
    let mut rights = RightsOf::default();
    rights.may(format!(
        "is copied to the stream {} of Redis at {}{}, in the format {}",
        word(&spec.stream),
        word(&spec.server.place()),
        login(&spec.server),
        spec.format
    ));
    rights
}

/// Returns the rights of memory in Redis: whoever may write there can put text into the memory of agents.
fn of_memory(spec: &RedisMemorySpec) -> RightsOf {
    let mut rights = RightsOf::default();
    rights.may(format!(
        "keeps sessions and notes of agents below {} in Redis at {}{}, and believes what is there",
        word(&spec.prefix),
        word(&spec.server.place()),
        login(&spec.server)
    ));
    rights
}

fn login(server: &RedisServer) -> String {
    match (&server.username, &server.password) {
        (Some(name), Some(password)) => format!(", as {} with {}", value(name), secret(password)),
        (None, Some(password)) => format!(" with {}", secret(password)),
        _ => String::new(),
    }
}

/// Returns the rights of telemetry, which contains the names of agents, and what they do and cost.
fn of_telemetry(spec: &TelemetrySpec) -> RightsOf {
    let mut rights = RightsOf::default();
    if let Some(address) = &spec.prometheus {
        rights.may(format!("lets metrics be read at {}", word(address)));
    }
    if let Some(url) = &spec.otlp {
        let content = if spec.content { ", with what agents are asked and say" } else { "" };
        rights.may(format!("sends traces of runs to {}{content}", word(url)));
        headers(&spec.headers, &mut rights);
    }
    rights
}

/// Returns the rights of an external store, which contains all that agents do, say and remember.
fn of_store(spec: &StoreSpec) -> RightsOf {
    let mut rights = RightsOf::default();
    let login =
        spec.password.as_ref().map(|password| format!(" with {}", secret(password))).unwrap_or_default();
    rights.may(format!("is kept at {}, schema {}{login}", word(&spec.url), word(&spec.schema)));
    rights.may("gets agents from there, if a configuration was applied to the fleet".to_owned());
    rights
}

fn mail(email: &EmailSpec, rights: &mut RightsOf) {
    for to in &email.to {
        rights.may(format!("mails {}", word(to)));
    }
    let login = email.login.as_ref();
    let login = login.map(|(name, password)| format!(", as {} with {}", value(name), secret(password)));
    let (host, login) = (word(&email.host), login.unwrap_or_default());
    rights.may(format!("asks the mail server {host}:{} ({}){login}", email.port, email.tls));
}
