//! Tests of the SQLite half: hostile statements change nothing and cost little, honest ones work.
use super::*;
use crate::domain::{SqlSettings, TextOrSecret, ToolMode, ToolSettings};
use crate::tools::contract::CallContext;
use crate::tools::dispatch;
use jiff::SignedDuration;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod hostile;

/// A folder with a database.
fn database() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join("app.db")).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, price REAL, data BLOB);
             CREATE INDEX by_name ON items(name);
             CREATE TABLE tags (item INTEGER REFERENCES items(id), tag TEXT);
             CREATE TABLE log (text TEXT);
             CREATE TABLE secret (text TEXT);
             INSERT INTO secret VALUES ('hidden');
             CREATE VIEW v_items AS SELECT id, name FROM items;
             CREATE TRIGGER logged AFTER INSERT ON items BEGIN INSERT INTO log VALUES (new.name); END;
             INSERT INTO items VALUES (1, 'apple', 1.5, x'00ff'), (2, 'pear', 2.5, NULL), (3, 'plum', 9007199254740993, NULL);
             INSERT INTO tags VALUES (1, 'red'), (2, 'green');
             CREATE VIRTUAL TABLE notes USING fts5(text);
             INSERT INTO notes VALUES ('hello world'), ('a hello');
             CREATE TABLE big (x TEXT);
             WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000)
             INSERT INTO big SELECT printf('row %d', i) FROM c;",
        )
        .unwrap();
    folder
}

/// Of the database there, with these keys.
fn settings(folder: &tempfile::TempDir, keys: Value) -> SqlSettings {
    let url = format!("sqlite:{}", folder.path().join("app.db").display());
    let default = SqlSettings::of(TextOrSecret::Text(url));
    let texts = |key: &str| keys.get(key).map(|texts| serde_json::from_value(texts.clone()).unwrap());
    let statements = keys.get("statements").map(|texts| serde_json::from_value(texts.clone()).unwrap());
    SqlSettings {
        mode: keys["mode"].as_str().and_then(ToolMode::parse).unwrap_or(default.mode),
        max_rows: keys["max_rows"].as_u64().unwrap_or(default.max_rows),
        timeout: keys["timeout"].as_f64().map_or(default.timeout, SignedDuration::from_secs_f64),
        statements: statements.unwrap_or_default(),
        tables: texts("tables"),
        ddl: keys["ddl"].as_bool().unwrap_or(default.ddl),
        ..default
    }
}

async fn ask(settings: &SqlSettings, args: Value) -> Result<Value, ToolError> {
    ask_with(Some(settings), args).await
}

async fn ask_with(settings: Option<&SqlSettings>, args: Value) -> Result<Value, ToolError> {
    let of_tool = ToolSettings::Sql(settings.cloned());
    crate::domain::fits_schema("the arguments", &of_tool.arguments().json(), &args)
        .map_err(ToolError::Arguments)?;
    let bound = Duration::from_secs(30);
    let call =
        Call { tool: "db".into(), args, settings: Arc::new(of_tool), bound, context: CallContext::default() };
    dispatch::bounded("db", about(settings).effect, bound, super::call(call))
        .await
        .map(|output| output.result)
}

#[track_caller]
fn says<T: std::fmt::Debug>(result: Result<T, ToolError>, part: &str) {
    let text = result.unwrap_err().to_string();
    assert!(text.contains(part), "{text}");
}

#[tokio::test]
async fn honest_queries_work() {
    let folder = database();
    let settings = settings(&folder, json!({}));
    assert!(hostile::HONEST.len() >= 40);
    for sql in hostile::HONEST {
        let result = ask(&settings, json!({"sql": sql})).await;
        let result = result.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!((&result["truncated"], &result["changed"]), (&json!(false), &json!(0)), "{sql}");
    }
}

#[test]
fn hostile_statements_change_nothing_and_cost_little() {
    // A process of their own, so that the memory that is measured is theirs.
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program)
        .args(["--exact", "tools::sql::tests::hostile_statements", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Peak of the memory of this process in bytes, and back to what it uses now.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

#[tokio::test]
#[ignore = "run by `hostile_statements_change_nothing_and_cost_little`"]
async fn hostile_statements() {
    use hostile::{BOMBS, PRAGMAS, TRICKS, WRITES};
    let folder = database();
    let path = folder.path().join("app.db");
    let settings = settings(&folder, json!({"timeout": 0.3}));
    let before = std::fs::read(&path).unwrap();
    ask(&settings, json!({"sql": "SELECT 1"})).await.unwrap();
    let all = [WRITES, PRAGMAS, TRICKS].concat();
    assert!(all.len() + BOMBS.len() >= 150, "{}", all.len() + BOMBS.len());
    let doubled: String = (0..30).fold("WITH a0 AS (SELECT 1 AS x)".to_owned(), |text, n| {
        format!("{text}, a{} AS (SELECT x FROM a{n} UNION ALL SELECT x FROM a{n})", n + 1)
    }) + " SELECT count(*) FROM a30";
    let long = |one: &str, count: usize| vec![one; count].join(" + ");
    let many_values = format!("SELECT {}", long("length(printf('%.*c', 1900000, random()))", 150));
    let constants = (0..2000).map(|n| format!("length(printf('%.*c', 1{n:06}, 'x'))")).collect::<Vec<_>>();
    let constants = format!(
        "SELECT max({})",
        constants.chunks(90).map(|part| format!("max({})", part.join(", "))).collect::<Vec<_>>().join(", ")
    );
    let columns = vec!["printf('%.*c', 1900000, 'x')"; 400].join(", ");
    let short = (0..2000).map(|n| format!("length(printf('%.*c', 7{n:03}, 'x'))")).collect::<Vec<_>>();
    let short = format!(
        "SELECT max({})",
        short.chunks(90).map(|part| format!("max({})", part.join(", "))).collect::<Vec<_>>().join(", ")
    );
    let likes = vec!["x LIKE '%aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'"; 30].join(" OR ");
    let generated = [
        short,
        format!("SELECT {likes} FROM (SELECT printf('%.*c', 500000, 'a') AS x)"),
        doubled,
        many_values,
        constants,
        format!("SELECT {columns}"),
        format!("SELECT * FROM (SELECT {columns}) LIMIT 1"),
        format!("SELECT {}", "(".repeat(50_000)),
        format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("SELECT {}1", "-".repeat(99_000)),
        format!("SELECT {}1", "NOT ".repeat(20_000)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(5_000)),
        format!("SELECT 1{}", " + 1".repeat(20_000)),
        format!("SELECT * FROM {}", vec!["big"; 60].join(", ")),
        format!("SELECT * FROM {}", vec!["big"; 5_000].join(", ")),
        format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 40_000].join(", ")),
        format!("SELECT {}", vec!["1"; 40_000].join(", ")),
        format!("SELECT '{}'", "x".repeat(200_000)),
        "SELECT 1".repeat(9_000),
        "(".repeat(99_999),
        "SELECT 1 \0; DELETE FROM items".to_owned(),
    ];
    let bombs = BOMBS.iter().map(|sql| (*sql).to_owned()).chain(generated);
    let all = all.iter().map(|sql| ((*sql).to_owned(), true)).chain(bombs.map(|sql| (sql, false)));
    let mut worst = (Duration::ZERO, 0, 0);
    for (sql, must_fail) in all {
        let shown: String = sql.chars().take(120).collect();
        let start = peak();
        let low = resident();
        let began = Instant::now();
        let result = ask(&settings, json!({"sql": sql})).await;
        let took = began.elapsed();
        assert!(result.is_err() || !must_fail, "{shown}: {result:?}");
        assert!(took < Duration::from_secs(2), "{shown}: {took:?} {result:?}");
        if let (Some(_), Some(high)) = (start, peak()) {
            let grown = high.saturating_sub(low);
            // what is put aside in the time that a statement has is more on a faster machine, up to where the guard ends it
            let most = super::guard::MAX_GROWTH_BYTES + (16 << 20);
            assert!(grown < most, "{shown}: {} MiB {result:?}", grown >> 20);
            worst = (worst.0.max(took), worst.1.max(grown >> 20), grown >> 20);
        }
        if std::env::var_os("SHOW").is_some() {
            println!("{took:?} {} MiB {shown} => {:.200}", worst.2, format!("{result:?}"));
        }
    }
    println!("the slowest took {:?}, the largest {} MiB", worst.0, worst.1);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["app.db"]);
    assert!(!Path::new("/tmp/bgagent-evil.db").exists());
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

#[tokio::test]
async fn values_keep_their_digits() {
    let folder = database();
    let settings = settings(&folder, json!({}));
    let sql = "SELECT 9007199254740993 AS a, ?1 AS b, ?2 AS c, ?3 AS d, ?4 AS e, ?5 AS f, ?6 AS g, 1e999 AS h, 1 AS a";
    let params = json!([i64::MIN, 0.1, "ü'; DROP TABLE items", null, {"base64": "AP8="}, [1, {"x": 2}]]);
    let result = ask(&settings, json!({"sql": sql, "params": params})).await.unwrap();
    assert_eq!(
        result,
        json!({
            "columns": ["a", "b", "c", "d", "e", "f", "g", "h", "a_2"],
            "rows": [{
                "a": 9_007_199_254_740_993_i64, "b": i64::MIN, "c": 0.1, "d": "ü'; DROP TABLE items", "e": null,
                "f": {"base64": "AP8="}, "g": "[1,{\"x\":2}]", "h": "Infinity", "a_2": 1,
            }],
            "row_count": 1,
            "changed": 0,
            "truncated": false,
            "wake": true,
        })
    );
    let nothing = json!({"sql": "SELECT 1 AS a WHERE 1 = 0"});
    assert_eq!(ask(&settings, nothing).await.unwrap()["wake"], false, "a gate closes");
    let named = json!({"sql": "SELECT :a + @b + $c + :a AS sum", "params": {"a": 1, "b": 2, "c": 3}});
    assert_eq!(ask(&settings, named).await.unwrap()["rows"], json!([{"sum": 7}]));
    for (sql, params, part) in [
        ("SELECT ?1, ?2", json!([1]), "has 2 parameters, and 1 values"),
        ("SELECT :a", json!({"b": 1}), "`a` is missing"),
        ("SELECT :a", json!({"a": 1, "b": 1}), "no parameter `b`"),
        ("SELECT ?1", json!([u64::MAX]), "larger than the largest integer"),
        ("SELECT ?1", json!([{"base64": "!"}]), "base64 can't be read"),
        ("SELECT ?1", json!("1"), "`params` must be a list or an object"),
    ] {
        says(ask(&settings, json!({"sql": sql, "params": params})).await, part);
    }
}

#[tokio::test]
async fn replaced_functions_do_what_those_of_sqlite_do() {
    let folder = database();
    let settings = settings(&folder, json!({}));
    let plain = Connection::open_in_memory().unwrap();
    let values = [
        "'apple'", "'p'", "''", "'üpü'", "'ü'", "NULL", "12", "1.0", "1.5", "x'00ff'", "x'ff'", "x''",
        "'aab'", "' a '",
    ];
    for a in values {
        for b in values {
            let sql = format!(
                "SELECT instr({a}, {b}) AS i, replace({a}, {b}, 'Z') AS r, trim({a}, {b}) AS t, ltrim({a}, {b}) AS l, rtrim({a}, {b}) AS e"
            );
            let ours = ask(&settings, json!({"sql": sql})).await.unwrap();
            let theirs = plain.query_row(&sql, [], |row| {
                (0..5)
                    .map(|at| Ok(super::sqlite::json_of(row.get_ref(at)?)))
                    .collect::<rusqlite::Result<Vec<_>>>()
            });
            for (key, theirs) in ["i", "r", "t", "l", "e"].iter().zip(theirs.unwrap()) {
                // Bytes that are no text can't be told apart: SQLite would hand them on.
                if theirs.is_object() || theirs.as_str().is_some_and(|text| text.contains('\0')) {
                    continue;
                }
                assert_eq!(ours["rows"][0][key], theirs, "{key} of {a}, {b}");
            }
        }
    }
}

#[tokio::test]
async fn results_are_bounded() {
    let folder = database();
    let few = settings(&folder, json!({"max_rows": 7}));
    let result = ask(&few, json!({"sql": "SELECT * FROM big"})).await.unwrap();
    assert_eq!((&result["row_count"], &result["truncated"]), (&json!(7), &json!(true)));
    let result = ask(&few, json!({"sql": "SELECT * FROM big LIMIT 7"})).await.unwrap();
    assert_eq!((&result["row_count"], &result["truncated"]), (&json!(7), &json!(false)));
    let many = settings(&folder, json!({"max_rows": 100_000}));
    let result = ask(&many, json!({"sql": "SELECT printf('%.*c', 90, 'x') AS x FROM big"})).await.unwrap();
    assert_eq!(result["truncated"], json!(true));
    assert!((180 << 10..256 << 10).contains(&result.to_string().len()));
    let result = ask(&many, json!({"sql": "SELECT printf('%.*c', 900000, 'x') AS x"})).await.unwrap();
    assert_eq!((&result["row_count"], &result["truncated"]), (&json!(0), &json!(true)));
    assert!(result["note"].as_str().unwrap().contains("879 KiB"), "{result}");
}

#[tokio::test]
async fn only_listed_tables_are_seen() {
    let folder = database();
    let settings = settings(&folder, json!({"tables": ["Items", "notes", "v_items"]}));
    for sql in [
        "SELECT name FROM items",
        "SELECT count(*) FROM ITEMS",
        "SELECT * FROM v_items",
        "SELECT * FROM notes WHERE notes MATCH 'hello'",
        "PRAGMA table_info(items)",
        "SELECT name FROM pragma_table_info('items')",
        "SELECT value FROM json_each('[1]')",
        "WITH secret AS (SELECT 1 AS text) SELECT text FROM secret",
    ] {
        ask(&settings, json!({"sql": sql})).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    for sql in [
        "SELECT text FROM secret",
        "SELECT count(*) FROM secret",
        "SELECT 1 FROM secret",
        "SELECT 1 FROM main.secret",
        "SELECT (SELECT text FROM secret) FROM items",
        "WITH items AS (SELECT text FROM secret) SELECT * FROM items",
        "WITH v_items AS (SELECT text FROM secret) SELECT * FROM v_items",
        "SELECT * FROM (SELECT text FROM secret) AS v_items",
        "SELECT * FROM items WHERE EXISTS (SELECT 1 FROM secret WHERE text > 'a')",
        "SELECT name FROM items UNION SELECT text FROM secret",
        "SELECT sql FROM sqlite_master",
        "SELECT * FROM sqlite_schema",
        "SELECT * FROM sqlite_sequence",
        "PRAGMA table_info(secret)",
        "PRAGMA table_list",
        "PRAGMA table_list(secret)",
        "SELECT * FROM pragma_table_info('secret')",
        "SELECT * FROM pragma_table_list",
        "SELECT * FROM dbstat",
        "EXPLAIN SELECT text FROM secret",
    ] {
        let result = ask(&settings, json!({"sql": sql})).await;
        assert!(result.is_err(), "{sql}: {result:?}");
    }
    says(
        ask(&settings, json!({"sql": "SELECT * FROM tags"})).await,
        "not among those that may be used here: items",
    );
}

#[tokio::test]
async fn changes_are_made_where_they_are_allowed() {
    let folder = database();
    let free = settings(&folder, json!({"mode": "read_write"}));
    let insert =
        json!({"sql": "INSERT INTO items(name) VALUES (?1), (?2) RETURNING name", "params": ["a", "b"]});
    let result = ask(&free, insert).await.unwrap();
    assert_eq!((&result["changed"], &result["row_count"]), (&json!(2), &json!(2)));
    let result = ask(&free, json!({"sql": "UPDATE items SET price = 1"})).await.unwrap();
    assert_eq!(result["changed"], json!(5));
    assert_eq!(
        ask(&free, json!({"sql": "SELECT count(*) AS n FROM log"})).await.unwrap()["rows"],
        json!([{"n": 5}])
    );
    let one = settings(&folder, json!({"mode": "read_write", "max_rows": 1}));
    let result = ask(&one, json!({"sql": "DELETE FROM log RETURNING text"})).await.unwrap();
    assert_eq!((&result["changed"], &result["truncated"]), (&json!(5), &json!(true)));
    assert_eq!(
        ask(&free, json!({"sql": "SELECT count(*) AS n FROM log"})).await.unwrap()["rows"],
        json!([{"n": 0}])
    );
    for (sql, part) in [
        ("CREATE TABLE x (y)", "can't be created"),
        ("DROP TABLE items", "can't be created, changed or dropped"),
        ("ATTACH '/tmp/bgagent-evil.db' AS e", "only SELECT"),
        ("VACUUM INTO '/tmp/bgagent-evil.db'", "only SELECT"),
        ("PRAGMA writable_schema = 1", "not allowed"),
        ("PRAGMA foreign_keys = 0", "not allowed"),
        ("UPDATE sqlite_schema SET sql = 'x'", "may not be modified"),
        ("INSERT INTO tags VALUES (77, 'x')", "FOREIGN KEY constraint failed"),
        ("INSERT INTO items(id) VALUES (1)", "UNIQUE constraint failed: items.id"),
        ("DELETE FROM items; DELETE FROM log", "more than one"),
        ("SELECT load_extension('x')", "`load_extension` is not allowed"),
        ("BEGIN", "only SELECT"),
    ] {
        says(ask(&free, json!({"sql": sql})).await, part);
    }
    let builder = settings(&folder, json!({"mode": "read_write", "ddl": true}));
    for sql in [
        "CREATE TABLE x (y, z GENERATED ALWAYS AS (upper(y)))",
        "CREATE INDEX xy ON x(y)",
        "ALTER TABLE x ADD COLUMN w",
        "ALTER TABLE x RENAME TO xx",
        "CREATE VIEW xv AS SELECT * FROM xx",
        "CREATE VIRTUAL TABLE xf USING fts5(t)",
        "INSERT INTO xf VALUES ('word')",
        "DROP TABLE xf",
        "DROP VIEW xv",
        "REINDEX xx",
        "ANALYZE xx",
        "DROP TABLE xx",
    ] {
        ask(&builder, json!({"sql": sql})).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    for sql in ["CREATE TEMP TABLE x (y)", "ATTACH '' AS e", "VACUUM", "CREATE VIRTUAL TABLE v USING dbstat"]
    {
        assert!(ask(&builder, json!({"sql": sql})).await.is_err(), "{sql}");
    }
    // DEFENSIVE: not even then.
    let schema = ask(&builder, json!({"sql": "UPDATE sqlite_schema SET sql = 'x'"})).await;
    says(schema, "may not be modified");
    let list = settings(&folder, json!({"mode": "read_write", "tables": ["log"]}));
    ask(&list, json!({"sql": "INSERT INTO log VALUES ('c')"})).await.unwrap();
    says(ask(&list, json!({"sql": "DELETE FROM tags"})).await, "not among those");
}

#[tokio::test]
async fn named_statements_are_all_there_is() {
    let folder = database();
    let statements = json!({"save": "INSERT INTO tags VALUES (:item, :tag)", "tags": "SELECT tag FROM tags"});
    let bound = settings(&folder, json!({"mode": "read_write", "statements": statements}));
    let result =
        ask(&bound, json!({"statement": "save", "params": {"item": 3, "tag": "'); DROP TABLE tags; --"}}));
    assert_eq!(result.await.unwrap()["changed"], json!(1));
    let result = ask(&bound, json!({"statement": "tags"})).await.unwrap();
    assert_eq!(result["rows"][2], json!({"tag": "'); DROP TABLE tags; --"}));
    says(ask(&bound, json!({"sql": "DELETE FROM tags"})).await, "`statement` is missing");
    says(ask(&bound, json!({"statement": "drop"})).await, "`statement` must be one of save, tags");
    assert_eq!(about(Some(&bound)).effect, Effect::Effect);
    let reading = settings(&folder, json!({"statements": {"tags": "SELECT tag FROM tags"}}));
    assert_eq!(about(Some(&reading)).effect, Effect::Read);
    assert!(about(Some(&reading)).untrusted);
    ask(&reading, json!({"statement": "tags"})).await.unwrap();
    ask(&reading, json!({"sql": "SELECT 1"})).await.unwrap();
    says(ask(&reading, json!({"sql": "SELECT 1", "statement": "tags"})).await, "either `sql` or `statement`");
    says(ask(&reading, json!({})).await, "`sql` is missing");
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let folder = database();
    let good = settings(&folder, json!({}));
    for (sql, part) in [
        ("SELECT * FROM item", "no such table: item"),
        ("SELECT * FROM item", "there are: items, tags"),
        ("SELECT nmae FROM items", "no such column: nmae"),
        ("SELECT id FROM items WHER id = 1", "syntax error"),
        ("DELETE FROM items", "read-only here"),
    ] {
        says(ask(&good, json!({"sql": sql})).await, part);
    }
    let at = |path: &Path| SqlSettings {
        mode: ToolMode::ReadWrite,
        ..SqlSettings::of(TextOrSecret::Text(format!("sqlite:{}", path.display())))
    };
    let path = folder.path().join("missing.db");
    says(ask(&at(&path), json!({"sql": "SELECT 1"})).await, "never created");
    assert!(!path.exists());
    says(ask(&at(folder.path()), json!({"sql": "SELECT 1"})).await, "not a file");
    let path = folder.path().join("text.db");
    std::fs::write(&path, "this is a text and no database, long enough to be read as one. ".repeat(30))
        .unwrap();
    says(ask(&at(&path), json!({"sql": "SELECT * FROM x"})).await, "not a SQLite database");
    let path = folder.path().join("bgagent.db");
    std::fs::write(&path, "").unwrap();
    says(ask(&at(&path), json!({"sql": "SELECT 1"})).await, "the daemon's own database");
    says(ask_with(None, json!({"sql": "SELECT 1"})).await, "does nothing without settings");
    let busy = Connection::open(folder.path().join("app.db")).unwrap();
    busy.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let waits = settings(&folder, json!({"timeout": 0.2}));
    says(ask(&waits, json!({"sql": "SELECT * FROM items"})).await, "in use by another program");
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_its_thread() {
    let folder = database();
    let settings = settings(&folder, json!({"mode": "read_write", "timeout": 60.0}));
    let sql =
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) INSERT INTO log SELECT i FROM c";
    let call = ask(&settings, json!({"sql": sql}));
    let early = tokio::time::timeout(Duration::from_millis(300), call).await;
    assert!(early.is_err(), "{early:?}");
    // The thread lets go of the database, and what it had begun is undone.
    let result = ask(&settings, json!({"sql": "DELETE FROM log RETURNING text"})).await.unwrap();
    assert_eq!(result["changed"], json!(3));
}

/// A thread that hangs, such as on a disk that does not answer, may be just making its change last.
#[tokio::test]
async fn a_change_that_is_not_waited_for_may_have_been_made() {
    use std::sync::atomic::AtomicBool;
    for (changes, panics) in [(true, false), (true, true), (false, false), (false, true)] {
        let (release, hung) = std::sync::mpsc::channel::<()>();
        let work = tokio::task::spawn_blocking(move || {
            assert!(!panics, "the disk fell");
            let _ = hung.recv();
            Ok(Value::Null)
        });
        let patience = if panics { Duration::from_secs(60) } else { Duration::from_millis(20) };
        let error = sqlite::outcome(work, &AtomicBool::new(changes), patience).await.unwrap_err();
        assert_eq!(error.may_have_happened(), changes, "{error:?}");
        drop(release);
    }
}

#[tokio::test]
async fn what_is_sorted_fills_no_disk() {
    let folder = database();
    let sort = "SELECT printf('%.30000c', 'a') || a.x AS x FROM big a, big b ORDER BY x";
    let settings = settings(&folder, json!({"timeout": 25}));
    let files = || {
        let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        open.filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .filter(|path| path.to_string_lossy().contains("etilqs"))
            .count()
    };
    let asked = tokio::spawn(async move { ask(&settings, json!({"sql": sort})).await });
    let mut most = 0;
    while !asked.is_finished() {
        most = most.max(files());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    says(asked.await.unwrap(), "too much memory");
    assert_eq!(most, 0, "nothing is put into files");
}
