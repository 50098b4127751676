//! What Cargo.toml can't say.
//!
//! - Builds that are not released check themselves (`cfg(checked)`). `debug_assertions` would say the same, but
//!   with it the standard library checks itself in each generic function too, for a fourth of the tests' time.
//! - The linker is asked for packed relative relocations where the system's loader reads them: the program
//!   is smaller, and each start of it, also as the gate of a run, has less to read.
use std::process::Command;

/// The first glibc whose loader knows `DT_RELR`; with an older one the program would not start.
const FIRST: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(checked)");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        println!("cargo:rustc-cfg=checked");
    }
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

/// The version of the C library here, as getconf(1) tells it: `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(told.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
