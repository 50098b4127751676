//! The start of a program looks at files, makes a folder and starts a process. Each of these can block, on a disk that hangs for
//! ever: so they happen on threads that are for that, a few at a time.
use super::confined::OwnedConfinement;
use super::executable::{Unfit, find};
use super::inherit::Environment;
use super::kept::{KeptProgram, OutputPipes, ProgramStart};
use crate::domain::Control;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use tokio::sync::Semaphore;

/// So many starts at a time: those that hang must leave threads to others.
pub static START_PLACES: Semaphore = Semaphore::const_new(8);

/// A program to find and to start.
#[derive(Clone, Debug)]
pub struct StartOrder {
    /// Its name or path, then its arguments.
    pub argv: Vec<String>,
    /// All of its environment; its `PATH` is where it is looked for.
    pub environment: Environment,
    /// Its working directory.
    pub cwd: PathBuf,
    /// The walls around it; `None`: none.
    pub confinement: Option<OwnedConfinement>,
    /// What it may ask of this process; `None`: nothing.
    pub control: Option<Control>,
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// There is none, or it can't be run.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// It was found, and its keeper or its walls can't be had.
    #[error("{cause}")]
    System {
        /// Its file.
        program: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// Finds a program and starts its keeper, which waits for [`KeptProgram::go`]. Whoever waits for it no longer gets a place free when
/// the thread is; what was started then is ended.
///
/// # Errors
/// Why it can't be started.
pub async fn start(order: StartOrder) -> Result<(KeptProgram, OutputPipes), StartFailure> {
    let place = START_PLACES.acquire().await.expect("it is never closed");
    let started = tokio::task::spawn_blocking(move || {
        let _place = place;
        start_now(&order)
    });
    started.await.unwrap_or_else(|panic| Err(Unfit::Other(panic.to_string()).into()))
}

fn start_now(order: &StartOrder) -> Result<(KeptProgram, OutputPipes), StartFailure> {
    let name = order.argv.first().map(String::as_str).unwrap_or_default();
    let path = order.environment.get(OsStr::new("PATH")).map(OsString::as_os_str);
    let program = find(name, &order.cwd, path)?;
    let start = ProgramStart {
        program: &program,
        argv: &order.argv,
        environment: &order.environment,
        cwd: &order.cwd,
        confinement: order.confinement.as_ref().map(OwnedConfinement::borrowed),
        control: order.control,
    };
    KeptProgram::start(&start).map_err(|cause| StartFailure::System { program: program.clone(), cause })
}
