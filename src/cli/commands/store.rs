//! `bgagent store`: copies of the database. None of them asks the daemon: a copy is made beside it, and
//! put in place while none runs.
use super::prelude::*;
use crate::cli::args::StoreCommand;
use crate::cli::render::bytes;
use crate::cli::service::absolute;
use crate::daemon;
use crate::store::{self, Copied, StoreError};
use serde_json::json;
use std::path::Path;

pub(in crate::cli) fn run(app: &mut App, command: &StoreCommand) -> Result<Outcome, Failure> {
    match command {
        StoreCommand::Backup { file, force } => back_up(app, file, *force),
        StoreCommand::Restore { copy } => restore(app, copy),
        StoreCommand::Reset => reset(app),
    }
}

fn back_up(app: &mut App, file: &Path, force: bool) -> Result<Outcome, Failure> {
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
        error => of_store(&error),
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
    let paths = app.paths()?.clone();
    let Copied { newest, bytes: size, before } =
        daemon::restore(&paths, &absolute(copy)).map_err(Failure::State)?;
    let view = json!({"database": paths.database(), "newest_seq": newest, "bytes": size, "before": before});
    app.answer(&view, |_, _| {
        let mut text = format!(
            "{} is restored up to event {}: the next daemon goes on from there\n",
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
    let paths = app.paths()?.clone();
    let before = daemon::reset(&paths).map_err(Failure::State)?;
    let view = json!({"database": paths.database(), "before": before});
    app.answer(&view, |_, _| match &before {
        Some(before) => format!(
            "what was there is {} now; the next daemon begins anew\n",
            plain(&before.display().to_string())
        ),
        None => "there was no database; the next daemon begins anew\n".into(),
    })?;
    Ok(Outcome::Done)
}

fn of_store(error: &StoreError) -> Failure {
    Failure::State(daemon::Refusal {
        what: error.to_string(),
        hint: error.hint(),
        code: if error.is_damage() { 65 } else { 74 },
    })
}
