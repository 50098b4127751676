//! A table as it was inspected, and the criteria by which its rows are selected.
use crate::archive::object::{About, FORMAT};
use crate::archive::row::{Column, Kind, Row};
use crate::archive::trouble::failed;
use crate::domain::{TimeUnit, ToolError, nearest};
use jiff::Timestamp;
use serde_json::Value;

/// How a table is configured.
#[derive(Debug, Clone)]
pub(in crate::archive) struct TableSpec {
    pub(in crate::archive) table: String,
    pub(in crate::archive) key: Vec<String>,
    pub(in crate::archive) column: String,
    pub(in crate::archive) unit: TimeUnit,
}

/// A table that was inspected and can be archived.
#[derive(Debug, Clone)]
pub(in crate::archive) struct Table {
    pub(in crate::archive) about: About,
    /// Its quoted name, as used after FROM.
    pub(super) quoted: String,
    /// Expression of each key column in comparisons, in order.
    pub(super) keys: Vec<String>,
    /// How each column is read and inserted, in order, as derived from the database itself: the content of
    /// objects and manifests never becomes part of a statement.
    pub(super) casts: Vec<Cast>,
    /// Canonical name of the table, or of the partitioned table that it is part of.
    pub(in crate::archive) root: String,
    /// Foreign keys by which deleting a row would change other tables, unless it is prevented.
    pub(super) referrers: Vec<ForeignKey>,
    /// Foreign keys of the table to itself: rows that are referred to wait until those that refer to them are
    /// archived.
    pub(super) own: Vec<ForeignKey>,
    /// Privileges of the role, and what statements must take into account.
    pub(super) ability: TablePrivileges,
    /// Names of all columns that are not generated, when the table was inspected.
    pub(super) all: Vec<String>,
}

impl Table {
    /// Returns the table with the columns that it had when rows were archived; columns added later get their
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
    /// Returns whether rows of the table can refer to other rows of it.
    pub(in crate::archive) fn has_self_references(&self) -> bool {
        !self.own.is_empty()
    }

    /// Returns whether the role may insert rows, so that restoring can be tried.
    pub(in crate::archive) fn can_put(&self) -> bool {
        self.ability.put
    }

    /// Returns whether the role may delete rows.
    pub(in crate::archive) fn can_delete(&self) -> bool {
        self.ability.delete
    }

    /// Returns columns whose values are OIDs, which mean nothing in another database.
    pub(in crate::archive) fn local_columns(&self) -> Vec<&str> {
        let is_local = |cast: &Cast| matches!(cast.read, Read::As(_));
        let columns = self.about.columns.iter().zip(&self.casts);
        columns.filter(|(_, cast)| is_local(cast)).map(|(column, _)| column.name.as_str()).collect()
    }

    /// Returns the table with only these of its columns, as far as it has them.
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

/// How a column is read as text, and how that text is converted to its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cast {
    pub(super) read: Read,
    /// The types that the text is cast to, one after the other.
    pub(super) put: String,
}

/// How a value of PostgreSQL is converted to text; SQLite needs no conversion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Read {
    /// By a cast to text.
    Plain,
    /// By the type's output function, where a cast would give a different text.
    Written,
    /// Through this type. The name of such a value depends on settings and on the objects that exist at that
    /// time.
    As(&'static str),
}

impl Cast {
    /// Returns how a value is inserted that was archived when its column had this type. Names of objects were
    /// archived as such before they were archived as OIDs.
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

/// What the role may do with a table, and what statements on it must take into account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TablePrivileges {
    /// It may insert rows.
    pub(super) put: bool,
    pub(super) delete: bool,
    pub(super) lock: bool,
    /// Whether a row can be inserted shows only afterwards: the table has a deferrable constraint, or a rule.
    pub(super) put_plainly: bool,
}

impl TablePrivileges {
    /// All privileges, and nothing to take into account.
    pub(super) const ALL: Self = Self { put: true, delete: true, lock: true, put_plainly: false };
}

/// A foreign key by which rows refer to rows that are to be deleted.
#[derive(Debug, Clone)]
pub(super) struct ForeignKey {
    /// The referring table, quoted.
    pub(super) table: String,
    /// Its columns and ours, quoted.
    pub(super) columns: Vec<(String, String)>,
    /// The ON DELETE action; empty if it would refuse.
    pub(super) action: String,
}

/// Selects rows.
#[derive(Debug, Clone, Default)]
pub(in crate::archive) struct Filter {
    /// Older than this.
    pub(in crate::archive) before: Option<Timestamp>,
    /// Not older than this.
    pub(in crate::archive) from: Option<Timestamp>,
    /// Only with one of these values in these columns.
    pub(in crate::archive) only: Vec<(String, Vec<Value>)>,
}

/// Limits of a page.
#[derive(Debug, Clone, Copy)]
pub(in crate::archive) struct Bounds {
    pub(in crate::archive) rows: usize,
    /// Of all lines together; at least one row is returned in any case.
    pub(in crate::archive) bytes: usize,
    /// In descending key order.
    pub(in crate::archive) backwards: bool,
}

/// One page of rows.
pub(in crate::archive) struct Page {
    pub(in crate::archive) rows: Vec<Row>,
    /// Whether this is the last page.
    pub(in crate::archive) end: bool,
    /// Whether it was interrupted because the time was up.
    pub(in crate::archive) late: bool,
}

/// Checks that the configured columns exist.
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

/// Quotes a name for SQL, whatever it contains.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Maximum size of a chunk, in bytes of its lines; memory use is a small multiple of it.
pub(in crate::archive) const CHUNK_BYTES: usize = 16 << 20;
