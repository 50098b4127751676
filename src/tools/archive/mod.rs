//! `archive_rows`: moves rows that are old enough from a table to objects in a folder or a bucket, or to
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
use super::{Call, Effect, ToolError, ToolOutput, catalog::About, settings};
use crate::domain::{SecretRef, TextOrSecret};
use crate::store::Store;
use crate::tools::s3;
use journal::Journal;
use objects::Objects;
use row::Unit;
use serde_json::{Value, json};
use shelf::Shelf;
use source::{Db, Filter, Place, Table, TableSpec};
use std::time::{Duration, Instant};
use tables::Tables;

mod journal;
mod look;
mod object;
mod objects;
mod owner;
mod restore;
mod row;
mod run;
mod shelf;
mod source;
mod tables;

pub use restore::{Ask, Range};

/// Rows of a chunk where the settings say nothing.
const CHUNK_ROWS: usize = 10_000;
/// Bytes of the lines of a chunk; what is held in memory is a small multiple of it.
const CHUNK_BYTES: usize = 16 << 20;
/// Compression where the settings say nothing.
const LEVEL: i32 = 3;

/// What the configuration says.
pub(super) struct Settings {
    from: Place,
    table: TableSpec,
    /// Rows are old enough when they are older than this.
    older_than: Duration,
    only: Vec<(String, Vec<Value>)>,
    to: Destination,
    chunk_rows: usize,
    max_rows: Option<u64>,
    max_time: Option<Duration>,
    /// False: a rehearsal. What was written and verified is taken away again.
    delete: bool,
    level: i32,
}

/// Where rows go.
enum Destination {
    Folder(String),
    Bucket(Box<s3::Settings>, String),
    Table(Place, String),
}

/// Where rows go, ready to take them.
enum Target {
    Objects(Box<Objects>, Journal),
    Table(Box<Tables>),
}

impl Target {
    /// Where it is, for people.
    fn place(&self) -> String {
        match self {
            Self::Objects(objects, _) => objects.shelf.place(),
            Self::Table(tables) => tables.place(),
        }
    }
}

/// What an instance is.
pub(super) fn about(settings: &Value) -> About {
    let properties = if settings.is_object() {
        json!({})
    } else {
        // Without an instance, an agent's `args` are the settings; the configuration checks them.
        json!({
            "from": {"type": "object"}, "to": {"type": "object"}, "chunk_rows": {"type": "integer"},
            "max_rows": {"type": "integer"}, "max_time": {"type": "number"}, "delete": {"type": "boolean"},
            "level": {"type": "integer"},
        })
    };
    About {
        effect: Effect::Idempotent,
        reads_when: None,
        untrusted: false,
        schema: json!({"type": "object", "additionalProperties": false, "properties": properties}),
    }
}

/// Archives what is old enough, as far as the time goes.
pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let began = Instant::now();
    let settings = Settings::of_call(&call.settings, &call.args)?;
    run::run(&settings, began, call.bound, call.context.progress.as_ref(), call.context.store.clone())
        .await
        .map(ToolOutput::of)
}

/// Answers a question about an archive, or puts rows back.
pub(super) async fn ask(
    settings: &Value,
    ask: &Ask,
    bound: Duration,
    store: Option<Store>,
) -> Result<Value, ToolError> {
    let settings = Settings::of_call(settings, &Value::Null)?;
    restore::answer(&settings, ask, Instant::now(), bound, store).await
}

impl Settings {
    fn of_call(settings: &Value, args: &Value) -> Result<Self, ToolError> {
        let settings = if settings.get("from").is_some() { settings } else { args };
        Self::of(settings).ok_or_else(|| {
            failed(
                "archive_rows needs to know from where and to where: define a table such as [tools.my_archive] with \
                 type = \"archive_rows\", `from` and `to`, and call that",
            )
        })
    }

    fn of(value: &Value) -> Option<Self> {
        let from = value.get("from")?;
        let to = value.get("to")?;
        let only = from.get("only").and_then(Value::as_object);
        let values = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        Some(Self {
            from: place(from)?,
            table: TableSpec {
                table: settings::text(from, "table")?.to_owned(),
                key: settings::texts(from, "key")?,
                column: settings::text(from, "column")?.to_owned(),
                unit: Unit::of(settings::text(from, "unit")),
            },
            older_than: settings::span(from, "older_than")?,
            only: only.into_iter().flatten().map(|(name, value)| (name.clone(), values(value))).collect(),
            to: Destination::of(to)?,
            chunk_rows: settings::whole(value, "chunk_rows").unwrap_or(CHUNK_ROWS).max(1),
            max_rows: settings::whole(value, "max_rows").map(|most| most as u64),
            max_time: settings::span(value, "max_time"),
            delete: value.get("delete").and_then(Value::as_bool).unwrap_or(true),
            level: value
                .get("level")
                .and_then(Value::as_i64)
                .map_or(LEVEL, |level| level.clamp(1, 19) as i32),
        })
    }

    fn filter(&self, now: jiff::Timestamp) -> Filter {
        let before = jiff::SignedDuration::try_from(self.older_than).ok();
        let before = before.and_then(|age| now.checked_sub(age).ok()).unwrap_or(jiff::Timestamp::MIN);
        Filter { before: Some(before), from: None, only: self.only.clone() }
    }

    /// The objects, if rows become such.
    async fn objects(&self) -> Result<Option<Objects>, ToolError> {
        let shelf = match &self.to {
            Destination::Folder(path) => Shelf::folder(path),
            Destination::Bucket(settings, prefix) => Shelf::bucket(settings, prefix).await?,
            Destination::Table(..) => return Ok(None),
        };
        Ok(Some(Objects { shelf, level: self.level }))
    }

    /// The other side of rows of this table.
    async fn target(
        &self,
        (from, of): (&Db, &Table),
        deadline: Instant,
        store: Option<Store>,
    ) -> Result<Target, ToolError> {
        // Names differ, and mean the same table; so the journal knows it by what the database says it is.
        let database = from.identity().await?.unwrap_or_else(|| of.about.source.clone());
        let journal = |place: String| {
            let source = format!("table {} of {database}", of.root);
            let part = if of.root == of.about.table { "" } else { &of.about.table };
            let place = if part.is_empty() { place } else { format!("{place} (of {part})") };
            Journal::new(store, source, place)
        };
        if let Some(objects) = self.objects().await? {
            let journal = journal(objects.shelf.place());
            return Ok(Target::Objects(Box::new(objects), journal));
        }
        let Destination::Table(place, table) = &self.to else {
            return Err(failed("the destination is of no kind that is known"));
        };
        let db = source::open(place, deadline).await?;
        let spec = TableSpec { table: table.clone(), ..self.table.clone() };
        let table = db.table(&spec).await?;
        let place = format!("table {} of {}", table.about.table, table.about.source);
        if from.is_same_table(of, &db, &table).await? {
            return Err(failed(&format!(
                "rows would go where they are: `from` and `to` are the same table ({}), or parts of it",
                of.root
            )));
        }
        db.must_last(&table).await?;
        // Numbers of tables and types are those of their own database.
        let local = of.local_columns();
        if !local.is_empty() && db.identity().await? != from.identity().await? {
            return Err(failed(&format!(
                "column {} of {} holds numbers of tables or types, which mean something else in another database: archive \
                 to a folder or to S3",
                local.join(", "),
                of.about.table
            )));
        }
        let table = table.as_archived(&of.about)?;
        Ok(Target::Table(Box::new(Tables { db, table, journal: journal(place) })))
    }
}

impl Destination {
    fn of(to: &Value) -> Option<Self> {
        if let Some(bucket) = to.get("s3") {
            let prefix = settings::text(to, "prefix").unwrap_or_default().to_owned();
            return Some(Self::Bucket(Box::new(s3::Settings::of(bucket)?), prefix));
        }
        if to.get("url").is_some() {
            return Some(Self::Table(place(to)?, settings::text(to, "table")?.to_owned()));
        }
        settings::text(to, "folder").map(|folder| Self::Folder(folder.to_owned()))
    }
}

fn place(value: &Value) -> Option<Place> {
    Some(Place {
        url: TextOrSecret::from_json(value.get("url")?)?,
        password: value.get("password").and_then(SecretRef::from_json),
    })
}

fn failed(text: &str) -> ToolError {
    ToolError::Failed(text.to_owned())
}

/// A step of the protocol. In debug builds, `BGAGENT_ARCHIVE_DIE_AT=NAME:N` ends the process at the Nth time
/// that the step NAME (or any, as `*`) is reached, as `kill -9` does, and `BGAGENT_ARCHIVE_STOP_AT` stops it
/// until somebody lets it go on: for tests of what is left behind, and of what others do meanwhile.
#[cfg(debug_assertions)]
fn point(name: &str) {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::atomic::{AtomicU64, Ordering};
    static PASSED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
    let orders = [("BGAGENT_ARCHIVE_DIE_AT", Signal::KILL), ("BGAGENT_ARCHIVE_STOP_AT", Signal::STOP)];
    for ((variable, signal), passed) in orders.into_iter().zip(&PASSED) {
        let Ok(wanted) = std::env::var(variable) else { continue };
        let Some((at, count)) = wanted.split_once(':') else { continue };
        if (at == "*" || at == name)
            && passed.fetch_add(1, Ordering::SeqCst) + 1 == count.parse().unwrap_or(0)
        {
            let _ = kill_process(getpid(), signal);
            // a signal takes its time to reach every thread
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[cfg(not(debug_assertions))]
fn point(_: &str) {}
