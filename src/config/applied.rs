//! The configuration of a fleet, which is kept with its records, and a machine's own file: what is in force is both together.
use super::context::Context;
use super::diagnostic::Diagnostic;
use super::loaded::{Loaded, Rejected};
use super::own_part::OwnPart;
use super::parse::parse;
use crate::domain::{AgentId, AppliedConfig, Fleet, Rights, Schedule};
use std::path::PathBuf;
use std::sync::Arc;

/// Keys that only the file of a machine says.
const OF_THE_MACHINE: &[&str] = &["store", "daemon.node", "daemon.labels", "daemon.leads", "daemon.reload"];

/// What is in force on a machine with this file, in a fleet with this newest revision. Paths of the revision are relative to
/// the folder of the file.
///
/// # Errors
/// The revision is not valid on this machine. The text of what is rejected is that of the file.
pub fn with_applied(
    own: Loaded,
    applied: Option<Arc<AppliedConfig>>,
    context: &Context<'_>,
) -> Result<Loaded, Box<Rejected>> {
    let Some(applied) = applied else { return Ok(own) };
    let Some(text) = applied.text.clone() else {
        let fleet = Fleet { applied: Some(applied), ..own.fleet };
        return Ok(Loaded { fleet, ..own });
    };
    let Loaded { fleet, text: own_text, given, .. } = own;
    let path = fleet.path.clone();
    let part = OwnPart::of(fleet, given);
    let context = Context {
        now: context.now,
        timezone: context.timezone.clone(),
        home: context.home.clone(),
        env: context.env,
        state_dir: context.state_dir.clone(),
        real: context.real,
        own: Some(&part),
        look: context.look,
    };
    let loaded = match parse(text.to_string(), &path, &context) {
        Ok(loaded) => loaded,
        Err(rejected) => {
            return Err(Box::new(Rejected {
                path: PathBuf::from(name_of(&applied)),
                text: own_text,
                ..*rejected
            }));
        }
    };
    let mut warnings: Vec<Diagnostic> =
        loaded.warnings.into_iter().map(|one| without_place(one, &applied)).collect();
    warnings.extend(idle(&part, &applied));
    warnings.extend(of_machines(&loaded.given));
    warnings.extend(no_zone(&loaded.fleet, &loaded.given));
    let fleet = Fleet { applied: Some(applied), ..loaded.fleet };
    Ok(Loaded { fleet, text: own_text, shown: loaded.shown, warnings, given: loaded.given })
}

/// What errors name as the file.
fn name_of(applied: &AppliedConfig) -> String {
    // one that is about to be applied has no number yet
    if applied.revision == 0 { applied.origin.clone() } else { applied.name() }
}

/// The lines of a revision are not those of the file that a warning is shown with.
fn without_place(one: Diagnostic, applied: &AppliedConfig) -> Diagnostic {
    let place = if one.line > 0 { format!("{}:{}: ", name_of(applied), one.line) } else { String::new() };
    Diagnostic { message: format!("{place}{}", one.message), span: None, line: 0, column: 0, ..one }
}

/// A file that says more than what is of the machine.
fn idle(part: &OwnPart, applied: &AppliedConfig) -> Option<Diagnostic> {
    let idle = part.idle();
    let first = idle.first()?;
    let tables: Vec<String> = idle.iter().map(|name| format!("[{name}]")).collect();
    let message = format!(
        "{} of this file is not in force: {} is, which {} applied at {:.0}",
        tables.join(", "),
        applied.name(),
        applied.by,
        applied.at
    );
    let hint = "take it out of the file, or `bgagent apply FILE` to apply it to the fleet".to_owned();
    Some(Diagnostic::of_key((*first).to_owned(), message, hint))
}

/// A revision that says what only the files of machines say.
fn of_machines(given: &std::collections::BTreeSet<String>) -> Option<Diagnostic> {
    let said: Vec<&str> = OF_THE_MACHINE.iter().copied().filter(|key| given.contains(*key)).collect();
    let first = said.first()?;
    let message = format!(
        "{} of what is applied has no effect: each node has its own, in its file",
        said.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
    );
    Some(Diagnostic::of_key((*first).to_owned(), message, "leave it out".to_owned()))
}

/// Machines have zones of their own, and any of them may come to lead.
fn no_zone(fleet: &Fleet, given: &std::collections::BTreeSet<String>) -> Option<Diagnostic> {
    let by_zone = |schedule: &Schedule| matches!(schedule, Schedule::Cron(_));
    let is_asked = fleet.agents.iter().any(|agent| agent.schedule.parts().iter().any(by_zone));
    if given.contains("daemon.timezone") || given.contains("defaults.timezone") || !is_asked {
        return None;
    }
    let message =
        "agents without a `timezone` are due by the time zone of whichever machine leads".to_owned();
    let hint = "set `timezone` of [daemon] in what you apply".to_owned();
    Some(Diagnostic::of_key("daemon.timezone".to_owned(), message, hint))
}

/// What another configuration changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigChanges {
    /// Agents that are not there yet.
    pub added: Vec<AgentId>,
    /// Agents that are different.
    pub changed: Vec<AgentId>,
    /// Agents that are gone.
    pub removed: Vec<AgentId>,
    /// What it may do that the other one may not.
    pub rights: Vec<String>,
}

/// What changes from `old` to `new`.
pub fn changes_of(old: &Fleet, new: &Fleet) -> ConfigChanges {
    let mut changes = ConfigChanges::default();
    for agent in &new.agents {
        match old.agent(agent.id.as_str()) {
            None => changes.added.push(agent.id.clone()),
            Some(before) if before.config_hash != agent.config_hash => changes.changed.push(agent.id.clone()),
            Some(_) => {}
        }
    }
    changes.removed = old.names().filter(|id| new.agent(id.as_str()).is_none()).cloned().collect();
    changes.rights = Rights::of(new).beyond(&Rights::of(old));
    changes
}

#[cfg(test)]
mod tests {
    //! A machine's file, and what was applied to its fleet.
    use super::*;
    use std::path::Path;

    const OWN: &str = "[store]\nurl = \"postgres://b@db/fleet?sslmode=verify-full\"\n[daemon]\nnode = \"here\"\nlabels = { gpu = \"h100\" }\nmax_parallel_runs = 3\n";
    const AGENT: &str = "[agents.a]\ninterval = \"1h\"\ncommand = \"true\"\n";

    fn applied(text: &str) -> Option<Arc<AppliedConfig>> {
        let at = "2026-12-01T10:00:00Z".parse().unwrap();
        let config = AppliedConfig::new(Some(text.into()), "/x/agents.toml".into(), "ada at main".into(), at);
        Some(Arc::new(AppliedConfig { revision: 3, ..config }))
    }

    fn in_force(own: &str, applied: Option<Arc<AppliedConfig>>) -> Result<Loaded, Box<Rejected>> {
        let context = Context::system("2026-12-01T12:00:00Z".parse().unwrap());
        let own = parse(own.to_owned(), Path::new("/home/u/agents.toml"), &context).unwrap();
        with_applied(own, applied, &context)
    }

    #[test]
    fn a_node_is_what_its_file_says_and_runs_what_was_applied() {
        let text = format!(
            "[daemon]\nmax_parallel_runs = 9\nshutdown_grace = \"5s\"\n{AGENT}[agents.b]\nwhere = {{ gpu = \"h100\" }}\ncommand = \"./b.sh\"\n"
        );
        let loaded = in_force(OWN, applied(&text)).unwrap();
        let fleet = &loaded.fleet;
        assert_eq!(fleet.names().map(|id| id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(fleet.daemon.node.name.as_ref().map(|name| name.as_str()), Some("here"));
        assert_eq!(fleet.daemon.max_parallel_runs, 3, "its own goes first");
        assert_eq!(fleet.daemon.shutdown_grace.as_secs(), 5, "what it does not say was applied");
        assert!(fleet.store.is_some());
        assert_eq!(
            (fleet.newest_revision(), fleet.source().as_str()),
            (3, "revision 3 of the fleet's configuration")
        );
        assert_eq!((loaded.text.as_str(), loaded.warnings.len()), (OWN, 2), "{:?}", loaded.warnings);
    }

    #[test]
    fn what_is_not_in_force_is_told() {
        let said = |own: &str, text: &str| {
            let warnings = in_force(own, applied(text)).unwrap().warnings;
            warnings.into_iter().map(|one| one.message).collect::<Vec<_>>().join("\n")
        };
        let both = said(&format!("{OWN}{AGENT}"), AGENT);
        assert!(both.contains("[agents] of this file is not in force: revision 3"), "{both}");
        assert!(both.contains("which ada at main applied at 2026-12-01T10:00:00Z"), "{both}");
        let of_machine = said(OWN, &format!("{OWN}{AGENT}"));
        assert!(
            of_machine.contains("`store`, `daemon.node`, `daemon.labels` of what is applied"),
            "{of_machine}"
        );
        let zone = said(OWN, "[agents.a]\ncron = \"0 3 * * *\"\ncommand = \"true\"\n");
        assert!(zone.contains("whichever machine leads"), "{zone}");
        assert!(
            !said(
                OWN,
                "[daemon]\ntimezone = \"UTC\"\n[agents.a]\ncron = \"0 3 * * *\"\ncommand = \"true\"\n"
            )
            .contains("leads")
        );
    }

    #[test]
    fn without_one_the_file_is_in_force() {
        let own = format!("{OWN}{AGENT}");
        let withdrawn = applied(AGENT).map(|one| Arc::new(AppliedConfig { text: None, ..(*one).clone() }));
        for (applied, newest) in [(None, 0), (withdrawn, 3)] {
            let loaded = in_force(&own, applied).unwrap();
            assert_eq!((loaded.fleet.newest_revision(), loaded.fleet.agents.len()), (newest, 1));
            assert!(loaded.fleet.revision_in_force().is_none());
            assert_eq!(loaded.fleet.source(), "/home/u/agents.toml");
        }
    }

    #[test]
    fn a_revision_that_is_not_valid_here_is_named() {
        let rejected = in_force(OWN, applied("[agents.a]\ncomand = \"true\"\n")).unwrap_err();
        assert_eq!(rejected.path, Path::new("revision 3 of the fleet's configuration"));
        assert_eq!(rejected.text, OWN);
        assert!(rejected.diagnostics.iter().any(|one| one.message.contains("comand")), "{rejected:?}");
    }

    #[test]
    fn changes_are_told_with_new_rights() {
        let fleet = |text: &str| in_force(OWN, applied(text)).unwrap().fleet;
        let (old, new) = (
            fleet(AGENT),
            fleet("[agents.a]\ninterval = \"2h\"\ncommand = \"true\"\n[agents.b]\ncommand = \"./b.sh\"\n"),
        );
        let changes = changes_of(&old, &new);
        let names = |ids: &[AgentId]| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (names(&changes.added), names(&changes.changed)),
            (vec!["b".to_owned()], vec!["a".to_owned()])
        );
        assert!(
            changes.rights.len() == 1 && changes.rights[0].contains("agent b runs"),
            "{:?}",
            changes.rights
        );
        assert_eq!(changes_of(&new, &old).removed.len(), 1);
        assert_eq!(changes_of(&new, &new), ConfigChanges::default());
    }
}
