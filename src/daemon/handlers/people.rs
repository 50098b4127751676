//! Test messages to notification targets.
use super::answers::{invalid, value};
use crate::daemon::services::{Encoded, Services};
use crate::domain::{IncidentRecord, TellOn, nearest};
use crate::notify::{self, Message};
use crate::protocol::{TestNotificationParams, TestNotificationView};
use std::time::{Duration, Instant};

/// Timeout of a delivery.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// Sends a test message in the way that an agent's message is sent.
pub(super) async fn test_notification(services: &Services, params: TestNotificationParams) -> Encoded {
    let name = params.target;
    let wanted = name.clone();
    let found = services.handle.ask(move |engine, _| {
        let known = &engine.fleet().notify;
        known
            .get(&wanted)
            .cloned()
            .ok_or_else(|| nearest(&wanted, known.keys().map(String::as_str)).map(str::to_owned))
    });
    let target = match found.await.ok_or_else(super::answers::down)? {
        Ok(target) => target,
        Err(near) => {
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("define it in [notify.{name}]"),
            };
            return Err(invalid(format!("there is no notify target `{name}`")).hint(hint));
        }
    };
    let kind = params.kind.unwrap_or(TellOn::Failed);
    let at = crate::clock::wall();
    let message = Message {
        id: 0,
        agent: IncidentRecord::of_daemon(),
        about: kind,
        urgency: kind.urgency(),
        key: None,
        run: None,
        at,
        subject: format!("bgagent: a test of the target {name}"),
        body: format!("If you can read this, messages of the kind {kind} reach you. Nothing has happened."),
        reached: Vec::new(),
        joined: Vec::new(),
        question: None,
    };
    let began = Instant::now();
    let sent = notify::send(&name, &target, &message, DELIVERY_TIMEOUT).await;
    value(TestNotificationView {
        target: name,
        kind,
        delivered: sent.is_ok(),
        error: sent.err().map(|error| error.to_string()),
        took_ms: began.elapsed().as_millis() as u64,
    })
}
