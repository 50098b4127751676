//! An event as a stream entry, in our own format: `event` is the line of `tail --json`, accompanied by the fields that
//! readers filter by. The contract is docs/REDIS.md.
use crate::domain::Seq;
use crate::redis::RedisCommand;
use crate::store::EventRow;
use std::io::Write;

/// Index of the stream itself among the keys of a call.
const STREAM_KEY_INDEX: u64 = 1;

/// Appends the entry of an event.
pub(super) fn event(row: &EventRow, out: &mut RedisCommand) {
    let (at, run) = (row.at.to_string(), row.run.map(|run| run.to_string()));
    let fields = 3 + usize::from(row.agent.is_some()) + usize::from(run.is_some());
    head(row.seq, fields, out);
    field("type", &row.kind, out);
    field("ts", &at, out);
    if let Some(agent) = &row.agent {
        field("agent_id", agent, out);
    }
    if let Some(run) = &run {
        field("run_id", run, out);
    }
    out.part(b"event");
    out.part(&line(row, &at, run.as_deref()));
}

/// Appends the entry for events that retention removed: it takes the id of the last of them.
pub(super) fn gap((from, to): (Seq, Seq), out: &mut RedisCommand) {
    head(to, 4, out);
    field("type", "gap", out);
    field("from", &from.0.to_string(), out);
    field("to", &to.0.to_string(), out);
    field("event", &format!(r#"{{"seq":{to},"type":"gap","payload":{{"from":{from},"to":{to}}}}}"#), out);
}

/// Appends the only entry of a stream that just keeps the position: it has the event, which identifies the log of the
/// position.
pub(super) fn position(row: &EventRow, out: &mut RedisCommand) {
    head(row.seq, 2, out);
    field("type", "position", out);
    out.part(b"event");
    out.part(&text(row));
}

/// Returns the field `event` of an event's entry.
pub(super) fn text(row: &EventRow) -> Vec<u8> {
    line(row, &row.at.to_string(), row.run.map(|run| run.to_string()).as_deref())
}

fn head(seq: Seq, fields: usize, out: &mut RedisCommand) {
    out.number(STREAM_KEY_INDEX);
    out.number(seq.0);
    out.number(2 * fields as u64);
}

fn field(name: &str, value: &str, out: &mut RedisCommand) {
    out.part(name.as_bytes());
    out.part(value.as_bytes());
}

/// Formats an event as JSON, as [`crate::domain::LoggedEvent`] is serialized. The payload's stored bytes are copied,
/// which takes a fraction of the time.
fn line(row: &EventRow, at: &str, run: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(row.payload.len() + 256);
    write!(out, r#"{{"seq":{},"ts":"{at}","type":"#, row.seq).expect(TO_MEMORY);
    serde_json::to_writer(&mut out, &row.kind).expect(TO_MEMORY);
    for (name, value) in
        [("agent_id", row.agent.as_deref()), ("run_id", run), ("session_id", row.session.as_deref())]
    {
        if let Some(value) = value {
            write!(out, r#","{name}":"#).expect(TO_MEMORY);
            serde_json::to_writer(&mut out, value).expect(TO_MEMORY);
        }
    }
    write!(out, r#","payload":{}}}"#, row.payload).expect(TO_MEMORY);
    out
}

const TO_MEMORY: &str = "writing to memory does not fail";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::LoggedEvent;

    fn row() -> EventRow {
        EventRow {
            seq: Seq(7),
            at: "2026-11-23T09:00:00.1234Z".parse().unwrap(),
            kind: "background_task_completed".into(),
            agent: Some("news".into()),
            run: Some("0199f3c2-8a00-7000-8000-5d1c1f2e3d4c".parse().unwrap()),
            session: Some("a \"session\"\u{1f642}\n".into()),
            payload: r#"{"result":"3 \"new\" items\u0000","run_count":24}"#.into(),
        }
    }

    /// As the log tells it.
    fn logged(row: &EventRow) -> LoggedEvent {
        LoggedEvent {
            seq: row.seq,
            ts: row.at,
            kind: row.kind.clone(),
            agent_id: row.agent.as_ref().map(|agent| agent.parse().unwrap()),
            run_id: row.run,
            session_id: row.session.clone(),
            payload: serde_json::from_str(&row.payload).unwrap_or_default(),
        }
    }

    #[test]
    fn an_entry_has_the_line_of_tail_and_what_readers_choose_by() {
        let whole = row();
        let bare = EventRow { agent: None, run: None, session: None, payload: "null".into(), ..row() };
        for row in [&whole, &bare] {
            let run = row.run.map(|run| run.to_string());
            let line = String::from_utf8(line(row, &row.at.to_string(), run.as_deref())).unwrap();
            assert_eq!(line, serde_json::to_string(&logged(row)).unwrap());
        }
        let mut out = RedisCommand::default();
        event(&bare, &mut out);
        let text = String::from_utf8(out.encoded()).unwrap();
        let parts: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
        assert_eq!(
            parts[..7],
            ["1", "7", "6", "type", "background_task_completed", "ts", "2026-11-23T09:00:00.1234Z"]
        );
    }

    #[test]
    fn a_gap_stands_in_the_place_of_its_last_event() {
        let mut out = RedisCommand::default();
        gap((Seq(3), Seq(9)), &mut out);
        let text = String::from_utf8(out.encoded()).unwrap();
        let parts: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
        let json = r#"{"seq":9,"type":"gap","payload":{"from":3,"to":9}}"#;
        assert_eq!(parts, ["1", "9", "8", "type", "gap", "from", "3", "to", "9", "event", json]);
    }
}
