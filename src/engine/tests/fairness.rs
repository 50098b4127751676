//! Who waits for money gets it in turn: random histories, judged by sums that are made anew each time.
use super::money::thinker;
use super::*;
use proptest::prelude::*;

/// Agents, and runs of each of them that are in flight at a time.
const AGENTS: usize = 3;
const RUNS: usize = 4;

/// A request, and whose it is.
#[derive(Clone, Copy, Debug)]
struct Wish {
    ticket: u64,
    agent: usize,
    tokens: u64,
}

/// What budgets should look like. Counters are those of the agents, and then the fleet's.
struct Judge {
    limits: [Option<u64>; AGENTS + 1],
    used: [u64; AGENTS + 1],
    held: BTreeMap<RunId, Wish>,
    waiting: Vec<(RunId, Wish)>,
}

impl Judge {
    fn held(&self, counter: usize) -> u64 {
        let counts = |wish: &&Wish| counter == AGENTS || wish.agent == counter;
        self.held.values().filter(counts).map(|wish| wish.tokens).sum()
    }

    /// What the request takes a part of.
    fn wanted(&self, wish: Wish) -> Vec<usize> {
        [wish.agent, AGENTS].into_iter().filter(|counter| self.limits[*counter].is_some()).collect()
    }

    /// Of that, what there is not enough of, held or not.
    fn short_of(&self, wish: Wish, with_held: bool) -> Vec<usize> {
        let is_short = |counter: &usize| {
            let held = if with_held { self.held(*counter) } else { 0 };
            self.limits[*counter].is_some_and(|limit| self.used[*counter] + held + wish.tokens > limit)
        };
        self.wanted(wish).into_iter().filter(is_short).collect()
    }

    /// Is there one before this that waits for some of the same?
    fn is_behind(&self, nth: usize) -> bool {
        let wanted = self.wanted(self.waiting[nth].1);
        let mut before = self.waiting[..nth].iter();
        before.any(|(_, wish)| self.short_of(*wish, true).iter().any(|counter| wanted.contains(counter)))
    }

    fn take(&mut self, ticket: u64, granted: bool) -> Result<(), TestCaseError> {
        // one whose run was ended is told so
        let Some(nth) = self.waiting.iter().position(|(_, wish)| wish.ticket == ticket) else {
            prop_assert!(!granted);
            return Ok(());
        };
        if granted {
            prop_assert!(self.short_of(self.waiting[nth].1, true).is_empty(), "{ticket}: overspent");
            prop_assert!(!self.is_behind(nth), "{ticket}: passed one that waits for the same");
        }
        let (run, wish) = self.waiting.remove(nth);
        if granted {
            self.held.insert(run, wish);
        } else {
            prop_assert!(!self.short_of(wish, false).is_empty(), "{ticket}: refused for what is only held");
        }
        Ok(())
    }

    fn charge(&mut self, wish: Wish, tokens: u64) {
        self.used[wish.agent] += tokens;
        self.used[AGENTS] += tokens;
    }

    fn all_is_well(&self) -> Result<(), TestCaseError> {
        for nth in 0..self.waiting.len() {
            let wish = self.waiting[nth].1;
            let why = !self.short_of(wish, true).is_empty() || self.is_behind(nth);
            prop_assert!(why, "{}: waits for nothing", wish.ticket);
        }
        prop_assert!(!self.held.is_empty() || self.waiting.is_empty(), "nobody can make these go on");
        Ok(())
    }
}

fn bench(limits: &[Option<u64>; AGENTS + 1]) -> Bench {
    let specs: Vec<AgentSpec> = (0..AGENTS)
        .map(|agent| {
            thinker(["a", "b", "c"][agent], |spec| {
                spec.schedule = Schedule::Manual;
                spec.overlap = Overlap::Parallel;
                Arc::make_mut(&mut spec.limits).tokens_per_day = limits[agent];
            })
        })
        .collect();
    let mut fleet = (*fleet(&specs, 64)).clone();
    fleet.budget.tokens_per_day = limits[AGENTS];
    let mut bench = Bench::with_fleet(Arc::new(fleet));
    for run in 0..AGENTS * RUNS {
        bench
            .ok(Command::Run {
                agent: id(["a", "b", "c"][run % AGENTS]),
                query: None,
                params: ParamValues::new(),
                mode: RunMode::Normal,
            })
            .begin(run);
    }
    bench
}

proptest! {
    #[test]
    fn nobody_is_passed_and_nobody_waits_in_vain(
        limits in proptest::array::uniform4(proptest::option::weighted(0.8, 20u64..400)),
        acts in proptest::collection::vec((0..AGENTS * RUNS, 1u64..120, 0u64..8), 1..120),
    ) {
        let mut bench = bench(&limits);
        let runs = bench.active.clone();
        prop_assert_eq!(runs.len(), AGENTS * RUNS);
        let mut judge =
            Judge { limits, used: [0; AGENTS + 1], held: BTreeMap::new(), waiting: Vec::new() };
        for (ticket, (nth, tokens, kind)) in (100..).zip(acts) {
            let (run, attempt) = runs[nth];
            let Some(active) = bench.active.iter().position(|(active, _)| *active == run) else { continue };
            let held = judge.held.get(&run).copied();
            let waits = judge.waiting.iter().any(|(waiting, _)| *waiting == run);
            if kind == 0 {
                judge.waiting.retain(|(waiting, _)| *waiting != run);
                if let Some(wish) = judge.held.remove(&run) {
                    judge.charge(wish, wish.tokens);
                }
                bench.end(active, AttemptEnd::Cancelled);
            } else if let Some(wish) = held {
                let used = wish.tokens * tokens / 120;
                judge.held.remove(&run);
                judge.charge(wish, used);
                bench.settle(active, used, 0.0);
            } else if !waits {
                judge.waiting.push((run, Wish { ticket, agent: nth % AGENTS, tokens }));
                let worst = WorstCase { tokens, output: 0, usd: 0.0 };
                let (n, model, ticket) = (0, "m".into(), Ticket(ticket));
                bench.input(Input::Reserve(Reservation { run, attempt, n, model, worst, ticket }));
            }
            for (ticket, granted) in std::mem::take(&mut bench.granted) {
                judge.take(ticket, granted)?;
            }
            judge.all_is_well()?;
        }
    }
}

#[test]
fn a_large_request_is_not_passed_by_small_ones_and_stands_in_nobodys_way() {
    let limits = [Some(100), None, None, Some(200)];
    let mut bench = bench(&limits);
    let mut asks = |nth: usize, tokens: u64| {
        bench.granted.clear();
        bench.reserve(nth, tokens, 0.0);
        bench.granted.first().map(|(_, granted)| *granted)
    };
    // runs 0, 3, 6, 9 are of agent `a`
    assert_eq!(asks(0, 60), Some(true));
    assert_eq!(asks(3, 90), None, "it may fit when the first is settled");
    assert_eq!(asks(6, 10), None, "of the same agent: behind it");
    assert_eq!(asks(1, 100), Some(true), "the fleet has enough for others");
    assert_eq!(asks(4, 110), None, "now the fleet's is scarce");
    assert_eq!(asks(2, 10), None, "for all");
    bench.granted.clear();
    bench.settle(0, 0, 0.0);
    assert_eq!(bench.granted.len(), 2, "both of `a`, which came before the fleet's was scarce");
    bench.settle(1, 0, 0.0);
    assert_eq!(bench.granted.len(), 2, "there is enough for the small one, and it is not its turn");
    bench.settle(3, 0, 0.0);
    assert_eq!(bench.granted.len(), 4, "the large one, and the one behind it");
}

#[test]
fn who_has_waited_over_midnight_comes_first_in_the_new_day() {
    let mut bench = bench(&[None, None, None, Some(100)]);
    bench.reserve(0, 60, 0.0).reserve(1, 90, 0.0);
    bench.pass(secs(86_400));
    bench.granted.clear();
    bench.reserve(2, 20, 0.0);
    assert_eq!(bench.granted.len(), 1, "there is enough for the first of them");
    bench.settle(1, 0, 0.0);
    assert_eq!(bench.granted.len(), 2);
}
