//! Determines whether a process that connects to the daemon was started by it, and what it may request.
use super::groups;
use super::own::control_of;
use super::trampoline::process::{Stat, stat};
use crate::domain::Control;

/// Maximum number of ancestors that are checked.
const MAX_ANCESTORS: usize = 10_000;

/// Maximum number of searches, which are repeated if an ancestor ended meanwhile.
const MAX_SEARCHES: usize = 10;

/// Returns what a process may request: the rights of the program of ours that it belongs to. `None`: it belongs to none, so it
/// is its owner who asks.
///
/// The search goes up from parent to parent (proc_pid_stat(5)). Each program has a keeper that adopts its orphans, so a process
/// that loses its parent still leads to us. The exception: a process that enters a PID namespace made by others (setns(2)) and
/// loses its parent there is adopted within that namespace (pid_namespaces(7)). So each step also checks the session, which is
/// the keeper's, and the last one checks the control group. A process leaves its session with a call (setsid(2)), and its group
/// only where it may write to groups.
///
/// A process that has already exited gets no rights: nobody waits for the answer. One that another service started on behalf of
/// ours (a service manager, cron, ssh) does not belong to us: only a sandbox prevents that.
pub fn rights_of_peer(pid: u32) -> Option<Control> {
    (0..MAX_SEARCHES).find_map(|_| found_rights(pid)).unwrap_or(Some(Control::None))
}

/// Returns the same, by one search. `None`: an ancestor ended meanwhile, and the process has a different parent by now.
fn found_rights(pid: u32) -> Option<Option<Control>> {
    let me = std::process::id();
    let mut at = pid;
    for _ in 0..MAX_ANCESTORS {
        // 0: no parent in our PID namespace: this process is not among its ancestors, and only its group can tell
        if at == 0 || at == me {
            return Some(if pid == me { None } else { rights_of_group(pid) });
        }
        let Some(stat) = stat(at) else {
            if !cfg!(target_os = "linux") {
                return Some(None); // nothing can be found out
            }
            // another user's process: no program of ours is above it
            if is_hidden(at) {
                return Some(rights_of_group(pid));
            }
            return (at == pid).then_some(Some(Control::None));
        };
        if stat.parent == me {
            return Some(Some(control_of(at).unwrap_or(Control::None)));
        }
        if let Some(control) = control_of(stat.session) {
            return Some(Some(control));
        }
        at = stat.parent;
    }
    Some(Some(Control::None))
}

/// Returns whether it exists, but belongs to another user, and `/proc` does not show those (`hidepid`, proc(5)).
fn is_hidden(pid: u32) -> bool {
    let number = super::trampoline::process::pid_of(pid);
    number.map(rustix::process::test_kill_process) == Some(Err(rustix::io::Errno::PERM))
}

/// Returns the same, by the control group of the process.
fn rights_of_group(pid: u32) -> Option<Control> {
    let members = groups::fellows(pid)?;
    // the keeper is one of them, unless it was killed
    Some(members.into_iter().find_map(control_of).unwrap_or(Control::None))
}

/// Returns whether this process descends from `daemon`, or from anything else named like this program or its gate.
pub(super) fn descends_from_us(daemon: Option<u32>) -> bool {
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(std::path::Path::file_name).map(std::ffi::OsStr::as_encoded_bytes);
    let mut at = parent_as_seen();
    for _ in 0..MAX_ANCESTORS {
        if at == 0 {
            return false;
        }
        // process 1 of this container is not the daemon that is process 1 of another
        let is_daemon =
            daemon == Some(at) && (at != 1 || name_of(at).is_some_and(|name| is_named_like_us(&name, own)));
        if is_daemon {
            return true;
        }
        // an invisible process belongs to another user, and so do all its ancestors
        let (Some(stat), Some(name)) = (stat(at), name_of(at)) else { return false };
        if is_named_like_us(&name, own) && !is_another_program(at, own) {
            return true;
        }
        at = stat.parent;
    }
    true
}

/// Returns the parent of this process, as `/proc` shows it. In a PID namespace of its own the process has no visible parent,
/// unless `/proc` is still that of the outer namespace, where this process has a different PID.
fn parent_as_seen() -> u32 {
    let own = std::fs::read("/proc/self/stat").ok().and_then(|line| Stat::parse(&line));
    own.map_or_else(std::os::unix::process::parent_id, |stat| stat.parent)
}

/// Returns the name that the kernel keeps for a process: the beginning of its program's (proc_pid_comm(5)).
fn name_of(pid: u32) -> Option<Vec<u8>> {
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_ascii_end().to_vec())
}

fn is_named_like_us(name: &[u8], own: Option<&[u8]>) -> bool {
    /// Maximum bytes of a name that the kernel keeps.
    const MAX_NAME_BYTES: usize = 15;
    let is_own = own.is_some_and(|own| &own[..own.len().min(MAX_NAME_BYTES)] == name);
    is_own || matches!(name, b"bgagent" | b"bgagent-gate")
}

/// Returns whether a process named like this program is known to be something else, such as the shell of a script of that name.
/// The daemon itself can't be checked: it is not dumpable, so nobody can see its program (proc_pid_exe(5)).
fn is_another_program(pid: u32, own: Option<&[u8]>) -> bool {
    let Ok(program) = std::fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    let Some(name) = program.file_name().map(std::ffi::OsStr::as_encoded_bytes) else { return false };
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    !(own == Some(name) || matches!(name, b"bgagent" | b"bgagent-gate"))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    //! With real children.
    use super::super::kept::ProgramStart;
    use super::super::trampoline::process::signal;
    use super::super::{Inherit, KeptProgram};
    use super::*;
    use std::path::Path;

    #[test]
    fn a_process_knows_whose_doing_it_is() {
        assert!(!descends_from_us(None), "these tests are nobody's agent");
        assert!(descends_from_us(Some(std::os::unix::process::parent_id())));
        for (name, own, is) in [
            ("bgagent", None, true),
            ("bgagent-gate", None, true),
            ("bgagent-other", None, false),
            ("scheduler", Some("scheduler"), true),
            ("a-name-that-is-", Some("a-name-that-is-longer"), true),
            ("bash", Some("scheduler"), false),
        ] {
            assert_eq!(is_named_like_us(name.as_bytes(), own.map(str::as_bytes)), is, "{name}");
        }
    }

    #[test]
    fn a_script_that_is_called_like_us_is_another_program() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("bgagent");
        std::fs::write(&script, "#!/bin/sh\nread line\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let mut child =
            std::process::Command::new(&script).stdin(std::process::Stdio::piped()).spawn().unwrap();
        // between fork and exec it is still this program
        while name_of(child.id()).as_deref() != Some(b"bgagent") {
            std::thread::yield_now();
        }
        assert!(is_named_like_us(b"bgagent", None) && is_another_program(child.id(), None));
        drop(child.stdin.take());
        child.wait().unwrap();
        let own = std::env::current_exe().unwrap();
        let own = own.file_name().map(std::ffi::OsStr::as_encoded_bytes);
        assert!(!is_another_program(std::process::id(), own));
    }

    /// A process that enters another's PID namespace and loses its parent there is adopted within that namespace.
    #[tokio::test]
    async fn who_is_adopted_elsewhere_is_known_by_its_session() {
        // whoever starts it ends, so that it is not below this process
        let begun = "unshare --pid --fork sleep 614 >/dev/null 2>&1 & all=/proc/$!/task/$!/children
                     until [ -n \"$(cat $all)\" ] || ! kill -0 $! 2>/dev/null; do sleep 0.02; done; cat $all";
        let begun = std::process::Command::new("/bin/sh").args(["-c", begun]).output().unwrap();
        let numbers = String::from_utf8(begun.stdout).unwrap();
        let Some(first) = numbers.split_whitespace().next().map(|number| number.parse().unwrap()) else {
            return eprintln!("skipped: no PID namespace can be created here");
        };
        let _gone = Killed(first);
        let argv = [
            "sh".to_owned(),
            "-c".to_owned(),
            format!("nsenter --target {first} --pid sh -c 'sleep 615 &'; echo; sleep 616"),
        ];
        let environment = Inherit::Basics.environment();
        let start = ProgramStart {
            program: Path::new("/bin/sh"),
            argv: &argv,
            environment: &environment,
            cwd: Path::new("/"),
            confinement: None,
            control: Some(Control::Read),
        };
        let (kept, (mut output, _)) = KeptProgram::start(&start).unwrap();
        kept.go(None).unwrap();
        tokio::io::AsyncReadExt::read(&mut output, &mut [0; 8]).await.unwrap();
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        let adopted =
            children.split_whitespace().next().expect("the namespace has adopted it").parse().unwrap();
        assert_eq!(rights_of_peer(adopted), Some(Control::Read));
        assert_eq!(rights_of_peer(first), None, "it was nobody's doing");
    }

    /// A process that ends with a test; with the first one of a namespace, all others of that.
    struct Killed(u32);

    impl Drop for Killed {
        fn drop(&mut self) {
            if let Some(stat) = stat(self.0) {
                let _ = signal(self.0, stat.start, rustix::process::Signal::KILL);
            }
        }
    }

    #[tokio::test]
    async fn a_peer_has_the_rights_of_the_program_that_it_descends_from() {
        let (me, parent) = (std::process::id(), std::os::unix::process::parent_id());
        assert_eq!((rights_of_peer(me), rights_of_peer(parent), rights_of_peer(0)), (None, None, None));
        assert_eq!(rights_of_peer(u32::MAX / 2), Some(Control::None), "nobody has this number");
        let argv = ["sh".to_owned(), "-c".to_owned(), "setsid sh -c 'sleep 600 & echo $!; wait'".to_owned()];
        let environment = Inherit::Basics.environment();
        for control in [None, Some(Control::Run)] {
            let start = ProgramStart {
                program: Path::new("/bin/sh"),
                argv: &argv,
                environment: &environment,
                cwd: Path::new("/"),
                confinement: None,
                control,
            };
            let (kept, (mut output, _)) = KeptProgram::start(&start).unwrap();
            kept.go(None).unwrap();
            let mut line = [0; 32];
            let count = tokio::io::AsyncReadExt::read(&mut output, &mut line).await.unwrap();
            let sleeper = std::str::from_utf8(&line[..count]).unwrap().trim().parse().unwrap();
            assert_eq!(rights_of_peer(sleeper), Some(control.unwrap_or(Control::None)));
            assert_eq!(rights_of_peer(kept.number()), Some(control.unwrap_or(Control::None)));
        }
    }
}
