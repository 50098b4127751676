//! `bgagent health`: reports whether all is well. Reads the database, so that it also works while the daemon does not
//! run. A running daemon is queried as well, for what it can't write there.
use super::prelude::*;
use crate::cli::args::HealthArgs;
use crate::cli::render::{refused_deliveries, unheld_limit, untrusted_server, unused_skill, unwatched};
use crate::cli::when;
use crate::client::{Address, ClientError, Connection, Timeouts, holder, is_alive, read_listener};
use crate::config::Paths;
use crate::domain::{counted, human_duration};
use crate::overview::proposals_wait;
use crate::protocol::{GetDaemonStatus, NoParams};
use crate::store::{HealthReport, HealthRow, OpenIncident, UndeliveredMessages, Where};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Timeout of the daemon's answer.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(2);

pub(in crate::cli) fn run(app: &mut App, args: &HealthArgs) -> Result<Outcome, Failure> {
    let max_late = when::duration(&args.max_late)?;
    let paths = app.paths()?.clone();
    let mut report = Report {
        status: Status::Healthy,
        problems: Vec::new(),
        warnings: Vec::new(),
        agents: 0,
        leader: None,
        note: None,
    };
    if let Some(what) = access_problem(&paths) {
        report.status = Status::Dead;
        report.problems.push(Problem { agent_id: None, what });
        app.answer(&report, text)?;
        return Ok(Outcome::Dead);
    }
    let standby = standby_of(&paths);
    if standby.is_some() {
        // not queried: problems of the leader are reported by `health` on its own node
    } else if let Some(dead) = reason_not_running(&paths) {
        report.status = Status::Dead;
        report.problems.push(Problem { agent_id: None, what: dead });
    } else {
        let asked = troubles(&app.address()?, DAEMON_TIMEOUT);
        report.problems.extend(asked.problems);
        report.warnings.extend(asked.warnings);
    }
    let records = app.records().or_else(|unknown| match paths.database() {
        file if file.exists() => Ok(Where { file, server: None }),
        _ => Err(unknown),
    });
    match records.map(|records| crate::store::read_health(&records, app.screen.now, max_late)) {
        // the daemon has already reported the problem of its configuration; a standby was not asked
        Err(_) if report.status != Status::Dead && standby.is_none() => {}
        Err(unknown) => report.problems.push(Problem { agent_id: None, what: unknown.what() }),
        Ok(Ok(health)) => {
            report.agents = health.agents.len();
            report.problems.extend(recorded_problems(&health, app.screen.now, max_late));
            report.warnings.extend(warnings(&health));
            report.leader = health.leader.filter(|_| standby.is_some());
            if let (Some(last), None) = (&standby, &report.leader) {
                let what = match last.as_str() {
                    "" => "no daemon leads".to_owned(),
                    last => format!("no daemon leads; the last leader was {last}"),
                };
                report.problems.push(Problem { agent_id: None, what });
            }
            if health.nobody_may_lead {
                let what =
                    "no node that is there may lead: set `leads` of [daemon] on one of them".to_owned();
                report.problems.push(Problem { agent_id: None, what });
            }
        }
        Ok(Err(error)) => {
            report.status = Status::Dead;
            let what = match error.hint() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            };
            report.problems.push(Problem { agent_id: None, what });
        }
    }
    if report.status == Status::Healthy && !report.problems.is_empty() {
        report.status = Status::Unwell;
    }
    // a monitor that only looks at the exit code would not notice that the fleet is empty
    let none = report.agents == 0 && is_empty(&paths.config, app.screen.now);
    report.note = none.then(|| format!("no agent is configured in {}", paths.config.display()));
    app.answer(&report, text)?;
    Ok(match report.status {
        Status::Healthy => Outcome::Done,
        Status::Unwell => Outcome::Negative,
        Status::Dead => Outcome::Dead,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Healthy,
    Unwell,
    Dead,
}

#[derive(Debug, Serialize)]
struct Report {
    status: Status,
    agents: usize,
    problems: Vec<Problem>,
    /// Warnings of the last runs of agents, which completed but deserve a look; and webhooks whose deliveries are
    /// refused repeatedly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Problem>,
    /// The daemon that leads, while the one here is a standby.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
    /// Additional information that is not a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Returns whether the configuration is valid and has no agents.
fn is_empty(config: &std::path::Path, now: Timestamp) -> bool {
    let loaded = crate::config::load(config, &crate::config::Context::system(now));
    loaded.is_ok_and(|loaded| loaded.fleet.agents.is_empty())
}

#[derive(Debug, Serialize)]
struct Problem {
    /// None: the problem is the daemon's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    what: String,
}

/// Returns why nothing can be checked: the state folder exists, but is not accessible.
fn access_problem(paths: &Paths) -> Option<String> {
    match std::fs::metadata(paths.daemon_json()) {
        Err(error) if error.kind() != ErrorKind::NotFound => Some(format!(
            "{} can't be read: {error}; run this as the user of the daemon, or name another --state-dir",
            paths.state_dir.display()
        )),
        _ => None,
    }
}

/// Returns the daemon that leads, if the one here is alive and a standby.
fn standby_of(paths: &Paths) -> Option<String> {
    let listener = read_listener(&paths.daemon_json())?;
    holder(&paths.state_dir).filter(|holder| holder.pid == Some(listener.pid))?;
    listener.standby_of
}

/// Returns why the daemon is not running. A pid alone proves nothing, since pids are reused: its socket must accept
/// connections as well.
fn reason_not_running(paths: &Paths) -> Option<String> {
    if holder(&paths.state_dir).is_some() {
        return None; // alive: its problems are queried from it
    }
    let Some(listener) = read_listener(&paths.daemon_json()) else {
        return Some(format!("the daemon is not running: nothing in {}", paths.daemon_json().display()));
    };
    if !is_alive(listener.pid) {
        return Some(format!("the daemon is not running: its process {} is gone", listener.pid));
    }
    match UnixStream::connect(&listener.socket) {
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
            Some(format!("the daemon is not running: nobody listens at {}", listener.socket.display()))
        }
        // any other error is one of permissions: its process is alive
        _ => None,
    }
}

/// Problems and warnings that a daemon reports about itself.
#[derive(Debug, Default)]
struct Troubles {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// Queries a running daemon for its problems: it can't write, it has refused the newest configuration, the external
/// source of an agent can't deliver, or it does not answer.
fn troubles(address: &Address, timeout: Duration) -> Troubles {
    let own = |what| Problem { agent_id: None, what };
    let asked = Connection::open(address, Timeouts::all(timeout))
        .and_then(|mut connection| connection.call::<GetDaemonStatus>(&NoParams {}));
    match asked {
        Ok(view) => {
            let degraded = (view.state == "degraded")
                .then(|| view.problem.unwrap_or_else(|| "nothing can be recorded".to_owned()));
            let rejected = view.config_errors.first().map(|first| {
                let first = first.lines().next().unwrap_or_default();
                let first = first.strip_prefix("error: ").unwrap_or(first);
                if view.config_missing {
                    return format!("the configuration file {first}; put it back");
                }
                let path = &view.config_path;
                if view.config_waits {
                    let trust = crate::config::shell_word(path.as_ref());
                    return format!(
                        "the configuration in {path} waits for a person: {first}; bgagent trust {trust}"
                    );
                }
                format!("the configuration in {path} was rejected, the one before it is in force: {first}")
            });
            let untrusted = view.untrusted.iter().map(untrusted_server);
            let skills = view.skills.iter().map(|one| unused_skill(one, &view.config_path));
            let unheld = view.unheld_limits.iter().map(unheld_limit);
            let listener = view.webhooks.as_ref().and_then(|webhooks| {
                let problem = webhooks.problem.as_ref()?;
                Some(format!("webhooks can't be taken at {}: {problem}", webhooks.address))
            });
            let of_hooks = view.webhooks.iter().flat_map(|webhooks| &webhooks.refused);
            let (blind, refused): (Vec<_>, Vec<_>) = of_hooks.partition(|hook| hook.blind);
            let blind = blind.into_iter().map(refused_deliveries);
            let problems = degraded.into_iter().chain(rejected).chain(untrusted).chain(skills).chain(unheld);
            let mut problems: Vec<Problem> = problems.chain(listener).chain(blind).map(own).collect();
            problems.extend(view.inboxes.into_iter().map(|one| Problem {
                agent_id: Some(one.agent_id.to_string()),
                what: format!("nothing can start it: {}", one.problem),
            }));
            // strangers can cause refused deliveries, so these are only warnings
            let proposed = (view.proposals > 0).then(|| own(proposals_wait(view.proposals)));
            let late = view.unwatched.as_deref().map(|why| own(unwatched(why)));
            let warnings = refused
                .into_iter()
                .map(|hook| own(refused_deliveries(hook)))
                .chain(late)
                .chain(proposed)
                .collect();
            Troubles { problems, warnings }
        }
        Err(ClientError::Protocol { .. }) => Troubles::default(),
        Err(error) => Troubles { problems: vec![own(Failure::Client(error).what())], ..Troubles::default() },
    }
}

/// Returns the problems found in the database.
fn recorded_problems(health: &HealthReport, now: Timestamp, max_late: SignedDuration) -> Vec<Problem> {
    let of_agents = health.agents.iter().flat_map(|row| {
        let of = |what| Problem { agent_id: Some(row.agent.to_string()), what };
        problems(row, now, max_late).into_iter().map(of)
    });
    let incidents = health.incidents.iter().map(|incident| Problem {
        agent_id: Some(incident.agent.to_string()),
        what: open_for(incident, now),
    });
    let untold =
        health.untold.iter().map(|untold| Problem { agent_id: None, what: undelivered_text(untold, now) });
    of_agents.chain(incidents).chain(untold).collect()
}

fn warnings(health: &HealthReport) -> Vec<Problem> {
    let of = |row: &HealthRow| {
        let first = row.warnings.first()?;
        let more = match row.warnings.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Some(Problem {
            agent_id: Some(row.agent.to_string()),
            what: format!("its last run warned: {first}{more}"),
        })
    };
    health.agents.iter().filter_map(of).collect()
}

fn open_for(incident: &OpenIncident, now: Timestamp) -> String {
    // fractions of a second are dropped
    let span = human_duration(SignedDuration::from_secs(now.duration_since(incident.since).as_secs()));
    format!("{} incident {} for {span}: {}", incident.severity, incident.key, incident.title)
}

fn undelivered_text(untold: &UndeliveredMessages, now: Timestamp) -> String {
    let UndeliveredMessages { target, count, oldest, given_up } = untold;
    let (messages, age) = (counted(*count, "message"), human_duration(now.duration_since(*oldest)));
    if *given_up {
        format!(
            "{messages} to {target} could not be delivered and will not be tried again, the oldest {age} ago"
        )
    } else {
        format!("{messages} to {target} not delivered yet, the oldest for {age}")
    }
}

fn problems(row: &HealthRow, now: Timestamp, max_late: SignedDuration) -> Vec<String> {
    let mut found = Vec::new();
    let late = row.next_due.map(|due| now.duration_since(due));
    if let Some(late) = late.filter(|late| *late > max_late) {
        found.push(format!("late: was due {} ago", human_duration(late)));
    }
    if let Some((since, until)) = row.silent.filter(|(_, until)| *until > now) {
        found.push(format!(
            "silent since {since:.0} until {until:.0}: the clock was ahead and was set back, and its slots until then ran already"
        ));
    }
    if row.no_slot {
        found.push(
            "no slot is planned: what the ledger knows of the time ahead could not be read since the clock was set back"
                .into(),
        );
    }
    if row.circuit_open {
        found.push(format!("circuit open after {} failures in a row", row.errors_in_row));
    } else if row.errors_in_row > 0 {
        found.push(format!("failing: {} in a row", row.errors_in_row));
    }
    if let Some(why) = &row.no_budget {
        found.push(format!("its last slot was refused: {why}"));
    }
    found
}

fn text(report: &Report, screen: &Screen) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let who = problem.agent_id.as_deref().unwrap_or("daemon");
        text.push_str(&format!("{}: {}\n", screen.paint(Tone::Bad, who), plain(&problem.what)));
    }
    if report.problems.is_empty() {
        let agents = counted(report.agents, "active agent");
        text = format!("{}: {agents}\n", screen.paint(Tone::Good, "healthy"));
    }
    if let Some(leader) = &report.leader {
        text.push_str(&format!("standing by: {} leads\n", plain(leader)));
    }
    for warning in &report.warnings {
        let who = warning.agent_id.as_deref().unwrap_or("daemon");
        text.push_str(&format!("{}: {}\n", screen.paint(Tone::Warn, who), plain(&warning.what)));
    }
    if let Some(note) = &report.note {
        text.push_str(&format!("{}\n", screen.paint(Tone::Warn, &plain(note))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Severity;

    #[test]
    fn late_and_failing_are_told() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let row = |due: &str, errors_in_row, circuit_open| HealthRow {
            agent: "news".parse().unwrap(),
            next_due: Some(due.parse().unwrap()),
            errors_in_row,
            circuit_open,
            silent: None,
            no_slot: false,
            warnings: Vec::new(),
            no_budget: None,
        };
        let max = SignedDuration::from_mins(5);
        assert_eq!(problems(&row("2026-11-24T09:56:00Z", 0, false), now, max), [""; 0]);
        assert_eq!(problems(&row("2026-11-24T09:50:00Z", 0, false), now, max), ["late: was due 10m ago"]);
        assert_eq!(problems(&row("2026-11-24T11:00:00Z", 2, false), now, max), ["failing: 2 in a row"]);
        let both = problems(&row("2026-11-24T09:00:00Z", 5, true), now, max);
        assert_eq!(both, ["late: was due 1h ago", "circuit open after 5 failures in a row"]);
        let mut silent = row("2026-11-24T12:00:00Z", 0, false);
        silent.silent =
            Some(("2026-11-24T09:00:00Z".parse().unwrap(), "2026-11-24T12:00:00Z".parse().unwrap()));
        silent.warnings = vec!["no tool fits `a/*`".into(), "x".into()];
        let report = HealthReport { agents: vec![silent.clone()], ..HealthReport::default() };
        assert_eq!(warnings(&report)[0].what, "its last run warned: no tool fits `a/*` (and 1 more)");
        let told = problems(&silent, now, max);
        assert!(
            told[0].starts_with("silent since 2026-11-24T09:00:00Z until 2026-11-24T12:00:00Z: "),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_open_or_waits_is_told() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let since = "2026-11-24T09:00:00Z".parse().unwrap();
        let untold =
            |count, given_up| UndeliveredMessages { target: "ops".into(), count, oldest: since, given_up };
        let row = HealthRow {
            agent: "news".parse().unwrap(),
            next_due: None,
            errors_in_row: 0,
            circuit_open: false,
            silent: None,
            no_slot: false,
            no_budget: Some("no money".into()),
            warnings: Vec::new(),
        };
        let (agent, key, title) = ("disks".parse().unwrap(), "/".into(), "full".into());
        let report = HealthReport {
            agents: vec![row],
            incidents: vec![
                OpenIncident { agent, key, title, since, severity: Severity::Critical },
                OpenIncident {
                    agent: "news".parse().unwrap(),
                    key: "slow:news".into(),
                    title: "run 1f2e3d4c takes longer than 2s".into(),
                    since: now - SignedDuration::from_millis(169),
                    severity: Severity::Warning,
                },
            ],
            untold: vec![untold(1, false), untold(2, true)],
            leader: None,
            nobody_may_lead: false,
        };
        let told: Vec<String> = recorded_problems(&report, now, SignedDuration::from_mins(5))
            .into_iter()
            .map(|one| format!("{}: {}", one.agent_id.unwrap_or_default(), one.what))
            .collect();
        assert_eq!(
            told,
            [
                "news: its last slot was refused: no money",
                "disks: critical incident / for 1h: full",
                "news: warning incident slow:news for 0s: run 1f2e3d4c takes longer than 2s",
                ": 1 message to ops not delivered yet, the oldest for 1h",
                ": 2 messages to ops could not be delivered and will not be tried again, the oldest 1h ago",
            ]
        );
    }

    #[test]
    fn a_daemon_is_dead_without_process_or_listener() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let paths = Paths {
            config: dir.path().join("agents.toml"),
            state_dir: dir.path().to_owned(),
            socket: socket.clone(),
            socket_given: false,
        };
        assert!(reason_not_running(&paths).unwrap().contains("nothing in"));
        assert_eq!(access_problem(&paths), None, "that it is not there is no such case");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(
            access_problem(&Paths { state_dir: file, ..paths.clone() }).unwrap().contains("can't be read")
        );
        let write = |pid: u32| {
            let text = serde_json::json!({"socket": socket, "pid": pid, "version": "0.1.0", "protocol": 1});
            std::fs::write(paths.daemon_json(), text.to_string()).unwrap();
        };
        write(u32::MAX);
        assert!(reason_not_running(&paths).unwrap().contains("is gone"));
        write(std::process::id());
        assert!(reason_not_running(&paths).unwrap().contains("nobody listens"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(reason_not_running(&paths), None);
        let address = Address { socket, given: true, listener_file: paths.daemon_json() };
        let silent = troubles(&address, Duration::from_millis(20));
        let [problem] = &silent.problems[..] else { panic!("{silent:?}") };
        assert!(problem.what.contains("did not say hello") && silent.warnings.is_empty(), "{silent:?}");
    }
}
