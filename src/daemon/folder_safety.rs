//! Checks the ancestors of a folder: a user who may rename one of them can replace it.
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder whose contents other users can replace.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", .path.display())]
pub(super) struct UnsafeFolder {
    pub(super) path: PathBuf,
    /// Why, and what to do.
    pub(super) what: String,
}

/// Refuses a folder if it, or one of its ancestors, belongs to a user other than us and root, or is
/// writable by others. A sticky folder such as `/tmp` protects our files in it. Folders that don't
/// exist yet will be ours.
///
/// # Errors
/// Names the folder, and says what to do.
pub(super) fn judge(folder: &Path) -> Result<(), UnsafeFolder> {
    let me = rustix::process::geteuid().as_raw();
    let real = folder.ancestors().find_map(|path| std::fs::canonicalize(path).ok());
    for path in folder.ancestors().chain(real.iter().flat_map(|real| real.ancestors())) {
        let refuse = |what| Err(UnsafeFolder { path: path.to_owned(), what });
        let Ok(itself) = std::fs::symlink_metadata(path) else { continue };
        if itself.is_symlink() && !is_trusted(itself.uid(), me) {
            return refuse(format!(
                "it is a link that belongs to user {}: name another folder",
                itself.uid()
            ));
        }
        let Ok(found) = std::fs::metadata(path) else { continue };
        if found.is_dir()
            && let Some(what) = weakness(&found, path, me)
        {
            return refuse(what);
        }
    }
    Ok(())
}

/// Returns why the contents of this folder can't be trusted.
fn weakness(found: &Metadata, path: &Path, me: u32) -> Option<String> {
    const STICKY: u32 = 0o1000;
    if !is_trusted(found.uid(), me) {
        return Some(format!(
            "it belongs to user {}, who could put something else in the place of what is in it: name a folder that \
             stands in your own",
            found.uid()
        ));
    }
    let mode = found.mode();
    if mode & STICKY != 0 {
        return None;
    }
    // Many systems give each user a group of their own, with the same number as the user.
    let egid = rustix::process::getegid().as_raw();
    let group_is_ours = found.gid() == 0 || (found.gid() == egid && egid == me);
    let open = if group_is_ours { mode & 0o002 } else { mode & 0o022 };
    (open != 0).then(|| {
        format!(
            "others may write to it (mode {:o}), and put something else in the place of what is in it: run `chmod go-w {}`",
            mode & 0o7777,
            path.display()
        )
    })
}

fn is_trusted(user: u32, me: u32) -> bool {
    user == me || user == 0 || (user == overflow() && !has_all_users())
}

/// Returns the user id that the kernel reports for unmapped users, as in a container.
fn overflow() -> u32 {
    let text = std::fs::read_to_string(PathBuf::from("/proc/sys/kernel/overflowuid"));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(65534)
}

/// Returns whether all users of the machine are mapped here (user_namespaces(7)).
fn has_all_users() -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else { return true };
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[test]
    fn a_folder_stands_on_its_parents() {
        let all = tempfile::tempdir().expect("a folder");
        let top = all.path().canonicalize().expect("it is there").join("top");
        std::fs::create_dir_all(top.join("mine")).expect("folders");
        let set =
            |mode| std::fs::set_permissions(&top, std::fs::Permissions::from_mode(mode)).expect("a mode");
        let says = |path: &str| judge(&top.join(path)).map_err(|error| error.to_string());
        for fine in [0o755, 0o700, 0o1777] {
            set(fine);
            assert_eq!(says("mine"), Ok(()), "{fine:o}");
            assert_eq!(says("mine/later/still"), Ok(()), "{fine:o}");
        }
        set(0o777);
        for path in ["mine", "later", "mine/later"] {
            assert!(says(path).unwrap_err().contains("chmod go-w"), "{path}");
        }
        set(0o755);
        symlink(top.join("mine"), top.join("link")).expect("a link");
        assert_eq!(says("link/state"), Ok(()));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(top.join("link"), Some(65533), None).expect("root may");
            assert!(says("link/state").unwrap_err().contains("a link that belongs to user 65533"));
            chown(&top, Some(65533), None).expect("root may");
            assert!(says("mine").unwrap_err().contains("belongs to user 65533"));
            chown(&top, None, Some(65533)).expect("root may");
        }
    }
}
