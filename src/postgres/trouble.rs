//! PostgreSQL's errors, with advice.
use crate::domain::ToolError;
use tokio_postgres::error::{ErrorPosition, SqlState};

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ConnectError {
    pub kind: ConnectErrorKind,
    /// What is wrong, where, and what to do about it.
    pub what: String,
}

/// Reasons for a failed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectErrorKind {
    /// The address, or a file that it names, is invalid; or the password is not available.
    Address,
    /// No response, or the server is starting, stopping or full. May be temporary.
    Unreachable,
    /// The server rejects this user, this password or this database.
    Refused,
    /// The connection can't be encrypted as the address requires.
    Encryption,
}

impl ConnectError {
    pub(super) fn new(kind: ConnectErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }

    /// Creates the error for a failed connection.
    pub(super) fn said(error: &tokio_postgres::Error, place: &str) -> Self {
        let kind = match error.code() {
            None => ConnectErrorKind::Unreachable,
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => ConnectErrorKind::Unreachable,
            // class 57: shutting down, starting up
            Some(code) if code.code().starts_with("57") => ConnectErrorKind::Unreachable,
            Some(_) => ConnectErrorKind::Refused,
        };
        Self::new(kind, format!("{place}: {}", explain(error, "")))
    }
}

impl From<ConnectError> for ToolError {
    fn from(error: ConnectError) -> Self {
        Self::Failed(error.what)
    }
}

/// Describes an error, with advice. The text of the statement is used to show the position.
pub fn explain(error: &tokio_postgres::Error, text: &str) -> String {
    let Some(said) = error.as_db_error() else {
        let mut cause: &dyn std::error::Error = error;
        let mut texts = vec![cause.to_string()];
        while let Some(inner) = cause.source() {
            texts.push(inner.to_string());
            cause = inner;
        }
        return texts.join(": ");
    };
    let mut out = said.message().to_owned();
    if let Some(ErrorPosition::Original(at)) = said.position() {
        let at = usize::try_from(*at).unwrap_or(1).saturating_sub(1);
        let near: String = text.chars().skip(at).take(30).collect();
        if !near.trim().is_empty() {
            out.push_str(&format!(", at `{}`", near.trim()));
        }
    }
    if let Some(detail) = said.detail() {
        out.push_str(&format!("; {detail}"));
    }
    match (advice(said.code()), said.hint()) {
        (Some(advice), _) => out.push_str(&format!("; {advice}")),
        (None, Some(hint)) => out.push_str(&format!("; {hint}")),
        (None, None) => {}
    }
    out
}

fn advice(code: &SqlState) -> Option<&'static str> {
    Some(match *code {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "check the user in `url`, `password`, and pg_hba.conf of the server"
        }
        SqlState::INVALID_CATALOG_NAME => "check the database's name in `url`",
        SqlState::READ_ONLY_SQL_TRANSACTION => "this database is read-only here",
        SqlState::UNDEFINED_TABLE => "information_schema.tables lists the tables",
        SqlState::UNDEFINED_COLUMN => "information_schema.columns lists the columns of each table",
        SqlState::INSUFFICIENT_PRIVILEGE => "the database's owner must GRANT that to the role",
        SqlState::QUERY_CANCELED => "it took too long: make it smaller, or use an index",
        SqlState::TOO_MANY_CONNECTIONS => "the server has no connection left: try again later",
        _ => return None,
    })
}
