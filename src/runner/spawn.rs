//! The daemon's side of a start: a process that waits at its gate, and the handle that owns it.
use super::proc;
use crate::child::kept::{self, OutputPipes};
use crate::child::{self, Confinement, Ended, Environment, KeptProgram, StartFailure, StartOrder};
use crate::domain::{CommandSpec, Control, Process, ProgramOwner};
use crate::proxy::meter::Meter;
use rustix::io::Errno;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio_util::task::AbortOnDropHandle;

/// Delays before retrying a start that failed for lack of memory, PIDs or file descriptors: doubled each time, up to
/// [`MAX_RETRY_DELAY`].
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

/// A program that waits for permission to start, or runs, with the keeper that goes on record for it. Dropping it kills
/// everything that is left of it.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) process: Process,
    kept: KeptProgram,
    feeder: Option<AbortOnDropHandle<()>>,
}

/// The surroundings of a program that its command does not define.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// The gateway to models, in a network namespace of its own.
    pub(super) meter: Option<Arc<Meter>>,
    /// Folders of its run that it may write to.
    pub(super) folders: Vec<PathBuf>,
    /// Folders beneath which it may execute files.
    pub(super) executes: Vec<PathBuf>,
    /// The arguments as configured, before placeholders were filled in; `None`: the command's own.
    pub(super) configured: Option<Vec<String>>,
}

/// Starts the keeper of a command, which waits for permission. Retries for up to `patience` if the system lacks resources.
/// `owner`: the run that it belongs to. `control`: what it may ask of the daemon.
///
/// # Errors
/// A sentence: the program or its directory does not exist, or the system can't start a process.
pub(super) async fn start(
    command: &CommandSpec,
    environment: Environment,
    owner: &ProgramOwner,
    surroundings: &Surroundings,
    control: Option<Control>,
    patience: Duration,
) -> Result<(Running, OutputPipes), String> {
    let until = Instant::now() + patience;
    let mut pause = FIRST_RETRY_DELAY;
    loop {
        let named = surroundings.configured.as_ref().unwrap_or(&command.argv);
        let order = StartOrder {
            argv: command.argv.clone(),
            environment: environment.clone(),
            cwd: command.cwd.clone(),
            confinement: command
                .sandbox
                .as_deref()
                .map(|sandbox| Confinement::new(sandbox, owner, named, command.env.keys()))
                .map(|walls| walls.with_folders(&surroundings.folders, &surroundings.executes))
                .map(|walls| walls.with_meter(surroundings.meter.as_ref()).owned()),
            control,
        };
        match child::start(order).await.map_err(|failure| judged(failure, &command.cwd)) {
            Ok((kept, output)) => {
                return Ok((Running { process: proc::identify(kept.number()), kept, feeder: None }, output));
            }
            Err(StartError::Final(why)) => return Err(why),
            Err(StartError::ForNow(why)) if Instant::now() + pause >= until => return Err(why),
            Err(StartError::ForNow(why)) => {
                if pause == FIRST_RETRY_DELAY {
                    tracing::warn!("a start waits: {why}");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_RETRY_DELAY);
            }
        }
    }
}

enum StartError {
    /// A retry may succeed.
    ForNow(String),
    Final(String),
}

fn judged(failure: StartFailure, cwd: &Path) -> StartError {
    let (program, error) = match failure {
        StartFailure::Unfit(why) => return StartError::Final(why.to_string()),
        StartFailure::System { program, cause } => (program, cause),
    };
    let message = format!("`{}` could not be started in `{}`: {error}", program.display(), cwd.display());
    match Errno::from_io_error(&error) {
        Some(Errno::AGAIN | Errno::NOMEM) => StartError::ForNow(message),
        Some(Errno::MFILE | Errno::NFILE) => StartError::ForNow(format!(
            "{message}; raise the limit of open files (`ulimit -n`, `LimitNOFILE` of the service), or lower \
             `max_parallel_runs` of [daemon]"
        )),
        _ => StartError::Final(message),
    }
}

impl Running {
    /// Lets the program start, with `stdin` as its input if given.
    ///
    /// # Errors
    /// A sentence: its input can't be passed to it. If it died meanwhile, its end is the better report.
    pub(super) fn go(&mut self, stdin: Option<&str>) -> Result<(), String> {
        let let_go = |kept: &KeptProgram, input| match kept.go(input) {
            // if it died meanwhile, its end is the better report
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                Err(format!("its keeper can't be told to start it: {error}"))
            }
            _ => Ok(()),
        };
        let Some(text) = stdin else { return let_go(&self.kept, None) };
        let (mut ours, theirs) =
            kept::input().map_err(|error| format!("no pipe for what it reads: {error}"))?;
        let_go(&self.kept, Some(theirs))?;
        let text = text.to_owned();
        self.feeder = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            // A program need not read its input.
            let _ = ours.write_all(text.as_bytes()).await;
        })));
        Ok(())
    }

    /// Waits until the program has ended. Its keeper stays alive.
    pub(super) async fn ended(&mut self) -> Ended {
        self.kept.ended().await
    }

    /// Returns the messages about refused connections, per destination.
    pub(super) fn refused(&self) -> Vec<String> {
        self.kept.refused()
    }

    /// Sends TERM to everything that is left of it.
    pub(super) fn ask(&self) {
        self.kept.ask();
    }

    /// Kills everything that is left of it.
    pub(super) fn kill(&self) {
        self.kept.kill();
    }

    /// Returns whether it is in a control group, which ends as one.
    pub(super) fn is_in_group(&self) -> bool {
        self.kept.is_in_group()
    }

    /// See [`KeptProgram::over_memory`].
    pub(super) fn over_memory(&self) -> Option<String> {
        self.kept.over_memory()
    }

    /// See [`KeptProgram::refused_processes`].
    pub(super) fn refused_processes(&self) -> Option<String> {
        self.kept.refused_processes()
    }

    /// Ends the keeper of a program that was never given permission, and with it the start.
    pub(super) async fn turn_away(self) {
        self.kept.turn_away().await;
    }

    /// Waits for the end of a keeper that was told to kill. Gives up on what can't be killed.
    pub(super) async fn wait_a_moment(&mut self) {
        self.feeder = None;
        self.kept.wait_a_moment().await;
    }
}
