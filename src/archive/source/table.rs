//! A table as it was looked at, and the words in which rows of it are asked for.
use crate::archive::object::{About, FORMAT};
use crate::archive::row::{Column, Kind, Row};
use crate::archive::trouble::failed;
use crate::domain::{TimeUnit, ToolError, nearest};
use jiff::Timestamp;
use serde_json::Value;

/// What is said of a table.
#[derive(Debug, Clone)]
pub(in crate::archive) struct TableSpec {
    pub(in crate::archive) table: String,
    pub(in crate::archive) key: Vec<String>,
    pub(in crate::archive) column: String,
    pub(in crate::archive) unit: TimeUnit,
}

/// A table that was looked at and found fit.
#[derive(Debug, Clone)]
pub(in crate::archive) struct Table {
    pub(in crate::archive) about: About,
    /// As it stands after FROM.
    pub(super) quoted: String,
    /// As each column of the key stands in comparisons, in order.
    pub(super) keys: Vec<String>,
    /// How each column is read and put, in order, as the database itself says it: what an object or a manifest says
    /// never becomes a part of a statement.
    pub(super) casts: Vec<Cast>,
    /// The name of the table that its rows are part of, as the database has it: one table has one such name.
    pub(in crate::archive) root: String,
    /// What deleting a row would change elsewhere, unless it is prevented.
    pub(super) referrers: Vec<Referrer>,
    /// Foreign keys of the table to itself: rows that are referred to wait until those that refer are archived.
    pub(super) own: Vec<Referrer>,
    /// What the role may do, and what statements must heed.
    pub(super) ability: Ability,
    /// Names of all columns that the database does not make itself, as it was looked at.
    pub(super) all: Vec<String>,
}

impl Table {
    /// The table with the columns that it had when rows were archived; those that came later take their
    /// defaults.
    pub(in crate::archive) fn as_archived(&self, about: &About) -> Result<Self, ToolError> {
        if about.kind != self.about.kind {
            return Err(failed(&format!(
                "the rows are of another kind of database than {}",
                self.about.source
            )));
        }
        if about.key != self.about.key {
            return Err(failed(&format!(
                "the rows were archived by the key {:?}, and the settings say {:?}: set `key` back to what it was",
                about.key, self.about.key
            )));
        }
        let cast = |column: &Column| {
            let place = self.about.columns.iter().position(|known| known.name == column.name);
            place.map(|at| self.casts[at].of_archived(&column.kind)).ok_or_else(|| {
                failed(&format!(
                    "the archived rows have a column `{}`, and table {} has none: add it, then try again",
                    column.name, self.about.table
                ))
            })
        };
        let casts = about.columns.iter().map(cast).collect::<Result<_, _>>()?;
        Ok(Self { about: about.clone(), casts, ..self.clone() })
    }
}

impl Table {
    /// Do rows of it refer to other rows of it?
    pub(in crate::archive) fn is_family(&self) -> bool {
        !self.own.is_empty()
    }

    /// May the role put rows, so that a way back can be tried?
    pub(in crate::archive) fn can_put(&self) -> bool {
        self.ability.put
    }

    /// May the role delete rows?
    pub(in crate::archive) fn can_delete(&self) -> bool {
        self.ability.delete
    }

    /// Columns whose values are numbers of things in their own database, and mean nothing in another one.
    pub(in crate::archive) fn local_columns(&self) -> Vec<&str> {
        let is_local = |cast: &Cast| matches!(cast.read, Read::As(_));
        let columns = self.about.columns.iter().zip(&self.casts);
        columns.filter(|(_, cast)| is_local(cast)).map(|(column, _)| column.name.as_str()).collect()
    }

    /// The table with these of its columns only, as far as it has them.
    pub(in crate::archive) fn of_columns(&self, names: &[String]) -> Self {
        let mut part = self.clone();
        let is_one = |column: &Column| names.contains(&column.name);
        part.casts = self
            .about
            .columns
            .iter()
            .zip(&self.casts)
            .filter(|(column, _)| is_one(column))
            .map(|(_, cast)| cast.clone())
            .collect();
        part.about.columns.retain(is_one);
        part
    }
}

/// How a column is read as a text, and how that text becomes its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cast {
    pub(super) read: Read,
    /// What the text is cast to, one after the other.
    pub(super) put: String,
}

/// How a value of PostgreSQL becomes a text; SQLite needs none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Read {
    /// By a cast.
    Plain,
    /// By what the type itself writes, where a cast would do more or less than that.
    Written,
    /// As this type. What such a value is called depends on settings and on what there is at that time.
    As(&'static str),
}

impl Cast {
    /// How a value is put that was archived when its column was of this type. Names of things were archived as such
    /// before they were archived as numbers.
    fn of_archived(&self, kind: &str) -> Self {
        match self.read {
            Read::As(_) if !kind.starts_with("oid") => {
                let put = self.put.rsplit("::").next().unwrap_or(&self.put).to_owned();
                Self { read: Read::Plain, put }
            }
            _ => self.clone(),
        }
    }
}

/// What the role may do with a table, and what statements on it must heed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ability {
    /// It may put rows.
    pub(super) put: bool,
    /// It may delete rows.
    pub(super) delete: bool,
    /// It may lock rows.
    pub(super) lock: bool,
    /// Whether a row can be put shows only when it was: the table has a constraint that is checked later, or a rule.
    pub(super) put_plainly: bool,
}

impl Ability {
    /// Whatever is done.
    pub(super) const ALL: Self = Self { put: true, delete: true, lock: true, put_plainly: false };
}

/// A foreign key by which rows refer to rows that are to go.
#[derive(Debug, Clone)]
pub(super) struct Referrer {
    /// The table that refers, quoted.
    pub(super) table: String,
    /// Its columns and ours, quoted.
    pub(super) columns: Vec<(String, String)>,
    /// What it would do; empty: it would refuse.
    pub(super) action: String,
}

/// Which rows are wanted.
#[derive(Debug, Clone, Default)]
pub(in crate::archive) struct Filter {
    /// Older than this.
    pub(in crate::archive) before: Option<Timestamp>,
    /// Not older than this.
    pub(in crate::archive) from: Option<Timestamp>,
    /// Only with one of these values in these columns.
    pub(in crate::archive) only: Vec<(String, Vec<Value>)>,
}

/// Bounds of a page.
#[derive(Debug, Clone, Copy)]
pub(in crate::archive) struct Bounds {
    pub(in crate::archive) rows: usize,
    /// Of all lines; one row is taken in any case.
    pub(in crate::archive) bytes: usize,
    /// From the last key to the first.
    pub(in crate::archive) backwards: bool,
}

/// What was found.
pub(in crate::archive) struct Page {
    pub(in crate::archive) rows: Vec<Row>,
    /// Is there nothing after it?
    pub(in crate::archive) end: bool,
    /// Was it broken off because the time was up?
    pub(in crate::archive) late: bool,
}

/// Columns that are asked for must be there.
pub(super) fn check_columns(spec: &TableSpec, columns: &[Column]) -> Result<(), ToolError> {
    for name in spec.key.iter().chain([&spec.column]) {
        has_column(&spec.table, columns.iter().map(|column| column.name.as_str()), name)?;
    }
    Ok(())
}

pub(super) fn has_column<'a>(
    table: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    name: &str,
) -> Result<(), ToolError> {
    if known.clone().any(|known| known == name) {
        return Ok(());
    }
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", known.collect::<Vec<_>>().join(", ")),
    };
    Err(failed(&format!("table {table} has no column `{name}`: {hint}")))
}

pub(super) fn no_table(name: &str, of: &str, tables: &[String]) -> ToolError {
    let hint = match nearest(name, tables.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if tables.is_empty() => "there are no tables".into(),
        None => format!("there are {}", tables.iter().take(30).cloned().collect::<Vec<_>>().join(", ")),
    };
    failed(&format!("there is no table `{name}`: {hint} (in {of})"))
}

pub(super) fn no_key(spec: &TableSpec) -> ToolError {
    failed(&format!(
        "`key = {:?}` does not tell the rows of {} apart: it must be the primary key, or columns with a UNIQUE \
         index on exactly them (not a partial one)",
        spec.key, spec.table
    ))
}

pub(super) fn null_key(spec: &TableSpec, column: &str) -> ToolError {
    failed(&format!(
        "the key's column `{column}` of {} may be NULL, and such rows can't be told apart: make it NOT NULL",
        spec.table
    ))
}

pub(super) fn about(kind: Kind, source: String, spec: &TableSpec, columns: Vec<Column>) -> About {
    About {
        format: FORMAT.into(),
        kind,
        source,
        table: spec.table.clone(),
        columns,
        key: spec.key.clone(),
        column: spec.column.clone(),
        unit: spec.unit,
    }
}

/// A name as SQL takes it, whatever it holds.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Bytes of the lines of a chunk; what is held in memory is a small multiple of it.
pub(in crate::archive) const CHUNK_BYTES: usize = 16 << 20;
