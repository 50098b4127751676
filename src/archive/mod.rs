//! Archives: moves rows that are old enough from a table to objects in a folder or a bucket, or to
//! another table: copy, verify, then delete, chunk by chunk.
//!
//! # Theory of operation
//!
//! A chunk is read in the order of the key, so that memory is bounded. Its way to objects:
//!
//! 1. *write*: the rows become `ID.jsonl.zst`, whole or not at all. Nothing counts it yet.
//! 2. *verify*: the object is read back; size, checksum and number of rows must be what was written.
//! 3. *intend*: `pending/ID.json` says that these rows are about to be deleted.
//! 4. *delete*: one transaction compares each row, whole, under lock with what was written, and deletes exactly
//!    those rows. If one differs, none is deleted: the chunk is taken back and written anew without it.
//! 5. *seal*: `ID.json`, the manifest, makes the object count with all its rows; the intent goes.
//!
//! So at any instant a row is in one place: what is sealed is archived with all its rows; of an object with an
//! intent, exactly those rows are archived that are no longer in the database (step 4 takes all or none, but
//! others may write too); any other object counts for nothing. A run begins by settling what was broken off by
//! that rule (`Objects::mend`). It needs no memory of its own for that: all is at the source and the
//! destination. Putting rows back is the same way in reverse, with an intent of its own.
//!
//! Only one archive works on a table at a time: a lock on the side of the source sees to that, and it is held
//! until what was sent to the database has come to its end, also when this process is killed.
//!
//! For rows that go to another table see `tables`.
use crate::bounded::{bounded, fitting};
use crate::domain::{ArchiveSettings, Effect, ToolError, ToolSettings};
use crate::store::Store;
use plan::Plan;
use serde::Deserialize;
use serde_json::Value;
use std::time::{Duration, Instant};
use trouble::failed;

mod ask;
mod journal;
mod look;
mod object;
mod objects;
mod owner;
mod plan;
mod point;
mod restore;
mod row;
mod run;
mod shelf;
mod source;
mod tables;
mod tally;
mod trouble;

pub use ask::{Ask, Range};
pub use run::Tell;

/// The settings of a tool of type `archive_rows`, or those that stand in the arguments of a call of that tool itself.
pub fn settings(tool: &str, settings: &ToolSettings, args: &Value) -> Result<ArchiveSettings, ToolError> {
    match settings {
        ToolSettings::ArchiveRows(Some(settings)) => Ok((**settings).clone()),
        ToolSettings::ArchiveRows(None) if args.get("from").is_some() => ArchiveSettings::deserialize(args)
            .map_err(|error| ToolError::Arguments(format!("tool `archive_rows`: {error}"))),
        ToolSettings::ArchiveRows(None) => Err(failed(
            "archive_rows needs to know from where and to where: define a table such as [tools.my_archive] with \
             type = \"archive_rows\", `from` and `to`, and call that",
        )),
        _ => Err(ToolError::Arguments(format!(
            "tool `{tool}` is not an archive: name one of type archive_rows"
        ))),
    }
}

/// Archives what is old enough, as far as the time goes. `tell` hears from time to time how far it is.
pub async fn run(
    settings: ArchiveSettings,
    bound: Duration,
    tell: Tell<'_>,
    store: Option<Store>,
) -> Result<Value, ToolError> {
    run::run(&Plan::new(settings), Instant::now(), bound, tell, store).await
}

/// Answers a question about the archive of this tool, or puts rows back. It is bounded as a call of the tool is.
pub async fn ask(
    tool: &str,
    settings: ArchiveSettings,
    ask: Ask,
    bound: Duration,
    store: Option<Store>,
) -> Result<Value, ToolError> {
    let answer =
        async move { restore::answer(&Plan::new(settings), &ask, Instant::now(), bound, store).await };
    // A person asks; what an archive does it journals, and does once however often it is asked.
    let answer = bounded(tool, Effect::Read, bound, answer).await?;
    fitting(tool, Effect::Read, answer)
}
