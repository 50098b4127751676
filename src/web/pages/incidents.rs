//! Incidents: open, acknowledged, resolved.
use crate::domain::{IncidentRecord, Severity, counted};
use crate::protocol::*;
use crate::web::frame::{Frame, Page, html};
use crate::web::html::{Moment, When, anchor, line, shell};
use crate::web::state::Web;
use askama::Template;
use axum::extract::State;
use std::cmp::Reverse;

#[derive(Template)]
#[template(path = "incidents.html")]
struct IncidentsPage {
    frame: Frame,
    open: Vec<IncidentRow>,
    noted: Vec<IncidentRow>,
    ended: Vec<IncidentRow>,
}

struct IncidentRow {
    anchor: String,
    class: &'static str,
    mark: &'static str,
    agent: String,
    /// The incident is the daemon's, not an agent's.
    of_daemon: bool,
    key: String,
    /// The unescaped key, for the form.
    raw_key: String,
    command: String,
    title: String,
    outside: bool,
    since: When,
    state: String,
    finding: Option<(String, String)>,
}

fn row(one: &IncidentView, moment: &Moment) -> IncidentRow {
    let (class, mark) = match (one.resolved_at, one.severity) {
        (Some(_), _) => ("idle", "✓"),
        (None, Severity::Critical) => ("bad", "✗"),
        (None, Severity::Warning) => ("warn", "!"),
    };
    let long = |until: jiff::Timestamp| crate::domain::human_duration(until.duration_since(one.since));
    let state = match (one.resolved_at, one.acked_at) {
        (Some(at), _) => format!("ended {} after {}", moment.when(at).relative, long(at)),
        (None, Some(at)) => format!("acknowledged {}", moment.when(at).relative),
        (None, None) => format!("open for {}", long(moment.now)),
    };
    IncidentRow {
        anchor: anchor(one.agent_id.as_str(), &one.key),
        class,
        mark,
        agent: one.agent_id.to_string(),
        of_daemon: one.agent_id == IncidentRecord::of_daemon(),
        key: line(&one.key),
        raw_key: one.key.clone(),
        command: format!("bgagent incidents ack --agent {} -- {}", one.agent_id, shell(&one.key)),
        title: line(&one.title),
        outside: one.untrusted,
        since: moment.when(one.since),
        state: format!("{state}, seen {}", counted(one.count, "time")),
        finding: one
            .finding
            .as_ref()
            .map(|found| (found.agent_id.to_string(), crate::web::html::block(&found.text))),
    }
}

pub(in crate::web) async fn incidents(State(web): State<Web>) -> Page {
    let (frame, _) = Frame::of(&web, "incidents", "Incidents").await?;
    let moment = Moment::new();
    let params = ListIncidentsParams { all: true, limit: Some(300), ..ListIncidentsParams::default() };
    let (mut all, open) = tokio::try_join!(
        web.pool.call::<ListIncidents>(params),
        web.pool.call::<ListIncidents>(ListIncidentsParams::default()),
    )?;
    // open incidents are never displaced by the number of resolved ones
    all.retain(|one| one.resolved_at.is_some());
    all.extend(open);
    all.sort_by_key(|one| (Reverse(one.severity), Reverse(one.since)));
    let of = |wanted: fn(&IncidentView) -> bool| {
        all.iter().filter(|one| wanted(one)).map(|one| row(one, &moment)).collect::<Vec<_>>()
    };
    let page = IncidentsPage {
        open: of(|one| one.resolved_at.is_none() && one.acked_at.is_none()),
        noted: of(|one| one.resolved_at.is_none() && one.acked_at.is_some()),
        ended: of(|one| one.resolved_at.is_some()),
        frame,
    };
    Ok(html(&page))
}
