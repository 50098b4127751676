//! Problems of the daemon itself, which no agent's run has found: each is an incident without an agent of the
//! configuration. Whoever has `on = "incident_opened"` is started by them as by others.
use super::{Engine, Refusal, Reply};
use crate::domain::*;

impl Engine {
    /// The daemon found out how something of its own stands. What it says holds at once.
    pub(super) fn noticed(&mut self, now: Now, finding: Finding) {
        // what a delivery says that was under way when its target was removed is over
        let is_gone = is_of_what_is_gone(&self.fleet, &finding.key);
        let level = if is_gone { Level::Ok } else { finding.level };
        let severity = match level {
            Level::Crit => Severity::Critical,
            Level::Warn => Severity::Warning,
            Level::Hold => return,
            Level::Ok => {
                if let Some(incident) = self.own_incidents.remove(&finding.key) {
                    self.close_incident(now, incident);
                }
                return;
            }
        };
        let known = self.own_incidents.get(&finding.key).cloned();
        let is_new = known.is_none();
        let mut incident = known.unwrap_or_else(|| IncidentRecord {
            agent: IncidentRecord::of_daemon(),
            key: finding.key.clone(),
            severity,
            title: String::new(),
            since: now.wall,
            opened_at: Some(now.wall),
            seen_at: now.wall,
            count: 0,
            resolved_at: None,
            acked_at: None,
            told_at: None,
            diagnosis: None,
            by: finding.by,
            run: None,
        });
        incident.severity = severity.max(incident.severity);
        incident.title = finding.title;
        incident.seen_at = now.wall;
        incident.count += 1;
        self.own_incidents.insert(incident.key.clone(), incident.clone());
        self.push(now, Fact::IncidentSaved(Box::new(incident.clone())));
        if is_new {
            self.push(now, Fact::IncidentOpened(Box::new(incident)));
        }
    }

    /// An incident of an earlier life: still open, until the daemon finds out that it is over.
    pub(super) fn take_up_own(&mut self, incident: IncidentRecord) {
        self.own_incidents.insert(incident.key.clone(), incident);
    }

    /// Targets that are no longer configured get no messages, and agents wait no longer for what they waited for: what stood in the
    /// way of those is over.
    pub(super) fn forget_what_is_gone(&mut self, now: Now) {
        let fleet = self.fleet.clone();
        let is_gone = |key: &String, _: &mut IncidentRecord| is_of_what_is_gone(&fleet, key);
        let gone: Vec<IncidentRecord> =
            self.own_incidents.extract_if(.., is_gone).map(|(_, incident)| incident).collect();
        for incident in gone {
            self.close_incident(now, incident);
        }
    }

    /// A person took note of a problem of the daemon; `None`: it has no such problem.
    pub(super) fn ack_own(
        &mut self,
        now: Now,
        id: Option<&AgentId>,
        key: &str,
    ) -> Option<Result<Reply, Refusal>> {
        if id.is_some_and(|id| *id != IncidentRecord::of_daemon()) {
            return None;
        }
        let incident = self.own_incidents.get_mut(key)?;
        incident.acked_at.get_or_insert(now.wall);
        let incident = Box::new(incident.clone());
        self.push(now, Fact::IncidentSaved(incident.clone()));
        Some(Ok(Reply::Incident(incident)))
    }
}

/// Is this a problem of a notification target that is not configured any more, of an agent that waits for nothing from outside, or
/// of webhooks that are not to be taken?
fn is_of_what_is_gone(fleet: &Fleet, key: &str) -> bool {
    if let Some(agent) = key.strip_prefix(IncidentRecord::SOURCE) {
        return !fleet.agent(agent).is_some_and(|agent| agent.schedule.is_from_outside());
    }
    if key == IncidentRecord::WEBHOOKS {
        return fleet.daemon.webhooks.is_none();
    }
    let of_targets = [IncidentRecord::NOTIFY, IncidentRecord::ANSWERS];
    let target = of_targets.iter().find_map(|start| key.strip_prefix(start));
    target.is_some_and(|name| !fleet.notify.contains_key(name))
}
