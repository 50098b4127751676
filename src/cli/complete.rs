//! Names for shell completion: from the daemon, which must answer quickly; else names of agents are read from the
//! configuration. Never starts a daemon, never prints errors.
use super::args::Global;
use crate::client::{Connection, Timeouts};
use crate::config::{Context, Paths};
use crate::domain::EventType;
use crate::protocol::{ListAgents, ListParams, ListRuns, ListRunsParams, ListTools, Method, NoParams};
use clap_complete::CompletionCandidate;
use clap_complete::env::Shells;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// Timeout of the daemon's answer: completion that takes longer feels broken.
const DAEMON_TIMEOUT: Duration = Duration::from_millis(200);

/// Returns the script that makes a shell ask this program for completions.
pub(super) fn script(shell: &str) -> Option<Vec<u8>> {
    let mut script = Vec::new();
    Shells::builtins()
        .completer(shell)?
        .write_registration("COMPLETE", "bgagent", "bgagent", "bgagent", &mut script)
        .ok()?;
    Some(script)
}

/// Returns the names of agents.
pub(super) fn agents(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(paths) = paths() else { return Vec::new() };
    let found = match ask::<ListAgents>(&paths, &ListParams::default()) {
        Some(agents) => agents
            .into_iter()
            .map(|agent| {
                let help = agent.description.unwrap_or(agent.schedule);
                (agent.agent_id.to_string(), format!("{}, {help}", agent.state))
            })
            .collect(),
        None => configured(&paths),
    };
    candidates(found, current)
}

/// Returns the ids of recent runs.
pub(super) fn runs(current: &OsStr) -> Vec<CompletionCandidate> {
    recent_runs(current, false)
}

/// Returns the ids of runs that have not ended.
pub(super) fn open_runs(current: &OsStr) -> Vec<CompletionCandidate> {
    recent_runs(current, true)
}

/// Returns the names of agents and the ids of recent runs.
pub(super) fn agents_and_runs(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = agents(current);
    found.extend(runs(current));
    found
}

/// Completes event types, after the last comma.
pub(super) fn event_types(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = EventType::ALL.iter().map(|kind| (kind.as_str().to_owned(), String::new())).collect();
    candidates(names, current)
}

/// Returns the names of tools.
pub(super) fn tools(current: &OsStr) -> Vec<CompletionCandidate> {
    let found = paths().and_then(|paths| ask::<ListTools>(&paths, &NoParams {})).unwrap_or_default();
    candidates(found.into_iter().map(|tool| (tool.name, tool.description)).collect(), current)
}

/// Returns the names of notification targets.
pub(super) fn notify_targets(current: &OsStr) -> Vec<CompletionCandidate> {
    let fleet = paths()
        .and_then(|paths| crate::config::load(&paths.config, &Context::system(crate::clock::wall())).ok());
    let targets = fleet.map(|loaded| loaded.fleet.notify.clone()).unwrap_or_default();
    candidates(targets.into_keys().map(|name| (name, String::new())).collect(), current)
}

fn recent_runs(current: &OsStr, open: bool) -> Vec<CompletionCandidate> {
    let params = ListRunsParams { limit: Some(50), ..ListRunsParams::default() };
    let found = paths().and_then(|paths| ask::<ListRuns>(&paths, &params)).unwrap_or_default();
    let found = found
        .into_iter()
        .filter(|run| !open || !run.status.is_final())
        .map(|run| (run.run_id.short(), format!("{}, {}", run.agent_id, run.status)))
        .collect();
    candidates(found, current)
}

fn candidates(found: Vec<(String, String)>, current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    found
        .into_iter()
        .filter(|(value, _)| value.starts_with(&*current))
        .map(|(value, help)| {
            let help = (!help.is_empty()).then(|| super::render::plain(&help).into());
            CompletionCandidate::new(value).help(help)
        })
        .collect()
}

fn ask<M: Method>(paths: &Paths, params: &M::Params) -> Option<M::Reply> {
    let mut connection =
        Connection::open(&super::app::address_of(paths), Timeouts::all(DAEMON_TIMEOUT)).ok()?;
    connection.call::<M>(params).ok()
}

fn configured(paths: &Paths) -> Vec<(String, String)> {
    let Ok(loaded) = crate::config::load(&paths.config, &Context::system(crate::clock::wall())) else {
        return Vec::new();
    };
    let agents = loaded.fleet.agents.iter();
    agents.map(|agent| (agent.id.to_string(), agent.schedule.describe())).collect()
}

/// Resolves the paths from the flags on the command line, else from variables.
fn paths() -> Option<Paths> {
    let words: Vec<String> = std::env::args().collect();
    let global = global_of(&words, |name| std::env::var_os(name).map(PathBuf::from));
    Paths::resolve(global.config, global.state_dir, global.socket).ok()
}

fn global_of(words: &[String], variable: impl Fn(&str) -> Option<PathBuf>) -> Global {
    let flag = |flag: &str, name: &str| {
        let given = words.iter().enumerate().find_map(|(at, word)| {
            let rest = word.strip_prefix(flag)?;
            match rest.strip_prefix('=') {
                Some(value) => Some(value.to_owned()),
                None if rest.is_empty() => words.get(at + 1).cloned(),
                None => None,
            }
        });
        given.filter(|value| !value.is_empty()).map(PathBuf::from).or_else(|| variable(name))
    };
    Global {
        config: flag("--config", "BGAGENT_CONFIG"),
        state_dir: flag("--state-dir", "BGAGENT_STATE_DIR"),
        socket: flag("--socket", "BGAGENT_SOCKET"),
        ..Global::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_on_the_line_win_over_variables() {
        let words = ["bgagent", "--", "bgagent", "--state-dir", "/a", "--socket=/b", "start", ""];
        let words = words.map(str::to_owned);
        let global = global_of(&words, |name| (name != "BGAGENT_CONFIG").then(|| "/var".into()));
        assert_eq!(global.state_dir, Some("/a".into()));
        assert_eq!(global.socket, Some("/b".into()));
        assert_eq!(global.config, None);
        let global = global_of(&["bgagent".into(), "--state-dir".into()], |_| Some("/var".into()));
        assert_eq!(global.state_dir, Some("/var".into()));
    }

    #[test]
    fn every_shell_gets_a_script_that_asks_the_program() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let script = String::from_utf8(script(shell).unwrap()).unwrap();
            assert!(script.contains("COMPLETE") && script.contains("bgagent"), "{shell}");
        }
        assert_eq!(script("tcsh"), None);
    }
}
