//! Settings of the `archive_rows` tool. They are also the arguments of a call without a table; there, fields with
//! default values are left out.
use super::arguments::{ArgumentType, CallSchema, arguments};
use super::json;
use super::s3::S3Settings;
use super::words::TimeUnit;
use crate::domain::secret_ref::{SecretRef, TextOrSecret};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

arguments! {
    /// From where to where rows are moved, and how many at a time.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ArchiveSettings {
        /// Which rows: `url`, `table`, `key`, `column` and `older_than`.
        #[schema(optional())]
        pub from: ArchiveSource,
        /// Where they go: `s3`, `folder`, or `url` and `table`.
        #[schema(optional())]
        pub to: ArchiveTarget,
        /// Rows that are copied, verified and deleted together. Left out: {}.
        #[serde(default = "ArchiveSettings::chunk_rows", deserialize_with = "json::number")]
        #[serde(skip_serializing_if = "ArchiveSettings::is_usual_chunk")]
        #[schema(filled(&[&Self::CHUNK_ROWS]))]
        pub chunk_rows: u64,
        /// Most rows of a run. Left out: as many as its time allows.
        #[serde(default, deserialize_with = "json::whole", skip_serializing_if = "Option::is_none")]
        pub max_rows: Option<u64>,
        /// Longest time of a run: seconds, or a text such as 5m. Left out: that of its call.
        #[serde(default, with = "json::opt_secs", skip_serializing_if = "Option::is_none")]
        pub max_time: Option<SignedDuration>,
        /// False: a rehearsal. What was written and verified is taken away again.
        #[serde(default = "ArchiveSettings::deletes")]
        pub delete: bool,
        /// Compression, from 1 (fast) to {} (small). Left out: {}.
        #[serde(default = "ArchiveSettings::level", deserialize_with = "json::number")]
        #[serde(skip_serializing_if = "ArchiveSettings::is_usual_level")]
        #[schema(filled(&[&Self::LARGEST_LEVEL, &Self::LEVEL]))]
        pub level: u64,
    }
}

impl ArchiveSettings {
    /// Default of `chunk_rows`.
    pub const CHUNK_ROWS: u64 = 10_000;
    /// Maximum of `chunk_rows`: a chunk is held in memory.
    pub const LARGEST_CHUNK_ROWS: u64 = 100_000;
    /// Default of `level`.
    pub const LEVEL: u64 = 3;
    /// Maximum of `level`.
    pub const LARGEST_LEVEL: u64 = 19;
    /// Default of `delete`.
    pub const DELETE: bool = true;

    /// Returns the arguments of a call; none if there are settings. Otherwise an agent's arguments are the
    /// settings, which the configuration validates.
    pub fn schema(settings: Option<&Self>) -> CallSchema {
        if settings.is_some() { CallSchema::default() } else { CallSchema::of::<Self>() }
    }

    fn chunk_rows() -> u64 {
        Self::CHUNK_ROWS
    }

    fn is_usual_chunk(rows: &u64) -> bool {
        *rows == Self::CHUNK_ROWS
    }

    fn deletes() -> bool {
        Self::DELETE
    }

    fn level() -> u64 {
        Self::LEVEL
    }

    fn is_usual_level(level: &u64) -> bool {
        *level == Self::LEVEL
    }
}

impl ArgumentType for ArchiveSource {
    fn schema() -> Value {
        json!({"type": "object"})
    }
}

impl ArgumentType for ArchiveTarget {
    fn schema() -> Value {
        json!({"type": "object"})
    }
}

/// A database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// `sqlite:` with an absolute path, or `postgres://`.
    pub url: TextOrSecret,
    /// PostgreSQL: location of the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
}

/// The rows to archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveSource {
    /// The database of the table.
    #[serde(flatten)]
    pub database: Database,
    pub table: String,
    /// Columns that identify a row.
    pub key: Vec<String>,
    /// The column with the age of a row.
    pub column: String,
    /// Minimum age of archived rows.
    #[serde(with = "json::secs")]
    pub older_than: SignedDuration,
    /// Unit of numbers in `column`, counted since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<TimeUnit>,
    /// Restricts rows to these values, by column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub only: BTreeMap<String, OneOrMany>,
}

impl ArchiveSource {
    /// Default of `unit`.
    pub const UNIT: TimeUnit = TimeUnit::Seconds;
}

/// A value, or a list of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(Plain),
    /// Any of these.
    Many(Vec<Plain>),
}

/// A value that rows are filtered by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Plain {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    Text(String),
}

/// Destination of the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ArchiveTarget {
    /// Objects in a bucket.
    Bucket {
        s3: Box<S3Settings>,
        /// Prefix of their names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
    },
    /// Another table with the same columns.
    Table {
        /// The database of the table.
        #[serde(flatten)]
        database: Database,
        table: String,
    },
    /// Objects in a folder.
    Folder { folder: String },
}

#[cfg(test)]
mod tests {
    //! What stands in the arguments of a call is read as what was written there.
    use super::*;

    #[test]
    fn settings_are_read_back_from_arguments() {
        let from = json!({
            "url": {"env": "URL"}, "password": {"env": "PASSWORD"}, "table": "orders", "key": ["id"],
            "column": "at", "older_than": 7_776_000.0, "unit": "milliseconds",
            "only": {"status": ["done", 7, false], "kind": "x"},
        });
        for to in [
            json!({"folder": "/archive"}),
            json!({"s3": {"bucket": "b", "mode": "read_write", "timeout": 2.5}, "prefix": "orders"}),
            json!({"url": "sqlite:/x.db", "table": "old"}),
        ] {
            let written = json!({"from": from, "to": to, "delete": false, "max_time": 60.0, "level": 9});
            let settings = ArchiveSettings::deserialize(&written).unwrap();
            assert_eq!(serde_json::to_value(&settings).unwrap(), written);
            assert_eq!((settings.chunk_rows, settings.level), (ArchiveSettings::CHUNK_ROWS, 9));
        }
        let usual = json!({"from": from, "to": {"folder": "/archive"}, "level": 3.0, "chunk_rows": 10_000});
        let settings = ArchiveSettings::deserialize(&usual).unwrap();
        assert_eq!((settings.level, settings.delete), (ArchiveSettings::LEVEL, true));
        let shown = serde_json::to_value(&settings).unwrap();
        assert_eq!((shown.get("level"), shown.get("chunk_rows")), (None, None), "as where nothing is said");
        for (key, value) in [("level", json!(3.5)), ("max_time", json!("soon")), ("to", json!({}))] {
            let mut wrong = usual.clone();
            wrong[key] = value;
            assert!(ArchiveSettings::deserialize(&wrong).is_err(), "{wrong}");
        }
    }
}
