//! Views of incidents.
use crate::domain::IncidentRecord;
use crate::engine::OpenIncidents;
use crate::protocol::{FindingView, IncidentCounts, IncidentView};

/// Converts an incident.
pub(in crate::daemon) fn incident(record: &IncidentRecord) -> IncidentView {
    IncidentView {
        agent_id: record.agent.clone(),
        key: record.key.clone(),
        severity: record.severity,
        title: record.title.clone(),
        state: if record.is_open() {
            "open".into()
        } else if record.resolved_at.is_some() {
            "resolved".into()
        } else {
            "pending".into()
        },
        since: record.since,
        opened_at: record.opened_at,
        seen_at: record.seen_at,
        count: record.count,
        resolved_at: record.resolved_at,
        acked_at: record.acked_at,
        untrusted: record.by.is_untrusted(),
        finding: record.diagnosis.as_ref().map(|found| FindingView {
            agent_id: found.by.clone(),
            run_id: found.run,
            at: found.at,
            text: found.text.clone(),
        }),
    }
}

pub(super) fn incident_counts(open: OpenIncidents) -> IncidentCounts {
    let OpenIncidents { critical, warning, acknowledged } = open;
    IncidentCounts { critical, warning, acknowledged }
}
