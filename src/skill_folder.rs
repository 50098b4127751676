//! The folder of a skill: read whole, within bounds, and known by what is in it. A room of its own, since the configuration and runs
//! read it.
use crate::domain::{SKILL_FILE, SkillHead, counted, hex};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Most files of a skill.
const MOST_FILES: usize = 200;
/// Largest `SKILL.md`, in bytes: a model reads it whole.
const LARGEST_TEXT: usize = 64 << 10;
/// Most of all its files, in bytes.
const MOST_BYTES: usize = 2 << 20;
/// Folders within folders.
const DEEPEST: usize = 8;

/// A file of a skill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillFile {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// It may be run.
    pub runs: bool,
}

/// What is in the folder of a skill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillFolder {
    /// What its `SKILL.md` says of it.
    pub head: SkillHead,
    /// Its files by their paths in it, with `/`.
    pub files: BTreeMap<String, SkillFile>,
}

impl SkillFolder {
    /// Reads it. It has files and folders only: what a link leads to could be another thing tomorrow, under the same hash.
    ///
    /// # Errors
    /// What is wrong with it, as half a sentence about the folder.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        let mut left = MOST_BYTES;
        let mut folders = vec![(folder.to_owned(), String::new(), 0)];
        while let Some((at, prefix, depth)) = folders.pop() {
            let entries = std::fs::read_dir(&at).map_err(|error| match prefix.is_empty() {
                true => format!("can't be read: {error}"),
                false => format!("has `{prefix}`, which can't be read: {error}"),
            })?;
            for entry in entries {
                let entry = entry.map_err(|error| format!("can't be read: {error}"))?;
                let name = entry.file_name().into_string();
                let name = name.map_err(|name| format!("has a file whose name is not UTF-8: {name:?}"))?;
                let path = format!("{prefix}{name}");
                let unread = |error: std::io::Error| format!("has `{path}`, which can't be read: {error}");
                let kind = entry.file_type().map_err(unread)?;
                if kind.is_dir() {
                    if depth == DEEPEST {
                        return Err(format!("has more than {DEEPEST} folders within folders: `{path}`"));
                    }
                    folders.push((entry.path(), format!("{path}/"), depth + 1));
                    continue;
                }
                if !kind.is_file() {
                    return Err(format!(
                        "has `{path}`, which is a link or no regular file; put a copy there"
                    ));
                }
                let file = file(&entry.path(), left).map_err(unread)?;
                left = left.checked_sub(file.bytes.len()).ok_or_else(|| {
                    format!("has more than {} MiB of files; keep data elsewhere", MOST_BYTES >> 20)
                })?;
                files.insert(path, file);
                if files.len() > MOST_FILES {
                    return Err(format!(
                        "has more than {}; keep data elsewhere",
                        counted(MOST_FILES, "file")
                    ));
                }
            }
        }
        Ok(Self { head: head(&files)?, files })
    }

    /// SHA-256 over names, modes and content of all its files, in hex.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for (path, file) in &self.files {
            for part in [path.as_bytes(), if file.runs { b"x" } else { b"-" }, &file.bytes] {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        }
        hex(&digest.finalize())
    }
}

fn head(files: &BTreeMap<String, SkillFile>) -> Result<SkillHead, String> {
    let file = files.get(SKILL_FILE).ok_or_else(|| format!("has no `{SKILL_FILE}`"))?;
    if file.bytes.len() > LARGEST_TEXT {
        let most = LARGEST_TEXT >> 10;
        return Err(format!(
            "has a `{SKILL_FILE}` of more than {most} KiB; put parts of it into files beside it"
        ));
    }
    let text =
        std::str::from_utf8(&file.bytes).map_err(|_| format!("has a `{SKILL_FILE}` that is not UTF-8"))?;
    SkillHead::parse(text).map_err(|why| format!("has a `{SKILL_FILE}` that is none: {why}"))
}

/// A file, or a byte more than may be.
fn file(path: &PathBuf, most: usize) -> std::io::Result<SkillFile> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(SkillFile { bytes, runs: about.permissions().mode() & 0o100 != 0 })
}

#[cfg(test)]
mod tests {
    //! Tests of what is read, and that each change is seen.
    use super::*;
    use std::fs;

    const TEXT: &str = "---\nname: triage\ndescription: Sorts issues.\n---\nBody\n";

    fn skill() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("scripts")).unwrap();
        fs::write(folder.path().join("SKILL.md"), TEXT).unwrap();
        fs::write(folder.path().join("scripts/sort.sh"), "sort\n").unwrap();
        folder
    }

    #[test]
    fn each_change_has_another_digest() {
        let folder = skill();
        let digest = || SkillFolder::read(folder.path()).unwrap().digest();
        let script = folder.path().join("scripts/sort.sh");
        let mut seen = vec![digest()];
        let mut is_new = |digest: String| {
            assert!(!seen.contains(&digest), "{seen:?}");
            seen.push(digest);
        };
        fs::write(&script, "sort -r\n").unwrap();
        is_new(digest());
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        is_new(digest());
        fs::rename(&script, folder.path().join("scripts/other.sh")).unwrap();
        is_new(digest());
        fs::write(folder.path().join("more.md"), "").unwrap();
        is_new(digest());
        let read = SkillFolder::read(folder.path()).unwrap();
        assert_eq!(read.head.name, "triage");
        assert_eq!(read.files.keys().collect::<Vec<_>>(), ["SKILL.md", "more.md", "scripts/other.sh"]);
    }

    #[test]
    fn what_can_not_be_one_says_why() {
        let folder = skill();
        let why = || SkillFolder::read(folder.path()).unwrap_err();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        assert!(why().contains("`link`, which is a link"), "{}", why());
        fs::remove_file(folder.path().join("link")).unwrap();
        fs::write(folder.path().join("data"), vec![0; MOST_BYTES]).unwrap();
        assert!(why().contains("more than 2 MiB"), "{}", why());
        fs::remove_file(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("SKILL.md"), format!("{TEXT}{}", "x".repeat(LARGEST_TEXT))).unwrap();
        assert!(why().contains("more than 64 KiB"), "{}", why());
        fs::write(folder.path().join("SKILL.md"), "# Triage").unwrap();
        assert!(why().contains("does not begin with front matter"), "{}", why());
        fs::remove_file(folder.path().join("SKILL.md")).unwrap();
        assert_eq!(why(), "has no `SKILL.md`");
        assert!(SkillFolder::read(&folder.path().join("none")).unwrap_err().starts_with("can't be read"));
    }
}
