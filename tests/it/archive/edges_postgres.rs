//! What lies at the edges of PostgreSQL's tables.
use super::postgres::Site;
use super::*;

async fn fails(site: &Site, wanted: &str) {
    let before = site.table().await;
    let error = archive(&site.tools(""), "old").await.unwrap_err();
    assert!(error.contains(wanted), "no `{wanted}` in: {error}");
    assert_eq!(site.table().await, before);
}

fn clear(site: &Site) {
    let _ = std::fs::remove_dir_all(site.server.folder.path().join("archive"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_with_habits_of_their_own() {
    let Some(site) = Site::start().await else { return };
    keys_that_are_equal_to_others(&site).await;
    rows_that_come_again(&site).await;
    a_column_that_comes_meanwhile(&site).await;
    ages_that_are_no_whole_numbers(&site).await;
    names_in_quotes(&site).await;
    inherited(&site).await;
    odd_types(&site).await;
    keys_of_odd_types(&site).await;
    numbers_that_are_too_small(&site).await;
    destinations_that_do_not_last(&site).await;
}

/// The index tells `a` from `A`, and the column does not: who deletes the one deletes both.
async fn keys_that_are_equal_to_others(site: &Site) {
    site.sql(
        "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE t(id text COLLATE nocase NOT NULL, at timestamptz, note text);
         CREATE UNIQUE INDEX ON t(id COLLATE \"C\");
         INSERT INTO t VALUES ('a', '2020-01-01', 'old'), ('A', '2999-01-01', 'young')",
    )
    .await;
    let result = archive(&site.tools(""), "old").await;
    assert_eq!(site.count("t").await, 2, "{result:?}");
    let error = result.unwrap_err();
    assert!(error.contains("does not tell the rows of t apart"), "{error}");
    // the same where the index agrees with the column
    site.sql("DELETE FROM t WHERE note = 'young'; CREATE UNIQUE INDEX ON t(id)").await;
    assert_eq!(archive(&site.tools(""), "old").await.unwrap()["moved"], 1);
    site.sql("INSERT INTO t VALUES ('A', '2999-01-01', 'young')").await;
    let back = restore(&site.tools(""), "old", ArchiveRange::default()).await.unwrap();
    assert_eq!((&back["restored"], &back["conflicts"]), (&json!(0), &json!(1)), "{back}");
    site.sql("DROP TABLE t").await;
    clear(site);
}

async fn rows_that_come_again(site: &Site) {
    site.fill(10).await;
    site.sql(
        "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (OLD.*); RETURN NULL; END';
         CREATE TRIGGER again AFTER DELETE ON t FOR EACH ROW WHEN (OLD.id = 3) EXECUTE FUNCTION again()",
    )
    .await;
    fails(site, "row 3 of public.t can't be deleted").await;
    site.sql("DROP TRIGGER again ON t").await;
    assert_eq!(archive(&site.tools(""), "old").await.unwrap()["moved"], 5);
    clear(site);
}

async fn a_column_that_comes_meanwhile(site: &Site) {
    site.fill(20).await;
    let folder = site.server.folder.path().to_owned();
    std::fs::write(folder.join("agents.toml"), site.settings("")).unwrap();
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let running = tokio::task::spawn_blocking(move || {
        super::crash::while_stopped(&folder, "verified:1", || {
            tell.send(()).unwrap();
            wait.recv().unwrap();
        })
    });
    told.await.unwrap();
    site.sql("ALTER TABLE t ADD COLUMN extra text; UPDATE t SET extra = 'x' || id").await;
    go.send(()).unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert!(error.contains("the columns of table public.t changed"), "{error}");
    assert_eq!(site.count("t").await, 20);
    assert_eq!(archive(&site.tools(""), "old").await.unwrap()["moved"], 10);
    assert_eq!(restore(&site.tools(""), "old", ArchiveRange::default()).await.unwrap()["restored"], 10);
    assert_eq!(site.count("t WHERE extra = 'x' || id").await, 20);
    clear(site);
}

async fn ages_that_are_no_whole_numbers(site: &Site) {
    for kind in ["numeric", "double precision"] {
        site.sql(&format!(
            "DROP TABLE t; CREATE TABLE t(id int PRIMARY KEY, at {kind}); INSERT INTO t VALUES (1, 1577836800.5), (2, 1609459200.25)"
        ))
        .await;
        let tools = site.tools("");
        assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 2);
        let range =
            ArchiveRange { to: Some("2020-06-01T00:00:00Z".parse().unwrap()), ..ArchiveRange::default() };
        assert_eq!(restore(&tools, "old", range).await.unwrap()["restored"], 1, "{kind}");
        clear(site);
    }
}

/// A role may have names put in quotes: the table is the same.
async fn names_in_quotes(site: &Site) {
    site.sql("DROP TABLE t").await;
    site.fill(10).await;
    assert_eq!(archive(&site.tools("max_rows = 2"), "old").await.unwrap()["moved"], 2);
    site.sql("ALTER ROLE app SET quote_all_identifiers = on").await;
    assert_eq!(archive(&site.tools(""), "old").await.unwrap()["moved"], 3);
    site.sql("ALTER ROLE app RESET quote_all_identifiers").await;
    clear(site);
}

async fn inherited(site: &Site) {
    site.fill(4).await;
    site.sql("CREATE TABLE child() INHERITS (t); INSERT INTO child VALUES (1, '2020-01-01', 'of the child')")
        .await;
    assert_eq!(archive(&site.tools(""), "old").await.unwrap()["moved"], 2);
    assert_eq!((site.count("ONLY t").await, site.count("child").await), (2, 1));
    assert_eq!(restore(&site.tools(""), "old", ArchiveRange::default()).await.unwrap()["restored"], 2);
    assert_eq!((site.count("ONLY t").await, site.count("child").await), (4, 1));
    site.sql("DROP TABLE child").await;
    clear(site);
}

/// Whatever the role's settings and the types are: what comes back is what was there.
async fn odd_types(site: &Site) {
    site.sql(
        "DROP TABLE t; CREATE TYPE spot AS (x float8, note text, at timestamptz); CREATE DOMAIN spots AS spot[];
         CREATE DOMAIN padded AS char(5); CREATE DOMAIN wide AS bpchar; CREATE DOMAIN mixed AS text COLLATE \"C\";
         CREATE TABLE t(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT '-infinity', a spot[], b spots,
           c padded, d wide, e timestamp, f numeric, g interval, h bytea[], i money, j \"char\", k int4range[], l float4, m xml, n oid, o inet, p spot, q mixed);
         INSERT INTO t(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q) VALUES
           (ARRAY[(0.1, NULL, 'infinity')::spot, ROW(1e300, 'a,\"b\\\\ ', '2020-01-01')::spot, ROW(NULL, NULL, NULL)::spot, NULL], ARRAY[(1, '', NULL)::spot], 'ab', 'ab  ', 'infinity',
            'NaN', '1 mon -2 days +03:04:05.000001', ARRAY['\\xff00'::bytea], '1234.56', 'x', ARRAY['[1,5)'::int4range], 0.1, '<a>x</a>', 4294967295, '10.0.0.1/8', ROW(NULL, NULL, NULL), '');
         INSERT INTO t(e, f, g, l, j) VALUES ('0044-03-15 BC', 'Infinity', '-178000000 years', 'NaN', ''), ('294276-12-31 23:59:59.999999', 1e-30, '0', '-0', NULL);
         ALTER ROLE app SET DateStyle = 'German'; ALTER ROLE app SET TimeZone = 'Asia/Kathmandu'; ALTER ROLE app SET bytea_output = 'escape';
         ALTER ROLE app SET extra_float_digits = 0; ALTER ROLE app SET IntervalStyle = 'iso_8601'; ALTER ROLE app SET search_path = nowhere, public",
    )
    .await;
    let dump = async || -> Vec<String> {
        let sql = "SELECT concat(t::text, '|', octet_length(d), num_nulls(p)) FROM t ORDER BY id";
        let rows = site.client.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect()
    };
    let before = dump().await;
    assert_eq!(archive(&site.tools(""), "old").await.unwrap()["moved"], 3);
    assert_eq!(ask(&site.tools(""), "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true);
    let back = restore(&site.tools(""), "old", ArchiveRange::default()).await.unwrap();
    assert_eq!(back["restored"], 3, "{back}");
    assert_eq!(dump().await, before);
    site.sql("ALTER ROLE app RESET ALL; DROP TABLE t").await;
    clear(site);
}

async fn keys_of_odd_types(site: &Site) {
    for (kind, values) in [
        ("float8", "(0.1), (1e300), ('-infinity'), ('NaN')"),
        ("numeric", "(1.0), (1.10), ('NaN'), (-5)"),
        ("interval", "('30 days'), ('1 hour'), ('-1 mon'), ('0')"),
        (
            "timestamptz",
            "('infinity'), ('-infinity'), ('2020-01-01 00:00:00.000001+05:45'), ('0044-01-01 BC')",
        ),
        ("bytea", "('\\x'), ('\\x00'), ('\\xff'), ('\\x5c')"),
        ("char(4)", "('a'), ('ab'), (''), ('b')"),
        ("bool", "(true), (false)"),
        ("int[]", "('{}'), ('{1,NULL}'), ('{{1},{2}}'), ('{1}')"),
        ("inet", "('10.0.0.1'), ('10.0.0.1/8'), ('::1'), ('10.0.0.0/8')"),
        ("text COLLATE \"C\"", "(''), ('null'), ('NULL'), (E'\\n')"),
    ] {
        site.sql(&format!(
            "CREATE TABLE t(id {kind} PRIMARY KEY, at timestamptz DEFAULT '2020-01-01', note text); INSERT INTO t(id) VALUES {values}"
        ))
        .await;
        let count = site.count("t").await;
        let tools = site.tools("chunk_rows = 1");
        let done = archive(&tools, "old").await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!((&done["moved"], &done["changed"]), (&json!(count), &json!(0)), "{kind}: {done}");
        let back = restore(&tools, "old", ArchiveRange::default()).await.unwrap();
        assert_eq!(back["restored"], count, "{kind}");
        site.sql("DROP TABLE t").await;
        clear(site);
    }
}

/// An age that is no number of seconds since 1970 is an error that says so, and very old is very old.
async fn numbers_that_are_too_small(site: &Site) {
    site.sql("CREATE TABLE t(id int PRIMARY KEY, at smallint); INSERT INTO t VALUES (1, 5)").await;
    let result = archive(&site.tools(""), "old").await;
    assert!(result.as_ref().is_ok_and(|done| done["moved"] == 1), "{result:?}");
    site.sql("DROP TABLE t").await;
    clear(site);
    for kind in ["timestamptz", "timestamp", "date", "bigint"] {
        let value = if kind == "bigint" { "5" } else { "'2020-01-01'" };
        site.sql(&format!(
            "CREATE TABLE t(id int PRIMARY KEY, at {kind}); INSERT INTO t VALUES (1, {value})"
        ))
        .await;
        for age in ["25000d", "36500d"] {
            let text = site.settings("").replace("90d", age);
            let result = archive(&tools(site.server.folder.path(), &text), "old").await;
            assert!(result.as_ref().is_ok_and(|done| done["moved"] == 0), "{kind} {age}: {result:?}");
        }
        site.sql("DROP TABLE t").await;
        clear(site);
    }
}

/// What is emptied when the server falls is no place for the only copy of a row.
async fn destinations_that_do_not_last(site: &Site) {
    site.fill(10).await;
    site.sql("CREATE UNLOGGED TABLE old_t(LIKE t INCLUDING ALL)").await;
    let to = format!(
        "to = {{ url = \"postgres://app@{}/postgres\", password = {{ file = \"app.pw\" }}, table = \"old_t\" }}",
        site.server.address()
    );
    let text = site.settings("").replace("to = { folder = \"archive\" }", &to);
    let result = archive(&tools(site.server.folder.path(), &text), "old").await;
    assert_eq!(site.count("t").await, 10, "{result:?}");
    let error = result.unwrap_err();
    assert!(error.contains("is UNLOGGED") && error.contains("SET LOGGED"), "{error}");
    site.sql("ALTER TABLE old_t SET LOGGED").await;
    assert_eq!(archive(&tools(site.server.folder.path(), &text), "old").await.unwrap()["moved"], 5);
    site.sql("DROP TABLE t, old_t").await;
}
