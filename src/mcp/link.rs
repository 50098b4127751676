//! The link to one server: opens a connection on demand, shares it, and replaces it when it breaks, with backoff and a limit.
use super::limits::Limits;
use super::session::{self, InUse, Session, StartError};
use crate::domain::{McpSpec, ToolError, human_duration};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A server that may be running. Dropping it stops the server.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    /// Without `allow`, which does not concern the server.
    pub(super) spec: McpSpec,
    pub(super) cwd: PathBuf,
    limits: Limits,
    state: tokio::sync::Mutex<State>,
    closing: CancellationToken,
    /// Number of consecutive timeouts.
    timeouts: AtomicU32,
    /// Held by a call that is being repeated.
    pub(super) again: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    session: Option<Arc<Session>>,
    /// Times of failures within the window.
    failures: VecDeque<Instant>,
    /// The last failure.
    last: String,
}

impl Link {
    pub(super) fn new(name: &str, spec: McpSpec, cwd: PathBuf, limits: Limits) -> Self {
        Self {
            name: name.to_owned(),
            spec,
            cwd,
            limits,
            state: tokio::sync::Mutex::default(),
            closing: CancellationToken::new(),
            timeouts: AtomicU32::new(0),
            again: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the maximum duration of a start.
    pub(super) fn time_to_start(&self) -> Duration {
        // limited by what callers wait
        Duration::try_from(self.spec.start_timeout)
            .unwrap_or(Duration::ZERO)
            .min(Duration::from_secs(24 * 3600))
    }

    /// Returns a connection, opened if needed. `deadline` excludes the time for a start. Opening continues after the deadline,
    /// for later callers.
    pub(super) async fn session(self: &Arc<Self>, deadline: Instant) -> Result<InUse, ToolError> {
        if let Ok(state) = self.state.try_lock()
            && let Some(session) = &state.session
            && !session.doubted.load(Relaxed)
            && let Some(session) = session.enter()
        {
            return Ok(session);
        }
        let link = self.clone();
        let opening = tokio::spawn(async move { link.opened(deadline).await });
        match tokio::time::timeout_at(deadline + self.time_to_start(), opening).await {
            Ok(Ok(result)) => result.map_err(|text| self.failed(&text)),
            Ok(Err(error)) => Err(self.failed(&crate::blocking::panic_text(error))),
            Err(_) => Err(self.failed("it did not start in time")),
        }
    }

    async fn opened(&self, deadline: Instant) -> Result<InUse, String> {
        let mut state = self.state.lock().await;
        if self.closing.is_cancelled() {
            return Err("it was stopped, and is not started again".into());
        }
        if let Some(session) = state.session.take() {
            if session.doubted.swap(false, Relaxed) {
                tokio::select! {
                    lives = session.lives(self.limits.ping) => if !lives { session.kill() },
                    () = self.closing.cancelled() => {}
                }
            }
            if let Some(entered) = session.enter() {
                state.session = Some(session);
                return Ok(entered);
            }
            if session.fell() || session.signals.over.is_cancelled() {
                state.last = session.obituary().await;
                state.failures.push_back(Instant::now());
            }
        }
        let mut first = true;
        loop {
            self.pause(&mut state, deadline).await?;
            self.timeouts.store(0, Relaxed);
            let start = self.time_to_start();
            let opening = session::open(
                &self.name,
                &self.spec,
                &self.cwd,
                self.limits,
                start,
                self.closing.child_token(),
            );
            let opened = tokio::select! {
                opened = opening => opened,
                () = self.closing.cancelled() => return Err("it was stopped while it started".into()),
            };
            match opened {
                Ok(session) => {
                    let entered = session.enter().ok_or("it ended as soon as it had started")?;
                    state.session = Some(session);
                    return Ok(entered);
                }
                Err(StartError { text, counts, again }) => {
                    if counts {
                        state.failures.push_back(Instant::now());
                        state.last.clone_from(&text);
                    }
                    // A single failed start may be bad luck.
                    if !again || !std::mem::take(&mut first) || state.failures.len() > self.limits.restarts {
                        return Err(format!("it can't be started: {text}"));
                    }
                }
            }
        }
    }

    /// Waits before a restart: not at all after a first failure, then with backoff, then fails until some time has passed.
    async fn pause(&self, state: &mut State, deadline: Instant) -> Result<(), String> {
        let now = Instant::now();
        while state.failures.front().is_some_and(|at| now.duration_since(*at) > self.limits.window) {
            state.failures.pop_front();
        }
        let (Some(first), Some(last)) = (state.failures.front(), state.failures.back()) else {
            return Ok(());
        };
        let failed = state.failures.len();
        let (at, word) = if failed > self.limits.restarts {
            (*first + self.limits.window, "it is given up")
        } else {
            let doubled = u32::try_from(failed.saturating_sub(2)).unwrap_or(0).min(16);
            let pause = if failed < 2 { Duration::ZERO } else { self.limits.back_off * 2_u32.pow(doubled) };
            (*last + pause, "it rests")
        };
        if at > deadline || (failed > self.limits.restarts && at > now) {
            return Err(format!(
                "it failed {failed} times within {}, so {word} for {}; the last time: {}",
                human(self.limits.window),
                human(at.duration_since(now)),
                state.last
            ));
        }
        tokio::select! {
            () = tokio::time::sleep_until(at) => Ok(()),
            () = self.closing.cancelled() => Err("it was stopped".into()),
        }
    }

    /// Records that a request was answered.
    pub(super) fn answered(&self) {
        self.timeouts.store(0, Relaxed);
    }

    /// Records that a request timed out. A server with two consecutive timeouts is killed; before that, the next caller pings
    /// it first.
    pub(super) fn timed_out(&self, session: &Session) {
        if self.timeouts.fetch_add(1, Relaxed) + 1 >= 2 {
            session.kill();
        } else {
            session.doubted.store(true, Relaxed);
        }
    }

    /// Stops it permanently. Returns when nothing is left of it.
    pub(super) async fn stop(&self) {
        self.closing.cancel();
        if let Some(session) = self.state.lock().await.session.take() {
            session.gone().await;
        }
    }

    pub(super) fn failed(&self, text: &str) -> ToolError {
        ToolError::Failed(format!("MCP server `{}`: {text}", self.name))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Formats a duration, rounded up to whole seconds.
fn human(duration: Duration) -> String {
    let secs = i64::try_from(duration.as_secs_f64().ceil() as u64).unwrap_or(i64::MAX);
    human_duration(jiff::SignedDuration::from_secs(secs))
}
