//! Configurations that a person has approved. Those in the configuration folder belong to the user; for those
//! elsewhere, such as in a repository, the approved text and its rights are recorded.
use super::diagnostic::Diagnostic;
use super::loaded::{Loaded, Rejected, RejectedFor};
use crate::domain::{AgentSpec, Fleet, Rights, SkillSpec, hex};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Maximum number of rights listed in one refusal.
const MAX_LISTED_RIGHTS: usize = 50;

/// Why a configuration is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Automatically: a service starts, a variable names the file, the file has changed.
    No,
    /// A person named the file on the command line, which approves its current content.
    Named,
    /// A person passed `--trust`, which approves any content, now and later.
    Trust,
}

/// What a person has approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// SHA-256 of the text, in hex.
    pub sha256: String,
    pub at: Timestamp,
    /// What it may do.
    pub rights: Rights,
}

impl Trusted {
    /// Approves this configuration as of now.
    pub fn of(loaded: &Loaded, now: Timestamp) -> Self {
        Self { sha256: sha256(&loaded.text), at: now, rights: Rights::of(&loaded.fleet) }
    }

    /// Returns whether this is exactly the approved text.
    pub fn is_of(&self, loaded: &Loaded) -> bool {
        self.sha256 == sha256(&loaded.text)
    }
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Returns the rights of a configuration beyond those that a person has approved.
pub fn rights_beyond(loaded: &Loaded, trusted: Option<&Trusted>) -> Vec<String> {
    match trusted {
        Some(trusted) if trusted.is_of(loaded) => Vec::new(),
        trusted => {
            let before = trusted.map(|trusted| trusted.rights.clone()).unwrap_or_default();
            Rights::of(&loaded.fleet).beyond(&before)
        }
    }
}

/// The skills of a configuration that a person has not said yes to as they are. That counts wherever the file lies: what stands in a
/// skill is followed, and others may write it.
pub fn untrusted_skills<'f>(
    fleet: &'f Fleet,
    trusted: Option<&Trusted>,
) -> Vec<(&'f Arc<AgentSpec>, &'f Arc<SkillSpec>)> {
    let before = trusted.map(|trusted| trusted.rights.clone()).unwrap_or_default();
    before.without(fleet).collect()
}

/// All that people have said yes to, by the file that a path leads to. It lies in the state folder.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TrustBook {
    files: BTreeMap<PathBuf, Trusted>,
}

impl TrustBook {
    /// Reads the approvals from this file; empty if there is none.
    ///
    /// # Errors
    /// It can't be read, or is damaged: then nothing is trusted.
    pub fn read(path: &Path) -> io::Result<Self> {
        let is_other = std::fs::metadata(path).is_ok_and(|found| !found.is_file());
        if is_other {
            // Opening a FIFO would block until its other end is opened.
            return Err(io::Error::other("it is not a file; move it away"));
        }
        match std::fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Returns what is approved of this configuration.
    pub fn get(&self, config: &Path) -> Option<&Trusted> {
        self.files.get(&key(config))
    }

    /// Approves a configuration and writes the file atomically. A damaged file is replaced.
    ///
    /// # Errors
    /// The state folder can't be created or written.
    pub fn trust(path: &Path, config: &Path, trusted: Trusted) -> io::Result<()> {
        let mut book = Self::read(path).or_else(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Ok(Self::default()),
            _ => Err(error),
        })?;
        if book
            .get(config)
            .is_some_and(|before| (&before.sha256, &before.rights) == (&trusted.sha256, &trusted.rights))
        {
            return Ok(());
        }
        book.files.insert(key(config), trusted);
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let fresh = path.with_extension(format!("json.{}", std::process::id()));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            out.write_all(&serde_json::to_vec_pretty(&book)?)?;
            out.sync_all()?;
            std::fs::rename(&fresh, path)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        written
    }
}

/// Returns the canonical path, the same for each path that leads to a file.
fn key(config: &Path) -> PathBuf {
    std::fs::canonicalize(config).unwrap_or_else(|_| config.to_owned())
}

/// Refuses a configuration that goes beyond what is trusted; each additional right is an error.
pub fn not_trusted(loaded: Loaded, beyond: &[String]) -> Box<Rejected> {
    let Loaded { fleet, text, shown, .. } = loaded;
    let hint = format!("to look at it, and approve it: bgagent trust {}", shell_word(&fleet.path));
    let of = |message: String| Diagnostic::of_file(message, Some(hint.clone()));
    let mut diagnostics: Vec<Diagnostic> = beyond
        .iter()
        .take(MAX_LISTED_RIGHTS)
        .map(|line| of(format!("nobody has trusted this yet: {line}")))
        .collect();
    if beyond.len() > MAX_LISTED_RIGHTS {
        diagnostics.push(of(format!(
            "nobody has trusted this yet: {} things more",
            beyond.len() - MAX_LISTED_RIGHTS
        )));
    }
    Box::new(Rejected { path: fleet.path, text, shown, diagnostics, why: RejectedFor::Trust })
}

/// Quotes a path for a shell.
pub fn shell_word(path: &Path) -> String {
    crate::domain::shell_word(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    //! Tests of what is trusted, and how that is stored.
    use super::*;
    use crate::config::{Context, parse};

    fn loaded(text: &str) -> Loaded {
        let path = Path::new("/repo/agents.toml");
        parse(text.to_owned(), path, &Context::system("2026-11-29T12:00:00Z".parse().unwrap())).unwrap()
    }

    #[test]
    fn only_what_goes_beyond_what_is_trusted_waits() {
        let before = loaded("[agents.a]\ninterval = 60\ncommand = [\"df\", \"-h\"]\n");
        let trusted = Trusted::of(&before, Timestamp::UNIX_EPOCH);
        let is = |text: &str, trusted: Option<&Trusted>| rights_beyond(&loaded(text), trusted);
        assert_eq!(is(&before.text, Some(&trusted)), [""; 0]);
        assert_eq!(is(&before.text, None), ["agent a runs df -h in /repo"]);
        assert_eq!(is("[agents.a]\ninterval = 1\ncommand = [\"df\", \"-h\"]\n", Some(&trusted)), [""; 0]);
        assert_eq!(is("", None), [""; 0], "nothing may do anything");
        let other = "[agents.a]\ninterval = 60\ncommand = [\"df\", \"-h\", \"; id\"]\n";
        assert_eq!(is(other, Some(&trusted)), ["agent a runs df -h \"; id\" in /repo"]);
        let rejected = not_trusted(loaded(other), &is(other, Some(&trusted)));
        assert_eq!(
            rejected.diagnostics[0].hint.as_deref(),
            Some("to look at it, and approve it: bgagent trust /repo/agents.toml")
        );
        let many: Vec<String> = (0..60).map(|number| number.to_string()).collect();
        let rejected = not_trusted(loaded(other), &many);
        assert_eq!(
            rejected.diagnostics.last().unwrap().message,
            "nobody has trusted this yet: 10 things more"
        );
        assert_eq!(shell_word(Path::new("/my repo/it's")), r"'/my repo/it'\''s'");
    }

    #[test]
    fn what_is_trusted_is_kept_and_a_damaged_book_trusts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let book = folder.path().join("state/trusted.json");
        let one = Trusted::of(&loaded("[agents.a]\ncommand = \"true\"\n"), Timestamp::UNIX_EPOCH);
        assert!(TrustBook::read(&book).unwrap().get(Path::new("/a")).is_none());
        TrustBook::trust(&book, Path::new("/a"), one.clone()).unwrap();
        TrustBook::trust(&book, Path::new("/b"), one.clone()).unwrap();
        let read = TrustBook::read(&book).unwrap();
        assert_eq!((read.get(Path::new("/a")), read.get(Path::new("/b"))), (Some(&one), Some(&one)));
        let mode =
            |path: &Path| std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap()) & 0o777;
        assert_eq!((mode(&book), mode(book.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(book.parent().unwrap()).unwrap().count(), 1);
        std::fs::write(&book, "{").unwrap();
        assert!(TrustBook::read(&book).is_err());
        TrustBook::trust(&book, Path::new("/c"), one.clone()).unwrap();
        assert_eq!(TrustBook::read(&book).unwrap().get(Path::new("/c")), Some(&one));
    }
}
