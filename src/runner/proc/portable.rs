//! Implementation with `sysinfo` and ps(1) for groups. There are no process handles and no subreaper: the PID could be reused
//! between a scan and a signal, and no orphan is adopted. Sessions are unknown.
use super::seen::Seen;
use crate::child::trampoline::process::pid_of;
use rustix::process::{Signal, kill_process};
use std::collections::HashMap;
use std::ffi::OsString;
use std::process::Command;
use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

/// Returns when the process started, in seconds since 1970; also for one that has exited and was not reaped, where the system
/// provides it.
pub(super) fn start_of(pid: u32) -> Option<u64> {
    let pid = Pid::from_u32(pid);
    Some(look(ProcessesToUpdate::Some(&[pid]))?.process(pid)?.start_time())
}

/// Returns a string that is unique for each boot: `kern.bootsessionuuid` of sysctl(8) on macOS.
pub(super) fn boot_id() -> Option<String> {
    let said = Command::new("/usr/sbin/sysctl").args(["-n", "kern.bootsessionuuid"]).output();
    let said = said.ok().filter(|said| said.status.success())?;
    String::from_utf8(said.stdout).ok().filter(|id| !id.trim().is_empty())
}

/// Returns all live processes; `each` is called for each.
pub(super) fn scan(each: impl Fn(&Seen)) -> Vec<Seen> {
    let Some(all) = look(ProcessesToUpdate::All) else { return Vec::new() };
    let groups = groups();
    let alive = all.processes().values().filter(|process| lives(process));
    alive.map(|process| seen(process, &groups)).inspect(|one| each(one)).collect()
}

/// Sends a signal to the process that was seen; does nothing if it is gone.
pub(in crate::runner) fn signal(seen: &Seen, signal: Signal) -> rustix::io::Result<()> {
    let Some(pid) = pid_of(seen.pid).filter(|_| still_lives(seen)) else { return Ok(()) };
    match kill_process(pid, signal) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => other,
    }
}

/// Always empty: orphans are reparented to init.
pub(in crate::runner) async fn adopted_stopped(_: impl Fn(&Seen) -> bool + Send + 'static) -> Vec<Seen> {
    Vec::new()
}

/// Unknown: callers must scan all processes.
pub(in crate::runner) fn may_have_orphans() -> bool {
    true
}

/// Returns the name of the process.
pub(in crate::runner) fn name_of(pid: u32) -> String {
    let pid = Pid::from_u32(pid);
    let now = look(ProcessesToUpdate::Some(&[pid]));
    let name = now.as_ref().and_then(|now| now.process(pid)).map(|process| process.name().to_string_lossy());
    name.map_or_else(|| "unnamed".into(), |name| name.into_owned())
}

fn still_lives(seen: &Seen) -> bool {
    let pid = Pid::from_u32(seen.pid);
    let now = look(ProcessesToUpdate::Some(&[pid]));
    let process = now.as_ref().and_then(|now| now.process(pid));
    process.is_some_and(|process| process.start_time() == seen.start && lives(process))
}

fn look(which: ProcessesToUpdate<'_>) -> Option<System> {
    let mut system = System::new().ok()?;
    let what = ProcessRefreshKind::nothing().with_environ(UpdateKind::Always).without_tasks();
    system.refresh_processes_specifics(which, true, what);
    Some(system)
}

fn lives(process: &Process) -> bool {
    !matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead)
}

fn seen(process: &Process, groups: &HashMap<u32, u32>) -> Seen {
    let pid = process.pid().as_u32();
    Seen {
        pid,
        start: process.start_time(),
        parent: process.parent().map_or(0, Pid::as_u32),
        group: groups.get(&pid).copied().unwrap_or(0),
        session: 0,
        run: variable(process.environ(), crate::runner::env::RUN_ID)
            .or_else(|| variable(process.environ(), crate::child::HELPER_OF))
            .and_then(|value| value.parse().ok()),
    }
}

/// Returns the group of each process, by ps(1) as in POSIX: the safe call panics if a system process is in group 0.
fn groups() -> HashMap<u32, u32> {
    let said = Command::new("/bin/ps").args(["-A", "-o", "pid=", "-o", "pgid="]).output();
    let said = said.map(|said| said.stdout).unwrap_or_default();
    let numbers = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    String::from_utf8_lossy(&said).lines().filter_map(numbers).collect()
}

fn variable<'a>(environ: &'a [OsString], name: &str) -> Option<&'a str> {
    environ.iter().find_map(|entry| entry.to_str()?.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    //! Tests with real processes.
    use super::*;
    use crate::domain::RunId;
    use std::os::unix::process::CommandExt;

    #[test]
    fn a_process_is_seen_signalled_and_told_from_a_later_one() {
        let run: RunId = "0197a6f0-0000-7000-8000-000000000001".parse().unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .env(crate::runner::env::RUN_ID, run.to_string())
            .process_group(0)
            .spawn()
            .unwrap();
        // It is ours from the start, and has its variables once it has become `sleep`.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let seen = loop {
            let all = scan(|_| {});
            let late = std::time::Instant::now() > until;
            assert!(!late, "{:?}", all.iter().find(|seen| seen.pid == child.id()));
            if let Some(seen) = all.iter().find(|seen| seen.pid == child.id() && seen.run.is_some()) {
                break *seen;
            }
            std::thread::yield_now();
        };
        assert_eq!((seen.run, seen.parent), (Some(run), std::process::id()));
        if std::path::Path::new("/bin/ps").exists() {
            assert_eq!(seen.group, child.id());
        }
        assert_eq!(start_of(child.id()), Some(seen.start));
        let other = Seen { start: seen.start + 1, ..seen };
        signal(&other, Signal::KILL).unwrap();
        assert!(still_lives(&seen) && !still_lives(&other));
        signal(&seen, Signal::KILL).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(!still_lives(&seen));
        signal(&seen, Signal::KILL).unwrap();
        assert!(!scan(|_| {}).iter().any(|one| one.pid == seen.pid && one.start == seen.start));
    }
}
