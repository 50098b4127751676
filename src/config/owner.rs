//! Checks who may have written a configuration. It runs commands, so anyone who can write it, or replace it
//! by another file, can do what the daemon can: the file, its folder and all folders above must belong to the
//! user who reads it or to root, and must not be writable by anybody else.
use super::way::Way;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why a file is not read: others can write it, or a folder or link on its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotOurs {
    /// Which path, its owner, and its mode.
    pub(super) what: String,
    /// The command that fixes it.
    pub(super) hint: String,
}

/// Why a file could not be opened.
pub(super) enum OpenError {
    Io(std::io::Error),
    NotOurs(NotOurs),
}

/// Opens a file that nobody else can have written. Folders are checked first, and the file by its open
/// descriptor: once the folders are known to be ours, nobody can replace the file.
pub(super) fn open(path: &Path) -> Result<File, OpenError> {
    let reader = ConfigReader::runs_this();
    let way = Way::to(path);
    let own_folder = way.end.parent();
    let judged = |path: &Path, part: Part, found: &Metadata| {
        reader.fault(path, part, found.uid(), found.gid(), found.mode()).map_or(Ok(()), |fault| {
            // What nobody can write, others can't write either.
            if is_read_only(path) && !fault.is_owner { Ok(()) } else { Err(OpenError::NotOurs(fault.why)) }
        })
    };
    let is_there = |path: &&std::path::PathBuf| path.symlink_metadata().is_ok();
    for folder in way.folders.iter().filter(is_there) {
        let part = if Some(&**folder) == own_folder { Part::Folder } else { Part::Above };
        judged(folder, part, &folder.symlink_metadata().map_err(OpenError::Io)?)?;
    }
    for link in way.links.iter().filter(is_there) {
        judged(link, Part::Link, &link.symlink_metadata().map_err(OpenError::Io)?)?;
    }
    // Opening a FIFO would block until its other end is opened.
    let odd = |found: &Metadata| !found.is_file() && !found.is_dir();
    if std::fs::metadata(path).is_ok_and(|found| odd(&found)) {
        return Err(OpenError::Io(std::io::Error::other("it is not a file")));
    }
    let file = File::open(path).map_err(OpenError::Io)?;
    judged(&way.end, Part::File, &file.metadata().map_err(OpenError::Io)?)?;
    Ok(file)
}

/// Returns whether it is on a file system, or a mount of one, that is read-only.
fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|about| about.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The part of a path that is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    File,
    /// The folder that contains the file.
    Folder,
    /// A folder above that, or one that contains a link on the path. It may be writable by all if the sticky
    /// bit protects the files of others (`/tmp`).
    Above,
    /// A link on the path. Its mode is irrelevant.
    Link,
}

/// What is wrong with a path.
struct Fault {
    why: NotOurs,
    /// Whether it belongs to somebody else; otherwise others can write it.
    is_owner: bool,
}

/// The user who reads the configuration, and the users who are trusted as well.
struct ConfigReader {
    user: u32,
    /// Stands for root if this process can't see root: in a user namespace that maps only its own user, as in
    /// a user service with `PrivateUsers=` (user_namespaces(7), "overflow").
    overflow_user: Option<u32>,
    passwd: String,
    group: String,
}

impl ConfigReader {
    fn runs_this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| read(path).trim().parse().unwrap_or(65534);
        let maps_root = maps_root(&read("/proc/self/uid_map"));
        Self {
            user: rustix::process::geteuid().as_raw(),
            overflow_user: (!maps_root).then(|| number("/proc/sys/kernel/overflowuid")),
            passwd: read("/etc/passwd"),
            group: read("/etc/group"),
        }
    }

    fn fault(&self, path: &Path, part: Part, owner: u32, group: u32, mode: u32) -> Option<Fault> {
        let shown = path.display();
        if owner != self.user && owner != 0 && Some(owner) != self.overflow_user {
            let (owner, me) = (self.named(owner), self.named(self.user));
            let what = format!(
                "{shown} belongs to {owner}, mode {:04o}: a configuration, its folder and all above must belong to {me}, \
                 who reads it, or to root",
                mode & 0o7777
            );
            let hint = match part {
                Part::File | Part::Link => {
                    format!("look at what is in it; then: sudo chown -h {} {shown}", self.user)
                }
                Part::Folder | Part::Above => format!(
                    "put the configuration into a folder of your own, or: sudo chown {} {shown}",
                    self.user
                ),
            };
            return Some(Fault { why: NotOurs { what, hint }, is_owner: true });
        }
        let by_all = mode & 0o002 != 0;
        let by_group = mode & 0o020 != 0 && !self.is_private_group(group);
        let is_sticky = part == Part::Above && mode & 0o1000 != 0;
        if part == Part::Link || is_sticky || !(by_all || by_group) {
            return None;
        }
        let others = if by_all { "everybody".to_owned() } else { format!("group {group}") };
        let what = format!(
            "{shown} can be written by {others} (it belongs to {}, mode {:04o}), so others could decide what the daemon runs",
            self.named(owner),
            mode & 0o7777
        );
        let hint = match part {
            Part::Folder if mode & 0o1000 != 0 => {
                "put the configuration into a folder of its own, which only you can write".to_owned()
            }
            _ => format!("look at what is in it; then: chmod go-w {shown}"),
        };
        Some(Fault { why: NotOurs { what, hint }, is_owner: false })
    }

    /// Formats a user id, with the user's name if it has one here.
    fn named(&self, user: u32) -> String {
        let name = entries(&self.passwd).find(|fields| fields.get(2) == Some(&&*user.to_string()));
        name.map_or_else(|| format!("user {user}"), |fields| format!("user {user} ({})", fields[0]))
    }

    /// Returns whether only we and root are in this group. Many systems give each user a private group with
    /// write access. A group or a user unknown to these files may stand for anybody.
    fn is_private_group(&self, group: u32) -> bool {
        let number = group.to_string();
        let is_us = |user: &[&str]| user.get(2).is_some_and(|id| *id == "0" || *id == self.user.to_string());
        let named = |name: &str| entries(&self.passwd).find(|user| user[0] == name);
        let Some(found) = entries(&self.group).find(|fields| fields.get(2) == Some(&&*number)) else {
            return false;
        };
        let is_known = entries(&self.passwd).any(|user| user.get(2) == Some(&&*self.user.to_string()));
        let mut members = found.get(3).unwrap_or(&"").split(',').filter(|name| !name.is_empty());
        let mut others = entries(&self.passwd).filter(|user| user.get(3) == Some(&&*number));
        is_known
            && members.all(|name| named(name).is_some_and(|user| is_us(&user)))
            && others.all(|user| is_us(&user))
    }
}

/// Parses lines of passwd(5) and group(5).
fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() > 2)
}

/// Returns whether root is mapped in this process's namespace. Its map has a line for each range: inside,
/// outside, length (user_namespaces(7)). If there is no map, it is.
fn maps_root(map: &str) -> bool {
    let ranges = map.lines().filter_map(|line| line.split_whitespace().next());
    map.trim().is_empty() || ranges.into_iter().any(|first| first == "0")
}

#[cfg(test)]
mod tests {
    //! Tests of owners and modes, and of files in real folders.
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn me() -> ConfigReader {
        ConfigReader {
            user: 1000,
            overflow_user: None,
            passwd: "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nbert:x:1001:1001::/:/bin/sh\n"
                .into(),
            group: "root:x:0:\nanna:x:1000:\nstaff:x:50:anna,bert\nalone:x:60:anna,root\nbert:x:1001:\nodd:x:70:gone\n"
                .into(),
        }
    }

    #[test]
    fn ours_is_what_belongs_to_us_or_root_and_nobody_else_can_write() {
        use Part::*;
        for (part, owner, group, mode, says) in [
            (File, 1000, 1000, 0o100600, ""),
            (File, 1000, 1000, 0o100644, ""),
            (File, 0, 0, 0o100644, ""),
            (File, 1001, 1000, 0o100600, "/x belongs to user 1001 (bert), mode 0600"),
            (File, 4711, 1000, 0o100600, "/x belongs to user 4711, mode 0600"),
            (
                File,
                1000,
                1000,
                0o100666,
                "/x can be written by everybody (it belongs to user 1000 (anna), mode 0666)",
            ),
            // A private group, another user's, a shared one, and an unknown one.
            (File, 1000, 1000, 0o100664, ""),
            (File, 1000, 60, 0o100664, ""),
            (File, 1000, 0, 0o100664, ""),
            (File, 1000, 1001, 0o100664, "can be written by group 1001"),
            (File, 1000, 50, 0o100664, "can be written by group 50"),
            (File, 1000, 70, 0o100664, "can be written by group 70"),
            (File, 1000, 99, 0o100664, "can be written by group 99"),
            (Folder, 1000, 1000, 0o040755, ""),
            (Folder, 1000, 1000, 0o040777, "can be written by everybody"),
            (Folder, 0, 0, 0o041777, "can be written by everybody"),
            (Above, 0, 0, 0o041777, ""),
            (Above, 0, 0, 0o040777, "can be written by everybody"),
            (Above, 1001, 1001, 0o040700, "belongs to user 1001"),
            (Above, 1001, 1001, 0o041777, "belongs to user 1001"),
            (Link, 1000, 1000, 0o120777, ""),
            (Link, 1001, 1001, 0o120777, "belongs to user 1001"),
        ] {
            let fault = me().fault(Path::new("/x"), part, owner, group, mode).map(|fault| fault.why);
            match fault {
                None => assert_eq!(says, "", "{owner} {group} {mode:o}"),
                Some(why) => {
                    assert!(!says.is_empty() && why.what.contains(says), "{owner} {group} {mode:o}: {why:?}");
                    assert!(
                        why.hint.contains("sudo chown")
                            || why.hint.contains("chmod go-w")
                            || mode & 0o1000 != 0
                    );
                }
            }
        }
    }

    #[test]
    fn root_is_known_by_its_stand_in_where_it_is_not_known() {
        let service = ConfigReader { overflow_user: Some(65534), ..me() };
        assert!(service.fault(Path::new("/"), Part::Above, 65534, 65534, 0o040755).is_none());
        assert!(service.fault(Path::new("/"), Part::Above, 65534, 65534, 0o040777).is_some());
        assert!(me().fault(Path::new("/"), Part::Above, 65534, 65534, 0o040755).is_some());
        assert!(maps_root("         0          0 4294967295\n") && maps_root(""));
        assert!(maps_root("0 1000 1\n1 100000 65536\n") && !maps_root("      1000       1000          1\n"));
    }

    #[test]
    fn a_file_is_refused_for_itself_and_for_what_leads_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let (above, file) = (root.join("above"), root.join("above/own/a.toml"));
        fs::create_dir_all(above.join("own")).unwrap();
        fs::write(&file, "x").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for path in [&above, &above.join("own"), &file] {
            set(path, 0o700);
        }
        let link = root.join("link.toml");
        symlink(&file, &link).unwrap();
        let refused = |path: &Path| match open(path) {
            Ok(_) => String::new(),
            Err(OpenError::NotOurs(why)) => why.what,
            Err(OpenError::Io(error)) => error.to_string(),
        };
        for way in [&file, &link] {
            assert_eq!(refused(way), "");
            for (path, bad, good) in
                [(&file, 0o602, 0o600), (&above.join("own"), 0o1777, 0o700), (&above, 0o777, 0o1777)]
            {
                set(path, bad);
                let says = refused(way);
                assert!(
                    says.starts_with(&format!("{} can be written by everybody", path.display())),
                    "{says}"
                );
                set(path, good);
                assert_eq!(refused(way), "");
            }
            set(&above, 0o700);
        }
        assert!(refused(&root.join("none")).contains("No such file"));
    }
}
