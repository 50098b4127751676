//! `bgagent reload`: reloads the configuration file. An invalid file is reported as an error with all of its
//! diagnostics.
use super::prelude::*;
use crate::domain::AgentId;
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
    let mut text = changed_agents(screen, [&view.added, &view.modified, &view.removed]);
    if text.is_empty() {
        text.push_str("applied; no agent is different\n");
    }
    text
}

/// Lists the agents that are new, changed and removed, in this order: one line each.
pub(super) fn changed_agents(screen: &Screen, [added, modified, removed]: [&[AgentId]; 3]) -> String {
    let groups = [
        ("+", Tone::Good, added, "new"),
        ("~", Tone::Warn, modified, "changed"),
        ("-", Tone::Bad, removed, "removed"),
    ];
    let mut text = String::new();
    for (sign, tone, agents, word) in groups {
        for agent in agents {
            text.push_str(&format!("{} {agent}  {word}\n", screen.paint(tone, sign)));
        }
    }
    text
}
