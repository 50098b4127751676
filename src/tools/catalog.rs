//! What tools there are: names, effects, sentences, schemas.
use super::contract::{About, Call, ToolError, ToolInfo, ToolOutput};
use super::{archive, feed, files, http, notes, probe, report, s3, shell, sql, system_metrics};
use crate::domain::{Effect, ToolSpec};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A built-in tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    SystemMetrics,
    Probe,
    Remember,
    Recall,
    Report,
    Http,
    Feed,
    Sql,
    Shell,
    Files,
    ArchiveRows,
    S3,
}

impl Runs {
    /// What an instance with these settings is; null: the tool itself, without settings.
    pub(super) fn about(self, settings: &Value) -> About {
        match self {
            Self::SystemMetrics => About::local(system_metrics::schema()),
            // its commands and addresses are outside
            Self::Probe => About { untrusted: true, ..About::local(probe::schema()) },
            Self::Remember => About { effect: Effect::Idempotent, ..About::local(notes::remember_schema()) },
            Self::Recall => About::local(notes::recall_schema()),
            Self::Report => About { effect: Effect::Idempotent, ..About::local(report::schema()) },
            Self::Http => http::about(settings),
            Self::Feed => feed::about(settings),
            Self::Sql => sql::about(settings),
            Self::Shell => shell::about(settings),
            Self::Files => files::about(settings),
            Self::ArchiveRows => archive::about(settings),
            Self::S3 => s3::about(settings),
        }
    }

    /// Are the settings of an instance arguments that its callers can't change?
    pub(super) fn settings_are_arguments(self) -> bool {
        matches!(self, Self::SystemMetrics | Self::Probe)
    }

    /// Calls it.
    pub(super) async fn call(self, call: Call) -> Result<ToolOutput, ToolError> {
        match self {
            Self::SystemMetrics => system_metrics::call(&call.args, call.bound).await,
            Self::Probe => probe::call(&call.args, call.bound, call.context.run).await,
            Self::Remember => notes::remember(call).await,
            Self::Recall => notes::recall(call).await,
            Self::Report => report::call(call).await,
            Self::Http => http::call(call).await,
            Self::Feed => feed::call(call).await,
            Self::Sql => sql::call(call).await,
            Self::Shell => shell::call(call).await,
            Self::Files => files::call(call).await,
            Self::ArchiveRows => archive::call(call).await,
            Self::S3 => s3::call(call).await,
        }
    }
}

/// Name, what runs, one sentence.
const BUILT_INS: &[(&str, Runs, &str)] = &[
    (
        "system_metrics",
        Runs::SystemMetrics,
        "Measures cpu, load, memory, swap, disks, inodes, network, uptime and the busiest processes of this machine.",
    ),
    (
        "probe",
        Runs::Probe,
        "Checks disks, memory, load, HTTP addresses, TCP ports, processes, systemd units and commands against thresholds.",
    ),
    ("http", Runs::Http, "Sends an HTTP request to an allowed host and gives its answer as readable text."),
    (
        "feed",
        Runs::Feed,
        "Reads RSS, Atom and JSON feeds from several sources at a time; gives their items, newest first.",
    ),
    ("sql", Runs::Sql, "Runs a statement with bound parameters on an SQLite or PostgreSQL database."),
    (
        "archive_rows",
        Runs::ArchiveRows,
        "Moves old rows of a table to cheaper storage: copies, verifies, then deletes, chunk by chunk.",
    ),
    ("files", Runs::Files, "Lists, reads, writes and appends files under allowed folders."),
    ("s3", Runs::S3, "Lists, gets and puts objects of S3-compatible storage, in an allowed bucket."),
    ("shell", Runs::Shell, "Runs one of an allow-list of commands with typed parameters, without a shell."),
    ("remember", Runs::Remember, "Keeps a note of the agent under a key."),
    ("recall", Runs::Recall, "Reads the agent's notes."),
    ("report", Runs::Report, "Opens, updates or resolves an incident."),
];

/// All built-in tools.
pub(super) fn built_ins() -> impl Iterator<Item = Entry> {
    BUILT_INS.iter().map(|(name, runs, description)| entry(name, None, *runs, description, Value::Null))
}

/// A configured instance. Where its settings are arguments, its callers can't change them.
///
/// # Panics
/// If there is no built-in tool of that kind: a configuration that names another is refused.
pub(super) fn instance(name: &str, spec: &ToolSpec) -> Entry {
    let kind = BUILT_INS.iter().find(|(kind, ..)| *kind == spec.kind.as_str());
    let (_, runs, description) = kind.expect("a configuration names built-in tools only");
    let mut settings = spec.settings.clone();
    if let Some(settings) = settings.as_object_mut() {
        settings.remove("type");
    }
    entry(name, Some(spec.kind.as_str()), *runs, description, settings)
}

fn entry(name: &str, kind: Option<&str>, runs: Runs, description: &str, settings: Value) -> Entry {
    let mut about = runs.about(&settings);
    if let (true, Some(fixed)) = (runs.settings_are_arguments(), settings.as_object()) {
        about.schema = without(about.schema, fixed);
    }
    let info = ToolInfo {
        name: name.to_owned(),
        kind: kind.map(str::to_owned),
        effect: about.effect,
        reads_when: about.reads_when,
        untrusted: about.untrusted,
        description: description.to_owned(),
        schema: about.schema,
        available: true,
    };
    Entry { info, runs, settings: Arc::new(settings) }
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

/// One tool.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) info: ToolInfo,
    /// What runs.
    pub(super) runs: Runs,
    /// What the configuration says of this instance, without its `type`.
    pub(super) settings: Arc<Value>,
}

impl Entry {
    /// A probe whose caller says what is to be checked, or an archive whose caller says from where to where.
    /// Fine for a person, who could run a command anyway, and for arguments from the configuration; not
    /// for a model.
    pub(super) fn runs_what_it_is_told(&self) -> bool {
        let laid_down = match self.runs {
            Runs::Probe => "checks",
            Runs::ArchiveRows => "from",
            _ => return false,
        };
        self.settings.get(laid_down).is_none()
    }
}
