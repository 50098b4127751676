//! What tools there are: names, effects, sentences, schemas. A tool without [`Runs`] is not in this
//! version; it is listed so that people and `check` can say so instead of "unknown".
use super::{Effect, Entry, ToolError, ToolInfo, ToolOutput, probe, system_metrics};
use crate::domain::ToolSpec;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A tool that is in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    SystemMetrics,
    Probe,
}

impl Runs {
    /// JSON Schema of all its arguments.
    pub(super) fn schema(self) -> Value {
        match self {
            Self::SystemMetrics => system_metrics::schema(),
            Self::Probe => probe::schema(),
        }
    }

    /// Calls it. `bound` is for tools that can give a part when their time is nearly up.
    pub(super) async fn call(self, args: Value, bound: Duration) -> Result<ToolOutput, ToolError> {
        match self {
            Self::SystemMetrics => system_metrics::call(&args).await,
            Self::Probe => probe::call(&args, bound).await,
        }
    }
}

/// Name, effect, what runs, one sentence.
const BUILT_INS: &[(&str, Effect, Option<Runs>, &str)] = &[
    (
        "system_metrics",
        Effect::Read,
        Some(Runs::SystemMetrics),
        "Measures cpu, load, memory, swap, disks, inodes, network, uptime and the busiest processes of this machine.",
    ),
    (
        "probe",
        Effect::Read,
        Some(Runs::Probe),
        "Checks disks, memory, load, HTTP addresses, TCP ports, processes, systemd units and commands against thresholds.",
    ),
    (
        "http",
        Effect::Effect,
        None,
        "Sends an HTTP request to an allowed host and gives its answer as readable text.",
    ),
    ("feed", Effect::Read, None, "Reads RSS, Atom and JSON feeds from several sources at a time."),
    (
        "sql",
        Effect::Effect,
        None,
        "Runs a statement with bound parameters on an SQLite or PostgreSQL database.",
    ),
    (
        "archive_rows",
        Effect::Idempotent,
        None,
        "Moves old rows of a table to cheaper storage: copies, verifies, then deletes, chunk by chunk.",
    ),
    ("files", Effect::Effect, None, "Lists, reads, writes and appends files under allowed folders."),
    ("s3", Effect::Effect, None, "Lists, gets and puts objects of S3-compatible storage."),
    (
        "shell",
        Effect::Effect,
        None,
        "Runs one of an allow-list of commands with typed parameters, without a shell.",
    ),
    ("remember", Effect::Idempotent, None, "Keeps a note of the agent under a key."),
    ("recall", Effect::Read, None, "Reads the agent's notes."),
    ("report", Effect::Idempotent, None, "Opens, updates or resolves an incident."),
];

/// All built-in tools.
pub(super) fn built_ins() -> impl Iterator<Item = Entry> {
    BUILT_INS.iter().map(|(name, effect, runs, description)| Entry {
        info: ToolInfo {
            name: (*name).to_owned(),
            kind: None,
            effect: *effect,
            description: (*description).to_owned(),
            schema: schema_of(*runs),
            available: runs.is_some(),
        },
        runs: *runs,
        fixed: Map::new(),
    })
}

/// A configured instance: its settings are arguments that its callers can't change.
pub(super) fn instance(name: &str, spec: &ToolSpec) -> Entry {
    let kind = BUILT_INS.iter().find(|(kind, ..)| *kind == spec.kind);
    let runs = kind.and_then(|(_, _, runs, _)| *runs).filter(|_| spec.available);
    let mut fixed = spec.settings.as_object().cloned().unwrap_or_default();
    fixed.remove("type");
    Entry {
        info: ToolInfo {
            name: name.to_owned(),
            kind: Some(spec.kind.clone()),
            effect: kind.map_or(Effect::Effect, |(_, effect, ..)| *effect),
            description: kind.map_or_else(String::new, |(.., description)| (*description).to_owned()),
            schema: without(schema_of(runs), &fixed),
            available: runs.is_some(),
        },
        runs,
        fixed,
    }
}

fn schema_of(runs: Option<Runs>) -> Value {
    runs.map_or_else(|| json!({"type": "object"}), Runs::schema)
}

/// The schema of the arguments that are left when some are fixed.
fn without(mut schema: Value, fixed: &Map<String, Value>) -> Value {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|key, _| !fixed.contains_key(key));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|key| key.as_str().is_none_or(|key| !fixed.contains_key(key)));
    }
    schema
}
