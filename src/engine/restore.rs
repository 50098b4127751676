//! Restart of the daemon: continues from what was committed.
use super::agent::{AgentState, PAST};
use super::budget::Money;
use super::queue::Queue;
use super::{Decision, Engine, Place, Run};
use crate::domain::*;
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The state that the store has kept.
#[derive(Debug, Default)]
pub struct Restored {
    /// Every agent ever seen.
    pub agents: Vec<AgentRecord>,
    /// Runs that have not ended, oldest first.
    pub open_runs: Vec<RunRecord>,
    /// Incidents that are pending or open.
    pub incidents: Vec<IncidentRecord>,
    /// Calls that wait for approval.
    pub approvals: Vec<ApprovalRecord>,
    /// Model requests without a known outcome.
    pub holds: Vec<HoldRecord>,
    /// Amounts used by day and agent.
    pub spent: Vec<SpentRow>,
    /// Backfills that have not ended.
    pub backfills: Vec<BackfillRecord>,
    /// Budget notifications already sent.
    pub told: Vec<BudgetTold>,
    /// Ends of runs that agents with a [`Join`] wait for and that no start has consumed, each with the waiting
    /// agent.
    pub arrivals: Vec<(AgentId, Event)>,
    /// Node sessions that may be running something, or whose reports are not all decided.
    pub nodes: Vec<LiveNode>,
    /// The newest run ever: new ids come after it.
    pub newest_run: Option<RunId>,
    /// A period whose records were lost.
    pub lost: Option<LostRecords>,
}

impl Engine {
    /// Restores the fleet from the state at the end of the last daemon. Nothing that it had started may be alive:
    /// the caller has ended the processes of `open_runs`.
    ///
    /// `seed` is part of run ids and must differ between starts. The decision holds `started`, then the outcome of
    /// open runs and of the slots that passed meanwhile.
    pub fn restore(
        now: Now,
        seed: u64,
        fleet: Arc<Fleet>,
        restored: Restored,
        started: Fact,
    ) -> (Self, Decision) {
        let asked_at = restored.approvals.iter().map(|one| {
            let waited = now.wall.duration_since(one.requested_at).max(SignedDuration::ZERO);
            (one.run, now.mono - waited)
        });
        let asked_at = asked_at.collect();
        let mut engine = Self {
            fleet: fleet.clone(),
            looks: BTreeSet::new(),
            asking: false,
            unseen: Some(Verdict::MissedDowntime),
            lost: restored.lost,
            agents: Vec::with_capacity(fleet.agents.len()),
            by_id: HashMap::with_capacity(fleet.agents.len()),
            gone: BTreeMap::new(),
            due: BTreeSet::new(),
            resumes: BTreeSet::new(),
            timers: BTreeSet::new(),
            runs: HashMap::new(),
            queue: Queue::default(),
            nodes: super::places::Nodes::of(&fleet.daemon.node.labels, restored.nodes),
            incidents: HashMap::new(),
            own_incidents: BTreeMap::new(),
            late: BTreeSet::new(),
            slow: BTreeSet::new(),
            backfills: restored.backfills.into_iter().map(|one| (one.agent.clone(), one)).collect(),
            money: Money::restored(restored.spent, restored.told),
            approvals: restored
                .approvals
                .into_iter()
                .map(|one| (one.wanted.id.clone(), (one.run, one.wanted)))
                .collect(),
            asked_at,
            triggers: HashMap::new(),
            joins: HashMap::new(),
            last: now,
            steady_since: now.boot,
            seed,
            newest_id: restored.newest_run.map_or(0, |run| run.unix_ms() + 1),
            made: 0,
            stopping: false,
            outdated: false,
            chain: 0,
            dirty: Vec::new(),
            depths: Vec::new(),
            out: Decision::default(),
        };
        engine.push(now, started);
        let known: HashMap<AgentId, AgentRecord> =
            restored.agents.into_iter().map(|record| (record.agent.clone(), record)).collect();
        let mut rewritten = engine.take_up_agents(now, &fleet, known);
        engine.index_triggers();
        engine.restore_arrivals(now, restored.arrivals);
        for mut incident in restored.incidents {
            // may have been written by a clock that was ahead
            incident.told_at = incident.told_at.map(|told| told.min(now.wall));
            if !incident.is_open() {
                incident.since = incident.since.min(now.wall);
            }
            if incident.is_of_daemon() {
                engine.restore_own_incident(incident);
                continue;
            }
            match engine.index(&incident.agent) {
                Ok(agent) => {
                    engine.incidents.entry(agent).or_default().insert(incident.key.clone(), incident);
                }
                Err(_) => engine.close_incident(now, incident),
            }
        }
        engine.close_obsolete_incidents(now);
        for agent in 0..u32::try_from(engine.agents.len()).expect("fewer than 2^32 agents") {
            engine.resume_expectation(now, agent);
        }
        let mut open_runs = restored.open_runs;
        engine.charge_restored(now, restored.holds, &mut open_runs);
        for record in open_runs {
            match engine.index(&record.agent) {
                Ok(agent) => engine.take_up_run(now, agent, record),
                Err(_) => {
                    rewritten.insert(record.agent.clone());
                    engine.orphan(now, record);
                }
            }
        }
        for id in rewritten {
            if let Some(record) = engine.gone.get(&id).cloned() {
                engine.push(now, Fact::AgentSaved(Box::new(record)));
            }
        }
        engine.resume_due(now);
        engine.fire(now, Some(Verdict::MissedDowntime));
        let decision = engine.settle(now);
        (engine, decision)
    }

    /// Restores the configured agents; returns those that are no longer configured since this start.
    fn take_up_agents(
        &mut self,
        now: Now,
        fleet: &Fleet,
        mut known: HashMap<AgentId, AgentRecord>,
    ) -> BTreeSet<AgentId> {
        let first_life = known.is_empty();
        let mut added = Vec::new();
        let mut changed = Vec::new();
        for spec in &fleet.agents {
            match known.remove(&spec.id) {
                None => {
                    added.push(spec.id.clone());
                    self.add_agent(now, spec.clone());
                }
                Some(record) => {
                    if record.removed || !spec.is_identified_by(record.config_hash) {
                        changed.push(spec.id.clone());
                    }
                    self.add_known(now, spec.clone(), record);
                }
            }
        }
        let mut gone: BTreeMap<AgentId, AgentRecord> = known.into_iter().collect();
        let mut removed = Vec::new();
        for (id, record) in gone.iter_mut().filter(|(_, record)| !record.removed) {
            removed.push(id.clone());
            self.report_removed(now, record);
            record.removed = true;
            record.next_due = None;
            record.awaited_since = None;
        }
        self.gone = gone;
        let rewritten = removed.iter().cloned().collect();
        if first_life || !(added.is_empty() && changed.is_empty() && removed.is_empty()) {
            self.config_applied(now, fleet, (added, changed, removed));
        }
        rewritten
    }

    /// Adds an agent never seen before.
    pub(super) fn add_agent(&mut self, now: Now, spec: Arc<AgentSpec>) {
        let mut state = AgentState::fresh(spec, now);
        if let (Some(at), Desired::Active) = (state.spec.schedule.last_moment(), state.desired)
            && at <= now.wall
        {
            state.desired = Desired::Stopped;
            state.reason = Some(PAST.into());
        }
        let slot = if state.desired == Desired::Active { state.first_slot(now) } else { None };
        let agent = self.insert(state);
        self.schedule(agent, slot);
        self.touch(agent);
    }

    pub(super) fn add_known(&mut self, now: Now, spec: Arc<AgentSpec>, record: AgentRecord) {
        let moved = record.schedule != spec.schedule.describe();
        let written = record.clone();
        let removed = record.removed;
        let agent = self.insert(AgentState::known(spec, record));
        self.bound_waits(now, agent);
        let state = &mut self.agents[agent as usize];
        if let Some(at) = state.resume_at.filter(|_| state.desired == Desired::Paused) {
            self.resumes.insert((at, agent));
        }
        if removed {
            self.revive(now, agent);
        }
        let state = &mut self.agents[agent as usize];
        if moved || removed {
            self.begin_anew(now, agent);
        } else if state.desired != Desired::Stopped || state.needs_ledger(now.wall) {
            let slot = state.first_slot(now);
            self.place(agent, slot);
        } else {
            self.revive_one_shot(now, agent);
        }
        if self.agents[agent as usize].record() != written {
            self.touch(agent);
        }
    }

    fn insert(&mut self, state: AgentState) -> u32 {
        let agent = u32::try_from(self.agents.len()).expect("fewer than 2^32 agents");
        self.by_id.insert(state.spec.id.clone(), agent);
        self.agents.push(state);
        agent
    }

    /// Restores a run without an end. Claimed without a process: it provably never ran, and starts now. With one:
    /// it was interrupted. Between two attempts: it keeps waiting.
    fn take_up_run(&mut self, now: Now, agent: u32, record: RunRecord) {
        let id = record.run;
        let status = record.status;
        let untouched = status == RunStatus::Queued && record.processes.is_empty();
        let state = &mut self.agents[agent as usize];
        state.live.push(id);
        if matches!(state.spec.schedule, Schedule::After(_)) {
            self.schedule(agent, None);
        }
        let state = &self.agents[agent as usize];
        // a clock that was wrong during downtime can't make a wait longer than the longest possible one
        let longest = match status {
            RunStatus::Retrying => super::retry::longest(&state.spec),
            _ => super::slots::longest_catch_up_delay(&state.spec),
        };
        let waits = record
            .not_before
            .map(|at| now.mono + at.duration_since(now.wall).clamp(SignedDuration::ZERO, longest));
        let over = state.is_over(record.trigger);
        let run = Run {
            agent,
            spec: state.spec.clone(),
            place: Place::Ready,
            begun: false,
            counted: record.started_at.is_some(),
            started_mono: record.started_at.map(|at| {
                let lasted = now.wall.duration_since(at).saturating_sub(record.clock_moved);
                now.mono - lasted.max(SignedDuration::ZERO)
            }),
            held_back: None,
            turn: 0,
            cancelled: None,
            before: None,
            looks_since: None,
            slow_at: None,
            is_slow: false,
            record,
        };
        self.chain = run.record.chain;
        let of_slot = run.record.slot.is_some();
        self.runs.insert(id, run);
        if of_slot {
            self.expect_success(now, agent);
        }
        let node = self.runs[&id].record.node.clone();
        if self.restore_at_node(now, id) {
        } else if over && (untouched || status == RunStatus::Retrying) {
            self.drop_waiting(now, id, "the agent was stopped");
        } else if untouched && self.runs[&id].record.slot.is_some_and(|slot| slot > now.wall) {
            self.drop_waiting(now, id, super::clock::REACTIVATED_REASON);
        } else if untouched || status == RunStatus::Retrying {
            self.enqueue(id, waits);
        } else if !over && self.resume_conversation(now, id) {
        } else {
            // an attempt was in flight: its outcome is unknown
            let run = self.runs.get_mut(&id).expect("inserted above");
            run.record.attempt = run.record.attempt.max(1);
            let error = match node.filter(|at| at.session.is_some()) {
                Some(at) => super::places::node_lost_error(&at.node),
                None => RunError::new(
                    ErrorKind::Interrupted,
                    "the daemon ended while the run was in flight; whether its work was done is unknown",
                ),
            };
            let warnings = in_doubt_warnings(&run.record);
            // a conversation can't continue under another configuration
            let conclusive = run.spec.body.goes_on() && !run.spec.is_identified_by(run.record.config_hash);
            let outcome =
                AttemptOutcome { warnings, conclusive, ..AttemptOutcome::of(AttemptEnd::Cancelled) };
            self.failed(now, id, error, outcome, false);
        }
        self.chain = 0;
    }

    /// Ends a run of an agent that is no longer configured.
    fn orphan(&mut self, now: Now, run: RunRecord) {
        const WHY: &str = "its agent is no longer in the configuration";
        if run.node.as_ref().is_some_and(|at| at.session.is_some()) {
            self.out.actions.push(super::Action::Cancel { run: run.run, kill: false });
        }
        let never_began = run.status == RunStatus::Queued && run.processes.is_empty();
        let mut counters = self.gone.get(&run.agent).map(|gone| gone.counters).unwrap_or_default();
        let (run_id, agent) = (run.run, run.agent.clone());
        let mut ended = None;
        if let (true, Some(_)) = (never_began, run.slot) {
            counters.skipped += 1;
            let cause = WHY.to_owned();
            let (slot, verdict) = (run.slot, Verdict::Dropped);
            let high_water = self.gone.get(&agent).and_then(|gone| gone.floor.or(gone.judged_until));
            let (quiet, joins) = (false, slot <= high_water);
            self.push(now, Fact::SlotRevised { agent, slot, run: run_id, verdict, cause, quiet, joins });
        } else {
            let interrupted = run.status == RunStatus::Running || !(never_began || run.processes.is_empty());
            let (status, message) = if interrupted {
                counters.runs += u64::from(run.started_at.is_none());
                counters.errors += 1;
                counters.errors_in_row += 1;
                (RunStatus::Interrupted, format!("the daemon ended while the run was in flight, and {WHY}"))
            } else {
                (RunStatus::Cancelled, format!("cancelled: {WHY}"))
            };
            let error = RunError::new(ErrorKind::Interrupted, message);
            let last = LastRun {
                run: run_id,
                kept: true,
                status,
                started_at: run.started_at,
                finished_at: now.wall,
                duration: SignedDuration::ZERO,
                error: Some(error.clone()),
            };
            self.push(
                now,
                Fact::RunEnded {
                    run: run_id,
                    real: run.mode.is_normal(),
                    agent,
                    status,
                    attempt: run.attempt,
                    result: None,
                    untrusted: true,
                    error: Some(error),
                    exit_code: None,
                    usage: run.used,
                    duration: SignedDuration::ZERO,
                    run_count: counters.runs,
                    error_count: counters.errors,
                    warnings: in_doubt_warnings(&run),
                },
            );
            ended = Some(last);
        }
        if let Some(gone) = self.gone.get_mut(&run.agent) {
            if let Some(last) = ended {
                gone.last_end = Some(last.finished_at);
                gone.last_run = Some(last);
            }
            gone.counters = counters;
        }
    }
}

/// Returns the warnings about calls with unknown outcome in an interrupted run.
fn in_doubt_warnings(run: &RunRecord) -> Vec<String> {
    run.in_doubt.iter().map(|call| format!("it is unknown whether this call happened: {call}")).collect()
}
