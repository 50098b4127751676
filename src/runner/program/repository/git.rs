//! git as it is called here: without any setting of whoever runs the daemon, in bounded time.
use crate::child::{self, ChildError, Finished, Inherit, Program};
use std::time::Duration;

/// How long one call of git may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
/// Memory of a git that reads what a program has made, in KiB: a few objects can stand for more files than fit any memory.
const MEMORY: u32 = 2 << 20;
/// Of what it prints, so much is kept.
pub(super) const SAID: usize = 64 << 10;
/// Nothing of whoever runs the daemon counts but the repository itself: no hooks, no helpers, no settings of theirs.
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

/// Runs git without any setting but the repository's own. Its standard output.
pub(super) async fn git(args: &[&str]) -> Result<String, String> {
    let argv: Vec<String> = quiet(args).map(str::to_owned).collect();
    run(&argv, PATIENCE).await
}

/// The same in a repository, for what a program has made: with bounds of memory and time, and with this file to read.
pub(super) async fn git_bounded(
    repo: &str,
    args: &[&str],
    input: Option<&str>,
    patience: Duration,
) -> Result<String, String> {
    /// Objects that are larger are not held in memory as a whole.
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
    let memory = if input.is_some() { MEMORY } else { MEMORY / 2 };
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
