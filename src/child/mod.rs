//! Short-lived helper programs: a check, a notifier, a password store. Each runs in a process group
//! of its own, within bounds of time and output, and nothing of its group outlives the call. A helper
//! that stays longer is its caller's to look after; what that takes is here too.
//!
//! Programs that are the body of a run are the runner's: they are recorded, told and journaled.
use crate::domain::RunId;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

mod executable;
mod inherit;
mod own;

pub use executable::{Unfit, find};
pub use inherit::{Environment, Inherit};
pub use own::{Own, any_as_old, is_nobodys, is_owned, starting};

/// The variable by which a program that belongs to a run is found after a crash. A helper that is
/// called for a run gets it in [`Program::env`].
pub const RUN_ID: &str = "BGAGENT_RUN_ID";

/// The variable by which a helper that outlives its call (an MCP server) is found after a crash of the
/// daemon that it belongs to. It names the daemon, not a run.
pub const HELPER_OF: &str = "BGAGENT_HELPER_OF";

static DAEMON: OnceLock<RunId> = OnceLock::new();

/// From now on [`mark`] names this daemon. Once, before anything is started.
pub fn mark_helpers_of(daemon: RunId) {
    // A second daemon in the same process is one of tests; its helpers carry the first one's mark.
    let _ = DAEMON.set(daemon);
}

/// What a helper that outlives its call gets in its environment; nothing outside of a daemon.
pub fn mark() -> Option<(&'static str, String)> {
    DAEMON.get().map(|daemon| (HELPER_OF, daemon.to_string()))
}

/// How long output may still come after the program itself ended: a descendant that left the group
/// may hold the pipe open.
const DRAIN: Duration = Duration::from_secs(1);
/// Tries to start a program, where no file can be opened or no process made for now.
const STARTS: u32 = 50;
/// Between two of them.
const BETWEEN_STARTS: Duration = Duration::from_millis(200);

/// A program to run.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Program and arguments.
    pub argv: &'a [String],
    /// What it gets of our own environment.
    pub inherit: Inherit,
    /// Further variables.
    pub env: &'a [(String, String)],
    /// Working directory, if not ours.
    pub cwd: Option<&'a Path>,
    /// What it reads from standard input; nothing: `/dev/null`.
    pub stdin: Option<&'a [u8]>,
    /// Bytes that are kept of standard output, and of standard error. The rest is read and dropped.
    pub max_output: usize,
}

/// A program that ended by itself.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How.
    pub status: ExitStatus,
    /// The first bytes of standard output.
    pub stdout: Vec<u8>,
    /// There was more of it.
    pub stdout_cut: bool,
    /// The first bytes of standard error.
    pub stderr: Vec<u8>,
}

/// Why a program did not end by itself. Names the program, never its arguments.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// No such program in `PATH`.
    #[error("there is no program `{0}`")]
    Missing(String),
    /// It is there, or should be, and can't be run.
    #[error("{0}")]
    Unfit(String),
    /// It could not be started or watched.
    #[error("can't run `{program}`: {cause}")]
    Run {
        /// Which.
        program: String,
        /// Why.
        cause: io::Error,
    },
    /// It was killed with its group because its time was up.
    #[error("`{program}` did not end within {}", crate::domain::human_duration(jiff::SignedDuration::try_from(*bound).unwrap_or(jiff::SignedDuration::MAX)))]
    TimedOut {
        /// Which.
        program: String,
        /// The bound.
        bound: Duration,
    },
}

/// `exit status 3` or `signal 9`, for people.
pub fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".into(),
    }
}

/// The first line that says something: at most 200 characters, none of them a control character.
pub fn first_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Runs a program to its end. When the future is dropped or the time is up, the group is killed.
pub async fn run(program: Program<'_>, bound: Duration) -> Result<Finished, ChildError> {
    let name = program.argv.first().cloned().unwrap_or_default();
    match tokio::time::timeout(bound, run_unbounded(program)).await {
        Ok(Ok(finished)) => Ok(finished),
        Ok(Err(cause)) => {
            let given = program.env.iter().rev().find(|(name, _)| name == "PATH");
            let path = given.map(|(_, path)| path.into()).or_else(|| std::env::var_os("PATH"));
            Err(why_not(name, program.cwd, path.as_deref(), cause))
        }
        Err(_) => Err(ChildError::TimedOut { program: name, bound }),
    }
}

/// Starts a program, which is ours to wait for from its first moment on.
///
/// # Errors
/// What the system says.
pub fn spawn_owned(command: &mut Command) -> io::Result<(Child, Option<Own>)> {
    let _starting = starting();
    let child = command.spawn()?;
    let own = child.id().map(Own::of);
    Ok((child, own))
}

/// Why a program could not be started: what the system said may be said of another file.
pub fn why_not(name: String, cwd: Option<&Path>, path: Option<&OsStr>, cause: io::Error) -> ChildError {
    let here = std::env::current_dir().unwrap_or_default();
    let about_a_file = matches!(
        cause.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory
    ) || rustix::io::Errno::from_io_error(&cause) == Some(rustix::io::Errno::NOEXEC);
    match find(&name, cwd.unwrap_or(&here), path) {
        Err(Unfit::NotInPath { name, .. }) if about_a_file => ChildError::Missing(name),
        Err(Unfit::Other(why)) if about_a_file => ChildError::Unfit(why),
        _ => ChildError::Run { program: name, cause },
    }
}

async fn run_unbounded(program: Program<'_>) -> io::Result<Finished> {
    let (first, rest) = program
        .argv
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the list is empty"))?;
    let mut command = Command::new(first);
    command
        .args(rest)
        .process_group(0)
        .stdin(if program.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.env_clear().envs(program.inherit.environment());
    command.envs(program.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = program.cwd {
        command.current_dir(cwd);
    }

    // Listening begins before the program does, so that its end can't be missed.
    let mut changes = signal(SignalKind::child())?;
    let (mut child, _own) = spawned(&mut command).await?;
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("it has no process id"))?;
    let group = Group::led_by(pid);

    let mut stdout = Capture::new(program.max_output);
    let mut stderr = Capture::new(program.max_output);
    let (out, err, input) = (child.stdout.take(), child.stderr.take(), child.stdin.take());
    let ended = CancellationToken::new();
    let ending = async {
        // The program is seen to end but not yet reaped: its id still names its group and no other.
        while !has_ended(pid)? {
            changes.recv().await;
        }
        drop(group);
        ended.cancel();
        child.wait().await
    };
    let talking = async {
        let all = async {
            let feed = async {
                if let (Some(mut input), Some(text)) = (input, program.stdin) {
                    // A program may end without reading all of it.
                    let _ = input.write_all(text).await;
                }
            };
            tokio::join!(stdout.read(out), stderr.read(err), feed);
        };
        let late = async {
            ended.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! { () = all => (), () = late => () }
    };
    let (status, ()) = tokio::join!(ending, talking);
    Ok(Finished { status: status?, stdout: stdout.kept, stdout_cut: stdout.cut, stderr: stderr.kept })
}

/// Starts a program; the want of open files or process numbers is waited for, for a while.
async fn spawned(command: &mut Command) -> io::Result<(Child, Option<Own>)> {
    use rustix::io::Errno;
    for _ in 0..STARTS {
        match spawn_owned(command) {
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN)
                ) =>
            {
                tokio::time::sleep(BETWEEN_STARTS).await;
            }
            other => return other,
        }
    }
    spawn_owned(command)
}

/// Has this child of ours ended? It is not reaped: its id still names its group and no other.
pub fn has_ended(pid: Pid) -> io::Result<bool> {
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    Ok(waitid(WaitId::Pid(pid), how)?.is_some())
}

/// A process group that dies with this value. Drop it before its leader is reaped.
#[derive(Debug)]
pub struct Group(Option<Pid>);

impl Group {
    /// The group that this child leads.
    pub fn led_by(leader: Pid) -> Self {
        Self(Some(leader))
    }

    /// Sends a signal to all of it.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // Fails only if nobody is left in it.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

struct Capture {
    kept: Vec<u8>,
    max: usize,
    cut: bool,
}

impl Capture {
    fn new(max: usize) -> Self {
        Self { kept: Vec::new(), max, cut: false }
    }

    async fn read(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut piece = vec![0; 8192];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            let room = (self.max - self.kept.len()).min(count);
            self.kept.extend_from_slice(&piece[..room]);
            self.cut |= room < count;
        }
    }
}

#[cfg(test)]
mod tests;
