//! `[runners.…]`, and agents with a `runner`: agent programs, the models that answer them, their workspaces.
use super::keys;
use super::machine::{self, Wanted};
use super::walk::{Item, Section};
use super::{checks, reach, sandbox};
use crate::config::values::refers;
use crate::domain::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Parses all tables.
pub(super) fn runners(
    top: &Section<'_>,
    models: &BTreeMap<String, ModelSpec>,
) -> BTreeMap<String, RunnerSpec> {
    let mut all = BTreeMap::new();
    let Some(table) = top.get("runners").and_then(|item| item.table()) else { return all };
    for (name, value) in table {
        let item = Item { file: top.file, value, name: "runners" };
        let before = top.file.errors();
        let made = item.section(keys::RUNNER).and_then(|section| runner(&section, name.get_ref(), models));
        if let Some(made) = made {
            all.insert(name.get_ref().to_string(), made);
        }
        if top.file.errors() > before {
            top.file.mark_broken("runners", name.get_ref());
        }
    }
    all
}

fn runner(section: &Section<'_>, name: &str, models: &BTreeMap<String, ModelSpec>) -> Option<RunnerSpec> {
    let preset = match section.get("preset") {
        Some(item) => Some(item.word::<RunnerPreset>()?),
        // A table with the name of a known program uses its preset.
        None => RunnerPreset::parse(name),
    };
    let known = preset.map(Preset::of);
    let protocol = protocol(section, known);
    let command = command(section, known);
    auth(section);
    let meter = meter(section, known, models);
    let env = section.env();
    if let (Some(argv), Some(item)) = (&command, section.own("command")) {
        let span = item.span();
        let wanted = Wanted { argv, cwd: None, env: Some(&env), folder: span.clone(), program: span };
        machine::program(section.file, &wanted);
    }
    Some(RunnerSpec {
        preset,
        protocol: protocol?,
        command: command?,
        version: section.get("version").and_then(version),
        meter: meter?,
        env,
        first_event: section.positive("first_event").unwrap_or(RunnerSpec::FIRST_EVENT),
        idle: section.positive("idle").unwrap_or(RunnerSpec::IDLE),
        sandbox: sandbox::setting(section),
    })
}

fn protocol(section: &Section<'_>, known: Option<&Preset>) -> Option<RunnerProtocol> {
    let given = match section.get("protocol") {
        Some(item) => Some((item, item.word::<RunnerProtocol>()?)),
        None => None,
    };
    let protocol = match (given, known) {
        (Some((_, protocol)), _) => protocol,
        (None, Some(preset)) => preset.protocol,
        (None, None) => {
            let hint = format!(
                "preset = one of {}; or `protocol` and `command` for another program",
                RunnerPreset::WORDS.join(", ")
            );
            return section.missing(&["preset", "protocol"], "a runner needs `preset`".into(), Some(hint));
        }
    };
    let refuse = |message: String, hint: &str| match given {
        Some((item, _)) => item.refuse_with(message, hint.to_owned()),
        None => section.missing(&["preset"], message, Some(hint.to_owned())),
    };
    if protocol == RunnerProtocol::Acp {
        return refuse(
            "protocol = \"acp\" is not supported yet".into(),
            "use a program that prints lines of JSON: preset = \"claude\", \"codex\", \"opencode\" or \"gemini\"",
        );
    }
    if let Some(preset) = known.filter(|preset| preset.protocol != protocol) {
        return refuse(
            format!("preset = \"{}\" prints {}, not {protocol}", preset.name, preset.protocol),
            "leave `protocol` out, or name the preset of the other program",
        );
    }
    Some(protocol)
}

fn command(section: &Section<'_>, known: Option<&Preset>) -> Option<Vec<String>> {
    let Some(item) = section.get("command") else {
        let Some(preset) = known else {
            let hint =
                "the program and its arguments: command = [\"my-agent\", \"--json\", \"{query}\"]".to_owned();
            return section.missing(
                &["command"],
                "a runner without `preset` needs `command`".into(),
                Some(hint),
            );
        };
        return Some(preset.command.iter().map(|word| (*word).to_owned()).collect());
    };
    let argv = item.command()?;
    if known.is_none() && !argv.iter().any(|word| word.contains(QUERY)) {
        return item.refuse_with(
            "this program never gets its query: no part of `command` has {query}".into(),
            "write {query} where the query belongs, as an argument of its own; also known: {model}, {meter}, {key}, {session}, {mcp}"
                .into(),
        );
    }
    Some(argv)
}

/// Checks whose credentials are used.
fn auth(section: &Section<'_>) {
    let Some(item) = section.get("auth") else { return };
    if item.word() == Some(RunnerAuth::Own) {
        item.refuse_with::<()>(
            "auth = \"own\": the program's own login can't be used yet".into(),
            "name a model with a key of its provider in `meter`; the program never sees the key".into(),
        );
    }
}

/// Parses the model that answers; the program must support its provider's wire format.
fn meter(
    section: &Section<'_>,
    known: Option<&Preset>,
    models: &BTreeMap<String, ModelSpec>,
) -> Option<String> {
    let Some(item) = section.get("meter") else {
        let hint =
            "name the [models.…] table that answers the program's requests: meter = \"main\"".to_owned();
        return section.missing(&["meter"], "a runner needs `meter`".into(), Some(hint));
    };
    let name = item.text()?;
    refers(item, name, "model", models.keys().map(String::as_str));
    let model = models.get(name)?;
    if let Some(preset) = known.filter(|preset| preset.wire(model.provider).is_none()) {
        let spoken: Vec<String> =
            preset.providers().map(|provider| format!("provider = \"{provider}\"")).collect();
        return item.refuse_with(
            format!(
                "{} does not send requests in the form of {}: the provider of model `{name}` is \"{}\"",
                preset.name,
                model.provider.wire(),
                model.provider
            ),
            format!("name a model with {}", spoken.join(" or ")),
        );
    }
    Some(name.to_owned())
}

fn version(item: Item<'_>) -> Option<RunnerVersion> {
    let text = item.text()?;
    let (expected, exact) = match text.strip_prefix('=') {
        Some(expected) => (expected.trim(), true),
        None => (text.trim(), false),
    };
    if !expected.starts_with(|c: char| c.is_ascii_digit()) || expected.contains(char::is_whitespace) {
        return item.refuse_with(
            format!("`{text}` is not a version"),
            "as in \"2.1\": another one is a warning; \"=2.1\": another one does not run".into(),
        );
    }
    Some(RunnerVersion { expected: expected.to_owned(), exact })
}

/// Parses the query of an agent with a `runner`.
pub(super) fn query(section: &Section<'_>, query: Item<'_>, named: Item<'_>, fleet: &Fleet) -> Option<Body> {
    let before = section.file.errors();
    let name = named.text()?;
    refers(named, name, "runner", fleet.runners.keys().map(String::as_str));
    if let Some(model) = section.own("model") {
        model.refuse_with::<()>(
            "an agent has a `model` or a `runner`, this one has both".into(),
            format!("the model that answers the program is `meter` of [runners.{name}]"),
        );
    }
    let runner = fleet.runners.get(name);
    let permissions = section.get("permissions").and_then(|item| permissions(item, runner));
    let workspace = section.get("workspace").map_or(Some(Workspace::Empty), workspace);
    let trusts_workspace = section.get("workspace").is_some_and(|item| trusts(item, name, runner));
    if let (Some(item), Some(preset)) = (section.get("workspace"), runner.and_then(RunnerSpec::preset))
        && preset.reads_workspace
    {
        let what = format!(
            "{} reads the settings and instructions for it in a workspace, and starts the servers that they name",
            preset.name
        );
        let hint =
            "its sandbox confines those as well; for a workspace that others write to, use another program";
        item.file.warn(item.span(), what, Some(hint.to_owned()));
    }
    let skills = super::skills::skills(section, &[]);
    if let Some(item) = section.get("skills")
        && runner.is_some_and(|runner| runner.preset.is_none())
    {
        item.refuse_with::<()>(
            format!(
                "it is not known where the program of [runners.{name}] reads instructions: it has no `preset`"
            ),
            "leave `skills` out, and let the query say how it is done".into(),
        );
    }
    let resume = super::resume::resume(section, name, runner, workspace.as_ref());
    let asks = permissions.as_ref().is_some_and(|permissions| !permissions.ask.is_empty());
    let handed = handed(section, name, runner, resume, asks, fleet);
    let text = query.text()?;
    if section.file.errors() > before {
        return None;
    }
    Some(Body::Runner(std::sync::Arc::new(RunnerQuery {
        query: text.to_owned(),
        system_instruction: section.text("system_instruction").map(str::to_owned),
        runner: name.to_owned(),
        workspace: workspace?,
        trusts_workspace,
        skills,
        permissions,
        resume,
        handed,
    })))
}

/// Parses the daemon's own tools that the program is handed. Those of `[defaults]` are for agents with a
/// model.
fn handed(
    section: &Section<'_>,
    name: &str,
    runner: Option<&RunnerSpec>,
    resume: ResumePolicy,
    asks: bool,
    fleet: &Fleet,
) -> HandedTools {
    let list = section.own("tools");
    if list.is_none() && !asks {
        return HandedTools::none();
    }
    let tools: Vec<String> = list.and_then(|_| section.texts("tools")).unwrap_or_default();
    for tool in list.and_then(|list| list.items()).unwrap_or_default() {
        checks::require_safe_for_model(tool, fleet);
    }
    if let Some(list) = list
        && runner.is_some_and(|runner| !runner.can_be_handed_tools())
        && !tools.is_empty()
    {
        list.refuse_with::<()>(
            format!("the program of [runners.{name}] never learns where its tools are: no part of it has {{mcp}}"),
            "write {mcp} in `env` where it takes the address of an MCP server over HTTP, and {key} where it takes the \
             bearer token of that"
                .into(),
        );
    }
    let (approval, route) = super::approval::approval(section, fleet);
    let approve = checks::guards(section, "approve", &tools, fleet);
    if (asks || approval == Approval::Wait && !approve.is_empty())
        && resume == ResumePolicy::Never
        && let Some(item) = ["approval", "permissions", "tools"].iter().find_map(|key| section.own(key))
    {
        item.refuse_with::<()>(
            "a program ends while a call of it waits for a person, and with resume = \"never\" it would start over".into(),
            "leave `resume` out, or ask nobody: approval = \"deny\", and no `ask` in `permissions`".into(),
        );
    }
    HandedTools { approve, sinks: checks::guards(section, "sinks", &tools, fleet), tools, approval, route }
}

fn permissions(item: Item<'_>, runner: Option<&RunnerSpec>) -> Option<Permissions> {
    let section = item.section(keys::PERMISSIONS)?;
    let default = section.word("default").unwrap_or(PermissionDefault::Deny);
    let rules = |key: &str| -> Option<Vec<PermissionRule>> {
        let Some(list) = section.get(key) else { return Some(Vec::new()) };
        Some(list.items()?.iter().filter_map(rule).collect())
    };
    let permissions = Permissions { default, allow: rules("allow")?, ask: rules("ask")? };
    if let Some(pattern) = permissions.asks_in_vain() {
        let place = section.get("ask").map_or(item.span(), |list| list.span());
        let what = format!(
            "`ask` has `execute:{pattern}`, and every other command is allowed: the same done in other words, such as by \
             `sh -c`, `env` or options before, is not asked about"
        );
        let hint =
            "name in `allow` the commands that it may run without a person, or put \"execute\" into `ask`";
        item.file.warn(place, what, Some(hint.to_owned()));
    }
    let preset = runner.and_then(RunnerSpec::preset);
    let which =
        || preset.map_or_else(|| "a program without a preset".to_owned(), |preset| preset.name.to_string());
    let holds = preset.is_some_and(|preset| preset.tools != PresetTools::NotHeld);
    if default == PermissionDefault::Deny && runner.is_some() && !holds {
        return item.refuse_with(
            format!("{} can't be made to obey `permissions`: it would do what they deny", which()),
            "leave them out, and let its `sandbox` bound it; or use preset = \"claude\"".into(),
        );
    }
    let asks = preset.is_some_and(|preset| !preset.judged.is_empty());
    if permissions.are_judged() && runner.is_some() && !asks {
        return item.refuse_with(
            format!(
                "{} asks nobody before it uses a tool, so neither `ask` nor a pattern can be enforced",
                which()
            ),
            "leave them out, and let its `sandbox` bound what commands can do; or use preset = \"claude\""
                .into(),
        );
    }
    Some(permissions)
}

/// Parses a kind, or commands by a pattern.
fn rule(item: &Item<'_>) -> Option<PermissionRule> {
    let text = item.text()?;
    let Some((kind, _)) = text.split_once(':') else { return item.word::<PermissionKind>().map(Into::into) };
    match PermissionRule::parse(text) {
        Some(rule) if rule.kind == PermissionKind::Execute => Some(rule),
        Some(_) => item.refuse_with(
            format!("`{text}`: only commands can be told apart, by \"execute:PATTERN\""),
            format!("write \"{kind}\", and let the `sandbox` bound which files and hosts are reached"),
        ),
        None => item.refuse_with(
            format!("`{text}` is neither a kind nor commands by a pattern"),
            format!(
                "a kind is one of {}; commands are \"execute:cargo test*\"",
                PermissionKind::WORDS.join(", ")
            ),
        ),
    }
}

/// Is the program given what its workspace says to it?
fn trusts(item: Item<'_>, name: &str, runner: Option<&RunnerSpec>) -> bool {
    let Some(section) = item.section(keys::WORKSPACE) else { return false };
    let trusts = section.flag("trust") == Some(true);
    if let Some(item) = section.get("trust").filter(|_| trusts)
        && runner.is_some_and(|runner| runner.preset.is_none())
    {
        item.refuse_with::<()>(
            format!(
                "it is not known where the program of [runners.{name}] reads instructions: it has no `preset`"
            ),
            "leave `trust` out, and let the query name the file that it is to read".into(),
        );
    }
    trusts
}

fn workspace(item: Item<'_>) -> Option<Workspace> {
    let section = item.section(keys::WORKSPACE)?;
    let path = |item: Item<'_>| Some(item.file.expand(item.text()?, item.span()));
    match (section.get("dir"), section.get("repo")) {
        (Some(folder), None) => {
            if let Some(item) = section.get("keep") {
                let message = "`keep` has no effect here: it is for a workspace with `repo`";
                item.file.warn(item.span(), message.to_owned(), None);
            }
            let path = path(folder)?;
            reach::judge(&folder, &path);
            refuse_repository(&folder, &path);
            Some(Workspace::Folder(path))
        }
        (None, Some(repo)) => {
            let keep = section.word("keep").unwrap_or(KeepBranch::Changed);
            Some(Workspace::Repository(RepositorySpec { path: path(repo)?, keep }))
        }
        (Some(_), Some(repo)) => {
            repo.refuse("a workspace is a `dir` or a clone of a `repo`, this one has both".into())
        }
        (None, None) => {
            let hint = "workspace = { repo = \"~/src/app\" } or { dir = \"~/notes\" }; without `workspace` it works in an \
                        empty folder";
            section.missing(
                &["dir", "repo"],
                "`workspace` needs `repo` or `dir`".into(),
                Some(hint.to_owned()),
            )
        }
    }
}

/// Refuses a folder in a repository: its settings can make git run programs as the user who runs git there,
/// so an agent program must not be able to write them.
fn refuse_repository(item: &Item<'_>, folder: &Path) {
    let look = item.file.context.look;
    let is_one = |folder: &&Path| holds_repository(|name| look(&folder.join(name)).is_ok());
    let Some(repository) = folder.ancestors().find(is_one) else { return };
    item.refuse_with::<()>(
        format!(
            "`{}` is in a git repository: the program could change its settings and hooks, and git runs those as you",
            folder.display()
        ),
        format!("write repo = \"{}\": it works in a clone, and what it made comes back as a branch", repository.display()),
    );
}
