//! Runs one program, from its start at the gate until the last process of its group has ended.
use super::broken::Break;
use super::output::{self, Output, Piece};
use super::report::{Brief, Report, Shared, StopOrder};
use super::skills::Skills;
use super::spawn::{self, Running};

pub(super) use super::spawn::Surroundings;
use super::{env, stop};
use crate::child::Ended;
use crate::domain::{
    CommandSpec, ErrorKind, Finding, ProcessRole, ProgramOwner, RunError, Stream, human_duration,
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Capacity of the channel for pieces of output.
const MAX_QUEUED_PIECES: usize = 16;
/// Interval at which output is handed on.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum time for draining pipes that others hold open after the leader has ended…
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// …given up earlier if nothing arrives for this long.
const DRAIN_IDLE_TIMEOUT: Duration = Duration::from_millis(200);

/// How a program ended.
#[derive(Debug)]
pub(super) enum End {
    Exited(i32),
    /// By a signal that the daemon did not send.
    Signalled(i32),
    /// By the OOM killer, with the message about it.
    OverMemory(String),
    TimedOut(Bound),
    Stopped,
    /// It made no progress.
    Stuck(RunError),
    NotStarted(String),
    /// Permission was given, but it could not be executed: why.
    NotExecuted(String),
    /// Something that it needs is unavailable: a secret.
    Unconfigured(String),
}

/// The time limit that applies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    Attempt(SignedDuration),
    Total(SignedDuration),
    Gate(SignedDuration),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempt(limit) => {
                let limit = human_duration(*limit);
                write!(f, "longer than its `timeout` of {limit}; shorten the work, or raise the limit")
            }
            Self::Total(limit) => {
                let limit = human_duration(*limit);
                write!(f, "all attempts together took longer than their `total_timeout` of {limit}")
            }
            Self::Gate(limit) => {
                let limit = human_duration(*limit);
                write!(
                    f,
                    "longer than {limit}: a gate has `tool_call_timeout`, and half of `timeout` at the most"
                )
            }
        }
    }
}

/// A program that is to be started.
pub(super) struct StartPlan<'s> {
    pub(super) spec: &'s CommandSpec,
    pub(super) role: ProcessRole,
    pub(super) owner: ProgramOwner,
    pub(super) surroundings: Surroundings,
}

/// Receives what a program prints.
pub(super) trait Audience: Send {
    /// Called when the program has been given permission to start.
    fn begins(&mut self) {}

    fn add(&mut self, piece: Piece);

    /// Hands on pending output. Returns true if some is still pending.
    fn flush(&mut self) -> impl Future<Output = bool> + Send;

    /// Returns when to check whether the program makes progress; `None`: never.
    fn look_at(&self) -> Option<Instant> {
        None
    }

    /// Resolves when that must be checked at once.
    fn must_be_looked_at(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Returns why the program must be terminated now, if it makes no progress.
    fn lost_patience(&mut self) -> Option<RunError> {
        None
    }

    /// Called before the program is terminated, with the reason.
    fn must_end(&mut self, _end: &End) {}
}

impl Audience for Output {
    fn add(&mut self, piece: Piece) {
        Self::add(self, piece);
    }

    async fn flush(&mut self) -> bool {
        Self::flush(self).await
    }
}

/// A program that has ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) end: End,
    pub(super) stdout: String,
    /// Whether its beginning was dropped.
    pub(super) stdout_is_cut: bool,
    pub(super) stderr: String,
    pub(super) warnings: Vec<String>,
}

/// The state shared by the parts of an attempt.
pub(super) struct Attempt<'a> {
    pub(super) brief: &'a Brief,
    pub(super) shared: &'a Shared,
    pub(super) orders: watch::Receiver<StopOrder>,
    /// Deadline of the current phase: the gate, or body and proof together.
    pub(super) deadline: Instant,
    /// Which limit the deadline comes from.
    pub(super) bound: Bound,
    /// Deadline of all attempts together.
    pub(super) last: Option<Instant>,
    /// Findings of probes that are its gate or a proof. New items of the gate.
    pub(super) seen: Vec<String>,
    /// What its model can read of how things are done.
    pub(super) skills: Arc<Skills>,
    /// What the gate gave when a conversation began that goes on now.
    pub(super) gate_before: Option<String>,
    /// The warning about a model server that truncates requests.
    pub(super) cut_by_server: Option<String>,
    pub(super) findings: Vec<Finding>,
}

impl Attempt<'_> {
    /// Starts the clock of the body. Called (again) when it may really proceed: earlier waiting does not count.
    pub(super) fn start_clock(&mut self) {
        let limit = self.brief.agent.limits.timeout;
        self.allow(limit, Bound::Attempt(limit));
    }

    /// Starts the clock of the gate, which has its own time limit.
    pub(super) fn start_gate_clock(&mut self) {
        let limits = &self.brief.agent.limits;
        let limit = limits.tool_call_timeout.min(limits.timeout / 2);
        self.allow(limit, Bound::Gate(limit));
    }

    fn allow(&mut self, limit: SignedDuration, bound: Bound) {
        let limit = Duration::try_from(limit).unwrap_or(Duration::ZERO);
        (self.deadline, self.bound) = (Instant::now() + limit, bound);
        if let (Some(last), Some(total)) = (self.last, self.brief.agent.limits.total_timeout)
            && last < self.deadline
        {
            (self.deadline, self.bound) = (last, Bound::Total(total));
        }
    }

    pub(super) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Runs what precedes the program, unless the run is stopped or times out meanwhile.
    pub(super) async fn while_wanted<T>(&self, what: impl Future<Output = T>) -> Result<T, Break> {
        let mut orders = self.orders.clone();
        tokio::select! {
            biased;
            () = stop_ordered(&mut orders) => Err(Break::Stopped),
            () = tokio::time::sleep_until(self.deadline) => {
                Err(Break::failed(ErrorKind::Timeout, self.bound.to_string()))
            }
            done = what => Ok(done),
        }
    }

    /// Runs what follows the program, within the remaining time or `least` if that is longer, and after a stop within `least`.
    /// `None`: it timed out, or the run is to be killed.
    pub(super) async fn before_it_is_over<T>(
        &self,
        least: Duration,
        what: impl Future<Output = T>,
    ) -> Option<T> {
        let limit = Instant::now() + least.max(self.time_left());
        let (mut orders, mut killed) = (self.orders.clone(), self.orders.clone());
        let stopped = async {
            stop_ordered(&mut orders).await;
            tokio::time::sleep(least).await;
        };
        tokio::select! {
            biased;
            Ok(_) = killed.wait_for(|order| *order == StopOrder::Kill) => None,
            () = stopped => None,
            () = tokio::time::sleep_until(limit) => None,
            done = what => Some(done),
        }
    }

    /// Runs a program; `output` receives what it prints.
    pub(super) async fn run(&mut self, spec: &CommandSpec, role: ProcessRole, mut output: Output) -> Ran {
        let mut warnings = Vec::new();
        let owner = owner(self.brief, role);
        let proof = if role == ProcessRole::Check { self.proof_of_program(spec) } else { None };
        let (spec, surroundings) = match &proof {
            Some((spec, surroundings)) => (spec, surroundings.clone()),
            None => (spec, Surroundings::default()),
        };
        let plan = StartPlan { spec, role, owner, surroundings };
        let end = self.started(&plan, &mut output, &mut warnings).await;
        output.finish().await;
        let stdout_is_cut = output.stdout.is_cut();
        let (stdout, stderr) = (output.stdout.finish(), output.stderr.finish());
        Ran { end, stdout, stdout_is_cut, stderr, warnings }
    }

    /// Starts a program and follows it to its end; `output` receives what it prints.
    pub(super) async fn started(
        &mut self,
        plan: &StartPlan<'_>,
        output: &mut impl Audience,
        warnings: &mut Vec<String>,
    ) -> End {
        let StartPlan { spec, role, owner, surroundings } = plan;
        let role = *role;
        if *self.orders.borrow() > StopOrder::None {
            return End::Stopped;
        }
        let brief = self.brief;
        // an error of the start is a better reason than the timeout
        let patience = self.time_left().saturating_sub(Duration::from_secs(1));
        let starting = async {
            let (environment, more) = env::of_command(brief, spec).await.map_err(End::Unconfigured)?;
            warnings.extend(more);
            spawn::start(spec, environment, owner, surroundings, brief.agent.control, patience)
                .await
                .map_err(End::NotStarted)
        };
        let started = tokio::select! {
            biased;
            () = stop_ordered(&mut self.orders) => return End::Stopped,
            () = tokio::time::sleep_until(self.deadline) => return End::TimedOut(self.bound),
            started = starting => started,
        };
        let (running, (stdout, stderr)) = match started {
            Ok(started) => started,
            Err(end) => return end,
        };
        let Some(mut running) = self.at_gate(running, role).await else { return End::Stopped };
        if let Err(why) = running.go(spec.stdin.as_deref()) {
            running.turn_away().await;
            return End::NotStarted(why);
        }
        output.begins();
        let (pieces, mut printed) = mpsc::channel(MAX_QUEUED_PIECES);
        // They end with this call: pipes that others still hold open are not read any more.
        let _readers = [
            AbortOnDropHandle::new(tokio::spawn(output::read(stdout, Stream::Stdout, pieces.clone()))),
            AbortOnDropHandle::new(tokio::spawn(output::read(stderr, Stream::Stderr, pieces))),
        ];
        let ended = self.watch(&mut running, &mut printed, output).await;
        if let Err(end) = ended {
            output.must_end(&end);
            let order = (*self.orders.borrow()).max(StopOrder::Terminate);
            let run = self.brief.run;
            {
                let ending = stop::end(&mut running, run, order, &mut self.orders);
                tokio::pin!(ending);
                loop {
                    tokio::select! {
                        more = &mut ending => { warnings.extend(more); break }
                        Some(piece) = printed.recv() => output.add(piece),
                    }
                }
            }
            drain(&mut printed, output).await;
            warnings.extend(refused(&running));
            running.wait_a_moment().await;
            return end;
        }
        drain(&mut printed, output).await;
        // terminates what the program left behind
        if let Ok(Ended::Ran { left: true, .. }) = ended {
            warnings.extend(stop::end_left_behind(&mut running, self.brief.run, &mut self.orders).await);
        }
        warnings.extend(refused(&running));
        running.kill();
        running.wait_a_moment().await;
        warnings.extend(running.refused_processes());
        match ended {
            Ok(Ended::Ran { status, .. }) => match running.over_memory() {
                Some(why) if !status.success() => End::OverMemory(why),
                _ => end_of(status),
            },
            Ok(Ended::NotStarted(why)) => End::NotExecuted(why),
            Err(end) => end,
        }
    }

    /// Makes the process durable and lets it proceed. `None`: it must not proceed, and was terminated.
    async fn at_gate(&mut self, running: Running, role: ProcessRole) -> Option<Running> {
        let (go, may_go) = oneshot::channel();
        let report = Report::Spawned {
            run: self.brief.run,
            attempt: self.brief.attempt,
            role,
            process: running.process,
            go,
        };
        let told = self.shared.reports.send(report).await.is_ok();
        let go = told
            && tokio::select! {
                answer = may_go => answer.is_ok(),
                () = stop_ordered(&mut self.orders) => false,
            };
        if go {
            if role == ProcessRole::Body {
                self.start_clock();
            }
            return Some(running);
        }
        running.turn_away().await;
        None
    }

    /// Follows a program until it has ended or must be terminated, and returns the reason.
    async fn watch(
        &mut self,
        running: &mut Running,
        printed: &mut mpsc::Receiver<Piece>,
        output: &mut impl Audience,
    ) -> Result<Ended, End> {
        let mut hand_on = tokio::time::interval(FLUSH_INTERVAL);
        hand_on.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut dirty = false;
        loop {
            tokio::select! {
                biased;
                () = stop_ordered(&mut self.orders) => return Err(End::Stopped),
                () = tokio::time::sleep_until(self.deadline) => return Err(End::TimedOut(self.bound)),
                ended = running.ended() => return Ok(ended),
                _ = hand_on.tick(), if dirty => {
                    dirty = output.flush().await;
                }
                Some(piece) = printed.recv() => {
                    output.add(piece);
                    dirty = true;
                }
                () = output.must_be_looked_at() => {}
                () = at(output.look_at()) => {
                    if let Some(why) = output.lost_patience() {
                        return Err(End::Stuck(why));
                    }
                }
            }
        }
    }
}

fn owner(brief: &Brief, role: ProcessRole) -> ProgramOwner {
    let agent = &brief.agent.id;
    let table = match role {
        ProcessRole::Gate => format!("agents.{agent}.gate"),
        ProcessRole::Body => format!("agents.{agent}"),
        ProcessRole::Check => format!("agents.{agent}.success_when"),
    };
    ProgramOwner { table, agent: Some(agent.clone()), run: Some(brief.run) }
}

/// Returns warnings for the run if the sandbox refused connections.
fn refused(running: &Running) -> Vec<String> {
    const MAX_SHOWN: usize = 5;
    let mut told = running.refused();
    let more = told.len().saturating_sub(MAX_SHOWN);
    told.truncate(MAX_SHOWN);
    if more > 0 {
        told.push(format!("the sandbox did not connect to {more} more places either"));
    }
    told
}

/// Resolves at this time; `None`: never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the run is to be stopped.
async fn stop_ordered(orders: &mut watch::Receiver<StopOrder>) {
    if orders.wait_for(|order| *order > StopOrder::None).await.is_err() {
        std::future::pending::<()>().await; // nobody is left who could
    }
}

/// Reads what is left in the pipes. Does not wait for a grandchild that holds them open.
async fn drain(printed: &mut mpsc::Receiver<Piece>, output: &mut impl Audience) {
    let longest = Instant::now() + DRAIN_TIMEOUT;
    while Instant::now() < longest {
        // longer than a reader holds back a partial line
        match tokio::time::timeout(DRAIN_IDLE_TIMEOUT + Duration::from_millis(60), printed.recv()).await {
            Ok(Some(piece)) => output.add(piece),
            Ok(None) | Err(_) => return,
        }
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signalled(signal),
        (None, None) => End::Exited(-1),
    }
}

impl Ran {
    /// Returns whether the program was executed.
    pub(super) fn is_executed(&self) -> bool {
        !matches!(self.end, End::NotExecuted(_))
    }

    /// Returns the outcome in the form that `expect` is evaluated on.
    pub(super) fn as_found(&self, code: i32) -> Value {
        json!({
            "exit_code": code,
            "exit": code,
            "stdout": self.stdout.trim_end(),
            "stderr": self.stderr.trim_end(),
        })
    }

    /// Returns whether it was ended by a termination signal (signal(7)) that the daemon did not send.
    pub(super) fn was_ended_by_others(&self) -> bool {
        use rustix::process::Signal;
        let End::Signalled(signal) = self.end else { return false };
        let ending = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::KILL];
        ending.iter().any(|one| one.as_raw() == signal)
    }

    /// Returns why this is a failure, as an error of a run; `None` if it succeeded.
    pub(super) fn error(&self, what: &str) -> Option<RunError> {
        Some(match &self.end {
            End::Exited(0) => return None,
            End::NotExecuted(why) => {
                RunError::new(ErrorKind::Spawn, format!("{what} can't be executed: {why}"))
            }
            End::Exited(code) => {
                let last = self.stderr.lines().rfind(|line| !line.trim().is_empty());
                let last =
                    last.map_or(String::new(), |line| format!(": {}", output::shorten(line.trim(), 300)));
                RunError::new(ErrorKind::ExitStatus, format!("exit status {code}{last}"))
            }
            End::Signalled(signal) => RunError::new(
                ErrorKind::Signal,
                format!("ended by signal {signal} ({}) that did not come from here", name_of(*signal)),
            ),
            End::OverMemory(why) => RunError::new(ErrorKind::Signal, format!("it {why}")),
            End::TimedOut(bound) => RunError::new(ErrorKind::Timeout, bound.to_string()),
            End::Stopped => RunError::new(ErrorKind::Interrupted, "cancelled"),
            End::Stuck(why) => why.clone(),
            End::NotStarted(why) => RunError::new(ErrorKind::Spawn, why.clone()),
            End::Unconfigured(why) => RunError::new(ErrorKind::Config, why.clone()),
        })
    }
}

fn name_of(signal: i32) -> String {
    let signal = rustix::process::Signal::from_named_raw(signal);
    signal.map_or_else(|| "unnamed".into(), |signal| format!("{signal:?}").replace("Signal::", ""))
}

#[cfg(test)]
mod tests {
    //! Tests of what is said of an end.
    use super::*;

    #[test]
    fn who_took_too_much_memory_was_not_ended_by_somebody() {
        let end = End::OverMemory("took more than its `limits.memory` of 1 GiB".into());
        let ran = Ran {
            end,
            stdout: String::new(),
            stdout_is_cut: false,
            stderr: String::new(),
            warnings: Vec::new(),
        };
        let error = ran.error("`x`").expect("it is none");
        assert_eq!((error.kind, ran.was_ended_by_others()), (ErrorKind::Signal, false));
        assert_eq!(error.message, "it took more than its `limits.memory` of 1 GiB");
    }
}
