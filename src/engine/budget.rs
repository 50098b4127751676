//! Money, tokens and requests: what was used, what is held, and whether a request may still be sent.
//!
//! A request is held for by its worst case before it is sent and settled afterwards, so that runs
//! side by side can't overspend: one thread decides. Days and months are those of `[daemon] timezone`.
use super::{Action, Engine, Place, Reservation};
use crate::domain::*;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Part of a budget at which a warning is told, if the configuration names none.
const WARN_AT: f64 = 0.8;
/// Days that are looked back on; a month, and room for a clock that was wrong.
const DAYS_KEPT: i32 = 62;

/// What is used or held.
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

    fn add(&mut self, other: Self, sign: f64) {
        self.usd += sign * other.usd;
        self.tokens += sign * other.tokens;
        self.requests += sign * other.requests;
    }
}

/// A request that is under way.
#[derive(Clone, Debug)]
struct Held {
    agent: AgentId,
    model: String,
    worst: WorstCase,
    day: Date,
}

/// One limit of a day or a month, and where it stands.
struct Limit {
    /// Of the fleet, or of this agent.
    agent: bool,
    key: &'static str,
    allowed: f64,
    used: f64,
    asked: f64,
}

/// Everything that budgets know.
#[derive(Debug, Default)]
pub(super) struct Money {
    /// By day and agent, with what is held.
    days: BTreeMap<Date, HashMap<AgentId, Amount>>,
    /// Sums of `days`.
    fleet: BTreeMap<Date, Amount>,
    held: HashMap<RunId, Held>,
    /// Requests that do not fit beside those under way, and may fit when these are settled. Who came
    /// first is looked at first.
    waiting: Vec<Reservation>,
    /// What was told of a day, so that it is told once.
    told: BTreeSet<BudgetTold>,
    /// Agents whose request was refused, until which day and why: their slots are refused until then
    /// or until the configuration changes.
    refused: HashMap<AgentId, (Date, String)>,
}

impl Money {
    /// Takes up what the last life left.
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

    fn forget_before(&mut self, day: Date) {
        let oldest = day.checked_sub(DAYS_KEPT.days()).unwrap_or(day);
        if self.fleet.first_key_value().is_some_and(|(first, _)| *first < oldest) {
            self.days.retain(|day, _| *day >= oldest);
            self.fleet.retain(|day, _| *day >= oldest);
            self.told.retain(|told| told.since >= oldest);
        }
    }

    fn of_agent(&self, day: Date, agent: &AgentId) -> Amount {
        self.days.get(&day).and_then(|agents| agents.get(agent)).copied().unwrap_or_default()
    }

    fn of_month(&self, day: Date) -> f64 {
        self.fleet.range(day.first_of_month()..=day.last_of_month()).map(|(_, amount)| amount.usd).sum()
    }

    /// How much of what counts for a limit is only held: more than will be used, as a rule.
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
        match limit.key {
            "tokens_per_day" => sum.tokens,
            "requests_per_day" => sum.requests,
            _ => sum.usd,
        }
    }

    /// A new configuration: what was refused may be allowed now.
    pub(super) fn reconsider(&mut self) {
        self.refused.clear();
    }

    /// Every limit that is set, as it stands if `asked` were added.
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
        // sums of floating-point dollars: a billionth is no overspending
        self.used + self.asked > self.allowed + 1e-9
    }

    fn is_used_up(&self) -> bool {
        self.used + 1e-9 >= self.allowed
    }

    /// The same limit, as it stands if nothing of what is held is used.
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

    /// The day, after this one, on which it counts anew.
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
            asked => format!("used or held, and the next request may take {}", self.amount(asked)),
        };
        let are = if used.starts_with("1 ") || used.starts_with('$') { "is" } else { "are" };
        format!("{whose} allows {allowed}: {used} {are} {asked}; raise it, or wait until {until}")
    }
}

/// The money of an agent is gone.
struct Gone {
    /// The day on which there is some again.
    until: Date,
    text: String,
    /// What is used up; none: it was told when a request was refused.
    limit: Option<Limit>,
}

/// What one limit leaves, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetLeft {
    /// Whose. `None`: the fleet's.
    pub agent: Option<AgentId>,
    /// Its key.
    pub limit: &'static str,
    /// How much it allows.
    pub allowed: f64,
    /// How much is used or held.
    pub used: f64,
}

impl Engine {
    fn today(&self, at: Timestamp) -> Date {
        at.to_zoned(self.fleet.daemon.timezone.clone()).date()
    }

    /// May this request be sent? Then its worst case is held. One that would fit if the requests under
    /// way had not been held for at their worst waits until one of them has its end.
    pub(super) fn reserve(&mut self, now: Now, wish: Reservation) {
        match self.try_reserve(now, &wish) {
            Some(answer) => self.out.actions.push(Action::Granted { ticket: wish.ticket, answer }),
            None => self.money.waiting.push(wish),
        }
    }

    /// Something was settled, or limits were raised: what waited for that may go on.
    pub(super) fn reserve_waiting(&mut self, now: Now) {
        let chain = self.chain;
        for wish in std::mem::take(&mut self.money.waiting) {
            self.reserve(now, wish);
        }
        self.chain = chain;
    }

    /// `None`: it has to wait.
    fn try_reserve(&mut self, now: Now, wish: &Reservation) -> Option<Result<(), RunError>> {
        let run = self.runs.get(&wish.run).filter(|run| {
            run.place == Place::Active && run.record.attempt == wish.attempt && run.cancelled.is_none()
        });
        let Some(run) = run else {
            return Some(Err(RunError::new(ErrorKind::Interrupted, "the run is not in flight any more")));
        };
        self.chain = run.record.chain;
        let (agent, spec) = (run.agent, run.spec.clone());
        let day = self.today(now.wall);
        self.money.forget_before(day);
        let asked = Amount::held(&wish.worst);
        let limits = self.money.limits(&self.fleet.budget, Some((&spec.id, &spec.limits)), day, asked);
        let mut over = limits.into_iter().filter(Limit::is_over).peekable();
        let waits = over.peek().is_some();
        let settled = over.map(|limit| {
            let held = self.money.held_for(&limit, &spec.id, day);
            limit.without(held)
        });
        if let Some(limit) = settled.into_iter().find(Limit::is_over) {
            let until = limit.until(day);
            let text = limit.text(&spec.id, until);
            self.money.refused.insert(spec.id.clone(), (until, text.clone()));
            self.tell_budget(now, agent, &limit, day, true, &text);
            return Some(Err(RunError::new(ErrorKind::Budget, text)));
        }
        if waits {
            return None;
        }
        self.money.add(day, &spec.id, asked, 1.0);
        let (model, worst) = (wish.model.clone(), wish.worst);
        self.money.held.insert(wish.run, Held { agent: spec.id.clone(), model: model.clone(), worst, day });
        self.push_talk(now, wish.run, Said::Held { n: wish.n, model, worst, day });
        Some(Ok(()))
    }

    /// A request has its end: what it used takes the place of what was held.
    pub(super) fn settle_request(&mut self, now: Now, id: RunId, n: u64, step: Step, took_ms: u64) {
        let used = match &step {
            Step::Answered { used, .. } | Step::Unanswered { used, .. } => *used,
            _ => Usage::default(),
        };
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.record.used.add(&used);
        self.chain = run.record.chain;
        let (agent, spec) = (run.agent, run.spec.clone());
        let held = self.money.held.remove(&id);
        let day = held.as_ref().map_or_else(|| self.today(now.wall), |held| held.day);
        if let Some(held) = &held {
            self.money.add(day, &spec.id, Amount::held(&held.worst), -1.0);
        }
        self.money.add(day, &spec.id, Amount::of(&used), 1.0);
        self.push_talk(now, id, Said::Settled { n, step: Box::new(step), day, took_ms });
        self.warn_of_budgets(now, agent, &spec, day);
        self.reserve_waiting(now);
    }

    /// An attempt is over. If nobody saw the end of its request, its worst case is charged.
    pub(super) fn close_account(&mut self, now: Now, id: RunId) {
        self.charge_open_request(now, id);
        self.reserve_waiting(now);
    }

    fn charge_open_request(&mut self, now: Now, id: RunId) {
        let Some(held) = self.money.held.remove(&id) else { return };
        let used = all_of(held.worst);
        if let Some(run) = self.runs.get_mut(&id) {
            run.record.used.add(&used);
        }
        let said = Said::Charged { model: held.model, used, day: held.day };
        self.push_talk(now, id, said);
    }

    /// Requests of the last life whose end nobody saw. The runs are not taken up yet.
    pub(super) fn charge_restored(&mut self, now: Now, holds: Vec<HoldRecord>, runs: &mut [RunRecord]) {
        for hold in holds {
            let used = all_of(hold.worst);
            self.money.add(hold.day, &hold.agent, Amount::of(&used), 1.0);
            let run = runs.iter_mut().find(|run| run.run == hold.run);
            let attempt = run.map_or(0, |run| {
                run.used.add(&used);
                run.attempt
            });
            let said = Said::Charged { model: hold.model, used, day: hold.day };
            let session = hold.agent.to_string().into();
            let talk = Talk { run: hold.run, agent: hold.agent, session, attempt, said };
            self.push(now, Fact::Talked(Box::new(talk)));
        }
    }

    fn warn_of_budgets(&mut self, now: Now, agent: u32, spec: &AgentSpec, day: Date) {
        let warn_at = self.fleet.budget.warn_at.unwrap_or(WARN_AT);
        let limits =
            self.money.limits(&self.fleet.budget, Some((&spec.id, &spec.limits)), day, Amount::default());
        let is_near = |limit: &Limit| limit.allowed > 0.0 && limit.used >= warn_at * limit.allowed;
        for limit in limits.into_iter().filter(is_near) {
            let held = self.money.held_for(&limit, &spec.id, day);
            let limit = limit.without(held);
            if is_near(&limit) {
                let whose = if limit.agent { format!("agent `{}`", spec.id) } else { "the fleet".into() };
                let text = format!(
                    "{whose} has used {} of the {} that `{}` allows",
                    limit.amount(limit.used),
                    limit.amount(limit.allowed),
                    limit.key
                );
                self.tell_budget(now, agent, &limit, day, false, &text);
            }
        }
    }

    fn tell_budget(&mut self, now: Now, agent: u32, limit: &Limit, day: Date, exhausted: bool, text: &str) {
        let id = self.agents[agent as usize].spec.id.clone();
        let whose = limit.agent.then(|| id.clone());
        let news = BudgetNews {
            agent: whose,
            limit: limit.key,
            exhausted,
            allowed: limit.allowed,
            used: limit.used,
            day,
            text: text.to_owned(),
        };
        if !self.money.told.insert(news.told()) {
            return;
        }
        self.push(now, Fact::Budget(Box::new(news)));
        if exhausted {
            self.tell_exhausted(now, agent, limit.agent, text);
        }
    }

    /// An agent's own budget is told to those whom it names. The fleet's stops all agents that ask
    /// models: whoever is named by one of them is told, once.
    fn tell_exhausted(&mut self, now: Now, agent: u32, own: bool, text: &str) {
        let id = &self.agents[agent as usize].spec.id;
        let subject =
            if own { format!("{id}: a budget is used up") } else { "the fleet's budget is used up".into() };
        let all = if own { 0..0 } else { 0..u32::try_from(self.agents.len()).unwrap_or(u32::MAX) };
        let mut told = BTreeSet::new();
        for agent in std::iter::once(agent).chain(all) {
            let state = &self.agents[agent as usize];
            let asks = matches!(state.spec.body, Body::Query(_)) && !state.removed;
            let Some(notify) = state.spec.notify.clone().filter(|_| asks) else { continue };
            if !notify.on.contains(&TellOn::BudgetExhausted) {
                continue;
            }
            let agent = state.spec.id.clone();
            for target in notify.to.iter().filter(|target| told.insert((*target).clone())) {
                let (target, agent, about) = (target.clone(), agent.clone(), TellOn::BudgetExhausted);
                let (subject, body) = (subject.clone(), text.to_owned());
                self.push(now, Fact::NotificationQueued { target, agent, about, subject, body });
            }
        }
    }

    /// Why a run of the agent is not worth starting. Who hears it first tells it.
    pub(super) fn refused_by_budget(&mut self, now: Now, agent: u32) -> Option<String> {
        let day = self.today(now.wall);
        let spec = self.agents[agent as usize].spec.clone();
        let gone = self.gone(&spec, day)?;
        if let Some(limit) = &gone.limit {
            self.tell_budget(now, agent, limit, day, true, &gone.text);
        }
        Some(gone.text)
    }

    /// Until when no run of the agent is worth starting, and why, if its money is gone.
    pub(super) fn out_of_budget(&self, spec: &AgentSpec) -> Option<(Timestamp, String)> {
        let gone = self.gone(spec, self.today(self.last.wall))?;
        let until = gone.until.to_zoned(self.fleet.daemon.timezone.clone()).ok()?;
        Some((until.timestamp(), gone.text))
    }

    fn gone(&self, spec: &AgentSpec, day: Date) -> Option<Gone> {
        if !matches!(spec.body, Body::Query(_)) {
            return None;
        }
        if let Some((until, text)) = self.money.refused.get(&spec.id).filter(|(until, _)| day < *until) {
            return Some(Gone { until: *until, text: text.clone(), limit: None });
        }
        let limits =
            self.money.limits(&self.fleet.budget, Some((&spec.id, &spec.limits)), day, Amount::default());
        let settled = limits.into_iter().filter(Limit::is_used_up).map(|limit| {
            let held = self.money.held_for(&limit, &spec.id, day);
            limit.without(held)
        });
        let limit = settled.into_iter().find(Limit::is_used_up)?;
        let until = limit.until(day);
        Some(Gone { until, text: limit.text(&spec.id, until), limit: Some(limit) })
    }

    pub(super) fn usd_today(&self, spec: &AgentSpec) -> f64 {
        match spec.body {
            Body::Query(_) => self.money.of_agent(self.today(self.last.wall), &spec.id).usd,
            _ => 0.0,
        }
    }

    /// What the limits of the fleet (`None`) or of one agent leave at this time.
    pub fn budget_left(&self, agent: Option<&str>, at: Timestamp) -> Vec<BudgetLeft> {
        let day = self.today(at);
        let spec = agent.and_then(|id| self.fleet.agent(id));
        let own = spec.map(|spec| (&spec.id, &*spec.limits));
        let none = BudgetSpec::default();
        let fleet = if agent.is_some() { &none } else { &self.fleet.budget };
        let limits = self.money.limits(fleet, own, day, Amount::default());
        let left = limits.into_iter().map(|limit| BudgetLeft {
            agent: spec.map(|spec| spec.id.clone()),
            limit: limit.key,
            allowed: limit.allowed,
            used: limit.used,
        });
        left.collect()
    }

    /// Records something of the conversation of a run.
    pub(super) fn push_talk(&mut self, now: Now, id: RunId, said: Said) {
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

/// What a request is charged whose end nobody saw.
fn all_of(worst: WorstCase) -> Usage {
    Usage { requests: 1, input_tokens: worst.tokens, usd: worst.usd, ..Usage::default() }
}
