//! What PostgreSQL says went wrong, with what to do about it.
use crate::tools::contract::ToolError;
use tokio_postgres::error::{ErrorPosition, SqlState};

/// What went wrong, with what to do about it. The text of the statement shows where.
pub(in crate::tools) fn explain(error: &tokio_postgres::Error, text: &str) -> ToolError {
    let Some(said) = error.as_db_error() else {
        let mut cause: &dyn std::error::Error = error;
        let mut texts = vec![cause.to_string()];
        while let Some(inner) = cause.source() {
            texts.push(inner.to_string());
            cause = inner;
        }
        return failed(&texts.join(": "));
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
    failed(&out)
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

pub(super) fn failed(text: &str) -> ToolError {
    ToolError::Failed(text.to_owned())
}
