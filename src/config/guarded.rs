//! Files that tools of type "files" never touch: the state, the configuration, and what the configuration
//! runs.
use super::document::File;
use super::programs;
use super::walk::{Item, Section};
use crate::domain::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Checks a root of a `files` tool: one that contains files that everything else depends on is an error.
pub(super) fn root(item: &Item<'_>, root: &Path) {
    let file = item.file;
    let real_root = real(file, root);
    let config = file.path.parent().unwrap_or(Path::new("/"));
    let real_config = real(file, &file.path);
    let mut places = vec![
        (
            "your home folder",
            file.context.home.as_path(),
            "what shells and programs read when they start is there",
        ),
        ("the configuration's folder", config, "whoever writes there decides what the daemon runs"),
    ];
    if let Some(folder) = real_config.parent() {
        places.push((
            "the configuration's folder",
            folder,
            "whoever writes there decides what the daemon runs",
        ));
    }
    if let Some(state) = &file.context.state_dir {
        places.push(("the state folder", state, "all that is known of runs and approvals is there"));
    }
    for (what, place, why) in places {
        // On a machine without home folders they are `/`: a root there can't mean anything else.
        let contains = root.components().eq(place.components())
            || place.starts_with(root)
            || real(file, place).starts_with(&real_root);
        if contains {
            return file.error(
                Some(item.span()),
                format!("the root `{}` holds {what} ({}): {why}", root.display(), place.display()),
                Some("name the folders that are meant, each by itself: roots = [\"~/reports\"]".into()),
            );
        }
    }
    if let Some(state) = file.context.state_dir.as_deref()
        && (root.starts_with(state) || real_root.starts_with(real(file, state)))
    {
        file.error(
            Some(item.span()),
            format!(
                "the root `{}` is in the state folder ({}), which no tool reaches",
                root.display(),
                state.display()
            ),
            Some("name a folder elsewhere: roots = [\"~/reports\"]".into()),
        );
    }
}

/// Resolves the links of a path, as far as it exists.
pub(super) fn real(file: &File<'_>, path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut at = path;
    loop {
        if let Ok(real) = (file.context.real)(at) {
            return missing.iter().rev().fold(real, |real, name| real.join(name));
        }
        match (at.parent(), at.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name);
                at = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

/// Sets in each `files` tool what it must not touch, and warns of roots in which it can't write.
pub(super) fn guard<'a>(file: &'a File<'a>, top: &Section<'a>, fleet: &mut Fleet) {
    let writes = |spec: &ToolSpec| matches!(&spec.settings, ToolSettings::Files(Some(_)));
    if !fleet.tools.values().any(writes) {
        return;
    }
    let found = Finder { file, fixed: BTreeMap::new() }.all(fleet);
    let guarded = Arc::new(Guarded { hidden: hidden(file, fleet), fixed: found.keys().cloned().collect() });
    for (name, spec) in &mut fleet.tools {
        let ToolSettings::Files(Some(settings)) = &mut spec.settings else { continue };
        settings.guarded = guarded.clone();
        if settings.mode.writes() {
            warn_unwritable(file, top, name, &found);
        }
    }
}

/// Warns of a root that an agent works in or runs.
fn warn_unwritable<'a>(
    file: &'a File<'a>,
    top: &Section<'a>,
    tool: &'a str,
    found: &BTreeMap<PathBuf, String>,
) {
    let table = top.get("tools").and_then(|item| item.value.get_ref().as_table());
    let Some(table) = table.and_then(|table| table.get(tool)).and_then(|value| value.get_ref().as_table())
    else {
        return;
    };
    let roots = table.get("roots").and_then(|value| value.get_ref().as_array());
    for value in roots.into_iter().flatten() {
        let Some(text) = value.get_ref().as_str().filter(|_| !file.has_error_in(value.span(), value)) else {
            continue;
        };
        let root = file.expand(text, value.span());
        if let Some(what) = found.get(&root).or_else(|| found.get(&real(file, &root))) {
            file.warn(
                value.span(),
                format!("nothing can be written in `{}`: {what}", root.display()),
                Some("name the folders in it that are meant, each by itself".into()),
            );
        }
    }
}

fn hidden(file: &File<'_>, fleet: &Fleet) -> Vec<PathBuf> {
    let secrets = fleet.secrets.iter().filter_map(|secret| match secret {
        SecretRef::File(path) => Some(path.clone()),
        SecretRef::Env(_) | SecretRef::Credential(_) | SecretRef::Command(_) => None,
    });
    let all: BTreeSet<PathBuf> =
        file.context.state_dir.iter().cloned().chain([file.path.clone()]).chain(secrets).collect();
    all.into_iter().collect()
}

/// Collects the programs that the configuration runs, and their folders, each with a description.
struct Finder<'a> {
    file: &'a File<'a>,
    fixed: BTreeMap<PathBuf, String>,
}

impl Finder<'_> {
    fn all(mut self, fleet: &Fleet) -> BTreeMap<PathBuf, String> {
        self.add(self.file.folder.clone(), "it is the configuration's folder");
        if let Some(folder) = real(self.file, &self.file.path).parent() {
            self.add(folder.to_owned(), "it is the configuration's folder");
        }
        for folder in search_path((self.file.context.env)("PATH").as_deref()) {
            self.add(folder, "programs are looked for there (PATH)");
        }
        for agent in &fleet.agents {
            let owner = format!("agent `{}`", agent.id);
            match &agent.body {
                Body::Command(command) => self.command(command, &owner),
                Body::Tool(call) => self.checks(&call.args, &owner),
                Body::Query(_) | Body::Runner(_) => {}
            }
            for check in agent.gate.as_deref().into_iter().chain(agent.success_when.iter()) {
                match &check.body {
                    CheckBody::Command(command) => self.command(command, &owner),
                    CheckBody::Tool(call) => self.checks(&call.args, &owner),
                }
            }
        }
        for (name, spec) in &fleet.tools {
            self.tool(&spec.settings, &format!("tool `{name}`"));
        }
        for (name, spec) in &fleet.mcp {
            if let Some(argv) = &spec.command {
                let cwd = spec.cwd.as_deref().unwrap_or(&self.file.folder).to_owned();
                self.program(argv, Some(&cwd), Some(&spec.env), &format!("MCP server `{name}`"));
            }
        }
        for (name, spec) in &fleet.runners {
            self.program(&spec.command, None, Some(&spec.env), &format!("runner `{name}`"));
        }
        for (name, target) in &fleet.notify {
            if let NotifyTargetKind::Command(command) = &target.kind {
                self.command(command, &format!("notify target `{name}`"));
            }
        }
        for secret in &fleet.secrets {
            if let SecretRef::Command(argv) = secret {
                self.program(argv, None, None, "a secret");
            }
        }
        self.fixed
    }

    fn add(&mut self, path: PathBuf, what: &str) {
        self.fixed.entry(path).or_insert_with(|| what.to_owned());
    }

    fn command(&mut self, command: &CommandSpec, owner: &str) {
        // The folder of a run is in the state folder, which is guarded as a whole.
        let cwd = Some(command.cwd.as_path()).filter(|cwd| *cwd != Path::new(WORK));
        self.program(&command.argv, cwd, Some(&command.env), owner);
    }

    fn tool(&mut self, settings: &ToolSettings, owner: &str) {
        match settings {
            ToolSettings::Shell(Some(shell)) => {
                for command in shell.commands.values() {
                    let text = |arg: &ShellArg| match arg {
                        ShellArg::Text(text) => Some(text.clone()),
                        ShellArg::Parameter { .. } => None,
                    };
                    let argv: Vec<String> = std::iter::once(command.exec.clone())
                        .chain(command.args.iter().filter_map(text))
                        .collect();
                    self.program(&argv, Some(&shell.cwd), Some(&shell.env), owner);
                }
            }
            ToolSettings::Probe(Some(probe)) => {
                for check in &probe.checks {
                    if let ProbeTarget::Command { argv, .. } = &check.target {
                        self.program(argv, None, None, owner);
                    }
                }
            }
            _ => {}
        }
    }

    /// Adds commands among the checks of a call of `probe`.
    fn checks(&mut self, args: &Value, owner: &str) {
        for check in args["checks"].as_array().into_iter().flatten() {
            let argv: Option<Vec<String>> = check["command"]
                .as_array()
                .map(|argv| argv.iter().filter_map(Value::as_str).map(str::to_owned).collect());
            if let Some(argv) = argv {
                self.program(&argv, None, None, owner);
            }
        }
    }

    fn program(
        &mut self,
        argv: &[String],
        cwd: Option<&Path>,
        env: Option<&BTreeMap<String, TextOrSecret>>,
        owner: &str,
    ) {
        if let Some(cwd) = cwd {
            self.add(cwd.to_owned(), &format!("{owner} works there"));
        }
        if let Some(TextOrSecret::Text(path)) = env.and_then(|env| env.get("PATH")) {
            for folder in search_path(Some(path)) {
                self.add(folder, &format!("programs of {owner} are looked for there (PATH)"));
            }
        }
        let [program, args @ ..] = argv else { return };
        let at = |word: &str| match cwd {
            Some(cwd) => Some(cwd.join(word)),
            None => Path::new(word).is_absolute().then(|| PathBuf::from(word)),
        };
        let runs = format!("{owner} runs it");
        if program.contains('/')
            && let Some(path) = at(program)
        {
            self.add(path, &runs);
        }
        for named in programs::scripts(program, args) {
            let Some(path) = at(named.word) else { continue };
            let found = (self.file.context.look)(&path).map(|found| found.kind);
            let is_file = !matches!(found, Ok(super::context::Entry::Folder));
            if is_file && (named.is_script || matches!(found, Ok(super::context::Entry::Program))) {
                self.add(path, &runs);
            }
        }
    }
}

/// Returns the absolute folders of a PATH, which are the same wherever a program runs.
fn search_path(path: Option<&str>) -> Vec<PathBuf> {
    std::env::split_paths(path.unwrap_or_default()).filter(|folder| folder.is_absolute()).collect()
}
