//! A program with its keeper, from the side of the process that started it ([`super::trampoline`]).
use super::confined::{Confinement, Private};
use super::gate::gate_program;
use super::groups::{self, Group, LimitsMet};
use super::inherit::Environment;
use super::own::{Own, spawn_owned};
use super::trampoline::wire::{self, KeeperMessage, NOT_ALLOWED, Order};
use super::trampoline::{WORD, process};
use crate::domain::Control;
use crate::proxy::Pass;
use rustix::process::Pid;
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::Semaphore;

/// Timeout for a keeper that was asked to exit.
const KEEPER_EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// What is to be started.
#[derive(Debug)]
pub(super) struct ProgramStart<'a> {
    pub(super) program: &'a Path,
    /// Its arguments, with its own name first.
    pub(super) argv: &'a [String],
    /// Its complete environment.
    pub(super) environment: &'a Environment,
    pub(super) cwd: &'a Path,
    /// Its sandbox; `None`: it has all rights of this process.
    pub(super) confinement: Option<Confinement<'a>>,
    /// What it and its descendants may request from this process; `None`: nothing.
    pub(super) control: Option<Control>,
}

/// The pipes for a program's output.
pub type OutputPipes = (ChildStdout, ChildStderr);

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Ran {
        status: ExitStatus,
        /// Whether any of its processes is still alive.
        left: bool,
    },
    /// It was not executed: why.
    NotStarted(String),
}

/// A program and its keeper. Dropping it kills everything that is left of it.
#[derive(Debug)]
pub struct KeptProgram {
    pid: Pid,
    number: u32,
    channel: UnixStream,
    /// What is to be started. `None`: not known yet.
    order: Option<OwnedFd>,
    heard: Vec<u8>,
    ended: Option<Ended>,
    /// `None`: it was reaped. Until then nobody else may reap it, which the second value ensures.
    keeper: Option<(Child, Option<Own>)>,
    /// The group of all its processes.
    group: Option<Group>,
    /// As last read.
    met: LimitsMet,
    /// It was killed with its group.
    killed: AtomicBool,
    /// Removed when everything that could write to it has ended.
    private: Option<Private>,
    /// Its network access, if it has any.
    pass: Option<Pass>,
}

impl KeptProgram {
    /// Starts a keeper, which waits for [`Self::go`]. It leads its own session, and is in its own control group if available.
    ///
    /// # Errors
    /// The error of the system, about the keeper and not the program; or why the sandbox or its limits are not available.
    pub(super) fn start(start: &ProgramStart<'_>) -> io::Result<(Self, OutputPipes)> {
        let group = group_of(start)?;
        let private = start.confinement.map(Confinement::private).transpose()?;
        let pass = start.confinement.and_then(|confinement| confinement.pass(start.program));
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let channel = UnixStream::from_std(ours)?;
        let mut command = keeper_of(start, private.as_ref(), pass.as_ref());
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        let (mut child, own) = spawn_owned(&mut command, start.control)?;
        // only the keeper holds its end of the socket
        drop(command);
        let number = child.id().expect("it was not waited for");
        let group = taken(group, number, start)?;
        let pid = process::pid_of(number).expect("the system gives positive numbers");
        let output = child.stdout.take().zip(child.stderr.take()).expect("both were asked for");
        // from here on the keeper exits, and its resources are released, if anything fails
        let mut kept = Self {
            pid,
            number,
            order: None,
            channel,
            heard: Vec::new(),
            ended: None,
            keeper: Some((child, own)),
            group,
            met: LimitsMet::default(),
            killed: AtomicBool::new(false),
            private,
            pass,
        };
        kept.order = Some(kept.ordered(start)?);
        Ok((kept, output))
    }

    /// Sends the order to the keeper. The keeper prepares itself while the sandbox is determined.
    fn ordered(&self, start: &ProgramStart<'_>) -> io::Result<OwnedFd> {
        let path = start.environment.get(OsStr::new("PATH")).map(OsString::as_os_str).unwrap_or_default();
        let mut walls = None;
        if let (Some(confinement), Some(private)) = (start.confinement, &self.private) {
            // a keeper that is gone is reported when it is to start something
            let _ = wire::send(&self.channel, wire::PREPARE, &[]);
            walls = Some(confinement.walls(start.program, start.cwd, path, private)?);
        }
        let argv = start.argv.iter().map(OsString::from).collect();
        Order { walls, program: start.program.to_owned(), argv }.to_file()
    }

    /// Returns the PID of the keeper, which leads the session of the program.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Lets the program start, with `input` as standard input; `None`: `/dev/null`.
    ///
    /// # Errors
    /// The error of the system: the keeper is gone.
    pub fn go(&self, input: Option<OwnedFd>) -> io::Result<()> {
        let order = self.order.as_ref().expect("`start` gives it its order");
        let mut descriptors = vec![order.as_fd()];
        descriptors.extend(input.as_ref().map(AsFd::as_fd));
        let hand_over = self.pass.as_ref().map(proxy_socket).transpose()?;
        descriptors.extend(hand_over.as_ref().map(AsFd::as_fd));
        Ok(wire::send(&self.channel, wire::GO, &descriptors)?)
    }

    /// Returns the message about each destination that was refused so far.
    pub fn refused(&self) -> Vec<String> {
        self.pass.as_ref().map(Pass::refused).unwrap_or_default()
    }

    /// Waits until the program has ended. What it left behind may still be alive. Returns the same result each time.
    pub async fn ended(&mut self) -> Ended {
        while self.ended.is_none() {
            let mut piece = [0; 512];
            match self.channel.read(&mut piece).await {
                Ok(count @ 1..) => {
                    self.heard.extend_from_slice(&piece[..count]);
                    self.ended = self.understood();
                    self.look_at_limits();
                }
                // somebody killed the keeper: its processes are adopted here, and terminated as strays
                Ok(0) | Err(_) => {
                    let status = self.wait().await.unwrap_or_else(|| ExitStatus::from_raw(9));
                    self.ended = Some(match status.code() {
                        Some(NOT_ALLOWED) => Ended::NotStarted("its keeper did not get what to start".into()),
                        // it was asked to kill, and could not observe the end of the program
                        Some(0) => Ended::Ran { status: ExitStatus::from_raw(9), left: false },
                        // including its group
                        _ if self.killed.load(Ordering::Relaxed) => Ended::Ran { status, left: false },
                        _ => Ended::Ran { status, left: true },
                    });
                }
            }
        }
        self.ended.clone().expect("it was just set")
    }

    fn understood(&self) -> Option<Ended> {
        let end = self.heard.iter().position(|byte| *byte == b'\n')?;
        let line = String::from_utf8_lossy(&self.heard[..end]);
        Some(match KeeperMessage::read(&line)? {
            KeeperMessage::NotStarted(why) => Ended::NotStarted(why),
            KeeperMessage::Exited { code, left } => {
                Ended::Ran { status: ExitStatus::from_raw((code & 0xff) << 8), left }
            }
            KeeperMessage::Signalled { signal, left } => {
                Ended::Ran { status: ExitStatus::from_raw(signal & 0x7f), left }
            }
        })
    }

    /// Sends SIGTERM to everything that is left of it.
    pub fn ask(&self) {
        let _ = wire::send(&self.channel, wire::TERMINATE, &[]);
    }

    /// Kills everything that is left of it; the keeper exits.
    pub fn kill(&self) {
        let _ = wire::send(&self.channel, wire::KILL, &[]);
        if let Some(group) = &self.group {
            self.killed.store(true, Ordering::Relaxed);
            group.kill();
        }
    }

    /// Returns whether all of it is in its own control group, which ends as a unit.
    pub fn is_in_group(&self) -> bool {
        self.group.is_some()
    }

    /// Returns the message if it was killed because of its memory limit.
    pub fn over_memory(&self) -> Option<String> {
        Some(format!(
            "took more than its `limits.memory` of {}, and was killed by the kernel: raise the limit, or give it less to do at a time",
            format_size(self.met.memory?)
        ))
    }

    /// Returns the message if it was refused a process or a thread because of its limit.
    pub fn refused_processes(&self) -> Option<String> {
        let most = self.met.processes?;
        Some(format!("it was refused further processes or threads: its `limits.processes` is {most}"))
    }

    fn look_at_limits(&mut self) {
        if let Some(group) = &self.group {
            self.met = group.limits_met();
        }
    }

    /// Kills it, and waits until nothing is left; gives up on what can't be killed.
    pub async fn end(&mut self) {
        self.kill();
        self.wait_a_moment().await;
    }

    /// Waits briefly for the keeper to exit.
    pub async fn wait_a_moment(&mut self) {
        let _ = tokio::time::timeout(KEEPER_EXIT_TIMEOUT, self.wait()).await;
    }

    async fn wait(&mut self) -> Option<ExitStatus> {
        let status = self.keeper.as_mut()?.0.wait().await.ok();
        self.keeper = None;
        self.look_at_limits();
        if let Some(group) = self.group.take() {
            // processes out of the keeper's reach are terminated here
            let _ = tokio::task::spawn_blocking(move || group.end()).await;
        }
        if let Some(private) = self.private.take() {
            tokio::spawn(run_limited(move || drop(private)));
        }
        status
    }

    /// Terminates the keeper itself in any case. For one that never let its program start.
    pub async fn turn_away(mut self) {
        // on its own it also ends the process that it has prepared
        self.end().await;
        if let Some((keeper, _)) = &mut self.keeper {
            let _ = keeper.start_kill();
            self.wait_a_moment().await;
        }
    }

    /// Returns the PID of the keeper in the type for system calls.
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

/// Limits concurrent removals, which use threads that others need as well.
async fn run_limited(remove: impl FnOnce() + Send + 'static) {
    static PLACES: Semaphore = Semaphore::const_new(2);
    let _place = PLACES.acquire().await;
    let _ = tokio::task::spawn_blocking(remove).await;
}

/// Closing the connection is the order to kill; the keeper stays owned until it has done so.
impl Drop for KeptProgram {
    fn drop(&mut self) {
        self.kill();
        let (keeper, group, private) = (self.keeper.take(), self.group.take(), self.private.take());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Some((mut keeper, own)) = keeper {
                    let _ = keeper.wait().await;
                    drop(own);
                }
                run_limited(move || {
                    if let Some(group) = group {
                        group.end();
                    }
                    drop(private);
                })
                .await;
            });
        }
    }
}

/// Returns the socket over which the program hands over the listener of its network namespace; the proxy answers there.
fn proxy_socket(pass: &Pass) -> io::Result<OwnedFd> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    let ours = UnixStream::from_std(ours)?;
    pass.serve(async move { handed_over(&ours).await });
    Ok(theirs.into())
}

async fn handed_over(socket: &UnixStream) -> Option<TcpListener> {
    let received = socket.async_io(Interest::READABLE, || Ok(wire::receive(socket)?)).await;
    match received {
        Ok(Some((wire::LISTENER, descriptors))) => {
            let listener = descriptors.into_iter().next();
            if listener.is_none() {
                tracing::warn!(
                    "the way out of a sandbox did not arrive, since too many files are open: its program has no network"
                );
            }
            listener.map(TcpListener::from)
        }
        // it was not started, and its keeper reports why
        _ => None,
    }
}

/// Returns the command that starts the keeper.
fn keeper_of(start: &ProgramStart<'_>, private: Option<&Private>, pass: Option<&Pass>) -> Command {
    // users may exempt hosts from the proxy, but not change the proxy
    let is_set_by_hand = |name: &str| {
        name.eq_ignore_ascii_case("NO_PROXY") && start.environment.contains_key(OsStr::new(name))
    };
    let mut command = Command::new(gate_program());
    command
        .arg0("bgagent")
        .arg(WORD)
        .env_clear()
        .envs(start.environment)
        .envs(private.into_iter().flat_map(Private::environment))
        .envs(pass.into_iter().flat_map(Pass::environment).filter(|(name, _)| !is_set_by_hand(name)))
        .current_dir(start.cwd)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Creates a group for a program if possible. Failing to do so is only an error if the program has a limit that needs it.
fn group_of(start: &ProgramStart<'_>) -> io::Result<Option<Group>> {
    let limits = start.confinement.map(|confinement| confinement.all_limits()).unwrap_or_default();
    unless_limited(groups::make(&limits), start)
}

/// Moves the keeper into its group, before it starts anything.
fn taken(group: Option<Group>, keeper: u32, start: &ProgramStart<'_>) -> io::Result<Option<Group>> {
    let Some(group) = group else { return Ok(None) };
    unless_limited(group.take(keeper).map(|()| Some(group)), start)
}

fn unless_limited(got: io::Result<Option<Group>>, start: &ProgramStart<'_>) -> io::Result<Option<Group>> {
    let is_limited = start.confinement.is_some_and(|confinement| {
        let limits = confinement.all_limits();
        limits.memory.is_some() || limits.processes.is_some()
    });
    match got {
        Err(error) if !is_limited => {
            tracing::warn!(program = %start.program.display(), %error, "no control group for a program: its keeper alone ends it");
            Ok(None)
        }
        other => other,
    }
}

fn format_size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.iter().find(|(shift, _)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| format!("{bytes} bytes"), |(shift, name)| format!("{} {name}", bytes >> shift))
}

/// Creates a pipe for a program's input: our end, and the one for [`KeptProgram::go`].
///
/// # Errors
/// The error of the system.
pub fn input() -> io::Result<(pipe::Sender, OwnedFd)> {
    let (theirs, ours) = io::pipe()?;
    let ours = OwnedFd::from(ours);
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((pipe::Sender::from_owned_fd(ours)?, theirs.into()))
}

#[cfg(test)]
mod tests {
    //! What is said of limits, with plain files in the place of those of the kernel.
    use super::super::Inherit;
    use super::*;

    #[tokio::test]
    async fn what_met_its_limits_says_so() {
        for (memory, processes, over, refused) in [
            ("oom_kill 1\n", "max 0\n", Some("its `limits.memory` of 64 MiB"), None),
            ("oom 3\noom_kill 0\n", "max 2\n", None, Some("its `limits.processes` is 7")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("memory.events"), memory).unwrap();
            std::fs::write(folder.path().join("pids.events"), processes).unwrap();
            let argv = ["sh", "-c", "kill -KILL $$"].map(str::to_owned);
            let start = ProgramStart {
                program: Path::new("/bin/sh"),
                argv: &argv,
                environment: &Inherit::Basics.environment(),
                cwd: Path::new("/"),
                confinement: None,
                control: None,
            };
            let (mut kept, _output) = KeptProgram::start(&start).unwrap();
            kept.group = Some(Group::pretended(folder.path().to_owned(), 64 << 20, 7));
            kept.go(None).unwrap();
            assert!(kept.over_memory().is_none() && kept.refused_processes().is_none());
            kept.ended().await;
            let says = |said: Option<String>, part: Option<&str>| match part {
                Some(part) => said.is_some_and(|said| said.contains(part)),
                None => said.is_none(),
            };
            assert!(says(kept.over_memory(), over), "{memory}");
            assert!(says(kept.refused_processes(), refused), "{processes}");
            // it is not a group that could be ended
            std::mem::forget(kept.group.take());
        }
    }

    #[test]
    fn sizes_are_said_as_they_are_written() {
        for (bytes, words) in [
            (1 << 30, "1 GiB"),
            (3 << 29, "1536 MiB"),
            (1 << 20, "1 MiB"),
            (1 << 10, "1 KiB"),
            (1_000_000_000, "1000000000 bytes"),
        ] {
            assert_eq!(format_size(bytes), words);
        }
    }
}
