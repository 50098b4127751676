//! What tools there are: names, effects, sentences, schemas.
use super::contract::{About, Call, ToolError, ToolInfo, ToolOutput};
use super::{archive, feed, files, http, notes, probe, report, s3, shell, sql, system_metrics};
use crate::domain::{Effect, FeedSettings, HttpSettings, ToolKind, ToolSettings, ToolSpec};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What an instance with these settings is.
pub(super) fn about(kind: ToolKind, settings: &ToolSettings) -> About {
    match settings {
        ToolSettings::Http(settings) => return http::about(settings),
        ToolSettings::Feed(settings) => return feed::about(settings),
        ToolSettings::Sql(settings) => return sql::about(settings.as_ref()),
        ToolSettings::Files(settings) => return files::about(settings.as_ref()),
        ToolSettings::Shell(settings) => return shell::about(settings.as_ref()),
        ToolSettings::S3(settings) => return s3::about(settings.as_ref()),
        ToolSettings::Json(_) => {}
    }
    let settings = settings.json();
    match kind {
        ToolKind::SystemMetrics => About::local(system_metrics::schema()),
        // its commands and addresses are outside
        ToolKind::Probe => About { untrusted: true, ..About::local(probe::schema()) },
        ToolKind::Remember => About { effect: Effect::Idempotent, ..About::local(notes::remember_schema()) },
        ToolKind::Recall => About::local(notes::recall_schema()),
        ToolKind::Report => About { effect: Effect::Idempotent, ..About::local(report::schema()) },
        ToolKind::Http => http::about(&HttpSettings::default()),
        ToolKind::Feed => feed::about(&FeedSettings::default()),
        ToolKind::Sql => sql::about(None),
        ToolKind::Shell => shell::about(None),
        ToolKind::Files => files::about(None),
        ToolKind::ArchiveRows => archive::about(settings),
        ToolKind::S3 => s3::about(None),
    }
}

/// Are the settings of an instance arguments that its callers can't change?
pub(super) fn settings_are_arguments(kind: ToolKind) -> bool {
    matches!(kind, ToolKind::SystemMetrics | ToolKind::Probe)
}

/// Calls an instance of this kind.
pub(super) async fn call(kind: ToolKind, call: Call) -> Result<ToolOutput, ToolError> {
    match kind {
        ToolKind::SystemMetrics => system_metrics::call(&call.args, call.bound).await,
        ToolKind::Probe => probe::call(&call.args, call.bound, call.context.run).await,
        ToolKind::Remember => notes::remember(call).await,
        ToolKind::Recall => notes::recall(call).await,
        ToolKind::Report => report::call(call).await,
        ToolKind::Http => http::call(call).await,
        ToolKind::Feed => feed::call(call).await,
        ToolKind::Sql => sql::call(call).await,
        ToolKind::Shell => shell::call(call).await,
        ToolKind::Files => files::call(call).await,
        ToolKind::ArchiveRows => archive::call(call).await,
        ToolKind::S3 => s3::call(call).await,
    }
}

/// What it does, in one sentence.
const fn description(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::SystemMetrics => {
            "Measures cpu, load, memory, swap, disks, inodes, network, uptime and the busiest processes of this machine."
        }
        ToolKind::Probe => {
            "Checks disks, memory, load, HTTP addresses, TCP ports, processes, systemd units and commands against thresholds."
        }
        ToolKind::Http => "Sends an HTTP request to an allowed host and gives its answer as readable text.",
        ToolKind::Feed => {
            "Reads RSS, Atom and JSON feeds from several sources at a time; gives their items, newest first."
        }
        ToolKind::Sql => "Runs a statement with bound parameters on an SQLite or PostgreSQL database.",
        ToolKind::ArchiveRows => {
            "Moves old rows of a table to cheaper storage: copies, verifies, then deletes, chunk by chunk."
        }
        ToolKind::Files => "Lists, reads, writes and appends files under allowed folders.",
        ToolKind::S3 => "Lists, gets and puts objects of S3-compatible storage, in an allowed bucket.",
        ToolKind::Shell => "Runs one of an allow-list of commands with typed parameters, without a shell.",
        ToolKind::Remember => "Keeps a note of the agent under a key.",
        ToolKind::Recall => "Reads the agent's notes.",
        ToolKind::Report => "Opens, updates or resolves an incident.",
    }
}

/// All built-in tools.
pub(super) fn built_ins() -> impl Iterator<Item = Entry> {
    ToolKind::ALL.iter().map(|kind| entry(kind.as_str(), None, *kind, ToolSettings::none(*kind)))
}

/// A configured instance. Where its settings are arguments, its callers can't change them.
pub(super) fn instance(name: &str, spec: &ToolSpec) -> Entry {
    entry(name, Some(spec.kind), spec.kind, spec.settings.clone())
}

fn entry(name: &str, instance_of: Option<ToolKind>, kind: ToolKind, settings: ToolSettings) -> Entry {
    let mut about = about(kind, &settings);
    if let (true, Some(fixed)) = (settings_are_arguments(kind), settings.json().as_object()) {
        about.schema = without(about.schema, fixed);
    }
    let info = ToolInfo {
        name: name.to_owned(),
        kind: instance_of.map(|kind| kind.as_str().to_owned()),
        effect: about.effect,
        reads_when: about.reads_when,
        untrusted: about.untrusted,
        description: description(kind).to_owned(),
        schema: about.schema,
        available: true,
    };
    Entry { info, kind, settings: Arc::new(settings) }
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
    /// Of which built-in tool.
    pub(super) kind: ToolKind,
    /// What the configuration says of this instance, without its `type`.
    pub(super) settings: Arc<ToolSettings>,
}

impl Entry {
    /// A probe whose caller says what is to be checked, or an archive whose caller says from where to where.
    /// Fine for a person, who could run a command anyway, and for arguments from the configuration; not
    /// for a model.
    pub(super) fn runs_what_it_is_told(&self) -> bool {
        let laid_down = match self.kind {
            ToolKind::Probe => "checks",
            ToolKind::ArchiveRows => "from",
            _ => return false,
        };
        self.settings.json().get(laid_down).is_none()
    }
}
