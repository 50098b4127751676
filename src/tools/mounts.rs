//! What is mounted, from the table of the kernel: it answers also when a file system does not.
use std::path::PathBuf;

/// A file system that is mounted somewhere.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mounted {
    pub(super) mount: PathBuf,
    /// Its kind, such as `ext4`.
    pub(super) fs: String,
    /// What is mounted: a device, `server:/share`, or a mere word.
    pub(super) device: String,
}

/// All that stores something.
#[cfg(target_os = "linux")]
pub(super) fn list() -> std::io::Result<Vec<Mounted>> {
    Ok(read(&std::fs::read_to_string("/proc/self/mounts")?))
}

/// All that stores something.
#[cfg(not(target_os = "linux"))]
pub(super) fn list() -> std::io::Result<Vec<Mounted>> {
    let none = sysinfo::DiskRefreshKind::nothing();
    let disks = sysinfo::Disks::new_with_refreshed_list_specifics(none).map_err(std::io::Error::other)?;
    let mounted = |disk: &sysinfo::Disk| Mounted {
        mount: disk.mount_point().to_owned(),
        fs: disk.file_system().to_string_lossy().into_owned(),
        device: disk.name().to_string_lossy().into_owned(),
    };
    Ok(disks.iter().map(mounted).collect())
}

/// The lines of such a table, without places of the system's own.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has the table"))]
fn read(table: &str) -> Vec<Mounted> {
    let own = |mount: &str| {
        mount.starts_with("/sys")
            || mount.starts_with("/proc")
            || (mount.starts_with("/run") && !mount.starts_with("/run/media"))
    };
    let lines = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (device, mount, fs) = (fields.next()?, fields.next()?, fields.next()?);
        (!own(mount)).then(|| Mounted {
            mount: unescaped(mount),
            fs: fs.to_owned(),
            device: device.to_owned(),
        })
    });
    lines.collect()
}

/// A path as the kernel's tables write it: `\040` is a blank.
pub(super) fn unescaped(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = text.get(at + 1..at + 4).and_then(|code| u8::from_str_radix(code, 8).ok());
        match (bytes[at], code) {
            (b'\\', Some(code)) => {
                out.push(code);
                at += 4;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    std::ffi::OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    //! Tests of the table.
    use super::*;
    use std::path::Path;

    #[test]
    fn the_table_of_the_kernel_is_read() {
        assert_eq!(unescaped(r"/mnt/my\040disk\134"), Path::new("/mnt/my disk\\"));
        let found = read(
            "/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\nnas:/x /srv/my\\040share nfs4 rw 0 0\nodd\n",
        );
        let found: Vec<_> = found.iter().map(|one| (one.mount.to_str().unwrap(), one.fs.as_str())).collect();
        assert_eq!(found, [("/", "ext4"), ("/srv/my share", "nfs4")]);
    }
}
