//! Runs one program, from its start at the gate to the last of its group.
use super::broken::Break;
use super::output::{self, Output, Piece};
use super::report::{Brief, Report, Shared, StopOrder};
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
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Pieces of output that wait to be looked at.
const PIECES_WAITING: usize = 16;
/// How often output is handed on.
const HAND_ON: Duration = Duration::from_millis(100);
/// After the leader's end, pipes that others hold open are read no longer than this…
const LONGEST_DRAIN: Duration = Duration::from_secs(2);
/// …and only while something comes.
const SILENCE: Duration = Duration::from_millis(200);

/// How a program ended.
#[derive(Debug)]
pub(super) enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal that we did not send.
    Signalled(i32),
    /// By the system, since it took more memory than it may: what is to be said of it.
    OverMemory(String),
    /// It ran longer than it may.
    TimedOut(Bound),
    /// Somebody wanted it to end.
    Stopped,
    /// It did not get on with its work.
    Stuck(RunError),
    /// It could not be started.
    NotStarted(String),
    /// It was let start, and could not be executed: why.
    NotExecuted(String),
    /// Something that it needs can't be had: a secret.
    Unconfigured(String),
}

/// The bound of time that something must keep.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// That of one attempt.
    Attempt(SignedDuration),
    /// That of all attempts together.
    Total(SignedDuration),
    /// That of a gate.
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
    /// Whose it is.
    pub(super) owner: ProgramOwner,
    pub(super) surroundings: Surroundings,
}

/// Whoever takes what a program prints.
pub(super) trait Audience: Send {
    /// It has been let go.
    fn begins(&mut self) {}

    /// Takes a piece.
    fn add(&mut self, piece: Piece);

    /// Hands on what waits. True: something waits still.
    fn flush(&mut self) -> impl Future<Output = bool> + Send;

    /// When it is to be asked whether the program still gets on; `None`: never.
    fn look_at(&self) -> Option<Instant> {
        None
    }

    /// Returns when that is to be asked at once.
    fn must_be_looked_at(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Why the program must end now, if it does not get on.
    fn lost_patience(&mut self) -> Option<RunError> {
        None
    }

    /// It is about to be ended, for this.
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
    /// The end of its standard output.
    pub(super) stdout: String,
    /// Was there more of it before that?
    pub(super) stdout_is_cut: bool,
    /// The end of its standard error.
    pub(super) stderr: String,
    pub(super) warnings: Vec<String>,
}

/// What the parts of an attempt share.
pub(super) struct Attempt<'a> {
    pub(super) brief: &'a Brief,
    pub(super) shared: &'a Shared,
    pub(super) orders: watch::Receiver<StopOrder>,
    /// When what is under way must be over: the gate, or body and proof together.
    pub(super) deadline: Instant,
    /// Which bound that is.
    pub(super) bound: Bound,
    /// When all attempts together must be over.
    pub(super) last: Option<Instant>,
    /// What probes found that are its gate or a proof.
    /// Items of the gate that are new.
    pub(super) seen: Vec<String>,
    /// What the gate gave when a conversation began that goes on now.
    pub(super) gate_before: Option<String>,
    /// What is to be said of a model's server that does not read all that it is sent.
    pub(super) cut_by_server: Option<String>,
    pub(super) findings: Vec<Finding>,
}

impl Attempt<'_> {
    /// Begins to count the time of the body. To be called (again) when it may really go on: what was
    /// waited for before is not its time.
    pub(super) fn start_clock(&mut self) {
        let limit = self.brief.agent.limits.timeout;
        self.allow(limit, Bound::Attempt(limit));
    }

    /// Begins to count the time of the gate, which is not taken from that of the body.
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

    /// Does what comes before the program, unless the run is stopped or its time is up meanwhile.
    pub(super) async fn while_wanted<T>(&self, what: impl Future<Output = T>) -> Result<T, Break> {
        let mut orders = self.orders.clone();
        tokio::select! {
            biased;
            () = ordered(&mut orders) => Err(Break::Stopped),
            () = tokio::time::sleep_until(self.deadline) => {
                Err(Break::failed(ErrorKind::Timeout, self.bound.to_string()))
            }
            done = what => Ok(done),
        }
    }

    /// Does what comes after the program: in the time that is left or at least in `least`, and after a stop no longer than
    /// that. `None`: it took too long, or the run is to be killed.
    pub(super) async fn before_it_is_over<T>(
        &self,
        least: Duration,
        what: impl Future<Output = T>,
    ) -> Option<T> {
        let limit = Instant::now() + least.max(self.time_left());
        let (mut orders, mut killed) = (self.orders.clone(), self.orders.clone());
        let stopped = async {
            ordered(&mut orders).await;
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

    /// Runs a program; `output` takes what it prints.
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

    /// Starts a program and follows it to its end; `output` takes what it prints.
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
        // what hinders a start is the better reason than that time was up
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
            () = ordered(&mut self.orders) => return End::Stopped,
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
        let (pieces, mut printed) = mpsc::channel(PIECES_WAITING);
        // They end with this call: whoever still holds a pipe open then is not read any more.
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
        // what the program left behind ends with it
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

    /// Makes the process durable; then it may go on. `None`: it must not, and is gone.
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
                () = ordered(&mut self.orders) => false,
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

    /// Follows a program until it has ended, or must be ended: then this is why.
    async fn watch(
        &mut self,
        running: &mut Running,
        printed: &mut mpsc::Receiver<Piece>,
        output: &mut impl Audience,
    ) -> Result<Ended, End> {
        let mut hand_on = tokio::time::interval(HAND_ON);
        hand_on.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut dirty = false;
        loop {
            tokio::select! {
                biased;
                () = ordered(&mut self.orders) => return Err(End::Stopped),
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

/// Whose program it is.
fn owner(brief: &Brief, role: ProcessRole) -> ProgramOwner {
    let agent = &brief.agent.id;
    let table = match role {
        ProcessRole::Gate => format!("agents.{agent}.gate"),
        ProcessRole::Body => format!("agents.{agent}"),
        ProcessRole::Check => format!("agents.{agent}.success_when"),
    };
    ProgramOwner { table, agent: Some(agent.clone()), run: Some(brief.run) }
}

/// Warnings for the run, if the sandbox refused connections.
fn refused(running: &Running) -> Vec<String> {
    const MOST: usize = 5;
    let mut told = running.refused();
    let more = told.len().saturating_sub(MOST);
    told.truncate(MOST);
    if more > 0 {
        told.push(format!("the sandbox did not connect to {more} more places either"));
    }
    told
}

/// Returns at this time; `None`: never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Returns when somebody wants the run to end.
async fn ordered(orders: &mut watch::Receiver<StopOrder>) {
    if orders.wait_for(|order| *order > StopOrder::None).await.is_err() {
        std::future::pending::<()>().await; // nobody is left who could
    }
}

/// Reads what is still in the pipes. A grandchild that holds them open is not waited for.
async fn drain(printed: &mut mpsc::Receiver<Piece>, output: &mut impl Audience) {
    let longest = Instant::now() + LONGEST_DRAIN;
    while Instant::now() < longest {
        // longer than a reader holds back half a line
        match tokio::time::timeout(SILENCE + Duration::from_millis(60), printed.recv()).await {
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
    /// Was the program executed?
    pub(super) fn is_executed(&self) -> bool {
        !matches!(self.end, End::NotExecuted(_))
    }

    /// What is looked at where something is expected of it.
    pub(super) fn as_found(&self, code: i32) -> Value {
        json!({
            "exit_code": code,
            "exit": code,
            "stdout": self.stdout.trim_end(),
            "stderr": self.stderr.trim_end(),
        })
    }

    /// Was it ended by a signal with which programs are asked or made to end (signal(7)), and not from here?
    pub(super) fn was_ended_by_others(&self) -> bool {
        use rustix::process::Signal;
        let End::Signalled(signal) = self.end else { return false };
        let ending = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::KILL];
        ending.iter().any(|one| one.as_raw() == signal)
    }

    /// Why this is no success, as an error of a run; `None` if it is one.
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
