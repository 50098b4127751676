//! The keeper of a program: stays above it and everything that it starts, as long as any of that is alive.
//!
//! It adopts orphans below it (`PR_SET_CHILD_SUBREAPER`, prctl(2)): so whatever a program starts, in any session, group,
//! namespace or environment, stays below the keeper, is found there, and ends with it. It exits when it is asked to, and when
//! the process that started it is gone.
use super::begin::{AGAIN, ALIKE, ENTER, Permission, channel, command, executed, permission};
use super::process::{self, Stat};
use super::wire::{self, KeeperMessage, NOT_ALLOWED};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Maximum wait for killed processes. What is still there then can't be killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between checks of killed processes.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// Signals that request something from a program; they are forwarded to it.
pub(super) const HANDED_ON: [Signal; 6] =
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Waits for permission, starts the program, and stays until it is asked to exit.
pub(super) fn keep() -> ! {
    // Only fails for the leader of a group, which a new child is not.
    let _ = rustix::process::setsid();
    // descriptors inherited from the parent are not passed on
    close_fds::set_fds_cloexec(3, &[]);
    // Any process stands for "yes".
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let Ok(channel) = channel() else { exit(NOT_ALLOWED) };
    let mut ready = None;
    // if it can't be prepared now, it is started after `GO`, and an error is reported then
    let Some(permission) = permission(&channel, || ready = Confined::begin(&[]).ok()) else {
        drop(ready);
        while wait(WaitOptions::empty()).is_ok_and(|waited| waited.is_some()) {}
        exit(NOT_ALLOWED)
    };
    let signals = match Signals::caught() {
        Ok(signals) => signals,
        Err(error) => end_with(&channel, format!("signals can't be caught: {error}")),
    };
    if let Err(error) = nothing_in_place_of_input() {
        end_with(&channel, format!("/dev/null can't be opened: {error}"));
    }
    let leader = match started(permission, ready) {
        Ok(leader) => leader,
        Err(why) => end_with(&channel, why),
    };
    // readers of the program's output must see its end
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    Keeper { channel, signals, leader, ended: false }.stay()
}

fn end_with(channel: &OwnedFd, why: String) -> ! {
    say(channel, &KeeperMessage::NotStarted(why));
    exit(NOT_ALLOWED)
}

fn say(channel: &OwnedFd, said: &KeeperMessage) {
    let mut line = said.to_string();
    line.truncate(line.floor_char_boundary(4000));
    if !line.ends_with('\n') {
        line.push('\n');
    }
    // it fits into an empty socket; if nobody is there, nobody needs it
    let _ = rustix::io::write(channel, line.as_bytes());
}

fn nothing_in_place_of_input() -> std::io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdin(&null)?)
}

/// Starts the program in its own process group. Returns its PID, or why it could not be executed. `ready`: the process prepared
/// to become the confined program, if there is one.
fn started(permission: Permission, ready: Option<Confined>) -> Result<Pid, String> {
    let child = match &permission.order.walls {
        None => spawned(permission)?,
        Some(_) => within_walls(&permission, ready)?,
    };
    process::pid_of(child).ok_or_else(|| "the system gave it no number".to_owned())
}

/// Starts it from this thread, with the restrictions of this thread.
fn spawned(permission: Permission) -> Result<u32, String> {
    let Permission { order, input, .. } = permission;
    let mut command = command(&order);
    command.process_group(0).stdin(input.map_or_else(Stdio::null, Stdio::from));
    // `spawn` clears the signal mask and restores SIGPIPE, which the Rust runtime ignores
    Ok(executed(|| command.spawn()).map_err(|error| error.to_string())?.id())
}

/// Lets the prepared process become the confined program; a new one if the first can't continue without a private mount
/// namespace.
fn within_walls(permission: &Permission, ready: Option<Confined>) -> Result<u32, String> {
    let ready = ready.map_or_else(|| Confined::begin(&[]), Ok)?;
    match ready.become_program(permission) {
        Err(why) if why == AGAIN => Confined::begin(&[ALIKE])?.become_program(permission),
        started => started,
    }
}

/// A process that waits for the order to confine itself and become the program.
struct Confined {
    number: u32,
    channel: UnixStream,
}

impl Confined {
    fn begin(words: &[&str]) -> Result<Self, String> {
        let own = if cfg!(target_os = "linux") {
            "/proc/self/exe".into()
        } else {
            std::env::current_exe().map_err(|error| error.to_string())?
        };
        let (channel, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let mut command = Command::new(own);
        command.arg0("bgagent").arg(ENTER).args(words).process_group(0).stdin(OwnedFd::from(theirs));
        // our copy of the other end is dropped with the command, so that closing is detected
        let child = executed(|| command.spawn()).map_err(|error| error.to_string())?;
        Ok(Self { number: child.id(), channel })
    }

    /// Returns its PID, once it is the program.
    fn become_program(self, permission: &Permission) -> Result<u32, String> {
        let Permission { file, input, network, .. } = permission;
        let null = std::fs::File::open("/dev/null").map_err(|error| error.to_string())?;
        let input = input.as_ref().map_or(null.as_fd(), AsFd::as_fd);
        let mut descriptors = vec![file.as_fd(), input];
        descriptors.extend(network.as_ref().map(AsFd::as_fd));
        wire::send(&self.channel, wire::GO, &descriptors).map_err(|error| error.to_string())?;
        let mut why = String::new();
        (&self.channel).read_to_string(&mut why).map_err(|error| error.to_string())?;
        match KeeperMessage::read(why.trim_end()) {
            None if why.is_empty() => Ok(self.number),
            Some(KeeperMessage::NotStarted(why)) => Err(why),
            _ => Err(format!("the gate said `{}`", why.trim_end())),
        }
    }
}

/// Signals that arrived, and a descriptor that becomes readable.
struct Signals {
    woken: UnixStream,
    handed_on: Vec<(Signal, Arc<AtomicBool>)>,
}

impl Signals {
    fn caught() -> std::io::Result<Self> {
        let (woken, wakes) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(Signal::CHILD.as_raw(), wakes.try_clone()?)?;
        let mut handed_on = Vec::new();
        for signal in HANDED_ON {
            let came = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal.as_raw(), came.clone())?;
            signal_hook::low_level::pipe::register(signal.as_raw(), wakes.try_clone()?)?;
            handed_on.push((signal, came));
        }
        Ok(Self { woken, handed_on })
    }

    /// Clears the notification.
    fn take(&self) {
        let mut bytes = [0u8; 64];
        while matches!((&self.woken).read(&mut bytes), Ok(1..)) {}
    }
}

struct Keeper {
    channel: OwnedFd,
    signals: Signals,
    leader: Pid,
    /// The end of the program was reported.
    ended: bool,
}

impl Keeper {
    fn stay(mut self) -> ! {
        loop {
            self.reap();
            let mut watched =
                [PollFd::new(&self.channel, PollFlags::IN), PollFd::new(&self.signals.woken, PollFlags::IN)];
            if poll(&mut watched, None).is_err() {
                continue;
            }
            let asked = !watched[0].revents().is_empty();
            self.signals.take();
            self.forward_signals();
            if asked {
                match wire::receive(&self.channel) {
                    Ok(Some((wire::TERMINATE, _))) => self.ask(),
                    Ok(Some((wire::KILL, _)) | None) | Err(_) => self.kill(),
                    Ok(Some(_)) => {}
                }
            }
        }
    }

    /// Reaps all exited children, and reports how the program ended.
    fn reap(&mut self) {
        let mut how = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.leader && (status.exited() || status.signaled()) {
                how = Some(status);
            }
        }
        let Some(status) = how else { return };
        let left = has_children();
        let said = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => KeeperMessage::Exited { code, left },
            (None, signal) => KeeperMessage::Signalled { signal: signal.unwrap_or(0), left },
        };
        self.ended = true;
        say(&self.channel, &said);
    }

    /// Forwards signals to this process, which were meant for the program.
    fn forward_signals(&self) {
        for (signal, came) in &self.signals.handed_on {
            if came.swap(false, Ordering::Relaxed) && !self.ended {
                let _ = kill_process_group(self.leader, *signal);
            }
        }
    }

    /// Sends SIGTERM to everything that is left.
    fn ask(&self) {
        #[cfg(not(target_os = "linux"))]
        let _ = kill_process_group(self.leader, Signal::TERM);
        for (pid, stat) in below() {
            let _ = process::signal(pid, stat.start, Signal::TERM);
            let _ = process::signal(pid, stat.start, Signal::CONT);
        }
    }

    /// Kills everything that is left, and exits. First all are stopped, until a scan finds no new one: stopped processes can't
    /// fork.
    fn kill(&mut self) -> ! {
        #[cfg(not(target_os = "linux"))]
        let _ = kill_process_group(self.leader, Signal::KILL);
        let until = Instant::now() + KILL_TIMEOUT;
        let mut stopped = HashSet::new();
        loop {
            let all = if has_children() { below() } else { Vec::new() };
            if all.is_empty() {
                exit(0);
            }
            if Instant::now() >= until {
                for (pid, stat) in &all {
                    let _ = process::signal(*pid, stat.start, Signal::KILL);
                }
                self.reap();
                exit(0);
            }
            let mut anybody_new = false;
            for (pid, stat) in &all {
                if stopped.insert((*pid, stat.start)) {
                    anybody_new = true;
                    let _ = process::signal(*pid, stat.start, Signal::STOP);
                }
            }
            if anybody_new {
                continue;
            }
            for (pid, stat) in &all {
                let _ = process::signal(*pid, stat.start, Signal::KILL);
            }
            let mut woken = [PollFd::new(&self.signals.woken, PollFlags::IN)];
            let _ = poll(
                &mut woken,
                Some(&Timespec { tv_sec: 0, tv_nsec: CHECK_INTERVAL.subsec_nanos().into() }),
            );
            self.signals.take();
            self.reap();
        }
    }
}

/// Returns whether there is a child. What a program leaves behind becomes one as soon as the program exits. True if the kernel
/// has no such list.
fn has_children() -> bool {
    std::fs::read("/proc/thread-self/children").map_or(cfg!(target_os = "linux"), |all| !all.is_empty())
}

/// Returns all live processes below this one.
fn below() -> Vec<(u32, Stat)> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut children: HashMap<u32, Vec<(u32, Stat)>> = HashMap::new();
    for pid in folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Some(stat) = process::stat(pid) {
            children.entry(stat.parent).or_default().push((pid, stat));
        }
    }
    let mut found: Vec<(u32, Stat)> = Vec::new();
    let mut parents = vec![std::process::id()];
    while let Some(parent) = parents.pop() {
        for (pid, stat) in children.remove(&parent).unwrap_or_default() {
            parents.push(pid);
            if stat.lives() {
                found.push((pid, stat));
            }
        }
    }
    found
}
