//! Buttons of Telegram (core.telegram.org/bots/api#getupdates): Telegram keeps a press of a button for a day, or until
//! a later update is requested.
use super::poll::{Keys, PATIENCE, POLL, POLL_MARGIN, PersonAnswer, PolledAnswers, name, request, server};
use crate::domain::one_line;
use crate::notify::message::SendError;
use crate::notify::post::url_of;
use crate::notify::question::read_answer;
use crate::notify::service::encoded;
use serde_json::{Value, json};
use std::time::Duration;

/// Maximum length of the text shown after a button was pressed.
const MAX_REPLY_CHARS: usize = 190;

pub(super) async fn listen(keys: &Keys, position: Option<&str>) -> Result<PolledAnswers, SendError> {
    let offset: i64 = position.and_then(|position| position.parse().ok()).unwrap_or(0);
    let wanted = json!({"offset": offset, "timeout": POLL.as_secs(), "allowed_updates": ["callback_query"]});
    let said = method(keys, "getUpdates", wanted, POLL + POLL_MARGIN).await?;
    let updates = said["result"].as_array().cloned().unwrap_or_default();
    let newest = updates.iter().filter_map(|update| update["update_id"].as_i64()).max();
    let answers =
        updates.iter().filter_map(|update| parse_button_press(keys, &update["callback_query"])).collect();
    let position = newest.map(|newest| (newest + 1).to_string()).or(position.map(str::to_owned));
    Ok(PolledAnswers { answers, position })
}

/// Parses the press of a button; `None`: not one of ours.
fn parse_button_press(keys: &Keys, query: &Value) -> Option<PersonAnswer> {
    let (approve, code) = read_answer(query["data"].as_str()?)?;
    let (from, chat) = (&query["from"], &query["message"]["chat"]);
    // the number identifies the account; user names can change hands
    let id = &from["id"];
    let who = match (from["username"].as_str(), from["first_name"].as_str()) {
        (Some(user), _) => format!("{id} (@{user})"),
        (None, Some(first)) => format!("{id} ({first})"),
        (None, None) => id.to_string(),
    };
    Some(PersonAnswer {
        approve,
        code,
        who: name(&who),
        is_from_there: is_chat(keys, chat),
        reply_to: query.clone(),
    })
}

/// Returns whether the chat is the configured one. In a channel every subscriber can press a button, so nothing from
/// there counts, nor from a chat configured by its public name.
fn is_chat(keys: &Keys, chat: &Value) -> bool {
    let wanted = keys.get("chat").map(|chat| chat.trim()).unwrap_or_default();
    chat["type"] != "channel" && chat["id"].as_i64().is_some_and(|id| id.to_string() == wanted)
}

pub(super) async fn reply(
    keys: &Keys,
    answer: &PersonAnswer,
    text: &str,
    is_over: bool,
) -> Result<(), SendError> {
    let query = &answer.reply_to;
    let short = one_line(text, MAX_REPLY_CHARS);
    let shown = json!({"callback_query_id": query["id"], "text": short, "show_alert": true});
    let shown = method(keys, "answerCallbackQuery", shown, PATIENCE).await;
    if !answer.is_from_there || !is_over {
        return shown.map(drop);
    }
    // the text stays in the chat, the buttons are removed: they have no use any more
    let (chat, message) = (&query["message"]["chat"]["id"], &query["message"]["message_id"]);
    let none = json!({"chat_id": chat, "message_id": message, "reply_markup": {"inline_keyboard": []}});
    let _ = method(keys, "editMessageReplyMarkup", none, PATIENCE).await;
    let said = json!({"chat_id": chat, "text": text,
        "reply_parameters": {"message_id": message, "allow_sending_without_reply": true}});
    method(keys, "sendMessage", said, PATIENCE).await.and(shown).map(drop)
}

async fn method(keys: &Keys, name: &str, params: Value, timeout: Duration) -> Result<Value, SendError> {
    let token = keys.get("token").map(String::as_str).unwrap_or_default();
    let server = server(keys, "https://api.telegram.org");
    let url = url_of(&format!("{server}/bot{}/{name}", encoded(token)))?;
    // the token is part of the address
    request(&Keys::new(), "POST", url, Some(params), timeout).await.map_err(|error| match error {
        error if error.message.contains("409") && name == "getUpdates" => SendError {
            message: format!(
                "{}; another program asks for the updates of this bot, or it has a webhook: give bgagent a bot of its own",
                error.message
            ),
            ..SendError::passing("")
        },
        error => error,
    })
}

#[cfg(test)]
mod tests {
    //! Tests of the user and chat of a button press.
    use super::*;

    #[test]
    fn a_channel_decides_nothing_and_an_account_is_its_number() {
        let pressed_in = |wanted: &str, chat: Value, from: Value| {
            let keys = Keys::from([("chat", wanted.to_owned())]);
            let query = json!({"data": "approve ab12cd34ef", "from": from, "message": {"chat": chat}});
            let PersonAnswer { who, is_from_there, .. } = parse_button_press(&keys, &query).unwrap();
            (who, is_from_there)
        };
        let ada = json!({"id": 5, "first_name": "Ada", "username": "ada"});
        for (wanted, chat, is_there) in [
            ("-100123", json!({"id": -100_123, "type": "supergroup"}), true),
            (" 5 ", json!({"id": 5, "type": "private"}), true),
            ("-100123", json!({"id": -100_123, "type": "channel"}), false),
            ("-100123", json!({"id": 999, "type": "group"}), false),
            ("@news", json!({"id": -100_123, "type": "channel", "username": "news"}), false),
            ("@news", json!({"id": -100_123, "type": "supergroup", "username": "news"}), false),
        ] {
            let found = pressed_in(wanted, chat, ada.clone());
            assert_eq!(found, ("5 (@ada)".to_owned(), is_there), "{wanted}");
        }
        let nameless = pressed_in("5", json!({"id": 5}), json!({"id": 5, "first_name": "9 (@eve)"}));
        assert_eq!(nameless.0, "5 (9 (@eve))");
    }
}
