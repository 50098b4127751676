//! `bgagent incidents`: open problems.
use super::prelude::*;
use crate::cli::args::{IncidentsArgs, IncidentsCommand};
use crate::domain::{Severity, counted, human_duration};
use crate::protocol::{AckIncident, AckParams, IncidentView, ListIncidents, ListIncidentsParams};
use std::cmp::Reverse;

pub(in crate::cli) fn run(app: &mut App, args: &IncidentsArgs) -> Result<Outcome, Failure> {
    if let Some(IncidentsCommand::Ack { key, agent }) = &args.command {
        let params = AckParams { key: key.clone(), agent_id: agent.clone() };
        let incident = app.connect()?.call::<AckIncident>(&params)?;
        app.answer(&incident, |incident, _| {
            format!("{} {}: acknowledged\n", incident.agent_id, plain(&incident.key))
        })?;
        return Ok(Outcome::Done);
    }
    let incidents = app
        .reading()?
        .call::<ListIncidents>(&ListIncidentsParams { all: args.all, ..ListIncidentsParams::default() })?;
    if incidents.is_empty() && !app.json {
        app.note("no incidents");
        return Ok(Outcome::Done);
    }
    app.answer(&incidents, |incidents, screen| list(incidents, screen))?;
    Ok(Outcome::Done)
}

/// Lists incidents, most severe first, newest first among equals; acknowledged and resolved ones come last.
fn list(incidents: &[IncidentView], screen: &Screen) -> String {
    let mut all: Vec<&IncidentView> = incidents.iter().collect();
    all.sort_by_key(|one| {
        (one.resolved_at.is_some(), one.acked_at.is_some(), Reverse(one.severity), Reverse(one.since))
    });
    let mut text = String::new();
    for incident in &all {
        text.push_str(&block(incident, screen));
    }
    let open = all.iter().filter(|one| one.resolved_at.is_none());
    let critical = open.clone().filter(|one| one.severity == Severity::Critical).count();
    let (open, noted) = (open.clone().count(), open.filter(|one| one.acked_at.is_some()).count());
    let mut parts = vec![format!("{critical} critical")];
    if noted > 0 {
        parts.push(format!("{noted} acknowledged"));
    }
    if screen.width.is_some() && open > 0 {
        let line = format!("{open} open: {}. Acknowledge one: bgagent incidents ack KEY", parts.join(", "));
        text.push_str(&(screen.fold(&screen.paint(Tone::Dim, &line)) + "\n"));
    }
    text
}

/// Formats an incident: `✗ shop-watch db   critical for 3 min, seen 5 times: 127.0.0.1:28413 can't be reached`, and its
/// diagnosis.
fn block(incident: &IncidentView, screen: &Screen) -> String {
    let (mark, tone) = match (incident.resolved_at, incident.severity) {
        (Some(_), _) => ("✓", Tone::Good),
        (None, Severity::Critical) => ("✗", Tone::Bad),
        (None, Severity::Warning) => ("!", Tone::Warn),
    };
    let span = |until: jiff::Timestamp| human_duration(until.duration_since(incident.since));
    let state = match (incident.resolved_at, incident.acked_at) {
        (Some(at), _) => format!("resolved {} after {}", screen.relative(at), span(at)),
        (None, Some(at)) => format!("{}, acknowledged {}", incident.severity, screen.relative(at)),
        (None, None) => format!("{} for {}", incident.severity, span(screen.now)),
    };
    let head = format!(
        "{} {} {}   {state}, seen {}",
        screen.paint(tone, mark),
        screen.agent(&incident.agent_id),
        screen.paint(Tone::Strong, &plain(&incident.key)),
        counted(incident.count, "time"),
    );
    let outside = if incident.untrusted { "(from outside) " } else { "" };
    let mut text = screen.fold(&head) + "\n";
    text.push_str(&screen.fold(&format!("    {outside}{}\n", plain(&incident.title))));
    if let Some(found) = &incident.finding {
        let who = format!("    {} found, {}:\n", found.agent_id, screen.relative(found.at));
        text.push_str(&screen.paint(Tone::Dim, &who));
        for line in found.text.lines() {
            text.push_str(&screen.fold(&format!("      {}\n", plain(line))));
        }
    }
    text
}
