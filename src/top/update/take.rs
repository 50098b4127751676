//! Handles answers of the daemon.
use crate::domain::AgentId;
use crate::protocol::AgentView;
use crate::render::plain;
use crate::top::asks::{TopAnswer, TopReply, TopRequest};
use crate::top::model::{Known, Overlay, TopModel, TopPage};

pub(super) fn take(model: &mut TopModel, reply: TopReply) {
    let kind = reply.ask.kind();
    model.asking.remove(&kind);
    let said = match reply.said {
        Ok(said) => said,
        Err(Some(error)) => {
            refused(model, &reply.ask, &error);
            return;
        }
        Err(None) => {
            // will be requested again
            model.dirty.kinds.insert(kind);
            model.dirty.all_agents |= matches!(reply.ask, TopRequest::Agents(_));
            return;
        }
    };
    let known = &mut model.known;
    match (said, &reply.ask) {
        (TopAnswer::Daemon(view), _) => known.daemon = Some(*view),
        (TopAnswer::Agents(views), TopRequest::Agents(names)) => take_agents(known, views, names),
        (TopAnswer::Detail(detail), _) => {
            known.agents.put(detail.agent.clone());
            known.detail = Some(*detail);
        }
        (TopAnswer::Incidents(all), _) => known.incidents = all,
        (TopAnswer::Approvals(all), _) => known.approvals = all,
        (TopAnswer::Next(slots), _) => known.next = slots,
        (TopAnswer::Slots(records), TopRequest::Slots(agents, ..)) => known.ledger.put(agents, records),
        (TopAnswer::Runs(runs), TopRequest::Live) => {
            known.live = runs;
            let live = &known.live;
            known.last_words.retain(|run, _| live.iter().any(|one| one.run_id == *run));
        }
        (TopAnswer::Runs(runs), _) => known.runs = runs,
        (TopAnswer::Run(detail), _) => known.run = Some(*detail),
        (TopAnswer::Output(more), TopRequest::Output(run, after)) => {
            if let Some(output) = known.output.as_mut().filter(|it| it.run == *run && it.position == *after) {
                output.add(more);
            }
        }
        (TopAnswer::Usage(spent), _) => known.spent = *spent,
        (TopAnswer::Why(explanation), _) => known.why = Some(*explanation),
        (TopAnswer::Agents(_) | TopAnswer::Output(_) | TopAnswer::Slots(_), _) => {}
    }
    model.news = true;
    model.arrange(false);
    model.answered.insert(kind);
}

/// Updates agents: with names, only these; without, all of them.
fn take_agents(known: &mut Known, views: Vec<AgentView>, names: &[AgentId]) {
    if names.is_empty() {
        known.agents.replace(views);
    } else {
        views.into_iter().for_each(|view| known.agents.put(view));
    }
}

/// Handles an error: its subject no longer exists, so its page is closed.
fn refused(model: &mut TopModel, ask: &TopRequest, error: &str) {
    match ask {
        TopRequest::Agents(names) if !names.is_empty() => model.dirty.all_agents = true,
        TopRequest::Why(..) => {
            model.overlay = model.overlay.take().filter(|overlay| !matches!(overlay, Overlay::Why(_)));
            model.say(plain(error));
        }
        TopRequest::Detail(agent) => {
            model.dirty.all_agents = true;
            model.places.retain(|place| !matches!(place, TopPage::Agent(of) if of == agent));
            model.say(plain(error));
        }
        TopRequest::Run(run) | TopRequest::Output(run, _) => {
            model.places.retain(|place| !matches!(place, TopPage::Run(_, of, _) if of == run));
            model.say(plain(error));
        }
        _ => model.say(plain(error)),
    }
}
