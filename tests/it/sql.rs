//! `sql` on a real PostgreSQL server.
use crate::postgres::Server;
use bgagent::config::{self, Context};
use bgagent::tools::{CallContext, Tools};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Tools of a configuration in which `$ADDRESS` is where the server is.
fn tools_of(server: &Server, text: &str) -> Tools {
    let text = text.replace("$ADDRESS", &server.address());
    let path = server.folder.path().join("agents.toml");
    for (name, password) in [("boss.pw", "rooty"), ("app.pw", "apppw"), ("wrong.pw", "not-this-one")] {
        let path = server.folder.path().join(name);
        std::fs::write(&path, password).expect("our folder");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("our folder");
    }
    let context = Context::system("2026-06-01T12:00:00Z".parse().expect("a time"));
    let loaded = config::parse(text, &path, &context);
    Tools::new(&loaded.unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet)
}

const TOOLS: &str = r#"
[tools.boss]
type = "sql"
url = "postgres://boss@$ADDRESS/postgres"
password = { file = "boss.pw" }
mode = "read_write"
ddl = true
[tools.mighty]
type = "sql"
url = "postgres://boss@$ADDRESS/postgres"
password = { file = "boss.pw" }
[tools.reads]
type = "sql"
url = "postgres://app@$ADDRESS/postgres"
password = { file = "app.pw" }
max_rows = 1000
[tools.hasty]
type = "sql"
url = "postgres://app@$ADDRESS/postgres"
password = { file = "app.pw" }
timeout = "500ms"
[tools.writes]
type = "sql"
url = "postgres://app@$ADDRESS/postgres"
password = { file = "app.pw" }
mode = "read_write"
[tools.hasty_writes]
type = "sql"
url = "postgres://app@$ADDRESS/postgres"
password = { file = "app.pw" }
mode = "read_write"
timeout = "500ms"
[tools.named]
type = "sql"
url = "postgres://app@$ADDRESS/postgres"
password = { file = "app.pw" }
mode = "read_write"
statements = { save = "INSERT INTO items(name, price) VALUES (:name, :price::numeric)" }
[tools.wrong]
type = "sql"
url = "postgres://app@$ADDRESS/postgres"
password = { file = "wrong.pw" }
[tools.nowhere]
type = "sql"
url = "postgres://app@127.0.0.1:1/postgres"
[tools.no_db]
type = "sql"
url = "postgres://app@$ADDRESS/nothing"
password = { file = "app.pw" }
[tools.encrypted]
type = "sql"
url = "postgres://app@$ADDRESS/postgres?sslmode=require"
password = { file = "app.pw" }
"#;

async fn ask(tools: &Tools, name: &str, args: Value) -> Result<Value, String> {
    let output = tools.call(name, &args, &CallContext::default()).await;
    output.map(|output| output.result).map_err(|error| error.to_string())
}

#[track_caller]
fn says(result: &Result<Value, String>, parts: &[&str]) {
    let error = result.as_ref().expect_err("an error");
    for part in parts {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    for secret in ["rooty", "apppw", "not-this-one"] {
        assert!(!error.contains(secret), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_answers_and_stays_as_it_is() {
    let Some(server) = Server::start() else { return };
    let tools = tools_of(&server, TOOLS);
    let deadline = Instant::now() + super::support::PATIENCE;
    while let Err(error) = ask(&tools, "boss", json!({"sql": "SELECT 1"})).await {
        assert!(Instant::now() < deadline, "the server does not come up: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for sql in [
        "CREATE ROLE app LOGIN PASSWORD 'apppw'",
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE TABLE items (id serial PRIMARY KEY, name text NOT NULL, price numeric, data jsonb)",
        "CREATE TABLE private (x int)",
        "INSERT INTO items(name, price) VALUES ('apple', 1.50), ('pear', 2)",
        "GRANT ALL ON items, items_id_seq TO app",
        "GRANT CREATE ON SCHEMA public TO app",
        "CREATE FUNCTION at_the_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CASE NEW.name \
            WHEN 'slow' THEN PERFORM pg_sleep(60); WHEN 'gone' THEN PERFORM pg_terminate_backend(pg_backend_pid()); \
            WHEN 'bad' THEN RAISE 'not so'; ELSE NULL; END CASE; RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER at_the_end AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED \
            FOR EACH ROW EXECUTE FUNCTION at_the_end()",
        "CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM items; RETURN 1; END'",
    ] {
        ask(&tools, "boss", json!({"sql": sql})).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    values_keep_their_digits(&tools).await;
    parameters_are_bound(&tools).await;
    nothing_is_changed_by_a_reader(&tools).await;
    changes_are_made(&tools).await;
    results_are_bounded(&tools).await;
    errors_say_what_to_do(&tools).await;
    what_is_left_is_cancelled(&tools).await;
    a_commit_without_an_answer_may_have_been_made(&tools).await;
}

async fn values_keep_their_digits(tools: &Tools) {
    // What is written as text is read back as the same value, and as this JSON.
    let values = [
        ("true", json!(true)),
        ("9223372036854775807", json!(i64::MAX)),
        ("(-32768)::int2", json!(-32768)),
        ("0.1::float4", json!(0.1)),
        ("0.1::float8", json!(0.1)),
        ("'NaN'::float8", json!("NaN")),
        ("'-Infinity'::float4", json!("-Infinity")),
        ("12345678901234567890.123456789000", json!("12345678901234567890.123456789000")),
        ("0.00001234::numeric", json!("0.00001234")),
        ("(-10000)::numeric", json!("-10000")),
        ("1e20::numeric", json!("100000000000000000000")),
        ("0::numeric", json!("0")),
        ("'NaN'::numeric", json!("NaN")),
        ("'ü'::varchar", json!("ü")),
        ("'x'::\"char\"", json!("x")),
        ("'\\x00ff'::bytea", json!({"base64": "AP8="})),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
        ("'{\"a\": [1, 2.5]}'::jsonb", json!({"a": [1, 2.5]})),
        ("'{\"a\":12345678901234567890123}'::json", json!("{\"a\":12345678901234567890123}")),
        ("'2024-02-29'::date", json!("2024-02-29")),
        ("'0044-03-15 BC'::date", json!("0044-03-15 BC")),
        ("'infinity'::date", json!("infinity")),
        ("'12:34:56.78'::time", json!("12:34:56.78")),
        ("'12:34:56+05:30'::timetz", json!("12:34:56+05:30")),
        ("'2024-02-29 12:34:56.789012'::timestamp", json!("2024-02-29T12:34:56.789012")),
        ("'2024-02-29 12:34:56+02'::timestamptz", json!("2024-02-29T10:34:56Z")),
        ("'1 year 2 mons -3 days 04:05:06.7'::interval", json!("P1Y2M-3DT4H5M6.7S")),
        ("'10.0.0.1'::inet", json!("10.0.0.1")),
        ("'10.0.0.0/8'::cidr", json!("10.0.0.0/8")),
        ("'::1'::inet", json!("::1")),
        ("'08:00:2b:01:02:03'::macaddr", json!("08:00:2b:01:02:03")),
        ("B'101'", json!("101")),
        ("ARRAY[1, NULL, 3]", json!([1, null, 3])),
        ("ARRAY[[1, 2], [3, 4]]", json!([[1, 2], [3, 4]])),
        ("ARRAY['a,b', 'c\"d']", json!(["a,b", "c\"d"])),
        ("'{}'::int[]", json!([])),
        ("ARRAY[1.50, 2.5]::numeric[]", json!(["1.50", "2.5"])),
        ("'happy'::mood", json!("happy")),
        ("int4range(1, 5)", json!("[1,5)")),
        ("'[2024-01-01,)'::daterange", json!("[2024-01-01,)")),
        ("'empty'::int4range", json!("empty")),
        ("'{[1,3),[5,7)}'::int4multirange", json!("{[1,3),[5,7)}")),
        ("NULL::int", json!(null)),
        ("'16/B374D848'::pg_lsn", json!("16/B374D848")),
    ];
    for (sql, wanted) in values {
        let result = ask(tools, "reads", json!({"sql": format!("SELECT {sql} AS x")})).await;
        let result = result.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(result["rows"][0]["x"], wanted, "{sql}");
        if let Value::String(text) = &wanted {
            let back = format!("SELECT $1 IS NOT DISTINCT FROM x AS same FROM (SELECT {sql} AS x) AS t");
            // json has no equality
            if !sql.ends_with("::json") {
                let result = ask(tools, "reads", json!({"sql": back, "params": [text]})).await;
                assert_eq!(result.expect(sql)["rows"][0]["same"], json!(true), "{sql}");
            }
        }
    }
    let result =
        ask(tools, "reads", json!({"sql": "SELECT i FROM items AS i WHERE id = 1"})).await.expect("a row");
    assert_eq!(result["rows"][0]["i"], json!({"id": 1, "name": "apple", "price": "1.50", "data": null}));
    let result = ask(tools, "reads", json!({"sql": "SELECT 1 AS a, 2 AS a, 3"})).await.expect("a row");
    assert_eq!(result["columns"], json!(["a", "a_2", "?column?"]));
    every_type_is_shown(tools).await;
}

/// What has no form of its own comes as the text that the server writes.
async fn every_type_is_shown(tools: &Tools) {
    for (sql, wanted) in [
        ("'(1,2)'::point", "(1,2)"),
        ("ARRAY['(1,2)'::point, NULL]", "{\"(1,2)\",NULL}"),
        ("ROW('(1,2)'::point, 'a,b')", "(\"(1,2)\",\"a,b\")"),
        ("to_tsvector('simple', 'a b')", "'a':1 'b':2"),
        ("'a & b'::tsquery", "'a' & 'b'"),
        ("'$.a'::jsonpath", "$.\"a\""),
        ("1.5::numeric::money", "$1.50"),
        ("'items'::regclass", "items"),
        ("'lower(text)'::regprocedure", "lower(text)"),
        ("'app=r/boss'::aclitem", "app=r/boss"),
        ("'(0,1)'::tid", "(0,1)"),
        ("'((0,0),(1,1))'::box", "(1,1),(0,0)"),
        ("'10:20:10,15'::txid_snapshot", "10:20:10,15"),
        ("'5'::xid8", "5"),
    ] {
        for text in [
            format!("SELECT {sql} AS x, 1 AS y"),
            format!("WITH q AS (SELECT {sql} AS x) SELECT x, 1 AS y FROM q ORDER BY y; -- the end"),
            format!("SELECT {sql} AS x, $1::int AS y"),
        ] {
            let params = if text.contains("$1") { json!([1]) } else { json!([]) };
            let result = ask(tools, "reads", json!({"sql": text, "params": params})).await;
            let result = result.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(result["rows"], json!([{"x": wanted, "y": 1}]), "{text}");
        }
    }
    let two = json!({"sql": "SELECT '(1,2)'::point, '(3,4)'::point"});
    let result = ask(tools, "reads", two).await.expect("a row");
    assert_eq!(result["rows"], json!([{"point": "(1,2)", "point_2": "(3,4)"}]));
    let given = json!({"sql": "INSERT INTO items(name) VALUES ('p') RETURNING '(1,2)'::point AS x"});
    let result = ask(tools, "writes", given).await.expect("a row");
    assert_eq!((&result["rows"], &result["changed"]), (&json!([{"x": "(1,2)"}]), &json!(1)));
    let gone = json!({"sql": "WITH x AS (DELETE FROM items WHERE name = 'p' RETURNING ctid) SELECT ctid AS x FROM x"});
    assert_eq!(ask(tools, "writes", gone).await.expect("a row")["row_count"], json!(1));
}

async fn parameters_are_bound(tools: &Tools) {
    let args = json!({
        "sql": "SELECT $1::int8 AS a, $2::numeric AS b, $3::text AS c, $4::jsonb AS d, $5::text[] AS e, $6::bytea AS f, $7::bool AS g, $8::int AS h, $9::timestamptz AS i",
        "params": [9_007_199_254_740_993_i64, "1.50", "'; DROP TABLE items; --", {"x": [1]}, ["a\"", null], {"base64": "AP8="}, true, null, "2024-01-01T00:00:00+01:00"],
    });
    let result = ask(tools, "reads", args).await.expect("a row");
    assert_eq!(
        result["rows"][0],
        json!({
            "a": 9_007_199_254_740_993_i64, "b": "1.50", "c": "'; DROP TABLE items; --", "d": {"x": [1]},
            "e": ["a\"", null], "f": {"base64": "AP8="}, "g": true, "h": null, "i": "2023-12-31T23:00:00Z",
        })
    );
    let args = json!({"sql": "SELECT id FROM items WHERE name = :name AND price < :most", "params": {"name": "apple", "most": 2}});
    assert_eq!(ask(tools, "reads", args).await.expect("a row")["rows"], json!([{"id": 1}]));
    let named = json!({"sql": "SELECT :a::int", "params": {"b": 1}});
    says(&ask(tools, "reads", named).await, &["`a` is missing"]);
    says(&ask(tools, "reads", json!({"sql": "SELECT $1::int"})).await, &["has 1 parameters, and 0 values"]);
    let args = json!({"sql": "SELECT $1::int", "params": ["abc"]});
    says(&ask(tools, "reads", args).await, &["invalid input syntax for type integer", "abc"]);
}

/// Statements that a reader sends in vain.
const HOSTILE: &[&str] = &[
    "INSERT INTO items(name) VALUES ('x')",
    "UPDATE items SET name = 'x'",
    "DELETE FROM items",
    "TRUNCATE items",
    "DROP TABLE items",
    "CREATE TABLE x (y int)",
    "CREATE TEMP TABLE x (y int)",
    "SELECT * INTO x FROM items",
    "SELECT * INTO TEMP x FROM items",
    "WITH x AS (DELETE FROM items RETURNING *) SELECT * FROM x",
    "WITH x AS (INSERT INTO items(name) VALUES ('x') RETURNING *) SELECT * FROM x",
    "EXPLAIN ANALYZE DELETE FROM items",
    "EXPLAIN ANALYZE INSERT INTO items(name) VALUES ('x')",
    "SELECT sneaky()",
    "SELECT set_config('transaction_read_only', 'off', true), sneaky()",
    "SELECT set_config('default_transaction_read_only', 'off', false), sneaky()",
    "SELECT nextval('items_id_seq')",
    "SELECT setval('items_id_seq', 1000)",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT * FROM items FOR UPDATE",
    "SET TRANSACTION READ WRITE",
    "SET default_transaction_read_only = off",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "RESET ALL",
    "BEGIN",
    "COMMIT",
    "COMMIT; DELETE FROM items",
    "ROLLBACK AND CHAIN",
    "SELECT 1; DELETE FROM items",
    "SELECT 1; COMMIT; DELETE FROM items",
    "DO $$ BEGIN DELETE FROM items; END $$",
    "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM items; END $$",
    "CALL sneaky()",
    "COPY items TO PROGRAM 'touch /tmp/bgagent-evil'",
    "COPY items TO '/tmp/bgagent-evil'",
    "COPY (SELECT 1) TO STDOUT",
    "COPY items FROM STDIN",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_reload_conf()",
    "NOTIFY x",
    "LISTEN x",
    "LOCK TABLE items",
    "VACUUM",
    "ANALYZE items",
    "REINDEX TABLE items",
    "CLUSTER",
    "CHECKPOINT",
    "PREPARE x AS DELETE FROM items",
    "EXECUTE x",
    "GRANT ALL ON items TO public",
    "ALTER ROLE app SUPERUSER",
    "ALTER TABLE items ADD COLUMN x int",
    "LOAD '/tmp/x.so'",
    "/* SELECT */ DELETE FROM items",
    "-- x\nDELETE FROM items",
    "(DELETE FROM items)",
    "SELECT * FROM private",
    "",
    ";",
    "SELECT",
];

async fn nothing_is_changed_by_a_reader(tools: &Tools) {
    let state = "SELECT (SELECT count(*) FROM pg_class) AS relations, (SELECT string_agg(i::text, ';') FROM items i) AS items, (SELECT last_value FROM items_id_seq) AS seq, (SELECT count(*) FROM pg_largeobject_metadata) AS objects";
    let before = ask(tools, "boss", json!({"sql": state})).await.expect("a row");
    for sql in HOSTILE {
        let result = ask(tools, "reads", json!({"sql": sql})).await;
        // A SELECT of nothing is a statement of PostgreSQL. Before release 16 a read-only transaction may make
        // a large object; it is gone with the transaction, which is never committed.
        assert!(result.is_err() || *sql == "SELECT" || sql.starts_with("SELECT lo_"), "{sql}: {result:?}");
    }
    assert_eq!(ask(tools, "boss", json!({"sql": state})).await.expect("a row"), before);
    assert!(!Path::new("/tmp/bgagent-evil").exists());
    says(&ask(tools, "mighty", json!({"sql": "SELECT 1"})).await, &["superuser", "CREATE ROLE reader"]);
}

async fn changes_are_made(tools: &Tools) {
    let insert =
        json!({"sql": "INSERT INTO items(name) VALUES ($1), ($2) RETURNING name", "params": ["a", "b"]});
    let result = ask(tools, "writes", insert).await.expect("two rows");
    assert_eq!((&result["changed"], &result["row_count"]), (&json!(2), &json!(2)));
    let result = ask(tools, "writes", json!({"sql": "DELETE FROM items WHERE name IN ('a', 'b')"}))
        .await
        .expect("done");
    assert_eq!((&result["changed"], &result["rows"]), (&json!(2), &json!([])));
    for sql in
        ["CREATE TABLE x (y int)", "TRUNCATE items", "COPY items TO STDOUT", "DO $$ BEGIN END $$", "COMMIT"]
    {
        says(&ask(tools, "writes", json!({"sql": sql})).await, &["only SELECT, INSERT"]);
    }
    // What fails leaves nothing behind.
    let twice = json!({"sql": "INSERT INTO items(id, name) VALUES (500, 'x'), (1, 'y')"});
    says(&ask(tools, "writes", twice).await, &["duplicate key", "items_pkey"]);
    let count = json!({"sql": "SELECT count(*) AS n FROM items"});
    assert_eq!(ask(tools, "reads", count.clone()).await.expect("a row")["rows"], json!([{"n": 2}]));
    let save = json!({"statement": "save", "params": {"name": "'); DELETE FROM items; --", "price": "0.10"}});
    assert_eq!(ask(tools, "named", save).await.expect("done")["changed"], json!(1));
    says(&ask(tools, "named", json!({"sql": "DELETE FROM items"})).await, &["`statement` is missing"]);
    assert_eq!(ask(tools, "reads", count).await.expect("a row")["rows"], json!([{"n": 3}]));
}

async fn results_are_bounded(tools: &Tools) {
    let result =
        ask(tools, "reads", json!({"sql": "SELECT generate_series(1, 100000000) AS n"})).await.expect("rows");
    assert_eq!((&result["row_count"], &result["truncated"]), (&json!(1000), &json!(true)));
    let result =
        ask(tools, "reads", json!({"sql": "SELECT repeat('x', 1000) FROM generate_series(1, 1000)"}))
            .await
            .expect("rows");
    assert_eq!(result["truncated"], json!(true));
    assert!(result.to_string().len() < 256 << 10);
    let result = ask(tools, "reads", json!({"sql": "SELECT repeat('x', 1000000)"})).await.expect("no row");
    assert!(result["note"].is_string() && result["row_count"] == 0, "{result}");
    says(&ask(tools, "reads", json!({"sql": "SELECT repeat('x', 40000000)"})).await, &["more than 16 MiB"]);
}

async fn errors_say_what_to_do(tools: &Tools) {
    let one = json!({"sql": "SELECT 1"});
    says(&ask(tools, "nowhere", one.clone()).await, &["127.0.0.1:1", "is the server running"]);
    says(&ask(tools, "wrong", one.clone()).await, &["password authentication failed", "check the user"]);
    says(
        &ask(tools, "no_db", one.clone()).await,
        &["\"nothing\" does not exist", "check the database's name"],
    );
    says(&ask(tools, "encrypted", one).await, &["TLS"]);
    let reads = async |sql: &str| ask(tools, "reads", json!({"sql": sql})).await;
    says(&reads("SELECT ü, * FORM items").await, &["syntax error", "at `FORM items`"]);
    says(&reads("SELECT * FROM itmes").await, &["\"itmes\" does not exist", "information_schema.tables"]);
    says(&reads("SELECT nmae FROM items").await, &["\"nmae\" does not exist", "information_schema.columns"]);
    says(&reads("SELECT * FROM private").await, &["permission denied", "GRANT"]);
    says(&reads("SELECT sneaky()").await, &["cannot execute DELETE in a read-only transaction"]);
}

async fn what_is_left_is_cancelled(tools: &Tools) {
    let began = Instant::now();
    let sleeps = json!({"sql": "SELECT pg_sleep(60)"});
    let result = ask(tools, "hasty", sleeps.clone()).await;
    assert!(began.elapsed() < super::support::SOON);
    says(&result, &["time"]);
    let dropped = ask(tools, "reads", sleeps);
    assert!(tokio::time::timeout(Duration::from_millis(500), dropped).await.is_err());
    let running = json!({"sql": "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"});
    let deadline = Instant::now() + super::support::SOON;
    while ask(tools, "boss", running.clone()).await.expect("a row")["rows"] != json!([{"n": 0}]) {
        assert!(Instant::now() < deadline, "the statement of a call that was dropped still runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A deferred trigger runs within COMMIT: there the time is up, or the connection is lost.
async fn a_commit_without_an_answer_may_have_been_made(tools: &Tools) {
    for (name, sql, happened) in [
        ("hasty_writes", "INSERT INTO items(name) VALUES ('slow')", true),
        ("writes", "INSERT INTO items(name) VALUES ('gone')", true),
        ("writes", "INSERT INTO items(name) VALUES ('bad')", false),
        // Before it, nothing lasts.
        ("hasty_writes", "INSERT INTO items(name) SELECT 'x' FROM pg_sleep(60)", false),
        ("writes", "INSERT INTO items(name) SELECT 'x' FROM pg_terminate_backend(pg_backend_pid())", false),
    ] {
        let error = tools.call(name, &json!({"sql": sql}), &CallContext::default()).await.expect_err(sql);
        assert_eq!(error.may_have_happened(), happened, "{sql}: {error:?}");
        assert!(!happened || error.to_string().contains("nobody knows"), "{sql}: {error}");
    }
}
