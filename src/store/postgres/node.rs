//! Which daemon this is, for others that want to write to the same database: by a number that was drawn once for its state
//! folder. A name of a machine and a path prove nothing, since images of machines are cloned and homes are called alike.
use crate::store::error::StoreError;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use uuid::Uuid;

/// The file of the state folder that holds the number.
const FILE: &str = "node.id";

/// The machine, the state folder and its number, in one line. The caller holds the lock of the state folder.
///
/// A state folder that was moved to a machine of another name is another daemon: which of the two goes on is decided by the
/// lease.
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

/// An identity as people read it: without the number.
pub(super) fn shown(identity: &str) -> &str {
    match identity.rsplit_once(' ') {
        Some((place, number)) if Uuid::parse_str(number).is_ok() => place,
        _ => identity,
    }
}

fn number(state_dir: &Path) -> io::Result<Uuid> {
    let path = state_dir.join(FILE);
    match std::fs::read_to_string(&path) {
        // one that was cut off while it was written is drawn again
        Ok(text) => match Uuid::parse_str(text.trim()) {
            Ok(number) => Ok(number),
            Err(_) => draw(&path),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => draw(&path),
        Err(error) => Err(error),
    }
}

fn draw(path: &Path) -> io::Result<Uuid> {
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
