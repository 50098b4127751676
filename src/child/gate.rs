//! Which binary is used as the keeper of each process.
use super::trampoline;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// File name of the small gate binary.
const GATE_FILE: &str = "bgagent-gate";

/// Returns the program that is started as the keeper of each process: the gate binary beside this one, if it exists in this
/// version, else this one itself. On Linux it is held open, so that replacing the file makes no difference.
pub fn gate_program() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(found)
}

fn found() -> PathBuf {
    let own = PathBuf::from("/proc/self/exe");
    let has_proc = own.exists();
    let Ok(exe) = std::env::current_exe() else { return own };
    let own = if has_proc { own } else { exe.clone() };
    let beside = match exe.file_name() {
        Some(name) if name == "bgagent" => Some(exe.with_file_name(GATE_FILE)),
        // a test binary can't be a keeper; those are one folder below what cargo builds
        _ => exe.parent().and_then(Path::parent).map(|folder| folder.join(GATE_FILE)),
    };
    let Some(beside) = beside.filter(|beside| beside.is_file()) else { return own };
    if !has_proc {
        return if speaks(&beside) { beside } else { own };
    }
    held(&beside).unwrap_or(own)
}

fn held(beside: &Path) -> Option<PathBuf> {
    static HELD: OnceLock<File> = OnceLock::new();
    let file = File::open(beside).ok()?;
    let held = PathBuf::from(format!("/proc/self/fd/{}", HELD.get_or_init(|| file).as_raw_fd()));
    speaks(&held).then_some(held)
}

fn speaks(program: &Path) -> bool {
    // nobody owns it, and it must not be taken for an orphan
    let _starting = super::own::starting();
    let told = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    told.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).trim() == trampoline::GATE)
}
