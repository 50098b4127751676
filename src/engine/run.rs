//! The lifecycle of a run: begun, ended or retried, revised, dropped, started and cancelled manually. Which run may
//! start when is left to `queue`.
use super::queue::RunClaim;
use super::tell::EndedRun;
use super::{Action, CancelCause, Engine, Place, Refusal, Reply, retry};
use crate::domain::*;
use jiff::SignedDuration;
use std::sync::Arc;

/// Error of a run that was cut short when the daemon shut down.
const ENDED_BY_SHUTDOWN: &str =
    "the daemon shut down before the run finished; whether its work was done is unknown";

impl Engine {
    /// Records that a process of a run waits at its gate, or that a body without a process begins. Returns false if
    /// it must not go on.
    pub(super) fn began(
        &mut self,
        now: Now,
        id: RunId,
        attempt: u32,
        role: ProcessRole,
        process: Option<Process>,
    ) -> bool {
        let Some(run) =
            self.runs.get_mut(&id).filter(|run| run.place == Place::Active && run.record.attempt == attempt)
        else {
            return false;
        };
        if run.cancelled.is_some() {
            return false;
        }
        self.chain = run.record.chain;
        run.begun = true;
        if role != ProcessRole::Body {
            if let Some(process) = process {
                self.push(now, Fact::ProcessStarted { run: id, attempt, role, process });
            }
            return true;
        }
        self.body_began(now, id, attempt, process);
        true
    }

    /// Records that the body of an attempt begins, or has begun.
    fn body_began(&mut self, now: Now, id: RunId, attempt: u32, process: Option<Process>) {
        let run = self.runs.get_mut(&id).expect("the caller looked it up");
        let started_at = *run.record.started_at.get_or_insert(run.looks_since.unwrap_or(now.wall));
        let first = !std::mem::replace(&mut run.counted, true);
        let (agent, trigger, slot) = (run.agent, run.record.trigger, run.record.any_slot());
        let params = run.record.params.clone();
        let state = &mut self.agents[agent as usize];
        state.counters.runs += u64::from(first);
        let fact = Fact::AttemptStarted {
            run: id,
            agent: state.spec.id.clone(),
            attempt,
            started_at,
            run_count: state.counters.runs,
            trigger,
            slot,
            params,
            process,
        };
        self.push(now, fact);
        if first {
            self.ping(id, PingSignal::Start);
            self.touch(agent);
        }
    }

    /// Pings the external monitor of the run's agent, if it has one. Rehearsals and replays are not reported.
    fn ping(&mut self, id: RunId, signal: PingSignal) {
        let Some(run) = self.runs.get(&id) else { return };
        if run.record.mode.is_normal() {
            self.ping_of(run.agent, id, signal);
        }
    }

    fn ping_of(&mut self, agent: u32, run: RunId, signal: PingSignal) {
        let spec = &self.agents[agent as usize].spec;
        if let Some(ping) = &spec.ping {
            let (agent, spec) = (spec.id.clone(), ping.clone());
            self.out.actions.push(Action::Ping { agent, spec, signal, run });
        }
    }

    /// Handles the end of an attempt: the run is retried, waits, or ends.
    pub(super) fn attempt_ended(&mut self, now: Now, id: RunId, attempt: u32, outcome: AttemptOutcome) {
        let Some(run) =
            self.runs.get_mut(&id).filter(|run| run.place == Place::Active && run.record.attempt == attempt)
        else {
            return;
        };
        self.chain = run.record.chain;
        let agent = run.agent;
        let cancelled = run.cancelled;
        let talks = run.spec.body.goes_on();
        let looked = run.looks_since.is_some() && !run.counted;
        self.release_capacity(now, id);
        self.close_account(now, id);
        if looked && cancelled.is_none() && self.is_as_well_as_before(agent, &outcome) {
            return self.end_unchanged(now, id);
        }
        if looked {
            self.body_began(now, id, attempt, None);
        }
        self.findings(now, agent, id, &outcome.findings);
        if talks && cancelled == Some(CancelCause::Shutdown) && outcome.end == AttemptEnd::Cancelled {
            return; // no end yet: the next daemon continues it
        }
        let asked_gate = matches!(outcome.end, AttemptEnd::GateClosed | AttemptEnd::GateOpen);
        let by_gate = asked_gate && !outcome.findings.is_empty();
        if outcome.end == AttemptEnd::Completed || by_gate {
            let spec = self.runs[&id].spec.clone();
            self.forget_unprobed(now, agent, &spec, &outcome.findings);
        }
        let error = match (&outcome.end, cancelled) {
            (AttemptEnd::Completed, _) => return self.finish(now, id, RunStatus::Completed, None, outcome),
            (AttemptEnd::GateClosed, _) => return self.gate_closed(now, id, outcome),
            (AttemptEnd::GateOpen, _) => return self.gate_was_asked(now, id, &outcome.warnings),
            (AttemptEnd::Waits(wanted), None | Some(CancelCause::Shutdown)) => {
                return self.waits(now, id, wanted.clone());
            }
            (_, Some(CancelCause::Person)) => {
                let error = RunError::new(ErrorKind::Interrupted, "cancelled by hand");
                return self.finish(now, id, RunStatus::Cancelled, Some(error), outcome);
            }
            (_, Some(CancelCause::NewerSlot)) => {
                let error = RunError::new(ErrorKind::Interrupted, "cancelled: a newer slot took its place");
                return self.finish(now, id, RunStatus::Cancelled, Some(error), outcome);
            }
            (AttemptEnd::Cancelled, Some(CancelCause::Shutdown)) => {
                return self.failed(
                    now,
                    id,
                    RunError::new(ErrorKind::Interrupted, ENDED_BY_SHUTDOWN),
                    outcome,
                    true,
                );
            }
            // whatever terminates the daemon may terminate its children as well (a service manager, a logout)
            (AttemptEnd::Failed(error), _) if self.stopping && outcome.ended_by_others => {
                let error = RunError::new(
                    error.kind,
                    format!("while the daemon was shutting down: {}", error.message),
                );
                return self.failed(now, id, error, outcome, true);
            }
            (AttemptEnd::Cancelled, None) => RunError::new(
                ErrorKind::Interrupted,
                "the attempt ended before its work was done, and nobody had asked for that",
            ),
            (AttemptEnd::Failed(error), _) => error.clone(),
        };
        self.failed(now, id, error, outcome, false);
    }

    /// Handles a failed attempt, or (`asked`) one ended by the shutdown of the daemon: schedules a retry, or ends
    /// the run.
    pub(super) fn failed(
        &mut self,
        now: Now,
        id: RunId,
        error: RunError,
        outcome: AttemptOutcome,
        asked: bool,
    ) {
        let run = &self.runs[&id];
        let elapsed = run.started_mono.map_or(SignedDuration::ZERO, |began| now.mono - began);
        let delay = retry::delay(&run.spec, &run.record, error.kind, elapsed, outcome.retry_after);
        let over = self.agents[run.agent as usize].is_over(run.record.trigger);
        let Some(delay) = delay.filter(|_| !over && !outcome.conclusive) else {
            let status = match error.kind {
                _ if asked => RunStatus::Cancelled,
                ErrorKind::Timeout => RunStatus::TimedOut,
                ErrorKind::Unverified => RunStatus::Unverified,
                ErrorKind::Interrupted => RunStatus::Interrupted,
                _ => RunStatus::Failed,
            };
            return self.finish(now, id, status, Some(error), outcome);
        };
        let run = self.runs.get_mut(&id).expect("looked at above");
        let retry_at = now.wall + delay;
        run.record.status = RunStatus::Retrying;
        run.record.not_before = Some(retry_at);
        run.cancelled = None;
        self.forget_approvals(id);
        let run = &self.runs[&id];
        let fact = Fact::AttemptFailed {
            run: id,
            agent: run.spec.id.clone(),
            attempt: run.record.attempt,
            error,
            error_count: self.agents[run.agent as usize].counters.errors,
            retry_at,
            asked,
        };
        self.push(now, fact);
        self.enqueue(id, Some(now.mono + delay));
    }

    /// Handles a closed gate: the run is discarded and the verdict of its slot revised. A run whose body had begun
    /// in an earlier attempt can't be discarded: it ends as neither success nor failure.
    fn gate_closed(&mut self, now: Now, id: RunId, outcome: AttemptOutcome) {
        let nothing = "the gate says that there is nothing to do";
        if self.runs[&id].counted {
            let error = RunError::new(ErrorKind::Interrupted, format!("not tried again: {nothing}"));
            return self.finish(now, id, RunStatus::Cancelled, Some(error), outcome);
        }
        let cause = match &outcome.warnings[..] {
            [] => nothing.to_owned(),
            warnings => format!("{nothing}; a warning: {}", warnings.join("; ")),
        };
        self.revise(now, id, Verdict::SkippedGate, &cause);
    }

    /// Handles an attempt that evaluated only the gate: the run is discarded, and its slot gets the verdict that it
    /// would have had without the gate.
    fn gate_was_asked(&mut self, now: Now, id: RunId, warnings: &[String]) {
        let run = self.runs.get_mut(&id).expect("the caller looked it up");
        let agent = run.agent;
        // unknown if an earlier leader started it: use the current state
        let held = run.held_back.take().or_else(|| self.held_back(now, agent));
        let Some((verdict, mut cause)) = held else {
            return self.go_on(id);
        };
        cause.push_str("; the gate was asked all the same");
        if !warnings.is_empty() {
            cause = format!("{cause}, with a warning: {}", warnings.join("; "));
        }
        self.revise(now, id, verdict, &cause);
    }

    /// Returns whether a probe found everything well, as before: no incident was open, and the previous run
    /// completed, too.
    fn is_as_well_as_before(&self, agent: u32, outcome: &AttemptOutcome) -> bool {
        let nothing_wrong = self.incidents.get(&agent).is_none_or(|known| known.is_empty());
        let is_well = |finding: &Finding| matches!(finding.level, Level::Ok | Level::Hold);
        outcome.end == AttemptEnd::Completed
            && outcome.warnings.is_empty()
            && outcome.findings.iter().all(is_well)
            && nothing_wrong
            && self.agents[agent as usize].calm
    }

    /// Ends a run whose findings equal those of the previous run: it is counted, its slot stays `ran`, and the rest
    /// is discarded.
    fn end_unchanged(&mut self, now: Now, id: RunId) {
        let Some(run) = self.forget(now, id) else { return };
        let state = &mut self.agents[run.agent as usize];
        state.counters.runs += 1;
        state.counters.successes += 1;
        state.last_success = Some(now.wall);
        self.unwatch_run(now, &run);
        self.answered(now, run.agent);
        self.ping_of(run.agent, id, PingSignal::Success);
        let state = &mut self.agents[run.agent as usize];
        let last = LastRun {
            run: id,
            kept: false,
            status: RunStatus::Completed,
            started_at: run.looks_since,
            finished_at: now.wall,
            duration: run.started_mono.map_or(SignedDuration::ZERO, |began| now.mono - began),
            error: None,
        };
        state.last_run = Some(Box::new(last));
        let (agent, slot, joins) = (state.spec.id.clone(), run.record.slot, state.is_behind(run.record.slot));
        let (verdict, cause) = (Verdict::Ran, ALL_WELL.to_owned());
        self.push(now, Fact::SlotRevised { agent, slot, run: id, verdict, cause, quiet: true, joins });
    }

    /// Discards a run that did not begin, and revises the verdict of its slot.
    fn revise(&mut self, now: Now, id: RunId, verdict: Verdict, cause: &str) {
        let Some(run) = self.forget(now, id) else { return };
        self.unwatch_run(now, &run);
        if verdict == Verdict::SkippedGate {
            self.gate_answered(now, run.agent);
            self.answered(now, run.agent);
            self.ping_of(run.agent, id, PingSignal::Success);
        }
        let same = run.before.is_some_and(|(before, why)| before == verdict && *why == *cause);
        let quiet = same && verdict.is_quiet_in_a_row();
        let state = &mut self.agents[run.agent as usize];
        let slot = run.record.slot;
        if slot.is_some() {
            state.counters.skipped += 1;
            // a slot in the future (the clock was set back) does not precede the next one
            if slot.is_some_and(|slot| Some(slot) == state.high_water() && slot <= now.wall) {
                state.streak = Some((verdict, cause.into()));
            }
        }
        let (agent, joins, cause) = (state.spec.id.clone(), state.is_behind(slot), cause.to_owned());
        self.push(now, Fact::SlotRevised { agent, slot, run: id, verdict, cause, quiet, joins });
    }

    /// Ends a run that is not in flight: `dropped` if it never began, else `cancelled`.
    pub(super) fn drop_waiting(&mut self, now: Now, id: RunId, why: &str) {
        let run = &self.runs[&id];
        assert!(!cfg!(checked) || run.place != Place::Active);
        if !run.has_begun() && run.record.slot.is_some() {
            self.revise(now, id, Verdict::Dropped, why);
        } else {
            let error = RunError::new(ErrorKind::Interrupted, format!("cancelled: {why}"));
            self.finish(
                now,
                id,
                RunStatus::Cancelled,
                Some(error),
                AttemptOutcome::of(AttemptEnd::Cancelled),
            );
        }
    }

    /// Ends a run, with everything that follows from it.
    pub(super) fn finish(
        &mut self,
        now: Now,
        id: RunId,
        status: RunStatus,
        error: Option<RunError>,
        mut outcome: AttemptOutcome,
    ) {
        let Some(run) = self.forget(now, id) else { return };
        let agent = run.agent;
        let was_slow = self.unwatch_run(now, &run);
        let duration = run.started_mono.map_or(SignedDuration::ZERO, |began| now.mono - began);
        let state = &mut self.agents[agent as usize];
        if !run.counted && status != RunStatus::Cancelled {
            state.counters.runs += 1;
        }
        // the outcome of a rehearsal or a replay says nothing about the agent's health
        let real = run.record.mode.is_normal();
        if real {
            if status == RunStatus::Completed {
                state.counters.successes += 1;
                state.last_success = Some(now.wall);
            } else if status.is_failure() {
                state.counters.errors += 1;
            }
            state.calm = status == RunStatus::Completed && run.spec.config_hash == state.spec.config_hash;
            let last = LastRun {
                run: id,
                kept: true,
                status,
                started_at: run.record.started_at,
                finished_at: now.wall,
                duration,
                error: error.clone(),
            };
            state.last_run = Some(Box::new(last));
        }
        let counters = state.counters;
        let id_of_agent = state.spec.id.clone();
        if let Some(after) = run.spec.slow_after.filter(|_| was_slow) {
            let (took, after) = (human_duration(duration), human_duration(after));
            outcome.warnings.push(format!("slow: it took {took}, and `slow_after` is {after}"));
        }
        if status == RunStatus::Completed {
            self.record_answer_and_memory(now, &run, &outcome);
        }
        // an attempt that was cut short may not report its usage
        let usage = if run.record.used == Usage::default() { outcome.usage } else { run.record.used };
        self.backfilled(now, &run, status, usage.usd);
        let fact = Fact::RunEnded {
            run: id,
            real,
            agent: id_of_agent,
            status,
            attempt: run.record.attempt,
            result: outcome.result.clone(),
            untrusted: outcome.untrusted,
            error: error.clone(),
            exit_code: outcome.exit_code,
            usage,
            duration,
            run_count: counters.runs,
            error_count: counters.errors,
            warnings: outcome.warnings.clone(),
        };
        self.push(now, fact);
        if real {
            match status {
                RunStatus::Completed => self.ping_of(agent, id, PingSignal::Success),
                status if status.is_failure() => self.ping_of(agent, id, PingSignal::Fail),
                _ => {}
            }
            self.judge_health(now, agent, status, error.as_ref());
        }
        if real && status == RunStatus::Completed {
            self.answered(now, agent);
            let ended = EndedRun {
                result: outcome.result.as_deref(),
                result_is_cut: outcome.result_is_cut,
                gate: outcome.gate.as_deref(),
                exit_code: outcome.exit_code,
                usage,
                duration,
                warnings: &outcome.warnings,
            };
            self.notify_completed(now, &run, &ended);
        }
    }

    /// Records the answer of a completed run, and adds what it leaves behind to the agent's memory.
    fn record_answer_and_memory(&mut self, now: Now, run: &super::Run, outcome: &AttemptOutcome) {
        let (id, spec) = (run.record.run, &run.spec);
        let talk = |said| Talk {
            run: id,
            agent: spec.id.clone(),
            session: spec.session(),
            attempt: run.record.attempt,
            said,
        };
        if let (true, Some(text)) = (spec.body.asks_models(), &outcome.result) {
            self.push(now, Fact::Talked(Box::new(talk(Said::Final { text: text.clone() }))));
        }
        if !run.record.mode.is_normal() {
            return;
        }
        if let Some(result) = &outcome.result {
            self.diagnosed(now, &run.record, result);
        }
        if let Body::Query(query) = &spec.body
            && let Memory::Session { store, .. } = query.memory
            && !outcome.said.is_empty()
        {
            let (session, messages) = (spec.session(), outcome.said.clone());
            let change =
                MemoryChange::Said { session, run: id, messages, untrusted: outcome.untrusted, store };
            self.push(now, Fact::Remembered(Box::new(change)));
        }
        if !outcome.seen.is_empty() {
            let change = MemoryChange::Seen { agent: spec.id.clone(), items: outcome.seen.clone() };
            self.push(now, Fact::Remembered(Box::new(change)));
        }
    }

    /// Removes a run whose slot was already claimed in the store: it never existed.
    pub(super) fn claim_refused(&mut self, now: Now, id: RunId) {
        if self.runs.get(&id).is_some_and(|run| run.place == Place::Active) {
            self.release_capacity(now, id);
        }
        if let Some(run) = self.forget(now, id) {
            self.unwatch_run(now, &run);
        }
    }

    pub(super) fn run_by_hand(
        &mut self,
        now: Now,
        id: &AgentId,
        query: Option<Arc<str>>,
        params: &ParamValues,
        mode: RunMode,
    ) -> Result<Reply, Refusal> {
        let agent = self.index(id)?;
        let state = &self.agents[agent as usize];
        let params = state.params_of(params, now.wall)?;
        if !mode.is_normal() && !matches!(state.spec.body, Body::Query(_)) {
            let refused = format!(
                "agent `{id}` has no model: only agents with a `query` and a `model` can be rehearsed or replayed"
            );
            return Err(Refusal::WrongState(refused));
        }
        if let (Some(_), Body::Tool(call)) = (&query, &state.spec.body) {
            let refused = format!(
                "agent `{id}` calls the tool `{}`, which takes no query: only agents with a `query` or a `command` do",
                call.tool
            );
            return Err(Refusal::WrongState(refused));
        }
        if let Some(live) = state.live.iter().find(|id| self.runs[id].record.past.is_none())
            && matches!(state.spec.overlap, Overlap::Skip)
        {
            let refused =
                format!("agent `{id}` has run {} in flight, and its `overlap` is \"skip\"", live.short());
            return Err(Refusal::WrongState(refused));
        }
        if let Some(cause) = self.refused_by_hand(now, agent, query.is_some()) {
            return Err(Refusal::Budget(cause));
        }
        let state = &self.agents[agent as usize];
        let note = match (state.desired, state.circuit) {
            (Desired::Active, None) => None,
            (Desired::Active, Some(_)) => {
                Some("its circuit is open; this run was asked for by hand".to_owned())
            }
            (desired, _) => Some(format!("agent is {desired}; this run was asked for by hand")),
        };
        let given = match state.spec.uses_gate(query.as_deref()) {
            true => "; what it gives is filled in",
            false => "",
        };
        let note = match (note, state.spec.gate.is_some()) {
            (note, false) => note,
            (None, true) => Some(format!("its gate does not decide, since you asked for this run{given}")),
            (Some(note), true) => Some(format!("{note}, and its gate does not decide{given}")),
        };
        if state.spec.overlap == Overlap::CancelPrevious && mode.is_normal() {
            self.cancel_previous(now, agent);
        }
        let run = self.claim(now, agent, RunClaim { params, query, mode, ..RunClaim::of(Trigger::Manual) });
        self.dispatch(now);
        let queued = self.runs[&run].place != Place::Active;
        self.touch(agent);
        Ok(Reply::RunClaimed { run, queued, note })
    }

    pub(super) fn cancel_by_hand(&mut self, now: Now, id: RunId, kill: bool) -> Result<Reply, Refusal> {
        let run = self.runs.get_mut(&id).ok_or(Refusal::NoSuchRun(id))?;
        let mut record = Box::new(run.record.clone());
        if run.place == Place::Active {
            run.cancelled.get_or_insert(CancelCause::Person);
            self.out.actions.push(Action::Cancel { run: id, kill });
            return Ok(Reply::Cancelling { run: record, finished_at: None });
        }
        self.drop_waiting(now, id, "a person cancelled the run");
        record.status = RunStatus::Cancelled;
        record.not_before = None;
        Ok(Reply::Cancelling { run: record, finished_at: Some(now.wall) })
    }
}
