//! Messages in a Matrix room (spec.matrix.org, client-server API, `/sync`): a message of two words is an answer.
use super::poll::{Keys, PATIENCE, POLL, POLL_MARGIN, PersonAnswer, PolledAnswers, name, request, server};
use crate::notify::message::SendError;
use crate::notify::post::url_of;
use crate::notify::question::read_answer;
use crate::notify::service::encoded;
use serde_json::{Value, json};

/// Maximum number of messages per poll.
const MAX_MESSAGE_COUNT: u32 = 100;

pub(super) async fn listen(keys: &Keys, position: Option<&str>) -> Result<PolledAnswers, SendError> {
    let room = keys.get("room").map(|room| room.trim()).unwrap_or_default();
    let nothing = json!({"types": []});
    let filter = json!({
        "presence": nothing, "account_data": nothing,
        "room": {
            "rooms": [room], "state": nothing, "ephemeral": nothing, "account_data": nothing,
            "timeline": {"types": ["m.room.message"], "limit": MAX_MESSAGE_COUNT},
        },
    });
    let base = server(keys, "");
    let me =
        request(keys, "GET", url_of(&format!("{base}/_matrix/client/v3/account/whoami"))?, None, PATIENCE);
    let me = me.await?["user_id"].as_str().map(str::to_owned);
    let mut url = url_of(&format!("{base}/_matrix/client/v3/sync"))?;
    url.query_pairs_mut().append_pair("filter", &filter.to_string());
    if let Some(position) = position {
        let timeout = POLL.as_millis().to_string();
        url.query_pairs_mut().append_pair("since", position).append_pair("timeout", &timeout);
    }
    let said = request(keys, "GET", url, None, POLL + POLL_MARGIN).await?;
    let events = said["rooms"]["join"][room]["timeline"]["events"].as_array().cloned().unwrap_or_default();
    let answers =
        events.iter().filter(|event| event["sender"].as_str() != me.as_deref()).filter_map(parse_message);
    let next = said["next_batch"].as_str().or(position).map(str::to_owned);
    Ok(PolledAnswers { answers: answers.collect(), position: next })
}

fn parse_message(event: &Value) -> Option<PersonAnswer> {
    let (approve, code) = read_answer(event["content"]["body"].as_str()?)?;
    let (who, reply_to) = (name(event["sender"].as_str()?), event["event_id"].clone());
    Some(PersonAnswer { approve, code, who, is_from_there: true, reply_to })
}

pub(super) async fn reply(keys: &Keys, answer: &PersonAnswer, text: &str) -> Result<(), SendError> {
    let room = keys.get("room").map(|room| room.trim()).unwrap_or_default();
    let event = answer.reply_to.as_str().unwrap_or_default();
    // the same transaction id for the same answer, so that it is posted once
    let transaction = encoded(&format!("bgagent-answer-{event}"));
    let url = format!(
        "{}/_matrix/client/v3/rooms/{}/send/m.room.message/{transaction}",
        server(keys, ""),
        encoded(room)
    );
    let body = json!({"msgtype": "m.notice", "body": text, "m.mentions": {},
        "m.relates_to": {"m.in_reply_to": {"event_id": event}}});
    request(keys, "PUT", url_of(&url)?, Some(body), PATIENCE).await.map(drop)
}
