//! Backfills: runs for past slots, one at a time and in order. Each is queued like a manual run, so that the
//! agent's regular slots and all other runs get their turns in between; it does not count for the agent's
//! `overlap`.
//!
//! A claim and the progress of its backfill are recorded in one transaction; after a restart the backfill continues
//! with the slot after the last one claimed.
use super::queue::RunClaim;
use super::{BackfillRequest, Engine, Refusal, Reply, Run};
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Maximum number of slots examined, including those that active times exclude.
const MAX_EXAMINED_SLOTS: usize = 100_000;

impl Engine {
    /// Returns the past slots of an agent between two instants, both included; oldest first. An interval also
    /// counts backwards from its anchor.
    ///
    /// # Errors
    /// There is no such agent, it has no slots, or there are too many.
    pub fn past_slots(
        &self,
        id: &AgentId,
        (from, to): (Timestamp, Timestamp),
        now: Now,
    ) -> Result<Vec<Timestamp>, Refusal> {
        let state = &self.agents[self.index(id)? as usize];
        let schedule = &state.spec.schedule;
        if !schedule.has_slots() || matches!(schedule, Schedule::After(_)) {
            let why =
                format!("agent `{id}` ({}) has no past slots that a calendar names", schedule.describe());
            return Err(Refusal::WrongState(why));
        }
        let calendar = Calendar { schedule, anchor: state.anchor, first_run: FirstRun::Now }.back_to(from);
        // the coming slot is yet to be judged, and may be due already
        let coming = state.next_slot.unwrap_or(Timestamp::MAX);
        let is_past = |slot: &Timestamp| *slot <= to && *slot < now.wall && *slot < coming;
        let first =
            from.checked_sub(SignedDuration::from_micros(1)).ok().and_then(|at| calendar.next_after(at));
        let all = std::iter::successors(first, |slot| calendar.next_after(*slot)).take_while(is_past);
        let (mut slots, mut seen) = (Vec::new(), 0);
        for slot in all {
            seen += 1;
            if state.spec.active_times.as_deref().is_none_or(|times| times.at(slot).0.is_none()) {
                slots.push(slot);
            }
            if slots.len() > BackfillRecord::MOST_SLOTS || seen > MAX_EXAMINED_SLOTS {
                let most = BackfillRecord::MOST_SLOTS;
                let why = format!(
                    "there are more than {most} slots between {from:.0} and {to:.0}: ask for fewer at a time"
                );
                return Err(Refusal::WrongState(why));
            }
        }
        Ok(slots)
    }

    /// Checks that these parameters are valid for the runs of an agent.
    ///
    /// # Errors
    /// The message says what is invalid, and what would be valid.
    pub fn fits_params(
        &self,
        id: &AgentId,
        given: &ParamValues,
        slot: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        let state = &self.agents[self.index(id)? as usize];
        state.params_of(given, slot.unwrap_or(self.last.wall)).map(|_| ())
    }

    /// Begins a backfill that a person requested.
    pub(super) fn begin_backfill(&mut self, now: Now, wish: BackfillRequest) -> Result<Reply, Refusal> {
        let agent = self.index(&wish.agent)?;
        let state = &self.agents[agent as usize];
        if let Some(open) = self.backfills.get(&wish.agent) {
            let (done, count) = (open.claimed, open.slots.len());
            let why = format!(
                "a backfill of agent `{}` is under way: {done} of {count} slots; `bgagent cancel` of its run ends it",
                wish.agent
            );
            return Err(Refusal::WrongState(why));
        }
        let Some(first) = wish.slots.first() else {
            return Err(Refusal::WrongState(format!(
                "there is no past slot of agent `{}` to run",
                wish.agent
            )));
        };
        state.params_of(&wish.params, *first)?;
        if wish.max_usd.is_some() && state.spec.body.asks_models() && !self.has_prices(&state.spec) {
            let why = format!(
                "a limit in dollars can't be enforced: a model of agent `{}` has no `price` in the configuration",
                wish.agent
            );
            return Err(Refusal::WrongState(why));
        }
        let note = match state.desired {
            Desired::Active => None,
            Desired::Paused => Some("the agent is paused: it begins when that ends".to_owned()),
            Desired::Stopped => Some("the agent is stopped; this was asked for by hand".to_owned()),
        };
        let id = wish.id.unwrap_or_else(|| self.next_id(now).to_string().into());
        let BackfillRequest { agent, slots, params, max_usd, .. } = wish;
        let backfill = BackfillRecord {
            id,
            agent: agent.clone(),
            slots: slots.into(),
            params,
            max_usd,
            claimed: 0,
            usd: 0.0,
        };
        self.push(now, Fact::BackfillBegan(Box::new(backfill.clone())));
        self.backfills.insert(agent, backfill.clone());
        self.go_on_with_backfills(now);
        Ok(Reply::BackfillBegan { backfill: Box::new(backfill), note })
    }

    /// Returns whether each model that may answer this agent has a price.
    fn has_prices(&self, spec: &AgentSpec) -> bool {
        let priced = |name: &String| self.fleet.models.get(name).is_some_and(|model| model.price.is_some());
        match &spec.body {
            Body::Query(query) => {
                let fallback = self.fleet.models.get(&query.model).map(|model| &model.fallback[..]);
                priced(&query.model) && fallback.unwrap_or_default().iter().all(priced)
            }
            Body::Runner(query) => {
                self.fleet.runners.get(&query.runner).is_some_and(|runner| priced(&runner.meter))
            }
            Body::Tool(_) | Body::Command(_) => true,
        }
    }

    /// Claims the next run of each backfill that has none in flight.
    pub(super) fn go_on_with_backfills(&mut self, now: Now) {
        if self.stopping || self.backfills.is_empty() {
            return;
        }
        let chain = std::mem::take(&mut self.chain);
        for id in self.backfills.keys().cloned().collect::<Vec<_>>() {
            self.advance_backfill(now, &id);
        }
        self.chain = chain;
    }

    fn advance_backfill(&mut self, now: Now, id: &AgentId) {
        let Ok(agent) = self.index(id) else {
            return self.end_backfill(now, id, Some("its agent is no longer in the configuration"));
        };
        let state = &self.agents[agent as usize];
        let is_in_flight = state.live.iter().any(|run| self.runs[run].record.past.is_some());
        if is_in_flight || state.desired == Desired::Paused {
            return;
        }
        let Some(slot) = self.backfills[id].next() else { return self.end_backfill(now, id, None) };
        if let Some(why) = self.backfill_obstacle(now, agent) {
            return self.end_backfill(now, id, Some(&why));
        }
        let backfill = self.backfills.get_mut(id).expect("it was looked at above");
        backfill.claimed += 1;
        let past = PastSlot { backfill: backfill.id.clone(), slot };
        let (claimed, usd, given) = (backfill.claimed, backfill.usd, backfill.params.clone());
        // parameters that a changed configuration no longer accepts are replaced by the defaults
        let params = self.agents[agent as usize].params_of(&given, slot).ok().flatten();
        let backfill = past.backfill.clone();
        self.claim(now, agent, RunClaim { past: Some(past), params, ..RunClaim::of(Trigger::Manual) });
        self.push(now, Fact::BackfillMoved { id: backfill, claimed, usd });
        self.touch(agent);
    }

    /// Returns why the next slot of a backfill can't start, so that the backfill ends.
    fn backfill_obstacle(&mut self, now: Now, agent: u32) -> Option<String> {
        let state = &self.agents[agent as usize];
        if state.circuit.is_some_and(|circuit| now.wall < circuit.until) {
            return Some(format!(
                "its circuit is open after {} failures in a row",
                state.counters.errors_in_row
            ));
        }
        let backfill = &self.backfills[&state.spec.id];
        if let Some(left) = backfill.usd_left() {
            let next = state.spec.limits.max_usd_per_run.unwrap_or(0.0);
            if left <= 0.0 || next > left + 1e-9 {
                let (max, used) = (backfill.max_usd.unwrap_or(0.0), backfill.usd);
                return Some(format!(
                    "${used:.4} of ${max:.4} are used, and the next run may take ${next:.4}"
                ));
            }
        }
        self.refused_by_hand(now, agent, false)
    }

    /// Updates the backfill of a run that ended, or was discarded before it began.
    pub(super) fn backfilled(&mut self, now: Now, run: &Run, status: RunStatus, usd: f64) {
        let Some(past) = &run.record.past else { return };
        let Some(backfill) = self.backfills.get_mut(&run.record.agent).filter(|one| one.id == past.backfill)
        else {
            return;
        };
        backfill.usd += usd;
        let (id, claimed, usd) = (backfill.id.clone(), backfill.claimed, backfill.usd);
        self.push(now, Fact::BackfillMoved { id, claimed, usd });
        if status == RunStatus::Cancelled && !self.stopping {
            self.end_backfill(now, &run.record.agent, Some("its run was cancelled"));
        }
    }

    /// Ends the backfill of an agent, if there is one. Its run in flight is not cancelled.
    pub(super) fn end_backfill(&mut self, now: Now, agent: &AgentId, cause: Option<&str>) {
        let Some(backfill) = self.backfills.remove(agent) else { return };
        let fact = Fact::BackfillEnded {
            id: backfill.id,
            agent: backfill.agent,
            claimed: backfill.claimed,
            count: backfill.slots.len(),
            usd: backfill.usd,
            cause: cause.map(str::to_owned),
        };
        self.push(now, fact);
    }

    /// Returns the configuration of a run, with its dollar limit capped by what its backfill has left.
    pub(super) fn spec_within_backfill(&self, run: &Run) -> Arc<AgentSpec> {
        let of_run = |backfill: &&BackfillRecord| {
            run.record.past.as_ref().is_some_and(|past| past.backfill == backfill.id)
        };
        let backfill = self.backfills.get(&run.record.agent).filter(of_run);
        let Some(left) = backfill.and_then(BackfillRecord::usd_left) else { return run.spec.clone() };
        let mut spec = (*run.spec).clone();
        let limits = Arc::make_mut(&mut spec.limits);
        limits.max_usd_per_run = Some(limits.max_usd_per_run.map_or(left, |own| own.min(left)));
        Arc::new(spec)
    }
}
