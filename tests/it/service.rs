//! The service under a real `systemd --user`, where there is one and we are root: `tests/systemd.sh`.
use std::process::Command;

/// What the script exits with where it can't do its work.
const SKIPPED: i32 = 77;

#[test]
fn systemd_starts_watches_and_ends_the_daemon() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systemd.sh");
    let done = Command::new("sh").arg(script).arg(env!("CARGO_BIN_EXE_bgagent")).output().expect("a shell");
    let said = String::from_utf8_lossy(&done.stdout);
    match done.status.code() {
        Some(SKIPPED) => eprintln!("{said}"),
        code => assert_eq!(code, Some(0), "{said}\n{}", String::from_utf8_lossy(&done.stderr)),
    }
}
