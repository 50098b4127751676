//! Calls of git: without any settings of the user that the daemon runs as, and limited in time.
use crate::child::{self, ChildError, Finished, Inherit, Program};
use std::time::Duration;

/// Timeout of one call of git.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
/// Memory limit of a git that reads what a program has made, in KiB: a few objects can expand to more files than fit in memory.
const MEMORY_KIB: u32 = 2 << 20;
/// Bytes of its output that are kept.
pub(super) const SAID: usize = 64 << 10;
/// Ignores all settings of the user that the daemon runs as: no hooks, helpers or configuration but the repository's own.
const QUIET: &[&str] = &[
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "transfer.fsckObjects=true",
];

/// Runs git with no settings but the repository's own. Returns its standard output.
pub(super) async fn git(args: &[&str]) -> Result<String, String> {
    let argv: Vec<String> = quiet(args).map(str::to_owned).collect();
    run(&argv, PATIENCE).await
}

/// Runs git in a repository on what a program has made: limited in memory and time, with this file as its input.
pub(super) async fn git_bounded(
    repo: &str,
    args: &[&str],
    input: Option<&str>,
    patience: Duration,
) -> Result<String, String> {
    /// Larger objects are not held in memory as a whole.
    const FRUGAL: [&str; 8] = [
        "-c",
        "core.bigFileThreshold=16m",
        "-c",
        "core.packedGitWindowSize=16m",
        "-c",
        "core.packedGitLimit=256m",
        "-c",
        "pack.threads=1",
    ];
    let memory = if input.is_some() { MEMORY_KIB } else { MEMORY_KIB / 2 };
    let script = format!("ulimit -v {memory} 2>/dev/null; exec \"$@\" <\"$0\"");
    let shell = ["/bin/sh", "-c", &script, input.unwrap_or("/dev/null")];
    let args: Vec<&str> = FRUGAL.into_iter().chain(["-C", repo]).chain(args.iter().copied()).collect();
    let argv: Vec<String> = shell.into_iter().chain(quiet(&args)).map(str::to_owned).collect();
    run(&argv, patience).await
}

fn quiet<'a>(args: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    std::iter::once("git").chain(QUIET.iter().copied()).chain(args.iter().copied())
}

async fn run(argv: &[String], patience: Duration) -> Result<String, String> {
    let env = [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("LC_ALL", "C"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let asking = Program {
        argv,
        inherit: Inherit::Basics,
        env: &env,
        cwd: None,
        stdin: None,
        confinement: None,
        control: None,
        max_output: SAID,
    };
    done(child::run(asking, patience).await)
}

pub(super) fn done(ran: Result<Finished, ChildError>) -> Result<String, String> {
    let ran = ran.map_err(|error| error.to_string())?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    let said = child::first_line(if ran.stderr.is_empty() { &ran.stdout } else { &ran.stderr });
    Err(format!("git ended with {}: {said}", child::how_it_ended(ran.status)))
}
