//! The id in the file of the lock.
use crate::archive::object::fresh_id;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Most bytes of an id that are read.
pub(super) const MOST_BYTES: u64 = 200;

/// The id in the file of a lock that is held; made where there is none.
pub(super) fn of_lock(file: &mut File, path: &Path) -> io::Result<String> {
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
