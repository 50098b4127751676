//! Which of our children have somebody here who waits for them.
//!
//! A subreaper also gets children that it never started: orphans, for which nobody waits. Whoever
//! reaps those must not take the others. So who starts a process that may stay unreaped for longer
//! than a moment after its end holds an [`Own`] of it, and a [`starting`] from before its start until then.
use crate::domain::Control;
use std::collections::HashMap;
use std::io;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use tokio::process::{Child, Command};

/// Holders of each: a number may be another process's while the last one's holder is still there.
static OWNED: LazyLock<Mutex<HashMap<u32, Owned>>> = LazyLock::new(Mutex::default);
/// Read by those who start a process that nobody owns yet.
static STARTING: RwLock<()> = RwLock::new(());

#[derive(Debug, Default)]
struct Owned {
    holders: usize,
    control: Option<Control>,
}

/// As long as this lives, the child is waited for by its holder and nobody else.
#[derive(Debug)]
pub struct Own(u32);

impl Own {
    /// The child with this number, and what it and all below it may ask of this process.
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

/// Does somebody here wait for the child with this number?
pub fn is_owned(pid: u32) -> bool {
    owned().contains_key(&pid)
}

/// What the child with this number may ask of this process: by default, nothing. `None`: nobody here owns one of this number.
pub(super) fn control_of(pid: u32) -> Option<Control> {
    Some(owned().get(&pid)?.control.unwrap_or(Control::None))
}

/// Starts a program, which is ours to wait for from its first moment on. `control`: what it may ask of us.
///
/// # Errors
/// What the system says.
pub(super) fn spawn_owned(
    command: &mut Command,
    control: Option<Control>,
) -> io::Result<(Child, Option<Own>)> {
    let _starting = starting();
    let child = command.spawn()?;
    let own = child.id().map(|pid| Own::of(pid, control));
    Ok((child, own))
}

/// Held from before a child is started until it is owned.
pub fn starting() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Is nobody about to own a child of this number? False as long as that is not known: a start is under way.
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
