//! A statement on a PostgreSQL server: with its own connection and its own transaction, one statement by the
//! extended protocol. For a read-only instance, the transaction is read-only, can't be made writable, and is
//! never committed; a role that can bypass that is refused. Side effects of functions other than changes of
//! the database (a role may terminate its own other sessions) must be controlled by grants: an agent should
//! have its own role.
use super::decode::{self, Came};
use super::encode::Bound;
use super::names;
use super::rows::Rows;
use super::statement::Statement;
use crate::domain::{SqlParams, SqlSettings, ToolError, size};
use crate::postgres::{Address, Link};
use crate::tools::sql::trouble::{explain, failed};
use futures_util::TryStreamExt;
use serde_json::Value;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_postgres::error::Severity;
use tokio_postgres::{Client, Statement as Prepared};

/// Statements that read.
const READS: &[&str] = &["select", "with", "values", "table", "explain", "show"];
/// Statements that change rows.
const CHANGES: &[&str] = &["insert", "update", "delete", "merge"];

pub(super) async fn run(
    url: &str,
    settings: &SqlSettings,
    statement: Statement,
    bound: Duration,
) -> Result<Value, ToolError> {
    let word = names::first_word(&statement.text);
    let configured = settings.statements.values().any(|text| *text == statement.text);
    allowed(&word, settings, configured)?;
    let (text, values) = match statement.params {
        SqlParams::List(list) => (statement.text, list),
        SqlParams::Named(map) => names::numbered(&statement.text, &map)
            .map_err(|why| ToolError::Arguments(format!("`params`: {why}")))?,
    };
    let address = Address::of(url, settings.password.as_ref(), bound).await?;
    let place = address.place.clone();
    // Until COMMIT is sent, any failure leaves everything unchanged.
    let committing = AtomicBool::new(false);
    let work = async {
        let mut link = Link::open(address).await?;
        let mut outcome = transaction(&link.client, settings, &word, &text, values, bound).await;
        if outcome.is_ok() && settings.mode.writes() {
            committing.store(true, Ordering::Relaxed);
            outcome = commit(&link.client).await.and(outcome);
        } else if outcome.as_ref().is_ok_and(|result| result["truncated"] == false) {
            // A pooler closes a connection whose transaction was left open. After an incomplete result,
            // ROLLBACK would wait for the rest of it.
            let _ = link.client.batch_execute("ROLLBACK").await;
        }
        link.is_done();
        if matches!(outcome, Err(ToolError::Failed(_))) && link.was_too_much() {
            return Err(failed(
                "more than 16 MiB came: ask for fewer rows, or for a part of the long values",
            ));
        }
        outcome
    };
    let result = match tokio::time::timeout(bound, work).await {
        Ok(result) => result,
        Err(_) if committing.into_inner() => Err(unsure("the database did not answer in time")),
        Err(_) => Err(failed("the database did not answer in time; the statement was cancelled")),
    };
    // Names the database.
    result.map_err(|error| match error {
        ToolError::Failed(why) if !why.starts_with(&place) => failed(&format!("{place}: {why}")),
        ToolError::Unsure(why) => ToolError::Unsure(format!("{place}: {why}")),
        other => other,
    })
}

fn allowed(word: &str, settings: &SqlSettings, configured: bool) -> Result<(), ToolError> {
    if READS.contains(&word) {
        return Ok(());
    }
    if !settings.mode.writes() {
        return Err(failed(&format!(
            "this database is read-only here: use {}",
            READS.join(", ").to_uppercase()
        )));
    }
    if CHANGES.contains(&word) || configured || (settings.ddl && word != "copy") {
        return Ok(());
    }
    Err(failed("only SELECT, INSERT, UPDATE, DELETE and MERGE run here"))
}

/// Runs the statement in its own transaction.
async fn transaction(
    client: &Client,
    settings: &SqlSettings,
    word: &str,
    text: &str,
    values: Vec<Value>,
    bound: Duration,
) -> Result<Value, ToolError> {
    let said = |error: tokio_postgres::Error| explain(&error, text);
    let begin = if settings.mode.writes() { "BEGIN READ WRITE" } else { "BEGIN READ ONLY" };
    let ms = bound.as_millis().clamp(1, 86_400_000);
    // Settings end with the transaction: a pooler lends the connection to others after it.
    let begin = format!(
        "{begin}; SET LOCAL statement_timeout = {ms}; SET LOCAL idle_in_transaction_session_timeout = {ms}"
    );
    client.batch_execute(&begin).await.map_err(said)?;
    if !settings.mode.writes() {
        // After the first query, the transaction can no longer be made writable.
        refuse_superuser(client).await?;
    }
    let prepared = prepare(client, word, text).await.map_err(said)?;
    let wanted = prepared.params().len();
    if wanted != values.len() {
        let given = values.len();
        let why = format!("`params`: the statement has {wanted} parameters, and {given} values were given");
        return Err(ToolError::Arguments(why));
    }
    let names: Vec<&str> = prepared.columns().iter().map(|column| column.name()).collect();
    let mut rows = Rows::new(names.iter().copied(), size(settings.max_rows));
    let found = client.query_raw(&prepared, values.into_iter().map(Bound)).await.map_err(said)?;
    let mut found = pin!(found);
    while let Some(row) = found.try_next().await.map_err(said)? {
        if rows.is_full() {
            if settings.mode.writes() {
                continue;
            }
            break;
        }
        let values: Vec<Value> = (0..names.len())
            .map(|at| row.try_get::<_, Came>(at).map(|came| came.0))
            .collect::<Result<_, _>>()
            .map_err(said)?;
        rows.push(values.into_iter());
    }
    let changed = match found.rows_affected() {
        Some(count) if CHANGES.contains(&word) => Some(count),
        _ if word == "with" && settings.mode.writes() => None,
        _ => Some(0),
    };
    Ok(rows.into_result(changed))
}

/// Prepares the statement. Values of types that can't be decoded are requested as the server's text
/// representation: then the statement is wrapped in another one with casts to text.
async fn prepare(client: &Client, word: &str, text: &str) -> Result<Prepared, tokio_postgres::Error> {
    let prepared = client.prepare(text).await?;
    let columns = prepared.columns();
    if columns.iter().all(|column| decode::knows(column.type_())) {
        return Ok(prepared);
    }
    let short: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
    let texts: Vec<String> = columns
        .iter()
        .zip(&short)
        .map(|(column, name)| {
            let cast = if decode::knows(column.type_()) { "" } else { "::pg_catalog.text" };
            format!("q.{name}{cast} AS \"{}\"", column.name().replace('"', "\"\""))
        })
        .collect();
    let text = names::without_end(text);
    let (short, texts) = (short.join(", "), texts.join(", "));
    let whole = match word {
        "select" | "with" | "values" | "table" => format!("SELECT {texts} FROM (\n{text}\n) AS q({short})"),
        _ => format!("WITH q({short}) AS (\n{text}\n) SELECT {texts} FROM q"),
    };
    // A statement that can't be wrapped is run as it is.
    client.batch_execute("SAVEPOINT whole").await?;
    match client.prepare(&whole).await {
        Ok(wrapped) if wrapped.params() == prepared.params() => Ok(wrapped),
        _ => client.batch_execute("ROLLBACK TO SAVEPOINT whole").await.map(|()| prepared),
    }
}

/// Commits the transaction. It is a plain failure only if the server answers that it did not commit: after a
/// lost connection, the outcome is unknown.
async fn commit(client: &Client) -> Result<(), ToolError> {
    client.batch_execute("COMMIT").await.map_err(|error| {
        let refused = error.as_db_error().is_some_and(|said| said.parsed_severity() == Some(Severity::Error));
        match explain(&error, "") {
            ToolError::Failed(why) if !refused => unsure(&why),
            other => other,
        }
    })
}

fn unsure(why: &str) -> ToolError {
    ToolError::Unsure(format!("{why}; it was just committing, and nobody knows whether the change was made"))
}

/// Refuses a superuser, who can access files and run programs even in a read-only transaction.
async fn refuse_superuser(client: &Client) -> Result<(), ToolError> {
    const ASK: &str = "SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(current_user, oid, 'MEMBER') \
         AND (rolsuper OR rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'))";
    let found = client.simple_query(ASK).await.map_err(|error| explain(&error, ASK))?;
    let is_privileged =
        found.iter().any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_)));
    if is_privileged {
        return Err(failed(
            "the role of `url` is a superuser or may use the server's files and programs, which no read-only \
             transaction prevents: CREATE ROLE reader LOGIN; GRANT SELECT ON … TO reader, and use that role",
        ));
    }
    Ok(())
}
