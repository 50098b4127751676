//! Counters, derived from committed facts: they start at zero when the daemon or telemetry starts, and only increase.
//!
//! The number of series is bounded: [`MAX_SERIES_AGENTS`] agents have their own, the first by name when telemetry starts. An
//! agent keeps its series as long as it is configured, so no counter ever decreases; series freed by a reload go to the
//! next by name. All other agents are counted together.
use crate::domain::{ALL_WELL, AgentId, Entry, Fact, RunId, RunStatus, Said, Step, Usage, Verdict};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Maximum number of agents with series of their own.
pub const MAX_SERIES_AGENTS: usize = 1000;
/// Maximum number of models with series of their own, per agent.
const MAX_MODELS_PER_AGENT: usize = 32;
/// The label of the rest, for agents and models.
pub(super) const OTHER: &str = "other";
/// Upper bounds of the buckets of run durations, in seconds.
pub(super) const BUCKETS: [f64; 8] = [0.1, 1.0, 10.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0];

/// The effect of a fact on the counters.
#[derive(Clone, Debug, PartialEq)]
pub enum CountedFact {
    /// A slot was claimed by a run; the claim may still be revised.
    SlotClaimed { agent: AgentId, run: RunId },
    /// The run of a slot has begun or ended, so the claim is final.
    SlotRan(RunId),
    /// Slots have got a verdict without a run, or their claim was revised.
    SlotsJudged {
        agent: AgentId,
        /// The run that had claimed the slot.
        run: Option<RunId>,
        verdict: Verdict,
        count: u64,
    },
    /// A run has ended.
    RunEnded {
        agent: AgentId,
        status: RunStatus,
        /// How long it took; `None`: unknown.
        duration: Option<SignedDuration>,
    },
    /// A request to a model has ended.
    Request {
        agent: AgentId,
        /// The name of a `[models.…]` table.
        model: String,
        outcome: RequestOutcome,
        /// The usage that is charged.
        used: Usage,
    },
}

crate::domain::words! {
    /// How a request to a model ended.
    RequestOutcome {
        /// With an answer.
        Answered = "answered",
        /// With an error.
        Failed = "failed",
        /// Nobody saw its end: what was held for it is charged.
        Lost = "lost",
    }
}

/// The counters of an agent, or of several together.
#[derive(Clone, Debug, Default)]
pub(super) struct AgentTally {
    pub(super) runs: BTreeMap<RunStatus, u64>,
    pub(super) slots: BTreeMap<Verdict, u64>,
    pub(super) models: BTreeMap<String, ModelTally>,
}

/// The counters of requests to one model.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelTally {
    pub(super) requests: BTreeMap<RequestOutcome, u64>,
    pub(super) used: Usage,
}

/// The durations of runs, as a histogram.
#[derive(Clone, Debug, Default)]
pub(super) struct Durations {
    /// Runs per bucket of [`BUCKETS`], not cumulative.
    pub(super) counts: [u64; BUCKETS.len()],
    pub(super) count: u64,
    pub(super) sum: f64,
}

/// All counters. Cloned for each scrape.
#[derive(Clone, Debug, Default)]
pub struct FleetTally {
    /// Agents with series of their own.
    places: BTreeSet<AgentId>,
    /// Number of configured agents without series of their own.
    pub(super) without: usize,
    /// `None`: all agents without series of their own.
    pub(super) agents: BTreeMap<Option<AgentId>, AgentTally>,
    pub(super) durations: Durations,
    pub(super) commits: u64,
    /// Claimed runs that have not begun, with their agents.
    claimed: HashMap<RunId, AgentId>,
}

impl FleetTally {
    /// Sets the configured agents, sorted by name.
    pub fn configure<'a>(&mut self, agents: impl Iterator<Item = &'a AgentId>) {
        let agents: Vec<&AgentId> = agents.collect();
        let known: BTreeSet<&AgentId> = agents.iter().copied().collect();
        self.places.retain(|agent| known.contains(agent));
        self.agents.retain(|agent, _| agent.as_ref().is_none_or(|agent| known.contains(agent)));
        // an agent of that name would be mistaken for the rest
        for agent in agents.into_iter().filter(|agent| agent.as_str() != OTHER) {
            if self.places.len() >= MAX_SERIES_AGENTS {
                break;
            }
            if !self.places.contains(agent) {
                self.places.insert(agent.clone());
            }
        }
        self.without = known.len() - self.places.len();
    }

    /// Returns whether the agent has series of its own.
    pub(super) fn has_series(&self, agent: &AgentId) -> bool {
        self.places.contains(agent)
    }

    /// Derives the effects of facts before they are committed.
    pub fn read(facts: &[Entry]) -> Vec<CountedFact> {
        let mut all = Vec::new();
        for (at, entry) in facts.iter().enumerate() {
            counted(&entry.fact, &facts[at + 1..], &mut all);
        }
        all
    }

    /// Counts committed effects.
    pub fn count(&mut self, counted: Vec<CountedFact>) {
        self.commits += 1;
        for one in counted {
            self.count_one(one);
        }
    }

    fn count_one(&mut self, one: CountedFact) {
        match one {
            CountedFact::SlotClaimed { agent, run } => {
                self.claimed.insert(run, agent);
            }
            CountedFact::SlotRan(run) => {
                if let Some(agent) = self.claimed.remove(&run) {
                    *self.of(agent).slots.entry(Verdict::Ran).or_default() += 1;
                }
            }
            CountedFact::SlotsJudged { agent, run, verdict, count } => {
                run.and_then(|run| self.claimed.remove(&run));
                *self.of(agent).slots.entry(verdict).or_default() += count;
            }
            CountedFact::RunEnded { agent, status, duration } => {
                *self.of(agent).runs.entry(status).or_default() += 1;
                if let Some(duration) = duration {
                    self.durations.add(duration.as_secs_f64());
                }
            }
            CountedFact::Request { agent, model, outcome, used } => {
                let models = &mut self.of(agent).models;
                let is_full = models.len() >= MAX_MODELS_PER_AGENT && !models.contains_key(&model);
                let tally = models.entry(if is_full { OTHER.to_owned() } else { model }).or_default();
                *tally.requests.entry(outcome).or_default() += 1;
                tally.used.add(&used);
            }
        }
    }

    fn of(&mut self, agent: AgentId) -> &mut AgentTally {
        let place = self.places.contains(&agent).then_some(agent);
        self.agents.entry(place).or_default()
    }
}

impl Durations {
    fn add(&mut self, seconds: f64) {
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.counts[bucket] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}

/// Derives the effects of one fact; `next` are the facts after it.
fn counted(fact: &Fact, next: &[Entry], all: &mut Vec<CountedFact>) {
    match fact {
        Fact::SlotsJudged { agent, verdict: Verdict::Ran, run: Some(run), .. } => {
            all.push(CountedFact::SlotClaimed { agent: agent.clone(), run: *run });
        }
        Fact::SlotsJudged { agent, verdict, count, .. } => {
            let (agent, verdict, count) = (agent.clone(), *verdict, *count);
            all.push(CountedFact::SlotsJudged { agent, run: None, verdict, count });
        }
        Fact::SlotRevised { agent, slot, run, verdict, cause, .. } => {
            if slot.is_some() {
                let (agent, verdict, count) = (agent.clone(), *verdict, 1);
                all.push(CountedFact::SlotsJudged { agent, run: Some(*run), verdict, count });
            }
            if *verdict == Verdict::Ran && cause == ALL_WELL {
                // such a run has no record: its duration is in the record of its agent
                let duration = next.iter().find_map(|entry| match &entry.fact {
                    Fact::AgentSaved(record) => {
                        record.last_run.as_ref().filter(|last| last.run == *run).map(|last| last.duration)
                    }
                    _ => None,
                });
                let status = RunStatus::Completed;
                all.push(CountedFact::RunEnded { agent: agent.clone(), status, duration });
            }
        }
        Fact::AttemptStarted { run, attempt: 1, .. } => all.push(CountedFact::SlotRan(*run)),
        Fact::RunEnded { run, real, agent, status, attempt, duration, .. } => {
            all.push(CountedFact::SlotRan(*run));
            if *real {
                let duration = (*attempt > 0).then_some(*duration);
                all.push(CountedFact::RunEnded { agent: agent.clone(), status: *status, duration });
            }
        }
        Fact::Talked(talk) => {
            let (model, outcome, used) = match &talk.said {
                Said::Settled { step, .. } => match &**step {
                    Step::Answered { model, used, .. } => (model, RequestOutcome::Answered, *used),
                    Step::Unanswered { model, used, .. } => (model, RequestOutcome::Failed, *used),
                    _ => return,
                },
                Said::Charged { model, used, .. } => (model, RequestOutcome::Lost, *used),
                _ => return,
            };
            let (agent, model) = (talk.agent.clone(), model.clone());
            all.push(CountedFact::Request { agent, model, outcome, used });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> AgentId {
        name.parse().unwrap()
    }

    fn ended(agent: &str, status: RunStatus, seconds: i64) -> CountedFact {
        let duration = Some(SignedDuration::from_secs(seconds));
        CountedFact::RunEnded { agent: id(agent), status, duration }
    }

    fn runs(tally: &FleetTally, agent: Option<&str>) -> u64 {
        tally.agents.get(&agent.map(id)).map_or(0, |one| one.runs.values().sum())
    }

    #[test]
    fn a_slot_counts_when_its_verdict_is_sure() {
        let (mut tally, a) = (FleetTally::default(), id("a"));
        tally.configure([&a].into_iter());
        let [first, second] = [1, 2].map(|n| RunId::make(0, 7, n));
        let claims = [first, second].map(|run| CountedFact::SlotClaimed { agent: a.clone(), run });
        tally.count(claims.into());
        assert!(tally.agents.is_empty(), "{tally:?}");
        let gate = CountedFact::SlotsJudged {
            agent: a.clone(),
            run: Some(first),
            verdict: Verdict::SkippedGate,
            count: 1,
        };
        tally.count(vec![
            gate,
            CountedFact::SlotRan(second),
            CountedFact::SlotRan(second),
            CountedFact::SlotRan(first),
        ]);
        let slots = &tally.agents[&Some(a)].slots;
        assert_eq!(
            slots.iter().map(|(verdict, n)| (*verdict, *n)).collect::<Vec<_>>(),
            [(Verdict::Ran, 1), (Verdict::SkippedGate, 1)]
        );
        assert!(tally.claimed.is_empty());
    }

    #[test]
    fn series_are_bounded_and_no_counter_falls() {
        let mut names: Vec<AgentId> = (0..MAX_SERIES_AGENTS + 100).map(|n| id(&format!("a{n:05}"))).collect();
        names.push(id(OTHER));
        let mut tally = FleetTally::default();
        tally.configure(names.iter());
        assert_eq!((tally.places.len(), tally.without), (MAX_SERIES_AGENTS, 101));
        for name in &names {
            tally.count(vec![ended(name.as_str(), RunStatus::Completed, 1)]);
        }
        assert_eq!((tally.agents.len(), runs(&tally, None)), (MAX_SERIES_AGENTS + 1, 101));
        // a name that sorts first does not displace an agent that has series
        names.insert(0, id("a"));
        let gone = names.remove(5);
        tally.configure(names.iter());
        assert!(tally.has_series(&id("a")) && !tally.has_series(&gone));
        assert_eq!(
            (tally.places.len(), runs(&tally, None), runs(&tally, Some(gone.as_str()))),
            (MAX_SERIES_AGENTS, 101, 0)
        );
        tally.count(vec![ended("a", RunStatus::Failed, 1), ended(gone.as_str(), RunStatus::Failed, 1)]);
        assert_eq!((runs(&tally, Some("a")), runs(&tally, None)), (1, 102));
    }

    #[test]
    fn models_of_an_agent_are_bounded() {
        let mut tally = FleetTally::default();
        let a = id("a");
        tally.configure([&a].into_iter());
        let used = Usage { requests: 1, input_tokens: 2, usd: 0.5, ..Usage::default() };
        for n in 0..MAX_MODELS_PER_AGENT + 5 {
            let (model, outcome) = (format!("m{n:02}"), RequestOutcome::Answered);
            tally.count(vec![CountedFact::Request { agent: a.clone(), model, outcome, used }]);
        }
        let models = &tally.agents[&Some(a)].models;
        assert_eq!((models.len(), models[OTHER].used.input_tokens), (MAX_MODELS_PER_AGENT + 1, 10));
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let mut durations = Durations::default();
        for seconds in [0.05, 0.1, 0.2, 60.0, 60.1, 1e9] {
            durations.add(seconds);
        }
        assert_eq!((durations.counts, durations.count), ([2, 1, 0, 1, 1, 0, 0, 0], 6));
    }
}
