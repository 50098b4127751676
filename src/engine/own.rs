//! Problems of the daemon itself, not found by any run: each is an incident without a configured agent. Agents with
//! `on = "incident_opened"` are started by them as by others.
use super::{Engine, Refusal, Reply};
use crate::domain::*;
use std::collections::BTreeSet;

impl Engine {
    /// Records the result of a check of the daemon itself. It takes effect at once, without `hold_for`.
    pub(super) fn noticed(&mut self, now: Now, finding: Finding) {
        // a delivery in flight when its target was removed may still report
        let is_gone = is_obsolete(&self.fleet, &finding.key);
        let level = if is_gone { Level::Ok } else { finding.level };
        let severity = match level {
            Level::Crit => Severity::Critical,
            Level::Warn => Severity::Warning,
            Level::Hold => return,
            Level::Ok => {
                if let Some(incident) = self.own_incidents.remove(&finding.key) {
                    if incident.told_at.is_some() && !is_gone {
                        self.notify_resolved(now, &incident);
                    }
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
        let is_worse = severity > incident.severity;
        incident.severity = severity.max(incident.severity);
        incident.title = finding.title;
        incident.seen_at = now.wall;
        incident.count += 1;
        if (is_new || is_worse) && self.notify_opened(now, &incident) {
            incident.told_at = Some(now.wall);
        }
        self.own_incidents.insert(incident.key.clone(), incident.clone());
        self.push(now, Fact::IncidentSaved(Box::new(incident.clone())));
        if is_new {
            self.push(now, Fact::IncidentOpened(Box::new(incident)));
        }
    }

    /// Queues a notification of a problem of the daemon to the targets of the agents that it affects. Returns whether there are any.
    fn notify_opened(&mut self, now: Now, incident: &IncidentRecord) -> bool {
        let subject = format!("{}: {}: {}", incident.agent, incident.severity, incident.title);
        let body = format!("{}, since {:.0}", incident.key, incident.since);
        let notice = Notice::new(&incident.agent, TellOn::IncidentOpened, subject, body);
        self.notify_affected(now, incident, Notice { urgency: incident.severity.into(), ..notice })
    }

    /// Queues a notification that a problem of the daemon is resolved.
    fn notify_resolved(&mut self, now: Now, incident: &IncidentRecord) {
        let lasted = human_duration(now.wall.duration_since(incident.since));
        let subject = format!("{}: resolved (was: {})", incident.agent, incident.title);
        let body = format!("{}, it lasted {lasted}", incident.key);
        let notice = Notice::new(&incident.agent, TellOn::IncidentResolved, subject, body);
        self.notify_affected(now, incident, notice);
    }

    fn notify_affected(&mut self, now: Now, incident: &IncidentRecord, notice: Notice) -> bool {
        let notice = Box::new(notice.keyed(&incident.key));
        let targets = self.affected_targets(&incident.key, notice.about);
        for target in &targets {
            self.push(now, Fact::NotificationQueued { target: target.clone(), notice: notice.clone() });
        }
        !targets.is_empty()
    }

    /// Returns the targets of the agents that a problem affects: each once, without the target that the problem is about.
    fn affected_targets(&self, key: &str, about: TellOn) -> BTreeSet<String> {
        let source = key.strip_prefix(IncidentRecord::SOURCE);
        let broken = broken_target(key);
        let is_affected = |spec: &AgentSpec| match (source, broken) {
            (Some(agent), _) => spec.id.as_str() == agent,
            (None, Some(target)) => {
                spec.notify.as_ref().is_some_and(|notify| notify.to.iter().any(|to| to == target))
            }
            (None, None) => key == IncidentRecord::WEBHOOKS && matches!(spec.schedule, Schedule::Webhook(_)),
        };
        self.agents
            .iter()
            .filter(|state| !state.removed && is_affected(&state.spec))
            .filter_map(|state| state.spec.notify.as_ref().filter(|notify| notify.on.contains(&about)))
            .flat_map(|notify| notify.to.iter().filter(|to| Some(to.as_str()) != broken).cloned())
            .collect()
    }

    /// Restores an incident: it stays open until the daemon finds that it is resolved.
    pub(super) fn restore_own_incident(&mut self, incident: IncidentRecord) {
        self.own_incidents.insert(incident.key.clone(), incident);
    }

    /// Closes the incidents of removed notification targets, and those of sources that no agent waits for any more.
    pub(super) fn close_obsolete_incidents(&mut self, now: Now) {
        let fleet = self.fleet.clone();
        let is_gone = |key: &String, _: &mut IncidentRecord| is_obsolete(&fleet, key);
        let gone: Vec<IncidentRecord> =
            self.own_incidents.extract_if(.., is_gone).map(|(_, incident)| incident).collect();
        for incident in gone {
            self.close_incident(now, incident);
        }
    }

    /// Acknowledges a problem of the daemon; `None`: it has no such problem.
    pub(super) fn acknowledge_own_incident(
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

/// Returns whether this is a problem of a notification target that is no longer configured, of an agent that waits
/// for nothing from outside, or of webhooks that are disabled.
fn is_obsolete(fleet: &Fleet, key: &str) -> bool {
    if let Some(agent) = key.strip_prefix(IncidentRecord::SOURCE) {
        return !fleet.agent(agent).is_some_and(|agent| agent.schedule.is_from_outside());
    }
    if key == IncidentRecord::WEBHOOKS {
        return fleet.daemon.webhooks.is_none();
    }
    broken_target(key).is_some_and(|name| !fleet.notify.contains_key(name))
}

/// The notification target that a problem with this key is about.
fn broken_target(key: &str) -> Option<&str> {
    [IncidentRecord::NOTIFY, IncidentRecord::ANSWERS].iter().find_map(|start| key.strip_prefix(start))
}
