//! A view of the files of its own (mount_namespaces(7)), in which nothing can be changed but what may be written. Landlock knows
//! nothing of modes, owners, times and attributes: without that, a program changes them of each file of its user, wherever it lies.
//!
//! Not each machine lets its users make namespaces: where there is none to be had, the program runs without, and `docs/SECURITY.md`
//! says what it can do then.
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

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesView {
    /// It has one.
    Own,
    /// There is none to be had here.
    Shared,
    /// There is none to be had, and this process can't go on without: another one can.
    Spoilt,
}

/// Gives this process such a view. It must have one thread, and no walls yet.
///
/// # Errors
/// What could not be made unchangeable. The process must end.
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
    // nothing of this reaches those who share the machine's view
    if mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).is_err() {
        return Ok(FilesView::Shared);
    }
    // taken out before the rest is made unchangeable
    let Ok(open) = writable(walls) else { return Ok(FilesView::Shared) };
    let all = mounted().map_err(|error| NotConfined(format!("what is mounted can't be read: {error}")))?;
    let mut is_changed = false;
    for (place, flags) in mounts(&all) {
        match mount_remount(&place, flags | MountFlags::BIND | MountFlags::RDONLY, c"") {
            Ok(()) => is_changed = true,
            // another one lies over it, or this user can't get there
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
    // where this process is, it is still beneath what was put over it
    if let Ok(cwd) = std::env::current_dir() {
        std::env::set_current_dir(&cwd)
            .map_err(|error| NotConfined(format!("`{}` can't be entered again: {error}", cwd.display())))?;
    }
    Ok(FilesView::Own)
}

/// `/proc/self/mountinfo`. The file has no size, and a reader that does not know one begins with a few bytes.
fn mounted() -> std::io::Result<Vec<u8>> {
    let mut all = Vec::with_capacity(1 << 14);
    std::fs::File::open("/proc/self/mountinfo")?.read_to_end(&mut all)?;
    Ok(all)
}

/// What may be written, each with what is mounted there.
fn writable(walls: &Walls) -> rustix::io::Result<Vec<(&Path, OwnedFd)>> {
    let writes =
        |(access, path): &'_ &(Access, PathBuf)| *access == Access::Write && !path.as_os_str().is_empty();
    let mut paths: Vec<&Path> = walls.paths.iter().filter(writes).map(|(_, path)| path.as_path()).collect();
    paths.sort_unstable();
    // what lies within another one stays a part of it: files are moved between both
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

/// What is mounted, and how, by /proc/self/mountinfo (proc_pid_mountinfo(5)). What is mounted when somebody comes is left out: to
/// name it mounts it.
fn mounts(all: &[u8]) -> Vec<(PathBuf, MountFlags)> {
    let one = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == b' ');
        let (place, options) = (words.nth(4)?, words.next()?);
        let kind = words.skip_while(|word| *word != b"-").nth(1)?;
        (kind != b"autofs").then(|| (PathBuf::from(OsString::from_vec(plain(place))), flags(options)))
    };
    let mut seen = std::collections::HashSet::new();
    // of several at one place, the last one lies on top: it is the one that a path leads to
    let mut on_top: Vec<(PathBuf, MountFlags)> = all
        .split(|byte| *byte == b'\n')
        .rev()
        .filter_map(one)
        .filter(|(place, _)| seen.insert(place.clone()))
        .collect();
    on_top.reverse();
    on_top
}

/// All that a mount has must be said again, or it would be taken from it, which a namespace of users may not (mount_namespaces(7)).
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

/// A path of that file: blanks and the like stand there as octal numbers.
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
