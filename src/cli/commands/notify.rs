//! `bgagent notify test`.
use super::prelude::*;
use crate::cli::args::NotifyCommand;
use crate::protocol::{TestNotification, TestNotificationParams};
use std::time::Duration;

/// Timeout of the answer. A receiver may take long; the daemon enforces its own limit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

pub(in crate::cli) fn run(app: &mut App, command: &NotifyCommand) -> Result<Outcome, Failure> {
    let NotifyCommand::Test { target, kind } = command;
    let mut connection = app.connect()?;
    connection.set_answer_timeout(ANSWER_TIMEOUT);
    let params = TestNotificationParams { target: target.clone(), kind: Some(*kind) };
    let sent = connection.call::<TestNotification>(&params)?;
    app.answer(&sent, |sent, screen| {
        let target = plain(&sent.target);
        let took = format!("{} ms", sent.took_ms);
        match &sent.error {
            None => format!(
                "{} {target} accepted a test message of kind `{}` in {took}\n",
                screen.paint(Tone::Good, "✓"),
                sent.kind
            ),
            Some(error) => {
                format!("{} nothing reached {target}: {}\n", screen.paint(Tone::Bad, "✗"), plain(error))
            }
        }
    })?;
    Ok(if sent.delivered { Outcome::Done } else { Outcome::Negative })
}
