//! A desktop notification for the user that the daemon runs as, by `notify-send`.
use super::message::{Message, SendError};
use super::program::run;
use crate::child::{self, Inherit, Program};
use crate::domain::Urgency;
use std::time::Duration;

pub(super) async fn send(message: &Message, timeout: Duration) -> Result<(), SendError> {
    let argv = argv(message);
    let program = Program {
        argv: &argv,
        inherit: Inherit::Session,
        env: &[],
        cwd: None,
        stdin: None,
        confinement: None,
        control: None,
        max_output: 4096,
    };
    let finished = match run(program, timeout).await {
        Err(error) if !error.worth_retrying => {
            return Err(SendError::lasting(format!(
                "{error}: install libnotify (`libnotify-bin` on Debian)"
            )));
        }
        other => other?,
    };
    if finished.status.success() {
        return Ok(());
    }
    let said = child::first_line(&finished.stderr);
    let said = if said.is_empty() { said } else { format!(": {said}") };
    Err(SendError::passing(format!(
        "`notify-send` ended with {}{said}",
        child::how_it_ended(finished.status)
    )))
}

fn argv(message: &Message) -> Vec<String> {
    let urgency = match message.urgency {
        Urgency::Info => "low",
        Urgency::Warning => "normal",
        Urgency::Critical => "critical",
    };
    // Desktops interpret the body, not the subject, as markup.
    let body = message.body.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let plain = |text: &str| text.replace('\0', " ");
    ["notify-send", "--app-name=bgagent", &format!("--urgency={urgency}"), "--"]
        .into_iter()
        .map(str::to_owned)
        .chain([plain(&message.subject), plain(&body)])
        .collect()
}
