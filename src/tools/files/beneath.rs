//! Opens a path that can't lead out of a folder, nor through a link.
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

/// Opens `path`, which has no `..`, beneath `root`: by openat2(2) if available, else step by step.
///
/// # Errors
/// `LOOP` if a link is in the path, `XDEV` if it leads out, or what open(2) says.
pub(super) fn open_beneath(root: &OwnedFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    match by_openat2(root, path, flags, mode) {
        // Older container runtimes refuse unknown system calls with EPERM.
        Err(Errno::NOSYS | Errno::PERM) => by_steps(root.as_fd(), path, flags, mode),
        answer => answer,
    }
}

#[cfg(target_os = "linux")]
fn by_openat2(root: &OwnedFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::NOFOLLOW, mode, resolve)
}

#[cfg(not(target_os = "linux"))]
fn by_openat2(_: &OwnedFd, _: &Path, _: OFlags, _: Mode) -> Result<OwnedFd> {
    Err(Errno::NOSYS)
}

/// Opens one folder at a time, each relative to the one before it and without following links. Concurrent
/// renames and links can't lead elsewhere, since no step resolves the path so far again.
fn by_steps(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return Err(Errno::XDEV),
        }
    }
    let Some((last, folders)) = names.split_last() else {
        return rustix::fs::openat(root, ".", flags | OFlags::NOFOLLOW, mode);
    };
    let passing = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder: Option<OwnedFd> = None;
    for name in folders {
        let at = folder.as_ref().map_or(root, OwnedFd::as_fd);
        folder = Some(step(at, name, passing, Mode::empty())?);
    }
    step(folder.as_ref().map_or(root, OwnedFd::as_fd), last, flags, mode)
}

fn step(at: BorrowedFd<'_>, name: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW, mode).map_err(|error| {
        // ENOTDIR is also returned for a link, and some systems have their own error for one.
        let is_link = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|about| FileType::from_raw_mode(about.st_mode) == FileType::Symlink);
        if is_link { Errno::LOOP } else { error }
    })
}

#[cfg(test)]
mod tests {
    //! Both implementations must agree on every path.
    use super::*;
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn read(opened: Result<OwnedFd>) -> std::result::Result<String, Errno> {
        let mut text = String::new();
        // A folder can be opened, not read.
        let read = File::from(opened?).read_to_string(&mut text);
        Ok(read.map_or("folder".into(), |_| text))
    }

    #[test]
    fn no_way_leads_through_a_link_or_out() {
        let all = tempfile::tempdir().unwrap();
        let root = all.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "inside").unwrap();
        fs::write(all.path().join("secret"), "outside").unwrap();
        fs::create_dir(all.path().join("other")).unwrap();
        fs::write(all.path().join("other/file"), "outside").unwrap();
        symlink(all.path().join("secret"), root.join("link")).unwrap();
        symlink("../../secret", root.join("a/relative")).unwrap();
        symlink(all.path().join("other"), root.join("a/folder")).unwrap();
        symlink("b", root.join("a/harmless")).unwrap();
        let opened = OwnedFd::from(File::open(&root).unwrap());
        let cases: [(&str, std::result::Result<&str, Errno>); 13] = [
            ("a/b/file", Ok("inside")),
            ("./a/./b//file", Ok("inside")),
            (".", Ok("folder")),
            ("a/b", Ok("folder")),
            ("link", Err(Errno::LOOP)),
            ("a/relative", Err(Errno::LOOP)),
            ("a/folder", Err(Errno::LOOP)),
            ("a/folder/file", Err(Errno::LOOP)),
            ("a/harmless/file", Err(Errno::LOOP)),
            ("../secret", Err(Errno::XDEV)),
            ("a/../../secret", Err(Errno::XDEV)),
            ("a/none", Err(Errno::NOENT)),
            ("a/b/file/more", Err(Errno::NOTDIR)),
        ];
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        for (path, wanted) in cases {
            let path = Path::new(path);
            let stepped = read(by_steps(opened.as_fd(), path, flags, Mode::empty()));
            assert_eq!(stepped.as_deref().map_err(|error| *error), wanted, "by steps: {}", path.display());
            let either = read(open_beneath(&opened, path, flags, Mode::empty()));
            assert_eq!(either.as_deref().map_err(|error| *error), wanted, "{}", path.display());
        }
        let absolute = by_steps(opened.as_fd(), &all.path().join("secret"), flags, Mode::empty());
        assert_eq!(absolute.unwrap_err(), Errno::XDEV);
    }
}
