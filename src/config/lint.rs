//! Contradictions in a configuration whose keys are each valid (section 2).
use super::document::File;
use super::reach;
use super::walk::Section;
use crate::domain::*;
use place::{Place, SCHEDULE, place};
use std::collections::{BTreeMap, BTreeSet};
use toml::de::DeTable;

mod clock;
mod databases;
mod money;
mod outside;
mod place;
mod risk;
mod servers;

/// Reports contradictions.
pub(super) fn fleet<'a>(file: &'a File<'a>, top: &Section<'a>, fleet: &Fleet) {
    let table = top.get("agents").and_then(|item| item.value.get_ref().as_table());
    if table.is_none_or(|table| table.is_empty()) && file.errors() == 0 {
        file.warn_whole(
            "the file has no agents".into(),
            Some("add an [agents.NAME] table; `bgagent init` writes examples".into()),
        );
    }
    databases::lint(file, top, fleet);
    reach::others(file, top, fleet);
    let Some(table) = table else { return };
    money::of_fleet(file, top, fleet);
    let defaults = top.get("defaults").and_then(|item| item.value.get_ref().as_table());
    let zone = clock::zone_is_known(top);
    let mut linted = BTreeMap::new();
    for agent in &fleet.agents {
        let at = Place { file, table, defaults, agent };
        lint(&at, fleet);
        clock::lint(&at, zone, &mut linted);
        outside::lint(&at);
    }
    cycles(file, table, fleet);
}

fn lint(at: &Place<'_>, fleet: &Fleet) {
    let agent = at.agent;
    let limits = &agent.limits;
    if limits.tool_call_timeout > limits.timeout
        && calls_tools(agent)
        && at.knows(&["tool_call_timeout", "timeout"])
    {
        at.file.warn(
            at.of("tool_call_timeout"),
            format!(
                "`tool_call_timeout` ({}) is longer than `timeout` ({})",
                human_duration(limits.tool_call_timeout),
                human_duration(limits.timeout)
            ),
            Some("the shorter one ends the call".into()),
        );
    }
    if let Some(total) = limits.total_timeout.filter(|_| at.knows(&["total_timeout", "timeout", "retry"])) {
        let least = agent.retry.initial;
        if total < limits.timeout {
            at.file.warn(
                at.of("total_timeout"),
                "`total_timeout` is shorter than the `timeout` of one attempt".into(),
                None,
            );
        } else if agent.retry.max > 0 && agent.retry.explicit && total <= least {
            at.file.warn(
                at.of("total_timeout"),
                "no retry can fit into `total_timeout`".into(),
                Some("make it longer than `retry.initial`".into()),
            );
        }
    }
    if let Some(period) = agent.schedule.interval()
        && agent.overlap == Overlap::Parallel
        && limits.timeout > period
        && at.knows(&["overlap", "timeout"])
    {
        let message = format!(
            "with `overlap = \"parallel\"` runs may pile up: each may take {}, and one starts every {}",
            human_duration(limits.timeout),
            human_duration(period)
        );
        at.file.warn(at.of("overlap"), message, Some("shorten `timeout`, or use another `overlap`".into()));
    }
    without_effect(at, fleet);
    if at.has("env") && !matches!(agent.body, Body::Command(_)) {
        at.file.warn(
            at.of("env"),
            "`env` is for agents with a `command`; it has no effect here".into(),
            Some("MCP servers are shared by all agents: give them theirs in `env` of [mcp.NAME]".into()),
        );
    }
    unfilled_placeholders(at);
    history_changes(at, fleet);
    feed_gate(at, fleet);
    always_open(at, fleet);
    money::of_agent(at, fleet);
    servers::of_agent(at, fleet);
    risk::of_agent(at, fleet);
}

/// Returns whether any part of it calls a tool: its runner, its gate or a proof.
fn calls_tools(agent: &AgentSpec) -> bool {
    let mut checks = agent.gate.as_deref().into_iter().chain(agent.success_when.iter());
    let is_handed = matches!(&agent.body, Body::Runner(query) if !query.handed.tools.is_empty());
    is_handed
        || matches!(agent.body, Body::Query(_) | Body::Tool(_))
        || checks.any(|check| matches!(check.body, CheckBody::Tool(_)))
}

/// Warns of keys of the agent itself that have no effect with its schedule and its runner.
fn without_effect(at: &Place<'_>, fleet: &Fleet) {
    const OF_QUERIES: &[&str] = &[
        "system_instruction",
        "skills",
        "model",
        "tools",
        "approve",
        "approval",
        "sinks",
        "accept_risk",
        "output_schema",
        "session_id",
        "request_limit",
        "total_tokens_limit",
        "max_steps",
        "max_usd_per_run",
        "usd_per_day",
        "tokens_per_day",
        "requests_per_day",
    ];
    const OF_MODELS: &[&str] = &["output_schema", "session_id", "memory"];
    const OF_TOOLS: &[&str] = &["approve", "approval", "sinks", "accept_risk", "max_steps"];
    const OF_RUNNERS: &[&str] = &["workspace", "permissions", "resume"];
    const OF_COMMANDS: &[&str] = &["stdin", "cwd", "max_output"];
    let agent = at.agent;
    let mut found: Vec<(&str, &str)> = Vec::new();
    match agent.body {
        Body::Query(_) => {}
        Body::Runner(ref query) => {
            found.extend(OF_MODELS.iter().map(|key| (*key, "agents with a `model`")));
            if query.handed.tools.is_empty() && at.knows(&["tools"]) {
                found.extend(OF_TOOLS.iter().map(|key| (*key, "agents with `tools`")));
            }
        }
        Body::Tool(_) | Body::Command(_) => {
            found.extend(OF_QUERIES.iter().chain(&["runner"]).map(|key| (*key, "agents with a `query`")));
        }
    }
    if !matches!(agent.body, Body::Runner(_)) {
        found.extend(OF_RUNNERS.iter().map(|key| (*key, "agents with a `runner`")));
    }
    if !matches!(agent.body, Body::Command(_)) {
        found.extend(OF_COMMANDS.iter().map(|key| (*key, "agents with a `command`")));
    }
    if !matches!(agent.body, Body::Command(_) | Body::Runner(_)) {
        found.push(("when_cut_off", "agents with a `command` or a `runner`"));
    } else if fleet.store.is_none() {
        found.push(("when_cut_off", "fleets with records on a server ([store])"));
    }
    if fleet.store.is_none() {
        found.push(("where", "fleets with records on a server ([store]): this daemon is the only one"));
    }
    let scheduled = at.knows(SCHEDULE);
    if scheduled && agent.schedule.interval().is_none() {
        found.push(("first_run", "agents with an `interval`"));
    }
    if scheduled && !agent.schedule.has_slots() {
        found.push(("late_after", "agents with slots: interval, after, cron, at or when"));
        found.extend(
            ["jitter", "catch_up"].map(|key| (key, "agents with slots: interval, after, cron, at or when")),
        );
    }
    let goes_by_clock = |part: &Schedule| matches!(part, Schedule::Cron(_) | Schedule::At(_));
    if scheduled && agent.active_times.is_none() && !agent.schedule.parts().iter().any(goes_by_clock) {
        found.push(("timezone", "agents with `cron`, `at` or `active`"));
    }
    if scheduled && matches!(agent.schedule, Schedule::Manual) {
        let whom = "agents that start by themselves: this one has no schedule";
        found.extend(["active", "except", "only"].map(|key| (key, whom)));
    }
    for (key, whom) in found.into_iter().filter(|(key, _)| at.has(key)) {
        at.file.warn(at.of(key), format!("`{key}` has no effect here: it is for {whom}"), None);
    }
}

/// Warns of placeholders in a query or in arguments that are never filled, or are misspelled.
fn unfilled_placeholders(at: &Place<'_>) {
    let (key, text) = match &at.agent.body {
        Body::Query(query) => ("query", query.query.clone()),
        Body::Tool(call) => ("args", call.args.to_string()),
        Body::Runner(query) => ("query", query.query.clone()),
        Body::Command(command) => return placeholders_of_command(at, command),
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let names = text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    for name in names.filter(|name| !name.is_empty() && name.chars().all(is_word)) {
        let (first, rest) =
            name.split_once('.').map_or((name, ""), |(first, _)| (first, &name[first.len()..]));
        let (what, hint) = match first {
            "gate" if !at.knows(&["gate"]) => continue,
            "param" if !at.knows(&["params"]) => continue,
            "event" | "after" if !at.knows(SCHEDULE) => continue,
            "gate" if at.agent.gate.is_none() => {
                ("this agent has no `gate`: `{gate}` will be empty".to_owned(), None)
            }
            "after" => match unfilled(&at.agent.schedule, rest) {
                Some((why, hint)) => (format!("`{{{name}}}` will be empty: {why}"), Some(hint)),
                None => continue,
            },
            "event" if at.agent.schedule.has_slots() || at.agent.schedule == Schedule::Manual => (
                format!("no event starts this agent: `{{{name}}}` will be empty"),
                Some("it needs `on`".to_owned()),
            ),
            "param" => match unknown_param(at.agent, rest) {
                Some((why, hint)) => (format!("`{{{name}}}` stays as it is: {why}"), Some(hint)),
                None => continue,
            },
            "gate" | "event" => continue,
            other => match nearest(other, ["gate", "event", "after", "param"].into_iter()) {
                Some(near) => (
                    format!("`{{{name}}}` is filled by nothing and stays as it is"),
                    Some(format!("did you mean `{{{near}{rest}}}`?")),
                ),
                None => continue,
            },
        };
        at.file.warn(at.of(key), what, hint);
    }
}

/// Warns about placeholders in a command, which are not filled: a program gets the values in its environment, where no shell
/// interprets them.
fn placeholders_of_command(at: &Place<'_>, command: &CommandSpec) {
    let holders = [("event", "BGAGENT_EVENT"), ("after", "BGAGENT_EVENT"), ("param", "BGAGENT_PARAM_NAME")];
    let texts = command.argv.iter().chain(&command.stdin);
    for text in texts {
        let key = if command.stdin.as_ref() == Some(text) { "stdin" } else { "command" };
        if text.contains("{gate}") {
            let hint = "the output of a gate goes to the `query` of a model and to the `args` of a tool";
            at.file.warn(
                at.of(key),
                "`{gate}` is not filled in here: the program gets it literally".into(),
                Some(hint.into()),
            );
        }
        for (first, variable) in holders {
            let Some((_, rest)) = text.split_once(&format!("{{{first}.")) else { continue };
            let Some((name, _)) = rest.split_once('}') else { continue };
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
                continue;
            }
            let variable = match first {
                "param" => format!("BGAGENT_PARAM_{}", name.to_ascii_uppercase()),
                "event" if name == "path" => "BGAGENT_EVENT_PATH".to_owned(),
                _ => variable.to_owned(),
            };
            let what = format!("`{{{first}.{name}}}` is not filled in here: the program gets it literally");
            at.file.warn(at.of(key), what, Some(format!("the value is in the variable {variable}")));
        }
    }
}

/// Returns why `{param.…}` is not filled, if it is not, and advice. `rest` begins with the dot.
fn unknown_param(agent: &AgentSpec, rest: &str) -> Option<(String, String)> {
    let name = rest.trim_start_matches('.');
    let Some(params) = &agent.params else {
        let hint = format!("declare it: params = {{ {name} = \"text\" }}");
        return Some(("this agent has no `params`".into(), hint));
    };
    (!params.all.contains_key(name)).then(|| {
        (format!("there is no parameter `{name}`"), format!("the parameters are {}", params.describe()))
    })
}

/// Returns why `{after…}` is not filled, if it is not, and advice. `rest` begins with the dot.
fn unfilled(schedule: &Schedule, rest: &str) -> Option<(String, String)> {
    let Schedule::Join(join) = schedule else {
        let hint = "it needs on = { after = [\"…\"] }".to_owned();
        return Some(("this agent waits for no others".into(), hint));
    };
    let mut parts = rest.split('.').skip(1);
    let (of, field) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if !join.after.iter().any(|name| name.as_str() == of) {
        let names: Vec<&str> = join.after.iter().map(AgentId::as_str).collect();
        return Some((format!("it does not wait for `{of}`"), format!("it waits for {}", names.join(", "))));
    }
    const FIELDS: &[&str] = &["run_id", "status", "finished_at", "result", "error", ""];
    (!FIELDS.contains(&field)).then(|| {
        (format!("the run of `{of}` has no `{field}`"), format!("use one of {}", FIELDS[..5].join(", ")))
    })
}

/// Warns of what `history = "changes"` omits, or has no effect on.
fn history_changes(at: &Place<'_>, fleet: &Fleet) {
    let agent = at.agent;
    let has_slots = agent.schedule.has_slots();
    if agent.history == History::Changes && !has_slots && at.knows(SCHEDULE) {
        at.file.warn(
            at.of("history"),
            "`history` has no effect without a schedule: a run by hand or by an event always leaves a record"
                .into(),
            None,
        );
    }
    let Schedule::On(EventTrigger {
        event: EventType::TaskStarted | EventType::TaskCompleted,
        agent: Some(of),
        ..
    }) = &agent.schedule
    else {
        return;
    };
    if fleet.agent(of.as_str()).is_some_and(|of| of.history == History::Changes) {
        at.file.warn(
            at.of("on"),
            format!("`{of}` has history = \"changes\": while all is well, its runs are not events"),
            Some("wait for incident_opened, or let it keep all its runs".into()),
        );
    }
}

/// Tools whose result indicates whether there is anything to do.
const CONDITIONAL_TOOLS: &[ToolKind] = &[ToolKind::Probe, ToolKind::Feed, ToolKind::Sql, ToolKind::Recall];

/// Warns of a gate by a tool whose result is never empty.
fn always_open(at: &Place<'_>, fleet: &Fleet) {
    if !at.knows(&["gate"]) {
        return;
    }
    let Some(gate) = at.agent.gate.as_deref().filter(|gate| gate.expect.is_empty()) else { return };
    let CheckBody::Tool(call) = &gate.body else { return };
    let says = fleet.kind_of(&call.tool).is_none_or(|kind| CONDITIONAL_TOOLS.contains(&kind));
    if !says && gate.novel_by.is_empty() {
        at.file.warn(
            at.of("gate"),
            format!("this gate is always open: the result of `{}` is never empty", call.tool),
            Some("say when a run is worth it, as in expect = { status = 200 }".into()),
        );
    }
}

/// Warns of a gate by `feed` that admits the same items each time, or whose result is not used.
fn feed_gate(at: &Place<'_>, fleet: &Fleet) {
    let (Some(gate), Body::Query(query)) = (at.agent.gate.as_deref(), &at.agent.body) else { return };
    let CheckBody::Tool(call) = &gate.body else { return };
    if fleet.kind_of(&call.tool) != Some(ToolKind::Feed) || !at.knows(&["gate", "query"]) {
        return;
    }
    if gate.novel_by.is_empty() && gate.expect.is_empty() {
        at.file.warn(
            at.of("gate"),
            "this gate is open as long as the feeds have any items: each slot asks the model".into(),
            Some("add novel_by = [\"id\"] for what is new only".into()),
        );
    }
    if !query.query.contains("{gate}") {
        at.file.warn(
            at.of("query"),
            "the model is not told what the gate found".into(),
            Some("write {gate} where the items belong".into()),
        );
    }
}

/// Refuses agents that start each other in a cycle.
fn cycles(file: &File<'_>, table: &DeTable<'_>, fleet: &Fleet) {
    // Agents that wait for the runs of any agent wait for each other.
    let of_any = fleet.agents.iter().filter(|agent| {
        let runs = [EventType::TaskStarted, EventType::TaskCompleted];
        matches!(&agent.schedule, Schedule::On(EventTrigger { event, agent: None, .. }) if runs.contains(event))
    });
    if let [first, second, ..] = of_any.collect::<Vec<_>>()[..] {
        file.warn(
            place(table, &second.id, "on"),
            format!(
                "`{}` and `{}` start each other: each waits for the runs of any agent",
                first.id, second.id
            ),
            Some("name the agent: on = { event = \"…\", agent = \"…\" }".into()),
        );
    }
    let mut next: BTreeMap<&AgentId, Vec<&AgentId>> = BTreeMap::new();
    for agent in &fleet.agents {
        let of = match &agent.schedule {
            Schedule::On(EventTrigger { agent: Some(of), .. }) => std::slice::from_ref(of),
            Schedule::Join(join) => &join.after[..],
            _ => continue,
        };
        for of in of.iter().filter(|of| fleet.agent(of.as_str()).is_none()) {
            if !file.is_broken("agents", of.as_str()) {
                let near = nearest(of.as_str(), fleet.names().map(AgentId::as_str));
                file.error(
                    Some(place(table, &agent.id, "on")),
                    format!("there is no agent `{of}` to wait for"),
                    near.map(|near| format!("did you mean \"{near}\"?")),
                );
            }
        }
        next.insert(&agent.id, of.iter().collect());
    }
    let mut reported = BTreeSet::new();
    for start in next.keys() {
        if let Some(cycle) = find_cycle(start, &next)
            && reported.insert(cycle.iter().copied().collect::<BTreeSet<_>>())
        {
            let names: Vec<&str> = cycle.iter().map(|id| id.as_str()).collect();
            file.error(
                Some(place(table, cycle[0], "on")),
                format!("these agents start each other in a circle: {}", names.join(" ← ")),
                None,
            );
        }
    }
}

/// Follows the agents that an agent waits for until one is reached again, and returns the cycle beginning
/// with that one.
fn find_cycle<'a>(
    start: &'a AgentId,
    next: &BTreeMap<&'a AgentId, Vec<&'a AgentId>>,
) -> Option<Vec<&'a AgentId>> {
    let mut way: Vec<(&AgentId, usize)> = vec![(start, 0)];
    let mut done: BTreeSet<&AgentId> = BTreeSet::new();
    while let Some((at, nth)) = way.last_mut() {
        let (here, of) = (*at, next.get(*at).and_then(|all| all.get(*nth)).copied());
        *nth += 1;
        let Some(of) = of else {
            done.insert(here);
            way.pop();
            continue;
        };
        if let Some(from) = way.iter().position(|(id, _)| *id == of) {
            return Some(way[from..].iter().map(|(id, _)| *id).collect());
        }
        if !done.contains(of) {
            way.push((of, 0));
        }
    }
    None
}
