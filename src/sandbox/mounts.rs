//! A private mount namespace (mount_namespaces(7)) in which everything is read-only except what may be written. Landlock does
//! not cover modes, owners, times and attributes: without this, a program can change them for all files of its user.
//!
//! Not every machine lets users create namespaces: where it does not, the program runs without, and `docs/SECURITY.md`
//! describes what it can do then.
use super::network::{self, unshare};
use super::walls::{Access, NotConfined, Walls};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, mount_remount,
    move_mount, open_tree,
};
use rustix::thread::UnshareFlags;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Whether the process got a private namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesView {
    /// The process has a private namespace.
    Own,
    /// Not available here.
    Shared,
    /// Not available, and this process can't continue without: a new one can.
    Spoilt,
}

/// Enters such a namespace. The process must have one thread, and must not be confined yet.
///
/// # Errors
/// What could not be made read-only. The process must exit.
pub fn close(walls: &Walls) -> Result<FilesView, NotConfined> {
    let own = network::own_ids();
    match unshare(UnshareFlags::NEWNS) {
        Ok(()) => {}
        Err(Errno::PERM) if walls.network.is_none() => {
            if unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).is_err() {
                return Ok(FilesView::Shared);
            }
            if network::map_itself(own).is_err() {
                return Ok(FilesView::Spoilt);
            }
        }
        Err(_) => return Ok(FilesView::Shared),
    }
    // keeps changes out of the machine's namespace
    if mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).is_err() {
        return Ok(FilesView::Shared);
    }
    // opened before the rest is made read-only
    let Ok(open) = writable(walls) else { return Ok(FilesView::Shared) };
    let all =
        read_mountinfo().map_err(|error| NotConfined(format!("what is mounted can't be read: {error}")))?;
    let mut is_changed = false;
    for (place, flags) in mounts(&all) {
        match mount_remount(&place, flags | MountFlags::BIND | MountFlags::RDONLY, c"") {
            Ok(()) => is_changed = true,
            // another one hides it, or this user has no access
            Err(Errno::INVAL | Errno::ACCESS | Errno::NOENT | Errno::NOTDIR) => {}
            Err(_) if !is_changed => return Ok(FilesView::Shared),
            Err(error) => {
                return Err(NotConfined(format!(
                    "`{}` can't be made unchangeable: {error}",
                    place.display()
                )));
            }
        }
    }
    for (path, tree) in open {
        move_mount(&tree, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|error| NotConfined(format!("`{}` can't be left writable: {error}", path.display())))?;
    }
    // the current directory still refers to what is below the new mount
    if let Ok(cwd) = std::env::current_dir() {
        std::env::set_current_dir(&cwd)
            .map_err(|error| NotConfined(format!("`{}` can't be entered again: {error}", cwd.display())))?;
    }
    Ok(FilesView::Own)
}

/// Reads `/proc/self/mountinfo`. The file has no size, and a reader without a size hint begins with a few bytes.
fn read_mountinfo() -> std::io::Result<Vec<u8>> {
    let mut all = Vec::with_capacity(1 << 14);
    std::fs::File::open("/proc/self/mountinfo")?.read_to_end(&mut all)?;
    Ok(all)
}

/// Returns the writable paths, each with its mount.
fn writable(walls: &Walls) -> rustix::io::Result<Vec<(&Path, OwnedFd)>> {
    let writes =
        |(access, path): &'_ &(Access, PathBuf)| *access == Access::Write && !path.as_os_str().is_empty();
    let mut paths: Vec<&Path> = walls.paths.iter().filter(writes).map(|(_, path)| path.as_path()).collect();
    paths.sort_unstable();
    // paths within another one stay part of it, so that files can be moved between both
    let mut last: Option<&Path> = None;
    paths.retain(|path| {
        let is_within = last.is_some_and(|last| path.starts_with(last));
        if !is_within {
            last = Some(path);
        }
        !is_within
    });
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    paths.into_iter().map(|path| Ok((path, open_tree(CWD, path, flags)?))).collect()
}

/// Returns mounts and their flags, from /proc/self/mountinfo (proc_pid_mountinfo(5)). Automounts are skipped: accessing them
/// would mount them.
fn mounts(all: &[u8]) -> Vec<(PathBuf, MountFlags)> {
    let one = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == b' ');
        let (place, options) = (words.nth(4)?, words.next()?);
        let kind = words.skip_while(|word| *word != b"-").nth(1)?;
        (kind != b"autofs").then(|| (PathBuf::from(OsString::from_vec(plain(place))), flags(options)))
    };
    let mut seen = std::collections::HashSet::new();
    // of several mounts at one path, the last one is on top: it is the one that the path leads to
    let mut on_top: Vec<(PathBuf, MountFlags)> = all
        .split(|byte| *byte == b'\n')
        .rev()
        .filter_map(one)
        .filter(|(place, _)| seen.insert(place.clone()))
        .collect();
    on_top.reverse();
    on_top
}

/// Returns the flags of a mount. All must be repeated, or they would be cleared, which a user namespace may not do
/// (mount_namespaces(7)).
fn flags(options: &[u8]) -> MountFlags {
    let mut flags = MountFlags::empty();
    let mut says_times = false;
    for option in options.split(|byte| *byte == b',') {
        flags |= match option {
            b"nosuid" => MountFlags::NOSUID,
            b"nodev" => MountFlags::NODEV,
            b"noexec" => MountFlags::NOEXEC,
            b"nodiratime" => MountFlags::NODIRATIME,
            b"noatime" => MountFlags::NOATIME,
            b"relatime" => MountFlags::RELATIME,
            b"nosymfollow" => MountFlags::NOSYMFOLLOW,
            _ => MountFlags::empty(),
        };
        says_times |= matches!(option, b"noatime" | b"relatime");
    }
    if says_times { flags } else { flags | MountFlags::STRICTATIME }
}

/// Unescapes a path of that file: spaces and the like are octal numbers.
fn plain(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, others)) = rest.split_first() {
        let number = others
            .get(..3)
            .filter(|digits| *first == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match number {
            Some(digits) => {
                out.push(
                    digits.iter().fold(0u8, |sum, digit| sum.wrapping_mul(8).wrapping_add(digit - b'0')),
                );
                rest = &others[3..];
            }
            None => {
                out.push(*first);
                rest = others;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    //! Tests of what is read of mounts. That nothing can be changed is tried with real programs in `child::tests`.
    use super::*;

    #[test]
    fn what_is_mounted_and_how_is_read() {
        let text = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            22 21 0:5 /a /with\\040blank rw,nosuid,nodev,noexec,noatime - tmpfs tmpfs rw,size=1k\n\
            23 21 0:6 / /strict ro,nosymfollow - proc proc rw\n\
            24 21 0:7 / /net rw,relatime - autofs systemd-1 rw\n\
            25 22 0:8 / /strict rw,noexec,relatime - proc proc rw\n";
        let hard = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
        assert_eq!(
            mounts(text),
            [
                ("/".into(), MountFlags::RELATIME),
                ("/with blank".into(), hard),
                // what lies on top
                ("/strict".into(), MountFlags::NOEXEC | MountFlags::RELATIME),
            ]
        );
    }
}
