//! What the system knows of one process (proc_pid_stat(5)), and signals that can't reach a different one.
use rustix::process::{Pid, Signal};

/// Some fields of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub state: u8,
    pub parent: u32,
    pub group: u32,
    pub session: u32,
    /// When it started, in ticks since boot.
    pub start: u64,
}

impl Stat {
    /// Returns whether it is alive; zombies are not.
    pub fn lives(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Parses a line of `/proc/PID/stat`. The second field is the program's name in parentheses, and may itself contain spaces,
    /// parentheses and newlines: the others begin after the last `)`.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let after = line.iter().rposition(|&byte| byte == b')')? + 1;
        let mut fields = std::str::from_utf8(&line[after..]).ok()?.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let start = fields.nth(15)?.parse().ok()?;
        Some(Self { state, parent, group, session, start })
    }
}

/// Returns the state of a process; `None`: it is gone, or the system has no `/proc`.
pub fn stat(pid: u32) -> Option<Stat> {
    Stat::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Sends a signal to exactly the process with this PID and start time; does nothing if it is gone.
///
/// # Errors
/// The error of the system.
#[cfg(target_os = "linux")]
pub fn signal(pid: u32, start: u64, signal: Signal) -> rustix::io::Result<()> {
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, kill_process, pidfd_open, pidfd_send_signal};
    let Some(number) = pid_of(pid) else { return Ok(()) };
    let still_lives = || stat(pid).is_some_and(|stat| stat.start == start && stat.lives());
    // First the handle, then the check: if the PID still has the same start time, it had it when the handle was opened.
    let sent = match pidfd_open(number, PidfdFlags::empty()) {
        Ok(handle) if still_lives() => pidfd_send_signal(handle, signal),
        // Before Linux 5.3 there are no handles.
        Err(Errno::NOSYS) if still_lives() => kill_process(number, signal),
        Ok(_) | Err(Errno::NOSYS) => Ok(()),
        Err(error) => Err(error),
    };
    match sent {
        Err(Errno::SRCH) => Ok(()),
        other => other,
    }
}

/// Does the same, as well as this system can.
///
/// # Errors
/// The error of the system.
#[cfg(not(target_os = "linux"))]
pub fn signal(pid: u32, _: u64, signal: Signal) -> rustix::io::Result<()> {
    pid_of(pid).map_or(Ok(()), |pid| rustix::process::kill_process(pid, signal))
}

/// Returns a PID in the type for system calls.
pub fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

#[cfg(test)]
mod tests {
    //! Tests of what is read.
    use super::*;

    #[test]
    fn a_name_may_look_like_the_rest() {
        let rest = "S 11 12 13 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99\n";
        for name in ["sleep", "a b", "(evil) S 1 2 3", "x)\n) Z 9"] {
            let stat = Stat::parse(format!("77 ({name}) {rest}").as_bytes()).expect(name);
            let wanted = Stat { state: b'S', parent: 11, group: 12, session: 13, start: 4711 };
            assert_eq!(stat, wanted, "{name}");
        }
        assert_eq!(Stat::parse(b"77 sleep S 1"), None);
    }
}
