//! Implementation with `/proc` (proc(5)), pidfds and the subreaper.
use super::seen::Seen;
use crate::child::trampoline::process::{self, Stat, stat};
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::Instant;

/// Time limit of one chase after orphans.
const CHASE_TIMEOUT: Duration = Duration::from_millis(20);

/// Returns the value of a variable in a block like `/proc/PID/environ`.
fn variable<'a>(block: &'a [u8], name: &str) -> Option<&'a [u8]> {
    block.split(|&byte| byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
}

/// Returns the signals that this process ignores and could handle: `SigIgn` of proc_pid_status(5). Excludes SIGPIPE, which the
/// Rust runtime ignores, and restores for programs.
pub(in crate::runner) fn ignored_signals() -> Vec<i32> {
    let fixed = [Signal::KILL, Signal::STOP, Signal::ILL, Signal::FPE, Signal::SEGV, Signal::PIPE]
        .map(Signal::as_raw);
    let status = std::fs::read("/proc/self/status").unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // the C library reserves two
    let free = |number: &i32| !fixed.contains(number) && !matches!(number, 32 | 33);
    (1..=64).filter(|number| mask >> (number - 1) & 1 == 1).filter(free).collect()
}

/// Returns PID and start time of the exited children of this process that were not reaped.
pub(in crate::runner) fn ended_children() -> Vec<(u32, u64)> {
    let me = std::process::id();
    let ended = |pid: u32| {
        let stat = stat(pid).filter(|stat| stat.parent == me && stat.state == b'Z')?;
        Some((pid, stat.start))
    };
    let children = children().unwrap_or_else(|| {
        let mut all = Vec::new();
        each_number(|pid| all.push(pid));
        all
    });
    children.into_iter().filter_map(ended).collect()
}

/// Returns the live orphans that this process has adopted.
pub(in crate::runner) fn adopted() -> Vec<Seen> {
    let mut all = children().unwrap_or_default();
    all.retain(|pid| !crate::child::is_owned(*pid));
    all.into_iter().filter_map(look_at).collect()
}

/// Returns whether there is a live child that was not started here, or whether that is unknown. Whatever a program leaves
/// behind becomes one as soon as the program exits: if there is none, nothing was left.
pub(in crate::runner) fn may_have_orphans() -> bool {
    let lives = |pid: &u32| !crate::child::is_owned(*pid) && stat(*pid).is_some_and(|stat| stat.lives());
    children().is_none_or(|all| all.iter().any(lives))
}

/// Returns the name of a process: its program as named on its command line, else the kernel's name.
pub(in crate::runner) fn name_of(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let first = String::from_utf8_lossy(first).into_owned();
    let name = first.rsplit('/').next().unwrap_or_default().trim().to_owned();
    let name = if name.is_empty() {
        let comm = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        String::from_utf8_lossy(&comm).into_owned()
    } else {
        name
    };
    let name: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    if name.is_empty() { "unnamed".into() } else { name }
}

/// Sends STOP to those that `wanted` selects among the adopted orphans, the newest first. Each process of one that forks and
/// exits in a loop becomes such an orphan. Empty: there are none, or they were too fast for the time limit.
pub(in crate::runner) async fn adopted_stopped(wanted: impl Fn(&Seen) -> bool + Send + 'static) -> Vec<Seen> {
    let chase = move || {
        let until = Instant::now() + CHASE_TIMEOUT;
        let mut known = std::collections::HashSet::new();
        loop {
            let mut caught = Vec::new();
            let mut quiet = true;
            for pid in children().unwrap_or_default().into_iter().rev() {
                if crate::child::is_owned(pid) || !known.insert(pid) {
                    continue;
                }
                quiet = false;
                if let Some(seen) = look_at(pid).filter(&wanted) {
                    let _ = signal(&seen, Signal::STOP);
                    caught.push(seen);
                }
            }
            if quiet || !caught.is_empty() || Instant::now() >= until {
                return caught;
            }
        }
    };
    tokio::task::spawn_blocking(chase).await.unwrap_or_default()
}

/// Sends a signal to exactly the process that was seen; does nothing if it is gone.
pub(in crate::runner) fn signal(seen: &Seen, signal: Signal) -> rustix::io::Result<()> {
    process::signal(seen.pid, seen.start, signal)
}

/// Returns when the process started, in ticks since boot; also for one that has exited and was not reaped.
pub(in crate::runner) fn start_of(pid: u32) -> Option<u64> {
    Some(stat(pid)?.start)
}

/// Returns a string that is unique for each boot.
pub(super) fn boot_id() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
}

/// Returns all live processes; `each` is called for each as soon as it is seen.
pub(super) fn scan(each: impl Fn(&Seen)) -> Vec<Seen> {
    let mut seen = Vec::new();
    each_number(|pid| {
        if let Some(one) = look_at(pid) {
            each(&one);
            seen.push(one);
        }
    });
    seen
}

/// Reads `/proc` in small steps and passes on each PID at once. A complete list would be outdated at its end: a process that
/// forks and exits in a loop would always be found dead.
fn each_number(mut each: impl FnMut(u32)) {
    use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(folder) = openat(CWD, "/proc", flags, Mode::empty()) else { return };
    // Space for one or two entries, and for more where a driver has added a long name.
    for size in [64, 512] {
        let mut room = vec![std::mem::MaybeUninit::uninit(); size];
        let mut entries = RawDir::new(&folder, &mut room);
        loop {
            match entries.next() {
                Some(Ok(entry)) => {
                    if let Some(pid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
                        each(pid);
                    }
                }
                Some(Err(rustix::io::Errno::INVAL)) => break,
                Some(Err(_)) | None => return,
            }
        }
    }
}

/// Returns the children of this process, per thread; `None` if the kernel was built without this list.
fn children() -> Option<Vec<u32>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        match std::fs::read_to_string(thread.path().join("children")) {
            Ok(list) => {
                children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()))
            }
            // the thread has exited meanwhile
            Err(_) if !thread.path().exists() => {}
            Err(_) => return None,
        }
    }
    Some(children)
}

fn look_at(pid: u32) -> Option<Seen> {
    let stat = stat(pid).filter(Stat::lives)?;
    // Kernel threads have no process group and no environment. Another user's environment can't be read.
    let environ = match stat.group {
        0 => Vec::new(),
        _ => std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(),
    };
    let run = variable(&environ, crate::runner::env::RUN_ID)
        .or_else(|| variable(&environ, crate::child::HELPER_OF))
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(|text| text.parse().ok());
    let Stat { parent, group, session, start, .. } = stat;
    Some(Seen { pid, start, parent, group, session, run })
}
