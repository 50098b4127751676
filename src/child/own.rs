//! Which of our children have somebody here who waits for them.
//!
//! A subreaper also gets children that it never started: orphans, for which nobody waits. Whoever
//! reaps those must not take the others. So who starts a process that may stay unreaped for longer
//! than a moment after its end holds an [`Own`] of it, and a [`starting`] from before its start until then.
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// Holders of each: a number may be another process's while the last one's holder is still there.
static OWNED: LazyLock<Mutex<HashMap<u32, Owned>>> = LazyLock::new(Mutex::default);
/// Read by those who start a process that nobody owns yet.
static STARTING: RwLock<()> = RwLock::new(());

#[derive(Debug, Default)]
struct Owned {
    holders: usize,
    /// Since when it lives, in ticks since boot; 0: not known.
    start: u64,
}

/// As long as this lives, the child is waited for by its holder and nobody else.
#[derive(Debug)]
pub struct Own(u32);

impl Own {
    /// The child with this number.
    pub fn of(pid: u32) -> Self {
        let start = start_of(pid);
        let mut all = owned();
        let one = all.entry(pid).or_default();
        one.holders += 1;
        one.start = start;
        Self(pid)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut owned = owned();
        if let Some(one) = owned.get_mut(&self.0) {
            one.holders -= 1;
            if one.holders == 0 {
                owned.remove(&self.0);
            }
        }
    }
}

/// Does somebody here wait for the child with this number?
pub fn is_owned(pid: u32) -> bool {
    owned().contains_key(&pid)
}

/// Is there a child that somebody waits for and that is as old as this, in ticks since boot? It may have started
/// an orphan of that age. `except`: a child that is known to have ended.
pub fn any_as_old(start: u64, except: Option<u32>) -> bool {
    owned().iter().any(|(pid, one)| Some(*pid) != except && one.start <= start)
}

/// Held from before a child is started until it is owned.
pub fn starting() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Is nobody about to own a child of this number? False as long as that is not known: a start is under way.
pub fn is_nobodys(pid: u32) -> bool {
    match STARTING.try_write() {
        Ok(_) | Err(std::sync::TryLockError::Poisoned(_)) => !is_owned(pid),
        Err(std::sync::TryLockError::WouldBlock) => false,
    }
}

/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)), the 20th after the name; 0 where that is not to be had.
fn start_of(pid: u32) -> u64 {
    // the name of its program may be no text
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    let after = stat.rsplit(')').next().unwrap_or_default();
    after.split_ascii_whitespace().nth(19).and_then(|start| start.parse().ok()).unwrap_or(0)
}

fn owned() -> MutexGuard<'static, HashMap<u32, Owned>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    //! With a real child.
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn who_is_as_old_is_known() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let (pid, start) = (child.id(), start_of(child.id()));
        assert!(start > 0 && !is_owned(pid));
        let own = Own::of(pid);
        assert!(is_owned(pid) && any_as_old(start, None) && !is_nobodys(pid));
        drop(own);
        assert!(!is_owned(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(start_of(pid), 0, "it is gone");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_program_whose_name_is_no_text_has_its_start() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(std::ffi::OsStr::from_bytes(b"sl\xffep"));
        std::fs::copy("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("600").spawn().unwrap();
        let start = start_of(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(start > 0);
    }
}
