//! An oracle of its own: reads table and objects by the rules that docs/ARCHIVE.md states, and knows nothing of
//! the code under test.
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Rows by key: their lines.
pub(super) type Rows = BTreeMap<String, Value>;

/// The rows that are archived in a folder, by what manifests and intents say; `table` has those of the source.
#[track_caller]
pub(super) fn archived(folder: &Path, key: &str, table: &Rows) -> Rows {
    let read = |path: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
    };
    let names = |path: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().expect("a name"));
        names.filter(|name| !name.starts_with('.')).collect()
    };
    let lines = |name: &str| -> Vec<Value> {
        let packed = std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let text = String::from_utf8(zstd::decode_all(&*packed).expect("zstd")).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let next = |id: &str| match id.split_once('.') {
        Some((stem, number)) => format!("{stem}.{}", number.parse::<u32>().expect("a number") + 1),
        None => format!("{id}.2"),
    };
    let mut found = Rows::new();
    let mut take = |row: Value| {
        let id = row[key].to_string();
        assert!(found.insert(id.clone(), row).is_none(), "row {id} is archived twice");
    };
    let (all, pending) = (names(folder), names(&folder.join("pending")));
    let intents: BTreeMap<String, Value> = pending
        .iter()
        .filter_map(|name| {
            Some((name.strip_suffix(".json")?.to_owned(), read(&folder.join("pending").join(name))))
        })
        .collect();
    let ignored: Vec<String> = intents.keys().map(|id| next(id)).collect();
    for id in all.iter().filter_map(|name| name.strip_suffix(".json")).filter(|id| *id != "archive") {
        let undecided = intents.get(id).is_some_and(|intent| intent["doing"] == "restore");
        if undecided || ignored.iter().any(|ignored| ignored == id) {
            continue;
        }
        let rows = lines(&format!("{id}.jsonl.zst"));
        assert_eq!(
            rows.len() as u64,
            read(&folder.join(format!("{id}.json")))["rows"].as_u64().unwrap(),
            "{id}"
        );
        rows.into_iter().for_each(&mut take);
    }
    for (id, intent) in &intents {
        let restoring = intent["doing"] == "restore";
        if !restoring && all.contains(&format!("{id}.json")) {
            continue;
        }
        let rows = lines(&format!("{id}.jsonl.zst"));
        let there = |row: &Value| table.get(&row[key].to_string());
        let undeleted = !restoring && rows.iter().any(|row| there(row) == Some(row));
        for row in rows {
            if if undeleted { there(&row).is_none() } else { there(&row) != Some(&row) } {
                take(row);
            }
        }
    }
    found
}

/// Source and archive together are `all`, and no row is in both.
#[track_caller]
pub(super) fn is_partition(source: &Rows, archived: &Rows, all: &Rows) {
    for id in source.keys() {
        assert!(!archived.contains_key(id), "row {id} is in the table and in the archive");
    }
    let mut both = source.clone();
    both.extend(archived.clone());
    let lost: Vec<&String> = all.keys().filter(|id| !both.contains_key(*id)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(&both, all);
}

/// All rows of an SQLite table with simple values.
pub(super) fn table(db: &rusqlite::Connection, name: &str, key: &str) -> Rows {
    let mut all = db.prepare(&format!("SELECT * FROM {name}")).expect("a table");
    let columns: Vec<String> = all.column_names().map(str::to_owned).collect();
    let mut rows = all.query([]).expect("rows");
    let mut found = Rows::new();
    while let Some(row) = rows.next().expect("a row") {
        let value = |at: usize| match row.get_ref(at).expect("a value") {
            rusqlite::types::ValueRef::Null => Value::Null,
            rusqlite::types::ValueRef::Integer(number) => number.into(),
            rusqlite::types::ValueRef::Real(number) => number.into(),
            rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
            rusqlite::types::ValueRef::Blob(bytes) => format!("{bytes:?}").into(),
        };
        let row: serde_json::Map<String, Value> =
            columns.iter().cloned().enumerate().map(|(at, name)| (name, value(at))).collect();
        found.insert(row[key].to_string(), Value::Object(row));
    }
    found
}
