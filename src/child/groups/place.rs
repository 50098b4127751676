//! Where the control group of this process is, and whether it was delegated.
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The variable that names the control group which the daemon may manage: its path as in `/proc/self/cgroup`, or the last
/// component. A name rather than a flag, so that it has no effect where it is inherited elsewhere.
pub const DELEGATED: &str = "BGAGENT_DELEGATED";

/// Attributes of groups that systemd has delegated; the second since version 251, for processes that may not read the first.
const DELEGATE_ATTRIBUTES: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// The control group of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// As in `/proc/self/cgroup`.
    pub(super) path: String,
    /// Where it is mounted.
    pub(super) folder: PathBuf,
}

/// Finds it.
///
/// # Errors
/// A sentence: why there is none.
pub(super) fn own() -> Result<Place, String> {
    let read = |file: &str| std::fs::read(file).ok();
    let (Some(own), Some(mounts)) = (read("/proc/self/cgroup"), read("/proc/self/mountinfo")) else {
        return Err("this system has no control groups".into());
    };
    let path = path_of(&String::from_utf8_lossy(&own))
        .ok_or("this system has no control groups of version 2 (cgroups(7))")?
        .to_owned();
    let folders = folders_of(&mounts, &path);
    // something else may be mounted over it
    let me = std::process::id();
    let folder = folders.into_iter().find(|folder| members(folder).contains(&me));
    let folder = folder.ok_or_else(|| {
        format!("the control group `{path}` of this process is not to be seen in any mounted `cgroup2`")
    })?;
    Ok(Place { path, folder })
}

impl Place {
    /// Checks whether it was delegated, and can be used.
    ///
    /// # Errors
    /// A sentence: why not, and what to do.
    pub(super) fn can_be_used(&self) -> Result<(), String> {
        let marked = DELEGATE_ATTRIBUTES.iter().any(|mark| is_marked(&self.folder, mark));
        if !marked && !self.is_named(std::env::var_os(DELEGATED)) {
            return Err(format!(
                "the control group `{}` is not delegated to this process (`Delegate=yes` of its unit, which the service of \
                 `bgagent service install` has; or, where no service manager divides it, {DELEGATED}={} in the environment of the daemon)",
                self.path, self.path
            ));
        }
        let tried = self.folder.join(format!("try-{}", std::process::id()));
        std::fs::create_dir(&tried).and_then(|()| std::fs::remove_dir(&tried)).map_err(|error| {
            format!("the control group `{}` is delegated, and no group can be made in it: {error}", self.path)
        })
    }

    fn is_named(&self, name: Option<OsString>) -> bool {
        name.is_some_and(|name| {
            name == *self.path || Path::new(&self.path).file_name().is_some_and(|last| last == name)
        })
    }
}

#[cfg(target_os = "linux")]
fn is_marked(folder: &Path, mark: &str) -> bool {
    let mut value = [0u8; 8];
    rustix::fs::getxattr(folder, mark, &mut value[..]).is_ok_and(|length| value[..length] == *b"1")
}

#[cfg(not(target_os = "linux"))]
fn is_marked(_: &Path, _: &str) -> bool {
    false
}

/// Returns the path of the line `0::PATH` (cgroups(7)).
pub(super) fn path_of(own: &str) -> Option<&str> {
    // the kernel's suffix for a group that was removed while a process was in it
    own.lines().find_map(|line| line.strip_prefix("0::")).filter(|path| !path.ends_with(" (deleted)"))
}

/// Returns where the mounted trees may show this group, according to proc_pid_mountinfo(5): writable ones first, and later ones
/// first, which hide the others.
fn folders_of(mounts: &[u8], path: &str) -> Vec<PathBuf> {
    let mut found: Vec<(bool, PathBuf)> =
        mounts.split(|byte| *byte == b'\n').filter_map(|line| folder_of(line, path)).collect();
    found.reverse();
    found.sort_by_key(|(writable, _)| !writable);
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn folder_of(line: &[u8], path: &str) -> Option<(bool, PathBuf)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (root, point, options) = (fields.nth(3)?, fields.next()?, fields.next()?);
    // optional fields end with a dash
    fields.find(|field| *field == b"-")?;
    if fields.next()? != b"cgroup2" {
        return None;
    }
    let within = Path::new(path).strip_prefix(unescaped(root)).ok()?;
    let folder = unescaped(point).join(within);
    Some((options.split(|byte| *byte == b',').any(|option| option == b"rw"), folder))
}

/// Unescapes a path of `mountinfo`, where spaces, tabs, newlines and backslashes are octal.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let number = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(number.unwrap_or(*first));
        rest = if number.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

/// Returns the processes of a group, without those of subgroups.
pub(super) fn members(folder: &Path) -> Vec<u32> {
    let all = std::fs::read(folder.join("cgroup.procs")).unwrap_or_default();
    let lines = all.split(|byte| *byte == b'\n');
    lines.filter_map(|line| std::ffi::OsStr::from_bytes(line).to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    //! With what other machines say.
    use super::*;

    #[test]
    fn the_own_group_is_found_among_those_of_version_one() {
        assert_eq!(path_of("0::/user.slice/a.service\n"), Some("/user.slice/a.service"));
        assert_eq!(path_of("4:memory:/x\n1:name=systemd:/y\n0::/z:with:colons\n"), Some("/z:with:colons"));
        assert_eq!(path_of("4:memory:/x\n"), None);
        assert_eq!(path_of("0::/gone (deleted)\n"), None);
    }

    #[test]
    fn the_folder_of_a_group_is_found_whatever_is_mounted_where() {
        let pure = "26 23 0:24 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let part = "9 1 0:24 /box/a /sys/fs/cgroup ro shared:1 master:2 - cgroup2 none rw\n\
                    10 1 0:24 /box /mnt/with\\040space rw - cgroup2 none rw\n";
        let at = |mounts: &str, path| -> Vec<String> {
            let all = folders_of(mounts.as_bytes(), path);
            all.iter().map(|folder| folder.display().to_string()).collect()
        };
        assert_eq!(at(pure, "/user.slice/u.service"), ["/sys/fs/cgroup/user.slice/u.service"]);
        assert_eq!(at(hybrid, "/"), ["/sys/fs/cgroup/unified/"]);
        assert_eq!(at(part, "/box/a/b"), ["/mnt/with space/a/b", "/sys/fs/cgroup/b"]);
        assert!(at(part, "/elsewhere").is_empty() && at(part, "/boxes").is_empty());
        assert!(at("", "/").is_empty() && at("odd\n1 2 3 / /x rw cgroup2 - cgroup", "/y").is_empty());
    }

    #[test]
    fn a_variable_names_the_group_that_is_meant() {
        let place = |path: &str| Place { path: path.into(), folder: "/nowhere".into() };
        let unit = place("/user.slice/app.slice/bgagent.service");
        for (name, is_meant) in [
            ("bgagent.service", true),
            ("/user.slice/app.slice/bgagent.service", true),
            ("other.service", false),
            ("app.slice/bgagent.service", false),
            ("yes", false),
            ("/", false),
            ("", false),
        ] {
            assert_eq!(unit.is_named(Some(name.into())), is_meant, "{name}");
        }
        assert!(place("/").is_named(Some("/".into())) && !place("/").is_named(Some("".into())));
        assert!(!unit.is_named(None));
        assert!(!place("/user.slice/bgagent.service/run-1").is_named(Some("bgagent.service".into())));
    }
}
