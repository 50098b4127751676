//! Actions of ntfy (docs.ntfy.sh/publish/#action-buttons): the phone posts an answer to the reply topic, to which the
//! daemon subscribes (docs.ntfy.sh/subscribe/api).
use super::poll::{Keys, PATIENCE, POLL, PersonAnswer, PolledAnswers, request, server};
use crate::notify::message::SendError;
use crate::notify::post::{Post, Reads, first_lines, url_of};
use crate::notify::question::read_answer;
use crate::notify::service::{authorize, encoded};
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

const DEFAULT_SERVER: &str = "https://ntfy.sh";
/// Tolerated lead of our clock over the server's, in seconds.
const CLOCK_TOLERANCE_SECS: i64 = 600;

pub(super) async fn listen(
    keys: &Keys,
    position: Option<&str>,
    since: Timestamp,
) -> Result<PolledAnswers, SendError> {
    let topic = keys.get("reply_topic").map(String::as_str).unwrap_or_default();
    let mut url = url_of(&format!("{}/{}/json", server(keys, DEFAULT_SERVER), encoded(topic)))?;
    // messages from before the question are not answers to it; the server's clock may be behind ours
    let from = position.map_or_else(|| (since.as_second() - CLOCK_TOLERANCE_SECS).to_string(), str::to_owned);
    url.query_pairs_mut().append_pair("since", &from);
    let mut headers = HeaderMap::new();
    if let Some(token) = keys.get("token") {
        authorize(&mut headers, "Authorization", "Bearer {token}", token)?;
    }
    let hidden = keys.get("token").cloned().into_iter().collect();
    let post = Post {
        method: "GET",
        url,
        headers,
        body: String::new(),
        hidden,
        reads: Reads::default(),
        timeout: POLL,
    };
    let is_message = |line: &str| line.contains("\"event\":\"message\"");
    let lines = first_lines(post, is_message).await?;
    let messages = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages: Vec<Value> = messages.filter(|message| message["event"] == "message").collect();
    let newest = messages.iter().rev().find_map(|message| message["id"].as_str());
    let position = newest.or(position).map(str::to_owned);
    let answers = messages.iter().filter_map(parse_message).collect();
    Ok(PolledAnswers { answers, position })
}

fn parse_message(message: &Value) -> Option<PersonAnswer> {
    let (approve, code) = read_answer(message["message"].as_str()?)?;
    // a topic has no user names: whoever reads the message has the code
    let who = "somebody who reads the topic".to_owned();
    Some(PersonAnswer { approve, code, who, is_from_there: true, reply_to: Value::Null })
}

pub(super) async fn reply(keys: &Keys, text: &str) -> Result<(), SendError> {
    let url = url_of(&format!("{}/", server(keys, DEFAULT_SERVER)))?;
    let topic = keys.get("topic").map(String::as_str).unwrap_or_default();
    request(keys, "POST", url, Some(json!({"topic": topic, "message": text})), PATIENCE).await.map(drop)
}
