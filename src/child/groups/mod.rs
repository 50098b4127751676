//! Control groups of programs (cgroups(7), version 2): one group per started program. It limits the memory and number of
//! processes of everything that the program starts, and is killed as a unit (`cgroup.kill`), so that nothing can escape.
//!
//! Groups are created below the one that this process is in, and only if that was delegated to it: systemd's documentation
//! ("Control Group APIs and Delegation") leaves all others to their creators. Delegation is announced by systemd, in an
//! extended attribute of the group, or by the user that starts the daemon, in a variable ([`DELEGATED`]). The daemon moves into
//! a leaf (`DAEMON_GROUP`), since a group that distributes memory must not have processes of its own.
//!
//! Without groups, keepers terminate what they keep ([`super::trampoline`]), and a limit that needs a group is refused.
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

/// Maximum wait for killed processes at the start and end of a daemon.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(2);
const CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// The group of the daemon itself, below the delegated one.
const DAEMON_GROUP: &str = "daemon";

/// Which features of control groups are available. `None`: available.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupSupport {
    /// Why programs have no groups of their own.
    pub none_because: Option<String>,
    /// Why a memory limit can't be enforced.
    pub no_memory_because: Option<String>,
    /// Why a limit on processes can't be enforced.
    pub no_processes_because: Option<String>,
}

impl GroupSupport {
    fn none(why: &str) -> Self {
        let why = Some(why.to_owned());
        Self { none_because: why.clone(), no_memory_because: why.clone(), no_processes_because: why }
    }

    /// Returns the first of these limits that can't be enforced: its key, and why.
    pub fn lacks(&self, limits: &SandboxLimits) -> Option<(&'static str, &str)> {
        let memory = limits.memory.and(self.no_memory_because.as_deref()).map(|why| ("memory", why));
        let processes = limits.processes.and(self.no_processes_because.as_deref());
        memory.or_else(|| processes.map(|why| ("processes", why)))
    }
}

/// The delegated group, and the names of the groups in it.
#[derive(Debug)]
struct Groups {
    folder: PathBuf,
    /// The delegated group's path in `/proc/PID/cgroup`.
    path: String,
    /// Name prefix of this daemon's groups; groups of others don't have it.
    prefix: String,
    made: AtomicU64,
    support: GroupSupport,
}

static GROUPS: OnceLock<Result<Groups, String>> = OnceLock::new();

/// Enables a control group for each program, if they are available. Kills what a daemon of this name has left in its groups.
/// Called once, before anything is started; can block. `daemon`: a name that stays the same across restarts.
pub fn settle(daemon: &str) -> GroupSupport {
    // only tests have a second daemon in one process
    let _ = GROUPS.get_or_init(|| {
        let groups = Groups::of(&place::own()?, daemon)?;
        for ended in groups.clear() {
            tracing::warn!("ended what the last daemon had left in the control group {ended}");
        }
        Ok(groups)
    });
    support()
}

/// Returns the control group features of this process, as determined by [`settle`].
pub fn support() -> GroupSupport {
    match GROUPS.get() {
        Some(Ok(groups)) => groups.support.clone(),
        Some(Err(why)) => GroupSupport::none(why),
        None => GroupSupport::none("this process makes none: it is not the daemon"),
    }
}

/// Returns what a daemon started here would have. Changes nothing except for a group that is created and removed.
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

/// Kills and removes what is left in this daemon's groups. Called at its end; can block.
pub fn clear() {
    if let Some(Ok(groups)) = GROUPS.get() {
        for ended in groups.clear() {
            tracing::warn!("ended what was left in the control group {ended}");
        }
    }
}

/// Creates a group with its limits, for a program that is about to be started. `None`: there are no groups here.
///
/// # Errors
/// Why a limit can't be enforced; else the error of the system.
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

/// Returns the processes of the daemon's group that contains this process, directly or in a subgroup. `None`: it is in none.
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
        let own = folder.join(DAEMON_GROUP);
        match std::fs::create_dir(&own) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(said("no group can be made in", error));
            }
            _ => {}
        }
        // 0 stands for the writing process
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

    /// Returns the name of the daemon's group that contains a process, directly or in a subgroup. `line`: its
    /// `/proc/PID/cgroup`.
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
                // could not be removed earlier
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
    }

    /// Kills and removes all groups of this daemon, as far as possible within [`CLEAR_TIMEOUT`]. Returns those that had live
    /// processes and have none any more.
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
        let until = Instant::now() + CLEAR_TIMEOUT;
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
            std::thread::sleep(CHECK_INTERVAL);
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
