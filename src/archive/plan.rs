//! The configuration of an archive, resolved and ready to run.
use super::journal::Journal;
use super::objects::Objects;
use super::shelf::ObjectStorage;
use super::source::{self, Db};
use super::tables::Tables;
use super::trouble::failed;
use crate::archive::source::table::{Filter, Table, TableSpec};
use crate::domain::{
    ArchiveSettings, ArchiveSource, ArchiveTarget, Database, OneOrMany, Plain, ToolError, size,
};
use crate::store::Store;
use serde_json::Value;
use std::time::{Duration, Instant};

/// What an archive is configured to do.
pub(super) struct Plan {
    pub(super) settings: ArchiveSettings,
    /// The source table.
    pub(super) table: TableSpec,
    /// Number of rows that are copied, verified and deleted together.
    pub(super) chunk_rows: usize,
}

/// The destination of rows, ready to take them.
pub(super) enum Target {
    Objects(Box<Objects>, Journal),
    Table(Box<Tables>),
}

impl Target {
    /// Returns the location, for messages.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Objects(objects, _) => objects.shelf.place(),
            Self::Table(tables) => tables.place(),
        }
    }
}

impl Plan {
    pub(super) fn new(settings: ArchiveSettings) -> Self {
        let from = &settings.from;
        let table = TableSpec {
            table: from.table.clone(),
            key: from.key.clone(),
            column: from.column.clone(),
            unit: from.unit.unwrap_or(ArchiveSource::UNIT),
        };
        let chunk_rows = size(settings.chunk_rows.max(1));
        Self { settings, table, chunk_rows }
    }

    /// Returns the source database.
    pub(super) fn from(&self) -> &Database {
        &self.settings.from.database
    }

    /// Returns the configured maximum time of a run, if any.
    pub(super) fn max_time(&self) -> Option<Duration> {
        self.settings.max_time.map(|time| time.unsigned_abs())
    }

    pub(super) fn filter(&self, now: jiff::Timestamp) -> Filter {
        let ArchiveSource { older_than, only, .. } = &self.settings.from;
        let before = now.checked_sub(*older_than).unwrap_or(jiff::Timestamp::MIN);
        let only = only.iter().map(|(name, wanted)| (name.clone(), values(wanted))).collect();
        Filter { before: Some(before), from: None, only }
    }

    /// Opens the storage for objects, if that is the destination.
    pub(super) async fn objects(&self) -> Result<Option<Objects>, ToolError> {
        let shelf = match &self.settings.to {
            ArchiveTarget::Folder { folder } => ObjectStorage::folder(folder),
            ArchiveTarget::Bucket { s3, prefix } => {
                ObjectStorage::bucket(s3, prefix.as_deref().unwrap_or_default()).await?
            }
            ArchiveTarget::Table { .. } => return Ok(None),
        };
        let level = self.settings.level.clamp(1, ArchiveSettings::LARGEST_LEVEL);
        Ok(Some(Objects { shelf, level: i32::try_from(level).expect("a small number") }))
    }

    /// Opens the destination for rows of this table.
    pub(super) async fn target(
        &self,
        (from, of): (&Db, &Table),
        deadline: Instant,
        store: Option<Store>,
    ) -> Result<Target, ToolError> {
        // One table may have several names, so the journal identifies it by what the database reports.
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
        let ArchiveTarget::Table { database, table } = &self.settings.to else {
            return Err(failed("the destination is of no kind that is known"));
        };
        let db = source::open(database, deadline).await?;
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
        // OIDs of tables and types are only valid in their own database.
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

/// Converts configured values to statement parameters.
fn values(wanted: &OneOrMany) -> Vec<Value> {
    let value = |plain: &Plain| match plain {
        Plain::Flag(flag) => Value::from(*flag),
        Plain::Whole(number) => Value::from(*number),
        Plain::Text(text) => Value::from(text.as_str()),
    };
    match wanted {
        OneOrMany::One(one) => vec![value(one)],
        OneOrMany::Many(list) => list.iter().map(value).collect(),
    }
}
