//! Calls that need a person: pending ones in full, and decided ones.
use crate::protocol::*;
use crate::render::plain_lines;
use crate::web::frame::{Frame, Page, html};
use crate::web::html::{Moment, When, line};
use crate::web::state::Web;
use askama::Template;
use axum::extract::State;
use serde_json::Value;

#[derive(Template)]
#[template(path = "approvals.html")]
struct ApprovalsPage {
    frame: Frame,
    waiting: Vec<CallRow>,
    decided: Vec<CallRow>,
}

/// A call in full.
pub(super) struct CallRow {
    pub(super) id: String,
    pub(super) agent: String,
    pub(super) run: String,
    pub(super) tool: String,
    /// Arguments, short ones first.
    pub(super) args: Vec<(String, String)>,
    pub(super) effect: &'static str,
    /// External data that was read before; empty if none.
    pub(super) read: String,
    pub(super) asked: When,
    pub(super) until: When,
    /// Identifies exactly this call: a decision applies to no other.
    pub(super) hash: String,
    pub(super) decision: String,
    pub(super) class: &'static str,
    /// The page to return to after a decision.
    pub(super) back: String,
}

/// Returns the hash of the call that a decision applies to.
pub(in crate::web) fn hash_of(call: &ApprovalView) -> String {
    use sha2::{Digest, Sha256};
    let text = serde_json::json!([call.id, call.tool, call.args]).to_string();
    Sha256::digest(text.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl CallRow {
    pub(super) fn of(call: &ApprovalView, moment: &Moment) -> Self {
        let mut args: Vec<(String, String)> = match &call.args {
            Value::Object(args) => {
                args.iter().map(|(key, value)| (line(key), format_argument(value))).collect()
            }
            other => vec![("arguments".to_owned(), format_argument(other))],
        };
        args.sort_by_key(|(_, value)| value.len() > 80 || value.contains('\n'));
        let read = match (call.untrusted, &call.read_before[..]) {
            (false, _) => String::new(),
            (true, []) => "data from outside".to_owned(),
            (true, tools) => format!("data from outside, by {}", line(&tools.join(", "))),
        };
        let (class, decision) = match call.approved {
            None => ("ask", String::new()),
            Some(yes) => {
                let word = if yes { "approved" } else { "denied" };
                let by = call.decided_by.as_deref().map(|by| format!(" by {}", line(by))).unwrap_or_default();
                let why = call.reason.as_deref().map(|why| format!(": {}", line(why))).unwrap_or_default();
                (if yes { "ok" } else { "idle" }, format!("{word}{by}{why}"))
            }
        };
        Self {
            id: line(&call.id),
            agent: call.agent_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            run: call.run_id.to_string(),
            tool: line(&call.tool),
            args,
            effect: call.effect.map_or("not known", crate::render::effect_words),
            read,
            asked: moment.maybe(call.decided_at.or(call.requested_at)),
            until: moment.maybe(call.waits_until),
            hash: hash_of(call),
            decision,
            class,
            back: "/approvals".to_owned(),
        }
    }
}

/// Formats an argument in full, whatever its length, since a decision covers all of it.
fn format_argument(value: &Value) -> String {
    match value {
        Value::String(text) => plain_lines(text),
        Value::Object(_) | Value::Array(_) => {
            plain_lines(&serde_json::to_string_pretty(value).unwrap_or_default())
        }
        other => other.to_string(),
    }
}

pub(in crate::web) async fn approvals(State(web): State<Web>) -> Page {
    let (frame, _) = Frame::of(&web, "approvals", "Approvals").await?;
    let moment = Moment::new();
    let calls = web.pool.call::<ListApprovals>(ListApprovalsParams { all: true }).await?;
    let (waiting, decided): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.decided_at.is_none());
    let rows = |calls: Vec<&ApprovalView>| calls.into_iter().map(|call| CallRow::of(call, &moment)).collect();
    Ok(html(&ApprovalsPage { frame, waiting: rows(waiting), decided: rows(decided) }))
}
