//! What Cargo.toml can't say.
//!
//! - Builds that are not released check themselves (`cfg(checked)`). `debug_assertions` would say the same, but
//!   with it the standard library checks itself in each generic function too, for a fourth of the tests' time.
//! - What `bgagent --version` names: a crate that was packaged says in `.cargo_vcs_info.json` of which commit it is; in a
//!   checkout (`cfg(checkout)`) main.rs asks git. Nothing here is run again for a new commit: all would be compiled again.
//! - The linker is asked for packed relative relocations where the system's loader reads them: the program
//!   is smaller, and each start of it, also as the gate of a run, has less to read.
use std::path::Path;
use std::process::Command;

/// The first glibc whose loader knows `DT_RELR`; with an older one the program would not start.
const FIRST: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(checked)");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        println!("cargo:rustc-cfg=checked");
    }
    origin();
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // What is built for another machine says nothing of that machine's loader.
    let is_native = std::env::var("HOST").ok() == std::env::var("TARGET").ok();
    if is_native
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && glibc().is_some_and(|version| version >= FIRST)
    {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Says what main.rs is compiled from. What is unpacked within somebody else's checkout is not taken for a part of it.
fn origin() {
    println!("cargo:rustc-check-cfg=cfg(checkout)");
    let packaged = ".cargo_vcs_info.json";
    if let Ok(info) = std::fs::read_to_string(packaged) {
        println!("cargo:rerun-if-changed={packaged}");
        let (commit, is_modified) = packaged_from(&info);
        if let Some(commit) = commit {
            println!("cargo:rustc-env=BGAGENT_COMMIT={commit}");
        }
        if is_modified {
            println!("cargo:rustc-env=BGAGENT_MODIFIED=1");
        }
    } else if Path::new(".git").exists() {
        println!("cargo:rustc-cfg=checkout");
    }
}

/// The commit that cargo names in a package, and whether its sources were changed. No crate reads it, since cargo alone writes
/// it, and a build script with dependencies would hold up all that waits for it.
pub fn packaged_from(info: &str) -> (Option<&str>, bool) {
    let after = |key: &str| info.split_once(key).map(|(_, rest)| rest.trim_start_matches([':', ' ']));
    let commit = after("\"sha1\"").and_then(|rest| rest.strip_prefix('"')?.split('"').next());
    (commit.filter(|hash| !hash.is_empty()), after("\"dirty\"").is_some_and(|rest| rest.starts_with("true")))
}

/// The version of the C library here, as getconf(1) tells it: `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(told.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
