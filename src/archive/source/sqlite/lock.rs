//! The id in the lock file.
use crate::archive::object::fresh_id;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Maximum number of bytes read of an id.
pub(super) const MOST_BYTES: u64 = 200;

/// Returns the id in a lock file that is held; creates one if there is none.
pub(super) fn database_id(file: &mut File, path: &Path) -> io::Result<String> {
    let mut text = String::new();
    Read::by_ref(file).take(MOST_BYTES).read_to_string(&mut text)?;
    if text.trim().is_empty() {
        text = fresh_id();
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    }
    Ok(text.trim().to_owned())
}
