//! `bgagent trust`: shows what a configuration may do, and records a person's approval.
use super::prelude::*;
use crate::cli::args::TrustArgs;
use crate::client::{Connection, Timeouts};
use crate::config::{
    Context, Loaded, Paths, TrustBook, Trusted, rights_beyond, shell_word, untrusted_skills,
};
use crate::domain::{AgentSpec, Rights, SkillSpec, counted};
use crate::protocol::{GetDaemonStatus, NoParams, ReloadConfig};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Timeout for connecting to a daemon that may run with the file.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(5);

/// The report on a configuration.
#[derive(Debug, Serialize)]
struct View<'a> {
    path: &'a Path,
    /// SHA-256 of its text, in hex.
    sha256: &'a str,
    /// It is in the configuration folder, which needs no approval.
    home: bool,
    /// It may be loaded as it is: it is in that folder, or has no rights beyond those trusted.
    trusted: bool,
    /// Rights beyond those trusted.
    new: Vec<String>,
    /// All of its rights, by subject.
    rights: &'a Rights,
}

pub(in crate::cli) fn run(app: &mut App, args: &TrustArgs) -> Result<Outcome, Failure> {
    super::proposals::refuse_agents(app, "say which configuration is trusted")?;
    let (path, book) = {
        let paths = app.paths()?;
        (args.file.clone().unwrap_or_else(|| paths.config.clone()), paths.trust_book())
    };
    let loaded = crate::config::load(&path, &Context::system(app.screen.now))
        .map_err(|rejected| Failure::rejected(&rejected, app.stderr_color))?;
    let path = loaded.fleet.path.clone();
    let before = TrustBook::read(&book)
        .map_err(|error| {
            app.note(&format!("{} can't be read, so nothing is trusted: {error}", book.display()))
        })
        .unwrap_or_default();
    let (before, now) = (before.get(&path), Trusted::of(&loaded, app.screen.now));
    let view = view(&loaded, &now, before);
    if app.json && !args.yes {
        app.print_json(&view)?;
        return Ok(if view.trusted { Outcome::Done } else { Outcome::Negative });
    }
    if !app.json {
        let text = shown(&view, before, &app.screen);
        app.print(&text)?;
    }
    if !view.trusted && !args.yes && !confirmed(app, &path)? {
        return Err(Failure::Negative {
            what: format!("{} is not trusted", path.display()),
            hint: "a running daemon keeps the configuration that it has in force".into(),
        });
    }
    TrustBook::trust(&book, &path, now.clone()).map_err(|cause| Failure::io("write", &book, cause))?;
    if app.json {
        app.print_json(&View { trusted: true, ..view })?;
    } else {
        app.note(&format!("{} is trusted", path.display()));
    }
    take_up(app, &path)
}

fn view<'a>(loaded: &'a Loaded, now: &'a Trusted, before: Option<&Trusted>) -> View<'a> {
    let home = Paths::is_home(&loaded.fleet.path);
    let mut new = rights_beyond(loaded, before);
    let skills = untrusted_skills(&loaded.fleet, before);
    let trusted = (home || new.is_empty()) && skills.is_empty();
    if new.is_empty() {
        let changed = |(agent, skill): &(&Arc<AgentSpec>, &Arc<SkillSpec>)| {
            format!("agent {} follows the skill {} as it is now", agent.id, skill.head.name)
        };
        new = skills.iter().map(changed).collect();
    }
    View { path: &loaded.fleet.path, sha256: &now.sha256, home, trusted, new, rights: &now.rights }
}

/// Asks for confirmation; without a terminal, fails with the command to type.
fn confirmed(app: &mut App, path: &Path) -> Result<bool, Failure> {
    let asked = app.confirm(&format!("Trust {}?", plain(&path.display().to_string())))?;
    asked.ok_or_else(|| {
        let hint = format!("read what it may do, then: bgagent trust {} --yes", shell_word(path));
        Failure::usage_hint("there is no terminal to ask on", hint)
    })
}

/// Lists all rights; if the file was trusted before, those that are new (`+`) and those that were removed (`-`).
fn shown(view: &View<'_>, before: Option<&Trusted>, screen: &Screen) -> String {
    let mut text = String::new();
    let nothing = Rights::default();
    let trusted = before.map_or(&nothing, |before| &before.rights);
    let mut line = |sign: &str, tone, words: &str| {
        text += &format!("  {}\n", screen.paint(tone, &format!("{sign} {}", plain(words))));
    };
    let mut same = 0;
    for (about, rights) in view.rights.iter() {
        let old = trusted.get(about);
        let is_new = |line: &&String| old.is_none_or(|old| !old.may.contains(*line));
        let free = old.into_iter().flat_map(|old| &old.held).filter(|line| !rights.held.contains(*line));
        same += rights.may.iter().filter(|line| !is_new(line)).count();
        for new in rights.may.iter().filter(is_new) {
            line("+", Tone::Warn, &format!("{about} {new}"));
        }
        for free in free {
            line("+", Tone::Warn, &format!("{about} no longer {free}"));
        }
        for held in rights.held.iter().filter(|line| old.is_none_or(|old| !old.held.contains(*line))) {
            line(" ", Tone::Good, &format!("{about} {held}"));
        }
    }
    for (about, old) in trusted.iter() {
        let rights = view.rights.get(about);
        for gone in old.may.iter().filter(|line| rights.is_none_or(|rights| !rights.may.contains(*line))) {
            line("-", Tone::Dim, &format!("{about} {gone}"));
        }
    }
    let path = plain(&view.path.display().to_string());
    let what = match (before, same) {
        (Some(before), _) if before.sha256 == view.sha256 => format!("{path} is as it was trusted\n"),
        (Some(before), same) => {
            let same = counted(same, "right");
            format!("{path}, against what was trusted {} ({same} as before):\n", screen.relative(before.at))
        }
        (None, _) if view.rights.is_empty() => format!("{path} may do nothing\n"),
        (None, _) => format!("{path} may, as you:\n"),
    };
    let home = if view.home {
        "It is in the configuration folder, and is applied without being trusted, but for its skills.\n"
    } else {
        ""
    };
    format!("{}{text}{home}", screen.paint(Tone::Strong, &what))
}

/// Reloads the configuration of a daemon that runs with this file.
pub(super) fn take_up(app: &mut App, path: &Path) -> Result<Outcome, Failure> {
    let address = app.address()?;
    let Ok(mut connection) = Connection::open(&address, Timeouts::all(DAEMON_TIMEOUT)) else {
        return Ok(Outcome::Done);
    };
    let is_it = |other: &str| match (path.canonicalize(), Path::new(other).canonicalize()) {
        (Ok(path), Ok(other)) => path == other,
        _ => path == Path::new(other),
    };
    let runs_with_it =
        connection.call::<GetDaemonStatus>(&NoParams {}).is_ok_and(|daemon| is_it(&daemon.config_path));
    if runs_with_it {
        let view = connection.call::<ReloadConfig>(&NoParams {})?;
        app.note(&match view.revision {
            Some(revision) => format!(
                "its agents are not in force: those of revision {revision} of the fleet's configuration are, and `bgagent apply \
                 FILE` changes them"
            ),
            None => "the daemon has applied it".to_owned(),
        });
    }
    Ok(Outcome::Done)
}
