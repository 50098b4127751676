//! From a real PostgreSQL server to a folder.
use super::check::{Rows, archived, is_partition};
use super::crash::dies_in;
use super::*;
use crate::postgres::Server;
use crate::support::PATIENCE;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;
use tokio_postgres::{Client, NoTls};

/// A server with a role of its own for the archive.
pub(super) struct Site {
    pub(super) server: Server,
    pub(super) client: Client,
}

impl Site {
    pub(super) async fn start() -> Option<Self> {
        let server = Server::start()?;
        let address = format!("postgres://boss:rooty@{}/postgres", server.address());
        let deadline = Instant::now() + PATIENCE;
        let client = loop {
            match tokio_postgres::connect(&address, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    break client;
                }
                Err(error) => assert!(Instant::now() < deadline, "the server does not come up: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        client.batch_execute("SET TimeZone = 'UTC'; CREATE ROLE app LOGIN PASSWORD 'apppw'; GRANT CREATE ON SCHEMA public TO app; GRANT CREATE ON DATABASE postgres TO app; SET ROLE app").await.unwrap();
        let password = server.folder.path().join("app.pw");
        std::fs::write(&password, "apppw").expect("our folder");
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).expect("our folder");
        Some(Self { server, client })
    }

    pub(super) fn settings(&self, more: &str) -> String {
        format!(
            "[tools.db]\ntype = \"sql\"\nurl = \"postgres://app@{}/postgres\"\npassword = {{ file = \"app.pw\" }}\nmode = \"read_write\"\n\
             [tools.old]\ntype = \"archive_rows\"\n\
             from = {{ sql = \"db\", table = \"t\", key = [\"id\"], column = \"at\", older_than = \"90d\" }}\n\
             to = {{ folder = \"archive\" }}\n{more}\n",
            self.server.address()
        )
    }

    pub(super) fn tools(&self, more: &str) -> Tools {
        tools(self.server.folder.path(), &self.settings(more))
    }

    pub(super) async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(super) async fn count(&self, table: &str) -> i64 {
        self.client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
    }

    /// A table `t` with rows 1 to `count`, every second one of them old.
    pub(super) async fn fill(&self, count: i64) {
        self.sql(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t(id bigint PRIMARY KEY, at timestamptz NOT NULL, note text);
             INSERT INTO t SELECT i, now() - CASE WHEN i % 2 = 1 THEN interval '200 days' ELSE interval '0' END, 'row ' || i
               FROM generate_series(1, {count}) AS i"
        ))
        .await;
    }

    pub(super) async fn table(&self) -> Rows {
        let rows = self.client.query("SELECT id, at::text, note FROM t", &[]).await.unwrap();
        let of = |row: &tokio_postgres::Row| {
            let (id, at, note): (i64, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
            (id.to_string(), json!({"id": id, "at": at, "note": note}))
        };
        rows.iter().map(of).collect()
    }

    fn folder(&self) -> PathBuf {
        self.server.folder.path().join("archive")
    }

    /// Empties the archive.
    fn clear(&self) {
        let _ = std::fs::remove_dir_all(self.folder());
    }

    #[track_caller]
    fn whole(&self, left: &Rows, all: &Rows) -> (usize, usize) {
        let old = archived(&self.folder(), "id", left);
        is_partition(left, &old, all);
        (left.len(), old.len())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_postgres_move_and_come_back() {
    let Some(site) = Site::start().await else { return };
    moves(&site).await;
    every_type_survives(&site).await;
    composite_keys_and_partitions(&site).await;
    ages_of_each_type(&site).await;
    unfit_tables(&site).await;
    others_need_them(&site).await;
    triggers_and_policies(&site).await;
    changes_between(&site).await;
    turns(&site).await;
}

async fn moves(site: &Site) {
    site.fill(1000).await;
    let all = site.table().await;
    let tools = site.tools("chunk_rows = 64");
    let done = archive(&tools, "old").await.unwrap();
    assert_eq!((&done["moved"], &done["chunks"], &done["more"]), (&json!(500), &json!(8), &json!(false)));
    assert_eq!(site.whole(&site.table().await, &all), (500, 500));
    let range = ArchiveRange { key: vec!["501".into()], ..ArchiveRange::default() };
    assert_eq!(restore(&tools, "old", range).await.unwrap()["restored"], 1);
    assert_eq!(site.whole(&site.table().await, &all), (501, 499));
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 499);
    assert_eq!(site.table().await, all);
    assert_eq!(ask(&tools, "old", &ArchiveAsk::List).await.unwrap()["rows"], 0);
    // by time, and with a key that is taken
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 500);
    site.sql("INSERT INTO t VALUES (1, now(), 'another one')").await;
    let to = ArchiveRange { to: Some(jiff::Timestamp::now()), ..ArchiveRange::default() };
    let back = restore(&tools, "old", to).await.unwrap();
    assert_eq!((&back["restored"], &back["conflicts"]), (&json!(499), &json!(1)), "{back}");
    site.clear();
}

/// Values of each type, as the server reads them.
const VALUES: &[(&str, &[&str])] = &[
    ("bigint", &["9223372036854775807", "-9007199254740993"]),
    ("smallint", &["-32768"]),
    ("numeric", &["12345678901234567890.123456789000", "'NaN'", "'Infinity'", "0.00", "-1e-20"]),
    ("numeric(12,4)", &["1.5"]),
    ("real", &["0.1", "'NaN'", "'-Infinity'", "3.4028235e38"]),
    ("double precision", &["0.1", "'NaN'", "'Infinity'", "5e-324", "'-0'", "1.7976931348623157e308"]),
    ("boolean", &["true", "false"]),
    ("text", &["''", "E'tab\\t\\n\\\\ \"quote\" ''single'' ü \\U0001F600'", "'null'", "'12'", "'\\N'"]),
    ("varchar(20)", &["'ends with blanks  '"]),
    ("character(6)", &["'ab'", "''"]),
    ("bpchar", &["'blanks  '"]),
    ("\"char\"", &["'x'"]),
    ("name", &["'n'"]),
    ("bytea", &["'\\x00ff27'", "''"]),
    ("uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]),
    ("json", &["'{\"a\":  [1, 2.50], \"a\": null}'", "E'{\\n\"x\": 1}'", "'null'"]),
    ("jsonb", &["'{\"a\": [1, 2.50, 12345678901234567890123]}'", "'null'", "'\"s\"'"]),
    ("date", &["'2024-02-29'", "'infinity'", "'0044-03-15 BC'"]),
    ("time", &["'12:34:56.789012'"]),
    ("timetz", &["'12:34:56+05:30'"]),
    ("timestamp", &["'2024-02-29 12:34:56.789012'", "'-infinity'"]),
    ("timestamptz", &["'2024-02-29 12:34:56.789012+02'", "'infinity'", "'0044-03-15 12:00:00 BC'"]),
    ("interval", &["'1 year 2 mons -3 days 04:05:06.7'", "'-1 day +02:03'"]),
    ("integer[]", &["'{1,NULL,3}'", "'{}'", "'[2:3]={1,2}'", "'{{1,2},{3,4}}'"]),
    ("text[]", &["ARRAY['a,b', 'c\"d', NULL, 'NULL', '', '{}']"]),
    ("bytea[]", &["ARRAY['\\x00'::bytea]"]),
    ("numeric[]", &["ARRAY[1.50, 'NaN']"]),
    ("inet", &["'10.0.0.1/8'", "'::1'"]),
    ("cidr", &["'10.0.0.0/8'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("bit(3)", &["B'101'"]),
    ("bit varying", &["B'10100'", "B''"]),
    ("money", &["'1234.56'"]),
    ("point", &["'(0.1,2)'"]),
    ("box", &["'(2,2),(0,0)'"]),
    ("int4range", &["'[1,5)'", "'empty'"]),
    ("tstzrange", &["'[2024-01-01 00:00:00+00,)'"]),
    ("int4multirange", &["'{[1,3),[5,7)}'"]),
    ("tsvector", &["'a fat cat'"]),
    ("pg_lsn", &["'16/B374D848'"]),
    ("mood", &["'it''s ok'"]),
    ("mood[]", &["ARRAY['sad'::mood]"]),
    ("positive", &["5"]),
    ("pair", &["ROW(1, NULL)", "ROW(NULL, NULL)", "ROW(2, 'a,\"b')"]),
    ("oid", &["4294967295"]),
];

async fn every_type_survives(site: &Site) {
    site.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'it''s ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
         CREATE TYPE pair AS (a int, b text); DROP TABLE t;
         CREATE TABLE t(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT '2020-01-01')",
    )
    .await;
    let mut number = 0;
    for (kind, values) in VALUES {
        number += 1;
        site.sql(&format!("ALTER TABLE t ADD COLUMN \"c\"\"{number}\" {kind}")).await;
        for value in *values {
            site.sql(&format!("INSERT INTO t(\"c\"\"{number}\") VALUES ({value})")).await;
        }
    }
    site.sql("INSERT INTO t DEFAULT VALUES; ALTER TABLE t ADD COLUMN twice text GENERATED ALWAYS AS (\"c\"\"1\" * 0 || '!') STORED").await;
    // what a dump would write: every value by its own output function
    let dump = async || -> Vec<String> {
        let rows = site.client.query("SELECT t::text FROM t ORDER BY id", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    site.sql("SET extra_float_digits = 3; SET bytea_output = 'hex'").await;
    let before = dump().await;
    assert!(before.len() > 80);
    let tools = site.tools("chunk_rows = 10");
    let done = archive(&tools, "old").await.unwrap();
    assert_eq!((done["moved"].as_u64().unwrap() as usize, site.count("t").await), (before.len(), 0));
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert_eq!(verified["ok"], true);
    let back = restore(&tools, "old", ArchiveRange::default()).await.unwrap();
    assert_eq!(back["restored"].as_u64().unwrap() as usize, before.len(), "{back}");
    assert_eq!(dump().await, before);
    // a column that came later takes its default
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"].as_u64().unwrap() as usize, before.len());
    site.sql("ALTER TABLE t ADD COLUMN fresh int DEFAULT 7").await;
    restore(&tools, "old", ArchiveRange::default()).await.unwrap();
    let sevens: i64 =
        site.client.query_one("SELECT count(*) FROM t WHERE fresh = 7", &[]).await.unwrap().get(0);
    assert_eq!(sevens as usize, before.len());
    // one that is gone is said
    assert!(archive(&tools, "old").await.is_ok());
    site.sql("ALTER TABLE t DROP COLUMN fresh").await;
    let error = restore(&tools, "old", ArchiveRange::default()).await.unwrap_err();
    assert!(error.contains("have a column `fresh`, and table public.t has none"), "{error}");
    site.sql("DROP TABLE t").await;
    site.clear();
}

async fn composite_keys_and_partitions(site: &Site) {
    site.sql(
        "CREATE SCHEMA sales; CREATE TABLE sales.\"Orders\"(region text COLLATE \"C\", \"No\" numeric, at date NOT NULL, x text,
           PRIMARY KEY (region, \"No\", at)) PARTITION BY RANGE (at);
         CREATE TABLE sales.old PARTITION OF sales.\"Orders\" FOR VALUES FROM ('2000-01-01') TO ('2021-01-01');
         CREATE TABLE sales.new PARTITION OF sales.\"Orders\" DEFAULT;
         INSERT INTO sales.\"Orders\" SELECT r, i / 2.0, '2020-01-01'::date + i, r || i FROM generate_series(1, 50) AS i,
           unnest(ARRAY['', 'eu', 'EU', E'o''\\\\x']) AS r;
         INSERT INTO sales.\"Orders\" VALUES ('eu', 1, '2999-01-01', 'young')",
    )
    .await;
    let settings = site.settings("chunk_rows = 7").replace(
        "table = \"t\", key = [\"id\"]",
        "table = \"sales.Orders\", key = [\"region\", \"No\", \"at\"]",
    );
    let tools = tools(site.server.folder.path(), &settings);
    let dump = async || -> Vec<String> {
        let rows = site.client.query("SELECT o::text FROM sales.\"Orders\" o ORDER BY 1", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    let before = dump().await;
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 200);
    assert_eq!(site.count("sales.\"Orders\"").await, 1);
    let range = ArchiveRange {
        key: vec!["o'\\x".into(), "0.5".into(), "2020-01-02".into()],
        ..ArchiveRange::default()
    };
    let one = restore(&tools, "old", range).await.unwrap();
    assert!(one["restored"].as_u64().unwrap() <= 1, "{one}");
    restore(&tools, "old", ArchiveRange::default()).await.unwrap();
    assert_eq!(dump().await, before);
    let few = ArchiveRange { key: vec!["eu".into()], ..ArchiveRange::default() };
    assert!(
        restore(&tools, "old", few).await.unwrap_err().contains("3 columns (region, No, at), and 1 values")
    );
    site.clear();
}

async fn ages_of_each_type(site: &Site) {
    for (kind, old, young, unit) in [
        ("timestamptz", "'2020-01-01'", "'infinity'", ""),
        ("timestamp", "'-infinity'", "now()", ""),
        ("date", "'2020-01-01'", "now()", ""),
        ("bigint", "1577836800", "4102444800", ""),
        ("double precision", "1577836800123.5", "4102444800000", "unit = \"milliseconds\", "),
        ("numeric", "1577836800000000", "'NaN'", "unit = \"microseconds\", "),
    ] {
        site.sql(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t(id int PRIMARY KEY, at {kind}); INSERT INTO t VALUES (1, {old}), (2, {young}), (3, NULL)"
        ))
        .await;
        let settings = site.settings("").replace("older_than", &format!("{unit}older_than"));
        let tools = tools(site.server.folder.path(), &settings);
        let done = archive(&tools, "old").await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!((&done["moved"], site.count("t").await), (&json!(1), 2), "{kind}");
        site.clear();
    }
}

async fn unfit_tables(site: &Site) {
    site.sql(
        "DROP TABLE t; CREATE TABLE orders(id int PRIMARY KEY, at timestamptz, code text UNIQUE, part text, other int NOT NULL);
         CREATE UNIQUE INDEX ON orders(part) WHERE part > 'm'; CREATE VIEW seen AS SELECT * FROM orders;
         ALTER TABLE orders ADD CONSTRAINT later UNIQUE (other) DEFERRABLE INITIALLY DEFERRED",
    )
    .await;
    for (table, key, column, wanted) in [
        ("ordres", "id", "at", "there is no table `ordres`: did you mean `orders`?"),
        ("seen", "id", "at", "`seen` is a view"),
        ("orders", "idd", "at", "no column `idd`: did you mean `id`?"),
        ("orders", "id", "created", "no column `created`"),
        ("orders", "part", "at", "does not tell the rows of orders apart"),
        ("orders", "other", "at", "does not tell the rows of orders apart"),
        ("orders", "code", "at", "`code` of orders may be NULL"),
        ("orders", "id", "other", ""),
    ] {
        let text = site
            .settings("")
            .replace("\"t\"", &format!("{table:?}"))
            .replace("\"id\"", &format!("{key:?}"))
            .replace("\"at\"", &format!("{column:?}"));
        let result = archive(&tools(site.server.folder.path(), &text), "old").await;
        match wanted {
            "" => drop(result.unwrap()),
            _ => {
                let error = result.unwrap_err();
                assert!(error.contains(wanted), "no `{wanted}` in: {error}");
            }
        }
    }
    // a role that may not delete
    site.sql("RESET ROLE; CREATE TABLE foreign_one(id int PRIMARY KEY, at timestamptz); INSERT INTO foreign_one VALUES (1, '2020-01-01'); GRANT SELECT ON foreign_one TO app; SET ROLE app").await;
    site.clear();
    let text = site.settings("").replace("\"t\"", "\"foreign_one\"");
    let error = archive(&tools(site.server.folder.path(), &text), "old").await.unwrap_err();
    assert!(error.contains("permission denied") && error.contains("GRANT"), "{error}");
    assert_eq!(site.count("foreign_one").await, 1);
    site.clear();
}

async fn others_need_them(site: &Site) {
    for (action, wanted) in [
        ("", "refer to rows that are to be archived"),
        ("ON DELETE CASCADE", "would delete them"),
        ("ON DELETE SET NULL", "would change them"),
    ] {
        site.sql("DROP TABLE IF EXISTS items; DROP TABLE IF EXISTS t").await;
        site.fill(10).await;
        site.sql(&format!("CREATE TABLE items(id int PRIMARY KEY, t bigint REFERENCES t {action}); INSERT INTO items VALUES (1, 5)")).await;
        let all = site.table().await;
        let tools = site.tools("");
        let error = archive(&tools, "old").await.unwrap_err();
        assert!(error.contains(wanted), "no `{wanted}` in: {error}");
        assert_eq!(site.whole(&site.table().await, &all), (10, 0));
        site.sql("DELETE FROM items").await;
        assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 5);
        assert_eq!(site.whole(&site.table().await, &all), (5, 5));
        site.sql("DROP TABLE items").await;
        site.clear();
    }
}

async fn triggers_and_policies(site: &Site) {
    site.fill(10).await;
    site.sql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF OLD.id = 3 THEN RETURN NULL; END IF; RETURN OLD; END';
         CREATE TRIGGER keep BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep()",
    )
    .await;
    let tools = site.tools("");
    let error = archive(&tools, "old").await.unwrap_err();
    assert!(error.contains("row 3 of public.t can't be deleted"), "{error}");
    assert_eq!(site.count("t").await, 10);
    site.sql("DROP TRIGGER keep ON t").await;
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 5);
    for (body, wanted) in
        [("NEW.note = ''fresh''", "is not what was put"), ("NEW.id = NEW.id + 1000", "changes the keys")]
    {
        site.sql(&format!(
            "CREATE FUNCTION alter_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {body}; RETURN NEW; END';
             CREATE TRIGGER alter_it BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION alter_it()"
        ))
        .await;
        let error = restore(&tools, "old", ArchiveRange::default()).await.unwrap_err();
        assert!(error.contains(wanted), "{error}");
        assert_eq!(site.count("t").await, 5);
        site.sql("DROP TRIGGER alter_it ON t; DROP FUNCTION alter_it").await;
    }
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 5);
    // a policy that would hide rows from us
    site.sql("RESET ROLE; ALTER TABLE t OWNER TO boss; GRANT ALL ON t TO app; ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY part_of_it ON t USING (id > 5); SET ROLE app").await;
    let error = archive(&tools, "old").await.unwrap_err();
    assert!(error.contains("row-level security"), "{error}");
    site.sql("RESET ROLE; DROP TABLE t; SET ROLE app").await;
    site.clear();
}

/// Rows that change while their chunk is being written: a writer that never rests.
async fn changes_between(site: &Site) {
    site.fill(2000).await;
    site.sql("UPDATE t SET note = '0'").await;
    let address = format!("postgres://app:apppw@{}/postgres", site.server.address());
    let (writer, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    tokio::spawn(connection);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asked = stop.clone();
    let writing = tokio::spawn(async move {
        let mut newest = std::collections::BTreeMap::new();
        let mut number = 0_i64;
        while !asked.load(std::sync::atomic::Ordering::Relaxed) {
            number += 1;
            let id = (number * 7919) % 2000 + 1;
            if writer
                .execute("UPDATE t SET note = $2 WHERE id = $1", &[&id, &number.to_string()])
                .await
                .unwrap()
                == 1
            {
                newest.insert(id, number);
            }
        }
        newest
    });
    let tools = site.tools("chunk_rows = 50");
    let done = archive(&tools, "old").await.unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let newest = writing.await.unwrap();
    let last = archive(&tools, "old").await.unwrap();
    assert_eq!(done["moved"].as_u64().unwrap() + last["moved"].as_u64().unwrap(), 1000, "{done} {last}");
    let left = site.table().await;
    let old = archived(&site.folder(), "id", &left);
    assert_eq!((left.len(), old.len()), (1000, 1000));
    for (id, number) in newest {
        let id = id.to_string();
        assert_eq!(left.get(&id).or(old.get(&id)).unwrap()["note"], number.to_string(), "row {id}");
    }
    site.clear();
}

async fn turns(site: &Site) {
    site.fill(2000).await;
    let all = site.table().await;
    let (one, other) = (site.tools("chunk_rows = 20"), site.tools("chunk_rows = 20"));
    let (first, second) = tokio::join!(archive(&one, "old"), archive(&other, "old"));
    let moved =
        |result: &Result<Value, String>| result.as_ref().map_or(0, |done| done["moved"].as_u64().unwrap());
    assert_eq!(moved(&first) + moved(&second), 1000, "{first:?} {second:?}");
    assert_eq!(site.whole(&site.table().await, &all), (1000, 1000));
    site.clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_step_with_postgres() {
    let Some(site) = Site::start().await else { return };
    site.fill(60).await;
    let all = site.table().await;
    let folder = site.server.folder.path().to_owned();
    std::fs::write(folder.join("agents.toml"), site.settings("chunk_rows = 7")).unwrap();
    let mut killed = 0;
    for step in ["written", "verified", "intended", "deleting", "deleted", "sealed", "done"] {
        for round in 1..=3 {
            if dies_in(&folder, "archive", &format!("{step}:{round}")) {
                killed += 1;
            }
            // what the server still does for the one that was killed comes to its end first
            let left = settled(&site).await;
            site.whole(&left, &all);
        }
        archive(&site.tools("chunk_rows = 7"), "old").await.unwrap();
        assert_eq!(site.whole(&site.table().await, &all), (30, 30), "{step}");
        for round in 1..=3 {
            let back = ["restoring", "put", "rest", "unsealed", "unmarked", "verified", "written"]
                [(killed + round) % 7];
            if dies_in(&folder, "2030-01-01T00:00:00Z", &format!("{back}:{round}")) {
                killed += 1;
            }
            let left = settled(&site).await;
            site.whole(&left, &all);
        }
        restore(&site.tools(""), "old", ArchiveRange::default()).await.unwrap();
        assert_eq!(site.whole(&site.table().await, &all), (60, 0), "{step}");
    }
    assert!(killed >= 25, "only {killed} kills");
}

/// The table when nobody but us is connected any more.
async fn settled(site: &Site) -> Rows {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let others: i64 = site
            .client
            .query_one("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bgagent'", &[])
            .await
            .unwrap()
            .get(0);
        if others == 0 {
            return site.table().await;
        }
        assert!(Instant::now() < deadline, "a connection of a killed process does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
