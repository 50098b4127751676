//! Settings of the built-in tools that take some: for each kind its keys, and what a `[tools.…]` table says, checked. Secrets
//! stay references.
//!
//! What the settings mean when a tool is called is the tool's own affair.
use super::keys::Key;
use super::walk::Section;
use crate::domain::{ToolKind, ToolSettings, ToolSpec};
use std::collections::BTreeMap;

pub(super) mod archive;
pub(super) mod feed;
mod files;
pub(super) mod http;
pub(super) mod metrics;
pub(super) mod probe;
mod s3;
mod shell;
mod sql;

/// Built-in tools that do nothing without settings: they are used by a `[tools.…]` table only.
pub(super) const NEED_SETTINGS: &[ToolKind] =
    &[ToolKind::Http, ToolKind::Sql, ToolKind::Files, ToolKind::S3, ToolKind::Shell];

/// What a `[tools.…]` table may hold, by its `type`. Types that are not listed have no settings.
pub(super) const SETTINGS: &[(ToolKind, &[Key])] = &[
    (ToolKind::Http, http::KEYS),
    (ToolKind::Feed, feed::KEYS),
    (ToolKind::Sql, sql::KEYS),
    (ToolKind::Files, files::KEYS),
    (ToolKind::S3, s3::KEYS),
    (ToolKind::Shell, shell::KEYS),
    (ToolKind::ArchiveRows, archive::KEYS),
    (ToolKind::Probe, probe::KEYS),
    (ToolKind::SystemMetrics, metrics::KEYS),
];

/// The keys of a `[tools.…]` table of this type; `None`: it has no settings.
pub(super) fn keys(kind: ToolKind) -> Option<&'static [Key]> {
    SETTINGS.iter().find(|(known, _)| *known == kind).map(|(_, keys)| *keys)
}

/// The settings of a tool of this type; `None` if something that it can't do without is missing.
pub(super) fn resolve(
    kind: ToolKind,
    section: &Section<'_>,
    tools: &BTreeMap<String, ToolSpec>,
) -> Option<ToolSettings> {
    Some(match kind {
        ToolKind::Http => ToolSettings::Http(http::settings(section)),
        ToolKind::Feed => ToolSettings::Feed(feed::settings(section)?),
        ToolKind::Sql => ToolSettings::Sql(Some(sql::settings(section)?)),
        ToolKind::Files => ToolSettings::Files(Some(files::settings(section)?)),
        ToolKind::S3 => ToolSettings::S3(Some(s3::settings(section)?)),
        ToolKind::Shell => ToolSettings::Shell(Some(shell::settings(section)?)),
        ToolKind::ArchiveRows => {
            ToolSettings::ArchiveRows(Some(Box::new(archive::settings(section, tools)?)))
        }
        ToolKind::SystemMetrics => ToolSettings::SystemMetrics(metrics::settings(section)?),
        ToolKind::Probe => ToolSettings::Probe(probe::settings(section)),
        ToolKind::Remember | ToolKind::Recall | ToolKind::Report => ToolSettings::none(kind),
    })
}
