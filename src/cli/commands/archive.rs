//! `bgagent archive list | verify | restore`: lists, verifies and restores archived rows.
use super::prelude::*;
use crate::cli::args::{ArchiveCommand, RestoreArgs};
use crate::cli::render::bytes;
use crate::cli::when;
use crate::domain::counted;
use crate::protocol::{ArchiveAction, ArchiveParams, AskArchive, ToolResultView};
use serde_json::Value;
use std::time::Duration;

/// Timeout of the answer; the daemon enforces its own limit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25 * 3600);

pub(in crate::cli) fn run(app: &mut App, command: &ArchiveCommand) -> Result<Outcome, Failure> {
    match command {
        ArchiveCommand::List { archive } => {
            let given = ask(app, params(archive, ArchiveAction::List))?;
            app.answer(&given.result, list)?;
            for problem in given.result["problems"].as_array().into_iter().flatten() {
                app.note(&format!("wrong: {}", text(problem)));
            }
            print_pending(app, &given.result);
            let is_whole = given.result["problems"].as_array().is_none_or(Vec::is_empty);
            Ok(if is_whole { Outcome::Done } else { Outcome::Negative })
        }
        ArchiveCommand::Verify { archive } => {
            let given = ask(app, params(archive, ArchiveAction::Verify))?;
            app.answer(&given.result, |found, _| verified(found))?;
            print_notes(app, &given.result);
            print_pending(app, &given.result);
            Ok(if given.result["ok"] == true { Outcome::Done } else { Outcome::Negative })
        }
        ArchiveCommand::Restore(args) => restore(app, args),
    }
}

fn params(archive: &str, action: ArchiveAction) -> ArchiveParams {
    ArchiveParams {
        archive: archive.to_owned(),
        action,
        from: None,
        to: None,
        key: Vec::new(),
        dry_run: false,
    }
}

fn ask(app: &mut App, params: ArchiveParams) -> Result<ToolResultView, Failure> {
    let mut connection = app.connect()?;
    connection.set_answer_timeout(ANSWER_TIMEOUT);
    Ok(connection.call::<AskArchive>(&params)?)
}

fn restore(app: &mut App, args: &RestoreArgs) -> Result<Outcome, Failure> {
    let (now, zone) = (app.screen.now, app.screen.zone.clone());
    let time = |text: &Option<String>| text.as_deref().map(|text| when::past(text, now, &zone)).transpose();
    let params = ArchiveParams {
        from: time(&args.from)?,
        to: time(&args.to)?,
        key: args.key.clone(),
        dry_run: args.dry_run,
        ..params(&args.archive, ArchiveAction::Restore)
    };
    let given = ask(app, params)?;
    app.answer(&given.result, |done, _| restored(done))?;
    print_notes(app, &given.result);
    let count = |key: &str| given.result[key].as_u64().unwrap_or(0);
    let stays = count("conflicts") + count("refused");
    let is_whole = given.result["damaged"].as_array().is_none_or(Vec::is_empty);
    let found = count("restored") + count("there") + stays > 0;
    if !found && is_whole {
        app.note("nothing that was asked for is archived: `bgagent archive list NAME` shows keys and times");
    }
    // rows that stay archived although the caller asked for them are not a success
    Ok(if found && stays == 0 && is_whole { Outcome::Done } else { Outcome::Negative })
}

fn print_notes(app: &mut App, found: &Value) {
    for note in found["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        app.note(&plain(note));
    }
}

fn print_pending(app: &mut App, found: &Value) {
    if found["pending"].as_u64().is_some_and(|count| count > 0) {
        app.note("a step was broken off: the next run of the archive finishes or undoes it");
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Null => "–".into(),
        other => other.to_string(),
    }
}

/// Returns the date part of a timestamp.
fn day(value: &Value) -> String {
    value.as_str().map_or_else(|| "–".into(), |text| plain(text.split('T').next().unwrap_or(text)))
}

fn list(found: &Value, screen: &Screen) -> String {
    let mut table = Table::new()
        .shrinking("OBJECT", 20)
        .column("ROWS")
        .column("SIZE")
        .column("OLDEST")
        .column("NEWEST")
        .shrinking("FIRST KEY", 8)
        .shrinking("LAST KEY", 8);
    for one in found["objects"].as_array().into_iter().flatten() {
        table.row(vec![
            Cell::toned(Tone::Strong, text(&one["object"])),
            text(&one["rows"]).into(),
            bytes(one["stored"].as_u64().unwrap_or(0)).into(),
            day(&one["oldest"]).into(),
            day(&one["newest"]).into(),
            text(&one["first"]).into(),
            text(&one["last"]).into(),
        ]);
    }
    let count = found["objects"].as_array().map_or(0, Vec::len);
    let sum = format!(
        "{} in {}, {} ({} unpacked), in {}\n",
        counted(found["rows"].as_u64().unwrap_or(0), "row"),
        counted(count, "object"),
        bytes(found["stored"].as_u64().unwrap_or(0)),
        bytes(found["bytes"].as_u64().unwrap_or(0)),
        text(&found["place"])
    );
    if count == 0 { sum } else { table.render(screen) + &sum }
}

fn verified(found: &Value) -> String {
    let mut out = String::new();
    for problem in found["problems"].as_array().into_iter().flatten() {
        out.push_str(&format!("wrong: {}\n", text(problem)));
    }
    let verdict = if found["ok"] == true { "all is whole" } else { "NOT whole" };
    out + &format!(
        "{verdict}: {} in {}, in {}\n",
        counted(found["rows"].as_u64().unwrap_or(0), "row"),
        counted(found["objects"].as_u64().unwrap_or(0), "object"),
        text(&found["place"])
    )
}

fn restored(done: &Value) -> String {
    let verb = if done["dry_run"] == true { "would be put back" } else { "put back" };
    let damaged = done["damaged"].as_array().into_iter().flatten().filter_map(|one| one["rows"].as_u64());
    format!(
        "{}: {} {verb}, {} there already, {} still archived\n",
        text(&done["table"]),
        counted(done["restored"].as_u64().unwrap_or(0), "row"),
        text(&done["there"]),
        done["conflicts"].as_u64().unwrap_or(0)
            + done["refused"].as_u64().unwrap_or(0)
            + damaged.sum::<u64>()
    )
}
