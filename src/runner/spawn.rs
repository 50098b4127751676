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

/// The first pause before a start is tried again that failed for want of memory, process numbers or open
/// files; each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A program that waits for permission to start, or runs, with the keeper that goes on record for it. When it is dropped, all
/// that lives of it is killed.
#[derive(Debug)]
pub(super) struct Running {
    /// Who its keeper is.
    pub(super) process: Process,
    kept: KeptProgram,
    feeder: Option<AbortOnDropHandle<()>>,
}

/// What a program has around it, beside what its command says.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// Where it asks models, in a network of its own.
    pub(super) meter: Option<Arc<Meter>>,
    /// Folders of its run, which it may change.
    pub(super) folders: Vec<PathBuf>,
    /// Folders beneath which it may execute files.
    pub(super) executes: Vec<PathBuf>,
    /// The arguments as they stand in the configuration, where those of the command were filled in; `None`: they are its own.
    pub(super) configured: Option<Vec<String>>,
}

/// Starts the keeper of a command. It waits for permission. What the system lacks for now is waited for,
/// as long as `patience`. `owner`: whose it is. `control`: what it may ask of the daemon.
///
/// # Errors
/// A sentence: the program or its directory is not there, or the system gives no process.
pub(super) async fn start(
    command: &CommandSpec,
    environment: Environment,
    owner: &ProgramOwner,
    surroundings: &Surroundings,
    control: Option<Control>,
    patience: Duration,
) -> Result<(Running, OutputPipes), String> {
    let until = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
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
    /// Lets the program start, which reads `stdin`, if it is to.
    ///
    /// # Errors
    /// A sentence: what it is to read can't be handed to it. If it died meanwhile, its end says so better.
    pub(super) fn go(&mut self, stdin: Option<&str>) -> Result<(), String> {
        let let_go = |kept: &KeptProgram, input| match kept.go(input) {
            // if it died meanwhile, its end says so better
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
            // A program need not read what it is given.
            let _ = ours.write_all(text.as_bytes()).await;
        })));
        Ok(())
    }

    /// Waits until the program has ended. Its keeper lives on.
    pub(super) async fn ended(&mut self) -> Ended {
        self.kept.ended().await
    }

    /// What is said of each place of the network that it was refused.
    pub(super) fn refused(&self) -> Vec<String> {
        self.kept.refused()
    }

    /// Asks all that lives of it to end.
    pub(super) fn ask(&self) {
        self.kept.ask();
    }

    /// Kills all that lives of it.
    pub(super) fn kill(&self) {
        self.kept.kill();
    }

    /// Is it in a control group, which ends as one?
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

    /// For a program that never got permission: ends its keeper, and with it the attempt to start.
    pub(super) async fn turn_away(self) {
        self.kept.turn_away().await;
    }

    /// Waits for the end of a keeper that was told to kill. What can't be killed is not waited for.
    pub(super) async fn wait_a_moment(&mut self) {
        self.feeder = None;
        self.kept.wait_a_moment().await;
    }
}
