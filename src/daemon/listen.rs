//! The socket: created under the state lock, guarded, and re-created if it is removed.
use super::desk::SharedServices;
use super::flow::Flow;
use super::folder_safety;
use super::house::House;
use super::lock::{self, LockError};
use super::session::{self, Peer};
use crate::config::Paths;
use interprocess::local_socket::tokio::{Listener, Stream, prelude::*};
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often we check whether our socket is still there (tmp cleaners, logind and people remove it).
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// An error from creating the socket.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    #[error(transparent)]
    Folder(#[from] LockError),
    /// Something is in the way.
    #[error("can't listen on {}: {what}", .path.display())]
    InTheWay { path: PathBuf, what: String },
    /// The system refused.
    #[error("can't listen on {}: {cause}", .path.display())]
    Bind { path: PathBuf, cause: io::Error },
}

/// Creates the socket. A stale one is replaced without asking; the caller holds the state lock.
pub(super) async fn bind(path: &Path) -> Result<Listener, ListenError> {
    if let Some(folder) = path.parent() {
        if !folder.exists() {
            lock::private_folder(folder)?;
        }
        folder_safety::judge(folder).map_err(LockError::from)?;
    }
    remove_stale_socket(path).await?;
    let bind = |cause| ListenError::Bind { path: path.to_owned(), cause };
    let name = path.to_fs_name::<GenericFilePath>().map_err(bind)?;
    // the library's own reclaiming removes any file of that name; we remove only what is ours
    let options = || ListenerOptions::new().name(name.borrow()).reclaim_name(false);
    match options().mode(0o600).create_tokio() {
        // where modes are not supported, the folder (0700) is the guard
        Err(error) if error.kind() == io::ErrorKind::Unsupported => options().create_tokio().map_err(bind),
        made => made.map_err(bind),
    }
}

/// Removes a socket whose daemon is dead. Anything else is left in place and reported.
async fn remove_stale_socket(path: &Path) -> Result<(), ListenError> {
    let in_the_way = |what: &str| ListenError::InTheWay { path: path.to_owned(), what: what.to_owned() };
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(ListenError::Bind { path: path.to_owned(), cause }),
        Ok(found) => found,
    };
    if !found.file_type().is_socket() {
        let kind = lock::kind_of(found.file_type());
        return Err(in_the_way(&format!(
            "there is {kind} of this name, which is not a socket; remove it or name another --socket"
        )));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(in_the_way("the socket there belongs to another user"));
    }
    let name = path
        .to_fs_name::<GenericFilePath>()
        .map_err(|cause| ListenError::Bind { path: path.to_owned(), cause })?;
    match Stream::connect(name).await {
        Ok(_) => Err(in_the_way(
            "a process answers there already (a daemon with another state folder?); name another --socket",
        )),
        Err(_) => {
            tracing::info!(path = %path.display(), "taking over the socket of a daemon that is gone");
            std::fs::remove_file(path).map_err(|cause| ListenError::Bind { path: path.to_owned(), cause })
        }
    }
}

/// Re-creates the socket after it was removed or replaced. An empty file in its place may be deleted.
async fn rebind(path: &Path) -> Result<Listener, ListenError> {
    let me = rustix::process::geteuid().as_raw();
    let found = std::fs::symlink_metadata(path);
    if found.is_ok_and(|found| found.is_file() && found.len() == 0 && found.uid() == me) {
        let _ = std::fs::remove_file(path);
    }
    bind(path).await
}

/// Re-creates `daemon.json`, where clients find the socket, if it was removed.
fn restore_daemon_file(paths: &Paths, desk: &SharedServices) {
    if paths.daemon_json().exists() {
        return;
    }
    let written = match desk.standby_of() {
        Some(leader) => lock::write_standby_file(paths, &leader),
        None => lock::write_daemon_file(paths, &paths.socket),
    };
    if let Err(error) = written {
        tracing::debug!(%error, "{} was removed and can't be written again", paths.daemon_json().display());
    }
}

/// Returns the identity of the socket's file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Accepts clients until the daemon shuts down, then removes the socket, if it is still ours.
pub(super) async fn serve(
    mut listener: Listener,
    paths: Paths,
    desk: Arc<SharedServices>,
    down: CancellationToken,
) {
    let path = paths.socket.clone();
    let mut ours = identity(&path);
    let (house, flow) = (House::new(), Flow::new());
    let mut look = tokio::time::interval(CHECK_INTERVAL);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut trouble = String::new();
    loop {
        tokio::select! {
            () = down.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(stream) => admit(stream, (&house, &flow), &desk),
                Err(error) => {
                    // probably out of file descriptors: disconnect an idle client, and don't spin
                    let gave_way = house.make_room(Instant::now());
                    tracing::warn!(%error, gave_way, "a client could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = look.tick() => {
                if identity(&path) != ours {
                    match rebind(&path).await {
                        Ok(fresh) => {
                            tracing::warn!(path = %path.display(), "the socket had been removed or replaced; it is back");
                            listener = fresh;
                            ours = identity(&path);
                            trouble.clear();
                        }
                        Err(error) if error.to_string() == trouble => {}
                        Err(error) => {
                            tracing::error!(%error, "the socket is gone and can't be made again yet; trying again");
                            trouble = error.to_string();
                        }
                    }
                }
                restore_daemon_file(&paths, &desk);
            },
        }
    }
    if identity(&path) == ours {
        let _ = std::fs::remove_file(&path);
    }
}

/// Admits a client. Only the daemon's own user and root may connect; clients whose user is unknown
/// are refused.
fn admit(stream: Stream, (house, flow): (&Arc<House>, &Arc<Flow>), desk: &Arc<SharedServices>) {
    let me = rustix::process::geteuid().as_raw();
    let user = match stream.peer_creds().map(|creds| creds.euid()) {
        Ok(Some(user)) if user == me || user == 0 => user,
        Ok(Some(user)) => return tracing::warn!(user, "a client of another user was turned away"),
        Ok(None) => return tracing::warn!("a client was turned away: the system does not say whose it is"),
        Err(error) => {
            return tracing::warn!(%error, "a client was turned away: the system does not say whose it is");
        }
    };
    let number = stream.peer_creds().ok().and_then(|creds| u32::try_from(creds.pid()?).ok());
    // the rights of a process whose id is unknown can't be determined
    let unknown = cfg!(target_os = "linux").then_some(crate::domain::Control::None);
    let rights = number.map_or(unknown, crate::child::rights_of_peer);
    let disconnect = desk.guest();
    let place = house.enter(disconnect.clone(), Instant::now());
    let outlet = flow.open(disconnect.clone());
    tokio::spawn(session::serve(stream, (desk.clone(), disconnect), place, outlet, Peer { user, rights }));
}
