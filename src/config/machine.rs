//! What a configuration requires of the machine: programs, folders, databases, key files, variables. They may
//! exist later, or where the daemon runs, so a missing one is only a warning.
use super::context::{Context, Entry, Found};
use super::document::File;
use crate::domain::{SecretRef, TextOrSecret};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A required program, and where it is configured.
pub(super) struct Wanted<'a> {
    /// The program and its arguments.
    pub(super) argv: &'a [String],
    /// The folder that it runs in; `None`: that of the daemon, which is not known here.
    pub(super) cwd: Option<&'a Path>,
    /// The variables that it is given.
    pub(super) env: Option<&'a BTreeMap<String, TextOrSecret>>,
    /// Where the folder is configured.
    pub(super) folder: Range<usize>,
    /// Where the program is configured.
    pub(super) program: Range<usize>,
}

/// Warns of a missing folder or program.
pub(super) fn program(file: &File<'_>, wanted: &Wanted<'_>) {
    let look = file.context.look;
    if let Some(cwd) = wanted.cwd {
        let shown = cwd.display();
        let warn =
            |message: String, hint: &str| file.warn(wanted.folder.clone(), message, Some(hint.to_owned()));
        match kind(look(cwd)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return warn(
                    format!("there is no folder `{shown}` to run in"),
                    "make it, or name another in `cwd`",
                );
            }
            Ok(Entry::Program | Entry::File) => {
                return warn(format!("`{shown}` is not a folder to run in"), "name a folder in `cwd`");
            }
            _ => {}
        }
    }
    let [program, args @ ..] = wanted.argv else { return };
    if !program.contains('/') {
        return by_name(file, wanted, program);
    }
    by_path(file, wanted, program);
    if let Some(arg) = args.iter().find(|arg| arg.starts_with("~/"))
        && !(args.len() == 2 && args[0] == "-c")
    {
        file.warn(
            wanted.program.clone(),
            format!("`{arg}` is handed over as it is: only a shell knows what `~` stands for"),
            Some("write the path out, or give the command as one text".into()),
        );
    }
}

/// Warns of a missing folder that an agent program is to work in.
pub(super) fn workspace(file: &File<'_>, span: Range<usize>, path: &Path, key: &str) {
    let shown = path.display();
    let what = match kind((file.context.look)(path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            format!("there is no folder `{shown}` to work in")
        }
        Ok(Entry::Program | Entry::File) => format!("`{shown}` is not a folder to work in"),
        _ => return,
    };
    file.warn(span, what, Some(format!("make it, or name another in `{key}`")));
}

/// Warns of a missing folder that files are to arrive in.
pub(super) fn inbox(file: &File<'_>, span: Range<usize>, path: &Path) {
    let shown = path.display();
    match kind((file.context.look)(path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let hint = "make it; files that arrive there count as soon as it is there".to_owned();
            file.warn(span, format!("there is no folder `{shown}` for files to arrive in"), Some(hint));
        }
        Ok(Entry::Program | Entry::File) => {
            let hint = "name the folder, and in it the files: \"inbox/*.csv\"".to_owned();
            file.warn(span, format!("`{shown}` is not a folder that files can arrive in"), Some(hint));
        }
        _ => {}
    }
}

fn kind(found: Result<Found>) -> Result<Entry> {
    found.map(|found| found.kind)
}

/// Returns advice for a list whose first text is several words.
fn list_hint(program: &str) -> Option<String> {
    let words: Vec<String> = program.split_whitespace().map(|word| format!("{word:?}")).collect();
    let list = || format!("a list runs directly, each text of it is one argument: [{}]", words.join(", "));
    (words.len() > 1).then(list)
}

fn by_path(file: &File<'_>, wanted: &Wanted<'_>, program: &str) {
    let warn =
        |message: String, hint: &str| file.warn(wanted.program.clone(), message, Some(hint.to_owned()));
    let path = match wanted.cwd {
        Some(cwd) => cwd.join(program),
        None if program.starts_with('/') => PathBuf::from(program),
        None => return,
    };
    match kind((file.context.look)(&path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let several = list_hint(program);
            let hint = match (&several, program.starts_with('/')) {
                (Some(several), _) => several.as_str(),
                (None, true) => "is the path right?",
                (None, false) => "is the path right? It begins at `cwd`",
            };
            warn(format!("there is no program `{program}`"), hint);
        }
        Ok(Entry::Folder) => {
            warn(format!("`{program}` is a folder, not a program"), "name the program in it");
        }
        Ok(Entry::File) => {
            warn(format!("`{program}` is not executable"), "chmod +x, or name its interpreter before it");
        }
        _ => {}
    }
}

/// Warns of a program that is missing in the folders of `PATH`.
fn by_name(file: &File<'_>, wanted: &Wanted<'_>, program: &str) {
    let warn = |message: String, hint: String| file.warn(wanted.program.clone(), message, Some(hint));
    if let Some(several) = list_hint(program) {
        return warn(format!("there is probably no program named `{program}`"), several);
    }
    let own = match wanted.env.and_then(|env| env.get("PATH")) {
        Some(TextOrSecret::Text(path)) => Some(path.clone()),
        Some(TextOrSecret::Secret(_)) => return,
        None => None,
    };
    let is_own = own.is_some();
    let Some(path) = own.or_else(|| (file.context.env)("PATH")).filter(|path| !path.is_empty()) else {
        return;
    };
    let mut unfit = None;
    for folder in std::env::split_paths(&path) {
        // A relative entry of PATH depends on a folder that is not always known.
        let Some(folder) = wanted.cwd.map(|cwd| cwd.join(&folder)).or(folder.is_absolute().then_some(folder))
        else {
            return;
        };
        let candidate = folder.join(program);
        match kind((file.context.look)(&candidate)) {
            Ok(Entry::Program) => return,
            Ok(Entry::File) => unfit = unfit.or(Some(candidate)),
            Ok(Entry::Folder) => {}
            // It may exist.
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return,
            Err(_) => {}
        }
    }
    if let Some(unfit) = unfit {
        return warn(
            format!("`{}` is not executable", unfit.display()),
            "chmod +x, or name its interpreter before it".into(),
        );
    }
    let hint = if is_own {
        "install it, give its full path, or correct the PATH in `env`"
    } else {
        "install it or give its full path; the PATH of a daemon that runs as a service may be shorter still"
    };
    warn(format!("there is no program `{program}` in PATH ({path})"), hint.into());
}

/// Warns of a missing source of a secret.
pub(super) fn secret(file: &File<'_>, span: Range<usize>, secret: &SecretRef) {
    let Context { env, .. } = file.context;
    match secret {
        SecretRef::Env(name) => {
            if env(name).is_none_or(|value| value.is_empty()) {
                file.warn(
                    span,
                    format!("the variable `{name}` is not set here: there is no secret in it"),
                    Some(
                        "set it where the daemon runs (a shell's own variables do not reach a service), or use \
                         { file = \"PATH\" }"
                            .into(),
                    ),
                );
            }
        }
        SecretRef::File(path) => key_file(file, span, path),
        SecretRef::Command(argv) => {
            let wanted = Wanted { argv, cwd: None, env: None, folder: span.clone(), program: span };
            program(file, &wanted);
        }
        // It exists only while the service runs.
        SecretRef::Credential(_) => {}
    }
}

fn key_file(file: &File<'_>, span: Range<usize>, path: &Path) {
    let shown = path.display();
    let warn = |message: String, hint: String| file.warn(span.clone(), message, Some(hint));
    match (file.context.look)(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => warn(
            format!("there is no key file `{shown}`"),
            "write the secret into it, and `chmod 600` it".into(),
        ),
        Ok(found) if found.kind == Entry::Folder => {
            warn(format!("`{shown}` is a folder, not a key file"), "name the file in it".into());
        }
        Ok(found) if found.others => warn(
            format!("others may read the key file `{shown}`, so it will not be used"),
            format!("chmod 600 {shown}"),
        ),
        _ => {}
    }
}

/// Warns of a missing folder that must exist.
pub(super) fn folder(file: &File<'_>, span: Range<usize>, path: &Path) {
    let shown = path.display();
    let warn = |message: String, hint: &str| file.warn(span.clone(), message, Some(hint.to_owned()));
    match kind((file.context.look)(path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            warn(format!("there is no folder `{shown}`"), "make it, or name another");
        }
        Ok(Entry::Program | Entry::File) => warn(format!("`{shown}` is not a folder"), "name its folder"),
        _ => {}
    }
}

/// Warns of a missing database file: none is created.
pub(super) fn database(file: &File<'_>, span: Range<usize>, path: &Path) {
    let shown = path.display();
    let warn = |message: String, hint: &str| file.warn(span.clone(), message, Some(hint.to_owned()));
    match kind((file.context.look)(path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => warn(
            format!("there is no database `{shown}`"),
            "is the path right? A relative one begins at the folder of this file; none is made by itself",
        ),
        Ok(Entry::Folder) => warn(format!("`{shown}` is a folder, not a database"), "name the file in it"),
        _ => {}
    }
}
