//! The start of a program looks at files, makes a folder and starts a process. Each of these can block, on a disk that hangs for
//! ever: so they happen on threads of their own, a few at a time, and fewer in one folder, so that a disk that hangs
//! keeps no program of another from starting.
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

/// So many starts at a time.
pub const STARTS_AT_A_TIME: usize = 16;
/// Their places. A start that hangs leaves its place to others.
pub static START_PLACES: Semaphore = Semaphore::const_new(STARTS_AT_A_TIME);
/// So many starts at a time in one folder, those that hang among them.
const IN_A_FOLDER: usize = 8;
/// After so long a start counts as one that hangs.
const HANGS: Duration = Duration::from_secs(30);

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
    System { program: PathBuf, cause: io::Error },
}

/// Finds a program and starts its keeper, which waits for [`KeptProgram::go`]. Whoever waits for it no longer gets a place free when
/// the thread is; what was started then is ended.
///
/// # Errors
/// Why it can't be started.
pub async fn start(order: StartOrder) -> Result<(KeptProgram, OutputPipes), StartFailure> {
    let in_folder = place_in(&order.cwd, HANGS).await?;
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
        if tokio::time::timeout(HANGS, ended).await.is_err() {
            tracing::warn!("a start in `{}` hangs: the disk does not answer", cwd.display());
        }
    });
    receiver.await.unwrap_or_else(|_| Err(Unfit::Other("its start was broken off".into()).into()))
}

/// A place among the starts in this folder, if one gets free within `patience`.
async fn place_in(folder: &Path, patience: Duration) -> Result<OwnedSemaphorePermit, StartFailure> {
    static FOLDERS: Mutex<Option<HashMap<PathBuf, Weak<Semaphore>>>> = Mutex::new(None);
    let places = {
        let mut folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        let folders = folders.get_or_insert_default();
        let known = folders.get(folder).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            folders.retain(|_, places| places.strong_count() > 0);
            let places = Arc::new(Semaphore::new(IN_A_FOLDER));
            folders.insert(folder.to_owned(), Arc::downgrade(&places));
            places
        })
    };
    match tokio::time::timeout(patience, places.acquire_owned()).await {
        Ok(place) => Ok(place.expect("it is never closed")),
        Err(_) => Err(Unfit::Other(format!(
            "{IN_A_FOLDER} starts in `{}` hang: the disk does not answer; see to it, or name another `cwd`",
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
        for _ in 0..IN_A_FOLDER {
            hanging.push(place_in(dead.path(), HANGS).await.unwrap());
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
        for _ in 0..IN_A_FOLDER {
            hanging.push(place_in(dead.path(), HANGS).await.unwrap());
        }
        let why = place_in(dead.path(), Duration::from_millis(20)).await.unwrap_err().to_string();
        assert!(why.contains("hang") && why.contains(&dead.path().display().to_string()), "{why}");
    }
}
