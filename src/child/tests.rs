//! Tests of helper programs.
use super::*;
use crate::domain::{ProgramOwner, Sandbox, SandboxLimits};
use std::path::Path;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Vec<String> {
    vec!["/bin/sh".into(), "-c".into(), script.into()]
}

fn program(argv: &[String]) -> Program<'_> {
    Program {
        argv,
        inherit: Inherit::Basics,
        env: &[],
        cwd: None,
        stdin: None,
        confinement: None,
        control: None,
        max_output: 1000,
    }
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

#[cfg(target_os = "linux")]
async fn confined(sandbox: &Sandbox, script: &str) -> Result<(String, String), ChildError> {
    let (argv, owner) = (shell(script), ProgramOwner::default());
    let confinement = Some(Confinement::new(sandbox, &owner, &argv, std::iter::empty::<&str>()));
    let finished = run(Program { confinement, ..program(&argv) }, LONG).await?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ok((text(finished.stdout), text(finished.stderr)))
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn walls_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["read", "write"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    std::fs::write(path("secret"), "secret").unwrap();
    std::fs::write(path("read/page"), "page").unwrap();
    let limits = SandboxLimits { open_files: Some(64), ..SandboxLimits::default() };
    let sandbox =
        Sandbox { read: vec![path("read")], write: vec![path("write")], limits, ..Sandbox::default() };
    for (script, says) in [
        // what is there
        ("cat F/read/page", "page"),
        ("echo here > F/write/mine && cat F/write/mine && rm F/write/mine", "here"),
        ("cd && pwd > x && echo $TMPDIR > $TMPDIR/y && cat $TMPDIR/y | wc -l", "1"),
        ("python3 -c 'import json, ssl, subprocess; print(subprocess.run([\"true\"]).returncode)'", "0"),
        ("git init -q $HOME/r && cd $HOME/r && git status --short && echo yes", "yes"),
        ("ulimit -n", "64"),
        ("(sleep 0.1; echo late) & wait; echo early", "early"),
        // what is not
        ("cat F/secret || echo no", "no"),
        ("echo x > F/secret || echo no", "no"),
        ("echo x > F/read/new || echo no", "no"),
        ("rm -f F/read/page || echo no", "no"),
        ("mv F/read/page F/write/ || echo no", "no"),
        ("ln F/secret F/write/link || echo no", "no"),
        ("ln -s F/secret F/write/link; cat F/write/link || echo no", "no"),
        ("truncate -s 0 F/read/page || echo no", "no"),
        ("ls / || echo no", "no"),
        ("cat /etc/shadow || echo no", "no"),
        ("ls /etc/ssl/private || echo no", "no"),
        ("test -r /etc/ssl/certs && echo yes", "yes"),
        ("kill -0 $PPID || echo no", "no"),
        ("cat /proc/$PPID/environ || echo no", "no"),
        ("cat /proc/1/environ || echo no", "no"),
        ("unshare -Ur true || echo no", "no"),
        ("python3 -c 'import socket; socket.socket(socket.AF_INET)' || echo no", "no"),
        ("python3 -c 'import socket; socket.socket(socket.AF_UNIX)' || echo no", "no"),
        ("python3 -c 'import os; os.setpriority(os.PRIO_USER, 0, 19)' || echo no", "no"),
        ("printf '#!/bin/sh\necho ran' > F/write/s; chmod +x F/write/s; F/write/s || echo no", "no"),
        (
            "awk '/^(NoNewPrivs|Seccomp):/ { s = s $2 } /^CapEff/ { s = s ($2 + 0) } END { print s }' /proc/self/status",
            "012",
        ),
    ] {
        let script = script.replace("F/", &format!("{}/", folder.path().display()));
        let (said, error) = confined(&sandbox, &script).await.unwrap();
        assert_eq!(said.trim_end().lines().last(), Some(says), "{script}: {said} {error}");
    }
    assert_eq!(std::fs::read(path("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read(path("read/page")).unwrap(), b"page");
}

/// Does this machine let its users make namespaces of mounts? Where it does not, nothing holds what this is asked for.
#[cfg(target_os = "linux")]
fn has_views() -> bool {
    let makes = |args: &[&str]| {
        let made = std::process::Command::new("unshare").args(args).args(["--mount", "true"]).output();
        made.is_ok_and(|made| made.status.success())
    };
    makes(&[]) || makes(&["--user", "--map-root-user"])
}

/// Landlock knows nothing of modes, owners, times and attributes.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn nothing_of_other_files_is_changed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["read", "write", "write/nested"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    for name in ["secret", "read/page"] {
        std::fs::write(path(name), "x").unwrap();
    }
    let sandbox = Sandbox {
        read: vec![path("read")],
        write: vec![path("write"), path("write/nested")],
        ..Sandbox::default()
    };
    let said = async |script: &str| {
        let script = script.replace("F/", &format!("{}/", folder.path().display()));
        let (out, err) = confined(&sandbox, &script).await.unwrap();
        (out.trim().to_owned(), err)
    };
    // what may be written may be changed, wherever the program stands
    for (script, says) in [
        ("cd F/write && echo x > a && chmod 600 a && touch -d yesterday a && mv a nested/ && ls nested", "a"),
        ("cd F/write/nested && echo x > b && chmod +x b && cp -p b ../c && ls ..", "c\nnested"),
        ("cd && echo x > d && chmod 644 d && mv d $TMPDIR/ && ls $TMPDIR", "d"),
        // and nothing is left there that runs as its owner
        ("cd F/write && touch e && chmod 4755 e || echo no", "no"),
        ("cd F/write && mkdir f && chmod 2775 f || echo no", "no"),
    ] {
        let (out, err) = said(script).await;
        assert_eq!(out, says, "{script}: {err}");
    }
    if !has_views() {
        return;
    }
    let before = |name: &str| std::fs::metadata(path(name)).unwrap();
    let seen = ["secret", "read/page", "read"].map(|name| (name, before(name)));
    for script in [
        "chmod 666 F/secret",
        "chmod 777 F/read",
        "touch -d yesterday F/secret",
        "touch -d yesterday F/read/page",
        "chown $(id -u) F/secret",
        "python3 -c 'import os; os.setxattr(\"F/secret\", \"user.x\", b\"x\")'",
        "python3 -c 'import os; os.fchmod(os.open(\"F/read/page\", os.O_RDONLY), 0o777)'",
    ] {
        let (out, err) = said(&format!("{script} || echo no")).await;
        assert_eq!(out, "no", "{script}: {err}");
    }
    for (name, was) in seen {
        let is = before(name);
        assert_eq!(is.permissions().mode(), was.permissions().mode(), "{name}");
        assert_eq!(is.modified().unwrap(), was.modified().unwrap(), "{name}");
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_private_folder_goes_with_its_program() {
    let (said, _) =
        confined(&Sandbox::default(), "echo x > $HOME/x; mkdir -p $TMPDIR/a/b; echo $HOME").await.unwrap();
    let home = Path::new(said.trim_end()).to_owned();
    assert!(home.is_absolute() && Some(home.as_os_str()) != std::env::var_os("HOME").as_deref());
    let until = Instant::now() + crate::testing::SOON;
    while home.exists() {
        assert!(Instant::now() < until, "{} is still there", home.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn only_what_is_named_is_executed() {
    let exec = vec!["/bin/sh".into(), "/usr/bin/env".into()];
    let sandbox = Sandbox { exec: Some(exec), ..Sandbox::default() };
    for (script, says) in [
        ("env echo yes || echo no", "no"),
        ("cat /etc/hosts > $HOME/x || echo no", "no"),
        ("env -u X > $HOME/x && echo yes", "yes"),
    ] {
        let (said, error) = confined(&sandbox, script).await.unwrap();
        assert_eq!(said.trim_end().lines().last(), Some(says), "{script}: {said} {error}");
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_link_that_the_program_could_have_made_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("work")).unwrap();
    std::fs::write(path("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(path("secret"), path("work/job")).unwrap();
    let sandbox = Sandbox { write: vec![path("work")], ..Sandbox::default() };
    let job = path("work/job").display().to_string();
    let (argv, owner) = (["cat".to_owned(), job], ProgramOwner::default());
    let confinement = Some(Confinement::new(&sandbox, &owner, &argv, std::iter::empty::<&str>()));
    let finished = run(Program { confinement, ..program(&argv) }, LONG).await.unwrap();
    // the configuration names what the link leads to by this name: it is the link that decides, and it is not followed
    assert!(finished.stdout.is_empty(), "{finished:?}");
    let sandbox = Sandbox { read: vec![path("work/job")], ..sandbox };
    let error = confined(&sandbox, "true").await.unwrap_err().to_string();
    assert!(error.contains("a link beneath what the program itself can write"), "{error}");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn what_can_not_be_walled_in_does_not_start() {
    let gone = Sandbox { read: vec!["/no/such/folder".into()], ..Sandbox::default() };
    let error = confined(&gone, "echo started").await.unwrap_err().to_string();
    assert!(
        error.contains("`read` of the sandbox names `/no/such/folder`, which can't be opened"),
        "{error}"
    );
    let limits = SandboxLimits { memory: Some(1 << 30), ..SandboxLimits::default() };
    let error = confined(&Sandbox { limits, ..Sandbox::default() }, "echo started").await.unwrap_err();
    assert!(error.to_string().contains("`limits.memory` of the sandbox needs a control group"), "{error}");
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
