//! What is told of budgets: that little is left, that nothing is, and whose slots are refused for it. What is
//! used and held is left to the module above.
use super::{Amount, Engine, Limit, WARN_AT};
use crate::domain::*;
use jiff::Timestamp;
use jiff::civil::Date;
use std::collections::BTreeSet;

/// The money of an agent is gone.
struct Gone {
    /// The day on which there is some again.
    until: Date,
    text: String,
    /// What is used up; none: it was told when a request was refused.
    limit: Option<Limit>,
}

impl Engine {
    pub(super) fn warn_of_budgets(&mut self, now: Now, agent: u32, spec: &AgentSpec, day: Date) {
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

    pub(super) fn tell_budget(
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

    /// Why a run of the agent is not worth starting. Who hears it first tells it.
    pub(in crate::engine) fn refused_by_budget(&mut self, now: Now, agent: u32) -> Option<String> {
        let day = self.today(now.wall);
        let spec = self.agents[agent as usize].spec.clone();
        let gone = self.gone(&spec, day)?;
        if let Some(limit) = &gone.limit {
            self.tell_budget(now, agent, limit, day, true, &gone.text);
        }
        Some(gone.text)
    }

    /// Why a run that a person asks for would be refused its first request: a limit is used up, or what was
    /// refused before still does not fit (unless `other`: it asks something else). What is held for requests
    /// under way may come back and refuses nobody.
    pub(in crate::engine) fn refused_by_hand(&mut self, now: Now, agent: u32, other: bool) -> Option<String> {
        let day = self.today(now.wall);
        let spec = self.agents[agent as usize].spec.clone();
        if !spec.body.asks_models() {
            return None;
        }
        let refused = self.money.refused.get(&spec.id).filter(|refused| refused.is_in_force(day) && !other);
        let asked = refused.map_or_else(Amount::default, |refused| refused.asked);
        let limits = self.money.limits(&self.fleet.budget, Some((&spec.id, &spec.limits)), day, asked);
        let is_gone = |limit: &Limit| limit.is_over() || limit.is_used_up();
        let limit = limits.into_iter().filter(is_gone).find_map(|limit| {
            let held = self.money.held_for(&limit, &spec.id, day);
            Some(limit.without(held)).filter(is_gone)
        })?;
        let text = limit.text(&spec.id, limit.until(day));
        self.tell_budget(now, agent, &limit, day, true, &text);
        Some(text)
    }

    /// Until when no run of the agent is worth starting, and why, if its money is gone.
    pub(in crate::engine) fn out_of_budget(&self, spec: &AgentSpec) -> Option<(Timestamp, String)> {
        let gone = self.gone(spec, self.today(self.last.wall))?;
        let until = gone.until.to_zoned(self.fleet.daemon.timezone.clone()).ok()?;
        Some((until.timestamp(), gone.text))
    }

    fn gone(&self, spec: &AgentSpec, day: Date) -> Option<Gone> {
        if !spec.body.asks_models() {
            return None;
        }
        if let Some(refused) = self.money.refused.get(&spec.id).filter(|refused| refused.is_in_force(day)) {
            return Some(Gone { until: refused.until, text: refused.text.clone(), limit: None });
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
}
