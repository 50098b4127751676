//! The identity of this daemon among those that use the same database: a random number stored in
//! its state folder. Host names and paths are not sufficient, since machine images are cloned and
//! home folders have the same paths.
use crate::store::error::StoreError;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use uuid::Uuid;

/// The file in the state folder that holds the number.
const FILE: &str = "node.id";

/// Returns the machine, the state folder and its number, in one line. The caller holds the lock of
/// the state folder.
///
/// A state folder that was moved to a machine of another name counts as another daemon: the lease
/// decides which of the two continues.
///
/// # Errors
/// The number can't be read or written.
pub(super) fn identity(state_dir: &Path) -> Result<String, StoreError> {
    let number = number(state_dir).map_err(|cause| StoreError::Other {
        doing: format!("reading {}", state_dir.join(FILE).display()),
        what: cause.to_string(),
    })?;
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(format!("{machine} {} {number}", state_dir.display()))
}

/// Strips the number from an identity, for people.
pub(super) fn shown(identity: &str) -> &str {
    match identity.rsplit_once(' ') {
        Some((place, number)) if Uuid::parse_str(number).is_ok() => place,
        _ => identity,
    }
}

fn number(state_dir: &Path) -> io::Result<Uuid> {
    let path = state_dir.join(FILE);
    match std::fs::read_to_string(&path) {
        // a file that was truncated while being written gets a new number
        Ok(text) => match Uuid::parse_str(text.trim()) {
            Ok(number) => Ok(number),
            Err(_) => create_number(&path),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_number(&path),
        Err(error) => Err(error),
    }
}

fn create_number(path: &Path) -> io::Result<Uuid> {
    let number = Uuid::new_v4();
    let fresh = path.with_extension("id.new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{number}")?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_keeps_its_number() {
        let one = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let first = identity(one.path()).unwrap();
        assert_eq!(identity(one.path()).unwrap(), first);
        assert_ne!(identity(other.path()).unwrap().rsplit(' ').next(), first.rsplit(' ').next());
        assert!(shown(&first).ends_with(&one.path().display().to_string()), "{first}");
        assert_eq!(shown("host /state"), "host /state");
        // half a number is none
        std::fs::write(one.path().join(FILE), "5a7e").unwrap();
        assert_ne!(identity(one.path()).unwrap(), first);
    }
}
