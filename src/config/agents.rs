//! From `[agents.…]` to specifications.
use super::deliver::{Runs, deliver};
use super::schedule::Schedules;
use super::walk::{Item, Section};
use super::{checks, keys, nodes, params, runners, sandbox};
use crate::config::values::{MIN_OUTPUT_BYTES, cwd, refers};
use crate::domain::*;
use jiff::SignedDuration;
use std::sync::Arc;

/// Returns all agents, sorted by name. Equal parts are shared, so that many agents need little memory.
pub(super) fn agents<'a>(top: &Section<'a>, fleet: &Fleet) -> Vec<Arc<AgentSpec>> {
    let defaults = top.get("defaults").and_then(|item| item.table());
    let keys: Vec<keys::Key> =
        keys::AGENT.iter().copied().filter(|key| !keys::OWN.contains(&key.name)).collect();
    let guarded = top.get("defaults").and_then(|item| item.section(&keys));
    let Some(table) = top.get("agents").and_then(|item| item.table()) else { return Vec::new() };
    let mut builder =
        AgentBuilder { fleet, schedules: Schedules::of(fleet), limits: Vec::new(), no_checks: Arc::from([]) };
    let mut all = Vec::with_capacity(table.len());
    for (name, value) in table {
        let text = name.get_ref().as_ref();
        let id = match text.parse::<AgentId>().map_err(|error| error.why()) {
            Ok(id) if !text.starts_with('-') => id,
            other => {
                let flag = "it begins with `-`, as the flags of a command line do";
                let why = other.err().unwrap_or_else(|| flag.to_owned());
                let message = format!("`{text}` is not a valid agent name");
                top.file.error(Some(name.span()), message, Some(why));
                top.file.mark_broken("agents", text);
                continue;
            }
        };
        let item = Item { file: top.file, value, name: "agents" };
        let before = top.file.errors();
        if let Some(mut section) = item.section(keys::AGENT) {
            section.span = name.span();
            section.defaults = defaults;
            section.misspelled.extend(guarded.iter().flat_map(|defaults| &defaults.misspelled));
            all.extend(builder.agent(&section, id).map(Arc::new));
        }
        if top.file.errors() > before {
            top.file.mark_broken("agents", text);
        }
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    super::approval::refuse_shared_account(top, table, &all, fleet);
    if let Some(defaults) = guarded
        && !any_broken(top, table)
    {
        checks::default_guards(&defaults, &all, fleet);
    }
    all
}

struct AgentBuilder<'f> {
    fleet: &'f Fleet,
    schedules: Schedules<'f>,
    limits: Vec<Arc<Limits>>,
    no_checks: Arc<[Check]>,
}

impl AgentBuilder<'_> {
    fn agent(&mut self, section: &Section<'_>, id: AgentId) -> Option<AgentSpec> {
        let (line, _) = section.file.place(section.span.start);
        let schedule = self.schedules.schedule(section);
        let from_outside = schedule.as_ref().is_some_and(Schedule::is_from_outside);
        let active_times = self.schedules.active_times(section);
        let params = params::params(section, schedule.as_ref(), self.schedules.zone(section));
        let body = self.body(section);
        let walls = sandbox::setting(section);
        let gate =
            section.get("gate").and_then(|item| checks::check(item, self.fleet, &walls, None)).map(Arc::new);
        let success_when = self.success_when(section, &body);
        let limits = self.limits(section, &body);
        let jitter = section.duration("jitter").unwrap_or(SignedDuration::ZERO);
        if let (Some(period), Some(item)) =
            (schedule.as_ref().and_then(Schedule::interval), section.get("jitter"))
            && jitter >= period
        {
            item.refuse::<()>("`jitter` must be shorter than the interval".into());
        }
        let history = self.history(section, &body);
        let is_model = body.as_ref().is_some_and(Body::asks_models);
        let has_gate = section.get("gate").is_some() || section.misspelled.contains(&"gate");
        let runs = Runs { fleet: self.fleet, body: body.as_ref(), has_gate };
        let deliver = deliver(section, &runs);
        let mut spec = AgentSpec {
            id,
            description: section.text("description").map(Into::into),
            schedule: schedule.unwrap_or(Schedule::Manual),
            active_times,
            params,
            jitter,
            first_run: section.word("first_run").unwrap_or(FirstRun::Now),
            catch_up: catch_up(section),
            overlap: section.word("overlap").unwrap_or(if from_outside {
                Overlap::Queue
            } else {
                Overlap::Skip
            }),
            enabled: section.flag("enabled").unwrap_or(true),
            gate,
            success_when,
            limits,
            retry: retry(section, is_model),
            circuit: circuit(section),
            lock: section.text("lock").map(Arc::from),
            notify: self.notify(section),
            deliver,
            late_after: section.positive("late_after"),
            slow_after: section.positive("slow_after"),
            ping: section.get("ping").and_then(|item| super::ping::ping(item, keys::PING)).map(Arc::new),
            accept_risk: accept_risk(section),
            on_nodes: nodes::wanted(section),
            when_cut_off: section.word("when_cut_off").filter(|word| *word != WhenCutOff::Stop),
            history,
            control: section.word("control").filter(|control| *control != Control::None),
            // Last, so that all errors of the agent are reported at once.
            body: body?,
            config_hash: ConfigHash(0),
            line: 0,
        };
        nodes::check_nodes(section, &spec, self.fleet);
        spec.config_hash = identity::of_agent(&spec);
        spec.line = line;
        Some(spec)
    }

    fn body(&self, section: &Section<'_>) -> Option<Body> {
        let given: Vec<Item<'_>> =
            ["query", "tool", "command"].into_iter().filter_map(|name| section.own(name)).collect();
        let item = match given[..] {
            [one] => one,
            [] => {
                let hint = "give it a `query` (a model), a `tool` or a `command`".to_owned();
                let keys = &["query", "tool", "command"];
                return section.missing(keys, "this agent has nothing to run".into(), Some(hint));
            }
            [first, second, ..] => {
                return second.refuse(format!(
                    "an agent runs one thing, this one has `{}` and `{}`",
                    first.name, second.name
                ));
            }
        };
        if let (Some(args), false) = (section.own("args"), item.name == "tool") {
            args.refuse::<()>("`args` are for agents with a `tool`".into());
        }
        match item.name {
            "command" => {
                let (argv, (cwd, default_cwd)) = (item.command()?, cwd(section));
                Some(Body::Command(Arc::new(CommandSpec {
                    argv,
                    env: section.env(),
                    cwd,
                    default_cwd,
                    stdin: section.text("stdin").map(str::to_owned),
                    sandbox: sandbox::setting(section).if_asked(),
                })))
            }
            "tool" => checks::tool_call(item, section.own("args"), self.fleet)
                .map(|call| Body::Tool(Arc::new(call))),
            _ => self.query(section, item),
        }
    }

    fn query(&self, section: &Section<'_>, item: Item<'_>) -> Option<Body> {
        if let Some(runner) = section.own("runner") {
            return runners::query(section, item, runner, self.fleet);
        }
        let query = item.text();
        let name = match section.get("model") {
            Some(model) => model.text().inspect(|name| {
                refers(model, name, "model", self.fleet.models.keys().map(String::as_str));
            }),
            None if ["model", "runner"].iter().any(|key| section.misspelled.contains(key)) => None,
            None => {
                let hint =
                    "name a [models.…] table: model = \"main\"; or an agent program: runner = \"claude\""
                        .to_owned();
                item.refuse_with("an agent with a `query` needs a `model`".into(), hint)
            }
        };
        let tools = section.texts("tools").unwrap_or_default();
        if let Some(list) = section.get("tools") {
            for tool in list.items().unwrap_or_default() {
                checks::require_safe_for_model(tool, self.fleet);
            }
        }
        let memory = match section.get("memory") {
            None => Memory::None,
            Some(item) => memory(item, self.fleet).unwrap_or(Memory::None),
        };
        let skills = super::skills::skills(section, &tools);
        let (query, name) = (query?.to_owned(), name?);
        let (approval, route) = super::approval::approval(section, self.fleet);
        Some(Body::Query(Arc::new(QuerySpec {
            query,
            system_instruction: section.text("system_instruction").map(str::to_owned),
            model: name.to_owned(),
            approve: checks::guards(section, "approve", &tools, self.fleet),
            sinks: checks::guards(section, "sinks", &tools, self.fleet),
            tools,
            memory,
            session_id: section.text("session_id").map(str::to_owned),
            approval,
            route,
            output_schema: section.get("output_schema").map(checks::output_schema),
            skills,
        })))
    }

    /// `history = "changes"` is only for a probe: of other bodies it is not known whether all is well.
    fn history(&self, section: &Section<'_>, body: &Option<Body>) -> History {
        let Some(item) = section.own("history") else { return History::All };
        if item.word() != Some(History::Changes) {
            return History::All;
        }
        let (Some(body), refuse) =
            (body, |why: &str, hint: &str| item.refuse_with::<()>(why.into(), hint.into()))
        else {
            return History::All;
        };
        if !matches!(body, Body::Tool(call) if self.fleet.kind_of(&call.tool) == Some(ToolKind::Probe)) {
            refuse(
                "history = \"changes\" is for agents with tool = \"probe\": only of a probe it is known whether all is well",
                "leave it out: all runs are kept as long as `retention` says",
            );
        } else if section.get("gate").is_some() {
            refuse(
                "history = \"changes\" does not go with a `gate`: whether a run leaves a record would be decided twice",
                "make the probe the gate, or leave the gate out",
            );
        } else if section.get("success_when").is_some() {
            refuse(
                "history = \"changes\" does not go with `success_when`: a run without a record can't be proved",
                "put what is to be proved into `checks`",
            );
        }
        History::Changes
    }

    /// Returns the proofs. A proof of what an agent program has done executes files that the program wrote:
    /// it runs in the same folder and within the same sandbox.
    fn success_when(&self, section: &Section<'_>, body: &Option<Body>) -> Arc<[Check]> {
        let own = sandbox::setting(section);
        let runner = match body {
            Some(Body::Runner(query)) => self.fleet.runners.get(&query.runner),
            _ => None,
        };
        let (walls, folder) = match runner {
            Some(runner) => {
                // `sandbox = false` is meant for programs that a person wrote, not for what a model has
                // written.
                let own = if own == SandboxSetting::Off { SandboxSetting::Unset } else { own };
                let walls = own.or(&runner.sandbox).or(&SandboxSetting::On(Arc::default()));
                (walls, Some(WORK))
            }
            None => (own, None),
        };
        let Some(items) = section.get("success_when").and_then(|item| item.items()) else {
            return self.no_checks.clone();
        };
        if items.is_empty() {
            return self.no_checks.clone();
        }
        let check = |item: Item<'_>| {
            let check = checks::check(item, self.fleet, &walls, folder)?;
            if check.novel_by.is_empty() {
                return Some(check);
            }
            item.refuse("`novel_by` is for a gate: a check of `success_when` has `expect`".into())
        };
        items.into_iter().filter_map(check).collect()
    }

    fn limits(&mut self, section: &Section<'_>, body: &Option<Body>) -> Arc<Limits> {
        let (requests, tokens) = match body {
            Some(Body::Runner(_)) => (RunnerSpec::REQUEST_LIMIT, RunnerSpec::TOTAL_TOKENS_LIMIT),
            _ => (20, 100_000),
        };
        let limits = Limits {
            timeout: section.positive("timeout").unwrap_or(SignedDuration::from_mins(10)),
            total_timeout: section.positive("total_timeout"),
            tool_call_timeout: section.positive("tool_call_timeout").unwrap_or(SignedDuration::from_secs(30)),
            request_limit: section.whole("request_limit", 1).unwrap_or(requests),
            total_tokens_limit: section.whole("total_tokens_limit", 1).unwrap_or(tokens),
            max_steps: section.whole("max_steps", 1).unwrap_or(30),
            max_usd_per_run: section.number("max_usd_per_run"),
            usd_per_day: section.number("usd_per_day"),
            tokens_per_day: section.whole("tokens_per_day", 0),
            requests_per_day: section.whole("requests_per_day", 0),
            max_output: section.size_of_at_least("max_output", MIN_OUTPUT_BYTES, "1KiB").unwrap_or(1 << 20),
        };
        if let Some(known) = self.limits.iter().find(|known| ***known == limits) {
            return known.clone();
        }
        let limits = Arc::new(limits);
        if self.limits.len() < 64 {
            self.limits.push(limits.clone());
        }
        limits
    }

    fn notify(&self, section: &Section<'_>) -> Option<Arc<NotifySpec>> {
        let whole = section;
        let section = section.get("notify")?.section(keys::NOTIFY_KEYS)?;
        let Some(list) = section.get("to") else {
            let hint = "name [notify.…] tables: to = [\"ops\"]".to_owned();
            return section.missing(&["to"], "`notify` needs `to`".into(), Some(hint));
        };
        let mut to = Vec::new();
        for item in list.items().unwrap_or_default() {
            let Some(name) = item.text() else { continue };
            refers(item, name, "notify target", self.fleet.notify.keys().map(String::as_str));
            to.push(name.to_owned());
        }
        let on = match section.get("on") {
            None => {
                let of_silence = [("late_after", TellOn::Late), ("slow_after", TellOn::Slow)];
                let asked = of_silence.into_iter().filter(|(key, _)| whole.get(key).is_some());
                TellOn::USUAL.iter().copied().chain(asked.map(|(_, on)| on)).collect()
            }
            Some(list) => list.items().unwrap_or_default().iter().filter_map(Item::word).collect(),
        };
        let repeat = section.positive("repeat").unwrap_or(SignedDuration::from_hours(6));
        Some(Arc::new(NotifySpec { to, on, repeat }))
    }
}

/// Returns whether any agent has an error. Then it is not known which tools are used.
fn any_broken(top: &Section<'_>, table: &toml::de::DeTable<'_>) -> bool {
    table.keys().any(|name| top.file.is_broken("agents", name.get_ref()))
}

/// Returns why a risk is accepted; an empty text is refused.
fn accept_risk(section: &Section<'_>) -> Option<Box<str>> {
    let item = section.own("accept_risk")?;
    let why = item.text()?.trim();
    if why.is_empty() {
        let hint = "say why nothing can go wrong, or who has agreed to it; or leave it out".to_owned();
        return item.refuse_with("`accept_risk` says nothing".into(), hint);
    }
    Some(why.into())
}

fn catch_up(section: &Section<'_>) -> CatchUp {
    let mut rule = CatchUp { policy: CatchUpPolicy::Latest, max: 10, max_age: None, spread: None };
    let Some(item) = section.get("catch_up") else { return rule };
    if item.value.get_ref().is_str() {
        rule.policy = item.word().unwrap_or(rule.policy);
    } else if let Some(section) = item.section(keys::CATCH_UP_TABLE) {
        rule.policy = section.word("policy").unwrap_or(rule.policy);
        rule.max = section.whole("max", 1).map_or(10, |max| u32::try_from(max).unwrap_or(u32::MAX));
        rule.max_age = section.positive("max_age");
        rule.spread = section.duration("spread");
    }
    rule
}

fn retry(section: &Section<'_>, is_model: bool) -> RetrySpec {
    let mut rule = RetrySpec {
        max: if is_model { 2 } else { 0 },
        backoff: Backoff::Exponential,
        initial: SignedDuration::from_secs(10),
        max_delay: SignedDuration::from_mins(5),
        explicit: false,
    };
    let Some(section) = section.get("retry").and_then(|item| item.section(keys::RETRY)) else { return rule };
    rule.explicit = true;
    rule.max = section.whole("max", 0).map_or(2, |max| u32::try_from(max).unwrap_or(u32::MAX));
    rule.backoff = section.word("backoff").unwrap_or(rule.backoff);
    if let Some(initial) = section.duration("initial") {
        rule.initial = initial;
    }
    if let Some(longest) = section.duration("max_delay") {
        rule.max_delay = longest;
    }
    rule
}

fn circuit(section: &Section<'_>) -> CircuitSpec {
    let mut rule = CircuitSpec { open_after: 5, cooldown: SignedDuration::from_hours(1) };
    let Some(section) = section.get("circuit_breaker").and_then(|item| item.section(keys::CIRCUIT)) else {
        return rule;
    };
    if let Some(after) = section.whole("open_after", 0) {
        rule.open_after = u32::try_from(after).unwrap_or(u32::MAX);
    }
    if let Some(cooldown) = section.duration("cooldown") {
        rule.cooldown = cooldown;
    }
    rule
}

fn memory(item: Item<'_>, fleet: &Fleet) -> Option<Memory> {
    let of = |mode: MemoryMode, max_tokens: u64, store: MemoryStore| match mode {
        MemoryMode::None => Memory::None,
        MemoryMode::LastResult => Memory::LastResult,
        MemoryMode::Session => Memory::Session { max_tokens, store },
    };
    if item.value.get_ref().is_str() {
        return item.word().map(|mode| of(mode, 8000, MemoryStore::Database));
    }
    let section = item.section(keys::MEMORY_TABLE)?;
    let max_tokens = section.whole("max_tokens", 1).unwrap_or(8000);
    let store = section.word("store").unwrap_or(MemoryStore::Database);
    let mode = section.get("mode").map_or(Some(MemoryMode::None), |mode| mode.word())?;
    if let (Some(place), MemoryStore::Redis) = (section.own("store"), store) {
        if mode != MemoryMode::Session {
            return place.refuse_with(
                format!("`store = \"redis\"` is for `mode = \"session\"`, and this is \"{mode}\""),
                "write mode = \"session\", or leave `store` out".into(),
            );
        }
        if fleet.memory.is_none() {
            return place.refuse_with(
                "there is no [memory.redis] that says where".into(),
                "add [memory.redis] with url = \"redis://host:6379/0\"".into(),
            );
        }
    }
    Some(of(mode, max_tokens, store))
}
