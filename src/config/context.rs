//! What a configuration is read with: nothing of the environment is looked up elsewhere.
use super::own_part::OwnPart;
use jiff::{Timestamp, tz::TimeZone};
use std::path::{Path, PathBuf};

/// The environment of a configuration: everything from outside that reading it depends on.
pub struct Context<'a> {
    /// The current time, for "in the past" and "next due".
    pub now: Timestamp,
    /// The zone if neither `[daemon]` nor the agent sets one.
    pub timezone: TimeZone,
    /// The folder that `~` stands for.
    pub home: PathBuf,
    /// Looks up a variable for `${VAR}` in paths.
    pub env: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The state folder, if it is known: tools may not access it.
    pub state_dir: Option<PathBuf>,
    /// Resolves the links in a path.
    pub real: &'a (dyn Fn(&Path) -> std::io::Result<PathBuf> + Sync),
    /// What the file of this machine says of it, where what is read is the configuration of a fleet.
    pub own: Option<&'a OwnPart>,
    /// What is at a path.
    pub look: &'a (dyn Fn(&Path) -> std::io::Result<Found> + Sync),
}

/// What was found at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub kind: Entry,
    /// Whether others than its owner have any access to it.
    pub others: bool,
}

/// The kind of file at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Folder,
    /// A file that is executable by somebody.
    Program,
    File,
}

pub(super) fn look(path: &Path) -> std::io::Result<Found> {
    use std::os::unix::fs::PermissionsExt;
    let found = std::fs::metadata(path)?;
    let mode = found.permissions().mode();
    let kind = match mode & 0o111 {
        _ if found.is_dir() => Entry::Folder,
        0 => Entry::File,
        _ => Entry::Program,
    };
    Ok(Found { kind, others: mode & 0o077 != 0 })
}

impl Context<'static> {
    /// Creates the context of the real system.
    pub fn system(now: Timestamp) -> Self {
        let home = directories::BaseDirs::new()
            .map_or_else(|| PathBuf::from("/"), |dirs| dirs.home_dir().to_owned());
        let env = &|name: &str| std::env::var(name).ok();
        let real = &|path: &Path| std::fs::canonicalize(path);
        Self { now, timezone: system_zone(), home, env, state_dir: None, own: None, real, look: &look }
    }

    /// Sets the state folder of the daemon that the file is for.
    #[must_use]
    pub fn of_state(self, state_dir: &Path) -> Self {
        Self { state_dir: Some(state_dir.to_owned()), ..self }
    }
}

/// Returns the machine's current time zone, by the currently installed rules: jiff caches both for some
/// minutes.
pub fn system_zone() -> TimeZone {
    jiff::tz::db().reset();
    jiff::tz::reset_system_time_zone_cache();
    TimeZone::system()
}
