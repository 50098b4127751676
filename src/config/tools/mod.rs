//! Settings of the built-in tools that have any: the keys of each kind, and the validated content of a
//! `[tools.…]` table. Secrets stay references.
//!
//! What the settings mean in a call is left to the tool.
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

/// Built-in tools that do nothing without settings: they are used only through a `[tools.…]` table.
pub(super) const NEED_SETTINGS: &[ToolKind] =
    &[ToolKind::Http, ToolKind::Sql, ToolKind::Files, ToolKind::S3, ToolKind::Shell];

/// The keys of a `[tools.…]` table, by its `type`. Types that are not listed have no settings.
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

/// Returns the keys of a `[tools.…]` table of this type; `None` if it has no settings.
pub(super) fn keys(kind: ToolKind) -> Option<&'static [Key]> {
    SETTINGS.iter().find(|(known, _)| *known == kind).map(|(_, keys)| *keys)
}

/// Resolves the settings of a tool of this type; `None` if a required one is missing.
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
