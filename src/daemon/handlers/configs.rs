//! The configuration of a fleet: applying one, and which there were.
use super::answers::{down, encode, invalid, store_error, value};
use super::changes::unanswered;
use crate::daemon::applying::ApplyAsked;
use crate::daemon::forward::user_name;
use crate::daemon::services::{CallStep, Caller, Encoded, Reload, Services};
use crate::daemon::views;
use crate::domain::AppliedConfig;
use crate::protocol::{ApplyParams, Code, ConfigView, ListConfigsParams, RpcError};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Revisions that are listed where nothing is said.
const LISTED: u64 = 20;

/// Applies a configuration to the fleet, or tells what it would change.
pub(super) async fn apply(services: Arc<Services>, params: ApplyParams, caller: &Caller) -> CallStep {
    let (after, dry_run) = (params.after, params.dry_run);
    let config = match wanted(&services, params, caller).await {
        Ok(config) => config,
        Err(error) => return CallStep::Done(Err(error)),
    };
    let (answer, answered) = oneshot::channel();
    let wanted = ApplyAsked { config, after, dry_run, answer, asked: caller.asks(None) };
    if services.reload.send(Reload::Apply(Box::new(wanted))).await.is_err() {
        return CallStep::Done(Err(down()));
    }
    CallStep::Later(Box::pin(async move { encode(answered.await.unwrap_or_else(|_| Err(unanswered()))) }))
}

/// What is to be applied.
async fn wanted(
    services: &Services,
    params: ApplyParams,
    caller: &Caller,
) -> Result<AppliedConfig, RpcError> {
    if caller.of_agent {
        let error = RpcError::new(Code::Refused, "a program that an agent runs can't apply a configuration");
        return Err(error.hint("a person does: bgagent apply"));
    }
    if services.records.server.is_none() {
        let path = services.paths.config.display();
        let what = format!(
            "the records are in a file, so this daemon is the whole fleet, and {path} is its configuration"
        );
        let hint = "edit that file, then `bgagent reload`; a configuration can be applied to daemons that share their records on a server ([store])";
        return Err(RpcError::new(Code::Refused, what).hint(hint));
    }
    let ApplyParams { text, origin, again, withdraw, .. } = params;
    let (text, origin) = match (text, again, withdraw) {
        (Some(text), None, false) => (Some(text.into()), origin.unwrap_or_else(|| "a client".to_owned())),
        (None, Some(revision), false) => {
            let found =
                services.store.read(move |reader| reader.config(revision)).await.map_err(store_error)?;
            let found = found.ok_or_else(|| no_such(revision))?;
            (found.text, format!("revision {revision}"))
        }
        (None, None, true) => (None, "withdrawn".to_owned()),
        _ => return Err(invalid("`apply_config` takes one of `text`, `again` and `withdraw`")),
    };
    let most = AppliedConfig::LONGEST;
    if let Some(bytes) = text.as_deref().map(str::len).filter(|bytes| *bytes > most) {
        let what =
            format!("the configuration has {bytes} bytes, and at most {most} can be applied to a fleet");
        return Err(invalid(what));
    }
    let node = services.link.as_ref().map(|link| format!(" at {}", link.name())).unwrap_or_default();
    let here = || caller.user.map(|user| format!("{}{node}", user_name(user)));
    let by = caller.by.clone().or_else(here).unwrap_or_else(|| "somebody".to_owned());
    Ok(AppliedConfig::new(text, origin, by, crate::clock::wall()))
}

fn no_such(revision: u64) -> RpcError {
    invalid(format!("there is no revision {revision} of the fleet's configuration"))
        .hint(format!("the newest {} are kept: bgagent apply --history", AppliedConfig::KEPT))
}

/// Revisions, newest first; or one of them, with its text.
pub(super) async fn list_configs(services: &Services, params: ListConfigsParams) -> Encoded {
    if services.records.server.is_none() {
        return value(Vec::<ConfigView>::new());
    }
    let Some(revision) = params.revision else {
        let limit = params.limit.unwrap_or(LISTED).min(AppliedConfig::KEPT);
        let all = services.store.read(move |reader| reader.configs(limit)).await.map_err(store_error)?;
        return value(all.iter().map(views::config).collect::<Vec<_>>());
    };
    let found = services.store.read(move |reader| match revision {
        0 => reader.applied_config(),
        revision => reader.config(revision),
    });
    let found = found.await.map_err(store_error)?;
    let Some(found) = found else {
        return if revision == 0 { value(Vec::<ConfigView>::new()) } else { Err(no_such(revision)) };
    };
    let text = found.text.as_deref().map(str::to_owned);
    value(vec![ConfigView { text, ..views::config(&found) }])
}
