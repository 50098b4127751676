//! The header of a binary (elf(5)): its architecture, and its loader.
#![cfg(target_os = "linux")]
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// `p_type` of the segment that names the loader.
const PT_INTERP: u64 = 3;
/// Usual binaries have fewer headers and a shorter name; others are not examined.
const MAX_HEADER_COUNT: u64 = 128;
const MAX_NAME_BYTES: u64 = 4096;

/// Returns whether a program with this header runs on the architecture of `own`. 64-bit kernels run the 32-bit programs of
/// their architecture: i386 (3) on x86-64 (62), ARM (40) on AArch64 (183).
pub(super) fn runs_beside(head: &[u8], own: &[u8]) -> bool {
    let number = |head: &[u8]| machine(head).map(|(_, bytes)| u16::from_le_bytes(bytes));
    machine(head) == machine(own)
        || matches!((number(own), number(head)), (Some(62), Some(3)) | (Some(183), Some(40)))
}

/// Returns byte order and `e_machine`.
fn machine(head: &[u8]) -> Option<(u8, [u8; 2])> {
    Some((*head.get(5)?, [*head.get(18)?, *head.get(19)?]))
}

/// Returns the loader of a program; `None` if it needs none, or that can't be read.
pub(super) fn loader(program: &Path) -> Option<PathBuf> {
    let file = File::open(program).ok()?;
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0).ok()?;
    let (wide, little) = (head[4] == 2, head[5] == 1);
    let number = |bytes: &[u8]| {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
    };
    let (offset, size, count) = match wide {
        true => (number(&head[0x20..0x28]), number(&head[0x36..0x38]), number(&head[0x38..0x3A])),
        false => (number(&head[0x1C..0x20]), number(&head[0x2A..0x2C]), number(&head[0x2C..0x2E])),
    };
    for nth in 0..count.min(MAX_HEADER_COUNT) {
        let mut header = [0; 0x38];
        let header = if wide { &mut header[..] } else { &mut header[..0x20] };
        file.read_exact_at(header, offset.checked_add(nth * size)?).ok()?;
        if number(&header[..4]) != PT_INTERP {
            continue;
        }
        let (from, length) = match wide {
            true => (number(&header[0x08..0x10]), number(&header[0x20..0x28])),
            false => (number(&header[0x04..0x08]), number(&header[0x10..0x14])),
        };
        let mut name = vec![0; usize::try_from(length.min(MAX_NAME_BYTES)).ok()?];
        file.read_exact_at(&mut name, from).ok()?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        return Some(PathBuf::from(OsStr::from_bytes(name)));
    }
    None
}
