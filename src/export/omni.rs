//! An event in the format of OmniCoreAgent: only its types and their fields, since an unknown type or field breaks its
//! reader for the whole session. Events without a corresponding type are left out.
use crate::store::EventRow;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Returns the name of a session's stream in that format.
pub(super) fn stream(session: &str) -> String {
    format!("omnicoreagent_events:{session}")
}

/// Returns the session of an event, and its JSON; `None`: it has no corresponding type. `database` makes the event ids
/// unique across fleets.
pub(super) fn event(row: &EventRow, database: &str) -> Option<(String, String)> {
    let agent = row.agent.as_deref()?;
    let session = row.session.as_deref().unwrap_or(agent);
    let payload: Value = serde_json::from_str(&row.payload).unwrap_or_default();
    let said = ParsedEvent { row, agent, session, payload: payload.as_object()? };
    let (kind, payload) = said.mapped()?;
    let event = json!({
        "type": kind,
        "payload": payload,
        "timestamp": iso(row.at),
        "agent_name": agent,
        "event_id": format!("{database}:{}", row.seq),
    });
    Some((session.to_owned(), event.to_string()))
}

/// Formats an instant as Python's `datetime.fromisoformat` parses it in all releases: six digits, and an offset instead of `Z`.
fn iso(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// A parsed event.
struct ParsedEvent<'a> {
    row: &'a EventRow,
    agent: &'a str,
    session: &'a str,
    payload: &'a Map<String, Value>,
}

impl ParsedEvent<'_> {
    /// Returns its type in that format, and its payload.
    fn mapped(&self) -> Option<(&str, Value)> {
        let kind = self.row.kind.as_str();
        Some(match kind {
            "user_message" | "agent_message" | "agent_thought" | "final_answer" => {
                (kind, json!({ "message": self.text("text") }))
            }
            "tool_call_started" => {
                let mut said = self.tool();
                said.insert("tool_args".into(), self.args());
                said.insert("tool_call_id".into(), self.call().into());
                (kind, said.into())
            }
            "tool_call_result" => {
                let mut said = self.tool();
                // the arguments are in the event of its start
                said.insert("tool_args".into(), json!({}));
                said.insert("result".into(), self.text("result").into());
                said.insert("tool_call_id".into(), self.call().into());
                (kind, said.into())
            }
            "tool_call_error" => {
                let mut said = self.tool();
                said.insert("error_message".into(), self.text("error").into());
                (kind, said.into())
            }
            "background_task_started" => {
                let run = self.row.run.map(|run| run.to_string());
                let more = json!({
                    "run_id": run, "attempt": self.value("attempt"), "trigger": self.value("trigger"),
                    "slot": self.value("slot"),
                });
                (kind, self.task([("run_count", self.value("run_count")), ("kwargs", more)]))
            }
            "background_task_completed" => {
                let (count, result) = (self.value("run_count"), self.value("result"));
                (kind, self.task([("run_count", count), ("result", result)]))
            }
            "background_task_error" => {
                let (error, count) = (self.text("error").into(), self.value("error_count"));
                (kind, self.task([("error", error), ("error_count", count)]))
            }
            // there is no type for it, and it is not a failure
            "background_task_cancelled" => (
                "background_agent_status",
                self.task([
                    ("status", "cancelled".into()),
                    ("error", self.text("error").into()),
                    ("error_count", self.value("error_count")),
                ]),
            ),
            "background_agent_status" => {
                let same = ["status", "last_run", "run_count", "error_count"];
                (kind, self.task(same.map(|name| (name, self.value(name)))))
            }
            _ => return None,
        })
    }

    /// Returns the fields that all task events have.
    fn task<const N: usize>(&self, more: [(&str, Value); N]) -> Value {
        let mut said = Map::new();
        said.insert("agent_id".into(), self.agent.into());
        said.insert("session_id".into(), self.session.into());
        said.insert("timestamp".into(), iso(self.row.at).into());
        said.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        said.into()
    }

    fn tool(&self) -> Map<String, Value> {
        Map::from_iter([("tool_name".to_owned(), Value::from(self.text("tool")))])
    }

    /// Returns the arguments of a tool: an object as such, shortened ones as a string.
    fn args(&self) -> Value {
        let text = self.text("args");
        serde_json::from_str(&text).ok().filter(Value::is_object).unwrap_or(Value::String(text))
    }

    /// Returns an id that is the same for the start and the end of a call.
    fn call(&self) -> String {
        let run = self.row.run.map(|run| run.to_string()).unwrap_or_default();
        format!("{run}:{}:{}", self.value("step"), self.value("call"))
    }

    fn value(&self, name: &str) -> Value {
        self.payload.get(name).cloned().unwrap_or_default()
    }

    fn text(&self, name: &str) -> String {
        self.payload.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    //! The fields of each type are those of OmniCoreAgent's `core/events/base.py`.
    use super::*;
    use crate::domain::{LoggedEvent, Seq};

    const REQUIRED: &[(&str, &[&str])] = &[
        ("user_message", &["message"]),
        ("agent_message", &["message"]),
        ("agent_thought", &["message"]),
        ("final_answer", &["message"]),
        ("tool_call_started", &["tool_args", "tool_call_id", "tool_name"]),
        ("tool_call_result", &["result", "tool_args", "tool_call_id", "tool_name"]),
        ("tool_call_error", &["error_message", "tool_name"]),
        ("background_task_started", &["agent_id", "kwargs", "run_count", "session_id", "timestamp"]),
        ("background_task_completed", &["agent_id", "result", "run_count", "session_id", "timestamp"]),
        ("background_task_error", &["agent_id", "error", "error_count", "session_id", "timestamp"]),
    ];
    const STATUS: &[&str] =
        &["agent_id", "status", "timestamp", "session_id", "last_run", "run_count", "error_count", "error"];

    #[test]
    fn every_event_is_one_that_its_readers_know_or_is_left_out() {
        let examples = include_str!("../domain/event/examples.jsonl");
        let mut seen = std::collections::BTreeSet::new();
        for line in examples.lines() {
            let event: LoggedEvent = serde_json::from_str(line).unwrap();
            let row = EventRow {
                seq: Seq(event.seq.0),
                at: event.ts,
                kind: event.kind.clone(),
                agent: event.agent_id.map(|agent| agent.to_string()),
                run: event.run_id,
                session: event.session_id,
                payload: event.payload.to_string(),
            };
            let Some((session, json)) = super::event(&row, "db") else { continue };
            let json: Value = serde_json::from_str(&json).unwrap();
            let kind = json["type"].as_str().unwrap().to_owned();
            assert_eq!(session, row.session.clone().or(row.agent.clone()).unwrap());
            assert_eq!(json["timestamp"], "2026-11-24T09:00:00.123456+00:00");
            assert_eq!(json["event_id"], format!("db:{}", row.seq));
            let fields: Vec<&str> = json["payload"].as_object().unwrap().keys().map(String::as_str).collect();
            match REQUIRED.iter().find(|(name, _)| *name == kind) {
                Some((_, required)) => assert_eq!(fields, *required, "{kind}"),
                None => {
                    assert_eq!(kind, "background_agent_status");
                    assert!(fields.iter().all(|field| STATUS.contains(field)), "{fields:?}");
                    assert!(json["payload"]["status"].is_string());
                }
            }
            seen.insert(kind);
        }
        assert_eq!(seen.len(), REQUIRED.len() + 1, "{seen:?}");
    }
}
