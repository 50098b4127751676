//! Archives: moves rows that are old enough from a table to objects in a folder or a bucket, or to another
//! table: copy, verify, then delete, chunk by chunk.
//!
//! # Theory of operation
//!
//! Chunks are read in key order, so that memory use is bounded. The steps of a chunk that goes to objects:
//!
//! 1. *write*: the rows are written to `ID.jsonl.zst`, atomically. The object does not count yet.
//! 2. *verify*: the object is read back; size, checksum and number of rows must match what was written.
//! 3. *intend*: `pending/ID.json` records that these rows are about to be deleted.
//! 4. *delete*: one transaction locks the rows, compares each with what was written, and deletes exactly those.
//!    If one differs, none is deleted: the object is discarded, and the chunk is rewritten without that row.
//! 5. *seal*: writing `ID.json`, the manifest, makes the object count with all its rows; the intent is removed.
//!
//! So at any instant a row is in exactly one place: all rows of a sealed object are archived; of an object
//! with an intent, exactly those rows are archived that are no longer in the database (step 4 deletes all or
//! none, but other clients may write too); any other object does not count. A run begins by recovering
//! interrupted steps according to that rule (`Objects::mend`). Recovery needs no state of its own: everything
//! is at the source and the destination. Restoring rows is the same protocol in reverse, with its own intent.
//!
//! Only one archive works on a table at a time. A lock on the side of the source ensures that; it is held
//! until every statement sent to the database has finished, even if this process is killed.
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
pub use run::ProgressSink;

/// Returns the settings of a tool of type `archive_rows`, or those given in the arguments of a call of
/// `archive_rows` itself.
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

/// Archives rows that are old enough, within the time bound. Progress is reported to `tell` from time to
/// time.
pub async fn run(
    settings: ArchiveSettings,
    bound: Duration,
    tell: ProgressSink<'_>,
    store: Option<Store>,
) -> Result<Value, ToolError> {
    run::run(&Plan::new(settings), Instant::now(), bound, tell, store).await
}

/// Answers a question about the archive of this tool, or restores rows. It has the same time bound as a call
/// of the tool.
pub async fn ask(
    tool: &str,
    settings: ArchiveSettings,
    ask: Ask,
    bound: Duration,
    store: Option<Store>,
) -> Result<Value, ToolError> {
    let answer =
        async move { restore::answer(&Plan::new(settings), &ask, Instant::now(), bound, store).await };
    // A person asks. Changes to the archive are journaled and idempotent, so the call counts as a read.
    let answer = bounded(tool, Effect::Read, bound, answer).await?;
    fitting(tool, Effect::Read, answer)
}
