//! Which file a command means, and whether it can be run at all: asked before anything is started,
//! so that the answer is a sentence and not an error number.
//!
//! The look is a courtesy. Between it and the start the file may change; then the trampoline says
//! what the system said.
use super::env::Environment;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::ffi::OsStr;
#[cfg(target_os = "linux")]
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
#[cfg(target_os = "linux")]
use std::sync::OnceLock;

/// Finds the program: an absolute path, one relative to `cwd` when it holds a `/`, else in the
/// directories of the child's own `PATH`.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub(super) fn find(name: &str, cwd: &Path, environment: &Environment) -> Result<PathBuf, String> {
    match cwd.metadata() {
        Ok(data) if data.is_dir() => {}
        Ok(_) => return Err(format!("the working directory `{}` is no directory", cwd.display())),
        Err(error) => {
            return Err(format!("the working directory `{}` can't be used: {error}", cwd.display()));
        }
    }
    if name.is_empty() {
        return Err("the command is empty".into());
    }
    if name.contains('/') {
        let path = cwd.join(name);
        return judge(&path).map(|()| path);
    }
    let path = environment.get(OsStr::new("PATH")).map(|path| path.as_os_str()).unwrap_or_default();
    let mut refused = None;
    for directory in std::env::split_paths(path) {
        let candidate = cwd.join(directory).join(name);
        if !candidate.exists() {
            continue;
        }
        match judge(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    Err(refused.unwrap_or_else(|| {
        let path = path.to_string_lossy();
        format!("`{name}` was not found in PATH ({path}); give its full path, or set PATH in `env`")
    }))
}

fn judge(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let data = match path.metadata() {
        Ok(data) => data,
        Err(error) => return Err(format!("`{shown}` can't be run: {error}")),
    };
    if data.is_dir() {
        return Err(format!("`{shown}` is a directory, not a program"));
    }
    if !data.is_file() {
        return Err(format!("`{shown}` is not a regular file"));
    }
    if accessat(CWD, path, Access::EXEC_OK, AtFlags::empty()).is_err() {
        return Err(format!("`{shown}` is not executable; `chmod +x {shown}` makes it so"));
    }
    if !has_known_format(path) {
        return Err(format!(
            "`{shown}` has no format that this system runs (exec format error); a script begins with a \
             line such as `#!/bin/sh`"
        ));
    }
    Ok(())
}

/// Is it a script with an interpreter, or a binary for this kind of machine? `execvp`, which the
/// trampoline must use, would feed anything else to `/bin/sh`, line by line.
#[cfg(target_os = "linux")]
fn has_known_format(path: &Path) -> bool {
    let Some(head) = head_of(path) else { return true };
    if head.starts_with(b"#!") {
        return true;
    }
    // this program's own file stays what it was when it started
    static OWN: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let own = OWN.get_or_init(|| head_of(Path::new("/proc/self/exe"))).as_deref();
    let runs_here = own.is_none_or(|own| {
        head.starts_with(b"\x7fELF") && (machine(&head) == machine(own) || is_small_sibling(&head, own))
    });
    runs_here || has_foreign_formats()
}

#[cfg(not(target_os = "linux"))]
fn has_known_format(_: &Path) -> bool {
    true
}

/// The first 20 bytes; `None` if they can't be read (a program may be executable only) or there
/// are fewer and no `#!`.
#[cfg(target_os = "linux")]
fn head_of(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut head = Vec::with_capacity(20);
    std::fs::File::open(path).ok()?.take(20).read_to_end(&mut head).ok()?;
    Some(head)
}

/// Byte order and `e_machine` (elf(5)).
#[cfg(target_os = "linux")]
fn machine(head: &[u8]) -> Option<(u8, [u8; 2])> {
    Some((*head.get(5)?, [*head.get(18)?, *head.get(19)?]))
}

/// 64-bit kernels run the 32-bit programs of their kind: i386 (3) on x86-64 (62), ARM (40) on
/// AArch64 (183).
#[cfg(target_os = "linux")]
fn is_small_sibling(head: &[u8], own: &[u8]) -> bool {
    let number = |head: &[u8]| machine(head).map(|(_, bytes)| u16::from_le_bytes(bytes));
    matches!((number(own), number(head)), (Some(62), Some(3)) | (Some(183), Some(40)))
}

/// Is the system taught to run other formats (binfmt_misc)?
#[cfg(target_os = "linux")]
fn has_foreign_formats() -> bool {
    let Ok(entries) = std::fs::read_dir("/proc/sys/fs/binfmt_misc") else { return false };
    entries.flatten().any(|entry| !matches!(entry.file_name().as_bytes(), b"register" | b"status"))
}
