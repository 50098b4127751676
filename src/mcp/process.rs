//! The program of a stdio server: started in its own process group with a controlled environment, its last stderr output kept,
//! terminated with everything that it started.
use super::text::shown;
use crate::child::{self, Confinement, Ended, Inherit, KeptProgram, StartFailure, StartOrder, kept};
use crate::domain::{ProgramOwner, Sandbox};
use crate::secret::{self, Secret};
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe;
use tokio::process::ChildStdout;
use tokio_util::task::AbortOnDropHandle;

/// Timeout for killed processes.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that are kept of the end of standard error.
const MAX_STDERR_BYTES: usize = 64 << 10;

/// A running program. Dropping it kills everything that it started.
pub(super) struct Process {
    kept: KeptProgram,
    words: Arc<LastWords>,
    drain: AbortOnDropHandle<()>,
}

/// Its standard output and input.
pub(super) type Pipes = (ChildStdout, pipe::Sender);

impl Process {
    /// Starts the program of a server.
    pub(super) async fn start(
        server: &str,
        argv: &[String],
        env: &[(String, Secret)],
        cwd: &Path,
        sandbox: Option<&Sandbox>,
    ) -> Result<(Self, Pipes), String> {
        let mut environment = Inherit::Basics.environment();
        environment.extend(child::mark().map(|(name, value)| (name.into(), value.into())));
        environment.extend(env.iter().map(|(name, value)| (name.into(), value.expose().into())));
        let name = argv.first().map_or("", String::as_str);
        let owner = ProgramOwner { table: format!("mcp.{server}"), ..ProgramOwner::default() };
        let confinement = sandbox.map(|sandbox| {
            let variables = env.iter().map(|(name, _)| name);
            Confinement::new(sandbox, &owner, argv, variables).owned()
        });
        let order =
            StartOrder { argv: argv.to_vec(), environment, cwd: cwd.to_owned(), confinement, control: None };
        let (kept, (output, said)) = child::start(order).await.map_err(|failure| match failure {
            StartFailure::Unfit(why) => why.to_string(),
            StartFailure::System { cause, .. } => format!("can't run `{name}`: {cause}"),
        })?;
        let let_go = || -> io::Result<_> {
            let (input, theirs) = kept::input()?;
            kept.go(Some(theirs))?;
            Ok(input)
        };
        let pipes = (output, let_go().map_err(|error| format!("can't run `{name}`: {error}"))?);
        let words = Arc::new(LastWords { said: Mutex::default() });
        let drain = tokio::spawn(words.clone().drain(said));
        Ok((Self { kept, words, drain: AbortOnDropHandle::new(drain) }, pipes))
    }

    /// Returns its standard error.
    pub(super) fn words(&self) -> Arc<LastWords> {
        self.words.clone()
    }

    /// Waits until it ends. Processes that it started may still be alive.
    pub(super) async fn ended(&mut self) {
        self.kept.ended().await;
    }

    /// Terminates it and everything that it started: waits, sends SIGTERM, kills. `patience` is the timeout of each step.
    pub(super) async fn end(mut self, patience: Duration) -> Option<ExitStatus> {
        for asks in [false, true] {
            if asks {
                self.kept.ask();
            }
            if tokio::time::timeout(patience, self.ended()).await.is_ok() {
                break;
            }
        }
        self.kill_rest().await
    }

    /// Kills it and everything that it started.
    pub(super) async fn kill(mut self) -> Option<ExitStatus> {
        self.kill_rest().await
    }

    /// Kills everything that is left. Its standard error is complete then.
    async fn kill_rest(&mut self) -> Option<ExitStatus> {
        let before = tokio::time::timeout(Duration::ZERO, self.kept.ended()).await;
        self.kept.kill();
        let how = match before {
            Ok(how) => Some(how),
            Err(_) => tokio::time::timeout(KILL_TIMEOUT, self.kept.ended()).await.ok(),
        };
        self.kept.wait_a_moment().await;
        let _ = tokio::time::timeout(Duration::from_millis(200), &mut self.drain).await;
        if let Some(why) = self.kept.over_memory() {
            self.words.add(format!("it {why}\n").as_bytes());
        }
        match how? {
            Ended::Ran { status, .. } => Some(status),
            Ended::NotStarted(why) => {
                self.words.add(format!("it can't be executed: {why}").as_bytes());
                None
            }
        }
    }
}

/// The end of a server's standard error.
#[derive(Debug)]
pub(super) struct LastWords {
    said: Mutex<Vec<u8>>,
}

impl LastWords {
    async fn drain(self: Arc<Self>, mut from: impl AsyncRead + Unpin) {
        let mut piece = vec![0; 8192];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            self.add(&piece[..count]);
        }
    }

    fn add(&self, words: &[u8]) {
        let mut said = self.said.lock().expect("no holder panics");
        said.extend_from_slice(words);
        if said.len() > 2 * MAX_STDERR_BYTES {
            let old = said.len() - MAX_STDERR_BYTES;
            said.drain(..old);
        }
    }

    /// Returns its first and last line, sanitized; empty if there is none. Some programs report errors first, some last.
    pub(super) fn text(&self) -> String {
        let text = {
            let said = self.said.lock().expect("no holder panics");
            String::from_utf8_lossy(&said[said.len().saturating_sub(MAX_STDERR_BYTES)..]).into_owned()
        };
        let text = secret::redact(&text);
        let mut lines = text.lines().map(shown).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        match lines.next_back() {
            Some(last) if last != first => format!("{first} … {last}"),
            _ => first,
        }
    }
}
