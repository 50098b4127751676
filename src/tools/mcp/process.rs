//! The program of a stdio server: started in a process group of its own with an environment that we
//! choose, its last words kept, ended with all that it started.
use super::text::shown;
use crate::child::{self, Group, Inherit, Own};
use crate::secret::{self, Secret};
use rustix::process::{Pid, Signal};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

/// So much of standard error is kept, its end.
const WORDS: usize = 64 << 10;

/// A program that runs. Its group dies with this value.
pub(super) struct Process {
    // Before `child`: dropping that may reap the leader, whose id then names nothing of ours.
    group: Option<Group>,
    child: Child,
    /// After `child`: as long as it is not waited for, nobody else may.
    _own: Option<Own>,
    pid: Pid,
    changes: tokio::signal::unix::Signal,
    words: Arc<LastWords>,
    drain: AbortOnDropHandle<()>,
}

/// Its standard output and input.
pub(super) type Pipes = (ChildStdout, ChildStdin);

impl Process {
    /// Starts it.
    pub(super) fn start(argv: &[String], env: &[(String, Secret)], cwd: &Path) -> io::Result<(Self, Pipes)> {
        let (program, args) = argv
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "`command` is empty"))?;
        let mut command = Command::new(program);
        command
            .args(args)
            .process_group(0)
            .env_clear()
            .envs(Inherit::Basics.environment())
            .envs(child::mark())
            .envs(env.iter().map(|(name, value)| (name, value.expose())))
            .current_dir(cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Listening begins before the program does, so that its end can't be missed.
        let changes = signal(SignalKind::child())?;
        let (mut child, own) = child::spawn_owned(&mut command)?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("it has no process id"))?;
        let group = Some(Group::led_by(pid));
        let missing = || io::Error::other("it has no pipes");
        let pipes = (child.stdout.take().ok_or_else(missing)?, child.stdin.take().ok_or_else(missing)?);
        let words = Arc::new(LastWords { said: Mutex::default() });
        let drain = tokio::spawn(words.clone().drain(child.stderr.take().ok_or_else(missing)?));
        let process =
            Self { group, child, _own: own, pid, changes, words, drain: AbortOnDropHandle::new(drain) };
        Ok((process, pipes))
    }

    /// What it says on standard error.
    pub(super) fn words(&self) -> Arc<LastWords> {
        self.words.clone()
    }

    /// Waits until it ends. It is not reaped then.
    pub(super) async fn ended(&mut self) {
        // An error would mean that it is no child of ours any more.
        while !child::has_ended(self.pid).unwrap_or(true) {
            self.changes.recv().await;
        }
    }

    /// Ends it and its group: waits, asks, kills. `patience` is that of each step.
    pub(super) async fn end(mut self, patience: Duration) -> Option<ExitStatus> {
        for order in [None, Some(Signal::TERM), Some(Signal::KILL)] {
            if let (Some(order), Some(group)) = (order, &self.group) {
                group.signal(order);
            }
            let step = if order == Some(Signal::KILL) { Duration::from_secs(5) } else { patience };
            if tokio::time::timeout(step, self.ended()).await.is_ok() {
                break;
            }
        }
        self.bury().await
    }

    /// Kills it and its group.
    pub(super) async fn kill(mut self) -> Option<ExitStatus> {
        if let Some(group) = &self.group {
            group.signal(Signal::KILL);
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), self.ended()).await;
        self.bury().await
    }

    /// Whoever is left of the group is killed while its leader's id still names it. Then its last
    /// words are all there, unless somebody who left the group keeps talking.
    async fn bury(&mut self) -> Option<ExitStatus> {
        drop(self.group.take());
        let status = tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await;
        let _ = tokio::time::timeout(Duration::from_millis(200), &mut self.drain).await;
        status.ok()?.ok()
    }
}

/// The end of what a server said on standard error.
#[derive(Debug)]
pub(super) struct LastWords {
    said: Mutex<Vec<u8>>,
}

impl LastWords {
    async fn drain(self: Arc<Self>, mut from: impl AsyncRead + Unpin) {
        let mut piece = vec![0; 8192];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            let mut said = self.said.lock().expect("no holder panics");
            said.extend_from_slice(&piece[..count]);
            if said.len() > 2 * WORDS {
                let old = said.len() - WORDS;
                said.drain(..old);
            }
        }
    }

    /// Its first and its last line, fit to be shown; empty if it said nothing. Some programs say what
    /// is wrong first, some last.
    pub(super) fn told(&self) -> String {
        let text = {
            let said = self.said.lock().expect("no holder panics");
            String::from_utf8_lossy(&said[said.len().saturating_sub(WORDS)..]).into_owned()
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
