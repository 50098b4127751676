//! Settings and arguments of `system_metrics`.
use crate::config::keys::{Key, Kind, key};
use crate::config::walk::{Item, Section};
use crate::domain::{MetricsArgs, ToolKind};

pub(in crate::config) const KEYS: &[Key] =
    &[key("type", Kind::Word(&[ToolKind::SystemMetrics.as_str()]), "the built-in tool"), ARGS[0], ARGS[1]];
const ARGS: &[Key] = &[
    key("top", Kind::Whole, "busiest processes that are listed; default {}, at most {}")
        .with(&[MetricsArgs::TOP, MetricsArgs::LARGEST_TOP]),
    key("disks", Kind::Flag, "whether disks are listed; default true"),
];

/// Parses the arguments of a call.
pub(in crate::config) fn args(item: Item<'_>) -> Option<MetricsArgs> {
    settings(&item.section(ARGS)?)
}

/// Parses a table, or the arguments of a call.
pub(in crate::config) fn settings(section: &Section<'_>) -> Option<MetricsArgs> {
    let top = match section.get("top") {
        Some(item) => match item.whole(0)? {
            top if top > MetricsArgs::LARGEST_TOP => {
                return item.refuse(format!("`top` is at most {}", MetricsArgs::LARGEST_TOP));
            }
            top => Some(top),
        },
        None => None,
    };
    Some(MetricsArgs { top, disks: section.flag("disks") })
}
