//! A bundle made by a program: copied to where the program can't change it, and its header read.
use super::git::SAID;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Maximum size of a bundle.
pub(super) const MOST_BUNDLE: u64 = 1 << 30;
/// Maximum size of a bundle's header, which names its branches.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Signatures of the bundle formats (gitformat-bundle(5)).
const SIGNATURES: [&str; 2] = ["# v2 git bundle\n", "# v3 git bundle\n"];

/// The references of a bundle, as given by the program: commit and name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) all: Vec<(String, String)>,
    pub(super) is_cut: bool,
}

/// Copies the pack of the bundle to where the program can't change it. `None`: there is no bundle.
pub(super) fn take_bundle(from: &Path, to: &Path, most: u64) -> std::io::Result<Option<Heads>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let refuse =
        |what: &str| Err(std::io::Error::other(format!("in the place of its bundle there is {what}")));
    let found = file.metadata()?;
    if !found.is_file() {
        return refuse("something that is not a file");
    }
    if found.len() > most {
        return refuse(&format!("one of {} MiB, and at most {} are read", found.len() >> 20, most >> 20));
    }
    let mut bundle = BufReader::new(file.take(most));
    let heads = match heads_of((&mut bundle).take(MAX_HEADER_BYTES))? {
        Ok(heads) => heads,
        Err(what) => return refuse(what),
    };
    let mut copy = File::create(to)?;
    std::io::copy(&mut bundle, &mut copy)?;
    Ok(Some(heads))
}

/// Reads the header of a bundle, up to its pack. The inner error describes what there is instead.
fn heads_of(mut bundle: impl BufRead) -> std::io::Result<Result<Heads, &'static str>> {
    let mut line = Vec::new();
    (&mut bundle).take(64).read_until(b'\n', &mut line)?;
    if !SIGNATURES.iter().any(|known| line == known.as_bytes()) {
        return Ok(Err("something that is not a bundle"));
    }
    let (mut heads, mut kept) = (Heads::default(), 0);
    loop {
        line.clear();
        bundle.read_until(b'\n', &mut line)?;
        let Some(whole) = line.strip_suffix(b"\n") else { return Ok(Err("a part of a bundle")) };
        let text = String::from_utf8_lossy(whole);
        match text.as_bytes().first() {
            None => return Ok(Ok(heads)),
            // prerequisites: whether the repository has them is checked when everything is unpacked
            Some(b'-') => continue,
            Some(b'@') if text.starts_with("@object-format=") => continue,
            Some(b'@') => return Ok(Err("a bundle of a kind that is not read")),
            Some(_) => {}
        }
        let is_commit =
            |word: &str| matches!(word.len(), 40 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some((commit, name)) = text.split_once(' ').filter(|(commit, _)| is_commit(commit)) else {
            return Ok(Err("a bundle that can't be read"));
        };
        kept += text.len();
        if kept > SAID {
            heads.is_cut = true;
        } else {
            heads.all.push((commit.to_owned(), name.to_owned()));
        }
    }
}
