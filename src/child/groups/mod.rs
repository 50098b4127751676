//! Control groups of programs (cgroups(7), version 2): a group for each program that is started. It bounds the memory and the
//! processes of all that the program starts, and is killed as one (`cgroup.kill`), whatever hides in it.
//!
//! Groups are made below the one that this process is in, and only if that was delegated to it: systemd's documentation
//! ("Control Group APIs and Delegation") leaves all others to whoever made them. Whether it was is said by systemd, in an
//! extended attribute of the group, or by whoever starts the daemon, in a variable ([`DELEGATED`]). It moves into a leaf
//! (`DAEMON`), since a group that shares out memory has no processes of its own.
//!
//! Where there are none, keepers end what they keep ([`super::trampoline`]), and a limit that needs a group is refused.
mod group;
mod place;

pub(super) use group::{Group, LimitsMet};
pub use place::DELEGATED;

use crate::domain::SandboxLimits;
use place::Place;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long all that was killed is waited for at the start and the end of a daemon.
const CLEARING: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// The group of the daemon itself, below the delegated one.
const DAEMON: &str = "daemon";

/// What of control groups is to be had. Each `None`: nothing hinders it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupSupport {
    /// Why programs have no groups of their own.
    pub none_because: Option<String>,
    /// Why a limit of memory can't be held.
    pub no_memory_because: Option<String>,
    /// Why a limit of processes can't be held.
    pub no_processes_because: Option<String>,
}

impl GroupSupport {
    fn none(why: &str) -> Self {
        let why = Some(why.to_owned());
        Self { none_because: why.clone(), no_memory_because: why.clone(), no_processes_because: why }
    }

    /// The first limit among these that can't be held: its key, and why.
    pub fn lacks(&self, limits: &SandboxLimits) -> Option<(&'static str, &str)> {
        let memory = limits.memory.and(self.no_memory_because.as_deref()).map(|why| ("memory", why));
        let processes = limits.processes.and(self.no_processes_because.as_deref());
        memory.or_else(|| processes.map(|why| ("processes", why)))
    }
}

/// The delegated group, and what the groups in it are called.
#[derive(Debug)]
struct Groups {
    folder: PathBuf,
    /// The delegated group as `/proc/PID/cgroup` has it.
    path: String,
    /// Groups of this daemon begin with this; those of others, and of whoever else has a place here, do not.
    prefix: String,
    made: AtomicU64,
    support: GroupSupport,
}

static GROUPS: OnceLock<Result<Groups, String>> = OnceLock::new();

/// From now on each program has a control group of its own, if there are any. What a daemon of this name has left in its groups is
/// ended. Once, before anything is started; it can block. `daemon`: what this daemon is called in each of its lives.
pub fn settle(daemon: &str) -> GroupSupport {
    // a second daemon in the same process is one of tests
    let _ = GROUPS.get_or_init(|| {
        let groups = Groups::of(&place::own()?, daemon)?;
        for ended in groups.clear() {
            tracing::warn!("ended what the last daemon had left in the control group {ended}");
        }
        Ok(groups)
    });
    support()
}

/// What of control groups this process has, since [`settle`].
pub fn support() -> GroupSupport {
    match GROUPS.get() {
        Some(Ok(groups)) => groups.support.clone(),
        Some(Err(why)) => GroupSupport::none(why),
        None => GroupSupport::none("this process makes none: it is not the daemon"),
    }
}

/// What a daemon would have that is started where this process is. Nothing is changed but for a group that is made and removed.
pub fn prospect() -> GroupSupport {
    let looked = || -> Result<GroupSupport, String> {
        let place = place::own()?;
        place.can_be_used()?;
        let lacks = |controller| lacks_controller(&place.folder, controller);
        Ok(GroupSupport {
            none_because: None,
            no_memory_because: lacks("memory"),
            no_processes_because: lacks("pids"),
        })
    };
    looked().unwrap_or_else(|why| GroupSupport::none(&why))
}

/// Ends and removes what is left in groups of this daemon. At its end; it can block.
pub fn clear() {
    if let Some(Ok(groups)) = GROUPS.get() {
        for ended in groups.clear() {
            tracing::warn!("ended what was left in the control group {ended}");
        }
    }
}

/// A group for a program that is about to be started, with its limits. `None`: there are no groups here.
///
/// # Errors
/// Why a limit can't be held; else what the system says.
pub(super) fn make(limits: &SandboxLimits) -> io::Result<Option<Group>> {
    if let Some((limit, why)) = support().lacks(limits) {
        return Err(io::Error::other(format!(
            "`limits.{limit}` of the sandbox needs a control group, and there is none for it: {why}; leave `limits.{limit}` \
             out, or run the daemon where there is one (`bgagent doctor` says more)"
        )));
    }
    match GROUPS.get() {
        Some(Ok(groups)) => groups.make(limits).map(Some),
        _ => Ok(None),
    }
}

/// The processes of the group of ours that this one is in, itself or in a group below. `None`: it is in none.
pub(super) fn fellows(pid: u32) -> Option<Vec<u32>> {
    let groups = GROUPS.get()?.as_ref().ok()?;
    let line = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    Some(place::members(&groups.folder.join(groups.name_in(&line)?)))
}

fn lacks_controller(folder: &Path, controller: &str) -> Option<String> {
    let has = std::fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    (!has.split_ascii_whitespace().any(|one| one == controller)).then(|| {
        format!(
            "the control group {} was not given the controller `{controller}` (it is switched off, or held by version 1)",
            folder.display()
        )
    })
}

impl Groups {
    fn of(place: &Place, daemon: &str) -> Result<Self, String> {
        place.can_be_used()?;
        let folder = place.folder.clone();
        let said = |what: &str, error: io::Error| format!("{what} {}: {error}", folder.display());
        let own = folder.join(DAEMON);
        match std::fs::create_dir(&own) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(said("no group can be made in", error));
            }
            _ => {}
        }
        // 0 is whoever writes it
        group::write(&own, "cgroup.procs", "0")
            .map_err(|error| said("the daemon can't move into a group of", error))?;
        let given = |controller: &str| {
            let lacks = lacks_controller(&folder, controller);
            lacks.or_else(|| {
                let shared = group::write(&folder, "cgroup.subtree_control", &format!("+{controller}"));
                let why = shared.err()?;
                Some(match why.kind() {
                    io::ErrorKind::ResourceBusy => format!(
                        "the control group {} has other processes in it than the daemon, so that `{controller}` can't be shared out",
                        folder.display()
                    ),
                    _ => said(&format!("`{controller}` can't be shared out in"), why),
                })
            })
        };
        let support = GroupSupport {
            none_because: None,
            no_memory_because: given("memory"),
            no_processes_because: given("pids"),
        };
        let path = place.path.clone();
        Ok(Self { prefix: format!("run-{daemon}-"), made: AtomicU64::new(0), support, folder, path })
    }

    /// The name of the group of ours that a process is in, or in one below it. `line`: its `/proc/PID/cgroup`.
    fn name_in<'a>(&self, line: &'a str) -> Option<&'a str> {
        let below = place::path_of(line)?.strip_prefix(self.path.trim_end_matches('/'))?.strip_prefix('/')?;
        let name = below.split('/').next()?;
        let number = name.strip_prefix(&self.prefix)?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
    }

    fn make(&self, limits: &SandboxLimits) -> io::Result<Group> {
        loop {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            match Group::make(self.folder.join(format!("{}{number}", self.prefix)), limits) {
                // one that could not be removed
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
    }

    /// Ends and removes all groups of this daemon, as far as they can be in [`CLEARING`]. Returns those in which something
    /// lived and does no longer.
    fn clear(&self) -> Vec<String> {
        let Ok(all) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let ours = all.flatten().filter(|entry| {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(&self.prefix));
            number
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        });
        let mut left: Vec<(String, Group, bool)> = ours
            .map(|entry| {
                let group = Group::left(entry.path());
                let lived = group.is_populated();
                (entry.file_name().to_string_lossy().into_owned(), group, lived)
            })
            .collect();
        let mut ended = Vec::new();
        let until = Instant::now() + CLEARING;
        loop {
            left.retain(|(name, group, lived)| {
                let is_gone = group.is_ended();
                if is_gone && *lived {
                    ended.push(name.clone());
                }
                !is_gone
            });
            if left.is_empty() || Instant::now() >= until {
                break;
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        for (name, ..) in &left {
            tracing::warn!(
                "the control group {name} can't be emptied: processes in it can't be killed, perhaps because a disk does not answer; the next start of the daemon tries again"
            );
        }
        ended.sort();
        ended
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
