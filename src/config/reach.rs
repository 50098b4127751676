//! Checks that the roots of a sandbox do not contain the state folder, the configuration, or what another
//! agent writes.
use super::document::File;
use super::guarded::real;
use super::walk::{Item, Section};
use crate::domain::{Fleet, NamedProgram, Sandbox};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// The key of a folder that an agent program works in, and may change.
const WORKSPACE: &str = "dir";

/// Checks a path of a sandbox; what it leads to is checked again when a program starts.
pub(super) fn judge(item: &Item<'_>, path: &Path) {
    let file = item.file;
    let (real_path, real_config) = (real(file, path), real(file, &file.path));
    let holds = |place: &Path| place.starts_with(path) || real(file, place).starts_with(&real_path);
    let is_in = |folder: &Path| path.starts_with(folder) || real_path.starts_with(real(file, folder));
    let state = file.context.state_dir.as_deref().filter(|state| holds(state) || is_in(state));
    let folder = real_config.parent().unwrap_or(Path::new("/"));
    let refuse = |what: String, hint: &str| {
        let of = if item.name == WORKSPACE { "of `workspace`" } else { "of the sandbox" };
        let message = format!("`{}` {of} names `{}`, {what}", item.name, path.display());
        file.error(Some(item.span()), message, Some(hint.to_owned()));
    };
    if let Some(state) = state {
        refuse(
            format!("which is, holds, or is in the state folder ({})", state.display()),
            "all that is known of runs and approvals is there; name the folders that are meant, each by itself",
        );
    } else if holds(&file.path) {
        refuse(
            format!("which holds the configuration ({})", file.path.display()),
            "no program in a sandbox may see it; name the folders that are meant, each by itself",
        );
    } else if ["write", WORKSPACE].contains(&item.name)
        && (is_in(&file.folder) || real_path.starts_with(folder))
    {
        refuse(
            format!("which lies in the folder of the configuration ({})", file.folder.display()),
            "whoever writes there decides what the daemon runs; name a folder elsewhere",
        );
    }
}

/// Reports paths that a program can read and another agent writes: an agent that was manipulated could
/// otherwise influence the other.
pub(super) fn others<'a>(file: &'a File<'a>, top: &Section<'a>, fleet: &Fleet) {
    let programs = fleet.programs();
    let walled = || programs.iter().filter_map(|program| Some((program, program.sandbox.as_deref()?)));
    let mut written: BTreeMap<PathBuf, Vec<&str>> = BTreeMap::new();
    for (program, sandbox) in walled().filter(|(program, _)| program.kind == "agents") {
        for path in &sandbox.write {
            written.entry(real(file, path)).or_default().push(program.name);
        }
    }
    for (program, sandbox) in walled() {
        for path in &sandbox.read {
            let root = real(file, path);
            let within = written.range(root.clone()..).take_while(|(other, _)| other.starts_with(&root));
            let strange =
                within.filter(|(other, _)| !writes(file, sandbox, other)).find_map(|(other, agents)| {
                    let agent =
                        agents.iter().find(|agent| program.kind != "agents" || **agent != program.name)?;
                    Some((other, agent))
                });
            if let Some((other, agent)) = strange {
                file.error(
                    Some(place(top, program)),
                    format!(
                        "`read` of the sandbox of [{}] names `{}`, which holds what agent `{agent}` writes (`{}`)",
                        program.place(),
                        path.display(),
                        other.display()
                    ),
                    Some(
                        "name the folders that are meant, each by itself; a folder that both are to share is in `write` of both"
                            .into(),
                    ),
                );
            }
        }
    }
}

/// Returns whether its own sandbox allows writing there.
fn writes(file: &File<'_>, sandbox: &Sandbox, path: &Path) -> bool {
    sandbox.write.iter().any(|own| path.starts_with(real(file, own)))
}

/// Returns where its roots are configured, as precisely as possible.
fn place<'a>(top: &Section<'a>, program: &NamedProgram<'_>) -> Range<usize> {
    let table = |kind: &'a str| top.get(kind).and_then(|item| item.value.get_ref().as_table());
    let tables = table(program.kind);
    let own = tables.and_then(|tables| tables.get_key_value(program.name));
    let keys = program.key.into_iter().chain(["sandbox", "read"]);
    let found = own.and_then(|(_, own)| deepest(own.get_ref().as_table()?, keys));
    let shared = || deepest(table("defaults")?, ["sandbox", "read"].into_iter());
    let name = || own.map(|(name, _)| name.span());
    found.or_else(shared).or_else(name).unwrap_or_else(|| top.span.clone())
}

/// Returns the range of the deepest of these nested keys that exists.
fn deepest<'k>(table: &DeTable<'_>, keys: impl Iterator<Item = &'k str>) -> Option<Range<usize>> {
    let (mut table, mut found) = (Some(table), None);
    for key in keys {
        let Some(value) = table.and_then(|table| table.get(key)) else { break };
        found = Some(value.span());
        table = value.get_ref().as_table();
    }
    found
}
