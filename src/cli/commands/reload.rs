//! `bgagent reload`: reloads the configuration file. An invalid file is reported as an error with all of its
//! diagnostics.
use super::prelude::*;
use crate::protocol::{NoParams, ReloadConfig, ReloadView};

pub(in crate::cli) fn run(app: &mut App) -> Result<Outcome, Failure> {
    let view = app.connect()?.call::<ReloadConfig>(&NoParams {})?;
    app.answer(&view, text)?;
    if !app.json {
        app.flush()?;
        if let Some(revision) = view.revision {
            app.note(&format!(
                "agents come from revision {revision} of the fleet's configuration: `bgagent apply FILE` changes them; the file \
                 of the leader only says what is of its machine"
            ));
        }
        for warning in &view.warnings {
            app.note(warning.trim_end());
        }
    }
    Ok(Outcome::Done)
}

fn text(view: &ReloadView, screen: &Screen) -> String {
    if !view.changed {
        return "nothing changed\n".into();
    }
    let mut text = String::new();
    let groups = [
        ("+", Tone::Good, &view.added, "new"),
        ("~", Tone::Warn, &view.modified, "changed"),
        ("-", Tone::Bad, &view.removed, "removed"),
    ];
    for (sign, tone, agents, word) in groups {
        for agent in agents {
            text.push_str(&format!("{} {agent}  {word}\n", screen.paint(tone, sign)));
        }
    }
    if text.is_empty() {
        text.push_str("applied; no agent is different\n");
    }
    text
}
