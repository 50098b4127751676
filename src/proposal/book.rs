//! The waiting proposals: one file each, in a folder of the state folder that only its user can access.
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Maximum number of waiting proposals.
pub const MAX_WAITING_COUNT: usize = 20;

/// An undecided proposal expires after this time.
pub const EXPIRES_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Number of digits of an id.
const ID_DIGITS: usize = 8;

/// Maximum size of a proposal's file; a larger file is not ours.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// The proposer, as it identifies itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposer {
    pub name: String,
    pub version: String,
}

/// The content of a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewProposal {
    pub agent: String,
    /// The agent's table, as TOML.
    pub toml: String,
    /// The proposer's reason.
    pub why: Option<String>,
    pub by: Proposer,
    /// The configuration that it is for.
    pub config: PathBuf,
    /// SHA-256 of the agent's table that it replaces, in hexadecimal digits; `None`: there was none.
    pub instead_of: Option<String>,
}

impl NewProposal {
    /// Returns the hash that identifies a table.
    pub fn mark_of(table: &str) -> String {
        crate::domain::hex(&Sha256::digest(table.as_bytes()))
    }
}

/// A waiting proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Its id, 8 hexadecimal digits.
    pub id: String,
    pub at: Timestamp,
    #[serde(flatten)]
    pub what: NewProposal,
}

impl Proposal {
    /// Returns when it expires.
    pub fn expires_at(&self) -> Timestamp {
        self.at.saturating_add(EXPIRES_AFTER).unwrap_or(Timestamp::MAX)
    }
}

/// Why a proposal can't be stored or found.
#[derive(Debug, thiserror::Error)]
pub enum ProposalError {
    /// Too many are waiting.
    #[error("{MAX_WAITING_COUNT} proposals wait already")]
    Full,
    /// The argument is not an id.
    #[error("`{0}` is not the id of a proposal: those are 8 hexadecimal digits")]
    NoId(String),
    /// There is no proposal of this id.
    #[error("there is no proposal `{0}`: it was decided, or waited for more than 7 days")]
    Gone(String),
    /// Its file can't be parsed.
    #[error("{} is damaged: {cause}", path.display())]
    Damaged {
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The folder can't be read or written.
    #[error("{}: {cause}", path.display())]
    Io { path: PathBuf, cause: io::Error },
}

/// The waiting proposals of a state folder.
#[derive(Debug, Clone)]
pub struct ProposalBook {
    folder: PathBuf,
}

impl ProposalBook {
    /// Returns the proposals of a state folder.
    pub fn of(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("proposals") }
    }

    /// Stores a proposal. An identical one that waits already is returned instead.
    ///
    /// # Errors
    /// Too many are waiting; the file can't be written.
    pub fn add(&self, what: NewProposal, now: Timestamp) -> Result<Proposal, ProposalError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(|e| self.io(e))?;
        let _lock = self.lock()?;
        let (waiting, damaged) = self.waiting(now)?;
        if let Some(same) = waiting.iter().find(|one| one.what == what) {
            return Ok(same.clone());
        }
        if waiting.len() + damaged.len() >= MAX_WAITING_COUNT {
            return Err(ProposalError::Full);
        }
        let id = loop {
            let mut id = uuid::Uuid::new_v4().simple().to_string();
            id.truncate(ID_DIGITS);
            if !self.file(&id).exists() {
                break id;
            }
        };
        let proposal = Proposal { id, at: now, what };
        self.write(&proposal).map_err(|error| self.io(error))?;
        Ok(proposal)
    }

    /// Returns the waiting proposals, oldest first, and the errors of those that can't be read. Expired ones are removed.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn waiting(&self, now: Timestamp) -> Result<(Vec<Proposal>, Vec<ProposalError>), ProposalError> {
        let (mut waiting, mut damaged) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((waiting, damaged)),
            Err(error) => return Err(self.io(error)),
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json")).filter(|id| is_id(id));
            match id.map(|id| self.read(id, now)) {
                Some(Ok(proposal)) => waiting.push(proposal),
                Some(Err(ProposalError::Gone(_))) | None => {}
                Some(Err(error)) => damaged.push(error),
            }
        }
        waiting.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        Ok((waiting, damaged))
    }

    /// Returns the proposal of this id.
    ///
    /// # Errors
    /// It is not an id; there is none, or it has expired; its file can't be read.
    pub fn get(&self, id: &str, now: Timestamp) -> Result<Proposal, ProposalError> {
        if !is_id(id) {
            return Err(ProposalError::NoId(id.chars().take(40).collect()));
        }
        self.read(id, now)
    }

    /// Removes a proposal.
    ///
    /// # Errors
    /// It is not an id; there is none; the file can't be removed.
    pub fn remove(&self, id: &str) -> Result<(), ProposalError> {
        if !is_id(id) {
            return Err(ProposalError::NoId(id.chars().take(40).collect()));
        }
        fs::remove_file(self.file(id)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ProposalError::Gone(id.to_owned()),
            _ => ProposalError::Io { path: self.file(id), cause: error },
        })
    }

    fn read(&self, id: &str, now: Timestamp) -> Result<Proposal, ProposalError> {
        let path = self.file(id);
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ProposalError::Gone(id.to_owned()));
            }
            Err(cause) => return Err(ProposalError::Io { path, cause }),
        };
        let damaged = |cause: String| ProposalError::Damaged { path: path.clone(), cause };
        if !found.is_file() || found.len() > MAX_FILE_BYTES {
            return Err(damaged("it is not a file of ours".into()));
        }
        let bytes = fs::read(&path).map_err(|cause| ProposalError::Io { path: path.clone(), cause })?;
        let proposal: Proposal =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if proposal.id != id {
            return Err(damaged("it has another id than its name says".into()));
        }
        if proposal.expires_at() <= now {
            let _ = fs::remove_file(&path);
            return Err(ProposalError::Gone(id.to_owned()));
        }
        Ok(proposal)
    }

    /// Writes the file atomically.
    fn write(&self, proposal: &Proposal) -> io::Result<()> {
        let fresh = self.folder.join(format!("{}.new", proposal.id));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            out.write_all(&serde_json::to_vec_pretty(proposal)?)?;
            out.sync_all()?;
            fs::rename(&fresh, self.file(&proposal.id))?;
            File::open(&self.folder)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written
    }

    /// Locks the folder while a proposal is added, so that the maximum holds for concurrent processes.
    fn lock(&self) -> Result<File, ProposalError> {
        let mut options = OpenOptions::new();
        let lock =
            options.write(true).create(true).truncate(false).mode(0o600).open(self.folder.join("lock"));
        let lock = lock.map_err(|error| self.io(error))?;
        lock.lock().map_err(|error| self.io(error))?;
        Ok(lock)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn io(&self, cause: io::Error) -> ProposalError {
        ProposalError::Io { path: self.folder.clone(), cause }
    }
}

/// Returns whether it is an id. Only ids become file names.
fn is_id(id: &str) -> bool {
    id.len() == ID_DIGITS && id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    //! Tests in real folders.
    use super::*;

    fn new(agent: &str) -> NewProposal {
        NewProposal {
            agent: agent.into(),
            toml: format!("[agents.{agent}]\n"),
            why: None,
            by: Proposer { name: "tests".into(), version: "1".into() },
            config: "/c/agents.toml".into(),
            instead_of: None,
        }
    }

    #[test]
    fn a_proposal_is_kept_for_its_user_alone_and_once() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let book = ProposalBook::of(folder.path());
        let now = Timestamp::UNIX_EPOCH;
        assert!(book.waiting(now).unwrap().0.is_empty());
        let one = book.add(new("a"), now).unwrap();
        assert_eq!(book.add(new("a"), now).unwrap(), one);
        let two = book.add(new("b"), now + SignedDuration::from_secs(1)).unwrap();
        assert_eq!(book.waiting(now).unwrap().0, [one.clone(), two.clone()]);
        assert_eq!(book.get(&one.id, now).unwrap(), one);
        let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(book.file(&one.id)), mode(book.folder.clone())), (0o600, 0o700));
        book.remove(&one.id).unwrap();
        assert!(matches!(book.remove(&one.id), Err(ProposalError::Gone(_))));
        assert_eq!(book.waiting(now).unwrap().0, [two]);
    }

    #[test]
    fn not_any_number_waits_and_none_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let book = ProposalBook::of(folder.path());
        let now = Timestamp::UNIX_EPOCH;
        for number in 0..MAX_WAITING_COUNT {
            book.add(new(&format!("a{number}")), now).unwrap();
        }
        assert!(matches!(book.add(new("more"), now), Err(ProposalError::Full)));
        assert_eq!(book.waiting(now).unwrap().0.len(), MAX_WAITING_COUNT);
        let later = now + EXPIRES_AFTER;
        let id = book.waiting(now).unwrap().0[0].id.clone();
        assert!(matches!(book.get(&id, later), Err(ProposalError::Gone(_))));
        assert!(book.waiting(later).unwrap().0.is_empty());
        book.add(new("more"), later).unwrap();
    }

    #[test]
    fn what_is_no_id_leads_nowhere_and_what_is_damaged_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let book = ProposalBook::of(folder.path());
        let now = Timestamp::UNIX_EPOCH;
        book.add(new("a"), now).unwrap();
        fs::write(folder.path().join("secret.json"), "{}").unwrap();
        for id in ["", "../secret", "12345678/..", "ABCDEF01", "123456789", "lock", "1234567\n", "é234567"] {
            assert!(matches!(book.get(id, now), Err(ProposalError::NoId(_))), "{id:?}");
            assert!(matches!(book.remove(id), Err(ProposalError::NoId(_))), "{id:?}");
        }
        for (id, text) in [
            ("00000001", "{"),
            ("00000002", &fs::read_to_string(book.file(&book.waiting(now).unwrap().0[0].id)).unwrap()),
        ] {
            fs::write(book.file(id), text).unwrap();
            assert!(matches!(book.get(id, now), Err(ProposalError::Damaged { .. })), "{id}");
        }
        std::os::unix::fs::symlink(folder.path().join("secret.json"), book.file("00000003")).unwrap();
        let (waiting, damaged) = book.waiting(now).unwrap();
        assert_eq!((waiting.len(), damaged.len()), (1, 3));
    }
}
