//! What a configuration is read with: nothing of the environment is looked up elsewhere.
use jiff::{Timestamp, tz::TimeZone};
use std::path::{Path, PathBuf};

/// What a configuration is read with: nothing of the environment is looked up elsewhere.
pub struct Context<'a> {
    /// For "in the past" and "next due" questions.
    pub now: Timestamp,
    /// Zone where neither `[daemon]` nor the agent names one.
    pub timezone: TimeZone,
    /// What `~` stands for.
    pub home: PathBuf,
    /// Looks up a variable for `${VAR}` in paths.
    pub env: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The state folder, where it is known: no tool reaches it.
    pub state_dir: Option<PathBuf>,
    /// The path without links.
    pub real: &'a (dyn Fn(&Path) -> std::io::Result<PathBuf> + Sync),
    /// What is at a path.
    pub look: &'a (dyn Fn(&Path) -> std::io::Result<Found> + Sync),
}

/// What was found at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Entry,
    /// Others than its owner may do something with it.
    pub others: bool,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Folder,
    /// A file that somebody may execute.
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
    /// The real system.
    pub fn system(now: Timestamp) -> Self {
        let home = directories::BaseDirs::new()
            .map_or_else(|| PathBuf::from("/"), |dirs| dirs.home_dir().to_owned());
        let env = &|name: &str| std::env::var(name).ok();
        let real = &|path: &Path| std::fs::canonicalize(path);
        Self { now, timezone: system_zone(), home, env, state_dir: None, real, look: &look }
    }

    /// The same, with the state folder of the daemon that the file is for.
    #[must_use]
    pub fn of_state(self, state_dir: &Path) -> Self {
        Self { state_dir: Some(state_dir.to_owned()), ..self }
    }
}

/// The machine's time zone as it is now, by the rules that are installed now: jiff keeps for some minutes what it
/// once read.
pub fn system_zone() -> TimeZone {
    jiff::tz::db().reset();
    jiff::tz::reset_system_time_zone_cache();
    TimeZone::system()
}
