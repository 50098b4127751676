//! Removes a folder that a program has filled, whatever is in it: restrictive modes, deeply nested folders, links. Links are
//! not followed, and memory use does not depend on the depth.
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes a folder. It is no error if it does not exist.
///
/// # Errors
/// The error of the system about what can't be removed.
pub(super) fn remove_folder(folder: &Path) -> io::Result<()> {
    let top = match open_writable(CWD, folder) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let mut moved = 0;
    while empty_once(&top, &mut moved)? {}
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes one pass over a folder: removes files and empty folders, and moves the content of other folders up here, so that the
/// next pass finds it. Returns false if nothing is left.
fn empty_once(top: &OwnedFd, moved: &mut u64) -> rustix::io::Result<bool> {
    let (mut found, mut changed, mut why) = (false, false, None);
    for name in names(top)? {
        found = true;
        let gone = unlink(top.as_fd(), &name).or_else(|_| {
            let folder = open_writable(top, name.as_c_str())?;
            for inner in names(&folder)? {
                if unlink(folder.as_fd(), &inner).is_err() {
                    // it can't be moved unless it is writable
                    drop(open_writable(&folder, inner.as_c_str())?);
                    move_up(folder.as_fd(), &inner, top.as_fd(), moved)?;
                }
                changed = true;
            }
            unlinkat(top, name.as_c_str(), AtFlags::REMOVEDIR)
        });
        match gone {
            Ok(()) => changed = true,
            Err(error) => why = Some(error),
        }
    }
    match why {
        Some(error) if !changed => Err(error),
        _ => Ok(found),
    }
}

/// Moves a folder into another one, with the first free name.
fn move_up(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, moved: &mut u64) -> rustix::io::Result<()> {
    loop {
        *moved += 1;
        match renameat(from, name, to, format!(".removed-{moved}")) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            other => return other,
        }
    }
}

/// Removes what is not a folder.
fn unlink(folder: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    unlinkat(folder, name, AtFlags::empty())
}

fn names(folder: &OwnedFd) -> rustix::io::Result<Vec<std::ffi::CString>> {
    /// Maximum entries at a time: the next pass sees the others.
    const MAX_ENTRIES: usize = 10_000;
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)?.take(MAX_ENTRIES) {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

/// Opens a folder that belongs to this user, after making it accessible and writable.
fn open_writable(at: impl AsFd, name: impl rustix::path::Arg + Copy) -> rustix::io::Result<OwnedFd> {
    let folder = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    #[cfg(target_os = "linux")]
    {
        // changes the mode of what was opened, whatever has this name by now
        let handle = openat(at.as_fd(), name, folder | OFlags::PATH, Mode::empty())?;
        let place = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let _ = std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o700));
    }
    openat(at.as_fd(), name, folder | OFlags::RDONLY, Mode::empty())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    //! As somebody for whom modes count, which they do not for root.
    use super::*;
    use std::fs;

    fn without_privilege<T: Send>(act: impl FnOnce() -> T + Send) -> T {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let ours = || {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
            set_capabilities(None, sets).unwrap();
            act()
        };
        std::thread::scope(|scope| scope.spawn(ours).join().unwrap())
    }

    #[test]
    fn modes_hold_nothing_up_and_links_lead_nowhere() {
        let all = tempfile::tempdir().unwrap();
        let (folder, other) = (all.path().join("private"), all.path().join("other"));
        fs::create_dir_all(folder.join("a/b/c")).unwrap();
        fs::create_dir(&other).unwrap();
        for file in ["private/a/b/c/file", "private/a/file", "other/kept"] {
            fs::write(all.path().join(file), "x").unwrap();
        }
        for place in ["link", "a/link", "a/b/c/link"] {
            std::os::unix::fs::symlink(&other, folder.join(place)).unwrap();
        }
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for place in ["a/b/c", "a/b", "a", ""] {
            mode(&folder.join(place), 0);
        }
        mode(&other, 0o755);
        without_privilege(|| {
            assert!(fs::remove_dir_all(&folder).is_err(), "modes count for whoever this runs as");
            remove_folder(&folder).unwrap();
            remove_folder(&folder).unwrap();
        });
        assert!(!folder.exists());
        assert_eq!(fs::read(other.join("kept")).unwrap(), b"x");
        assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn depth_and_names_that_are_taken_hold_nothing_up() {
        let all = tempfile::tempdir().unwrap();
        let folder = all.path().join("private");
        fs::create_dir_all(folder.join(".removed-1/x")).unwrap();
        fs::write(folder.join(".removed-2"), "x").unwrap();
        // deeper than a path can be long
        let mut at = openat(CWD, &folder, OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "deep", Mode::RWXU).unwrap();
            at = openat(&at, "deep", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        drop(at);
        remove_folder(&folder).unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn what_can_not_be_removed_is_said() {
        let all = tempfile::tempdir().unwrap();
        fs::write(all.path().join("file"), "x").unwrap();
        assert!(remove_folder(&all.path().join("file")).is_err());
        assert!(remove_folder(&all.path().join("nothing")).is_ok());
    }
}
