//! What must hold of every database, whatever happened to its daemon.
use super::support::open;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// What a check counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub events: i64,
    pub runs: i64,
    pub slots: i64,
}

/// Checks a database that no daemon has open, or panics with all that is wrong.
/// `witness`: lines `agent slot run attempt` that the children wrote. `every`: interval agents whose
/// slots must be covered without a hole, with their period in microseconds.
#[track_caller]
pub fn check(database: &Path, witness: Option<&Path>, every: &[(&str, i64)]) -> Counted {
    let db = open(database);
    let mut wrong = Vec::new();
    let mut counted = Counted::default();
    integrity(&db, &mut wrong);
    sequence(&db, &mut wrong, &mut counted);
    ledger(&db, every, &mut wrong, &mut counted);
    runs(&db, &mut wrong, &mut counted);
    counters(&db, &mut wrong);
    if let Some(witness) = witness {
        witnessed(&db, witness, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    counted
}

fn rows<T>(
    db: &Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let mut statement = db.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    statement.query_map([], read).expect(sql).collect::<Result<_, _>>().expect(sql)
}

fn integrity(db: &Connection, wrong: &mut Vec<String>) {
    for line in rows(db, "PRAGMA integrity_check", |row| row.get::<_, String>(0)) {
        if line != "ok" {
            wrong.push(format!("integrity: {line}"));
        }
    }
}

/// `seq` has no gap.
fn sequence(db: &Connection, wrong: &mut Vec<String>, counted: &mut Counted) {
    let (first, last, count) = db
        .query_row("SELECT min(seq), max(seq), count(*) FROM events", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .expect("there are events");
    if last - first + 1 != count {
        wrong.push(format!("events: {count} of {first}..={last}"));
    }
    counted.events = count;
}

/// No slot has two verdicts; slots of intervals are all there.
fn ledger(db: &Connection, every: &[(&str, i64)], wrong: &mut Vec<String>, counted: &mut Counted) {
    let all =
        rows(db, "SELECT agent, first, last, count, verdict FROM ledger ORDER BY agent, first", |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, i64>(3)?,
                row.get::<_, String>(4)?,
            ))
        });
    let periods: HashMap<&str, i64> = every.iter().copied().collect();
    let mut newest: HashMap<String, i64> = HashMap::new();
    for (agent, first, last, count, verdict) in all {
        counted.slots += count;
        if newest.get(&agent).is_some_and(|newest| first <= *newest) {
            wrong.push(format!("{agent}: {verdict} at {first} overlaps an earlier record"));
        }
        if let Some(period) = periods.get(agent.as_str()) {
            if (last - first) / period + 1 != count {
                wrong.push(format!("{agent}: {verdict} {first}..={last} holds {count} slots"));
            }
            if let Some(newest) = newest.get(&agent).filter(|newest| first - **newest != *period) {
                wrong.push(format!("{agent}: no verdict between {newest} and {first}"));
            }
        }
        newest.insert(agent, last);
    }
    for (agent, _) in every {
        if !newest.contains_key(*agent) {
            wrong.push(format!("{agent}: no verdict at all"));
        }
    }
}

/// Every claim has a verdict, every `ran` has a claim unless it says that all was well, and no run that
/// ended has processes.
fn runs(db: &Connection, wrong: &mut Vec<String>, counted: &mut Counted) {
    let claimed: BTreeSet<(String, i64)> =
        rows(db, "SELECT agent, slot FROM runs WHERE slot IS NOT NULL", |row| Ok((row.get(0)?, row.get(1)?)))
            .into_iter()
            .collect();
    let ran: BTreeSet<(String, i64)> =
        rows(db, "SELECT agent, first FROM ledger WHERE verdict = 'ran' AND cause <> 'all well'", |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .into_iter()
        .collect();
    for (agent, slot) in claimed.symmetric_difference(&ran) {
        wrong.push(format!("{agent}: slot {slot} is claimed or ran, not both"));
    }
    let odd: i64 = db
        .query_row(
            "SELECT count(*) FROM ledger WHERE cause = 'all well' AND (verdict <> 'ran' OR run IS NOT NULL)",
            [],
            |row| row.get(0),
        )
        .expect("a count");
    if odd > 0 {
        wrong.push(format!("{odd} records say that all was well and are not of runs without a record"));
    }
    counted.runs = db.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).expect("a count");
    let left: i64 = db
        .query_row(
            "SELECT count(*) FROM processes WHERE run IN (SELECT id FROM runs WHERE finished_at IS NOT NULL)",
            [],
            |row| row.get(0),
        )
        .expect("a count");
    if left > 0 {
        wrong.push(format!("{left} processes of runs that ended"));
    }
}

/// Counters equal a recount.
fn counters(db: &Connection, wrong: &mut Vec<String>) {
    let sql = "SELECT a.id, a.successes, a.errors, a.skipped,
        (SELECT count(*) FROM runs r WHERE r.agent = a.id AND r.status = 'completed')
          + (SELECT coalesce(sum(count), 0) FROM ledger l WHERE l.agent = a.id AND l.cause = 'all well'),
        (SELECT count(*) FROM runs r WHERE r.agent = a.id AND r.status IN ('failed', 'timed_out', 'interrupted', 'unverified')),
        (SELECT coalesce(sum(count), 0) FROM ledger l WHERE l.agent = a.id AND l.verdict <> 'ran')
        FROM agents a";
    for (agent, kept, counted) in rows(db, sql, |row| {
        let of = |from: usize| {
            Ok::<_, rusqlite::Error>([row.get::<_, i64>(from)?, row.get(from + 1)?, row.get(from + 2)?])
        };
        Ok((row.get::<_, String>(0)?, of(1)?, of(4)?))
    }) {
        if kept != counted {
            wrong.push(format!(
                "{agent}: successes, errors, skipped are {kept:?}, a recount gives {counted:?}"
            ));
        }
    }
}

/// What the children saw: no slot twice, and nothing that was not claimed.
fn witnessed(db: &Connection, witness: &Path, wrong: &mut Vec<String>) {
    let known: BTreeSet<String> =
        rows(db, "SELECT lower(hex(id)) FROM runs", |row| row.get::<_, String>(0)).into_iter().collect();
    let mut starts: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for line in std::fs::read_to_string(witness).unwrap_or_default().lines() {
        let [agent, slot, run, attempt] = line.split(' ').collect::<Vec<_>>()[..] else {
            wrong.push(format!("witness: half a line: {line}"));
            continue;
        };
        if !seen.insert((run.to_owned(), attempt.to_owned())) {
            wrong.push(format!("{agent}: attempt {attempt} of run {run} started twice"));
        }
        if !known.contains(&run.replace('-', "")) {
            wrong.push(format!("{agent}: run {run} was never claimed"));
        }
        starts.entry((agent.to_owned(), slot.to_owned())).or_default().insert(run.to_owned());
    }
    for ((agent, slot), runs) in starts {
        if !slot.is_empty() && runs.len() > 1 {
            wrong.push(format!("{agent}: slot {slot} started {} runs", runs.len()));
        }
    }
}
