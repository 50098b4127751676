//! Tracks which child processes will be reaped by their owners.
//!
//! A subreaper also gets children that it never started: orphans, which nobody waits for. Reaping those must not affect the
//! others. So the owner of a process that may stay unreaped for more than a moment holds an [`Own`] of it, and a [`starting`]
//! guard from before its start until then.
use crate::domain::Control;
use std::collections::HashMap;
use std::io;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use tokio::process::{Child, Command};

/// Holders by PID: a PID may be reused while its previous holder still exists.
static OWNED: LazyLock<Mutex<HashMap<u32, Owned>>> = LazyLock::new(Mutex::default);
/// Read-locked while a process is being started that nobody owns yet.
static STARTING: RwLock<()> = RwLock::new(());

#[derive(Debug, Default)]
struct Owned {
    holders: usize,
    control: Option<Control>,
}

/// While this lives, only its holder reaps the child.
#[derive(Debug)]
pub struct Own(u32);

impl Own {
    /// Registers the child with this PID, and what it and its descendants may request from this process.
    pub fn of(pid: u32, control: Option<Control>) -> Self {
        let mut owned = owned();
        let one = owned.entry(pid).or_default();
        one.holders += 1;
        one.control = control;
        Self(pid)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut owned = owned();
        if let Some(one) = owned.get_mut(&self.0) {
            one.holders -= 1;
            if one.holders == 0 {
                owned.remove(&self.0);
            }
        }
    }
}

/// Returns whether the child with this PID has an owner.
pub fn is_owned(pid: u32) -> bool {
    owned().contains_key(&pid)
}

/// Returns what the child with this PID may request from this process: by default, nothing. `None`: it has no owner.
pub(super) fn control_of(pid: u32) -> Option<Control> {
    Some(owned().get(&pid)?.control.unwrap_or(Control::None))
}

/// Starts a program that is owned from its first moment on. `control`: what it may request.
///
/// # Errors
/// The error of the system.
pub(super) fn spawn_owned(
    command: &mut Command,
    control: Option<Control>,
) -> io::Result<(Child, Option<Own>)> {
    let _starting = starting();
    let child = command.spawn()?;
    let own = child.id().map(|pid| Own::of(pid, control));
    Ok((child, own))
}

/// Returns a guard that is held from before a child is started until it is owned.
pub fn starting() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether this PID has no owner and won't get one. False while a start is in progress, since that is unknown.
pub fn is_nobodys(pid: u32) -> bool {
    match STARTING.try_write() {
        Ok(_) | Err(std::sync::TryLockError::Poisoned(_)) => !is_owned(pid),
        Err(std::sync::TryLockError::WouldBlock) => false,
    }
}

fn owned() -> MutexGuard<'static, HashMap<u32, Owned>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    //! With a real child.
    use super::*;

    #[test]
    fn who_is_owned_is_somebodys() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = child.id();
        assert!(!is_owned(pid));
        let (own, again) = (Own::of(pid, None), Own::of(pid, Some(Control::Read)));
        assert!(is_owned(pid) && !is_nobodys(pid));
        drop(own);
        assert_eq!(control_of(pid), Some(Control::Read));
        assert!(is_owned(pid), "the number may be another process's by now");
        drop(again);
        assert!(!is_owned(pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
