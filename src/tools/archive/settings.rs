//! What the configuration says of an archive: from where, to where, and how much at a time.
use super::journal::Journal;
use super::objects::Objects;
use super::row::Unit;
use super::shelf::Shelf;
use super::source::{self, Db};
use super::tables::Tables;
use super::trouble::failed;
use crate::domain::{S3Settings, SecretRef, TextOrSecret};
use crate::store::Store;
use crate::tools::archive::source::table::{CHUNK_ROWS, Filter, Place, Table, TableSpec};
use crate::tools::contract::ToolError;
use crate::tools::settings;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Compression where the settings say nothing.
pub(super) const LEVEL: i32 = 3;

/// What the configuration says.
pub(in crate::tools) struct Settings {
    pub(super) from: Place,
    pub(super) table: TableSpec,
    /// Rows are old enough when they are older than this.
    pub(super) older_than: Duration,
    pub(super) only: Vec<(String, Vec<Value>)>,
    pub(super) to: Destination,
    pub(super) chunk_rows: usize,
    pub(super) max_rows: Option<u64>,
    pub(super) max_time: Option<Duration>,
    /// False: a rehearsal. What was written and verified is taken away again.
    pub(super) delete: bool,
    pub(super) level: i32,
}

/// Where rows go.
pub(super) enum Destination {
    Folder(String),
    Bucket(Box<S3Settings>, String),
    Table(Place, String),
}

/// Where rows go, ready to take them.
pub(super) enum Target {
    Objects(Box<Objects>, Journal),
    Table(Box<Tables>),
}

impl Target {
    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Objects(objects, _) => objects.shelf.place(),
            Self::Table(tables) => tables.place(),
        }
    }
}

impl Settings {
    pub(super) fn of_call(settings: &Value, args: &Value) -> Result<Self, ToolError> {
        let settings = if settings.get("from").is_some() { settings } else { args };
        Self::of(settings).ok_or_else(|| {
            failed(
                "archive_rows needs to know from where and to where: define a table such as [tools.my_archive] with \
                 type = \"archive_rows\", `from` and `to`, and call that",
            )
        })
    }

    pub(super) fn of(value: &Value) -> Option<Self> {
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

    pub(super) fn filter(&self, now: jiff::Timestamp) -> Filter {
        let before = jiff::SignedDuration::try_from(self.older_than).ok();
        let before = before.and_then(|age| now.checked_sub(age).ok()).unwrap_or(jiff::Timestamp::MIN);
        Filter { before: Some(before), from: None, only: self.only.clone() }
    }

    /// The objects, if rows become such.
    pub(super) async fn objects(&self) -> Result<Option<Objects>, ToolError> {
        let shelf = match &self.to {
            Destination::Folder(path) => Shelf::folder(path),
            Destination::Bucket(settings, prefix) => Shelf::bucket(settings, prefix).await?,
            Destination::Table(..) => return Ok(None),
        };
        Ok(Some(Objects { shelf, level: self.level }))
    }

    /// The other side of rows of this table.
    pub(super) async fn target(
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
    pub(super) fn of(to: &Value) -> Option<Self> {
        if let Some(bucket) = to.get("s3") {
            let prefix = settings::text(to, "prefix").unwrap_or_default().to_owned();
            return Some(Self::Bucket(Box::new(serde_json::from_value(bucket.clone()).ok()?), prefix));
        }
        if to.get("url").is_some() {
            return Some(Self::Table(place(to)?, settings::text(to, "table")?.to_owned()));
        }
        settings::text(to, "folder").map(|folder| Self::Folder(folder.to_owned()))
    }
}

pub(super) fn place(value: &Value) -> Option<Place> {
    Some(Place {
        url: TextOrSecret::from_json(value.get("url")?)?,
        password: value.get("password").and_then(SecretRef::from_json),
    })
}
