//! The key `sandbox`: `true`, `false`, or a table of what is accessible inside.
use super::keys::{SANDBOX, SANDBOX_LIMITS};
use super::reach;
use super::walk::{Item, Section};
use crate::domain::{NetTarget, Sandbox, SandboxLimits, SandboxSetting};
use std::path::PathBuf;
use std::sync::Arc;
use toml::de::DeValue;

/// Parses the key `sandbox` of this table, or of `[defaults]`.
pub(super) fn setting(section: &Section<'_>) -> SandboxSetting {
    section.get("sandbox").and_then(of).unwrap_or_default()
}

fn of(item: Item<'_>) -> Option<SandboxSetting> {
    match item.value.get_ref() {
        DeValue::Boolean(true) => Some(SandboxSetting::On(Arc::default())),
        DeValue::Boolean(false) => Some(SandboxSetting::Off),
        DeValue::Table(_) => {
            let section = item.section(SANDBOX)?;
            Some(SandboxSetting::On(Arc::new(Sandbox {
                read: paths(&section, "read").unwrap_or_default(),
                write: paths(&section, "write").unwrap_or_default(),
                exec: paths(&section, "exec"),
                net: targets(&section),
                unix: paths(&section, "unix").unwrap_or_default(),
                limits: limits(&section),
            })))
        }
        _ => item.wrong("true, false, or a table such as { read = [\"~/reports\"] }"),
    }
}

fn targets(section: &Section<'_>) -> Vec<NetTarget> {
    let Some(list) = section.get("net").and_then(|list| list.items()) else { return Vec::new() };
    let read = |item: Item<'_>| {
        let text = item.text()?;
        match NetTarget::parse(text) {
            Ok(target) => Some(target),
            Err((what, instead)) => item.refuse_with(format!("`net`: {what}"), instead),
        }
    };
    list.into_iter().filter_map(read).collect()
}

fn limits(section: &Section<'_>) -> SandboxLimits {
    let Some(section) = section.get("limits").and_then(|item| item.section(SANDBOX_LIMITS)) else {
        return SandboxLimits::default();
    };
    let least = |name, least| section.whole(name, least);
    SandboxLimits {
        processes: least("processes", 1),
        memory: section.size_of_at_least("memory", 1 << 20, "1MiB"),
        // With fewer, no program can start.
        open_files: least("open_files", 8),
        file_size: section.size("file_size"),
        cpu: section.positive("cpu"),
    }
}

/// Parses absolute paths, with `~` and `${VAR}` expanded.
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
        let path = item.file.expand(text, item.span());
        reach::judge(&item, &path);
        all.push(path);
    }
    Some(all)
}
