//! Tests of helper programs.
use super::*;
use crate::sandbox::{Access, Limit, Walls};
use std::path::Path;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Vec<String> {
    vec!["/bin/sh".into(), "-c".into(), script.into()]
}

fn program(argv: &[String]) -> Program<'_> {
    Program { argv, inherit: Inherit::Basics, env: &[], cwd: None, stdin: None, walls: None, max_output: 1000 }
}

#[tokio::test]
async fn gives_output_and_status() {
    let argv = shell("cat; echo oops >&2; exit 3");
    let finished = run(Program { stdin: Some(b"hello"), ..program(&argv) }, LONG).await.unwrap();
    assert_eq!(finished.status.code(), Some(3));
    assert_eq!(how_it_ended(finished.status), "exit status 3");
    assert_eq!(finished.stdout, b"hello");
    assert_eq!(finished.stderr, b"oops\n");
    assert!(!finished.stdout_cut);
}

#[tokio::test]
async fn keeps_the_head_of_much_output() {
    let argv = shell("head -c 1000000 /dev/zero");
    let finished = run(program(&argv), LONG).await.unwrap();
    assert_eq!(finished.stdout.len(), 1000);
    assert!(finished.stdout_cut);
    assert!(finished.status.success());
}

#[tokio::test]
async fn gets_no_more_environment_than_it_may() {
    let argv = shell("/usr/bin/env");
    let env = [("MINE".to_owned(), "1".to_owned())];
    let finished = run(Program { env: &env, ..program(&argv) }, LONG).await.unwrap();
    let text = String::from_utf8(finished.stdout).unwrap();
    assert!(text.contains("MINE=1"));
    assert!(text.contains("PATH="));
    assert!(!text.contains("CARGO_MANIFEST_DIR"), "{text}");
}

/// The kernel closes the last writer of a pipe only when everybody who has it is dead: reading to
/// the end of it proves that no one is left.
async fn whole_group_is_gone(script: &str, bound: Duration) -> Result<Finished, ChildError> {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("alive");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let argv = shell(&format!("exec 9>'{}'\n{script}", fifo.display()));
    let reader = tokio::task::spawn_blocking(move || std::fs::read(fifo));
    let result = run(program(&argv), bound).await;
    tokio::time::timeout(LONG, reader).await.expect("somebody of the group lives").unwrap().unwrap();
    result
}

#[tokio::test]
async fn timeout_kills_the_whole_group() {
    let started = Instant::now();
    let result = whole_group_is_gone("trap '' TERM; sleep 600 & sleep 600", Duration::from_secs(1)).await;
    assert!(matches!(result, Err(ChildError::TimedOut { .. })), "{result:?}");
    assert_eq!(result.unwrap_err().to_string(), "`/bin/sh` did not end within 1s");
    assert!(started.elapsed() < crate::testing::SOON);
}

#[tokio::test]
async fn nothing_of_the_group_outlives_its_leader() {
    let started = Instant::now();
    let finished = whole_group_is_gone("sleep 600 & echo done", LONG).await.unwrap();
    assert_eq!(finished.stdout, b"done\n");
    assert!(started.elapsed() < crate::testing::SOON);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn who_leaves_group_session_and_environment_ends_all_the_same() {
    for script in [
        "setsid sleep 600 & echo done",
        "(setsid sh -c 'env -i sleep 600 & exit') ; echo done",
        "setsid sh -c \"trap '' TERM HUP; setsid env -i sh -c 'while :; do sleep 1; done' & exit\"; echo done",
    ] {
        let finished = whole_group_is_gone(script, LONG).await.unwrap();
        assert_eq!(finished.stdout, b"done\n", "{script}");
    }
    let lasting = "(setsid sh -c 'env -i sleep 600 & exit') ; sleep 600";
    let result = whole_group_is_gone(lasting, Duration::from_secs(1)).await;
    assert!(matches!(result, Err(ChildError::TimedOut { .. })), "{result:?}");
}

#[tokio::test]
async fn signals_for_the_keeper_reach_the_program_once() {
    let argv = shell("trap 'echo got; n=1' TERM; kill -TERM $PPID; while [ -z \"$n\" ]; do sleep 0.05; done");
    let finished = run(program(&argv), LONG).await.unwrap();
    assert_eq!(finished.stdout, b"got\n");
    let argv = shell("kill -KILL $$");
    assert_eq!(how_it_ended(run(program(&argv), LONG).await.unwrap().status), "signal 9");
}

/// Walls with the system's programs, and a folder to write to.
#[cfg(target_os = "linux")]
fn walls(folder: &Path) -> Walls {
    let system = ["/usr", "/bin", "/lib", "/lib64"].map(|path| (Access::Execute, path.into()));
    let mut paths: Vec<_> = system.into_iter().filter(|(_, path): &(_, std::path::PathBuf)| path.exists()).collect();
    paths.extend([(Access::Device, "/dev/null".into()), (Access::Write, folder.to_owned())]);
    Walls { paths, limits: vec![(Limit::OpenFiles, 64)] }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn walls_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(&outside, "secret").unwrap();
    let walls = walls(&inside);
    for (script, says) in [
        ("cat {out} || echo no", "no"),
        ("echo x > {out}x || echo no", "no"),
        ("rm -f {out} || echo no", "no"),
        ("mv {out} {in}/stolen || echo no", "no"),
        ("ln {out} {in}/link || echo no", "no"),
        ("ls / > /dev/null || echo no", "no"),
        ("echo here > {in}/mine && cat {in}/mine", "here"),
        ("ulimit -n", "64"),
        ("kill -0 1 || kill -0 $PPID || echo no", "no"),
        ("grep -c . /proc/$PPID/environ || echo no", "no"),
        ("unshare -Ur true || echo no", "no"),
        ("printf '#!/bin/sh\necho ran' > {in}/script; chmod +x {in}/script; {in}/script || echo no", "no"),
        ("grep NoNewPrivs /proc/self/status || echo no", "no"),
    ] {
        let script = script
            .replace("{in}", inside.to_str().unwrap())
            .replace("{out}", outside.to_str().unwrap());
        let argv = shell(&script);
        let cwd = Some(inside.as_path());
        let finished = run(Program { walls: Some(&walls), cwd, ..program(&argv) }, LONG).await.unwrap();
        let said = String::from_utf8(finished.stdout).unwrap();
        let error = String::from_utf8(finished.stderr).unwrap();
        assert_eq!(said.trim_end().lines().last(), Some(says), "{script}: {said} {error}");
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"secret");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn what_can_not_be_walled_in_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut walls = walls(folder.path());
    walls.paths.push((Access::Read, "/no/such/folder".into()));
    let argv = shell("echo started");
    let error = run(Program { walls: Some(&walls), ..program(&argv) }, LONG).await.unwrap_err();
    let says = "the sandbox can't be put up: `/no/such/folder` can't be opened: No such file or directory";
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test]
async fn missing_programs_are_named() {
    let argv = ["no-such-program-anywhere".to_owned(), "secret".to_owned()];
    let error = run(program(&argv), LONG).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no program `no-such-program-anywhere`");
    let error = run(program(&[]), LONG).await.unwrap_err();
    assert!(error.to_string().contains("the list is empty"), "{error}");
}

#[test]
fn first_lines_are_for_people() {
    assert_eq!(first_line(b"\n  disk full \r\nmore"), "disk full");
    assert_eq!(first_line(b"\x1b[31mred\x1b[0m"), "[31mred[0m");
    assert_eq!(first_line(&[b'a'; 1000]).len(), 200);
    assert_eq!(first_line(b""), "");
}
