//! Starts programs: checks files, creates a folder and starts a process. Each of these can block forever on a disk that hangs:
//! so they run on threads of their own, limited in number, in total and per folder, so that a disk that hangs does not block
//! programs on other disks.
use super::confined::OwnedConfinement;
use super::executable::{Unfit, find};
use super::inherit::Environment;
use super::kept::{KeptProgram, OutputPipes, ProgramStart};
use crate::domain::Control;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Maximum concurrent starts.
pub const STARTS_AT_A_TIME: usize = 16;
/// Permits for concurrent starts. A start that hangs releases its permit.
pub static START_PLACES: Semaphore = Semaphore::const_new(STARTS_AT_A_TIME);
/// Maximum concurrent starts in one folder, including those that hang.
const MAX_STARTS_PER_FOLDER: usize = 8;
/// Time after which a start is considered to hang.
const HANG_TIMEOUT: Duration = Duration::from_secs(30);

/// A program to find and start.
#[derive(Clone, Debug)]
pub struct StartOrder {
    /// Its name or path, then its arguments.
    pub argv: Vec<String>,
    /// Its complete environment; the program is searched for in its `PATH`.
    pub environment: Environment,
    pub cwd: PathBuf,
    /// Its sandbox; `None`: none.
    pub confinement: Option<OwnedConfinement>,
    /// What it may request from this process; `None`: nothing.
    pub control: Option<Control>,
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// It does not exist, or can't be run.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// It was found, but its keeper or its sandbox is not available.
    #[error("{cause}")]
    System { program: PathBuf, cause: io::Error },
}

/// Finds a program and starts its keeper, which waits for [`KeptProgram::go`]. If the future is dropped, its permit is released
/// when the thread has finished; what was started by then is terminated.
///
/// # Errors
/// Why it can't be started.
pub async fn start(order: StartOrder) -> Result<(KeptProgram, OutputPipes), StartFailure> {
    let in_folder = place_in(&order.cwd, HANG_TIMEOUT).await?;
    let place = START_PLACES.acquire().await.expect("it is never closed");
    let (sender, receiver) = oneshot::channel();
    let (ends, ended) = oneshot::channel::<()>();
    let (runtime, cwd) = (Handle::current(), order.cwd.clone());
    let thread = std::thread::Builder::new().name("start".into()).spawn(move || {
        let _inside = runtime.enter();
        let started = start_now(&order);
        drop((in_folder, ends));
        let _ = sender.send(started);
    });
    thread.map_err(|cause| StartFailure::System { program: cwd.clone(), cause })?;
    tokio::spawn(async move {
        let _place = place;
        if tokio::time::timeout(HANG_TIMEOUT, ended).await.is_err() {
            tracing::warn!("a start in `{}` hangs: the disk does not answer", cwd.display());
        }
    });
    receiver.await.unwrap_or_else(|_| Err(Unfit::Other("its start was broken off".into()).into()))
}

/// Returns a permit for a start in this folder, if one is available within `patience`.
async fn place_in(folder: &Path, patience: Duration) -> Result<OwnedSemaphorePermit, StartFailure> {
    static FOLDERS: Mutex<Option<HashMap<PathBuf, Weak<Semaphore>>>> = Mutex::new(None);
    let places = {
        let mut folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        let folders = folders.get_or_insert_default();
        let known = folders.get(folder).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            folders.retain(|_, places| places.strong_count() > 0);
            let places = Arc::new(Semaphore::new(MAX_STARTS_PER_FOLDER));
            folders.insert(folder.to_owned(), Arc::downgrade(&places));
            places
        })
    };
    match tokio::time::timeout(patience, places.acquire_owned()).await {
        Ok(place) => Ok(place.expect("it is never closed")),
        Err(_) => Err(Unfit::Other(format!(
            "{MAX_STARTS_PER_FOLDER} starts in `{}` hang: the disk does not answer; see to it, or name another `cwd`",
            folder.display()
        ))
        .into()),
    }
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

#[cfg(test)]
mod tests {
    //! Tests of places.
    use super::*;
    use crate::child::Inherit;

    #[tokio::test]
    async fn starts_that_hang_in_one_folder_hold_up_no_other() {
        let (dead, good) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut hanging = Vec::new();
        for _ in 0..MAX_STARTS_PER_FOLDER {
            hanging.push(place_in(dead.path(), HANG_TIMEOUT).await.unwrap());
        }
        let order = |cwd: &Path| StartOrder {
            argv: vec!["true".into()],
            environment: Inherit::Basics.environment(),
            cwd: cwd.to_owned(),
            confinement: None,
            control: None,
        };
        let waiting = start(order(dead.path()));
        assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
        start(order(good.path())).await.unwrap().0.turn_away().await;
        hanging.pop();
        start(order(dead.path())).await.unwrap().0.turn_away().await;
    }

    #[tokio::test]
    async fn who_waits_for_starts_that_hang_is_told_so() {
        let dead = tempfile::tempdir().unwrap();
        let mut hanging = Vec::new();
        for _ in 0..MAX_STARTS_PER_FOLDER {
            hanging.push(place_in(dead.path(), HANG_TIMEOUT).await.unwrap());
        }
        let why = place_in(dead.path(), Duration::from_millis(20)).await.unwrap_err().to_string();
        assert!(why.contains("hang") && why.contains(&dead.path().display().to_string()), "{why}");
    }
}
