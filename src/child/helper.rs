//! A helper that runs to its end, with limits on time and output.
use super::confined::Confinement;
use super::executable::Unfit;
use super::inherit::Inherit;
use super::kept::{self, Ended, KeptProgram};
use super::start::{StartFailure, StartOrder, start};
use crate::domain::Control;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// Timeout for output after the program itself has ended: a descendant that left the group may hold the pipe open.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum attempts to start a program while file descriptors or PIDs are exhausted.
const MAX_START_ATTEMPTS: u32 = 50;
/// Delay between two attempts.
const START_RETRY_DELAY: Duration = Duration::from_millis(200);

/// A program to run.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Program and arguments.
    pub argv: &'a [String],
    /// What it inherits of the daemon's environment.
    pub inherit: Inherit,
    pub env: &'a [(String, String)],
    /// Working directory, if not the daemon's.
    pub cwd: Option<&'a Path>,
    /// Its standard input; `None`: `/dev/null`.
    pub stdin: Option<&'a [u8]>,
    /// Its sandbox; `None`: none.
    pub confinement: Option<Confinement<'a>>,
    /// What it may request from this process; `None`: nothing.
    pub control: Option<Control>,
    /// Maximum bytes that are kept of standard output and standard error each. The rest is read and dropped.
    pub max_output: usize,
}

/// A program that ended by itself.
#[derive(Clone, Debug)]
pub struct Finished {
    pub status: ExitStatus,
    /// The first bytes of standard output.
    pub stdout: Vec<u8>,
    pub stdout_cut: bool,
    /// The first bytes of standard error.
    pub stderr: Vec<u8>,
    /// The message about each destination that its sandbox refused.
    pub refused: Vec<String>,
}

/// Why a program did not end by itself. Names the program, never its arguments.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// No such program in `PATH`.
    #[error("there is no program `{0}`")]
    Missing(String),
    /// It exists, or should, but can't be run.
    #[error("{0}")]
    Unfit(String),
    /// It could not be started or watched.
    #[error("can't run `{program}`: {cause}")]
    Run { program: String, cause: io::Error },
    /// It was killed because of its memory limit.
    #[error("`{program}` {why}")]
    OverMemory { program: String, why: String },
    /// It was killed with its group because of a timeout.
    #[error("`{program}` did not end within {}", crate::domain::human_duration(jiff::SignedDuration::try_from(*bound).unwrap_or(jiff::SignedDuration::MAX)))]
    TimedOut { program: String, bound: Duration },
}

/// Formats `exit status 3` or `signal 9` for messages.
pub fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".into(),
    }
}

/// Returns the first line that is not blank: at most 200 characters, without control characters.
pub fn first_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Runs a program to its end. When the future is dropped or times out, everything that it started is killed.
///
/// # Errors
/// Why it did not end by itself.
pub async fn run(program: Program<'_>, bound: Duration) -> Result<Finished, ChildError> {
    let name = program.argv.first().cloned().unwrap_or_default();
    match tokio::time::timeout(bound, run_unbounded(program)).await {
        Ok(Ok(finished)) => Ok(finished),
        Ok(Err(NotRun::Unfit(Unfit::NotInPath { name, .. }))) => Err(ChildError::Missing(name)),
        Ok(Err(NotRun::Unfit(Unfit::Other(why)))) => Err(ChildError::Unfit(why)),
        Ok(Err(NotRun::OverMemory(why))) => Err(ChildError::OverMemory { program: name, why }),
        Ok(Err(NotRun::Other(cause))) => Err(ChildError::Run { program: name, cause }),
        Err(_) => Err(ChildError::TimedOut { program: name, bound }),
    }
}

/// Why a program did not run.
#[derive(Debug, thiserror::Error)]
enum NotRun {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("it {0}")]
    OverMemory(String),
    #[error(transparent)]
    Other(#[from] io::Error),
}

async fn run_unbounded(program: Program<'_>) -> Result<Finished, NotRun> {
    let mut environment = program.inherit.environment();
    environment.extend(program.env.iter().map(|(name, value)| (name.into(), value.into())));
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let cwd = program.cwd.unwrap_or(&here);
    let name = program
        .argv
        .first()
        .ok_or_else(|| NotRun::Other(io::Error::new(io::ErrorKind::InvalidInput, "the list is empty")))?;
    let order = StartOrder {
        argv: program.argv.to_vec(),
        environment,
        cwd: cwd.to_owned(),
        confinement: program.confinement.map(Confinement::owned),
        control: program.control,
    };
    let (mut kept, (out, err)) = started(order).await?;
    let (input, theirs) = match program.stdin {
        Some(_) => kept::input().map(|(ours, theirs)| (Some(ours), Some(theirs)))?,
        None => (None, None),
    };
    kept.go(theirs)?;

    let mut stdout = Capture::new(program.max_output);
    let mut stderr = Capture::new(program.max_output);
    let ended = CancellationToken::new();
    let ending = async {
        let how = kept.ended().await;
        kept.end().await;
        ended.cancel();
        how
    };
    let talking = async {
        let all = async {
            let feed = async {
                if let (Some(mut input), Some(text)) = (input, program.stdin) {
                    // A program may end without reading all of it.
                    let _ = input.write_all(text).await;
                }
            };
            tokio::join!(stdout.read(out), stderr.read(err), feed);
        };
        let late = async {
            ended.cancelled().await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        tokio::select! { () = all => (), () = late => () }
    };
    match tokio::join!(ending, talking).0 {
        Ended::Ran { status, .. } => {
            if let Some(why) = kept.over_memory().filter(|_| !status.success()) {
                return Err(NotRun::OverMemory(why));
            }
            Ok(Finished {
                status,
                stdout: stdout.kept,
                stdout_cut: stdout.cut,
                stderr: stderr.kept,
                refused: kept.refused(),
            })
        }
        Ended::NotStarted(why) => {
            Err(NotRun::Unfit(Unfit::Other(format!("`{name}` can't be executed: {why}"))))
        }
    }
}

/// Starts a program; retries for a while if file descriptors or PIDs are exhausted.
async fn started(order: StartOrder) -> Result<(KeptProgram, kept::OutputPipes), NotRun> {
    use rustix::io::Errno;
    for left in (0..=MAX_START_ATTEMPTS).rev() {
        let cause = match start(order.clone()).await {
            Ok(started) => return Ok(started),
            Err(StartFailure::Unfit(why)) => return Err(why.into()),
            Err(StartFailure::System { cause, .. }) => cause,
        };
        let passes = [Errno::MFILE, Errno::NFILE, Errno::AGAIN];
        if left == 0 || Errno::from_io_error(&cause).is_none_or(|errno| !passes.contains(&errno)) {
            return Err(cause.into());
        }
        tokio::time::sleep(START_RETRY_DELAY).await;
    }
    unreachable!("the last one returns")
}

struct Capture {
    kept: Vec<u8>,
    max: usize,
    cut: bool,
}

impl Capture {
    fn new(max: usize) -> Self {
        Self { kept: Vec::new(), max, cut: false }
    }

    async fn read(&mut self, mut from: impl AsyncRead + Unpin) {
        let mut piece = vec![0; 8192];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            let room = (self.max - self.kept.len()).min(count);
            self.kept.extend_from_slice(&piece[..room]);
            self.cut |= room < count;
        }
    }
}
