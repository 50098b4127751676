//! `bgagent store`: backups of the database. None of these commands asks the daemon: a backup is made while it runs,
//! and restored while none runs.
use super::prelude::*;
use crate::cli::args::StoreCommand;
use crate::cli::render::bytes;
use crate::cli::service::absolute;
use crate::config;
use crate::daemon;
use crate::domain::{SecretRef, StoreSpec, counted};
use crate::store::{self, Copied, StoreError, Where};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

pub(in crate::cli) fn run(app: &mut App, command: &StoreCommand) -> Result<Outcome, Failure> {
    match command {
        StoreCommand::Backup { file, force } => back_up(app, file, *force),
        StoreCommand::Restore { copy } => restore(app, copy),
        StoreCommand::Reset => reset(app),
        StoreCommand::Copy { to, schema, password_file } => {
            let to = to_address(app, to, schema.as_deref(), password_file.as_deref())?;
            move_to(app, &to)
        }
    }
}

/// Parses the address of a database.
fn to_address(
    app: &mut App,
    to: &str,
    schema: Option<&str>,
    password_file: Option<&Path>,
) -> Result<Where, Failure> {
    let file = app.paths()?.database();
    if let Some(path) = to.strip_prefix("sqlite:") {
        if !path.is_empty() && absolute(Path::new(path)) != file {
            return Err(Failure::usage_hint(
                format!("records are kept in {}, and nowhere else", file.display()),
                "write --to sqlite:",
            ));
        }
        return Ok(Where { file, server: None });
    }
    let configured = app.records()?.server.filter(|spec| spec.url == to);
    let password = match (password_file, std::env::var_os("PGPASSWORD")) {
        (Some(path), _) => Some(SecretRef::File(absolute(path))),
        (None, Some(_)) => Some(SecretRef::Env("PGPASSWORD".into())),
        (None, None) => configured.as_ref().and_then(|spec| spec.password.clone()),
    };
    let schema = schema.map(str::to_owned).or_else(|| configured.as_ref().map(|spec| spec.schema.clone()));
    let spec = config::store_from_flags(to, schema.as_deref(), password)
        .map_err(|(what, hint)| Failure::Usage { what, hint })?;
    Ok(Where { file, server: Some(Arc::new(spec)) })
}

fn move_to(app: &mut App, to: &Where) -> Result<Outcome, Failure> {
    let records = app.records()?;
    let is_there = |spec: &StoreSpec| to.server.as_ref().is_some_and(|to| to.place() == spec.place());
    // records may already be where the configuration says, which is the destination
    let server = records.server.clone().filter(|spec| !is_there(spec));
    let from = Where { server, ..records };
    if from.place() == to.place() {
        return Err(Failure::usage_hint(
            format!("the records are at {} already", from.place()),
            "name the other database with --to: postgres://… or sqlite:",
        ));
    }
    let paths = app.paths()?.clone();
    let moved = daemon::move_records(&paths, &from, to).map_err(Failure::State)?;
    let view = json!({
        "from": moved.from, "to": moved.to, "newest_seq": moved.newest, "rows": moved.rows, "before": moved.before,
    });
    app.answer(&view, |_, _| {
        let next = match &to.server {
            Some(_) => "set [store] in the configuration to it, if it is not yet, and start the daemon",
            None => "take [store] out of the configuration, and start the daemon",
        };
        let before = moved.before.as_ref();
        let before = before.map(|path| format!("what was there is {} now\n", plain(&path.display().to_string())));
        format!(
            "{} up to event {}: {} -> {}\nthe old one is marked as moved, and refused from now on; {next}\n{}",
            counted(moved.rows, "row"),
            moved.newest.0,
            plain(&moved.from),
            plain(&moved.to),
            before.unwrap_or_default()
        )
    })?;
    Ok(Outcome::Done)
}

/// Fails unless records are in a file: only files are backed up here.
fn require_file(app: &mut App) -> Result<(), Failure> {
    match app.records()?.server {
        None => Ok(()),
        Some(spec) => Err(Failure::Conflict {
            what: format!("records are kept at {}, and not in a file", spec.place()),
            hint: format!("pg_dump --schema={} makes a copy, pg_restore puts it in place", spec.schema),
        }),
    }
}

fn back_up(app: &mut App, file: &Path, force: bool) -> Result<Outcome, Failure> {
    require_file(app)?;
    let database = app.paths()?.database();
    let file = absolute(file);
    let copied = store::back_up(&database, &file, force).map_err(|error| match error {
        StoreError::Refused { .. } => Failure::Conflict {
            what: error.to_string(),
            hint: "name another file, or give --force to replace it".into(),
        },
        StoreError::NoPlace { .. } => Failure::usage_hint(
            error.to_string(),
            "name a file in a folder that is there: bgagent store backup FOLDER/bgagent.db",
        ),
        error => store_failure(&error),
    })?;
    let view = json!({"file": file, "newest_seq": copied.newest, "bytes": copied.bytes});
    app.answer(&view, |_, _| {
        format!(
            "{}  {} up to event {}\n",
            plain(&file.display().to_string()),
            bytes(copied.bytes),
            copied.newest.0
        )
    })?;
    Ok(Outcome::Done)
}

fn restore(app: &mut App, copy: &Path) -> Result<Outcome, Failure> {
    require_file(app)?;
    let paths = app.paths()?.clone();
    let Copied { newest, bytes: size, before } =
        daemon::restore(&paths, &absolute(copy)).map_err(Failure::State)?;
    let view = json!({"database": paths.database(), "newest_seq": newest, "bytes": size, "before": before});
    app.answer(&view, |_, _| {
        let mut text = format!(
            "{} is restored up to event {}: the next daemon continues from there\n",
            plain(&paths.database().display().to_string()),
            newest.0
        );
        if let Some(before) = &before {
            text.push_str(&format!("what was there is {} now\n", plain(&before.display().to_string())));
        }
        text
    })?;
    Ok(Outcome::Done)
}

fn reset(app: &mut App) -> Result<Outcome, Failure> {
    require_file(app)?;
    let paths = app.paths()?.clone();
    let before = daemon::reset(&paths).map_err(Failure::State)?;
    let view = json!({"database": paths.database(), "before": before});
    app.answer(&view, |_, _| match &before {
        Some(before) => format!(
            "what was there is {} now; the next daemon starts afresh\n",
            plain(&before.display().to_string())
        ),
        None => "there was no database; the next daemon starts afresh\n".into(),
    })?;
    Ok(Outcome::Done)
}

fn store_failure(error: &StoreError) -> Failure {
    Failure::State(daemon::Refusal {
        what: error.to_string(),
        hint: error.hint(),
        code: if error.is_damage() { 65 } else { 74 },
    })
}
