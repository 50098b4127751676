//! Collects the rows of a result within its limits.
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// Maximum size of all rows as JSON, in bytes.
const MAX_ROWS_BYTES: usize = 200 << 10;

/// The rows received so far.
pub(super) struct Rows {
    columns: Vec<String>,
    rows: Vec<Value>,
    bytes: usize,
    max_rows: usize,
    truncated: bool,
    note: Option<String>,
}

impl Rows {
    /// Creates an empty result. Duplicate column names get a number, so that none hides another.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>, max_rows: usize) -> Self {
        let mut columns: Vec<String> = Vec::new();
        let mut taken = HashSet::new();
        // The next number for each name, so that none is tried twice.
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        for name in names {
            let mut unique = name.to_owned();
            while taken.contains(&unique) {
                let number = numbers.entry(name).or_insert(2);
                unique = format!("{name}_{number}");
                *number += 1;
            }
            taken.insert(unique.clone());
            columns.push(unique);
        }
        Self { columns, rows: Vec::new(), bytes: 0, max_rows, truncated: false, note: None }
    }

    /// Returns whether no further row fits, so that the caller may stop.
    pub(super) fn is_full(&self) -> bool {
        self.truncated
    }

    /// Appends a row, or records that it does not fit.
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

    /// Returns whether a row of this size fits. If not, the result ends before it.
    pub(super) fn has_room(&mut self, bytes: usize) -> bool {
        if self.truncated || self.bytes.saturating_add(bytes) <= MAX_ROWS_BYTES {
            return !self.truncated;
        }
        self.truncated = true;
        if self.rows.is_empty() {
            self.note = Some(format!(
                "the first row alone has {} KiB, and {} KiB are the most: ask for fewer columns or for a part of the long values",
                bytes.div_ceil(1024),
                MAX_ROWS_BYTES >> 10
            ));
        }
        false
    }

    /// Returns the result. `changed`: number of changed rows, if known.
    pub(super) fn into_result(self, changed: Option<u64>) -> Value {
        let mut result = json!({
            "columns": self.columns,
            "row_count": self.rows.len(),
            "rows": self.rows,
            "changed": changed,
            "truncated": self.truncated,
            "wake": !self.rows.is_empty(),
        });
        if let Some(note) = self.note {
            result["note"] = note.into();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the names of columns.
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_column_has_a_name_of_its_own() {
        let names = |names: &[&str]| Rows::new(names.iter().copied(), 1).columns;
        assert_eq!(names(&["a", "b", "a", "a"]), ["a", "b", "a_2", "a_3"]);
        assert_eq!(names(&["a", "a_2", "a", "a", "a_2"]), ["a", "a_2", "a_3", "a_4", "a_2_2"]);
        assert_eq!(names(&["a", "a", "a_2"]), ["a", "a_2", "a_2_2"]);
    }

    #[test]
    fn many_columns_of_one_name_take_no_time() {
        let began = crate::testing::worked();
        let rows = Rows::new(std::iter::repeat_n("?column?", 20_000), 1);
        assert_eq!(rows.columns.last().map(String::as_str), Some("?column?_20000"));
        assert!(crate::testing::worked() - began < Duration::from_secs(5));
    }
}
