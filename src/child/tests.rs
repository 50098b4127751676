//! Tests of helper programs.
use super::*;
use std::time::Instant;

const LONG: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Vec<String> {
    vec!["/bin/sh".into(), "-c".into(), script.into()]
}

fn program(argv: &[String]) -> Program<'_> {
    Program { argv, inherit: Inherit::Basics, env: &[], cwd: None, stdin: None, max_output: 1000 }
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
