//! Translates facts to SQL: each fact, and the events that report it, in the current transaction.
use crate::domain::*;
use crate::store::sql::{Sql, SqlResult, Value, params};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Writes entries in order. `next` is the number of the next event. Returns the runs whose claim
/// was refused because their slot had been claimed before.
pub(super) fn apply(db: &Sql, entries: &[Entry], next: &mut u64) -> SqlResult<Vec<RunId>> {
    let mut refused = Vec::new();
    let by_event = |entry: &Entry| match &entry.fact {
        Fact::RunClaimed(claim) => claim.event.is_some(),
        Fact::EventPassed { .. } => true,
        _ => false,
    };
    let starts = entries.iter().any(by_event);
    let mut logged: Vec<(Event, Seq)> = Vec::new();
    for entry in entries {
        if let Fact::SlotsJudged { run: Some(run), .. } = &entry.fact
            && refused.contains(run)
        {
            continue; // the slot has the verdict of the first claim
        }
        if let Fact::Ordered { starts: Some(run), .. } = &entry.fact
            && refused.contains(run)
        {
            continue; // the run was never claimed
        }
        if !write(db, entry, Seq(*next - 1))? {
            if let Fact::RunClaimed(claim) = &entry.fact {
                refused.push(claim.run);
            }
            continue;
        }
        if let Fact::RunClaimed(claim) = &entry.fact {
            number_event(db, claim, &logged)?;
        }
        for mut event in Event::telling(entry) {
            if let Fact::EventPassed { event: passed, .. } = &entry.fact
                && let Payload::SlotSkipped(SlotSkipped { event: Some(reference), .. }) = &mut event.payload
                && let Some((_, seq)) = logged.iter().find(|(logged, _)| *logged == **passed)
            {
                reference.seq = *seq;
            }
            insert_event(db, &event, *next)?;
            if starts {
                logged.push((event, Seq(*next)));
            }
            *next += 1;
        }
    }
    Ok(refused)
}

/// Replaces the event of a run by its numbered form, as readers of the log see it: the run was
/// decided in the same transaction, before the event had its number.
fn number_event(db: &Sql, claim: &RunRecord, logged: &[(Event, Seq)]) -> SqlResult<()> {
    let Some(event) = claim.event.as_deref() else { return Ok(()) };
    let Some((_, seq)) = logged.iter().find(|(logged, _)| logged == event) else { return Ok(()) };
    let mut event = Event { seq: *seq, ..event.clone() };
    event.session_id =
        db.one("SELECT session FROM events WHERE seq = ?1", params![seq.0 as i64], |row| row.get(0))?;
    let text = event_text(&event);
    db.run("UPDATE runs SET event = ?2 WHERE id = ?1", params![blob(&claim.run), text])
}

/// The number of the newest event in an answer.
#[derive(Deserialize)]
struct SeqOfAnswer<'a> {
    #[serde(borrow)]
    result: SeqOfResult<'a>,
}

#[derive(Deserialize)]
struct SeqOfResult<'a> {
    #[serde(borrow)]
    seq: &'a RawValue,
}

/// Returns an answer with its number of the newest event brought up to date; all else stays byte for byte.
fn with_newest(answer: &str, newest: Seq) -> Cow<'_, str> {
    let Ok(SeqOfAnswer { result: SeqOfResult { seq } }) = serde_json::from_str(answer) else {
        return answer.into();
    };
    let number = seq.get();
    // `seq` borrows from `answer`, so it lies within it
    let at = number.as_ptr().addr() - answer.as_ptr().addr();
    format!("{}{newest}{}", &answer[..at], &answer[at + number.len()..]).into()
}

/// Serializes an event as readers of the log see it.
fn event_text(event: &Event) -> String {
    serde_json::to_string(&event.logged()).expect("events serialize")
}

fn insert_event(db: &Sql, event: &Event, seq: u64) -> SqlResult<()> {
    db.run(
        "INSERT INTO events(seq, at, type, agent, run, session, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, COALESCE(?6, (SELECT session FROM runs WHERE id = ?5)), ?7)",
        params![
            seq as i64,
            to_micros(event.ts),
            event.kind().as_str(),
            event.agent_id.as_ref().map(AgentId::as_str),
            event.run_id.as_ref().map(|run| run.as_bytes().as_slice()),
            event.session_id,
            event.payload.to_json().to_string(),
        ],
    )
}

fn at(instant: Timestamp) -> i64 {
    to_micros(instant)
}

fn maybe(instant: Option<Timestamp>) -> Option<i64> {
    instant.map(to_micros)
}

fn blob(run: &RunId) -> &[u8] {
    run.as_bytes()
}

/// Writes a fact. Returns false if it was refused. `newest` is the newest event so far.
fn write(db: &Sql, entry: &Entry, newest: Seq) -> SqlResult<bool> {
    match &entry.fact {
        Fact::DaemonStarted { .. }
        | Fact::DaemonStopping { .. }
        | Fact::ConfigApplied { .. }
        | Fact::ConfigRejected { .. }
        | Fact::SandboxDenied { .. }
        | Fact::WorkspaceRemoved { .. }
        | Fact::AgentLate { .. }
        | Fact::RunSlow { .. }
        | Fact::AgentChanged(_)
        | Fact::Joined(_)
        | Fact::EventPassed { .. }
        | Fact::EventsSkipped { .. }
        | Fact::CircuitOpened { .. }
        | Fact::CircuitClosed { .. }
        | Fact::IncidentOpened(_)
        | Fact::IncidentResolved(_) => {}
        Fact::ConfigStored(applied) => super::configs::stored(db, applied)?,
        Fact::AgentSaved(record) => agent(db, record)?,
        Fact::SlotsJudged { agent, first, last, count, verdict, cause, run, extends } => {
            judged(db, agent, (at(*first), at(*last), *count), *verdict, cause, run.as_ref(), *extends)?;
        }
        Fact::SlotRevised { agent, slot, run, verdict, cause, joins, .. } => {
            revised(db, agent, (*slot, *joins), run, *verdict, cause)?
        }
        Fact::ClockSet { by } => {
            db.run("UPDATE runs SET clock_moved = clock_moved + ?1, not_before = not_before + ?1 WHERE finished_at IS NULL", params![micros(*by)])?;
        }
        Fact::SlotsTakenBack { agent, behind, taken } => taken_back(db, agent, at(*behind), taken)?,
        Fact::Arrived { event, mark } => super::arrivals::arrived(db, event, mark, entry.at)?,
        Fact::CursorMoved { agent, source, cursor } => {
            super::arrivals::cursor_moved(db, agent, source, cursor.as_deref())?;
        }
        Fact::FilesLeft { agent, gone, back } => super::arrivals::left(db, agent, gone, back, entry.at)?,
        Fact::RunClaimed(claim) => return claimed(db, claim),
        Fact::RunPlaced { run, attempt, at } => {
            let (node, session) =
                at.as_ref().map_or((None, None), |at| (Some(&*at.node), at.session.as_deref()));
            db.run(
                "UPDATE runs SET attempt = ?2, node = ?3, node_session = ?4 WHERE id = ?1",
                params![blob(run), attempt, node, session],
            )?;
        }
        Fact::Ordered { session, order, .. } => super::work::ordered(db, session, order, newest)?,
        Fact::ReportsTaken { ids } => super::work::taken(db, ids)?,
        Fact::NodeOver { session } => super::work::over(db, session)?,
        Fact::BackfillBegan(backfill) => super::backfill::began(db, backfill, entry.at)?,
        Fact::BackfillMoved { id, claimed, usd } => super::backfill::moved(db, id, *claimed, *usd)?,
        Fact::BackfillEnded { id, claimed, usd, cause, .. } => {
            super::backfill::moved(db, id, *claimed, *usd)?;
            super::backfill::ended(db, id, cause.as_deref(), entry.at)?;
        }
        Fact::ProcessStarted { run, attempt, role, process } => started(db, run, *attempt, *role, process)?,
        Fact::AttemptStarted { run, attempt, started_at, process, .. } => {
            db.run("UPDATE runs SET status = 'running', attempt = ?2, started_at = coalesce(started_at, ?3), not_before = NULL WHERE id = ?1", params![blob(run), attempt, at(*started_at)])?;
            if let Some(process) = process {
                started(db, run, *attempt, ProcessRole::Body, process)?;
            }
        }
        Fact::AttemptFailed { run, attempt, error, retry_at, .. } => {
            db.run("UPDATE runs SET status = 'retrying', attempt = ?2, not_before = ?3, error_kind = ?4, error = ?5 WHERE id = ?1", params![blob(run), attempt, at(*retry_at), error.kind.as_str(), error.message])?;
            db.run("DELETE FROM processes WHERE run = ?1", params![blob(run)])?;
            close_approvals(db, run, entry)?;
        }
        Fact::RunEnded { .. } => ended(db, entry)?,
        Fact::IncidentSaved(record) => incident(db, record)?,
        Fact::IncidentDiagnosed { agent, key, since, diagnosis } => {
            db.run(
                "UPDATE incidents SET finding = ?4, found_by = ?5, found_run = ?6, found_at = ?7
                 WHERE agent = ?1 AND key = ?2 AND since = ?3",
                params![
                    agent.as_str(),
                    key,
                    at(*since),
                    diagnosis.text,
                    diagnosis.by.as_str(),
                    blob(&diagnosis.run),
                    at(diagnosis.at)
                ],
            )?;
        }
        Fact::IncidentDropped { agent, key } => {
            db.run(
                "DELETE FROM incidents WHERE agent = ?1 AND key = ?2 AND resolved_at IS NULL",
                params![agent.as_str(), key],
            )?;
        }
        Fact::NotificationQueued { target, notice } => super::outbox::queued(db, entry.at, target, notice)?,
        Fact::NotificationsJoined { rows, each } => super::outbox::joined(db, rows, *each)?,
        Fact::NotificationsParted { rows } => super::outbox::parted(db, rows)?,
        Fact::QuestionAsked(question) => super::questions::asked(db, question)?,
        Fact::AnswersHeard { target, position } => super::questions::heard(db, target, position)?,
        Fact::NotificationSent { id, .. } => super::outbox::sent(db, *id)?,
        Fact::NotificationFailed { id, tries, error, retry_at, .. } => {
            super::outbox::failed(db, *id, *tries, error, *retry_at)?;
        }
        Fact::OutputCaptured(captured) => output(db, captured)?,
        Fact::Budget(news) => super::talk::told(db, news)?,
        Fact::Talked(talk) => super::talk::record_talk(db, talk, entry.at)?,
        Fact::Archived(step) => super::archive::stepped(db, step, entry.at)?,
        Fact::Remembered(change) => super::talk::remembered(db, change, entry.at)?,
        Fact::McpPinned { server, tool, trusted, seen, about } => {
            super::talk::pinned(db, server, tool, trusted, seen.as_deref(), about.as_deref())?;
        }
        Fact::ExportBegan { target, from, after } => super::row_page::began(db, target, from, *after)?,
        Fact::FeedKept { source, kept } => super::talk::feed_kept(db, source, kept)?,
        Fact::RequestAnswered { request_id, answer } => {
            // an answer with the newest event gets the present one
            db.run(
                "INSERT INTO requests(id, answer, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT(id) DO UPDATE SET answer = excluded.answer, at = excluded.at",
                params![request_id, with_newest(answer, newest), at(entry.at)],
            )?;
        }
    }
    Ok(true)
}

/// Columns of `agents`, the key first.
pub(super) const AGENT_COLUMNS: &str =
    "id, desired, reason, resume_at, held, anchor, judged_until, schedule, next_due,
    skip_next, last_end, runs, successes, errors, errors_in_row, skipped, last_run, last_status, last_started,
    last_finished, last_duration, last_kind, last_message, last_success, circuit_at, circuit_until, told_at,
    removed, config_hash, last_kept, floor, origin, silent, resume_after, awaited_since";

static SAVE_AGENT: LazyLock<String> = LazyLock::new(|| {
    let columns: Vec<&str> = AGENT_COLUMNS.split(',').map(str::trim).collect();
    let values: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
    let set: Vec<String> = columns[1..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
    format!(
        "INSERT INTO agents({AGENT_COLUMNS}) VALUES ({}) ON CONFLICT(id) DO UPDATE SET {}",
        values.join(", "),
        set.join(", ")
    )
});

fn agent(db: &Sql, record: &AgentRecord) -> SqlResult<()> {
    let last = record.last_run.as_ref();
    let error = last.and_then(|last| last.error.as_ref());
    let counters = record.counters;
    db.run(
        &SAVE_AGENT,
        params![
            record.agent.as_str(),
            record.desired.as_str(),
            record.reason,
            maybe(record.resume_at),
            record.held as i64,
            at(record.anchor),
            maybe(record.judged_until),
            record.schedule,
            maybe(record.next_due),
            record.skip_next,
            maybe(record.last_end),
            counters.runs as i64,
            counters.successes as i64,
            counters.errors as i64,
            counters.errors_in_row,
            counters.skipped as i64,
            last.map(|last| blob(&last.run)),
            last.map(|last| last.status.as_str()),
            last.and_then(|last| maybe(last.started_at)),
            last.map(|last| at(last.finished_at)),
            last.map(|last| micros(last.duration)),
            error.map(|error| error.kind.as_str()),
            error.map(|error| error.message.as_str()),
            maybe(record.last_success),
            record.circuit.map(|circuit| at(circuit.opened_at)),
            record.circuit.map(|circuit| at(circuit.until)),
            maybe(record.told_at),
            record.removed,
            record.config_hash.0 as i64,
            last.is_none_or(|last| last.kept),
            maybe(record.floor),
            maybe(record.origin),
            record.silent,
            record.resume_after.map(micros),
            maybe(record.awaited_since),
        ],
    )
}

fn judged(
    db: &Sql,
    agent: &AgentId,
    (first, last, count): (i64, i64, u64),
    verdict: Verdict,
    cause: &str,
    run: Option<&RunId>,
    extends: bool,
) -> SqlResult<()> {
    if extends {
        // the previous record in time: if the clock was set back, the newest one lies ahead of it
        let grown = db.change_unless_refused(
            "UPDATE ledger SET last = ?2, count = count + ?3 WHERE agent = ?1 AND verdict = ?4 AND cause = ?5
                 AND last < ?6 AND first = (SELECT max(first) FROM ledger WHERE agent = ?1 AND first < ?6)",
            params![agent.as_str(), last, count as i64, verdict.as_str(), cause, first],
        )?;
        if grown > 0 {
            return Ok(());
        }
    }
    let made = db.change_unless_refused("INSERT INTO ledger(agent, first, last, count, verdict, cause, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", params![agent.as_str(), first, last, count as i64, verdict.as_str(), cause, run.map(blob)])?;
    if made == 0 {
        tracing::warn!(%agent, first, %verdict, "the slot had a verdict before; the first one stays");
    }
    Ok(())
}

/// Removes the verdicts of slots ahead that never ran, and truncates the record that began before `behind`.
fn taken_back(db: &Sql, agent: &AgentId, behind: i64, taken: &Taken) -> SqlResult<()> {
    db.run(
        "DELETE FROM ledger WHERE agent = ?1 AND first > ?2 AND last <= ?3 AND verdict <> 'ran'",
        params![agent.as_str(), behind, at(taken.last)],
    )?;
    if let Some((last, count)) = taken.cut {
        db.run(
            "UPDATE ledger SET last = ?3, count = ?4
             WHERE agent = ?1 AND first = (SELECT max(first) FROM ledger WHERE agent = ?1 AND first <= ?2)",
            params![agent.as_str(), behind, at(last), count as i64],
        )?;
    }
    Ok(())
}

fn revised(
    db: &Sql,
    agent: &AgentId,
    (slot, joins): (Option<Timestamp>, bool),
    run: &RunId,
    verdict: Verdict,
    cause: &str,
) -> SqlResult<()> {
    for sql in [
        "DELETE FROM runs WHERE id = ?1",
        "DELETE FROM processes WHERE run = ?1",
        "DELETE FROM output WHERE run = ?1",
    ] {
        db.run(sql, params![blob(run)])?;
    }
    let Some(slot) = slot.map(at) else { return Ok(()) };
    // does it extend the previous record?
    let before: Option<i64> = db.row(
        "SELECT first FROM ledger WHERE agent = ?1 AND verdict = ?3 AND cause = ?4
             AND last < ?2 AND first = (SELECT max(first) FROM ledger WHERE agent = ?1 AND first < ?2)",
        params![agent.as_str(), slot, verdict.as_str(), cause],
        |row| row.get(0),
    )?;
    if let Some(before) = before.filter(|_| joins) {
        db.run("DELETE FROM ledger WHERE agent = ?1 AND first = ?2", params![agent.as_str(), slot])?;
        db.run(
            "UPDATE ledger SET last = ?3, count = count + 1 WHERE agent = ?1 AND first = ?2",
            params![agent.as_str(), before, slot],
        )?;
    } else {
        db.run(
            "UPDATE ledger SET verdict = ?3, cause = ?4, run = NULL WHERE agent = ?1 AND first = ?2",
            params![agent.as_str(), slot, verdict.as_str(), cause],
        )?;
    }
    Ok(())
}

fn claimed(db: &Sql, claim: &RunRecord) -> SqlResult<bool> {
    let made = db.change_unless_refused("INSERT INTO runs(id, agent, trigger, slot, status, attempt, queued_at, started_at, not_before, chain, event, query, config_hash, mode, session, params, backfill,
             past_slot)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)", params![
            blob(&claim.run),
            claim.agent.as_str(),
            claim.trigger.as_str(),
            maybe(claim.slot),
            claim.status.as_str(),
            claim.attempt,
            at(claim.queued_at),
            maybe(claim.started_at),
            maybe(claim.not_before),
            claim.chain,
            claim.event.as_deref().map(event_text),
            claim.query.as_deref(),
            claim.config_hash.0 as i64,
            (!claim.mode.is_normal()).then(|| serde_json::to_string(&claim.mode).expect("modes serialize")),
            claim.session.as_deref(),
            claim.params.as_deref().map(|params| serde_json::to_string(params).expect("values serialize")),
            claim.past.as_ref().map(|past| &*past.backfill),
            maybe(claim.past.as_ref().map(|past| past.slot)),
        ])?;
    Ok(made > 0)
}

fn started(db: &Sql, run: &RunId, attempt: u32, role: ProcessRole, process: &Process) -> SqlResult<()> {
    let role = match role {
        ProcessRole::Gate => "gate",
        ProcessRole::Body => "body",
        ProcessRole::Check => "check",
    };
    db.run("INSERT INTO processes(run, attempt, role, pid, start, boot) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT(run, pid, start) DO UPDATE SET attempt = excluded.attempt, role = excluded.role, boot = excluded.boot", params![blob(run), attempt, role, process.pid, process.start as i64, process.boot as i64])
}

fn ended(db: &Sql, entry: &Entry) -> SqlResult<()> {
    let Fact::RunEnded {
        run,
        status,
        attempt,
        result,
        untrusted,
        error,
        exit_code,
        usage,
        duration,
        warnings,
        ..
    } = &entry.fact
    else {
        return Ok(());
    };
    let warnings = (!warnings.is_empty()).then(|| warnings.join("\n"));
    db.run("UPDATE runs SET status = ?2, attempt = ?3, result = ?4, error_kind = ?5, error = ?6, exit_code = ?7, requests = ?8,
           input_tokens = ?9, cached_tokens = ?10, output_tokens = ?11, usd = ?12, duration = ?13, warnings = ?14,
           finished_at = ?15, untrusted = ?16, not_before = NULL WHERE id = ?1", params![
        blob(run),
        status.as_str(),
        attempt,
        result,
        error.as_ref().map(|error| error.kind.as_str()),
        error.as_ref().map(|error| error.message.as_str()),
        exit_code,
        usage.requests as i64,
        usage.input_tokens as i64,
        usage.cached_tokens as i64,
        usage.output_tokens as i64,
        usage.usd,
        micros(*duration),
        warnings,
        at(entry.at),
        untrusted,
    ])?;
    db.run("DELETE FROM processes WHERE run = ?1", params![blob(run)])?;
    close_approvals(db, run, entry)
}

/// Closes the pending approvals of a run.
fn close_approvals(db: &Sql, run: &RunId, entry: &Entry) -> SqlResult<()> {
    db.run("DELETE FROM outbox WHERE due IS NOT NULL AND approval IN (SELECT id FROM approvals WHERE run = ?1 AND decided_at IS NULL)", params![blob(run)])?;
    db.run("UPDATE approvals SET decided_at = ?2, approved = 0, reason = 'the run ended' WHERE run = ?1 AND decided_at IS NULL", params![blob(run), at(entry.at)])?;
    Ok(())
}

fn incident(db: &Sql, record: &IncidentRecord) -> SqlResult<()> {
    let known = db.change("UPDATE incidents SET severity = ?3, title = ?4, since = ?5, opened_at = ?6, seen_at = ?7, count = ?8,
               resolved_at = ?9, acked_at = ?10, told_at = ?11, opened_by = ?12, opened_in = ?13 WHERE agent = ?1 AND key = ?2 AND resolved_at IS NULL", &incident_row(record))?;
    if known == 0 {
        db.run("INSERT INTO incidents(agent, key, severity, title, since, opened_at, seen_at, count, resolved_at, acked_at, told_at, opened_by, opened_in)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)", &incident_row(record))?;
    }
    Ok(())
}

fn incident_row(record: &IncidentRecord) -> [Value<'_>; 13] {
    let instant = |at: Option<Timestamp>| at.map_or(Value::Null, |at| Value::Integer(to_micros(at)));
    [
        Value::Text(record.agent.as_str()),
        Value::Text(&record.key),
        Value::Text(record.severity.as_str()),
        Value::Text(&record.title),
        Value::Integer(at(record.since)),
        instant(record.opened_at),
        Value::Integer(at(record.seen_at)),
        Value::Integer(record.count as i64),
        instant(record.resolved_at),
        instant(record.acked_at),
        instant(record.told_at),
        Value::Text(record.by.as_str()),
        record.run.as_ref().map_or(Value::Null, |run| Value::Blob(run.as_bytes())),
    ]
}

fn output(db: &Sql, output: &CapturedOutput) -> SqlResult<()> {
    let CapturedOutput { run, attempt, chunks, keep_head, drop_before, dropped_bytes, .. } = output;
    for chunk in chunks {
        db.run(
            "INSERT INTO output(run, attempt, n, stream, at, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![blob(run), attempt, chunk.n as i64, chunk.stream.as_str(), at(chunk.at), chunk.text],
        )?;
    }
    if drop_before > keep_head {
        db.run(
            "DELETE FROM output WHERE run = ?1 AND attempt = ?2 AND n >= ?3 AND n < ?4",
            params![blob(run), attempt, *keep_head as i64, *drop_before as i64],
        )?;
    }
    if *dropped_bytes > 0 {
        db.run(
            "UPDATE runs SET dropped_bytes = ?2 WHERE id = ?1",
            params![blob(run), *dropped_bytes as i64],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! What is told of the newest event.
    use super::*;

    #[test]
    fn only_the_number_of_an_answer_changes() {
        for (answer, told) in [
            (r#"{"result":{"z":1,"seq":7,"a":[]}}"#, r#"{"result":{"z":1,"seq":42,"a":[]}}"#),
            (r#"{"result":{"seq":null}}"#, r#"{"result":{"seq":42}}"#),
            (r#"{"result":{"z":1}}"#, r#"{"result":{"z":1}}"#),
            (r#"{"error":{"seq":7}}"#, r#"{"error":{"seq":7}}"#),
            ("no answer", "no answer"),
        ] {
            assert_eq!(with_newest(answer, Seq(42)), told);
        }
    }
}
