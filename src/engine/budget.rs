//! Money, tokens and requests: what was used, what is held, and whether a request may still be sent.
//!
//! The worst case of a request is held before it is sent and settled afterwards, so that concurrent runs can't
//! overspend: one thread decides. Days and months are those of `[daemon] timezone`.
mod telling;

use super::{Action, Engine, Place, Reservation};
use crate::domain::*;
use jiff::Timestamp;
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Default fraction of a budget at which a warning is sent.
const DEFAULT_WARN_FRACTION: f64 = 0.8;
/// Number of days of spending that are kept: two months, and as many with dates from a wrong clock.
const MAX_DAYS_KEPT: usize = 124;

/// An amount used or held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Amount {
    usd: f64,
    tokens: f64,
    requests: f64,
}

impl Amount {
    fn of(used: &Usage) -> Self {
        Self { usd: used.usd, tokens: used.tokens() as f64, requests: used.requests as f64 }
    }

    fn held(worst: &WorstCase) -> Self {
        Self { usd: worst.usd, tokens: worst.tokens as f64, requests: 1.0 }
    }

    /// Returns the part that counts towards the limit of this key.
    fn counted_by(&self, key: &str) -> f64 {
        match key {
            "tokens_per_day" => self.tokens,
            "requests_per_day" => self.requests,
            _ => self.usd,
        }
    }

    fn add(&mut self, other: Self, sign: f64) {
        self.usd += sign * other.usd;
        self.tokens += sign * other.tokens;
        self.requests += sign * other.requests;
    }
}

/// A request in flight.
#[derive(Clone, Debug)]
struct Held {
    agent: AgentId,
    model: String,
    worst: WorstCase,
    day: Date,
}

/// A request that does not fit beside those in flight, but may fit once they are settled; or one queued behind it
/// that needs some of the same budget.
#[derive(Debug)]
struct Waiting {
    wish: Reservation,
    agent: AgentId,
    /// Day of the last attempt to grant it.
    day: Date,
}

/// One daily or monthly limit, and its current use.
struct Limit {
    /// True: the agent's limit; false: the fleet's.
    agent: bool,
    key: &'static str,
    allowed: f64,
    used: f64,
    asked: f64,
}

/// The accounting state of all budgets.
#[derive(Debug, Default)]
pub(super) struct Money {
    /// By day and agent, including what is held.
    days: BTreeMap<Date, HashMap<AgentId, Amount>>,
    /// Sums of `days`.
    fleet: BTreeMap<Date, Amount>,
    /// By run and the request's position in its journal.
    held: BTreeMap<(RunId, u64), Held>,
    /// In FIFO order.
    waiting: Vec<Waiting>,
    /// Notifications sent, so that each is sent once.
    told: BTreeSet<BudgetTold>,
    /// Agents whose request was refused, and until when: their slots are refused until then or until the
    /// configuration changes.
    refused: HashMap<AgentId, Refused>,
}

/// A request that did not fit.
#[derive(Debug)]
struct Refused {
    since: Date,
    /// The first day on which budget is available again.
    until: Date,
    text: String,
    asked: Amount,
}

impl Refused {
    /// Returns whether it applies on this day. Not before `since`: the clock was ahead then, and was set back.
    fn is_in_force(&self, day: Date) -> bool {
        self.since <= day && day < self.until
    }
}

impl Money {
    /// Restores the state that the last daemon left.
    pub(super) fn restored(spent: Vec<SpentRow>, told: Vec<BudgetTold>) -> Self {
        let mut money = Self { told: told.into_iter().collect(), ..Self::default() };
        for row in spent {
            money.add(row.day, &row.agent, Amount::of(&row.used), 1.0);
        }
        money
    }

    fn add(&mut self, day: Date, agent: &AgentId, amount: Amount, sign: f64) {
        self.days.entry(day).or_default().entry(agent.clone()).or_default().add(amount, sign);
        self.fleet.entry(day).or_default().add(amount, sign);
    }

    /// Bounds the history by the number of days with spending, not by their age: a temporarily wrong clock must not
    /// evict the correct days.
    fn forget_oldest(&mut self, today: Date) {
        while self.fleet.len() > MAX_DAYS_KEPT {
            let is_needed = |day: &Date| day.first_of_month() == today.first_of_month();
            let Some(oldest) = self.fleet.keys().copied().find(|day| !is_needed(day)) else { break };
            self.days.remove(&oldest);
            self.fleet.remove(&oldest);
            self.told.retain(|told| told.since > oldest || is_needed(&told.since));
        }
    }

    fn of_agent(&self, day: Date, agent: &AgentId) -> Amount {
        self.days.get(&day).and_then(|agents| agents.get(agent)).copied().unwrap_or_default()
    }

    fn of_month(&self, day: Date) -> f64 {
        self.fleet.range(day.first_of_month()..=day.last_of_month()).map(|(_, amount)| amount.usd).sum()
    }

    /// Returns how much of what counts towards a limit is only held; usually more than will be used.
    fn held_for(&self, limit: &Limit, agent: &AgentId, day: Date) -> f64 {
        let monthly = limit.key == "usd_per_month";
        let counts = |held: &&Held| {
            (!limit.agent || held.agent == *agent)
                && (held.day == day || monthly && held.day.first_of_month() == day.first_of_month())
        };
        let mut sum = Amount::default();
        for held in self.held.values().filter(counts) {
            sum.add(Amount::held(&held.worst), 1.0);
        }
        sum.counted_by(limit.key)
    }

    /// Returns whether an earlier request is waiting for this budget. Then the rest is reserved for it: later
    /// requests, however small, may not overtake it, or it would starve. Requests that need none of this budget go
    /// on.
    fn is_reserved_for_earlier(&self, limit: &Limit, agent: &AgentId) -> bool {
        let shares = |waiting: &&Waiting| !limit.agent || waiting.agent == *agent;
        self.waiting.iter().filter(shares).any(|waiting| {
            let asked = Amount::held(&waiting.wish.worst).counted_by(limit.key);
            Limit { asked, ..*limit }.is_over()
        })
    }

    /// Clears the refusals after a configuration change, which may allow them.
    pub(super) fn reconsider(&mut self) {
        self.refused.clear();
    }

    /// Returns every configured limit with its use, as if `asked` were added.
    fn limits(
        &self,
        fleet: &BudgetSpec,
        own: Option<(&AgentId, &Limits)>,
        day: Date,
        asked: Amount,
    ) -> Vec<Limit> {
        let all = self.fleet.get(&day).copied().unwrap_or_default();
        let mine = own.map_or_else(Amount::default, |(agent, _)| self.of_agent(day, agent));
        let own = own.map(|(_, limits)| limits);
        let whole = |n: Option<u64>| n.map(|n| n as f64);
        let table = [
            (true, "usd_per_day", own.and_then(|own| own.usd_per_day), mine.usd, asked.usd),
            (
                true,
                "tokens_per_day",
                whole(own.and_then(|own| own.tokens_per_day)),
                mine.tokens,
                asked.tokens,
            ),
            (
                true,
                "requests_per_day",
                whole(own.and_then(|own| own.requests_per_day)),
                mine.requests,
                asked.requests,
            ),
            (false, "usd_per_day", fleet.usd_per_day, all.usd, asked.usd),
            (false, "usd_per_month", fleet.usd_per_month, self.of_month(day), asked.usd),
            (false, "tokens_per_day", whole(fleet.tokens_per_day), all.tokens, asked.tokens),
            (false, "requests_per_day", whole(fleet.requests_per_day), all.requests, asked.requests),
        ];
        let set = table.into_iter().filter_map(|(agent, key, allowed, used, asked)| {
            allowed.map(|allowed| Limit { agent, key, allowed, used, asked })
        });
        set.collect()
    }
}

impl Limit {
    fn is_over(&self) -> bool {
        // sums of floating-point dollars: a billionth does not count as overspending
        self.used + self.asked > self.allowed + 1e-9
    }

    fn is_used_up(&self) -> bool {
        self.used + 1e-9 >= self.allowed
    }

    /// Returns the limit as it would be if none of what is held were used.
    fn without(self, held: f64) -> Self {
        Self { used: self.used - held, ..self }
    }

    fn amount(&self, of: f64) -> String {
        match self.key {
            "usd_per_day" | "usd_per_month" => format!("${of:.4}"),
            "tokens_per_day" => format!("{of:.0} tokens"),
            _ if of == 1.0 => "1 request".into(),
            _ => format!("{of:.0} requests"),
        }
    }

    /// Returns the next day on which the limit starts anew.
    fn until(&self, day: Date) -> Date {
        let last = if self.key == "usd_per_month" { day.last_of_month() } else { day };
        last.tomorrow().unwrap_or(last)
    }

    fn text(&self, agent: &AgentId, until: Date) -> String {
        let whose = if self.agent {
            format!("`{}` of agent `{agent}`", self.key)
        } else {
            format!("`{}` of [budget]", self.key)
        };
        let (allowed, used) = (self.amount(self.allowed), self.amount(self.used));
        let asked = match self.asked {
            0.0 => "used".to_owned(),
            // rounded up, so that what is refused does not look as if it fitted
            asked => format!(
                "used or held, and the next request may take {}",
                self.amount(rounded_up(self.key, asked))
            ),
        };
        let are = if used.starts_with("1 ") || used.starts_with('$') { "is" } else { "are" };
        format!("{whose} allows {allowed}: {used} {are} {asked}; raise it, or wait until {until}")
    }
}

/// What is left of one limit, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetLeft {
    /// `None`: the fleet.
    pub agent: Option<AgentId>,
    pub limit: &'static str,
    pub allowed: f64,
    /// Amount used or held.
    pub used: f64,
    /// Amount that is only held, for requests in flight.
    pub held: f64,
}

impl Engine {
    fn today(&self, at: Timestamp) -> Date {
        at.to_zoned(self.fleet.daemon.timezone.clone()).date()
    }

    /// Grants or refuses a request, and holds its worst case. A request that would fit if those in flight cost less
    /// than their worst case waits until one of them is settled, and so does one that needs some of the budget that
    /// an earlier request waits for.
    pub(super) fn reserve(&mut self, now: Now, wish: Reservation) {
        let day = self.today(now.wall);
        // a new day has a new budget for these
        if self.money.waiting.iter().any(|waiting| waiting.day != day) {
            self.reserve_waiting(now);
        }
        self.grant_or_wait(now, wish);
    }

    fn grant_or_wait(&mut self, now: Now, wish: Reservation) {
        match self.try_reserve(now, &wish) {
            Ok(answer) => self.out.actions.push(Action::Granted { ticket: wish.ticket, answer }),
            Err(agent) => {
                let day = self.today(now.wall);
                self.money.waiting.push(Waiting { wish, agent, day });
            }
        }
    }

    /// Retries the waiting requests after a settlement, or after limits were raised.
    pub(super) fn reserve_waiting(&mut self, now: Now) {
        let chain = self.chain;
        for waiting in std::mem::take(&mut self.money.waiting) {
            self.grant_or_wait(now, waiting.wish);
        }
        self.chain = chain;
    }

    /// Returns `Err` with the agent if its request must wait, for requests in flight or for earlier waiters.
    fn try_reserve(&mut self, now: Now, wish: &Reservation) -> Result<Result<(), RunError>, AgentId> {
        let run = self.runs.get(&wish.run).filter(|run| {
            run.place == Place::Active && run.record.attempt == wish.attempt && run.cancelled.is_none()
        });
        let Some(run) = run else {
            return Ok(Err(RunError::new(ErrorKind::Interrupted, "the run is not in flight any more")));
        };
        self.chain = run.record.chain;
        let (agent, spec) = (run.agent, run.spec.clone());
        let day = self.today(now.wall);
        self.money.forget_oldest(day);
        let asked = Amount::held(&wish.worst);
        let limits = self.money.limits(&self.fleet.budget, Some((&spec.id, &spec.limits)), day, asked);
        let is_reserved_for_earlier =
            |limit: &Limit| limit.asked > 0.0 && self.money.is_reserved_for_earlier(limit, &spec.id);
        let waits = limits.iter().any(|limit| limit.is_over() || is_reserved_for_earlier(limit));
        let settled = limits.into_iter().filter(Limit::is_over).map(|limit| {
            let held = self.money.held_for(&limit, &spec.id, day);
            limit.without(held)
        });
        if let Some(limit) = settled.into_iter().find(Limit::is_over) {
            let until = limit.until(day);
            let text = limit.text(&spec.id, until);
            self.money
                .refused
                .insert(spec.id.clone(), Refused { since: day, until, text: text.clone(), asked });
            self.report_budget(now, agent, &limit, day, true, &text);
            return Ok(Err(RunError::new(ErrorKind::Budget, text)));
        }
        if waits {
            return Err(spec.id.clone());
        }
        self.money.add(day, &spec.id, asked, 1.0);
        let (model, worst) = (wish.model.clone(), wish.worst);
        self.money
            .held
            .insert((wish.run, wish.n), Held { agent: spec.id.clone(), model: model.clone(), worst, day });
        self.push_conversation_entry(now, wish.run, Said::Held { n: wish.n, model, worst, day });
        Ok(Ok(()))
    }

    /// Settles a request: its actual use replaces what was held. `places`: positions of its outcome and of the
    /// request in the journal.
    pub(super) fn settle_request(
        &mut self,
        now: Now,
        id: RunId,
        places: (u64, u64),
        step: Step,
        took_ms: u64,
    ) {
        let (n, asked) = places;
        let used = match &step {
            Step::Answered { used, .. } | Step::Unanswered { used, .. } => *used,
            _ => Usage::default(),
        };
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.record.used.add(&used);
        self.chain = run.record.chain;
        let (agent, spec) = (run.agent, run.spec.clone());
        let held = self.money.held.remove(&(id, asked));
        let day = held.as_ref().map_or_else(|| self.today(now.wall), |held| held.day);
        if let Some(held) = &held {
            self.money.add(day, &spec.id, Amount::held(&held.worst), -1.0);
        }
        self.money.add(day, &spec.id, Amount::of(&used), 1.0);
        self.push_conversation_entry(now, id, Said::Settled { n, asked, step: Box::new(step), day, took_ms });
        self.warn_of_budgets(now, agent, &spec, day);
        self.reserve_waiting(now);
    }

    /// Closes the account of an attempt. Requests without a known outcome are charged their worst case.
    pub(super) fn close_account(&mut self, now: Now, id: RunId) {
        let open: Vec<u64> =
            self.money.held.range((id, 0)..=(id, u64::MAX)).map(|((_, asked), _)| *asked).collect();
        for asked in open {
            self.charge_open_request(now, id, asked);
        }
        self.reserve_waiting(now);
    }

    fn charge_open_request(&mut self, now: Now, id: RunId, asked: u64) {
        let Some(held) = self.money.held.remove(&(id, asked)) else { return };
        let used = held.worst.usage();
        if let Some(run) = self.runs.get_mut(&id) {
            run.record.used.add(&used);
        }
        let said = Said::Charged { asked, model: held.model, used, day: held.day };
        self.push_conversation_entry(now, id, said);
    }

    /// Charges the requests of the last daemon that have no known outcome. The runs are not restored yet.
    pub(super) fn charge_restored(&mut self, now: Now, holds: Vec<HoldRecord>, runs: &mut [RunRecord]) {
        for hold in holds {
            let used = hold.worst.usage();
            self.money.add(hold.day, &hold.agent, Amount::of(&used), 1.0);
            let run = runs.iter_mut().find(|run| run.run == hold.run);
            let attempt = run.map_or(0, |run| {
                run.used.add(&used);
                run.attempt
            });
            let said = Said::Charged { asked: hold.n, model: hold.model, used, day: hold.day };
            let session = hold.agent.to_string().into();
            let talk = Talk { run: hold.run, agent: hold.agent, session, attempt, said };
            self.push(now, Fact::Talked(Box::new(talk)));
        }
    }

    pub(super) fn usd_today(&self, spec: &AgentSpec) -> f64 {
        if !spec.body.asks_models() {
            return 0.0;
        }
        self.money.of_agent(self.today(self.last.wall), &spec.id).usd
    }

    /// Returns what is left of the limits of the fleet (`None`) or of one agent at this time.
    pub fn budget_left(&self, agent: Option<&str>, at: Timestamp) -> Vec<BudgetLeft> {
        let day = self.today(at);
        let spec = agent.and_then(|id| self.fleet.agent(id));
        let own = spec.map(|spec| (&spec.id, &*spec.limits));
        let none = BudgetSpec::default();
        let fleet = if agent.is_some() { &none } else { &self.fleet.budget };
        let limits = self.money.limits(fleet, own, day, Amount::default());
        // without an agent, only the fleet's limits are asked for
        let whose = spec.map_or_else(IncidentRecord::of_daemon, |spec| spec.id.clone());
        let left = limits.into_iter().map(|limit| BudgetLeft {
            held: self.money.held_for(&limit, &whose, day),
            agent: spec.map(|spec| spec.id.clone()),
            limit: limit.key,
            allowed: limit.allowed,
            used: limit.used,
        });
        left.collect()
    }

    /// Records an entry in the conversation of a run.
    pub(super) fn push_conversation_entry(&mut self, now: Now, id: RunId, said: Said) {
        let Some(run) = self.runs.get(&id) else { return };
        let talk = Talk {
            run: id,
            agent: run.spec.id.clone(),
            session: run.spec.session(),
            attempt: run.record.attempt,
            said,
        };
        self.push(now, Fact::Talked(Box::new(talk)));
    }
}
/// Dollars, to the next of the smallest that are shown.
fn rounded_up(key: &str, amount: f64) -> f64 {
    if key.starts_with("usd") { (amount * 1e4).ceil() / 1e4 } else { amount }
}
