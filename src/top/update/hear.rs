//! Handles notifications about events and the connection.
use crate::domain::{EventType, LoggedEvent, Payload};
use crate::render::plain;
use crate::top::asks::{TopNotice, TopRequestKind};
use crate::top::model::{Connected, PendingRequests, TopModel, TopPage, TopView};

pub(super) fn hear(model: &mut TopModel, heard: TopNotice) {
    match heard {
        TopNotice::Event(event) => {
            mark(model, &event);
            model.known.log(*event);
            if model.view == TopView::Log && model.places.is_empty() {
                model.arrange(false);
            }
        }
        TopNotice::Gap(from, to) => {
            model.dirty = PendingRequests::everything();
            model.say(format!("events {from} to {to} are no longer kept"));
        }
        TopNotice::Gone => {
            if model.connected == Connected::Yes {
                model.connected = Connected::Away(model.moment.wall);
            }
            model.asking.clear();
            model.version += 1;
        }
        TopNotice::Back => reconnected(model, ""),
        TopNotice::OtherDatabase => {
            model.known.events.clear();
            model.known.ledger.clear();
            reconnected(model, ", with another database");
        }
        TopNotice::Lost(why) => {
            model.connected = Connected::Lost(plain(&why));
            model.version += 1;
        }
    }
}

fn reconnected(model: &mut TopModel, how: &str) {
    if let Connected::Away(since) = model.connected {
        let away = crate::domain::human_duration(model.moment.wall.duration_since(since));
        model.say(format!("the daemon is back after {away}{how}"));
    }
    model.connected = Connected::Yes;
    model.asking.clear();
    model.asked.clear();
    model.dirty = PendingRequests::everything();
}

/// Marks what to request again after an event.
fn mark(model: &mut TopModel, event: &LoggedEvent) {
    use EventType as E;
    use TopRequestKind as K;
    let Some(kind) = event.known() else {
        model.dirty.kinds.insert(K::Daemon);
        return;
    };
    let mut kinds = Vec::new();
    let mut is_of_agent = true;
    match kind {
        E::TaskStarted | E::TaskRetrying | E::TaskResumed => kinds.extend([K::Live, K::Runs, K::Next]),
        E::TaskCompleted | E::TaskError | E::TaskCancelled => {
            kinds.extend([K::Live, K::Runs, K::Usage, K::Next, K::Slots]);
            if let Some(run) = event.run_id {
                model.known.last_words.remove(&run);
            }
        }
        E::TaskOutput => {
            is_of_agent = false;
            kinds.push(K::Output);
            record_last_line(model, event);
        }
        E::AgentStatus | E::SlotSkipped | E::SlotsTakenBack => {
            kinds.extend([K::Next, K::Live, K::Runs, K::Slots])
        }
        E::BudgetWarning | E::BudgetExhausted => kinds.extend([K::Daemon, K::Usage]),
        E::IncidentOpened | E::IncidentResolved | E::IncidentDiagnosed | E::AgentLate | E::TaskSlow => {
            kinds.extend([K::Incidents, K::Daemon]);
        }
        E::ApprovalRequested | E::ApprovalDecided => kinds.extend([K::Approvals, K::Live, K::Runs]),
        E::ConfigApplied | E::DaemonStarted => {
            model.dirty = PendingRequests::everything();
            return;
        }
        E::ConfigRejected | E::DaemonStopping | E::McpPinChanged | E::SandboxDenied | E::WorkspaceRemoved => {
            kinds.push(K::Daemon)
        }
        E::NotificationSent | E::NotificationFailed => {
            is_of_agent = false;
            kinds.push(K::Daemon);
        }
        E::ModelResponse => kinds.extend([K::Usage, K::Daemon]),
        E::CircuitOpened | E::CircuitClosed | E::BackfillBegan | E::BackfillEnded | E::AgentsJoined => {}
        _ => is_of_agent = false,
    }
    if event.run_id.is_some_and(|run| is_viewed(model, run)) {
        kinds.push(K::Run);
    }
    if event.agent_id.is_some()
        && model.known.detail.as_ref().map(|it| &it.agent.agent_id) == event.agent_id.as_ref()
    {
        kinds.push(K::Detail);
    }
    if let Some(agent) = event.agent_id.clone().filter(|_| is_of_agent) {
        model.dirty.agents.insert(agent);
    }
    model.dirty.kinds.extend(kinds);
}

fn is_viewed(model: &TopModel, run: crate::domain::RunId) -> bool {
    let on_page = model.places.iter().any(|place| matches!(place, TopPage::Run(_, of, _) if *of == run));
    on_page || model.known.run_of(run).is_some()
}

/// Records the last line that a run wrote, for its progress.
fn record_last_line(model: &mut TopModel, event: &LoggedEvent) {
    let (Some(run), Some(Payload::TaskOutput(output))) =
        (event.run_id, event.event().map(|event| event.payload))
    else {
        return;
    };
    let text = output.text.or(output.stderr).unwrap_or_default();
    if let Some(line) = text.lines().rev().find(|line| !line.trim().is_empty()) {
        model.known.last_words.insert(run, plain(line.trim()));
        model.version += 1;
    }
}
