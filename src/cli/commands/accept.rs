//! `bgagent accept`: shows what a proposal would change and which rights it would grant, asks, writes it into the
//! configuration, and has the daemon reload that.
use super::prelude::*;
use super::proposals::{DECIDE, FoundProposal, failure, refuse_agents};
use crate::cli::args::AcceptArgs;
use crate::config::{Loaded, Paths, TrustBook, Trusted, rights_beyond};
use crate::proposal::{ProposalBook, ReplaceError, replace};

pub(in crate::cli) fn run(app: &mut App, args: &AcceptArgs) -> Result<Outcome, Failure> {
    refuse_agents(app, DECIDE)?;
    let (book, trusted) = {
        let paths = app.paths()?;
        (ProposalBook::of(&paths.state_dir), paths.trust_book())
    };
    let found = FoundProposal::look(app, &book, &args.id)?;
    if app.json && !args.yes {
        app.print_json(&found.to_json())?;
        return Ok(Outcome::Negative);
    }
    if !app.json {
        let text = found.shown(&app.screen);
        app.print(&text)?;
        app.print("\n")?;
    }
    let path = found.current.fleet.path.clone();
    if !args.yes && !confirmed(app, &args.id)? {
        return Err(Failure::Negative {
            what: format!("proposal {} was not accepted", args.id),
            hint: format!("it still waits; `bgagent reject {}` drops it", args.id),
        });
    }
    app.flush()?;
    replace(&path, &found.current.text, &found.judged.amended.text).map_err(write_failure)?;
    app.note(&format!("{} is written", path.display()));
    renew_trust(app, &trusted, &found)?;
    if let Err(error) = book.remove(&args.id) {
        app.note(&format!("warning: {}", failure(error).what()));
    }
    if app.json {
        app.print_json(&found.to_json())?;
    }
    super::trust::take_up(app, &path)
}

fn confirmed(app: &mut App, id: &str) -> Result<bool, Failure> {
    let asked = app.confirm("Write this into the file?")?;
    asked.ok_or_else(|| {
        let hint = format!("look at it with `bgagent proposals {id}`, then: bgagent accept {id} --yes");
        Failure::usage_hint("there is no terminal to ask on", hint)
    })
}

/// Renews the trust in the file if it was trusted before: the person has just seen the rights that it has now.
fn renew_trust(app: &App, book: &std::path::Path, found: &FoundProposal) -> Result<(), Failure> {
    let path = &found.current.fleet.path;
    let was_trusted = |loaded: &Loaded| {
        TrustBook::read(book)
            .is_ok_and(|known| known.get(path).is_some() && rights_beyond(loaded, known.get(path)).is_empty())
    };
    if Paths::is_home(path) || !was_trusted(&found.current) {
        return Ok(());
    }
    TrustBook::trust(book, path, Trusted::of(&found.judged.loaded, app.screen.now))
        .map_err(|cause| Failure::io("write", book, cause))
}

fn write_failure(error: ReplaceError) -> Failure {
    match error {
        ReplaceError::Io { path, cause } => Failure::Io { doing: "write", path, cause },
        ReplaceError::Changed(_) => {
            Failure::Conflict { what: error.to_string(), hint: "nothing was written; accept it again".into() }
        }
        ReplaceError::Owner { user, .. } => Failure::NotOurs {
            what: error.to_string(),
            hint: format!("nothing was written; accept it as that user: sudo -u '#{user}' bgagent accept …"),
        },
    }
}
