//! A program that receives the message as JSON on standard input.
use super::message::{Message, SendError};
use crate::child::{self, ChildError, Confinement, Finished, Inherit, Program};
use crate::domain::{CommandSpec, ProgramOwner, TextOrSecret};
use crate::secret;
use std::time::Duration;

/// Maximum length of a variable: Linux accepts 128 KiB, and standard input has all of it.
const MAX_VARIABLE_BYTES: usize = 4096;

pub(super) async fn send(
    receiver: &str,
    spec: &CommandSpec,
    message: &Message,
    timeout: Duration,
) -> Result<(), SendError> {
    let mut env = Vec::new();
    let mut hidden = Vec::new();
    for (name, value) in &spec.env {
        let text = secret::value_of(value, timeout)
            .await
            .map_err(|error| SendError::passing(format!("no value for the variable {name}: {error}")))?;
        if matches!(value, TextOrSecret::Secret(_)) {
            hidden.push(text.clone());
        }
        env.push((name.clone(), text.expose().to_owned()));
    }
    env.extend([
        ("BGAGENT_ABOUT".to_owned(), message.about.as_str().to_owned()),
        ("BGAGENT_AGENT_ID".to_owned(), message.agent.to_string()),
        ("BGAGENT_AT".to_owned(), message.at.to_string()),
        ("BGAGENT_SUBJECT".to_owned(), variable(&message.subject)),
        ("BGAGENT_MESSAGE_ID".to_owned(), message.id.to_string()),
        ("BGAGENT_IDEMPOTENCY_KEY".to_owned(), message.idempotency_key()),
    ]);
    let mut stdin = message.to_json().to_string();
    stdin.push('\n');
    let owner =
        ProgramOwner { table: format!("notify.{receiver}"), agent: Some(message.agent.clone()), run: None };
    let program = Program {
        argv: &spec.argv,
        inherit: Inherit::Basics,
        env: &env,
        cwd: Some(&spec.cwd),
        stdin: Some(stdin.as_bytes()),
        confinement: spec
            .sandbox
            .as_deref()
            .map(|sandbox| Confinement::new(sandbox, &owner, &spec.argv, spec.env.keys())),
        control: None,
        max_output: 4096,
    };
    let name = spec.argv.first().map_or("", String::as_str);
    let finished = run(program, timeout).await?;
    if finished.status.success() {
        return Ok(());
    }
    let mut said = secret::redact(&child::first_line(&finished.stderr)).into_owned();
    for value in &hidden {
        said = said.replace(value.expose(), secret::REDACTED);
    }
    let said = if said.is_empty() { said } else { format!(": {said}") };
    Err(SendError::passing(format!("`{name}` ended with {}{said}", child::how_it_ended(finished.status))))
}

/// Runs a program with slightly less than the timeout of the delivery, so that its own error is reported.
pub(super) async fn run(program: Program<'_>, timeout: Duration) -> Result<Finished, SendError> {
    child::run(program, timeout.mul_f64(0.95)).await.map_err(|error| SendError {
        message: error.to_string(),
        worth_retrying: !matches!(error, ChildError::Missing(_)),
        reached: Vec::new(),
        retry_after: None,
        in_doubt: !matches!(error, ChildError::Missing(_)),
    })
}

fn variable(text: &str) -> String {
    let mut end = text.len().min(MAX_VARIABLE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', " ")
}
