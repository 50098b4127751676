//! The order in which a process confines itself.
use super::support;
use super::walls::{Limit, NotConfined, Walls};
use super::{calls, paths};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::CapabilitySet;

/// Confines this process and everything that it starts from now on; it must have one thread. Its own network namespace
/// ([`super::network`]) and mount namespace ([`super::mounts`]) must have been entered before.
///
/// # Errors
/// Which restriction could not be applied. Others may be in effect then: the process must exit.
pub fn enter(walls: &Walls) -> Result<(), NotConfined> {
    let refused = |what: &str| {
        let what = what.to_owned();
        move |error: rustix::io::Errno| NotConfined(format!("{what}: {error}"))
    };
    for (limit, value) in &walls.limits {
        let (resource, name) = match limit {
            Limit::OpenFiles => (Resource::Nofile, "the limit of open files"),
            Limit::FileSize => (Resource::Fsize, "the limit of a file's size"),
            Limit::Cpu => (Resource::Cpu, "the limit of processor time"),
        };
        let value = Some(*value);
        setrlimit(resource, Rlimit { current: value, maximum: value }).map_err(refused(name))?;
    }
    rustix::thread::set_no_new_privs(true).map_err(refused("no_new_privs"))?;
    drop_capabilities().map_err(refused("capabilities"))?;
    let landlock = support::landlock();
    paths::close(walls)?;
    calls::close(calls::FilterRules { sockets: walls.connects(), network: walls.network.is_some(), landlock })
}

/// Drops root's capabilities. With `no_new_privs` they can't be regained (capabilities(7)).
///
/// Does nothing without capabilities: the filter of a hardened unit refuses the call.
fn drop_capabilities() -> rustix::io::Result<()> {
    let now = rustix::thread::capabilities(None)?;
    if now.effective.is_empty() && now.permitted.is_empty() && now.inheritable.is_empty() {
        return Ok(());
    }
    let none = rustix::thread::CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)
}
