//! `bgagent check`: validates a configuration and shows when its agents are due.
use super::prelude::*;
use crate::cli::args::CheckArgs;
use crate::cli::render;
use crate::client::{Connection, Timeouts};
use crate::config::{
    Context, Diagnostic, Loaded, Rejected, TrustBook, Trusted, shell_word, untrusted_skills,
};
use crate::doctor::{self, GroupSupport};
use crate::domain::{
    AgentId, AgentSpec, Calendar, Fleet, SandboxLimits, Schedule, SkillSpec, Walled, counted,
};
use crate::protocol::{ConfigView, ControlGroupsView, GetDaemonStatus, NoParams};
use crate::store::Where;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Timeout for asking a daemon which configuration it runs.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of due times shown per agent.
const SHOWN_TIMES_COUNT: usize = 3;

pub(in crate::cli) fn run(app: &mut App, args: &CheckArgs) -> Result<Outcome, Failure> {
    let path = match &args.file {
        Some(file) => file.clone(),
        None => app.config_in_use()?,
    };
    let now = app.screen.now;
    let context = match app.paths() {
        Ok(paths) => Context::system(now).of_state(&paths.state_dir),
        Err(_) => Context::system(now),
    };
    let mut loaded = match crate::config::load(&path, &context) {
        Ok(loaded) => loaded,
        Err(rejected) => {
            if app.json {
                app.print_json(&rejected_report(&rejected))?;
            }
            return Err(Failure::rejected(&rejected, app.stderr_color));
        }
    };
    // a file can be checked where there is no state folder; trust in servers is then not reported
    let server = loaded.fleet.store.clone();
    let uses_servers = !loaded.fleet.users_of_servers().is_empty();
    let trusted = app
        .paths()
        .ok()
        .filter(|_| uses_servers)
        .map(|paths| crate::store::read_trusted_servers(&Where { file: paths.database(), server }));
    let trusted = trusted.and_then(Result::ok).map(|trusted| untrusted(&loaded.fleet, &trusted));
    loaded.warnings.extend(trusted.unwrap_or_default());
    let book = app.paths().ok().and_then(|paths| TrustBook::read(&paths.trust_book()).ok());
    let skills = book.map(|book| skills(&loaded.fleet, book.get(&loaded.fleet.path)));
    loaded.warnings.extend(skills.unwrap_or_default());
    let unheld = unheld_limits(app, &loaded.fleet);
    loaded.warnings.extend(unheld);
    if app.json {
        let agents: Vec<Value> = loaded
            .fleet
            .agents
            .iter()
            .map(|agent| {
                json!({
                    "agent_id": agent.id, "schedule": agent.schedule.describe(), "enabled": agent.enabled,
                    "line": agent.line, "next": next_times(agent, now), "accept_risk": agent.accept_risk,
                })
            })
            .collect();
        let path = &loaded.fleet.path;
        let warnings: Vec<Value> = loaded.warnings.iter().map(|one| one.to_json(path)).collect();
        app.print_json(&json!({
            "path": path, "valid": true, "agents": agents, "errors": [], "warnings": warnings,
            "sandbox": Walled::of(&loaded.fleet), "events": events_to(&loaded.fleet),
            "store": store_of(&loaded.fleet),
        }))?;
        return Ok(Outcome::Done);
    }
    let text = table(&loaded, &app.screen);
    app.print(&text)?;
    app.flush()?;
    if !loaded.warnings.is_empty() {
        let text =
            crate::config::render(&loaded.warnings, &loaded.shown, &loaded.fleet.path, app.stderr_color);
        app.note(text.trim_end());
    }
    for agent in &loaded.fleet.agents {
        if let Some(why) = &agent.accept_risk {
            app.note(&format!("agent `{}` accepts a risk: {}", agent.id, plain(why)));
        }
    }
    for line in render::sandbox_lines(&Walled::of(&loaded.fleet)) {
        app.note(&line);
    }
    if let Some(redis) = &loaded.fleet.redis {
        let (stream, place) = (plain(&redis.stream), plain(&redis.server.place()));
        app.note(&format!("events are copied to the Redis stream {stream} at {place}"));
    }
    if let Some(memory) = &loaded.fleet.memory {
        let (prefix, place) = (plain(&memory.prefix), plain(&memory.server.place()));
        app.note(&format!("agents with `store = \"redis\"` remember below {prefix} at {place}"));
    }
    if let (Some(address), false) = (&loaded.fleet.daemon.webhooks, loaded.fleet.hooks.is_empty()) {
        let hooks =
            loaded.fleet.hooks.iter().map(|(name, hook)| format!("/{} ({})", plain(name), hook.scheme));
        let hooks = hooks.collect::<Vec<_>>().join(", ");
        app.note(&format!("webhooks are received at {address}: {hooks}"));
    }
    if let Some(store) = &loaded.fleet.store {
        app.note(&format!("records are kept at {} ({})", plain(&store.place()), store.durability));
    }
    if let Some(revision) = fleets_config(app, &path, &loaded.fleet) {
        let source = super::apply::source(&revision, &loaded.fleet.path, &app.screen);
        app.note(&source);
    }
    let (agents, warnings) = (loaded.fleet.agents.len(), loaded.warnings.len());
    let (agents, warnings) = (counted(agents, "agent"), counted(warnings, "warning"));
    app.note(&format!("{} is valid: {agents}, {warnings}", path.display()));
    Ok(Outcome::Done)
}

/// What a daemon that runs with this file has in force instead of its agents.
fn fleets_config(app: &mut App, path: &Path, fleet: &Fleet) -> Option<ConfigView> {
    fleet.store.as_ref()?;
    let address = app.address().ok()?;
    let mut connection = Connection::open(&address, Timeouts::all(DAEMON_TIMEOUT)).ok()?;
    let view = connection.call::<GetDaemonStatus>(&NoParams {}).ok()?;
    let is_it = path.canonicalize().ok() == Path::new(&view.config_path).canonicalize().ok();
    view.config_revision.filter(|_| is_it)
}

/// Where else events go.
fn events_to(fleet: &Fleet) -> Value {
    let redis = fleet.redis.as_deref().map(|spec| {
        json!({
            "url": spec.server.place(), "stream": spec.stream, "format": spec.format, "maxlen": spec.maxlen,
            "from": spec.from.to_string(),
        })
    });
    json!({ "redis": redis })
}

/// Returns where records are stored; null: in the state folder.
fn store_of(fleet: &Fleet) -> Value {
    let store = fleet.store.as_deref();
    store.map_or(
        Value::Null,
        |spec| json!({"url": spec.place(), "schema": spec.schema, "durability": spec.durability}),
    )
}

/// Returns a warning for each MCP server that agents use and that no person has trusted yet.
fn untrusted(fleet: &Fleet, trusted: &BTreeSet<String>) -> Vec<Diagnostic> {
    let users = fleet.users_of_servers().into_iter().filter(|(server, _)| !trusted.contains(*server));
    let warning = |(server, agents): (&str, Vec<&AgentId>)| {
        let agents: Vec<&str> = agents.iter().map(|agent| agent.as_str()).collect();
        let message = format!(
            "nobody has trusted MCP server `{server}` yet: its tools are off, and runs that need one fail ({})",
            agents.join(", ")
        );
        let hint = format!(
            "while the daemon runs, `bgagent mcp trust {server}` shows what its tools say of themselves, and asks"
        );
        Diagnostic::of_key(format!("mcp.{server}"), message, hint)
    };
    users.map(warning).collect()
}

/// A warning for each skill that nobody has trusted as it is.
fn skills(fleet: &Fleet, trusted: Option<&Trusted>) -> Vec<Diagnostic> {
    let hint = format!("to look at it, and approve it: bgagent trust {}", shell_word(&fleet.path));
    let warning = |(agent, skill): (&Arc<AgentSpec>, &Arc<SkillSpec>)| {
        let message = format!(
            "the skill `{}` ({}) is not trusted as it is: runs of {} fail",
            skill.head.name,
            skill.folder.display(),
            agent.id
        );
        Diagnostic::of_key(format!("agents.{}.skills", agent.id), message, hint.clone())
    };
    untrusted_skills(fleet, trusted).into_iter().map(warning).collect()
}

/// A warning for each limit that a control group holds and that can't be held: by the daemon that runs, else by one that is started
/// from here.
fn unheld_limits(app: &mut App, fleet: &Fleet) -> Vec<Diagnostic> {
    let programs =
        fleet.programs().into_iter().filter_map(|program| Some((program.place(), program.sandbox?.limits)));
    let mut limited = programs.filter(|(_, limits)| limits.memory.or(limits.processes).is_some()).peekable();
    if limited.peek().is_none() {
        return Vec::new();
    }
    let asked = app.address().ok().and_then(|address| {
        let view = Connection::open(&address, Timeouts::all(DAEMON_TIMEOUT))
            .and_then(|mut connection| connection.call::<GetDaemonStatus>(&NoParams {}));
        view.ok().map(|view| view.control_groups)
    });
    let (whose, groups) = match asked {
        Some(view) => {
            let ControlGroupsView { none_because, no_memory_because, no_processes_because } = view;
            ("the daemon", GroupSupport { none_because, no_memory_because, no_processes_because })
        }
        None => ("a daemon that is started here", doctor::control_groups()),
    };
    let warning = |(place, limits): (String, SandboxLimits)| {
        let (limit, why) = groups.lacks(&limits)?;
        let message = format!(
            "{whose} can't enforce `limits.{limit}` of [{place}], and so does not start its program: {why}"
        );
        let hint = "the service of `bgagent service install` has control groups where the system gives them; else leave the limit out";
        Some(Diagnostic::of_key(format!("{place}.sandbox.limits.{limit}"), message, hint.into()))
    };
    limited.filter_map(warning).collect()
}

/// Returns the JSON report of an invalid file, in the same form as that of a valid one.
fn rejected_report(rejected: &Rejected) -> Value {
    let of_kind = |is_error: bool| -> Vec<Value> {
        let all = rejected.diagnostics.iter().filter(|one| one.is_error == is_error);
        all.map(|one| one.to_json(&rejected.path)).collect()
    };
    json!({
        "path": rejected.path, "valid": false, "agents": [], "errors": of_kind(true),
        "warnings": of_kind(false),
    })
}

fn table(loaded: &Loaded, screen: &Screen) -> String {
    let mut table =
        Table::new().shrinking_last("NAME", 10).shrinking_first("SCHEDULE", 12).shrinking("NEXT", 20);
    if loaded.fleet.agents.is_empty() {
        return String::new();
    }
    for agent in &loaded.fleet.agents {
        let times = next_times(agent, screen.now);
        let next = if agent.enabled {
            // in the time zone of its schedule
            let own = match &agent.schedule {
                Schedule::Cron(cron) => Screen { zone: cron.zone().clone(), ..screen.clone() },
                _ => screen.clone(),
            };
            let times: Vec<String> = times.iter().map(|at| when(*at, &own)).collect();
            let foreign = own.zone != screen.zone && !times.is_empty();
            let zone = own.zone.iana_name().filter(|_| foreign).map(|name| format!(" ({name})"));
            (times.join(", ") + &zone.unwrap_or_default()).into()
        } else {
            Cell::toned(Tone::Dim, "starts stopped (`enabled = false`)")
        };
        table.row(vec![
            Cell::toned(Tone::Strong, agent.id.as_str()),
            match &agent.schedule {
                Schedule::At(at) => format!("at {}", screen.with_zone(*at)),
                schedule => screen.schedule(&schedule.describe()),
            }
            .into(),
            next,
        ]);
    }
    table.render(screen)
}

fn when(at: Timestamp, screen: &Screen) -> String {
    if at.duration_since(screen.now) < SignedDuration::from_hours(1) {
        screen.relative(at)
    } else {
        let at = at.to_zoned(screen.zone.clone());
        let this_year = at.year() == screen.now.to_zoned(screen.zone.clone()).year();
        at.strftime(if this_year { "%a %d %b %H:%M" } else { "%a %d %b %Y %H:%M" }).to_string()
    }
}

/// Returns the next slots of an agent, as if it were started now.
fn next_times(agent: &AgentSpec, now: Timestamp) -> Vec<Timestamp> {
    let calendar = Calendar { schedule: &agent.schedule, anchor: now, first_run: agent.first_run };
    let before = now - SignedDuration::from_micros(1);
    let active = |slot| match &agent.active_times {
        Some(times) => times.first_active(|after| calendar.next_after(after), slot),
        None => Some(slot),
    };
    let next = |at: Timestamp| calendar.next_after(at).and_then(active);
    std::iter::successors(next(before), |at| next(*at)).take(SHOWN_TIMES_COUNT).collect()
}
