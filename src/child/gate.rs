//! Which program the keeper of each process is.
use super::trampoline;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The small program, as it is installed.
const BESIDE: &str = "bgagent-gate";

/// The program that is started as the keeper of each process: the small one that lies beside this one,
/// if it is there and of this version, else this one itself. On Linux it is held open, so that a file
/// that is replaced meanwhile makes no difference.
pub fn gate_program() -> &'static Path {
    FOUND.get_or_init(found)
}

static FOUND: OnceLock<PathBuf> = OnceLock::new();

/// From now on this program is the keeper of each process. For programs that use this library and are not `bgagent`
/// themselves; before the first one is started.
pub fn keep_programs_with(gate: &Path) {
    let _ = FOUND.set(gate.to_owned());
}

#[cfg(not(test))]
fn found() -> PathBuf {
    let own = PathBuf::from("/proc/self/exe");
    let has_proc = own.exists();
    let Ok(exe) = std::env::current_exe() else { return own };
    let beside = exe.with_file_name(BESIDE);
    if exe.file_name() != Some("bgagent".as_ref()) || !beside.is_file() {
        return if has_proc { own } else { exe };
    }
    if !has_proc {
        return if speaks(&beside) { beside } else { exe };
    }
    held(&beside).unwrap_or(own)
}

/// The tests of the library are no program that could be a keeper.
#[cfg(test)]
fn found() -> PathBuf {
    let exe = std::env::current_exe().expect("it runs");
    let built = exe.parent().and_then(Path::parent).expect("target/debug/deps").join(BESIDE);
    held(&built).expect("the gate is not built, or an old one: `cargo build` makes it")
}

fn held(beside: &Path) -> Option<PathBuf> {
    static HELD: OnceLock<File> = OnceLock::new();
    let file = File::open(beside).ok()?;
    let held = PathBuf::from(format!("/proc/self/fd/{}", HELD.get_or_init(|| file).as_raw_fd()));
    speaks(&held).then_some(held)
}

fn speaks(program: &Path) -> bool {
    // nobody owns it, and nobody is to take it for an orphan
    let _starting = super::starting();
    let told = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    told.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).trim() == trampoline::GATE)
}
