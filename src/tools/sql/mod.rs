//! `sql`: one statement with bound parameters on an SQLite or PostgreSQL database. Read-only access is
//! enforced by the database itself: see `guard` for SQLite and `postgres`.
//!
//! A connection lives as long as its call. Parameters are bound, never spliced into the text.
use super::contract::{About, Call, ToolOutput};
use super::settings;
use crate::domain::{Effect, SqlSettings, ToolError, ToolKind, ToolSettings};
use crate::secret;
use crate::sqlite_file::sqlite_file;
use crate::tools::sql::statement::Statement;

mod decode;
mod encode;
mod functions;
mod guard;
mod names;
mod postgres;
mod rows;
mod sqlite;
mod statement;
mod trouble;

/// Describes an instance; without settings, the strongest effect that one could have.
pub(super) fn about(settings: Option<&SqlSettings>) -> About {
    let writes = settings.is_none_or(|settings| settings.mode.writes());
    About { effect: if writes { Effect::Effect } else { Effect::Read }, reads_when: None, untrusted: true }
}

/// Runs a statement.
pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let ToolSettings::Sql(Some(settings)) = &*call.settings else {
        return Err(settings::missing(ToolKind::Sql.as_str()));
    };
    let statement = Statement::of(call.arguments()?, settings)?;
    let bound = settings.timeout.unsigned_abs().min(call.bound);
    let url =
        secret::value_of(&settings.url, bound).await.map_err(|error| ToolError::Failed(error.to_string()))?;
    let result = if let Some(path) = url.strip_prefix("sqlite:") {
        let path = sqlite_file(path)?;
        sqlite::run(path, settings.clone(), statement, bound).await
    } else {
        postgres::run(&url, settings, statement, bound).await
    };
    Ok(ToolOutput::of(result?))
}

#[cfg(test)]
mod tests;
