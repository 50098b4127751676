//! Mounted file systems, from the kernel's table: that works even if a file system does not respond.
use std::path::PathBuf;

/// A mounted file system.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mounted {
    pub(super) mount: PathBuf,
    /// Its type, such as `ext4`.
    pub(super) fs: String,
    /// What is mounted: a device, `server:/share`, or just a word.
    pub(super) device: String,
}

/// Lists file systems that store something.
#[cfg(target_os = "linux")]
pub(super) fn list() -> std::io::Result<Vec<Mounted>> {
    Ok(read(&std::fs::read("/proc/self/mounts")?))
}

/// Lists file systems that store something.
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

/// Parses such a table, without mount points of the system itself.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has the table"))]
fn read(table: &[u8]) -> Vec<Mounted> {
    let own = |mount: &[u8]| {
        mount.starts_with(b"/sys")
            || mount.starts_with(b"/proc")
            || (mount.starts_with(b"/run") && !mount.starts_with(b"/run/media"))
    };
    let lines = lines(table).filter_map(|line| {
        let mut fields = fields(line);
        let (device, mount, fs) = (fields.next()?, fields.next()?, fields.next()?);
        (!own(mount)).then(|| Mounted {
            mount: unescaped(mount),
            fs: String::from_utf8_lossy(fs).into_owned(),
            device: String::from_utf8_lossy(device).into_owned(),
        })
    });
    lines.collect()
}

/// Splits such a table into lines. File names are bytes: one that is not UTF-8 must not invalidate the
/// others.
pub(super) fn lines(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// Splits a line into fields.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// Decodes a path as the kernel's tables write it: `\040` is a space.
pub(super) fn unescaped(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let octal = |code: &[u8]| {
        code.iter().try_fold(0_u32, |sum, digit| Some(sum * 8 + char::from(*digit).to_digit(8)?))
    };
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 4).and_then(octal).and_then(|code| u8::try_from(code).ok());
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
        assert_eq!(unescaped(br"/mnt/my\040disk\134"), Path::new("/mnt/my disk\\"));
        let found = read(
            b"/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\nnas:/x /srv/my\\040share nfs4 rw 0 0\nodd\n",
        );
        let found: Vec<_> = found.iter().map(|one| (one.mount.to_str().unwrap(), one.fs.as_str())).collect();
        assert_eq!(found, [("/", "ext4"), ("/srv/my share", "nfs4")]);
    }

    #[test]
    fn a_name_that_is_no_text_takes_no_other_away() {
        use std::os::unix::ffi::OsStrExt;
        let found = read(b"/dev/b /media/\xff\\377x vfat rw 0 0\n/dev/vda / ext4 rw 0 0\n");
        let found: Vec<_> = found.iter().map(|one| one.mount.as_os_str().as_bytes()).collect();
        assert_eq!(found, [&b"/media/\xff\xffx"[..], b"/"]);
    }
}
