//! What `doctor` checks beside the sandbox: the configuration, notification targets, and the external sources that start agents (folders
//! of files, the listener for webhooks, MCP servers). The daemon is asked for what only it knows.
use crate::cli::App;
use crate::cli::render::Screen;
use crate::client::{Connection, Timeouts};
use crate::config::{Context, Diagnostic, Paths, RejectedFor};
use crate::domain::{AgentSpec, FileTrigger, Fleet, Schedule, counted};
use crate::protocol::{DaemonView, DeliveryView, GetDaemonStatus, NoParams};
use notify::{RecursiveMode, Watcher};
use serde::Serialize;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// Timeout of the daemon's answer.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(5);
/// The file in which Linux states how many inotify watches a user may have.
const MAX_WATCHES_PATH: &str = "/proc/sys/fs/inotify/max_user_watches";

/// An external source that an agent waits for, and its state.
#[derive(Debug, Serialize)]
pub(super) struct AgentSource {
    agent_id: String,
    waits_for: String,
    /// Why the source can't deliver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// A remark on a source that can deliver.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl AgentSource {
    /// Formats the source as a line for people.
    pub(super) fn line(&self) -> String {
        let said = match (&self.problem, &self.note) {
            (Some(problem), _) => format!("CAN'T COME: {problem}"),
            (None, Some(note)) => note.clone(),
            (None, None) => "can come".to_owned(),
        };
        format!("{} waits for {}: {said}", self.agent_id, self.waits_for)
    }
}

/// Everything that is checked beside the sandbox.
#[derive(Debug, Default, Serialize)]
pub(super) struct DoctorReport {
    pub(super) configuration: ConfigFound,
    pub(super) sources: Vec<AgentSource>,
    /// Notification targets with messages that wait or were dropped, as the daemon reports them.
    pub(super) targets: Vec<DeliveryView>,
}

/// The state of the configuration file.
#[derive(Debug, Default, Serialize)]
pub(super) struct ConfigFound {
    path: String,
    is_missing: bool,
    errors: Vec<String>,
    /// Among others, secrets that can't be read and programs that are missing.
    warnings: Vec<String>,
}

impl DoctorReport {
    /// Returns lines for people, each with whether it is a problem.
    pub(super) fn lines(&self, screen: &Screen) -> Vec<(bool, String)> {
        let ConfigFound { path, is_missing, errors, warnings } = &self.configuration;
        let mut lines = Vec::new();
        if *is_missing {
            lines.push((false, format!("no configuration at {path}: `bgagent init` writes one")));
        } else if !path.is_empty() {
            let is_valid =
                if errors.is_empty() { "is valid" } else { "is NOT VALID, `bgagent check` shows where" };
            lines.push((!errors.is_empty(), format!("{path} {is_valid}")));
        }
        lines.extend(errors.iter().map(|error| (true, format!("  error: {error}"))));
        lines.extend(warnings.iter().map(|warning| (false, format!("  warning: {warning}"))));
        lines.extend(self.sources.iter().map(|source| (source.problem.is_some(), source.line())));
        let of_target =
            |one: &DeliveryView| (one.error.is_some(), crate::cli::render::delivery_words(one, screen));
        lines.extend(self.targets.iter().map(of_target));
        lines
    }
}

/// Checks the configuration in use, the sources of its agents, and its notification targets.
pub(super) fn look(app: &mut App) -> DoctorReport {
    let Ok(paths) = app.paths().cloned() else { return DoctorReport::default() };
    let path = paths.config.display().to_string();
    let messages = |all: &[Diagnostic], errors: bool| {
        let of_kind = all.iter().filter(|one| one.is_error == errors);
        of_kind.map(|one| one.message.clone()).collect::<Vec<_>>()
    };
    let loaded = match crate::config::load(&paths.config, &Context::system(app.screen.now)) {
        Ok(loaded) => loaded,
        Err(rejected) => {
            let is_missing = rejected.why == RejectedFor::Missing;
            let errors = if is_missing { Vec::new() } else { messages(&rejected.diagnostics, true) };
            let configuration = ConfigFound { path, is_missing, errors, warnings: Vec::new() };
            return DoctorReport { configuration, ..DoctorReport::default() };
        }
    };
    let warnings = messages(&loaded.warnings, false);
    let configuration = ConfigFound { path, is_missing: false, errors: Vec::new(), warnings };
    let fleet = loaded.fleet;
    let from_outside = |agent: &&AgentSpec| agent.enabled && agent.schedule.is_from_outside();
    let agents: Vec<&AgentSpec> = fleet.agents.iter().map(|agent| &**agent).filter(from_outside).collect();
    let daemon = of_daemon(app, &paths);
    let sources = agents.into_iter().map(|agent| source(agent, &fleet, daemon.as_ref())).collect();
    let targets = daemon.map(|view| view.deliveries).unwrap_or_default();
    DoctorReport { configuration, sources, targets }
}

/// Returns the status of the daemon, if one runs with this configuration.
fn of_daemon(app: &mut App, paths: &Paths) -> Option<DaemonView> {
    let address = app.address().ok()?;
    let view = Connection::open(&address, Timeouts::all(DAEMON_TIMEOUT))
        .and_then(|mut connection| connection.call::<GetDaemonStatus>(&NoParams {}))
        .ok()?;
    (view.config_path == paths.config.display().to_string()).then_some(view)
}

fn source(agent: &AgentSpec, fleet: &Fleet, daemon: Option<&DaemonView>) -> AgentSource {
    let told = daemon.and_then(|view| view.inboxes.iter().find(|one| one.agent_id == agent.id));
    let told = told.map(|one| one.problem.clone());
    let (waits_for, (problem, note)) = match &agent.schedule {
        Schedule::File(trigger) => {
            (trigger.describe(), told.map_or_else(|| folder(trigger), |problem| (Some(problem), None)))
        }
        Schedule::Webhook(name) => (format!("webhook {name}"), webhook(name, fleet.daemon.webhooks, daemon)),
        Schedule::Mcp(mcp) => (mcp.describe(), (told, server(daemon))),
        other => (other.describe(), (None, None)),
    };
    AgentSource { agent_id: agent.id.to_string(), waits_for, problem, note }
}

type SourceState = (Option<String>, Option<String>);

/// Checks whether the folder can be read, and whether its changes can be watched.
fn folder(trigger: &FileTrigger) -> SourceState {
    let folder = &trigger.folder;
    let shown = folder.display();
    // a single file name needs no permission to list the folder
    let looked = match trigger.is_pattern() {
        true => std::fs::read_dir(folder).map(|_| ()),
        false => std::fs::metadata(folder).map(|_| ()),
    };
    match looked {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return (Some(format!("there is no folder {shown}")), None);
        }
        Err(error) => return (Some(format!("{shown} can't be looked at: {error}")), None),
        Ok(()) => {}
    }
    let not_text = std::fs::read_dir(folder)
        .map_or(0, |names| names.flatten().filter(|entry| entry.file_name().to_str().is_none()).count());
    if trigger.is_pattern() && not_text > 0 {
        let files = counted(not_text, "name");
        return (None, Some(format!("{files} in {shown} can't be taken: not UTF-8; all others can")));
    }
    let watched = notify::recommended_watcher(|_| ())
        .and_then(|mut watcher| watcher.watch(folder, RecursiveMode::NonRecursive));
    let note = watched.err().map(|error| {
        let most = std::fs::read_to_string(MAX_WATCHES_PATH).ok();
        let most = most.map(|most| format!(" (fs.inotify.max_user_watches is {})", most.trim()));
        format!(
            "{shown} can't be watched, and files are found up to a minute late: {error}{}",
            most.unwrap_or_default()
        )
    });
    (None, note)
}

/// Checks whether a listener accepts deliveries, or could be started.
fn webhook(name: &str, address: Option<SocketAddr>, daemon: Option<&DaemonView>) -> SourceState {
    let Some(address) = address else {
        return (Some("[daemon] webhooks names no address where they are taken".into()), None);
    };
    let Some(daemon) = daemon else {
        return match TcpListener::bind(address) {
            Ok(_) => (None, Some("no daemon runs; the address is free".into())),
            Err(error) => (Some(format!("{address} can't be listened at: {error}")), None),
        };
    };
    let Some(listener) = &daemon.webhooks else {
        return (Some("the daemon takes no webhooks: reload its configuration".into()), None);
    };
    let refused = listener.refused.iter().find(|one| one.webhook == name);
    match (&listener.problem, refused) {
        (Some(problem), _) => (Some(format!("{} can't be listened at: {problem}", listener.address)), None),
        (None, Some(one)) if one.blind => (Some(crate::cli::render::refused_deliveries(one)), None),
        (None, Some(one)) => (None, Some(crate::cli::render::refused_deliveries(one))),
        (None, None) => (None, None),
    }
}

fn server(daemon: Option<&DaemonView>) -> Option<String> {
    daemon.is_none().then(|| "not asked, since no daemon runs with this configuration".to_owned())
}

#[cfg(test)]
mod tests {
    //! Tests of the checks of folders and addresses.
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_a_problem_and_one_that_is_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let trigger = |path: std::path::PathBuf| FileTrigger {
            pattern: "inbox/*".into(),
            folder: path,
            name: "*".into(),
            settle: FileTrigger::SETTLE,
        };
        assert_eq!(super::folder(&trigger(folder.path().to_owned())), (None, None));
        let (problem, _) = super::folder(&trigger(folder.path().join("none")));
        assert!(problem.unwrap().contains("there is no folder"));
        std::fs::write(folder.path().join("file"), "").unwrap();
        let (problem, _) = super::folder(&trigger(folder.path().join("file")));
        assert!(problem.unwrap().contains("can't be looked at"));
    }

    #[test]
    fn an_address_that_somebody_has_is_a_problem() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert!(webhook("a", Some(address), None).0.unwrap().contains("can't be listened at"));
        drop(taken);
        assert_eq!(webhook("a", Some(address), None).0, None);
        assert!(webhook("a", None, None).0.is_some());
    }
}
