//! Collects the rows of a result within its bounds.
use serde_json::{Map, Value, json};

/// Most bytes of all rows, as JSON.
const MAX_BYTES: usize = 200 << 10;

/// Rows as they come.
pub(super) struct Rows {
    columns: Vec<String>,
    rows: Vec<Value>,
    bytes: usize,
    max_rows: usize,
    truncated: bool,
    note: Option<String>,
}

impl Rows {
    /// Columns of the same name get a number, so that none hides another.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>, max_rows: usize) -> Self {
        let mut columns: Vec<String> = Vec::new();
        for name in names {
            let mut unique = name.to_owned();
            let mut number = 2;
            while columns.contains(&unique) {
                unique = format!("{name}_{number}");
                number += 1;
            }
            columns.push(unique);
        }
        Self { columns, rows: Vec::new(), bytes: 0, max_rows, truncated: false, note: None }
    }

    /// Is there no room for a further row? If so, the caller may stop.
    pub(super) fn is_full(&self) -> bool {
        self.truncated
    }

    /// Takes a row, or notes that there is no room for it.
    pub(super) fn push(&mut self, values: impl Iterator<Item = Value>) {
        if self.truncated || self.rows.len() >= self.max_rows {
            self.truncated = true;
            return;
        }
        let row: Map<String, Value> = self.columns.iter().cloned().zip(values).collect();
        let row = Value::Object(row);
        let bytes = serde_json::to_vec(&row).map_or(usize::MAX, |text| text.len() + 1);
        if self.has_room(bytes) {
            self.bytes += bytes;
            self.rows.push(row);
        }
    }

    /// Is there room for a row of so many bytes? If not, the result ends before it.
    pub(super) fn has_room(&mut self, bytes: usize) -> bool {
        if self.truncated || self.bytes.saturating_add(bytes) <= MAX_BYTES {
            return !self.truncated;
        }
        self.truncated = true;
        if self.rows.is_empty() {
            self.note = Some(format!(
                "the first row alone has {} KiB, and {} KiB are the most: ask for fewer columns or for a part of the long values",
                bytes.div_ceil(1024),
                MAX_BYTES >> 10
            ));
        }
        false
    }

    /// The result. `changed`: rows that were changed, where that is known.
    pub(super) fn into_result(self, changed: Option<u64>) -> Value {
        let mut result = json!({
            "columns": self.columns,
            "row_count": self.rows.len(),
            "rows": self.rows,
            "changed": changed,
            "truncated": self.truncated,
        });
        if let Some(note) = self.note {
            result["note"] = note.into();
        }
        result
    }
}
