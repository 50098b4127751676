//! Changes, if a person enabled them (`--control`): a form is submitted, one change is made, and the browser returns to
//! the page.
use super::frame::PageError;
use super::state::Web;
use crate::protocol::*;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use subtle::ConstantTimeEq;

/// The fields of a form.
#[derive(Deserialize)]
pub(super) struct PageForm {
    /// Token that proves the form is from this page.
    #[serde(default)]
    form: String,
    /// `approve`, `deny`, `ack`, `run`, `pause`, `resume`, `start`, `cancel`.
    #[serde(default)]
    act: String,
    /// The agent, run or call.
    #[serde(default)]
    on: String,
    /// The key of an incident, or the hash of a call.
    #[serde(default)]
    what: String,
    #[serde(default)]
    reason: String,
    /// The path to return to, on this page.
    #[serde(default)]
    back: String,
}

pub(super) async fn act(State(web): State<Web>, Form(order): Form<PageForm>) -> Result<Response, PageError> {
    if !bool::from(order.form.as_bytes().ct_eq(web.admission.form.as_bytes())) {
        return Err(PageError::bad("this form is from an earlier start of the page: reload it"));
    }
    carry_out(&web, &order).await?;
    let back = if is_own_path(&order.back) { order.back.as_str() } else { "/" };
    Ok(Redirect::to(back).into_response())
}

/// Returns whether it is a path of this page. Browsers read `/\\` as `//`, which leads to another host.
fn is_own_path(path: &str) -> bool {
    let rest = path.strip_prefix('/');
    rest.is_some_and(|rest| !rest.starts_with(['/', '\\']) && !path.contains(|c: char| c.is_control()))
}

async fn carry_out(web: &Web, order: &PageForm) -> Result<(), PageError> {
    let reason = || Some(order.reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    let agent =
        || TargetParams { agent_id: Some(order.on.clone()), reason: reason(), ..TargetParams::default() };
    match order.act.as_str() {
        "approve" | "deny" => decide(web, order, reason()).await?,
        "ack" => {
            let params = AckParams { key: order.what.clone(), agent_id: Some(order.on.clone()) };
            web.pool.order::<AckIncident>(params).await?;
        }
        "run" => {
            web.pool
                .call::<RunAgent>(RunParams { agent_id: order.on.clone(), ..RunParams::default() })
                .await?;
        }
        "pause" => {
            let params =
                PauseParams { agent_id: Some(order.on.clone()), reason: reason(), ..PauseParams::default() };
            web.pool.order::<PauseAgent>(params).await?;
        }
        "resume" => {
            web.pool.order::<ResumeAgent>(agent()).await?;
        }
        "start" => {
            web.pool.order::<StartAgent>(agent()).await?;
        }
        "cancel" => {
            let params = CancelParams { run_id: order.on.clone(), now: false, request_id: None };
            web.pool.order::<CancelRun>(params).await?;
        }
        other => {
            return Err(PageError::bad(format!(
                "`{}` is not an action of this page",
                super::html::line(other)
            )));
        }
    }
    Ok(())
}

/// Decides exactly the call that the person saw.
async fn decide(web: &Web, order: &PageForm, reason: Option<String>) -> Result<(), PageError> {
    let waiting = web.pool.call::<ListApprovals>(ListApprovalsParams::default()).await?;
    let call = waiting.iter().find(|call| call.id == order.on);
    let Some(call) = call.filter(|call| super::pages::call_hash(call) == order.what) else {
        return Err(PageError::bad("this call is no longer waiting, or it is not the one that you saw"));
    };
    let params = DecideParams { id: call.id.clone(), approve: order.act == "approve", reason };
    web.pool.order::<DecideApproval>(params).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Tests of the path that a form returns to.
    use super::*;

    #[test]
    fn a_form_leads_back_to_this_page_alone() {
        for (path, own) in [
            ("/", true),
            ("/agents/a", true),
            ("", false),
            ("//x", false),
            ("/\\x", false),
            ("/\t/x", false),
            ("http://x", false),
        ] {
            assert_eq!(is_own_path(path), own, "{path:?}");
        }
    }
}
