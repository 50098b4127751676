//! Tools: their kinds, the settings of an instance, and the arguments of a call.
mod archive;
mod arguments;
pub mod assistant;
mod error;
mod feed;
mod files;
mod http;
mod info;
mod json;
mod metrics;
mod notes;
mod outward;
mod probe;
mod report;
mod s3;
mod shell;
mod sql;
mod words;

pub use archive::{ArchiveSettings, ArchiveSource, ArchiveTarget, Database, OneOrMany, Plain};
pub use arguments::{CallSchema, Property};
pub use error::ToolError;
pub use feed::{FeedArgs, FeedLogin, FeedSettings, Since};
pub use files::{FilesArgs, FilesOp, FilesSettings, Guarded, shown_roots};
pub use http::{AnswerForm, ChosenHeaders, HttpArgs, HttpBody, HttpSettings};
pub use info::{MAX_TOOL_RESULT_BYTES, ToolInfo};
pub use metrics::MetricsArgs;
pub use notes::{RecallArgs, RememberArgs};
pub use outward::{OutgoingData, Outward};
pub use probe::{ProbeCheck, ProbeSettings, ProbeTarget, WebCheck};
pub use report::{ReportArgs, ReportSeverity};
pub use s3::{S3Args, S3Op, S3Settings};
pub use shell::{ParameterKind, ShellArg, ShellArgs, ShellCommand, ShellSettings};
pub use sql::{SqlArgs, SqlParams, SqlSettings};
pub use words::{DiskMetric, Effect, HttpMethod, ProbeType, TimeUnit, ToolKind, ToolMode};

/// The settings of a tool instance.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolSettings {
    Http(HttpSettings),
    Feed(FeedSettings),
    /// `None`: not configured, so it can't do anything.
    Sql(Option<SqlSettings>),
    /// `None`: not configured, so it can't do anything.
    Files(Option<FilesSettings>),
    /// `None`: not configured, so it can't do anything.
    Shell(Option<ShellSettings>),
    /// `None`: not configured, so it can't do anything.
    S3(Option<S3Settings>),
    /// Arguments that callers can't change.
    SystemMetrics(MetricsArgs),
    /// `None`: each call specifies its checks.
    Probe(Option<ProbeSettings>),
    Remember,
    Recall,
    Report,
    /// `None`: each call specifies them.
    ArchiveRows(Option<Box<ArchiveSettings>>),
}

impl ToolSettings {
    /// Returns the settings of a tool used by its own name, or without configuration.
    pub fn none(kind: ToolKind) -> Self {
        match kind {
            ToolKind::Http => Self::Http(HttpSettings::default()),
            ToolKind::Feed => Self::Feed(FeedSettings::default()),
            ToolKind::Sql => Self::Sql(None),
            ToolKind::Files => Self::Files(None),
            ToolKind::Shell => Self::Shell(None),
            ToolKind::S3 => Self::S3(None),
            ToolKind::SystemMetrics => Self::SystemMetrics(MetricsArgs::default()),
            ToolKind::Probe => Self::Probe(None),
            ToolKind::Remember => Self::Remember,
            ToolKind::Recall => Self::Recall,
            ToolKind::Report => Self::Report,
            ToolKind::ArchiveRows => Self::ArchiveRows(None),
        }
    }

    /// Returns the arguments of a call.
    pub fn arguments(&self) -> CallSchema {
        match self {
            Self::Http(settings) => HttpArgs::schema(settings),
            Self::Feed(settings) => FeedArgs::schema(&settings.fixed),
            Self::Sql(settings) => SqlArgs::schema(settings.as_ref()),
            Self::Files(settings) => FilesArgs::schema(settings.as_ref()),
            Self::Shell(settings) => ShellArgs::schema(settings.as_ref()),
            Self::S3(settings) => S3Args::schema(settings.as_ref()),
            Self::SystemMetrics(fixed) => MetricsArgs::schema(fixed),
            Self::Probe(settings) => ProbeSettings::schema(settings.as_ref()),
            Self::Remember => RememberArgs::schema(),
            Self::Recall => RecallArgs::schema(),
            Self::Report => ReportArgs::schema(),
            Self::ArchiveRows(settings) => ArchiveSettings::schema(settings.as_deref()),
        }
    }

    /// Returns which parts of a call leave this machine.
    pub fn outward(&self) -> Outward {
        let with = |keys: &[&str]| Outward::With(keys.iter().map(|key| (*key).to_owned()).collect());
        match self {
            Self::Http(_) => Outward::Request,
            Self::Feed(settings) if settings.fixed.urls.is_none() => with(&["urls"]),
            Self::S3(_) => with(&["key", "prefix", "after"]),
            Self::Probe(None) => with(&["checks"]),
            Self::ArchiveRows(None) => with(&["from", "to"]),
            Self::Shell(Some(settings)) => {
                let has_network = settings.sandbox.unless_off().is_some_and(|walls| !walls.net.is_empty());
                let commands =
                    settings.commands.iter().filter(|(_, command)| command.reaches_the_network(has_network));
                Outward::Commands(commands.map(|(name, _)| name.clone()).collect())
            }
            // The database, the feeds, the checks and the rows are fixed by the configuration.
            Self::Sql(_) | Self::Feed(_) | Self::Probe(Some(_)) | Self::ArchiveRows(Some(_)) => {
                Outward::Nothing
            }
            Self::Files(_) | Self::Shell(None) | Self::SystemMetrics(_) => Outward::Nothing,
            Self::Remember | Self::Recall | Self::Report => Outward::Nothing,
        }
    }

    /// Returns whether its results are private to the owner.
    pub fn is_private(&self) -> bool {
        match self {
            Self::Files(_) | Self::Sql(_) | Self::Recall => true,
            Self::S3(settings) => settings.as_ref().is_some_and(|settings| settings.access_key_id.is_some()),
            Self::Shell(settings) => settings
                .as_ref()
                .is_some_and(|settings| settings.commands.values().any(ShellCommand::reads_any_path)),
            Self::Http(_) | Self::Feed(_) | Self::Probe(_) | Self::SystemMetrics(_) => false,
            Self::Remember | Self::Report | Self::ArchiveRows(_) => false,
        }
    }
}
