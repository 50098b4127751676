//! Incidents: problems with a key, opened and resolved by probes and by failing agents, with hysteresis (section
//! 6). Sixty failures of one check are one incident.
use super::{Engine, Refusal, Reply};
use crate::domain::*;
use jiff::SignedDuration;

/// Maximum length of a diagnosis kept with an incident, in bytes. The full text is the result of its run.
const MAX_DIAGNOSIS_BYTES: usize = 8 << 10;

/// Note in messages about an incident reported by an agent that had read data from outside.
const UNTRUSTED_NOTE: &str = "reported by a run that had read data from outside";

/// The finding concerns an incident that it may not change.
struct NotAllowed;

impl Engine {
    /// Records the findings of a probe.
    pub(super) fn findings(&mut self, now: Now, agent: u32, run: RunId, findings: &[Finding]) {
        if self.agents[agent as usize].removed {
            return; // its incidents were closed with it
        }
        for finding in findings {
            self.finding(now, agent, Some(run), finding);
        }
    }

    /// Closes the incidents that a complete probe no longer reports.
    pub(super) fn forget_unprobed(&mut self, now: Now, agent: u32, spec: &AgentSpec, findings: &[Finding]) {
        let is = |call: &ToolCallSpec, kind| self.fleet.kind_of(&call.tool) == Some(kind);
        let looks = |call: &ToolCallSpec| is(call, ToolKind::Probe) || is(call, ToolKind::Feed);
        let gate = match spec.gate.as_deref().map(|gate| &gate.body) {
            // A manual run does not evaluate its gate.
            Some(CheckBody::Tool(call)) if !findings.is_empty() => Some(call),
            _ => None,
        };
        let by_gate = gate.is_some_and(looks);
        let of_feeds = gate.is_some_and(|call| is(call, ToolKind::Feed));
        let looked = match &spec.body {
            Body::Tool(call) => looks(call) || (by_gate && !is(call, ToolKind::Report)),
            Body::Command(_) => by_gate,
            // It may have reported problems that no probe checks.
            Body::Query(_) | Body::Runner(_) => false,
        };
        let Some(keys) = self.incidents.get_mut(&agent).filter(|_| looked || of_feeds) else { return };
        let failing = failing_key(&self.agents[agent as usize].spec.id);
        let is_over = |key: &String, _: &mut IncidentRecord| {
            let looked_after = looked || key.starts_with("feed:");
            looked_after && !is_of_engine(key, &failing) && findings.iter().all(|finding| finding.key != *key)
        };
        let over: Vec<IncidentRecord> = keys.extract_if(.., is_over).map(|(_, incident)| incident).collect();
        for incident in over {
            self.close_incident(now, incident);
        }
    }

    /// Returns the incident that a finding is about. An untrusted report can't change what a check has found; a
    /// check that confirms a merely reported problem opens a new incident.
    fn known(
        &mut self,
        now: Now,
        agent: u32,
        finding: &Finding,
    ) -> Result<Option<IncidentRecord>, NotAllowed> {
        let Some(known) = self.incidents.get(&agent).and_then(|keys| keys.get(&finding.key)).cloned() else {
            return Ok(None);
        };
        match (finding.by, known.by) {
            (FoundBy::UntrustedReport, FoundBy::Check) => Err(NotAllowed),
            (FoundBy::Check, by) if by.is_report() && matches!(finding.level, Level::Warn | Level::Crit) => {
                if let Some(keys) = self.incidents.get_mut(&agent) {
                    keys.remove(&finding.key);
                }
                self.close_incident(now, known);
                Ok(None)
            }
            _ => Ok(Some(known)),
        }
    }

    pub(super) fn finding(&mut self, now: Now, agent: u32, run: Option<RunId>, finding: &Finding) {
        self.found(now, agent, run, finding, true);
    }

    /// Records a finding. It is sent to people unless it is not `announced`: another message tells them the cause.
    fn found(&mut self, now: Now, agent: u32, run: Option<RunId>, finding: &Finding, announced: bool) {
        let Ok(known) = self.known(now, agent, finding) else { return };
        let severity = match finding.level {
            Level::Crit => Severity::Critical,
            Level::Warn => Severity::Warning,
            Level::Hold if known.as_ref().is_some_and(IncidentRecord::is_open) => return,
            Level::Hold | Level::Ok => return self.good(now, agent, known),
        };
        let mut incident = known.unwrap_or_else(|| IncidentRecord {
            agent: self.agents[agent as usize].spec.id.clone(),
            key: finding.key.clone(),
            severity,
            title: String::new(),
            since: now.wall,
            opened_at: None,
            seen_at: now.wall,
            count: 0,
            resolved_at: None,
            acked_at: None,
            told_at: None,
            diagnosis: None,
            by: finding.by,
            run: run.filter(|_| finding.by.is_report()),
        });
        if finding.by.is_untrusted() {
            incident.by = finding.by;
        }
        let worse = severity > incident.severity;
        // while open, severity never decreases: values around a threshold cause no repeated messages
        incident.severity = if incident.is_open() { severity.max(incident.severity) } else { severity };
        incident.title.clone_from(&finding.title);
        incident.seen_at = now.wall;
        incident.count += 1;
        let opens = !incident.is_open() && now.wall.duration_since(incident.since) >= finding.hold_for;
        if opens {
            incident.opened_at = Some(now.wall);
        }
        let tells = incident.is_open()
            && (opens
                || worse
                || (incident.acked_at.is_none() && self.may_notify(now, agent, incident.told_at)));
        if tells && announced && self.tells_incident(&incident) {
            let subject = format!("{}: {}: {}", incident.agent, incident.severity, incident.title);
            let body = format!(
                "{}, seen {} since {:.0}",
                incident.key,
                counted(incident.count, "time"),
                incident.since
            );
            let body = if incident.by.is_untrusted() { format!("{body}; {UNTRUSTED_NOTE}") } else { body };
            let body = with_finding(body, &incident);
            let notice = Notice::new(&incident.agent, TellOn::IncidentOpened, subject, body);
            let notice = Notice { urgency: incident.severity.into(), run, ..notice.keyed(&incident.key) };
            if self.tell(now, agent, notice) {
                incident.told_at = Some(now.wall);
            }
        }
        self.save(now, agent, incident.clone());
        if opens {
            self.push(now, Fact::IncidentOpened(Box::new(incident)));
        }
    }

    pub(super) fn good(&mut self, now: Now, agent: u32, known: Option<IncidentRecord>) {
        let Some(mut incident) = known else { return };
        if let Some(keys) = self.incidents.get_mut(&agent) {
            keys.remove(&incident.key);
        }
        if !incident.is_open() {
            let (agent, key) = (incident.agent, incident.key);
            return self.push(now, Fact::IncidentDropped { agent, key });
        }
        incident.resolved_at = Some(now.wall);
        if self.tells_incident(&incident) && !self.was_held_back(&incident) {
            let lasted = human_duration(now.wall.duration_since(incident.since));
            let subject = format!("{}: resolved (was: {})", incident.agent, incident.title);
            let body = with_finding(format!("{}, it lasted {lasted}", incident.key), &incident);
            let notice = Notice::new(&incident.agent, TellOn::IncidentResolved, subject, body);
            self.tell(now, agent, notice.keyed(&incident.key));
        }
        self.push(now, Fact::IncidentSaved(Box::new(incident.clone())));
        self.push(now, Fact::IncidentResolved(Box::new(incident)));
    }

    /// Attaches the result of a run that an incident started to that incident, which may be resolved already.
    pub(super) fn diagnosed(&mut self, now: Now, run: &RunRecord, result: &str) {
        let text = result.trim();
        let event = run.event.as_deref().filter(|_| !text.is_empty());
        let Some(Event { agent_id: Some(agent), payload: Payload::IncidentOpened(opened), .. }) = event
        else {
            return;
        };
        let (agent, key, since) = (agent.clone(), opened.key.clone(), opened.since);
        let mut text = text.to_owned();
        if text.len() > MAX_DIAGNOSIS_BYTES {
            text.truncate(text.floor_char_boundary(MAX_DIAGNOSIS_BYTES));
            text.push('…');
        }
        let diagnosis = Diagnosis { by: run.agent.clone(), run: run.run, at: now.wall, text };
        let known = self.index(&agent).ok().and_then(|owner| self.incidents.get_mut(&owner)?.get_mut(&key));
        // The store has microsecond precision.
        if let Some(incident) = known.filter(|known| to_micros(known.since) == to_micros(since)) {
            incident.diagnosis = Some(diagnosis.clone());
        }
        let diagnosis = Box::new(diagnosis);
        self.push(now, Fact::IncidentDiagnosed { agent, key, since, diagnosis });
    }

    fn save(&mut self, now: Now, agent: u32, incident: IncidentRecord) {
        self.incidents.entry(agent).or_default().insert(incident.key.clone(), incident.clone());
        self.push(now, Fact::IncidentSaved(Box::new(incident)));
    }

    /// Returns whether people are notified of this incident. A failing agent is reported as `failed` and
    /// `recovered`, a late one as `late`, a slow run as `slow`; where these are subscribed to, their incidents are
    /// not sent as well.
    fn tells_incident(&self, incident: &IncidentRecord) -> bool {
        let Ok(agent) = self.index(&incident.agent) else { return false };
        let about = match &incident.key {
            key if *key == failing_key(&incident.agent) => TellOn::Failed,
            key if *key == late_key(&incident.agent) => TellOn::Late,
            key if *key == slow_key(&incident.agent) => TellOn::Slow,
            _ => return true,
        };
        let notify = self.agents[agent as usize].spec.notify.as_ref();
        !notify.is_some_and(|notify| notify.on.contains(&about))
    }

    /// Returns whether a message about its opening was configured but not sent: then its end is not sent either.
    fn was_held_back(&self, incident: &IncidentRecord) -> bool {
        let notify =
            self.index(&incident.agent).ok().and_then(|it| self.agents[it as usize].spec.notify.as_ref());
        incident.told_at.is_none() && notify.is_some_and(|notify| notify.on.contains(&TellOn::IncidentOpened))
    }

    /// Records a run that failed after its retries; `of_budget`: because a budget is exhausted. If the agent
    /// notifies about budgets, no second message about the run is sent.
    pub(super) fn agent_failing(&mut self, now: Now, agent: u32, message: &str, of_budget: bool) {
        let state = &self.agents[agent as usize];
        if state.removed {
            return; // nothing could resolve its incident
        }
        let hears_of_budgets =
            state.spec.notify.as_ref().is_some_and(|notify| notify.on.contains(&TellOn::BudgetExhausted));
        let key = failing_key(&state.spec.id);
        let announced = !(of_budget && hears_of_budgets);
        if announced {
            self.notify_failed(now, agent, message);
        }
        let title = format!("{}{message}", IncidentRecord::FAILS);
        let finding =
            Finding { key, level: Level::Crit, title, hold_for: SignedDuration::ZERO, by: FoundBy::Check };
        self.found(now, agent, None, &finding, announced);
    }

    /// Resolves the failure incident after a completed run.
    pub(super) fn agent_recovered(&mut self, now: Now, agent: u32) {
        self.notify_recovered(now, agent);
        let key = failing_key(&self.agents[agent as usize].spec.id);
        let known = self.incidents.get(&agent).and_then(|keys| keys.get(&key)).cloned();
        self.good(now, agent, known);
    }

    /// Closes the incidents of a removed agent, which nothing could resolve.
    pub(super) fn close_incidents(&mut self, now: Now, agent: u32) {
        for (_, incident) in self.incidents.remove(&agent).unwrap_or_default() {
            self.close_incident(now, incident);
        }
    }

    /// Closes an incident without notifying anybody.
    pub(super) fn close_incident(&mut self, now: Now, mut incident: IncidentRecord) {
        if incident.is_open() {
            incident.resolved_at = Some(now.wall);
            self.push(now, Fact::IncidentSaved(Box::new(incident.clone())));
            self.push(now, Fact::IncidentResolved(Box::new(incident)));
        } else {
            let (agent, key) = (incident.agent, incident.key);
            self.push(now, Fact::IncidentDropped { agent, key });
        }
    }

    /// Acknowledges an incident: no reminders are sent while it lasts.
    pub(super) fn ack(&mut self, now: Now, id: Option<&AgentId>, key: &str) -> Result<Reply, Refusal> {
        let named = id.map(|id| self.index(id)).transpose()?;
        let owners: Vec<u32> = self
            .incidents
            .iter()
            .filter(|(agent, keys)| {
                named.is_none_or(|named| named == **agent)
                    && keys.get(key).is_some_and(IncidentRecord::is_open)
            })
            .map(|(agent, _)| *agent)
            .collect();
        match owners[..] {
            [] => Err(Refusal::NoSuchIncident(key.to_owned())),
            [agent] => {
                let mut incident = self.incidents[&agent][key].clone();
                incident.acked_at.get_or_insert(now.wall);
                self.save(now, agent, incident.clone());
                Ok(Reply::Incident(Box::new(incident)))
            }
            _ => {
                let mut names: Vec<&str> =
                    owners.iter().map(|agent| self.agents[*agent as usize].spec.id.as_str()).collect();
                names.sort_unstable();
                Err(Refusal::WrongState(format!(
                    "several agents have an incident `{key}`: {}; name one with --agent",
                    names.join(", ")
                )))
            }
        }
    }
}

/// Appends the diagnosis of an incident to a message.
fn with_finding(body: String, incident: &IncidentRecord) -> String {
    match &incident.diagnosis {
        Some(found) => format!("{body}\n\n{} found: {}", found.by, found.text),
        None => body,
    }
}

/// Returns whether the engine itself manages this incident, not a probe.
fn is_of_engine(key: &str, failing: &str) -> bool {
    key == failing || key.starts_with(IncidentRecord::LATE) || key.starts_with(IncidentRecord::SLOW)
}

/// Returns the incident key for a late agent.
pub(super) fn late_key(agent: &AgentId) -> String {
    format!("{}{agent}", IncidentRecord::LATE)
}

/// Returns the incident key for slow runs of an agent.
pub(super) fn slow_key(agent: &AgentId) -> String {
    format!("{}{agent}", IncidentRecord::SLOW)
}

/// Returns the incident key for a failing agent.
pub(super) fn failing_key(agent: &AgentId) -> String {
    format!("agent:{agent}")
}
