//! Notifications about budgets: near the limit, exhausted, and the slots refused because of that. The accounting is
//! left to the parent module.
use super::{Amount, DEFAULT_WARN_FRACTION, Engine, Limit};
use crate::domain::*;
use jiff::Timestamp;
use jiff::civil::Date;
use std::collections::BTreeSet;

/// An exhausted budget of an agent.
struct Exhaustion {
    /// The day on which budget is available again.
    until: Date,
    text: String,
    /// The exhausted limit. `None`: it was reported when a request was refused.
    limit: Option<Limit>,
}

impl Engine {
    pub(super) fn warn_of_budgets(&mut self, now: Now, agent: u32, spec: &AgentSpec, day: Date) {
        let warn_at = self.fleet.budget.warn_at.unwrap_or(DEFAULT_WARN_FRACTION);
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
                self.report_budget(now, agent, &limit, day, false, &text);
            }
        }
    }

    pub(super) fn report_budget(
        &mut self,
        now: Now,
        agent: u32,
        limit: &Limit,
        day: Date,
        exhausted: bool,
        text: &str,
    ) {
        let id = self.agents[agent as usize].spec.id.clone();
        let whose = limit.agent.then(|| id.clone());
        let news = BudgetNotice {
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

    /// Notifies the targets of the agent about its own budget. The fleet's budget affects all agents that use
    /// models: every target that one of them names is notified once.
    fn tell_exhausted(&mut self, now: Now, agent: u32, own: bool, text: &str) {
        let id = &self.agents[agent as usize].spec.id;
        let subject =
            if own { format!("{id}: a budget is used up") } else { "the fleet's budget is used up".into() };
        let all = if own { 0..0 } else { 0..u32::try_from(self.agents.len()).unwrap_or(u32::MAX) };
        let mut told = BTreeSet::new();
        for agent in std::iter::once(agent).chain(all) {
            let state = &self.agents[agent as usize];
            let asks = state.spec.body.asks_models() && !state.removed;
            let Some(notify) = state.spec.notify.clone().filter(|_| asks) else { continue };
            if !notify.on.contains(&TellOn::BudgetExhausted) {
                continue;
            }
            let agent = state.spec.id.clone();
            for target in notify.to.iter().filter(|target| told.insert((*target).clone())) {
                let (subject, body) = (subject.clone(), text.to_owned());
                let notice = Notice::new(&agent, TellOn::BudgetExhausted, subject, body);
                let (target, notice) = (target.clone(), Box::new(notice));
                self.push(now, Fact::NotificationQueued { target, notice });
            }
        }
    }

    /// Returns why a run of the agent must not start, and reports the exhaustion if nobody has yet.
    pub(in crate::engine) fn refused_by_budget(&mut self, now: Now, agent: u32) -> Option<String> {
        let day = self.today(now.wall);
        let spec = self.agents[agent as usize].spec.clone();
        let exhaustion = self.exhaustion(&spec, day)?;
        if let Some(limit) = &exhaustion.limit {
            self.report_budget(now, agent, limit, day, true, &exhaustion.text);
        }
        Some(exhaustion.text)
    }

    /// Returns why a manual run would be refused its first request: a limit is used up, or the request refused
    /// before still does not fit (ignored with `other`: the query differs). Amounts held for requests in flight may
    /// be released, and refuse nothing.
    pub(in crate::engine) fn refused_by_hand(&mut self, now: Now, agent: u32, other: bool) -> Option<String> {
        let day = self.today(now.wall);
        let spec = self.agents[agent as usize].spec.clone();
        if !spec.body.asks_models() {
            return None;
        }
        let refused = self.money.refused.get(&spec.id).filter(|refused| refused.is_in_force(day) && !other);
        let asked = refused.map_or_else(Amount::default, |refused| refused.asked);
        let limits = self.money.limits(&self.fleet.budget, Some((&spec.id, &spec.limits)), day, asked);
        let is_exhausted = |limit: &Limit| limit.is_over() || limit.is_used_up();
        let limit = limits.into_iter().filter(is_exhausted).find_map(|limit| {
            let held = self.money.held_for(&limit, &spec.id, day);
            Some(limit.without(held)).filter(is_exhausted)
        })?;
        let text = limit.text(&spec.id, limit.until(day));
        self.report_budget(now, agent, &limit, day, true, &text);
        Some(text)
    }

    /// Returns until when no run of the agent can start, and why, if its budget is exhausted.
    pub(in crate::engine) fn out_of_budget(&self, spec: &AgentSpec) -> Option<(Timestamp, String)> {
        let exhaustion = self.exhaustion(spec, self.today(self.last.wall))?;
        let until = exhaustion.until.to_zoned(self.fleet.daemon.timezone.clone()).ok()?;
        Some((until.timestamp(), exhaustion.text))
    }

    fn exhaustion(&self, spec: &AgentSpec, day: Date) -> Option<Exhaustion> {
        if !spec.body.asks_models() {
            return None;
        }
        if let Some(refused) = self.money.refused.get(&spec.id).filter(|refused| refused.is_in_force(day)) {
            return Some(Exhaustion { until: refused.until, text: refused.text.clone(), limit: None });
        }
        let limits =
            self.money.limits(&self.fleet.budget, Some((&spec.id, &spec.limits)), day, Amount::default());
        let settled = limits.into_iter().filter(Limit::is_used_up).map(|limit| {
            let held = self.money.held_for(&limit, &spec.id, day);
            limit.without(held)
        });
        let limit = settled.into_iter().find(Limit::is_used_up)?;
        let until = limit.until(day);
        Some(Exhaustion { until, text: limit.text(&spec.id, until), limit: Some(limit) })
    }
}
