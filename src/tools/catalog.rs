//! The catalog of tools: names, effects, descriptions, schemas.
use super::contract::{About, Call, ToolOutput};
use super::{archive_rows, feed, files, http, notes, probe, report, s3, shell, sql, system_metrics};
use crate::domain::{Effect, ToolError, ToolInfo, ToolKind, ToolOffer, ToolSettings, ToolSpec};
use std::sync::Arc;

/// Describes an instance with these settings.
pub(super) fn about(settings: &ToolSettings) -> About {
    match settings {
        ToolSettings::SystemMetrics(_) => system_metrics::about(),
        ToolSettings::Probe(_) => probe::about(),
        ToolSettings::Remember => About { effect: Effect::Idempotent, ..About::local() },
        ToolSettings::Recall => About::local(),
        ToolSettings::Report => About { effect: Effect::Idempotent, untrusted: true, ..About::local() },
        ToolSettings::Http(settings) => http::about(settings),
        ToolSettings::Feed(_) => feed::about(),
        ToolSettings::Sql(settings) => sql::about(settings.as_ref()),
        ToolSettings::Shell(settings) => shell::about(settings.as_ref()),
        ToolSettings::Files(settings) => files::about(settings.as_ref()),
        ToolSettings::S3(settings) => s3::about(settings.as_ref()),
        ToolSettings::ArchiveRows(_) => archive_rows::about(),
    }
}

/// Calls an instance of this kind.
pub(super) async fn call(kind: ToolKind, call: Call) -> Result<ToolOutput, ToolError> {
    match kind {
        ToolKind::SystemMetrics => system_metrics::call(call).await,
        ToolKind::Probe => probe::call(call).await,
        ToolKind::Remember => notes::remember(call).await,
        ToolKind::Recall => notes::recall(call).await,
        ToolKind::Report => report::call(call).await,
        ToolKind::Http => http::call(call).await,
        ToolKind::Feed => feed::call(call).await,
        ToolKind::Sql => sql::call(call).await,
        ToolKind::Shell => shell::call(call).await,
        ToolKind::Files => files::call(call).await,
        ToolKind::ArchiveRows => archive_rows::call(call).await,
        ToolKind::S3 => s3::call(call).await,
    }
}

/// Returns what it does, in one sentence.
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

/// Returns all built-in tools.
pub(super) fn built_ins() -> impl Iterator<Item = Entry> {
    ToolKind::ALL.iter().map(|kind| entry(kind.as_str(), None, *kind, ToolSettings::none(*kind)))
}

/// Returns a configured instance.
pub(super) fn instance(name: &str, spec: &ToolSpec) -> Entry {
    entry(name, Some(spec.kind), spec.kind, spec.settings.clone())
}

fn entry(name: &str, instance_of: Option<ToolKind>, kind: ToolKind, settings: ToolSettings) -> Entry {
    let about = about(&settings);
    let info = ToolInfo {
        name: name.to_owned(),
        kind: instance_of.map(|kind| kind.as_str().to_owned()),
        effect: about.effect,
        reads_when: about.reads_when,
        untrusted: about.untrusted,
        takes_all_time: kind == ToolKind::ArchiveRows,
        description: description(kind).to_owned(),
        schema: settings.arguments().json(),
        available: true,
    };
    Entry { info, kind, settings: Arc::new(settings) }
}

/// One tool.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) info: ToolInfo,
    /// The built-in tool that it is an instance of.
    pub(super) kind: ToolKind,
    /// The configuration of this instance, without its `type`.
    pub(super) settings: Arc<ToolSettings>,
}

impl Entry {
    /// Returns the tool as it is offered to a conversation.
    pub(super) fn offer(&self) -> ToolOffer {
        let (outward, private) = (self.settings.outward(), self.settings.is_private());
        ToolOffer { outward, private, ..self.info.offer() }
    }

    /// Returns whether the caller decides what this does: a probe whose caller chooses the checks, or an
    /// archive whose caller chooses source and destination. Acceptable for a person, who could run a command
    /// anyway, and for arguments from the configuration; not for a model.
    pub(super) fn caller_decides(&self) -> bool {
        match &*self.settings {
            ToolSettings::Probe(settings) => settings.is_none(),
            ToolSettings::ArchiveRows(settings) => settings.is_none(),
            _ => false,
        }
    }
}
