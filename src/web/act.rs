//! What changes something, where a person allowed it (`--control`): one form, one order, and back to the page.
use super::frame::PageError;
use super::state::Web;
use crate::protocol::*;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use subtle::ConstantTimeEq;

/// What a form sends.
#[derive(Deserialize)]
pub(super) struct PageOrder {
    /// Shows that the form is of this page.
    form: String,
    /// `approve`, `deny`, `ack`, `run`, `pause`, `resume`, `stop`, `cancel`.
    act: String,
    /// Agent, run or call.
    #[serde(default)]
    on: String,
    /// Of an incident: its key. Of a call: what it is bound to.
    #[serde(default)]
    what: String,
    #[serde(default)]
    reason: String,
    /// Where to go then; a path of this page.
    #[serde(default)]
    back: String,
}

pub(super) async fn act(State(web): State<Web>, Form(order): Form<PageOrder>) -> Result<Response, PageError> {
    if !bool::from(order.form.as_bytes().ct_eq(web.admission.form.as_bytes())) {
        return Err(PageError::bad("this form is of another start of the page: load it again"));
    }
    carry_out(&web, &order).await?;
    let back =
        if order.back.starts_with('/') && !order.back.starts_with("//") { order.back.as_str() } else { "/" };
    Ok(Redirect::to(back).into_response())
}

async fn carry_out(web: &Web, order: &PageOrder) -> Result<(), PageError> {
    let reason = || Some(order.reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    let agent =
        || TargetParams { agent_id: Some(order.on.clone()), reason: reason(), ..TargetParams::default() };
    match order.act.as_str() {
        "approve" | "deny" => decide(web, order, reason()).await?,
        "ack" => {
            let params = AckParams { key: order.what.clone(), agent_id: Some(order.on.clone()) };
            web.pool.call::<AckIncident>(params).await?;
        }
        "run" => {
            web.pool
                .call::<RunAgent>(RunParams { agent_id: order.on.clone(), ..RunParams::default() })
                .await?;
        }
        "pause" => {
            let params =
                PauseParams { agent_id: Some(order.on.clone()), reason: reason(), ..PauseParams::default() };
            web.pool.call::<PauseAgent>(params).await?;
        }
        "resume" => {
            web.pool.call::<ResumeAgent>(agent()).await?;
        }
        "start" => {
            web.pool.call::<StartAgent>(agent()).await?;
        }
        "cancel" => {
            let params = CancelParams { run_id: order.on.clone(), now: false, request_id: None };
            web.pool.call::<CancelRun>(params).await?;
        }
        other => {
            return Err(PageError::bad(format!(
                "`{}` is nothing that this page does",
                super::html::line(other)
            )));
        }
    }
    Ok(())
}

/// A decision is about the call that the person saw, and about no other.
async fn decide(web: &Web, order: &PageOrder, reason: Option<String>) -> Result<(), PageError> {
    let waiting = web.pool.call::<ListApprovals>(ListApprovalsParams::default()).await?;
    let call = waiting.iter().find(|call| call.id == order.on);
    let Some(call) = call.filter(|call| super::pages::call_hash(call) == order.what) else {
        return Err(PageError::bad("this call does not wait any more, or it is not the one that you saw"));
    };
    let params = DecideParams { id: call.id.clone(), approve: order.act == "approve", reason };
    web.pool.call::<DecideApproval>(params).await?;
    Ok(())
}
