//! What `/proc` knows of processes (proc(5)): who lives, since when, in which group, for which run.
//!
//! Elsewhere than on Linux it knows nothing: then only groups are ended, and nothing is reaped
//! after a crash, since a process could not be told from a later one with the same number.
use crate::domain::{Process, RunId};
use rustix::process::{Pid, Signal};
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long orphans are chased at a time.
#[cfg(target_os = "linux")]
const CHASE: std::time::Duration = std::time::Duration::from_millis(20);

/// A process that lives (zombies don't).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its number.
    pub(super) pid: u32,
    /// See [`Process::start`].
    pub(super) start: u64,
    /// Its parent.
    pub(super) parent: u32,
    /// Its process group.
    pub(super) group: u32,
    /// Its session.
    pub(super) session: u32,
    /// The run id in the environment that it was started with; of a helper, the id of its daemon.
    pub(super) run: Option<RunId>,
}

impl Seen {
    /// Tells it from a later process with the same number.
    pub(super) fn key(&self) -> (u32, u64) {
        (self.pid, self.start)
    }

    /// Is it in the group or session that `leader` leads or led?
    pub(super) fn belongs_to(&self, leader: u32) -> bool {
        self.group == leader || self.session == leader
    }
}

/// What field 3 and some later ones of `/proc/PID/stat` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) parent: u32,
    pub(super) group: u32,
    pub(super) session: u32,
    pub(super) start: u64,
}

impl Stat {
    fn lives(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Reads a line of `/proc/PID/stat`. The second field is the program's name in parentheses, and
/// may itself hold spaces, parentheses and line ends: the others begin after the last `)`.
pub(super) fn parse_stat(line: &[u8]) -> Option<Stat> {
    let after = line.iter().rposition(|&byte| byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&line[after..]).ok()?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let start = fields.nth(15)?.parse().ok()?;
    Some(Stat { state, parent, group, session, start })
}

/// The value of a variable in a block as in `/proc/PID/environ`.
pub(super) fn variable<'a>(block: &'a [u8], name: &str) -> Option<&'a [u8]> {
    block.split(|&byte| byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
}

/// The process with this number, as it is written down; it must not have been waited for yet.
pub(super) fn identify(pid: u32) -> Process {
    Process { pid, start: stat(pid).map_or(0, |stat| stat.start), boot: boot_hash() }
}

/// Does the process that was seen still live?
pub(super) fn still_lives(seen: &Seen) -> bool {
    stat(seen.pid).is_some_and(|stat| stat.start == seen.start && stat.lives())
}

/// All processes, from a scan that began after this call. Callers that come together share one.
pub(super) async fn living() -> Arc<Vec<Seen>> {
    static LATEST: Mutex<Option<(Instant, Arc<Vec<Seen>>)>> = Mutex::const_new(None);
    let asked = Instant::now();
    let mut latest = LATEST.lock().await;
    if let Some((began, seen)) = &*latest
        && *began >= asked
    {
        return Arc::clone(seen);
    }
    let began = Instant::now();
    let seen = Arc::new(tokio::task::spawn_blocking(|| scan(|_| {})).await.unwrap_or_default());
    *latest = Some((began, Arc::clone(&seen)));
    seen
}

/// All processes, from a scan of its own that stops whom `wanted` names in the moment that it sees
/// them: one that forks and exits in a loop is gone when a scan is at its end.
pub(super) async fn living_stopped(wanted: impl Fn(&Seen) -> bool + Send + 'static) -> Vec<Seen> {
    let stop = move |seen: &Seen| {
        if wanted(seen) {
            let _ = signal(seen, Signal::STOP);
        }
    };
    tokio::task::spawn_blocking(move || scan(stop)).await.unwrap_or_default()
}

/// Number and start of the children of this process that have ended and were not waited for.
#[cfg(target_os = "linux")]
pub(super) fn ended_children() -> Vec<(u32, u64)> {
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

/// Stops whom `wanted` names among the orphans that this process has adopted, the newest first. Each
/// process of one that forks and exits in a loop becomes such an orphan. Nobody: either there is
/// none, or they were too fast for this time.
#[cfg(target_os = "linux")]
pub(super) async fn adopted_stopped(wanted: impl Fn(&Seen) -> bool + Send + 'static) -> Vec<Seen> {
    let chase = move || {
        let until = Instant::now() + CHASE;
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

/// Nobody is ever seen here.
#[cfg(not(target_os = "linux"))]
pub(super) async fn adopted_stopped(_: impl Fn(&Seen) -> bool + Send + 'static) -> Vec<Seen> {
    Vec::new()
}

/// Sends a signal to exactly the process that was seen; if it is gone, to nobody.
#[cfg(target_os = "linux")]
pub(super) fn signal(seen: &Seen, signal: Signal) -> rustix::io::Result<()> {
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, kill_process, pidfd_open, pidfd_send_signal};
    let Some(pid) = pid_of(seen.pid) else { return Ok(()) };
    // First the handle, then the look: if the number still has the same start time, it had it when
    // the handle was taken.
    let sent = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) if still_lives(seen) => pidfd_send_signal(handle, signal),
        // Before Linux 5.3 there are no handles.
        Err(Errno::NOSYS) if still_lives(seen) => kill_process(pid, signal),
        Ok(_) | Err(Errno::NOSYS) => Ok(()),
        Err(error) => Err(error),
    };
    match sent {
        Err(Errno::SRCH) => Ok(()),
        other => other,
    }
}

/// Nobody is ever seen here.
#[cfg(not(target_os = "linux"))]
pub(super) fn signal(_: &Seen, _: Signal) -> rustix::io::Result<()> {
    Ok(())
}

/// A process number as the system calls want it.
pub(super) fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// Identity of this boot; 0 where the system does not tell.
pub(super) fn boot_hash() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => {
            let digest = Sha256::digest(id.trim().as_bytes());
            digest[..8].iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte))
        }
        Err(_) => 0,
    })
}

#[cfg(target_os = "linux")]
fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

#[cfg(not(target_os = "linux"))]
fn stat(_: u32) -> Option<Stat> {
    None
}

#[cfg(target_os = "linux")]
fn scan(each: impl Fn(&Seen)) -> Vec<Seen> {
    let mut seen = Vec::new();
    each_number(|pid| {
        if let Some(one) = look_at(pid) {
            each(&one);
            seen.push(one);
        }
    });
    seen
}

/// Tells the number of each process right after the system gave it. A list of all at once would be
/// old at its end: a process that forks and exits in a loop would be found dead each time.
#[cfg(target_os = "linux")]
fn each_number(mut each: impl FnMut(u32)) {
    use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(folder) = openat(CWD, "/proc", flags, Mode::empty()) else { return };
    // Room for one or two, and for more where a driver has put a long name there.
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

/// Our children, thread by thread; `None` where the kernel was built without this list.
#[cfg(target_os = "linux")]
fn children() -> Option<Vec<u32>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        match std::fs::read_to_string(thread.path().join("children")) {
            Ok(list) => {
                children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()))
            }
            // the thread ended meanwhile
            Err(_) if !thread.path().exists() => {}
            Err(_) => return None,
        }
    }
    Some(children)
}

#[cfg(not(target_os = "linux"))]
fn scan(_: impl Fn(&Seen)) -> Vec<Seen> {
    Vec::new()
}

#[cfg(target_os = "linux")]
fn look_at(pid: u32) -> Option<Seen> {
    let stat = stat(pid).filter(Stat::lives)?;
    // Threads of the kernel are in no group and have no environment. Another user's can't be read.
    let environ = match stat.group {
        0 => Vec::new(),
        _ => std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(),
    };
    let run = variable(&environ, super::env::RUN_ID)
        .or_else(|| variable(&environ, crate::child::HELPER_OF))
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(|text| text.parse().ok());
    let Stat { parent, group, session, start, .. } = stat;
    Some(Seen { pid, start, parent, group, session, run })
}
