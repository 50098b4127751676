//! `status`: the status of the daemon.
use super::nodes::{lead_line, nodes_line};
use super::screen::{Screen, Tone};
use super::words::{bytes, plain};
use crate::config::shell_word;
use crate::domain::{ExportState, counted, human_duration};
use crate::overview::proposals_wait;
use crate::protocol::{
    DaemonView, DeliveryView, HookTroubleView, RedisMemoryView, RedisView, UnheldLimitView,
    UntrustedServerView, UnusedSkillView, WorkspacesView,
};
use std::fmt::Write as _;

/// Describes an MCP server that no person has trusted yet.
pub(crate) fn untrusted_server(one: &UntrustedServerView) -> String {
    let agents: Vec<String> = one.agents.iter().map(|agent| plain(agent.as_str())).collect();
    let server = plain(&one.server);
    let agents = agents.join(", ");
    format!(
        "nobody has trusted MCP server `{server}` yet: its tools are off, and runs that need one fail ({agents}): bgagent mcp trust {server}"
    )
}

/// What is said of a skill that is not used.
pub(crate) fn unused_skill(one: &UnusedSkillView, config: &str) -> String {
    let agents: Vec<String> = one.agents.iter().map(|agent| plain(agent.as_str())).collect();
    format!(
        "the skill `{}` {}, and runs that have it fail ({}): look at {}, then: bgagent trust {}",
        plain(&one.skill),
        plain(&one.problem),
        agents.join(", "),
        plain(&one.folder),
        plain(&shell_word(config.as_ref()))
    )
}

/// What is said of a limit that can't be held.
pub(crate) fn unheld_limit(one: &UnheldLimitView) -> String {
    format!(
        "the program of [{}] is not started: its `limits.{}` can't be enforced: {}; leave it out, or run the daemon where it can be",
        plain(&one.program),
        plain(&one.limit),
        plain(&one.because)
    )
}

/// Describes that some folders of awaited files can't be watched.
pub(crate) fn unwatched(why: &str) -> String {
    format!("files are found up to a minute late: a folder can't be watched: {}", plain(why))
}

/// Describes a webhook whose deliveries are refused.
pub(crate) fn refused_deliveries(one: &HookTroubleView) -> String {
    let (webhook, last) = (plain(&one.webhook), plain(&one.last));
    let many = if one.refused == 1 { "1 delivery".to_owned() } else { format!("{} deliveries", one.refused) };
    match one.blind {
        true => format!("none of {many} to {webhook} could be checked: {last}"),
        false => format!("{many} to {webhook} in a row were refused, the last one: {last}"),
    }
}

/// Formats the status of the daemon.
pub(crate) fn daemon_view(view: &DaemonView, screen: &Screen) -> String {
    let mut text = String::new();
    let tone = if ["ok", "standby"].contains(&view.state.as_str()) { Tone::Good } else { Tone::Bad };
    let up = human_duration(screen.now.duration_since(view.started_at));
    let _ = writeln!(
        text,
        "bgagent {}   {}   pid {}, up {up}",
        plain(&view.version),
        screen.paint(tone, &plain(&view.state)),
        view.pid
    );
    let mut line = |key: &str, value: String| {
        let key = screen.paint(Tone::Dim, &format!("{key:<8}"));
        let _ = writeln!(text, "  {key}  {value}");
    };
    if let Some(problem) = &view.problem {
        line("problem", screen.paint(Tone::Bad, &plain(problem)));
    }
    if let Some(fleet) = &view.fleet {
        let (tone, what) = lead_line(fleet, screen);
        line("lead", screen.paint(tone, &what));
        if !fleet.nodes.is_empty() {
            line("nodes", nodes_line(fleet, screen));
        }
    }
    let mut agents: Vec<String> =
        view.agents.iter().map(|(state, count)| format!("{count} {state}")).collect();
    if agents.is_empty() {
        agents.push("none".into());
    }
    if view.failing > 0 {
        agents.push(screen.paint(Tone::Bad, &format!("{} failing", view.failing)));
    }
    line("agents", agents.join(", "));
    let (running, most, queued) = (view.running, view.max_parallel_runs, view.queued);
    line(
        "runs",
        match &view.fleet {
            // each node has its own
            Some(_) => {
                format!("{running} running at all nodes, {queued} waiting; at most {most} on this machine")
            }
            None => format!("{running} of {most} running, {queued} waiting"),
        },
    );
    if let Some(at) = view.next_due {
        line("next", screen.full(at));
    }
    line(
        "events",
        format!("{} to {}, {:.1} a second", view.oldest_seq, view.newest_seq, view.events_per_second),
    );
    if let Some(redis) = &view.redis {
        let (tone, what) = copy_in_redis(redis);
        line("redis", screen.paint(tone, &what));
    }
    if let Some(memory) = &view.memory {
        let (tone, what) = memory_in_redis(memory);
        line("memory", screen.paint(tone, &what));
    }
    if let Some(metrics) = &view.metrics {
        let url = format!("http://{}/metrics", plain(&metrics.address));
        line(
            "metrics",
            match &metrics.problem {
                None => url,
                Some(problem) => screen
                    .paint(Tone::Bad, &format!("{url} can't be read: {}; it is tried again", plain(problem))),
            },
        );
    }
    if let Some(traces) = &view.traces {
        let counts = format!("{}: {} sent", plain(&traces.url), counted(traces.sent, "span"));
        let lost = if traces.dropped > 0 { format!(", {} dropped", traces.dropped) } else { String::new() };
        let problem = traces.problem.as_deref();
        let waits = problem.map(|problem| format!(", {} waiting: {}", traces.waiting, plain(problem)));
        let tone = if problem.is_some() { Tone::Warn } else { Tone::Plain };
        line("traces", screen.paint(tone, &format!("{counts}{lost}{}", waits.unwrap_or_default())));
    }
    if view.incidents > 0 {
        line(
            "problems",
            screen.paint(
                Tone::Warn,
                &format!("{}: bgagent incidents", counted(view.incidents, "open incident")),
            ),
        );
    }
    for limit in &view.budget {
        let tone = if limit.left <= 0.0 { Tone::Bad } else { Tone::Plain };
        line("budget", screen.paint(tone, &super::words::limit_line(limit)));
    }
    if view.approvals > 0 {
        let verb = if view.approvals == 1 { "waits" } else { "wait" };
        let what = format!("{} {verb} for a person: bgagent approvals", counted(view.approvals, "tool call"));
        line("approve", screen.paint(Tone::Warn, &what));
    }
    if view.proposals > 0 {
        line("proposed", screen.paint(Tone::Warn, &proposals_wait(view.proposals)));
    }
    if let Some(webhooks) = &view.webhooks {
        let address = plain(&webhooks.address);
        match &webhooks.problem {
            None => line("webhooks", format!("received at {address}")),
            Some(problem) => {
                let what = format!("can't be received at {address}: {}", plain(problem));
                line("webhooks", screen.paint(Tone::Bad, &what));
            }
        }
    }
    if let Some(why) = &view.unwatched {
        line("outside", screen.paint(Tone::Warn, &unwatched(why)));
    }
    for one in view.webhooks.iter().flat_map(|webhooks| &webhooks.refused) {
        let tone = if one.blind { Tone::Bad } else { Tone::Warn };
        line("webhooks", screen.paint(tone, &refused_deliveries(one)));
    }
    for one in &view.inboxes {
        let since = one.since.map(|since| format!(", since {}", screen.relative(since))).unwrap_or_default();
        let what = format!("nothing can start {}: {}{since}", one.agent_id, plain(&one.problem));
        line("outside", screen.paint(Tone::Warn, &what));
    }
    for one in &view.untrusted {
        line("mcp", screen.paint(Tone::Warn, &untrusted_server(one)));
    }
    for one in &view.skills {
        line("skills", screen.paint(Tone::Bad, &unused_skill(one, &view.config_path)));
    }
    for one in &view.unheld_limits {
        line("limits", screen.paint(Tone::Bad, &unheld_limit(one)));
    }
    if view.outbox > 0 && view.deliveries.is_empty() {
        let verb = if view.outbox == 1 { "waits" } else { "wait" };
        line("outbox", format!("{} {verb}", counted(view.outbox, "message")));
    }
    for one in &view.deliveries {
        let (tone, what) = delivery(one, screen);
        line("outbox", screen.paint(tone, &what));
    }
    // an older daemon does not report it
    let place = if view.store.is_empty() { &view.state_dir } else { &view.store };
    line("database", format!("{} in {}", bytes(view.database_bytes), plain(place)));
    if let Some((tone, what)) = view.workspaces.as_ref().and_then(workspaces) {
        line("workspaces", screen.paint(tone, &what));
    }
    line("socket", format!("{} ({} connected)", plain(&view.socket), view.clients));
    let hash: String = plain(&view.config_hash).chars().take(8).collect();
    let own = plain(&view.config_path);
    match &view.config_revision {
        Some(one) => {
            let (by, at) = (plain(&one.by), screen.relative(one.at));
            line("config", format!("revision {} of the fleet ({hash}, applied {at} by {by})", one.revision));
            line("", screen.paint(Tone::Dim, &format!("{own} only says what is of this machine")));
        }
        None => line("config", format!("{own} ({hash}, applied {})", screen.relative(view.config_at))),
    }
    if view.config_missing {
        let what = "the file is missing: put it back; what it said is in force until the daemon ends";
        line("", screen.paint(Tone::Bad, what));
    } else if view.config_waits {
        let path = plain(&shell_word(view.config_path.as_ref()));
        let what =
            format!("the newest file may do more than you have approved, and waits: bgagent trust {path}");
        line("", screen.paint(Tone::Warn, &what));
    } else if !view.config_errors.is_empty() {
        let errors = counted(view.config_errors.len(), "error");
        let what = format!("the newest file has {errors}: bgagent check");
        line("", screen.paint(Tone::Bad, &what));
    }
    screen.fold(&text)
}

/// What the folders of runs take; `None`: there are none.
fn workspaces(view: &WorkspacesView) -> Option<(Tone, String)> {
    if (view.runs, view.kept, view.sessions) == (0, 0, 0) {
        return None;
    }
    let mut parts = Vec::new();
    if view.runs > 0 {
        parts.push(counted(view.runs, "run"));
    }
    if view.kept > 0 {
        parts.push(format!("{} that could not be brought back", counted(view.kept, "piece of work")));
    }
    if view.sessions > 0 {
        parts.push(format!("sessions of {}", bytes(view.sessions)));
    }
    let least = if view.cut { "at least " } else { "" };
    let what = format!("{least}{} of {}, {}", bytes(view.bytes), bytes(view.bound), parts.join(", "));
    let tone = match view.bytes {
        taken if taken > view.bound => Tone::Bad,
        _ if view.kept > 0 => Tone::Warn,
        _ => Tone::Plain,
    };
    Some((tone, what))
}

/// Describes the state of a notification target in one line, without colors.
pub(crate) fn delivery_words(view: &DeliveryView, screen: &Screen) -> String {
    delivery(view, screen).1
}

/// Describes the state of a notification target in one line.
fn delivery(view: &DeliveryView, screen: &Screen) -> (Tone, String) {
    let target = plain(&view.target);
    let mut parts = Vec::new();
    if view.waiting > 0 {
        let verb = if view.waiting == 1 { "waits" } else { "wait" };
        parts.push(format!("{} {verb}", counted(view.waiting, "message")));
    }
    if view.given_up > 0 {
        parts.push(format!("{} given up", counted(view.given_up, "message")));
    }
    let age = human_duration(screen.now.duration_since(view.oldest).max(jiff::SignedDuration::ZERO));
    let mut text = format!("{target}: {}, {age} old", parts.join(", "));
    if view.waiting + view.given_up > 1 {
        text = format!("{target}: {}, the oldest {age} old", parts.join(", "));
    }
    if (view.waiting, view.given_up) == (1, 0) {
        text = format!("{target}: 1 message has been waiting for {age}");
    }
    if let Some(error) = &view.error {
        text.push_str(&format!("; {}", plain(error)));
    }
    // one that is due waits for the pace of its target
    if let Some(at) = view.next_try.filter(|at| view.tries > 0 && *at > screen.now) {
        text.push_str(&format!("; next try {}", screen.relative(at)));
    }
    let tone = match (view.given_up, view.tries) {
        (0, 0) => Tone::Plain,
        (0, _) => Tone::Warn,
        _ => Tone::Bad,
    };
    (tone, text)
}

/// Describes the state of agents' memory in Redis in one line.
fn memory_in_redis(view: &RedisMemoryView) -> (Tone, String) {
    let place = format!("{} at {}", plain(&view.prefix), plain(&view.url));
    let waiting = match view.waiting {
        0 => String::new(),
        waiting => format!(", {} not there yet", counted(waiting, "change")),
    };
    let problem = view.problem.as_deref().map(|problem| format!(": {}", plain(problem))).unwrap_or_default();
    match view.state {
        ExportState::Connected => (Tone::Plain, format!("{place}{waiting}")),
        ExportState::Trying => (Tone::Bad, format!("{place}, not connected{waiting}{problem}")),
        ExportState::Stopped => (Tone::Bad, format!("{place}, stopped{waiting}{problem}")),
    }
}

/// Describes the state of the copy of the log in Redis in one line.
fn copy_in_redis(view: &RedisView) -> (Tone, String) {
    let place = format!("{} at {}", plain(&view.stream), plain(&view.url));
    let at = view.position.map_or_else(|| "not reached yet".to_owned(), |seq| format!("at event {seq}"));
    let behind = match (view.lag_events, view.lag_secs) {
        (Some(0), _) => String::new(),
        (events, secs) => {
            let behind =
                human_duration(jiff::SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX)));
            let events = events.map(|events| format!("{}, ", counted(events, "event"))).unwrap_or_default();
            format!(", {events}{behind} behind")
        }
    };
    let problem = view.problem.as_deref().map(|problem| format!(": {}", plain(problem))).unwrap_or_default();
    match view.state {
        ExportState::Connected => (Tone::Plain, format!("{place}, {at}{behind}")),
        ExportState::Trying => (Tone::Warn, format!("{place}, not connected, {at}{behind}{problem}")),
        ExportState::Stopped => (Tone::Bad, format!("{place}, stopped, {at}{behind}{problem}")),
    }
}
