//! Finds the executable of a command, and checks whether it can be run at all, so that errors are understandable: for a script
//! whose interpreter is missing, the system says "No such file or directory".
//!
//! The check is only for better messages. The file may change before the start; then the error of the system is reported.
use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat, statvfs};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

mod elf;

/// Maximum length of the first line that Linux reads (`BINPRM_BUF_SIZE`, execve(2)).
const MAX_FIRST_LINE_BYTES: usize = 256;
/// Maximum chain of interpreters that are scripts themselves (execve(2)).
const MAX_CHAIN_LENGTH: u32 = 4;
/// Shell builtins that people put first by mistake.
const SHELL_WORDS: [&str; 9] = [".", "alias", "cd", "eval", "exec", "export", "if", "set", "source"];

/// Why a program can't be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No directory of `PATH` has it.
    #[error("`{name}` was not found in PATH ({path}); give its full path, or set PATH in `env`")]
    NotInPath { name: String, path: String },
    /// Anything else, as a sentence.
    #[error("{0}")]
    Other(String),
}

/// Finds the program: an absolute path, one relative to `cwd` if it contains a `/`, else in the directories of `path`, the
/// `PATH` of the program to be started.
///
/// # Errors
/// What is wrong and what to do.
pub fn find(name: &str, cwd: &Path, path: Option<&OsStr>) -> Result<PathBuf, Unfit> {
    let other = |why: String| Err(Unfit::Other(why));
    match cwd.metadata() {
        Ok(data) if data.is_dir() => {}
        Ok(_) => return other(format!("the working directory `{}` is not a directory", cwd.display())),
        Err(error) => {
            return other(format!("the working directory `{}` can't be used: {error}", cwd.display()));
        }
    }
    if name.is_empty() {
        return other("the command is empty".into());
    }
    let path = path.unwrap_or_default();
    if name.contains('/') {
        let program = cwd.join(name.strip_prefix("./").unwrap_or(name));
        return match judge(&program, path, MAX_CHAIN_LENGTH) {
            Ok(()) => Ok(program),
            Err(why) if program.symlink_metadata().is_err() => other(shell_mistake(name).unwrap_or(why)),
            Err(why) => other(why),
        };
    }
    let mut refused = None;
    for candidate in candidates(name, cwd, path) {
        match judge(&candidate, path, MAX_CHAIN_LENGTH) {
            Ok(()) => return Ok(candidate),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    match refused.or_else(|| shell_mistake(name)) {
        Some(why) => other(why),
        None => Err(Unfit::NotInPath { name: name.to_owned(), path: path.to_string_lossy().into_owned() }),
    }
}

/// Returns the files of this name in the directories of `path`.
fn candidates<'a>(name: &'a str, cwd: &'a Path, path: &'a OsStr) -> impl Iterator<Item = PathBuf> + 'a {
    let all = std::env::split_paths(path).map(move |directory| cwd.join(directory).join(name));
    all.filter(|candidate| candidate.exists())
}

/// Returns advice for people who take the first element of a list for a shell command line.
fn shell_mistake(name: &str) -> Option<String> {
    const AS_STRING: &str = "or write the command as one string, which /bin/sh runs";
    if let Some(rest) = name.strip_prefix("~/") {
        let home = std::env::home_dir().unwrap_or_else(|| "/home/NAME".into());
        return Some(format!(
            "there is no `{name}`: `~` stands for itself in a list; write `{}`, {AS_STRING}",
            home.join(rest).display()
        ));
    }
    if name.split_whitespace().count() > 1 {
        let words: Vec<String> = name.split_whitespace().map(|word| format!("{word:?}")).collect();
        return Some(format!(
            "there is no program `{name}`: the first word of a list is the program alone; write [{}], {AS_STRING}",
            words.join(", ")
        ));
    }
    if name.contains('$') {
        return Some(format!(
            "there is no program `{name}`: variables stand for themselves in a list; write out what it stands for, \
             {AS_STRING}"
        ));
    }
    let is_shell = SHELL_WORDS.contains(&name);
    is_shell
        .then(|| format!("`{name}` is a word of the shell, not a program: write the command as one string"))
}

/// Returns the interpreters that run a script, in order of the chain: from shebang lines, and what env(1) finds for them in
/// `path`. Empty for a binary.
pub(super) fn interpreters(program: &Path, path: &OsStr) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for _ in 0..MAX_CHAIN_LENGTH {
        let head = head_of(found.last().map_or(program, PathBuf::as_path)).unwrap_or_default();
        let Some(line) = head.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next())
        else {
            break;
        };
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(interpreter) = words.next().map(|word| PathBuf::from(OsStr::from_bytes(word))) else {
            break;
        };
        let is_env = interpreter.file_name() == Some(OsStr::new("env"));
        found.push(interpreter);
        let asked = words.filter_map(|word| std::str::from_utf8(word).ok());
        let asked = asked.filter(|_| is_env).find(|word| !word.starts_with('-') && !word.contains('='));
        found.extend(asked.and_then(|name| candidates(name, Path::new("/"), path).next()));
    }
    found
}

/// Checks whether this file can be run.
fn judge(program: &Path, path: &OsStr, chain: u32) -> Result<(), String> {
    let shown = program.display();
    let data = program.metadata().map_err(|error| why_not_there(program, &error))?;
    if data.is_dir() {
        return Err(format!("`{shown}` is a directory, not a program"));
    }
    if !data.is_file() {
        return Err(format!("`{shown}` is not a regular file"));
    }
    if accessat(CWD, program, Access::EXEC_OK, AtFlags::EACCESS).is_err() {
        return Err(why_not_executable(program, &data));
    }
    // a program may be executable but not readable
    let Ok(head) = head_of(program) else { return Ok(()) };
    match head.strip_prefix(b"#!") {
        Some(line) => judge_interpreter(program, line, path, chain),
        None => judge_format(program, &head),
    }
}

/// Returns which part of the path is wrong.
fn why_not_there(program: &Path, error: &io::Error) -> String {
    let shown = program.display();
    if error.kind() == ErrorKind::NotFound
        && let Ok(target) = program.read_link()
    {
        return format!("`{shown}` is a link to `{}`, which is not there", target.display());
    }
    // from the root on, the first one that fails
    let mut way: Vec<&Path> = program.ancestors().skip(1).filter(|one| !one.as_os_str().is_empty()).collect();
    way.reverse();
    for folder in way {
        match folder.metadata() {
            Ok(data) if !data.is_dir() => {
                return format!("`{shown}` can't be run: `{}` is not a directory", folder.display());
            }
            Ok(_)
                if error.kind() == ErrorKind::PermissionDenied
                    && accessat(CWD, folder, Access::EXEC_OK, AtFlags::EACCESS).is_err() =>
            {
                return format!("`{shown}` can't be run: this user may not enter `{}`", folder.display());
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return format!("`{shown}` can't be run: there is no directory `{}`", folder.display());
            }
            Err(_) => break,
        }
    }
    if error.kind() == ErrorKind::NotFound {
        return format!("`{shown}` can't be run: there is no such file");
    }
    format!("`{shown}` can't be run: {error}")
}

fn why_not_executable(program: &Path, data: &Metadata) -> String {
    let (shown, mode) = (program.display(), data.permissions().mode() & 0o7777);
    if statvfs(program).is_ok_and(|about| about.f_flag.contains(StatVfsMountFlags::NOEXEC)) {
        return format!(
            "`{shown}` lies on a file system that is mounted `noexec`, from which nothing can be run; put it elsewhere, or \
             give it to its interpreter, as in [\"/bin/sh\", \"{shown}\"]"
        );
    }
    if mode & 0o111 == 0 {
        return format!("`{shown}` is not executable; `chmod +x {shown}` makes it so");
    }
    format!(
        "`{shown}` is not executable for this user: its mode is {mode:04o}, its owner has the number {}",
        data.uid()
    )
}

/// Returns the first bytes.
fn head_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(MAX_FIRST_LINE_BYTES);
    File::open(path)?.take(MAX_FIRST_LINE_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Checks the interpreter in a script's first line: the system reports errors of the interpreter as if they concerned the
/// script.
fn judge_interpreter(script: &Path, line: &[u8], path: &OsStr, chain: u32) -> Result<(), String> {
    let shown = script.display();
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut words = line.split(is_blank).filter(|word| !word.is_empty());
    let Some(word) = words.next() else {
        return Err(format!(
            "the first line of `{shown}` names no interpreter; write `#!/bin/sh`, or another one"
        ));
    };
    let interpreter = Path::new(OsStr::from_bytes(word));
    let by_env = interpreter.file_name() == Some(OsStr::new("env"));
    if word.ends_with(b"\r") || (by_env && line.ends_with(b"\r")) {
        return Err(format!(
            "the first line of `{shown}` ends in a carriage return (a line end of Windows), so that the system looks for \
             another interpreter than it names; `sed -i 's/\\r$//' {shown}` mends the file"
        ));
    }
    if !interpreter.is_absolute() || chain == 0 {
        return Ok(());
    }
    if !interpreter.exists() {
        return Err(format!(
            "`{shown}` is there, but its first line names the interpreter `{}`, which is not; install that, or name \
             another one",
            interpreter.display()
        ));
    }
    judge(interpreter, path, chain - 1).map_err(|why| format!("the interpreter of `{shown}`: {why}"))?;
    let named = words.next().and_then(|word| std::str::from_utf8(word).ok()).filter(|_| by_env);
    match named.filter(|word| !word.starts_with('-') && !word.contains(['=', '/'])) {
        Some(name) if candidates(name, Path::new("/"), path).next().is_none() => Err(format!(
            "the first line of `{shown}` asks env(1) for `{name}`, which is not in PATH ({}); install it, or set PATH in \
             `env`",
            path.to_string_lossy()
        )),
        _ => Ok(()),
    }
}

/// Checks whether it is a binary for this architecture. `execvp`, which may be used to start it, would pass anything else to
/// `/bin/sh`, line by line.
#[cfg(target_os = "linux")]
fn judge_format(program: &Path, head: &[u8]) -> Result<(), String> {
    use std::sync::OnceLock;
    let shown = program.display();
    // this program's file stays the same after its start
    static OWN: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let own = OWN.get_or_init(|| head_of(Path::new("/proc/self/exe")).ok()).as_deref();
    let is_elf = head.starts_with(b"\x7fELF");
    if is_elf && own.is_none_or(|own| elf::runs_beside(head, own)) {
        let loader = elf::loader(program).filter(|loader| !loader.exists());
        return loader.map_or(Ok(()), |loader| {
            Err(format!(
                "`{shown}` is there, but it wants to be loaded by `{}`, which is not: it was built for another system or \
                 another C library",
                loader.display()
            ))
        });
    }
    if own.is_none() || has_foreign_formats() {
        return Ok(());
    }
    Err(match head {
        [] => format!("`{shown}` is empty"),
        _ if is_elf => format!("`{shown}` was built for another kind of machine (exec format error)"),
        [0xEF, 0xBB, 0xBF, b'#', b'!', ..] => format!(
            "`{shown}` begins with a byte order mark, so that the system does not see its `#!`; save it as UTF-8 without one"
        ),
        _ => format!(
            "`{shown}` has no format that this system runs (exec format error); a script begins with a \
             line such as `#!/bin/sh`"
        ),
    })
}

#[cfg(not(target_os = "linux"))]
fn judge_format(_: &Path, _: &[u8]) -> Result<(), String> {
    Ok(())
}

/// Returns whether the system runs other formats (binfmt_misc).
#[cfg(target_os = "linux")]
fn has_foreign_formats() -> bool {
    let Ok(entries) = std::fs::read_dir("/proc/sys/fs/binfmt_misc") else { return false };
    entries.flatten().any(|entry| !matches!(entry.file_name().as_bytes(), b"register" | b"status"))
}

#[cfg(test)]
mod tests;
