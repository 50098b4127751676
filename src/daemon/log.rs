//! The daemon's log: few lines, each about something that matters when looking for trouble. The
//! events have everything in full.
use crate::config::{Diagnostic, Loaded};
use crate::domain::{Fact, RunStatus, counted};

/// Maximum length of a line, in characters.
const MAX_LINE_CHARS: usize = 400;

/// Whether a line is good or bad news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogTone {
    Good,
    Bad,
}

/// Formats the line of a fact, if it is worth one. Called before the commit; the line is emitted after it.
pub(super) fn line_of(fact: &Fact) -> Option<(LogTone, String)> {
    let (tone, line) = match fact {
        Fact::ConfigApplied { path, applied, added, changed, removed, .. } => {
            let count = |sign, n: usize| if n == 0 { String::new() } else { format!(", {sign} {n}") };
            let revision = applied.as_ref().map_or_else(String::new, |applied| {
                format!(" as revision {}, applied by {}", applied.revision, applied.by)
            });
            let (new, other, gone) =
                (count("new", added.len()), count("changed", changed.len()), count("removed", removed.len()));
            (LogTone::Good, format!("configuration {path} is in force{revision}{new}{other}{gone}"))
        }
        Fact::ConfigRejected { path, errors } => {
            let first = errors.first().map(|error| gist(error)).unwrap_or_default();
            let line = match &errors[..] {
                // about the file as a whole
                [one] if !one.contains("--> ") => {
                    format!("the configuration was not applied, the old one stays: {first}")
                }
                _ => format!(
                    "configuration {path} is rejected, the old one stays; {}, the first: {first}",
                    counted(errors.len(), "error")
                ),
            };
            (LogTone::Bad, line)
        }
        Fact::RunEnded { run, agent, status, error, .. } => {
            if matches!(status, RunStatus::Completed | RunStatus::Cancelled) {
                return None;
            }
            let why = error.as_ref().map_or(String::new(), |error| format!(": {}", error.message));
            (LogTone::Bad, format!("{agent}: run {} {status}{why}", run.short()))
        }
        Fact::CircuitOpened { agent, failures, until, .. } => (
            LogTone::Bad,
            format!("{agent}: circuit opened after {failures} failures in a row, until {until:.0}"),
        ),
        Fact::CircuitClosed { agent, reason } => {
            (LogTone::Good, format!("{agent}: circuit closed: {reason}"))
        }
        Fact::IncidentOpened(one) => {
            (LogTone::Bad, format!("{}: incident opened: {} ({})", one.agent, one.title, one.key))
        }
        Fact::IncidentResolved(one) => {
            (LogTone::Good, format!("{}: incident resolved: {} ({})", one.agent, one.title, one.key))
        }
        Fact::IncidentDiagnosed { agent, key, diagnosis, .. } => {
            (LogTone::Good, format!("{agent}: {key}: {} found: {}", diagnosis.by, diagnosis.text))
        }
        Fact::SlotsTakenBack { agent, taken, .. } => (
            LogTone::Bad,
            format!(
                "{agent}: the clock was set back: {} of slots from {:.0} to {:.0} are taken back",
                counted(taken.count, "verdict"),
                taken.first,
                taken.last
            ),
        ),
        Fact::Budget(news) if news.exhausted => (LogTone::Bad, news.text.clone()),
        _ => return None,
    };
    let line: String =
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_LINE_CHARS).collect();
    Some((tone, line))
}

/// Emits a line.
pub(super) fn say(line: &(LogTone, String)) {
    match line {
        (LogTone::Good, text) => tracing::info!("{text}"),
        (LogTone::Bad, text) => tracing::warn!("{text}"),
    }
}

/// Logs the warnings of a configuration that was applied.
pub(super) fn log_warnings(loaded: &Loaded) {
    let file = loaded.fleet.path.display();
    for Diagnostic { message, hint, line, key, .. } in &loaded.warnings {
        let what = hint.as_ref().map_or_else(|| message.clone(), |hint| format!("{message}: {hint}"));
        match key {
            Some(key) => tracing::warn!(%file, line, key = %key, "{what}"),
            None => tracing::warn!(%file, "{what}"),
        }
    }
}

/// Summarizes a rendered error in one line: the message and its location.
fn gist(error: &str) -> String {
    let mut lines = error.lines().map(str::trim);
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ");
    match lines.find_map(|line| line.strip_prefix("--> ")) {
        Some(place) => format!("{what} ({place})"),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_file_is_one_line_with_its_first_error() {
        let errors =
            vec!["error: unknown key `x`\n --> agents.toml:2:1\n  |\n2 | x = 1".into(), "error: y".into()];
        let line = line_of(&Fact::ConfigRejected { path: "agents.toml".into(), errors });
        let text = "configuration agents.toml is rejected, the old one stays; 2 errors, the first: unknown key `x` (agents.toml:2:1)";
        assert_eq!(line, Some((LogTone::Bad, text.to_owned())));
        assert_eq!(line_of(&Fact::DaemonStopping { reason: "x".into() }), None);
    }
}
