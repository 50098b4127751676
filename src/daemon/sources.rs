//! Sources of agents that can't deliver: a missing folder, an unreachable MCP server, a listener
//! without a port. Shown at once in `status` (`Condition`), and raised as an incident after a
//! while.
use super::inbox::{Handle, Message, SourceTrouble};
use crate::clock;
use crate::domain::{AgentId, Finding, FoundBy, IncidentRecord, Level, human_duration};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How long a source must have a problem before it becomes an incident.
const INCIDENT_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// How often problems are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Time after a start by which all sources have been checked: incidents of an earlier life that are
/// not found again are over.
const ALL_CHECKED_AFTER: Duration = Duration::from_secs(60);

impl Handle {
    /// Sets or clears the problem of an agent's source. Returns true if it has changed.
    pub(super) fn set_source(&self, agent: &AgentId, problem: Option<String>) -> bool {
        let mut condition = self.condition.lock().expect("no holder panics");
        let known = condition.sources.get(agent);
        if known.map(|known| &known.problem) == problem.as_ref() {
            return false;
        }
        match problem {
            Some(problem) => {
                let since = known.map_or_else(clock::wall, |known| known.since);
                condition.sources.insert(agent.clone(), SourceTrouble { problem, since });
            }
            None => {
                condition.sources.remove(agent);
            }
        }
        true
    }
}

/// Reports sources with a lasting problem to the engine, until the daemon shuts down.
pub(super) async fn watch_over(handle: Handle, down: CancellationToken) {
    let mut reported: BTreeMap<String, (Level, String)> = BTreeMap::new();
    let mut looks = tokio::time::interval(CHECK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began = tokio::time::Instant::now();
    let mut is_first = true;
    loop {
        tokio::select! {
            () = down.cancelled() => return,
            _ = looks.tick() => {}
        }
        let problems = problems(&handle, clock::wall());
        if is_first && began.elapsed() >= ALL_CHECKED_AFTER {
            is_first = false;
            let agents = handle.ask(|engine, _| {
                let agents = engine.agents(|spec| spec.schedule.is_from_outside());
                agents.into_iter().map(|agent| agent.spec.id.clone()).collect::<Vec<_>>()
            });
            let Some(agents) = agents.await else { return };
            let all = agents.iter().map(of_agent).chain([IncidentRecord::WEBHOOKS.to_owned()]);
            for key in all.filter(|key| !problems.contains_key(key)) {
                reported.entry(key).or_insert((Level::Warn, String::new()));
            }
        }
        let over: Vec<String> = reported.keys().filter(|key| !problems.contains_key(*key)).cloned().collect();
        for key in over {
            reported.remove(&key);
            let finding = finding(key, Level::Ok, String::new());
            if handle.inbox.send(Message::Noticed(finding)).await.is_err() {
                return;
            }
        }
        for (key, (level, title)) in problems {
            let Some(title) = title else { continue };
            let found = (level, title);
            if reported.get(&key) != Some(&found) {
                reported.insert(key.clone(), found.clone());
                let (level, title) = found;
                if handle.inbox.send(Message::Noticed(finding(key, level, title))).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Returns the present problems by incident key; with a title, if one has lasted long enough to be reported.
fn problems(handle: &Handle, now: Timestamp) -> BTreeMap<String, (Level, Option<String>)> {
    let condition = handle.condition.lock().expect("no holder panics");
    let title =
        |since: Timestamp, what: String| (now.duration_since(since) >= INCIDENT_AFTER).then_some(what);
    let mut all = BTreeMap::new();
    for (agent, SourceTrouble { problem, since }) in &condition.sources {
        let what = format!("nothing can start {agent}: {problem}");
        all.insert(of_agent(agent), (Level::Warn, title(*since, what)));
    }
    if let Some(standing) = &condition.webhooks
        && let Some((problem, since)) = &standing.problem
    {
        let late = human_duration(INCIDENT_AFTER);
        let what = format!("no webhook can be delivered at {} for {late}: {problem}", standing.address);
        all.insert(IncidentRecord::WEBHOOKS.to_owned(), (Level::Crit, title(*since, what)));
    }
    all
}

fn of_agent(agent: &AgentId) -> String {
    format!("{}{agent}", IncidentRecord::SOURCE)
}

fn finding(key: String, level: Level, title: String) -> Finding {
    Finding { key, level, title, hold_for: SignedDuration::ZERO, by: FoundBy::Check }
}

#[cfg(test)]
mod tests {
    //! What is told, and when.
    use super::*;
    use crate::daemon::inbox::{Condition, WebhookStanding};
    use std::sync::{Arc, Mutex};
    use tokio::sync::mpsc;

    #[test]
    fn a_source_that_is_dead_is_told_after_a_while_and_with_its_newest_words() {
        let condition = Arc::new(Mutex::new(Condition::default()));
        let (inbox, _) = mpsc::channel(1);
        let (questions, _) = mpsc::channel(1);
        let handle = Handle { inbox, questions, condition: condition.clone() };
        let agent: AgentId = "in".parse().unwrap();
        assert!(handle.set_source(&agent, Some("it is down".into())));
        assert!(!handle.set_source(&agent, Some("it is down".into())), "that is no news");
        let since = condition.lock().unwrap().sources[&agent].since;
        assert!(handle.set_source(&agent, Some("it is gone".into())));
        assert_eq!(condition.lock().unwrap().sources[&agent].since, since, "something is wrong since then");
        let at = |minutes: i64| problems(&handle, since + SignedDuration::from_mins(minutes));
        assert_eq!(at(4)["source:in"], (Level::Warn, None));
        let reported = (Level::Warn, Some("nothing can start in: it is gone".to_owned()));
        assert_eq!(at(5)["source:in"], reported);
        let problem = Some(("in use".to_owned(), since));
        let address = "127.0.0.1:9470".parse().unwrap();
        condition.lock().unwrap().webhooks = Some(WebhookStanding { address, problem });
        assert_eq!(at(5)[IncidentRecord::WEBHOOKS].0, Level::Crit);
        assert!(handle.set_source(&agent, None) && !handle.set_source(&agent, None));
        condition.lock().unwrap().webhooks = None;
        assert!(at(10).is_empty());
    }
}
