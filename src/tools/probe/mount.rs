//! Checks that the expected file system is mounted at a path.
//!
//! After an unmount, the path is a folder of the surrounding file system, which has free space. So what was
//! mounted there is remembered while the daemon runs, and `/etc/fstab` is consulted.
use crate::tools::mounts::{fields, lines, unescaped};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Checked paths, each with the mount point that it was on.
static SEEN_MOUNT_POINTS: LazyLock<Mutex<HashMap<PathBuf, PathBuf>>> = LazyLock::new(Mutex::default);

/// Returns a message about the missing mount point, if one is missing. `wanted`: whether something must be
/// mounted at the path itself; `None`: as before. May block as long as the file system does.
pub(super) fn missing(path: &Path, wanted: Option<bool>) -> Option<String> {
    if wanted == Some(false) {
        return None;
    }
    let real = path.canonicalize().ok()?;
    let here = mount_point(&real)?;
    if wanted == Some(true) && here != real {
        return Some(format!("nothing is mounted there (mounted = true), only {} around it", here.display()));
    }
    let of_table = std::fs::read("/etc/fstab").ok();
    let planned = of_table.and_then(|table| planned(&table, &real));
    let mut seen = SEEN_MOUNT_POINTS.lock().unwrap_or_else(PoisonError::into_inner);
    let before = seen.get(path).cloned();
    let gone = [before, planned].into_iter().flatten().find(|other| is_within(other, &here));
    match gone {
        Some(gone) => Some(format!("{} is not mounted", gone.display())),
        None => {
            seen.insert(path.to_owned(), here);
            None
        }
    }
}

/// Returns whether this mount point is below that other one.
fn is_within(point: &Path, around: &Path) -> bool {
    point != around && point.starts_with(around)
}

/// Returns the mount point of a path without links.
fn mount_point(real: &Path) -> Option<PathBuf> {
    match std::fs::read("/proc/self/mountinfo") {
        Ok(table) => mounted(&table, real),
        // Another operating system: where the device changes.
        Err(_) => {
            let device = real.metadata().ok()?.dev();
            let same = |path: &&Path| path.metadata().is_ok_and(|found| found.dev() == device);
            real.ancestors().take_while(same).last().map(Path::to_owned)
        }
    }
}

/// Returns the innermost mount point in `mountinfo` that contains the path.
fn mounted(table: &[u8], real: &Path) -> Option<PathBuf> {
    let points = lines(table).filter_map(|line| Some(unescaped(fields(line).nth(4)?)));
    points.filter(|point| real.starts_with(point)).max_by_key(|point| point.components().count())
}

/// Returns the innermost mount point in `/etc/fstab` that contains the path, of those that are mounted at
/// boot.
fn planned(table: &[u8], real: &Path) -> Option<PathBuf> {
    let points = lines(table).filter_map(|line| {
        let mut fields = fields(line);
        let (device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        let options = fields.next().unwrap_or_default();
        let is_planned = !device.starts_with(b"#")
            && point.starts_with(b"/")
            && kind != b"swap"
            && !options
                .split(|byte| *byte == b',')
                .any(|option| matches!(option, b"noauto" | b"x-systemd.automount" | b"nofail"));
        is_planned.then(|| unescaped(point))
    });
    points.filter(|point| real.starts_with(point)).max_by_key(|point| point.components().count())
}

#[cfg(test)]
mod tests {
    //! Tests of mount points.
    use super::*;

    #[test]
    fn tables_of_the_kernel_are_read() {
        let table = "# comment\nUUID=1 / ext4 defaults 0 1\n/dev/b /data xfs defaults 0 2\nnas:/x /data/nas nfs noauto 0 0\n\
                     nas:/y /srv/my\\040share nfs4 rw 0 0\n/dev/c none swap sw 0 0\n";
        for (path, point) in [
            ("/data/x", Some("/data")),
            ("/data/nas/y", Some("/data")),
            ("/srv/my share", Some("/srv/my share")),
            ("/srv", Some("/")),
        ] {
            assert_eq!(planned(table.as_bytes(), Path::new(path)), point.map(PathBuf::from), "{path}");
        }
        assert_eq!(planned(b"", Path::new("/data")), None);
        assert_eq!(mount_point(Path::new("/")), Some("/".into()));
    }

    #[test]
    fn a_name_that_is_no_text_takes_no_other_away() {
        let table = b"/dev/a /media/\xff vfat defaults 0 0\n/dev/b /data xfs defaults 0 2\n";
        assert_eq!(planned(table, Path::new("/data/x")), Some("/data".into()));
        let table = b"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /media/\xff rw - vfat /dev/b rw\n\
            3 1 8:3 / /data rw - xfs /dev/c rw\n";
        assert_eq!(mounted(table, Path::new("/data/x")), Some("/data".into()));
        assert_eq!(mounted(table, Path::new("/x")), Some("/".into()));
    }

    #[test]
    fn what_was_mounted_must_stay_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(missing(&path, None), None);
        assert!(missing(&path, Some(true)).is_some_and(|says| says.contains("nothing is mounted there")));
        // As if it had been one.
        let real = path.canonicalize().unwrap();
        SEEN_MOUNT_POINTS.lock().unwrap().insert(path.clone(), real.clone());
        for _ in 0..2 {
            assert_eq!(missing(&path, None), Some(format!("{} is not mounted", real.display())));
        }
        assert_eq!(missing(&path, Some(false)), None);
        // A mount point itself, and an outer mount point, is fine.
        assert_eq!(missing(Path::new("/"), Some(true)), None);
        SEEN_MOUNT_POINTS.lock().unwrap().insert(path.clone(), "/".into());
        assert_eq!(missing(&path, None), None);
    }
}
