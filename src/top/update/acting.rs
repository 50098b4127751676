//! Changes: the question before each, and its answer. Only `y` carries out a change, and only on the object named.
use super::input::TopEffect;
use crate::domain::{AgentId, Desired, Health, counted};
use crate::protocol::AgentView;
use crate::render::{plain, wrap};
use crate::top::asks::Act;
use crate::top::layout::{areas, is_tiny};
use crate::top::model::{ActQuestion, ActTarget, Prompt, PromptFor, RowKey, TopModel, arguments};
use ratatui::crossterm::event::KeyCode;
use std::time::Duration;

/// Keys pressed sooner after a question were meant for something else.
const MIN_ANSWER_DELAY: Duration = Duration::from_millis(300);

/// Handles a key that starts a change, by asking first. Returns false if it is not such a key.
pub(super) fn begin(model: &mut TopModel, key: char) -> bool {
    if !"RPUSKXADC".contains(key) {
        return false;
    }
    if !model.may_act() {
        let why = if model.read_only { "read-only: nothing can be done here" } else { "the daemon is away" };
        model.say(why);
        return true;
    }
    let wanted = match key {
        'A' | 'D' => approval(model, key == 'D'),
        'C' => incident(model),
        'X' => run(model),
        _ => agent(model, key),
    };
    match wanted {
        Ok(Wanted::Ask(act)) => ask(model, act),
        Ok(Wanted::Type(what)) => model.prompt = Some(Prompt { what, text: String::new() }),
        Err(why) => model.say(why),
    }
    true
}

enum Wanted {
    Ask(Act),
    Type(PromptFor),
}

/// Asks for confirmation of a change.
pub(super) fn ask(model: &mut TopModel, act: Act) {
    let about = state_of_object(model, &act);
    if about == ActTarget::Gone {
        model.say("it is gone");
        return;
    }
    if let Err(why) = has_room(model, &act) {
        model.say(why);
        return;
    }
    model.question = Some(ActQuestion { act, asked: model.moment.since_start, about });
}

/// Checks that the question can be shown in full: there must be a line for it, and the call that would be approved must
/// be completely visible.
fn has_room(model: &TopModel, act: &Act) -> Result<(), String> {
    let (width, height) = model.size;
    let areas = areas(width, height);
    if is_tiny(width, height) || areas.foot.height == 0 {
        return Err("this screen has no room for the question".to_owned());
    }
    let lines = question_lines(model, act, width.into()).len();
    match act {
        Act::Approve(id) if lines > usize::from(height.saturating_sub(areas.header.height)) => {
            let id = plain(id);
            Err(format!(
                "this call has no room on the screen: `bgagent approvals` shows it whole, `bgagent approve {id}` allows it"
            ))
        }
        _ => Ok(()),
    }
}

fn agent(model: &TopModel, key: char) -> Result<Wanted, String> {
    let agent = model.focused_agent().ok_or("no agent is selected")?;
    let view = model.known.agents.get(&agent).ok_or("no agent is selected")?;
    Ok(Wanted::Ask(match key {
        'R' => Act::Run(agent),
        'P' if view.state == Desired::Paused => return Err(format!("{agent} is paused already")),
        'P' if view.state == Desired::Stopped => return Err(format!("{agent} is stopped: U starts it")),
        'P' => return Ok(Wanted::Type(PromptFor::Pause(agent))),
        'U' if view.state == Desired::Paused => Act::Resume(agent),
        'U' if view.state == Desired::Stopped || view.health == Health::CircuitOpen => Act::Start(agent),
        'U' => return Err(format!("{agent} is neither paused nor stopped, and its circuit is closed")),
        'S' if view.state == Desired::Stopped => return Err(format!("{agent} is stopped already")),
        'S' => Act::Stop(agent),
        _ if view.next_run.is_none() => return Err(format!("{agent} has no coming slot")),
        _ => Act::Skip(agent),
    }))
}

fn run(model: &TopModel) -> Result<Wanted, String> {
    let (agent, run) = model.focused_run().ok_or("no run is selected")?;
    let in_flight = model.known.agents.get(&agent).is_some_and(|view| view.runs_in_flight.contains(&run));
    if !in_flight {
        return Err(format!("{agent}: run {} has ended", run.short()));
    }
    Ok(Wanted::Ask(Act::Cancel(agent, run)))
}

fn approval(model: &TopModel, deny: bool) -> Result<Wanted, String> {
    let id = match model.focus() {
        Some(RowKey::Approval(id)) => Some(id),
        // otherwise the agent of the selected row or page, if exactly one of its calls is pending
        _ => {
            let agent = model.focused_agent();
            let mut of_it =
                model.known.approvals.iter().filter(|one| one.agent_id == agent && agent.is_some());
            let first = of_it.next();
            first.filter(|_| of_it.next().is_none()).map(|one| one.id.clone())
        }
    };
    let id = id.ok_or("no call that waits is selected: 6 lists them")?;
    Ok(if deny { Wanted::Type(PromptFor::Deny(id)) } else { Wanted::Ask(Act::Approve(id)) })
}

fn incident(model: &TopModel) -> Result<Wanted, String> {
    let (agent, key) = match model.focus() {
        Some(RowKey::Incident(agent, key)) => (agent, key),
        Some(RowKey::Agent(agent)) => match model.known.own_incident(&agent) {
            Some(own) => (agent.clone(), own.key.clone()),
            None => return Err(format!("{agent} has no incident of its own")),
        },
        _ => return Err("no incident is selected: 5 lists them".into()),
    };
    Ok(Wanted::Ask(Act::Acknowledge(agent, key)))
}

/// Returns the state of the object of a change, as far as the change depends on it.
fn state_of_object(model: &TopModel, act: &Act) -> ActTarget {
    let there = |is_there: bool| if is_there { ActTarget::There } else { ActTarget::Gone };
    let of = |agent: &AgentId, view: fn(&AgentView) -> ActTarget| {
        model.known.agents.get(agent).map_or(ActTarget::Gone, view)
    };
    match act {
        Act::Run(agent) | Act::Pause(agent, _) => {
            of(agent, |view| ActTarget::Agent(view.state, Health::Ok, Vec::new(), None))
        }
        Act::Resume(agent) | Act::Start(agent) => {
            of(agent, |view| ActTarget::Agent(view.state, view.health, Vec::new(), None))
        }
        Act::Stop(agent) => {
            of(agent, |view| ActTarget::Agent(view.state, Health::Ok, view.runs_in_flight.clone(), None))
        }
        Act::Skip(agent) => {
            of(agent, |view| ActTarget::Agent(view.state, Health::Ok, Vec::new(), view.next_run))
        }
        Act::Cancel(agent, run) => {
            there(model.known.agents.get(agent).is_some_and(|view| view.runs_in_flight.contains(run)))
        }
        Act::Approve(id) | Act::Deny(id, _) => there(model.known.approvals.iter().any(|one| one.id == *id)),
        Act::Acknowledge(agent, key) => there(model.known.incidents.iter().any(|one| {
            one.agent_id == *agent && one.key == *key && one.acked_at.is_none() && one.resolved_at.is_none()
        })),
    }
}

/// Withdraws a question whose object has changed.
pub(super) fn void_stale_question(model: &mut TopModel) {
    if let Some(question) = &model.question
        && (state_of_object(model, &question.act) != question.about || !model.may_act())
    {
        model.question = None;
        model.say("what was asked about has changed meanwhile: nothing was done");
    }
}

/// Handles the answer to a question.
pub(super) fn answer(model: &mut TopModel, key: KeyCode) -> Vec<TopEffect> {
    let Some(question) = &model.question else { return Vec::new() };
    if model.moment.since_start < question.asked + MIN_ANSWER_DELAY {
        return Vec::new();
    }
    let Some(question) = model.question.take() else { return Vec::new() };
    if key == KeyCode::Char('y') {
        // the window may have become smaller meanwhile
        if let Err(why) = has_room(model, &question.act) {
            model.say(why);
            return Vec::new();
        }
        model.say("…");
        return vec![TopEffect::Act(question.act)];
    }
    model.say("nothing was done");
    Vec::new()
}

/// The answers at the end of each question.
pub(in crate::top) const ANSWERS: &str = "y/N";

/// Wraps the question, with the answers appended, into lines of at most this width.
pub(in crate::top) fn question_lines(model: &TopModel, act: &Act, width: usize) -> Vec<String> {
    wrap(&format!("{}  {ANSWERS}", question_text(model, act)), width.saturating_sub(1))
}

/// Returns the text of the question.
fn question_text(model: &TopModel, act: &Act) -> String {
    let known = &model.known;
    match act {
        Act::Run(agent) => {
            let settings = known.detail_of(agent).map(|detail| &detail.settings);
            let worst = settings.and_then(|settings| settings.get("max_usd_per_run"));
            let worst = worst.map(|usd| format!(" It costs at most {}.", plain(usd))).unwrap_or_default();
            format!("Run {agent} now?{worst}")
        }
        Act::Pause(agent, None) => format!("Pause {agent} until somebody resumes it?"),
        Act::Pause(agent, Some(ms)) => {
            format!("Pause {agent} for {}?", crate::render::millis(i64::try_from(*ms).unwrap_or(i64::MAX)))
        }
        Act::Resume(agent) => format!("Resume {agent}?"),
        Act::Start(agent) => {
            let open = known.agents.get(agent).is_some_and(|view| view.health == Health::CircuitOpen);
            let what = if open { "Close the circuit of" } else { "Start" };
            format!("{what} {agent}?")
        }
        Act::Stop(agent) => {
            let runs = known.agents.get(agent).map_or(0, |view| view.runs_in_flight.len());
            let cancelled = match runs {
                0 => String::new(),
                1 => " Its run is cancelled.".to_owned(),
                runs => format!(" Its {} are cancelled.", counted(runs, "run")),
            };
            format!("Stop {agent}?{cancelled}")
        }
        Act::Skip(agent) => {
            let next = known.agents.get(agent).and_then(|view| view.next_run);
            let at = next.map(|at| at.to_zoned(model.zone.clone()).strftime(" of %a %H:%M:%S").to_string());
            format!("Skip the next slot{} of {agent}?", at.unwrap_or_default())
        }
        Act::Cancel(agent, run) => format!("Cancel run {} of {agent}?", run.short()),
        Act::Approve(id) => format!("Approve {}?", call(model, id)),
        Act::Deny(id, reason) if reason.is_empty() => format!("Deny {}?", call(model, id)),
        Act::Deny(id, reason) => format!("Deny {}, \"{}\"?", call(model, id), plain(reason)),
        Act::Acknowledge(agent, key) => format!("Acknowledge {} of {agent}?", plain(key)),
    }
}

fn call(model: &TopModel, id: &str) -> String {
    let Some(one) = model.known.approvals.iter().find(|one| one.id == id) else { return plain(id) };
    let agent = one.agent_id.as_ref().map(|agent| format!(" of {agent}")).unwrap_or_default();
    format!("{}{agent}: {}", plain(&one.tool), arguments(&one.args))
}
