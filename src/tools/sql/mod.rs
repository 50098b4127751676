//! `sql`: one statement with bound parameters on an SQLite or PostgreSQL database. What is read only is
//! made so by the database itself: see `guard` for SQLite and `postgres`.
//!
//! A connection lives as long as its call. Parameters are bound, never spliced into the text.
use super::contract::{About, Call, ToolOutput};
use super::settings;
use crate::domain::{Effect, SqlSettings, ToolError, ToolKind, ToolSettings};
use crate::secret;
use crate::tools::sql::statement::Statement;
use std::path::{Path, PathBuf};

pub(super) mod decode;
mod encode;
mod functions;
mod guard;
pub(super) mod names;
mod postgres;
mod rows;
mod sqlite;
mod statement;
pub(super) mod trouble;

/// What an instance is; without settings: what it might be at the worst.
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
        let path = sqlite_path(path)?;
        sqlite::run(path, settings.clone(), statement, bound).await
    } else {
        postgres::run(&url, settings, statement, bound).await
    };
    Ok(ToolOutput::of(result?))
}

/// The file of a database. That of the daemon itself is the daemon's alone.
pub(super) fn sqlite_path(path: &str) -> Result<PathBuf, ToolError> {
    let path = Path::new(match path.strip_prefix("//") {
        Some(rest) => rest,
        None => path,
    });
    let failed = |why: &str| Err(ToolError::Failed(format!("{}: {why}", path.display())));
    if !path.is_absolute() {
        return failed("the path of a database that stands in a secret must be absolute");
    }
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real.file_name().is_some_and(|name| name.eq_ignore_ascii_case("bgagent.db")) {
        return failed("this is the daemon's own database; `bgagent runs` and `bgagent events` read it");
    }
    match std::fs::metadata(&real) {
        Ok(about) if about.is_file() => Ok(real),
        Ok(_) => failed("this is not a file, so it is not a database"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            failed("there is no such database; it is never created, so check `url`")
        }
        Err(error) => failed(&format!("the database can't be opened: {error}")),
    }
}

#[cfg(test)]
mod tests;
