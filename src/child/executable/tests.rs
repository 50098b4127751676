//! Tests with real files.
use super::*;
use std::os::unix::fs::symlink;

fn write(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn told(folder: &Path, name: &str) -> String {
    find(name, folder, Some(OsStr::new("/usr/bin:/bin"))).expect_err(name).to_string()
}

#[test]
fn the_real_cause_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "plain", b"#!/bin/sh\n", 0o755);
    write(folder, "of-env", b"#! /usr/bin/env sh\n", 0o755);
    for good in ["./plain", "./of-env", "sh", "/bin/sh"] {
        find(good, folder, Some(OsStr::new("/usr/bin:/bin"))).unwrap_or_else(|why| panic!("{good}: {why}"));
    }
    write(folder, "mode", b"#!/bin/sh\n", 0o644);
    write(folder, "interpreter", b"#!/nonexistent/sh\n", 0o755);
    write(folder, "windows", b"#!/bin/sh\r\necho\r\n", 0o755);
    write(folder, "windows-env", b"#!/usr/bin/env sh\r\n", 0o755);
    write(folder, "no-name", b"#!\n", 0o755);
    write(folder, "env", b"#!/usr/bin/env no-such-interpreter\n", 0o755);
    write(folder, "chain", format!("#!{}\n", folder.join("mode").display()).as_bytes(), 0o755);
    write(folder, "text", b"echo hello\n", 0o755);
    write(folder, "empty", b"", 0o755);
    write(folder, "marked", b"\xEF\xBB\xBF#!/bin/sh\n", 0o755);
    symlink("nowhere", folder.join("link")).unwrap();
    for (name, says) in [
        ("./mode", "chmod +x"),
        ("./interpreter", "names the interpreter `/nonexistent/sh`, which is not"),
        ("./windows", "ends in a carriage return"),
        ("./windows-env", "ends in a carriage return"),
        ("./no-name", "names no interpreter"),
        ("./env", "asks env(1) for `no-such-interpreter`, which is not in PATH"),
        ("./chain", "the interpreter of"),
        ("./link", "is a link to `nowhere`, which is not there"),
        ("./none", "there is no such file"),
        ("./none/x", "there is no directory"),
        ("./plain/x", "is not a directory"),
        ("~/bin/x", "`~` stands for itself in a list"),
        ("/bin/echo hello", "write [\"/bin/echo\", \"hello\"]"),
        ("echo hello", "write [\"echo\", \"hello\"]"),
        ("$HOME/x", "variables stand for themselves"),
        ("cd", "is a word of the shell"),
        ("no-such-program", "was not found in PATH (/usr/bin:/bin)"),
    ] {
        let why = told(folder, name);
        assert!(why.contains(says), "{name}: {why}");
    }
    if cfg!(target_os = "linux") {
        for (name, says) in
            [("./empty", "is empty"), ("./marked", "byte order mark"), ("./text", "no format")]
        {
            let why = told(folder, name);
            assert!(why.contains(says), "{name}: {why}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_loader_of_a_binary_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut binary = std::fs::read("/proc/self/exe").unwrap();
    let loader = elf::loader(Path::new("/proc/self/exe")).expect("tests are linked dynamically");
    assert!(loader.is_absolute() && loader.exists(), "{}", loader.display());
    let name = loader.as_os_str().as_bytes();
    let at = binary.windows(name.len()).position(|part| part == name).unwrap();
    binary[at + 1..at + 4].copy_from_slice(b"non");
    write(folder.path(), "foreign", &binary, 0o755);
    let why = told(folder.path(), "./foreign");
    assert!(why.contains("wants to be loaded by `/non"), "{why}");
    binary[18] ^= 0x7f;
    write(folder.path(), "other", &binary, 0o755);
    assert!(told(folder.path(), "./other").contains("another kind of machine"));
}
