//! `files`: lists, reads, writes and appends under allowed folders. The operating system resolves each path
//! beneath its root and follows no link (openat2(2), `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`; without that
//! call, folder by folder), so a race between check and use can't lead out. Files of the daemon and its
//! agents are identified by device and inode, and are out of reach by any name.
mod beneath;
mod guarded;

use super::contract::{About, Call, ToolOutput};
use super::settings;
use crate::blocking;
use crate::domain::{
    Effect, FilesArgs, FilesOp, FilesSettings, ReadsWhen, ToolError, ToolKind, ToolSettings, shown_roots,
    size,
};
use beneath::open_beneath;
use guarded::Wall;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// Maximum number of entries in a list.
const MAX_ENTRIES: usize = 1000;

/// The text at a path beneath a folder, through no link, and whether it is all of it: it ends after `most` bytes.
///
/// # Errors
/// What the system says; it is no regular file.
pub fn read_beneath(root: &Path, path: &Path, most: usize) -> std::io::Result<(String, bool)> {
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, folder, Mode::empty())?;
    // opening a pipe would wait for a writer
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match open_beneath(&root, path, flags, Mode::empty()) {
        Err(Errno::LOOP | Errno::XDEV) => return Err(std::io::Error::other("it is a link, or behind one")),
        other => File::from(other?),
    };
    if !opened.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    opened.take(most as u64 + 1).read_to_end(&mut bytes)?;
    let is_whole = bytes.len() <= most;
    bytes.truncate(most);
    let text = String::from_utf8_lossy(&bytes);
    // the cut may be within a character
    let text = if is_whole { &text } else { text.trim_end_matches(char::REPLACEMENT_CHARACTER) };
    Ok((text.to_owned(), is_whole))
}

/// What an instance is; without settings: what it might be at the worst.
pub(super) fn about(settings: Option<&FilesSettings>) -> About {
    let writes = settings.is_none_or(|settings| settings.mode.writes());
    About {
        effect: if writes { Effect::Effect } else { Effect::Read },
        reads_when: writes.then(|| ReadsWhen {
            key: "op".into(),
            values: FilesOp::reads(),
            by_default: false,
        }),
        untrusted: true,
    }
}

/// Returns the absolute path of what exists, or may be created, at `path` beneath one of the roots; a
/// relative path is beneath the first one. At this moment, it does not lead through a link.
///
/// # Errors
/// A sentence that says why not.
pub(super) fn find_beneath(path: &str, roots: &[PathBuf]) -> Result<PathBuf, String> {
    let place = TargetPath::find(path, roots, Wall::none()).map_err(|error| error.to_string())?;
    let whole = place.folder.join(&place.inside);
    let (folder, Some(name)) = place.parent(false).map_err(|error| error.to_string())? else {
        return Ok(whole);
    };
    match rustix::fs::statat(&folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Symlink => {
            Err(place.refused(Errno::LOOP).to_string())
        }
        Ok(_) | Err(Errno::NOENT) => Ok(whole),
        Err(error) => Err(place.refused(error).to_string()),
    }
}

pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let ToolSettings::Files(Some(settings)) = &*call.settings else {
        return Err(settings::missing(ToolKind::Files.as_str()));
    };
    // One at a time, so that no appended text is lost.
    let place = format!("files:{}", shown_roots(&settings.roots, ":"));
    let args: FilesArgs = call.arguments()?;
    let (writes, settings) = (args.op.writes(), settings.clone());
    let given = blocking::one_at_a_time(&place, move || work(&args, &settings)).await;
    let panicked = |why| match writes {
        false => ToolError::Failed(why),
        true => ToolError::Unsure(format!("{why}; nobody knows whether the file was written")),
    };
    given.map_err(panicked)?.map(ToolOutput::of)
}

fn work(args: &FilesArgs, settings: &FilesSettings) -> Result<Value, ToolError> {
    let FilesArgs { op, path, text } = args;
    let most = size(settings.max_bytes);
    if op.writes() && !settings.mode.writes() {
        return Err(ToolError::Arguments(format!("`{op}` is not allowed: the tool is read-only")));
    }
    let place = TargetPath::find(path, &settings.roots, Wall::of(settings, op.writes()))?;
    let text = text.as_deref().unwrap_or_default();
    match op {
        FilesOp::List => list(&place),
        FilesOp::Read => read(&place, most),
        FilesOp::Write => write(&place, text, false, most),
        FilesOp::Append => write(&place, text, true, most),
    }
}

/// A path beneath an open root.
struct TargetPath {
    root: OwnedFd,
    folder: PathBuf,
    inside: PathBuf,
    wall: Wall,
}

impl TargetPath {
    fn find(path: &str, roots: &[PathBuf], wall: Wall) -> Result<Self, ToolError> {
        if path.contains('\0') || path.len() > 4000 {
            return Err(ToolError::Arguments("`path` has a NUL character, or is too long".into()));
        }
        let asked = Path::new(path);
        let outside = || {
            ToolError::Failed(format!("`{path}` is outside of what is allowed: {}", shown_roots(roots, ", ")))
        };
        let (folder, inside) = match asked.is_absolute() {
            true => roots
                .iter()
                .find_map(|root| Some((root.clone(), asked.strip_prefix(root).ok()?.to_owned())))
                .ok_or_else(outside)?,
            false => (roots.first().ok_or_else(outside)?.clone(), asked.to_owned()),
        };
        if inside.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(outside());
        }
        let inside: PathBuf = inside.components().filter(|part| *part != Component::CurDir).collect();
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&folder, flags, Mode::empty()).map_err(|error| {
            ToolError::Failed(format!("the folder {} can't be used: {error}", folder.display()))
        })?;
        let place = Self { root, folder, inside, wall };
        if place.wall.encloses(&place.root) || place.wall.has(&place.root) {
            return Err(place.guarded());
        }
        Ok(place)
    }

    fn shown(&self) -> String {
        self.folder.join(&self.inside).display().to_string()
    }

    fn guarded(&self) -> ToolError {
        let what = if self.wall.writes() { "never written by an agent" } else { "out of reach of agents" };
        ToolError::Failed(format!(
            "`{}` is {what}: it is of the daemon, its configuration or what that runs, or would run by its name",
            self.shown()
        ))
    }

    /// Opens the next component of the path in a folder, without following a link.
    fn step(&self, at: &OwnedFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        // openat2(2) accepts no other flags with O_PATH.
        let others =
            if flags == TRAVERSED_FLAGS { OFlags::empty() } else { OFlags::NONBLOCK | OFlags::NOCTTY };
        let flags = flags | OFlags::CLOEXEC | others;
        open_beneath(at, Path::new(name), flags, Mode::empty()).map_err(|error| {
            // For a link to a folder, the error would be ENOTDIR.
            let is_link =
                |about: rustix::fs::Stat| FileType::from_raw_mode(about.st_mode) == FileType::Symlink;
            let found = rustix::fs::statat(at, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
            if error == Errno::NOTDIR && found.is_ok_and(is_link) { Errno::LOOP } else { error }
        })
    }

    /// Returns the folder that contains the last component of the path, and that component; `None` for the
    /// root itself. Each folder is opened relative to the one before it, so that none can be exchanged for
    /// another, and none is guarded. `make`: missing folders are created.
    fn parent(&self, make: bool) -> Result<(OwnedFd, Option<&OsStr>), ToolError> {
        let mut names: Vec<&OsStr> = self.inside.iter().collect();
        let last = names.pop();
        let flags = if make { FOLDER_FLAGS } else { TRAVERSED_FLAGS };
        let mut folder =
            self.step(&self.root, OsStr::new("."), flags).map_err(|error| self.refused(error))?;
        for name in names {
            folder = self.folder_in(&folder, name, make)?;
        }
        Ok((folder, last))
    }

    fn folder_in(&self, at: &OwnedFd, name: &OsStr, make: bool) -> Result<OwnedFd, ToolError> {
        let refused = |error| self.refused(error);
        let opened = match self.step(at, name, if make { FOLDER_FLAGS } else { TRAVERSED_FLAGS }) {
            Err(Errno::NOENT) if make => {
                if self.wall.waits_for(at, name) {
                    return Err(self.guarded());
                }
                match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => {
                        let _ = rustix::fs::fsync(at);
                    }
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(refused(error)),
                }
                self.step(at, name, FOLDER_FLAGS)
            }
            other => other,
        };
        let opened = opened.map_err(refused)?;
        if self.wall.has(&opened) { Err(self.guarded()) } else { Ok(opened) }
    }

    /// Opens what exists, if it is not guarded.
    fn open(&self, flags: OFlags) -> Result<File, ToolError> {
        let (folder, name) = self.parent(false)?;
        let opened = self.step(&folder, name.unwrap_or(OsStr::new(".")), flags);
        let opened = opened.map_err(|error| self.refused(error))?;
        if self.wall.has(&opened) { Err(self.guarded()) } else { Ok(File::from(opened)) }
    }

    fn refused(&self, error: Errno) -> ToolError {
        let shown = self.shown();
        ToolError::Failed(match error {
            Errno::LOOP | Errno::XDEV => format!("`{shown}` leads through a link or out of its folder"),
            Errno::NOENT => format!("there is no `{shown}`"),
            other => format!("`{shown}`: {other}"),
        })
    }
}

/// How a folder is opened to be listed or changed.
const FOLDER_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY);
/// How a folder is opened that is only traversed, and need not be readable.
#[cfg(target_os = "linux")]
const TRAVERSED_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::PATH);
#[cfg(not(target_os = "linux"))]
const TRAVERSED_FLAGS: OFlags = FOLDER_FLAGS;

fn io_error(place: &TargetPath) -> impl Fn(std::io::Error) -> ToolError + '_ {
    |error| ToolError::Failed(format!("`{}`: {error}", place.shown()))
}

fn list(place: &TargetPath) -> Result<Value, ToolError> {
    let folder = place.open(FOLDER_FLAGS)?;
    let entries = rustix::fs::Dir::read_from(&folder).map_err(|error| place.refused(error))?;
    let mut found = Vec::new();
    let mut more = false;
    for entry in entries {
        let entry = entry.map_err(|error| place.refused(error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        if found.len() == MAX_ENTRIES {
            more = true;
            break;
        }
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&folder, entry.file_name(), flags).ok();
        let kind = match stat.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Some(FileType::RegularFile) => "file",
            Some(FileType::Directory) => "folder",
            Some(FileType::Symlink) => "link",
            _ => "other",
        };
        let modified = stat.as_ref().and_then(|stat| jiff::Timestamp::from_second(stat.st_mtime).ok());
        found.push(json!({
            "name": name, "kind": kind, "bytes": stat.as_ref().map(|stat| stat.st_size),
            "modified": modified.map(|at| at.to_string()),
        }));
    }
    found.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    Ok(json!({"path": place.shown(), "entries": found, "truncated": more}))
}

/// Returns the metadata of an opened file, if it is a regular file.
fn regular(place: &TargetPath, file: &File) -> Result<std::fs::Metadata, ToolError> {
    let about = file.metadata().map_err(io_error(place))?;
    match about.is_file() {
        true => Ok(about),
        false => Err(ToolError::Failed(format!("`{}` is not a regular file", place.shown()))),
    }
}

fn read(place: &TargetPath, most: usize) -> Result<Value, ToolError> {
    let file = place.open(OFlags::RDONLY)?;
    let about = regular(place, &file)?;
    let mut bytes = Vec::new();
    file.take(most as u64).read_to_end(&mut bytes).map_err(io_error(place))?;
    let truncated = about.len() > bytes.len() as u64;
    Ok(json!({
        "path": place.shown(), "text": String::from_utf8_lossy(&bytes), "bytes": about.len(), "truncated": truncated,
    }))
}

fn write(place: &TargetPath, text: &str, append: bool, most: usize) -> Result<Value, ToolError> {
    if text.len() > most {
        return Err(ToolError::Arguments(format!(
            "`text` has {} bytes, and {most} are the most",
            text.len()
        )));
    }
    if guarded::is_never_written(&place.folder, &place.inside) {
        return Err(place.guarded());
    }
    if place.inside.as_os_str().is_empty() {
        return Err(ToolError::Failed(format!("`{}` names no file", place.shown())));
    }
    let (folder, name) = place.parent(true)?;
    let name = name.unwrap_or_default();
    let mut before = Vec::new();
    let old = old(place, &folder, name)?;
    if let (Some((file, about)), true) = (&old, append) {
        if about.len() + text.len() as u64 > 16 << 20 {
            return Err(ToolError::Failed(format!("`{}` would grow past 16 MiB", place.shown())));
        }
        let mut file: &File = file;
        file.read_to_end(&mut before).map_err(io_error(place))?;
    }
    before.extend_from_slice(text.as_bytes());
    let fresh = format!(".{}.{}.new", name.to_string_lossy(), uuid::Uuid::now_v7().simple());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // A new file gets this mode, less the umask; a replacement is private until it has the attributes of the
    // old file.
    let mode = Mode::from_raw_mode(if old.is_some() { 0o600 } else { 0o644 });
    let file = rustix::fs::openat(&folder, &*fresh, flags, mode).map_err(|error| place.refused(error))?;
    let mut file = File::from(file);
    let put = |file: &mut File| -> std::io::Result<()> {
        file.write_all(&before)?;
        if let Some((old, about)) = &old {
            copy_owner_and_mode(file, old, about)?;
        }
        file.sync_all()
    };
    let written = put(&mut file).map_err(io_error(place)).and_then(|()| {
        rustix::fs::renameat(&folder, &*fresh, &folder, name).map_err(|error| place.refused(error))
    });
    if let Err(error) = written {
        let _ = rustix::fs::unlinkat(&folder, &*fresh, rustix::fs::AtFlags::empty());
        return Err(error);
    }
    let _ = rustix::fs::fsync(&folder);
    Ok(json!({"path": place.shown(), "bytes": before.len()}))
}

/// Opens the existing file, if any. It must be a regular file with a single name, not a link, and not
/// guarded.
fn old(
    place: &TargetPath,
    folder: &OwnedFd,
    name: &OsStr,
) -> Result<Option<(File, std::fs::Metadata)>, ToolError> {
    let file = match place.step(folder, name, OFlags::RDONLY) {
        Ok(file) if place.wall.has(&file) => return Err(place.guarded()),
        Ok(file) => File::from(file),
        Err(Errno::NOENT) if place.wall.waits_for(folder, name) => return Err(place.guarded()),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(place.refused(error)),
    };
    let about = regular(place, &file)?;
    if about.nlink() > 1 {
        return Err(ToolError::Failed(format!("`{}` is another file's second name", place.shown())));
    }
    Ok(Some((file, about)))
}

/// Gives a replacement the owner, attributes and mode of `old`, as far as the system permits. Nobody may have
/// more access than before.
fn copy_owner_and_mode(file: &File, old: &File, about: &std::fs::Metadata) -> std::io::Result<()> {
    use std::os::unix::fs::fchown;
    let now = file.metadata()?;
    if now.uid() != about.uid() {
        let _ = fchown(file, Some(about.uid()), None);
    }
    let same_group = now.gid() == about.gid() || fchown(file, None, Some(about.gid())).is_ok();
    let same_list = copy_attributes(file, old).is_ok();
    // Files written by an agent are not executable.
    let mut mode = about.mode() & 0o666;
    if !same_group || !same_list {
        // The group or the access list could not be kept: the group gets no more rights than others have.
        mode = (mode & 0o707) | (mode & ((mode & 0o007) << 3));
    }
    // Not through rustix, whose type of modes differs between systems.
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// Copies user attributes, and the access control list (acl(5)).
fn copy_attributes(file: &File, old: &File) -> Result<(), Errno> {
    const LIST: &str = "system.posix_acl_access";
    let mut names = vec![0; 64 << 10];
    let count = rustix::fs::flistxattr(old, &mut names[..]).unwrap_or(0);
    for name in names[..count].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
        if name != LIST && !name.starts_with("user.") {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let copied = rustix::fs::fgetxattr(old, name, &mut value[..]).and_then(|length| {
            rustix::fs::fsetxattr(file, name, &value[..length], rustix::fs::XattrFlags::empty())
        });
        if name == LIST {
            copied?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
