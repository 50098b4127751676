//! A line of JSON appended to a file.
use super::message::{Message, SendError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

pub(super) async fn send(path: &Path, message: &Message) -> Result<(), SendError> {
    let path = path.to_owned();
    let shown = path.display().to_string();
    let line = message.to_json().to_string();
    match tokio::task::spawn_blocking(move || append(&path, &line)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(cause)) => Err(SendError::passing(format!("can't write to {shown}: {cause}"))),
        Err(_) => Err(SendError::passing(format!("writing to {shown} broke off"))),
    }
}

/// Appends a line and syncs it to disk. If an earlier crash cut off a line, the new one still begins on a line of its own.
fn append(path: &Path, line: &str) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = std::fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::with_capacity(line.len() + 2);
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push('\n');
        }
    }
    text.push_str(line);
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
