//! The environment of a program: cleared, then only what the contract names.
use super::report::Brief;
use crate::child::{Environment, Inherit, TRACEPARENT};
use crate::domain::{CommandSpec, EventType, ParamsSpec, TextOrSecret, Trigger, hex};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::time::Duration;

/// The variable that every process of a run carries, and that identifies it.
pub(super) const RUN_ID: &str = crate::child::RUN_ID;

/// Linux refuses longer single strings (`MAX_ARG_STRLEN`, 128 KiB including the name and a NUL).
const MAX_VALUE_BYTES: usize = 120 * 1024;
const MAX_LAST_RESULT_BYTES: usize = 64 * 1024;
/// Time limit for resolving one secret.
const SECRET_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the environment for a command of this attempt, and warnings about what does not fit into it.
///
/// # Errors
/// A sentence, if a secret is unavailable.
pub(super) async fn of_command(
    brief: &Brief,
    command: &CommandSpec,
) -> Result<(Environment, Vec<String>), String> {
    let mut environment = Inherit::Basics.environment();
    for (name, value) in &command.env {
        let value = match value {
            TextOrSecret::Text(text) => text.clone(),
            secret => crate::secret::value_of(secret, SECRET_TIMEOUT)
                .await
                .map_err(|error| format!("no value for the variable `{name}`: {error}"))?
                .expose()
                .to_owned(),
        };
        environment.insert(name.into(), value.into());
    }
    // if the command sets it, it belongs to its own trace
    if let Some(traceparent) = brief.traceparent.as_deref().filter(|_| !command.env.contains_key(TRACEPARENT))
    {
        environment.insert(TRACEPARENT.into(), traceparent.into());
    }
    let mut warnings = Vec::new();
    for (name, value) in of_attempt(brief) {
        // Only the event and the query have no limit of their own, and truncating either would corrupt it.
        if value.len() > MAX_VALUE_BYTES {
            let size = value.len() / 1024;
            warnings.push(format!("{name} was left out: {size} KiB don't fit into an environment variable"));
            environment.remove(OsStr::new(&*name));
            continue;
        }
        environment.insert(name.into_owned().into(), without_nul(value).into());
    }
    Ok((environment, warnings))
}

/// Returns a key that is equal in all attempts of a run, and for all runs of the same slot.
pub(super) fn idempotency_key(brief: &Brief) -> String {
    let subject = match brief.slot {
        Some(slot) => format!("{}\n{slot}", brief.agent.id),
        None => brief.run.to_string(),
    };
    hex(&Sha256::digest(subject.as_bytes())[..16])
}

fn of_attempt(brief: &Brief) -> Vec<(Cow<'static, str>, String)> {
    let mut variables: Vec<(&str, String)> = vec![
        ("BGAGENT_AGENT_ID", brief.agent.id.to_string()),
        (RUN_ID, brief.run.to_string()),
        ("BGAGENT_SLOT", brief.slot.map(|slot| slot.to_string()).unwrap_or_default()),
        ("BGAGENT_ATTEMPT", brief.attempt.to_string()),
        ("BGAGENT_FENCE", brief.fence.to_string()),
        ("BGAGENT_TRIGGER", Trigger::as_str(brief.trigger).to_owned()),
        ("BGAGENT_IDEMPOTENCY_KEY", idempotency_key(brief)),
    ];
    if let Some(query) = &brief.query {
        variables.push(("BGAGENT_QUERY", query.to_string()));
    }
    if let Some(event) = &brief.event {
        variables.push(("BGAGENT_EVENT", serde_json::to_string(event).expect("events serialize")));
        if let (Some(EventType::FileArrived), Some(path)) = (event.known(), event.payload["path"].as_str()) {
            variables.push(("BGAGENT_EVENT_PATH", path.to_owned()));
        }
    }
    if let Some(result) = brief.last_result.as_ref().map(|last| &last.text) {
        let end = result.floor_char_boundary(MAX_LAST_RESULT_BYTES);
        variables.push(("BGAGENT_LAST_RESULT", result[..end].to_owned()));
    }
    let of_param = |(name, value): (&String, &serde_json::Value)| {
        let name = format!("{}{}", ParamsSpec::VARIABLE, name.to_ascii_uppercase());
        (Cow::Owned(name), super::template::as_text(value))
    };
    let params = brief.params.iter().flat_map(|params| params.iter()).map(of_param);
    variables.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).chain(params).collect()
}

/// Replaces NUL, which environment variables can't contain.
fn without_nul(value: String) -> String {
    if value.contains('\0') { value.replace('\0', "\u{FFFD}") } else { value }
}
