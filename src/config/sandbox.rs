//! The key `sandbox`: `true`, `false`, or a table of what is there within.
use super::keys::{Key, Kind, key};
use super::walk::{Item, Section};
use crate::domain::{Sandbox, SandboxLimits, SandboxSetting};
use std::path::PathBuf;
use std::sync::Arc;
use toml::de::DeValue;

/// What stands in the table.
pub(super) const KEYS: &[Key] = &[
    key(
        "read",
        Kind::Texts,
        "what it may read, beside the system's programs, libraries, certificates and time zones, and the program's own file",
    ),
    key("write", Kind::Texts, "what it may read and write, beside a private folder for temporary files"),
    key("exec", Kind::Texts, "what it may execute; default: the system's programs"),
    key("unix", Kind::Texts, "sockets that it may connect to, by path; needs Linux with Landlock 9 or later"),
    key("limits", Kind::Table(LIMITS), "how much it may take"),
];
const LIMITS: &[Key] = &[
    key(
        "processes",
        Kind::Whole,
        "processes and threads at a time; needs a control group of the daemon's own",
    ),
    key("memory", Kind::Size, "of all its processes; needs a control group of the daemon's own"),
    key("open_files", Kind::Whole, "of one process"),
    key("file_size", Kind::Size, "of a file that it writes"),
    key("cpu", Kind::Duration, "time on a processor, of one process"),
];

/// The key `sandbox` of this table, or of `[defaults]`.
pub(super) fn setting(section: &Section<'_>) -> SandboxSetting {
    section.get("sandbox").and_then(of).unwrap_or_default()
}

fn of(item: Item<'_>) -> Option<SandboxSetting> {
    match item.value.get_ref() {
        DeValue::Boolean(true) => Some(SandboxSetting::On(Arc::default())),
        DeValue::Boolean(false) => Some(SandboxSetting::Off),
        DeValue::Table(_) => {
            let section = item.section(KEYS)?;
            Some(SandboxSetting::On(Arc::new(Sandbox {
                read: paths(&section, "read").unwrap_or_default(),
                write: paths(&section, "write").unwrap_or_default(),
                exec: paths(&section, "exec"),
                unix: paths(&section, "unix").unwrap_or_default(),
                limits: limits(&section),
            })))
        }
        _ => item.wrong("true, false, or a table such as { read = [\"~/reports\"] }"),
    }
}

fn limits(section: &Section<'_>) -> SandboxLimits {
    let Some(section) = section.get("limits").and_then(|item| item.section(LIMITS)) else {
        return SandboxLimits::default();
    };
    let least = |name, least| section.whole(name, least);
    SandboxLimits {
        processes: least("processes", 1),
        memory: section.size_of_at_least("memory", 1 << 20, "1MiB"),
        // fewer than a program needs to start is none that starts
        open_files: least("open_files", 8),
        file_size: section.size("file_size"),
        cpu: section.positive("cpu"),
    }
}

/// Absolute paths, `~` and `${VAR}` replaced.
fn paths(section: &Section<'_>, name: &'static str) -> Option<Vec<PathBuf>> {
    let list = section.get(name)?;
    let mut all = Vec::new();
    for item in list.items()? {
        let text = item.text()?;
        if !["/", "~", "${"].iter().any(|start| text.starts_with(start)) {
            item.refuse_with::<()>(
                format!("`{name}` names absolute paths, not \"{text}\""),
                format!("write {name} = [\"/srv/{text}\"] or [\"~/{text}\"]"),
            );
            continue;
        }
        if text.contains('\0') {
            item.refuse::<()>(format!("`{name}` has a NUL byte"));
            continue;
        }
        all.push(item.file.expand(text, item.span()));
    }
    Some(all)
}
