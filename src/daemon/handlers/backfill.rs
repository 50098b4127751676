//! Backfills: plans which past slots would run and what that may cost, and starts them.
use super::answers::{agent_id, down, encode, invalid, store_error, value};
use super::changes::{answered_before, change};
use crate::daemon::inbox::ChangeAsked;
use crate::daemon::services::{CallStep, Services};
use crate::daemon::views;
use crate::domain::{AgentId, counted};
use crate::engine::{BackfillRequest, Command};
use crate::protocol::*;
use jiff::Timestamp;

/// Number of recent runs from which the usual cost is estimated.
const SAMPLED_RUN_COUNT: i64 = 20;

/// Plans or starts a backfill.
pub(super) async fn backfill(services: &Services, params: BackfillParams, asked: ChangeAsked) -> CallStep {
    if let Some(answer) = answered_before(services, &asked).await {
        return CallStep::Done(encode(answer));
    }
    let (agent, plan) = match plan(services, &params).await {
        Ok(planned) => planned,
        Err(error) => return CallStep::Done(Err(error)),
    };
    if params.plan {
        return CallStep::Done(value(plan));
    }
    if let (0, Some(left_out @ 1..)) = (plan.count, plan.left_out) {
        let what = format!("nothing is left to run: {} ran already", counted(left_out, "slot"));
        let error =
            RpcError::new(Code::WrongState, what).hint("with `--again` (`again`: true) they run once more");
        return CallStep::Done(Err(error));
    }
    if let Some(id) = &params.request_id
        && let Err(error) = is_new(services, id).await
    {
        return CallStep::Done(Err(error));
    }
    let id = params.request_id.as_deref().map(Into::into);
    let wish =
        BackfillRequest { agent, id, slots: plan.slots, params: params.params, max_usd: params.max_usd };
    change(services, Command::Backfill(wish), asked).await
}

/// Refuses a known id: it identifies one backfill, even when its answer is no longer kept.
async fn is_new(services: &Services, id: &str) -> Result<(), RpcError> {
    let wanted = id.to_owned();
    let known = services.store.read(move |reader| reader.backfill(&wanted)).await.map_err(store_error)?;
    let Some((agent, claimed, is_over)) = known else { return Ok(()) };
    let stands = if is_over { "is over" } else { "is under way" };
    let what =
        format!("the backfill `{id}` of agent `{agent}` {stands}: {} of it ran", counted(claimed, "slot"));
    Err(RpcError::new(Code::WrongState, what).hint("give another id for another backfill"))
}

async fn plan(services: &Services, params: &BackfillParams) -> Result<(AgentId, BackfillView), RpcError> {
    let agent = agent_id(&params.agent_id)?;
    let (from, to) = (params.from, params.to);
    if to < from {
        return Err(invalid(format!("`to` ({to}) lies before `from` ({from})")));
    }
    if params.max_usd.is_some_and(|max| !max.is_finite() || max <= 0.0) {
        return Err(invalid("`max_usd` must be greater than 0"));
    }
    let (wanted, given) = (agent.clone(), params.params.clone());
    let found = services
        .handle
        .ask(move |engine, now| {
            let found = engine.past_slots(&wanted, (from, to), now);
            let fits = |slots: &Vec<Timestamp>| engine.fits_params(&wanted, &given, slots.first().copied());
            let found = found.and_then(|slots| fits(&slots).map(|()| slots));
            let per_run = engine
                .fleet()
                .agent(wanted.as_str())
                .map(|spec| (spec.limits.max_usd_per_run, spec.body.asks_models()));
            found.map(|slots| (slots, per_run)).map_err(|refusal| views::refused(&refusal, engine))
        })
        .await
        .ok_or_else(down)?;
    let (mut slots, per_run) = found?;
    let (per_run, asks_models) = per_run.unwrap_or((None, false));
    let read = agent.clone();
    let (ran, costs) = services
        .store
        .read(move |reader| {
            Ok((reader.slots_that_ran(&read, from, to)?, reader.costs_of_runs(&read, SAMPLED_RUN_COUNT)?))
        })
        .await
        .map_err(store_error)?;
    let all = slots.len();
    if !params.again {
        slots.retain(|slot| !ran.iter().any(|(first, last)| first <= slot && slot <= last));
    }
    let runs = slots.len() as f64;
    let worst = if asks_models { per_run.map(|usd| usd * runs) } else { Some(0.0) };
    let worst = [worst, params.max_usd].into_iter().flatten().reduce(f64::min);
    let usual =
        (!costs.is_empty() && asks_models).then(|| costs.iter().sum::<f64>() / costs.len() as f64 * runs);
    let view = BackfillView {
        backfill_id: None,
        agent_id: agent.clone(),
        first: slots.first().copied(),
        last: slots.last().copied(),
        count: slots.len() as u64,
        left_out: Some((all - slots.len()) as u64),
        slots,
        max_usd: params.max_usd,
        worst_usd: worst,
        usual_usd: usual,
        note: None,
        seq: None,
    };
    Ok((agent, view))
}
