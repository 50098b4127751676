//! The daemon's side of a start: a process that waits at its gate, and the handle that owns it.
use super::proc;
use super::trampoline::{KEEP_STDIN, NULL_STDIN, WORD};
use crate::child::{self, Environment, Own};
use crate::domain::{CommandSpec, Process};
use crate::runner::proc::seen::pid_of;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// The first pause before a start is tried again that failed for want of memory, process numbers or open
/// files; each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long what was killed is waited for.
const MOMENT: Duration = Duration::from_secs(1);

/// So many starts at a time: those that hang must leave threads to others.
pub(super) static PLACES: Semaphore = Semaphore::const_new(8);

/// A started process that was not waited for yet: until then its number is nobody else's, so its
/// group can be signalled safely. Dropping it kills the group.
#[derive(Debug)]
pub(super) struct Running {
    /// Who it is.
    pub(super) process: Process,
    child: Child,
    pid: Pid,
    exit: ExitWatch,
    waited: bool,
    _own: Option<Own>,
    stdin: Option<ChildStdin>,
    feeder: Option<AbortOnDropHandle<()>>,
}

/// What a process prints.
pub(super) type Pipes = (ChildStdout, ChildStderr);

/// Starts the trampoline for a command. It waits at its gate. What the system lacks for now is waited for,
/// as long as `patience`.
///
/// # Errors
/// A sentence: the program or its directory is not there, or the system gives no process.
pub(super) async fn start(
    trampoline: &Path,
    command: &CommandSpec,
    environment: Environment,
    patience: Duration,
) -> Result<(Running, Pipes), String> {
    let until = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        let (trampoline, command, environment) =
            (trampoline.to_owned(), command.clone(), environment.clone());
        // Looking at files and starting a process can block, on a slow disk for long. The place is
        // free when the thread is, also if nobody waits for it any more.
        let place = PLACES.acquire().await.expect("it is never closed");
        let started = tokio::task::spawn_blocking(move || {
            let _place = place;
            start_now(trampoline, &command, environment)
        });
        match started.await.unwrap_or_else(|error| Err(StartError::Final(error.to_string()))) {
            Ok(started) => return Ok(started),
            Err(StartError::Final(why)) => return Err(why),
            Err(StartError::ForNow(why)) if Instant::now() + pause >= until => return Err(why),
            Err(StartError::ForNow(why)) => {
                if pause == FIRST_PAUSE {
                    tracing::warn!("a start waits: {why}");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

enum StartError {
    /// A later try may succeed.
    ForNow(String),
    Final(String),
}

fn start_now(
    trampoline: PathBuf,
    spec: &CommandSpec,
    environment: Environment,
) -> Result<(Running, Pipes), StartError> {
    let name = spec.argv.first().map(String::as_str).unwrap_or_default();
    let path = environment.get(OsStr::new("PATH")).map(OsString::as_os_str);
    let program = child::find(name, &spec.cwd, path).map_err(|why| StartError::Final(why.to_string()))?;
    let mut command = Command::new(trampoline);
    command
        .arg0("bgagent")
        .arg(WORD)
        .arg(if spec.stdin.is_some() { KEEP_STDIN } else { NULL_STDIN })
        .arg("--")
        .arg(&program)
        .args(&spec.argv)
        .env_clear()
        .envs(environment)
        .current_dir(&spec.cwd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let (mut child, own) = child::spawn_owned(&mut command).map_err(|error| {
        let message =
            format!("`{}` could not be started in `{}`: {error}", program.display(), spec.cwd.display());
        match Errno::from_io_error(&error) {
            Some(Errno::AGAIN | Errno::NOMEM) => StartError::ForNow(message),
            Some(Errno::MFILE | Errno::NFILE) => StartError::ForNow(format!(
                "{message}; raise the limit of open files (`ulimit -n`, `LimitNOFILE` of the service), or lower \
                 `max_parallel_runs` of [daemon]"
            )),
            _ => StartError::Final(message),
        }
    })?;
    let number = child.id().expect("it was not waited for");
    let pid = pid_of(number).expect("the system gives positive numbers");
    let pipes = child.stdout.take().zip(child.stderr.take()).expect("both were asked for");
    let running = Running {
        process: proc::identify(number),
        exit: ExitWatch::of(pid),
        stdin: child.stdin.take(),
        child,
        pid,
        waited: false,
        _own: own,
        feeder: None,
    };
    Ok((running, pipes))
}

impl Running {
    /// Opens the gate; then the program reads `stdin`, if it is to.
    pub(super) async fn go(&mut self, stdin: Option<&str>) {
        let Some(mut pipe) = self.stdin.take() else { return };
        // If it died meanwhile, its exit says so better than the broken pipe.
        if pipe.write_all(&[1]).await.is_err() {
            return;
        }
        if let Some(text) = stdin {
            let text = text.to_owned();
            self.feeder = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                // A program need not read what it is given.
                let _ = pipe.write_all(text.as_bytes()).await;
            })));
        }
    }

    /// Waits until the leader has exited, without taking notice: its number stays its own.
    pub(super) async fn exited(&mut self) {
        if !self.exit.fired().await {
            let _ = self.child.wait().await;
            self.waited = true;
        }
    }

    /// Signals every process of the group, and the leader also before it has made its group.
    pub(super) fn signal(&mut self, signal: Signal) {
        if self.waited {
            return;
        }
        if kill_process_group(self.pid, signal).is_err() && signal == Signal::KILL {
            let _ = self.child.start_kill();
        }
    }

    /// Takes notice of the exit. The group can't be signalled any more after this.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.waited = true;
        self.feeder = None;
        Ok(status)
    }

    /// For a process whose gate was never opened: ends it, and with it the attempt to start.
    pub(super) async fn turn_away(mut self) {
        self.stdin = None;
        let _ = self.child.start_kill();
        self.wait_a_moment().await;
    }

    /// Takes notice of the exit of what was killed. What can't be killed is not waited for.
    pub(super) async fn wait_a_moment(&mut self) {
        let _ = tokio::time::timeout(MOMENT, self.wait()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Tells that a process exited, and leaves the waiting to others.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct ExitWatch(Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>);

#[cfg(target_os = "linux")]
impl ExitWatch {
    fn of(pid: Pid) -> Self {
        use rustix::process::{PidfdFlags, pidfd_open};
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok();
        let interest = tokio::io::Interest::READABLE;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe; this owns its descriptor and never gives it away"
        )]
        Self(handle.and_then(|handle| tokio::io::unix::AsyncFd::with_interest(handle, interest).ok()))
    }

    /// False at once: this system does not tell.
    async fn fired(&self) -> bool {
        match &self.0 {
            Some(handle) => handle.readable().await.is_ok(),
            None => false,
        }
    }
}

#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct ExitWatch;

#[cfg(not(target_os = "linux"))]
impl ExitWatch {
    fn of(_: Pid) -> Self {
        Self
    }

    async fn fired(&self) -> bool {
        false
    }
}
