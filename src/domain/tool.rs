//! Tools: which there are, and what the configuration says of an instance of one.
mod archive;
mod feed;
mod files;
mod http;
mod json;
mod metrics;
mod outward;
mod probe;
mod s3;
mod shell;
mod sql;
mod words;

pub use archive::{ArchiveSettings, ArchiveSource, ArchiveTarget, Database, OneOrMany, Plain};
pub use feed::{FeedArgs, FeedLogin, FeedSettings, Since};
pub use files::FilesSettings;
pub use http::HttpSettings;
pub use metrics::MetricsArgs;
pub use outward::{Leaving, Outward};
pub use probe::{ProbeCheck, ProbeSettings, ProbeTarget, WebCheck};
pub use s3::S3Settings;
pub use shell::{ParameterKind, ShellArg, ShellCommand, ShellSettings};
pub use sql::SqlSettings;
pub use words::{DiskMetric, Effect, HttpMethod, ProbeType, TimeUnit, ToolKind, ToolMode};

/// What the configuration says of an instance of a tool.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolSettings {
    /// Of the `http` tool.
    Http(HttpSettings),
    /// Of the `feed` tool.
    Feed(FeedSettings),
    /// Of the `sql` tool. `None`: it does nothing without.
    Sql(Option<SqlSettings>),
    /// Of the `files` tool. `None`: it does nothing without.
    Files(Option<FilesSettings>),
    /// Of the `shell` tool. `None`: it does nothing without.
    Shell(Option<ShellSettings>),
    /// Of the `s3` tool. `None`: it does nothing without.
    S3(Option<S3Settings>),
    /// Of the `system_metrics` tool: what its callers can't change.
    SystemMetrics(MetricsArgs),
    /// Of the `probe` tool. `None`: its callers say what is checked.
    Probe(Option<ProbeSettings>),
    /// Of the `remember` tool, which has none.
    Remember,
    /// Of the `recall` tool, which has none.
    Recall,
    /// Of the `report` tool, which has none.
    Report,
    /// Of the `archive_rows` tool. `None`: its callers say it.
    ArchiveRows(Option<Box<ArchiveSettings>>),
}

impl ToolSettings {
    /// Those of a tool that is used by its own name, or of which nothing is said.
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
}
