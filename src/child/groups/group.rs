//! One control group: its limits, its processes, and its end.
use super::place::members;
use crate::child::trampoline::process;
use crate::domain::SandboxLimits;
use rustix::process::Signal;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Maximum wait for killed processes. What is still there then can't be killed, and its group stays until the daemon starts
/// again.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between checks of killed processes: doubled each time, from the first to the second.
const CHECK_INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// The keeper is in the group as well.
const KEEPER_COUNT: u64 = 1;

/// A control group with its processes. Dropping it kills them.
#[derive(Debug)]
pub(in crate::child) struct Group {
    folder: PathBuf,
    memory: Option<u64>,
    processes: Option<u64>,
}

/// Limits of a group that were hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::child) struct LimitsMet {
    /// Something was killed because of this memory limit, in bytes.
    pub(in crate::child) memory: Option<u64>,
    /// A process or thread was refused because of this limit.
    pub(in crate::child) processes: Option<u64>,
}

impl Group {
    /// Creates a group with these limits.
    pub(super) fn make(folder: PathBuf, limits: &SandboxLimits) -> io::Result<Self> {
        std::fs::create_dir(&folder)?;
        let group = Self { folder, memory: limits.memory, processes: limits.processes };
        set_limits(&group.folder, limits)?;
        Ok(group)
    }

    /// Returns a plain folder that is used as if it were a group.
    #[cfg(test)]
    pub(in crate::child) fn pretended(folder: PathBuf, memory: u64, processes: u64) -> Self {
        Self { folder, memory: Some(memory), processes: Some(processes) }
    }

    /// Returns a group that was not created by this process.
    pub(super) fn left(folder: PathBuf) -> Self {
        Self { folder, memory: None, processes: None }
    }

    /// Moves a process into the group. What it starts from then on is in it as well.
    pub(in crate::child) fn take(&self, pid: u32) -> io::Result<()> {
        write(&self.folder, "cgroup.procs", &pid.to_string())
    }

    /// Kills all its processes.
    pub(in crate::child) fn kill(&self) {
        match write(&self.folder, "cgroup.kill", "1") {
            Ok(()) => {}
            // before Linux 5.14. Frozen processes can't start anything, and can still be killed
            Err(_) => {
                let _ = write(&self.folder, "cgroup.freeze", "1");
                for folder in with_groups_below(&self.folder) {
                    for pid in members(&folder).into_iter().filter(|pid| *pid != std::process::id()) {
                        if let Some(stat) = process::stat(pid) {
                            let _ = process::signal(pid, stat.start, Signal::KILL);
                        }
                    }
                }
                let _ = write(&self.folder, "cgroup.freeze", "0");
            }
        }
    }

    /// Returns whether it, or a subgroup, has any processes.
    pub(super) fn is_populated(&self) -> bool {
        number(&self.folder, "cgroup.events", "populated").is_some_and(|count| count > 0)
    }

    /// Returns which of its limits were hit so far.
    pub(in crate::child) fn limits_met(&self) -> LimitsMet {
        let any = |file, key| number(&self.folder, file, key).is_some_and(|count| count > 0);
        LimitsMet {
            memory: self.memory.filter(|_| any("memory.events", "oom_kill")),
            processes: self.processes.filter(|_| any("pids.events", "max")),
        }
    }

    /// Kills its processes. Returns true if none is left, and it was removed.
    pub(super) fn is_ended(&self) -> bool {
        if self.is_populated() {
            self.kill();
            return false;
        }
        is_removed(&self.folder)
    }

    /// Kills its processes, waits until they have ended, and removes it. Blocks for a bounded time.
    pub(in crate::child) fn end(self) {
        let until = Instant::now() + KILL_TIMEOUT;
        let (mut pause, longest) = CHECK_INTERVALS;
        loop {
            if self.is_ended() {
                return;
            }
            if Instant::now() >= until {
                tracing::warn!("the control group {} can't be emptied", self.folder.display());
                return;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.is_populated() {
            self.kill();
        }
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// Sets the limits. Swap is disabled, so that the memory limit is a real one; and on reaching it, all processes are killed
/// (`memory.oom.group`), since half a program is useless.
fn set_limits(folder: &Path, limits: &SandboxLimits) -> io::Result<()> {
    let set = |file: &str, value: &str| {
        write(folder, file, value).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("`{file}` of its control group can't be set to {value}: {error}"),
            )
        })
    };
    if let Some(bytes) = limits.memory {
        set("memory.max", &bytes.to_string())?;
        // missing if the kernel was built without swap, or is older than Linux 4.19
        for (file, value) in [("memory.swap.max", "0"), ("memory.oom.group", "1")] {
            match set(file, value) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    if let Some(count) = limits.processes {
        set("pids.max", &count.saturating_add(KEEPER_COUNT).to_string())?;
    }
    Ok(())
}

/// Writes to a file of the cgroup file system.
pub(super) fn write(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(folder.join(file))?.write_all(value.as_bytes())
}

/// Returns the number after a key, in a file with one entry per line.
fn number(folder: &Path, file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(folder.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Returns this group and all subgroups, the deepest last. A program may have created some.
fn with_groups_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut at = 0;
    while let Some(folder) = found.get(at) {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let below: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
        found.extend(below);
        at += 1;
    }
    found
}

/// Removes an empty group with its subgroups. Returns false if it is busy.
fn is_removed(folder: &Path) -> bool {
    if std::fs::remove_dir(folder).is_ok() {
        return true;
    }
    for folder in with_groups_below(folder).iter().rev() {
        let _ = std::fs::remove_dir(folder);
    }
    !folder.exists()
}

#[cfg(test)]
mod tests {
    //! With plain files in the place of those of the kernel: what is written, and what is read.
    use super::*;

    fn with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn limits_are_written_where_the_kernel_reads_them() {
        let files = ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max"];
        let folder = with(&files.map(|file| (file, "")));
        let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
        set_limits(folder.path(), &SandboxLimits::default()).unwrap();
        assert_eq!(files.map(read), ["", "", "", ""]);
        let limits = SandboxLimits { memory: Some(1 << 30), processes: Some(64), ..SandboxLimits::default() };
        set_limits(folder.path(), &limits).unwrap();
        assert_eq!(files.map(read), ["1073741824", "0", "1", "65"]);
    }

    #[test]
    fn a_limit_that_can_not_be_set_is_an_error_and_a_part_that_the_kernel_lacks_is_none() {
        let limits = SandboxLimits { memory: Some(1 << 20), ..SandboxLimits::default() };
        set_limits(with(&[("memory.max", "")]).path(), &limits).unwrap();
        let error = set_limits(with(&[]).path(), &limits).unwrap_err().to_string();
        assert!(error.starts_with("`memory.max` of its control group can't be set to 1048576: "), "{error}");
    }

    #[test]
    fn what_limits_have_met_is_read_from_their_events() {
        let met = |memory: &str, pids: &str| {
            let folder = with(&[("memory.events", memory), ("pids.events", pids)]);
            let group = Group { folder: folder.path().to_owned(), memory: Some(9), processes: Some(7) };
            group.limits_met()
        };
        assert_eq!(
            met("low 0\nmax 12\noom 0\noom_kill 0\noom_group_kill 0\n", "max 0\n"),
            LimitsMet::default()
        );
        assert_eq!(met("oom 1\noom_kill 3\n", "max 0\n").memory, Some(9));
        assert_eq!(met("oom_kill_x 3\n", "max 2\n"), LimitsMet { memory: None, processes: Some(7) });
        let bare = with(&[("memory.events", "oom_kill 3\n")]);
        // without a limit of ours it was the machine's memory that ended
        assert_eq!(Group::left(bare.path().to_owned()).limits_met(), LimitsMet::default());
    }
}
