//! `bgagent incidents`: open problems.
use super::prelude::*;
use crate::cli::args::{IncidentsArgs, IncidentsCommand};
use crate::protocol::{AckIncident, AckParams, IncidentView, ListIncidents, ListIncidentsParams};

pub(in crate::cli) fn run(app: &mut App, args: &IncidentsArgs) -> Result<Outcome, Failure> {
    let mut connection = app.connect()?;
    if let Some(IncidentsCommand::Ack { key, agent }) = &args.command {
        let params = AckParams { key: key.clone(), agent_id: agent.clone() };
        let incident = connection.call::<AckIncident>(&params)?;
        app.answer(&incident, |incident, _| {
            format!("{} {}: noted\n", incident.agent_id, plain(&incident.key))
        })?;
        return Ok(Outcome::Done);
    }
    let incidents = connection.call::<ListIncidents>(&ListIncidentsParams { all: args.all })?;
    if incidents.is_empty() && !app.json {
        app.note("no incidents");
        return Ok(Outcome::Done);
    }
    app.answer(&incidents, |incidents, screen| table(incidents, screen))?;
    Ok(Outcome::Done)
}

fn table(incidents: &[IncidentView], screen: &Screen) -> String {
    let mut table = Table::new()
        .shrinking("KEY", 10)
        .shrinking("AGENT", 8)
        .column("SEVERITY")
        .column("STATE")
        .column("SINCE")
        .number("SEEN")
        .shrinking("TITLE", 12);
    for incident in incidents {
        let state = match (incident.resolved_at, incident.acked_at) {
            (Some(_), _) => Cell::toned(Tone::Good, "resolved"),
            (None, Some(_)) => Cell::toned(Tone::Dim, "noted"),
            (None, None) => plain(&incident.state).into(),
        };
        table.row(vec![
            Cell::toned(Tone::Strong, plain(&incident.key)),
            incident.agent_id.as_str().into(),
            Cell::toned(Tone::of_severity(incident.severity), incident.severity.as_str()),
            state,
            screen.relative(incident.since).into(),
            incident.count.to_string().into(),
            format!("{}{}", if incident.untrusted { "(from outside) " } else { "" }, plain(&incident.title))
                .into(),
        ]);
    }
    let mut text = table.render(screen);
    for incident in incidents {
        let Some(found) = &incident.finding else { continue };
        let (agent, key) = (&incident.agent_id, plain(&incident.key));
        let head = format!("{agent} {key}: {} found, {}", found.agent_id, screen.relative(found.at));
        text.push_str(&format!("\n{}\n", screen.paint(Tone::Strong, &head)));
        for line in found.text.lines() {
            text.push_str(&format!("  {}\n", plain(line)));
        }
    }
    text
}
