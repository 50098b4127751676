//! What can't come back is not taken away, and what was taken away comes back: with PostgreSQL.
use super::postgres::Site;
use super::*;
use crate::archive::edges::dry;

fn clear(site: &Site) {
    let _ = std::fs::remove_dir_all(site.server.folder.path().join("archive"));
}

async fn dump(site: &Site) -> Vec<String> {
    let rows = site.client.query("SELECT t::text FROM t ORDER BY t::text", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn has(said: &Value, part: &str, wanted: &str) {
    assert!(said[part].to_string().contains(wanted), "no `{wanted}` in {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_comes_back_and_what_could_not_stays() {
    let Some(site) = Site::start().await else { return };
    there_and_back(&site).await;
    rows_that_could_not_come_back(&site).await;
    many_rows_that_could_not_come_back(&site).await;
    nothing_could_come_back(&site).await;
    rows_that_are_not_taken(&site).await;
    families_over_many_objects(&site).await;
    numbers_of_tables(&site).await;
    names_of_schemas(&site).await;
    roles_that_may_not_put(&site).await;
}

/// Tables with habits that are in the way of an INSERT.
async fn there_and_back(site: &Site) {
    const ROWS: &str = "INSERT INTO t SELECT i, PARENT, '2020-01-01' FROM generate_series(25, 1, -1) i";
    let mut tables = vec![
        ("CREATE TABLE t(id int PRIMARY KEY, pos int UNIQUE DEFERRABLE, at timestamptz)".to_owned(), "i"),
        ("CREATE TABLE t(id int PRIMARY KEY, pos int UNIQUE DEFERRABLE INITIALLY DEFERRED, at timestamptz)".into(), "i"),
        ("CREATE TABLE t(id int PRIMARY KEY, pos int, at timestamptz, EXCLUDE USING btree (pos WITH =) DEFERRABLE)".into(), "i"),
        ("CREATE TABLE t(id int PRIMARY KEY, pos int, at timestamptz); CREATE RULE r AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (new.id)".into(), "i"),
        ("CREATE TABLE t(id int PRIMARY KEY, pos int, at timestamptz); CREATE RULE r AS ON DELETE TO t DO ALSO INSERT INTO log VALUES (old.id)".into(), "i"),
        ("CREATE TABLE t(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, pos int, at timestamptz, twice int GENERATED ALWAYS AS (pos * 2) STORED)".into(), "i"),
    ];
    for action in
        ["", "ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE RESTRICT", "DEFERRABLE INITIALLY DEFERRED"]
    {
        for parent in ["nullif(i - 1, 0)", "nullif((i + 1) % 26, 0)", "i"] {
            tables.push((
                format!(
                    "CREATE TABLE t(id int PRIMARY KEY, parent int REFERENCES t(id) {action}, at timestamptz)"
                ),
                parent,
            ));
        }
    }
    site.sql("CREATE TABLE log(id int)").await;
    for (make, parent) in tables {
        let insert = ROWS.replace("PARENT", parent);
        let insert = if make.contains("IDENTITY") {
            insert.replace("SELECT", "(id, pos, at) OVERRIDING SYSTEM VALUE SELECT")
        } else {
            insert
        };
        site.sql(&format!("DROP TABLE IF EXISTS t; {make}; {insert}")).await;
        let before = dump(site).await;
        let tools = site.tools("chunk_rows = 10");
        let done = archive(&tools, "old").await.unwrap_or_else(|error| panic!("{make}: {error}"));
        assert_eq!((&done["moved"], site.count("t").await), (&json!(25), 0), "{make} {parent}: {done}");
        assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true, "{make}");
        assert_eq!(ask(&tools, "old", &dry()).await.unwrap()["restored"], 25, "{make}");
        assert_eq!(site.count("t").await, 0, "{make}");
        let back = restore(&tools, "old", ArchiveRange::default())
            .await
            .unwrap_or_else(|error| panic!("{make}: {error}"));
        assert_eq!(back["restored"], 25, "{make}: {back}");
        assert_eq!(dump(site).await, before, "{make}");
        clear(site);
    }
}

async fn rows_that_could_not_come_back(site: &Site) {
    site.sql("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id = 3 THEN RAISE ''not three''; END IF; RETURN NEW; END'").await;
    for (habit, wanted) in [
        // rows that were there before a rule came
        ("ALTER TABLE t ADD CHECK (id <> 3) NOT VALID", "row 3 of public.t: new row for relation"),
        (
            "CREATE TABLE kinds(name text PRIMARY KEY); INSERT INTO kinds SELECT note FROM t WHERE id <> 3; \
          ALTER TABLE t ADD FOREIGN KEY (note) REFERENCES kinds NOT VALID",
            "is not present in table",
        ),
        (
            "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()",
            "row 3 of public.t: not three",
        ),
        (
            "CREATE CONSTRAINT TRIGGER no AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()",
            "row 3 of public.t: not three",
        ),
        ("CREATE RULE no AS ON INSERT TO t WHERE new.id = 3 DO INSTEAD NOTHING", "row 3 of public.t"),
    ] {
        site.fill(20).await;
        site.sql(&format!("DROP TABLE IF EXISTS kinds; {habit}")).await;
        let before = site.table().await;
        let tools = site.tools("");
        let done = archive(&tools, "old").await.unwrap_or_else(|error| panic!("{habit}: {error}"));
        assert_eq!((&done["moved"], &done["refused"]), (&json!(9), &json!(1)), "{habit}: {done}");
        has(&done, "warnings", wanted);
        assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 9, "{habit}");
        assert_eq!(site.table().await, before, "{habit}");
        clear(site);
    }
    site.sql("DROP TABLE t; DROP FUNCTION no; DROP TABLE IF EXISTS kinds").await;
}

/// However many there are, and whichever come first: all others go.
async fn many_rows_that_could_not_come_back(site: &Site) {
    site.sql(
        "CREATE TABLE t(id int PRIMARY KEY, note text, at date); INSERT INTO t SELECT i, CASE WHEN i % 3 = 0 THEN 'A' ELSE 'a' END, '2020-01-01' FROM generate_series(1, 900) i;
         CREATE FUNCTION small() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note = lower(NEW.note); RETURN NEW; END';
         CREATE TRIGGER small BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION small(); ALTER TABLE t ADD CHECK (id > 120) NOT VALID",
    )
    .await;
    // the first chunks hold nothing else
    let done = archive(&site.tools("chunk_rows = 50"), "old").await.unwrap();
    assert_eq!((&done["moved"], &done["refused"]), (&json!(520), &json!(380)), "{done}");
    assert_eq!(site.count("t WHERE id <= 120 OR note = 'A'").await, site.count("t").await);
    site.sql("DROP TABLE t; DROP FUNCTION small").await;
    clear(site);
}

async fn nothing_could_come_back(site: &Site) {
    site.fill(200).await;
    site.sql("ALTER TABLE t ADD CHECK (at > now() - interval '1 day') NOT VALID").await;
    for more in ["", "delete = false"] {
        let error = archive(&site.tools(more), "old").await.unwrap_err();
        assert!(
            error.contains("nothing was archived of public.t") && error.contains("violates check constraint"),
            "{error}"
        );
        assert_eq!(site.count("t").await, 200);
        clear(site);
    }
}

/// A restore goes on past what the table does not take, and the others say so before.
async fn rows_that_are_not_taken(site: &Site) {
    site.fill(40).await;
    site.sql("CREATE TABLE kinds(name text PRIMARY KEY); INSERT INTO kinds SELECT note FROM t; ALTER TABLE t ADD FOREIGN KEY (note) REFERENCES kinds").await;
    let tools = site.tools("chunk_rows = 8");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 20);
    site.sql("DELETE FROM kinds WHERE name IN ('row 5', 'row 39'); INSERT INTO t VALUES (7, now(), 'row 7')")
        .await;
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert_eq!(verified["ok"], false, "{verified}");
    has(&verified, "problems", "row 5 of public.t: insert or update");
    let rehearsed = ask(&tools, "old", &dry()).await.unwrap();
    assert_eq!(site.count("t").await, 21);
    let back = restore(&tools, "old", ArchiveRange::default()).await.unwrap();
    for said in [&rehearsed, &back] {
        let counts = [&said["restored"], &said["conflicts"], &said["refused"]];
        assert_eq!(counts, [&json!(17), &json!(1), &json!(2)], "{said}");
        has(said, "notes", "row 39 of public.t: insert or update");
    }
    assert_eq!(site.count("t").await, 38);
    site.sql("INSERT INTO kinds VALUES ('row 5'), ('row 39')").await;
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 2);
    site.sql("DROP TABLE t; DROP TABLE kinds").await;
    clear(site);
}

/// A rehearsal sees that a row finds what it refers to in another object.
async fn families_over_many_objects(site: &Site) {
    site.sql("CREATE TABLE t(id int PRIMARY KEY, parent int REFERENCES t(id), at timestamptz); INSERT INTO t SELECT i, nullif(i / 2, 0), '2020-01-01' FROM generate_series(1, 200) i").await;
    let tools = site.tools("chunk_rows = 16");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 200);
    // half of a family: those whose parents stay archived are told
    let range = ArchiveRange { key: vec!["200".into()], ..ArchiveRange::default() };
    let error = restore(&tools, "old", range).await.unwrap_err();
    assert!(error.contains("row 200 of public.t") && error.contains("is not present"), "{error}");
    assert_eq!(ask(&tools, "old", &dry()).await.unwrap()["restored"], 200);
    let range = ArchiveRange { key: vec!["1".into()], ..ArchiveRange::default() };
    assert_eq!(restore(&tools, "old", range).await.unwrap()["restored"], 1);
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 199);
    site.sql("DROP TABLE t").await;
    clear(site);
}

/// What a table is called changes with the search path and with what there is; its number does not.
async fn numbers_of_tables(site: &Site) {
    site.sql(
        "CREATE TABLE gone(x int); CREATE SCHEMA other; CREATE TABLE other.same(x int); CREATE TABLE same(x int); CREATE DOMAIN rel AS regclass;
         CREATE TABLE t(id int PRIMARY KEY, a regclass, b regclass[], c rel, d regtype, e regprocedure, f oid, at timestamptz);
         INSERT INTO t VALUES (1, 'gone', ARRAY['gone', NULL, 'other.same']::regclass[], 'gone', 'rel', 'lower(text)', 5, '2020-01-01'), (2, 'same', '{}', NULL, 'int', NULL, NULL, '2020-01-01'); DROP TABLE gone",
    )
    .await;
    let before = dump(site).await;
    let tools = site.tools("");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 2);
    // others answer to the names by now
    site.sql("ALTER ROLE app SET search_path = other, public; CREATE TABLE gone(x int)").await;
    assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true);
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 2);
    site.sql("ALTER ROLE app RESET search_path; DROP TABLE gone").await;
    assert_eq!(dump(site).await, before);
    clear(site);
    site.sql("CREATE TYPE pair AS (a int, b regclass); ALTER TABLE t ADD COLUMN g pair").await;
    let error = archive(&tools, "old").await.unwrap_err();
    assert!(error.contains("column `g` of t holds regclass within another type"), "{error}");
    site.sql("DROP TABLE t; DROP TYPE pair; DROP TABLE same; DROP SCHEMA other CASCADE").await;
    clear(site);
}

async fn names_of_schemas(site: &Site) {
    site.sql("CREATE SCHEMA \"My.Shop\"; CREATE SCHEMA sales; CREATE TABLE \"My.Shop\".\"Or.ders\"(id int PRIMARY KEY, at date); CREATE TABLE sales.orders(id int PRIMARY KEY, at date); CREATE TABLE \"a.b\"(id int PRIMARY KEY, at date)").await;
    for (name, real) in [
        ("sales.orders", "sales.orders"),
        ("SALES.Orders", "sales.orders"),
        ("postgres.sales.orders", "sales.orders"),
        ("\"sales\".\"orders\"", "sales.orders"),
        ("\"My.Shop\".\"Or.ders\"", "\"My.Shop\".\"Or.ders\""),
        ("a.b", "\"a.b\""),
        ("public.\"a.b\"", "\"a.b\""),
    ] {
        site.sql(&format!("INSERT INTO {real} VALUES (1, '2020-01-01')")).await;
        let text = site.settings("").replace("\"t\"", &format!("'{name}'"));
        let done = archive(&tools(site.server.folder.path(), &text), "old").await;
        assert_eq!(done.unwrap_or_else(|error| panic!("{name}: {error}"))["moved"], 1, "{name}");
        clear(site);
    }
    let text = site.settings("").replace("\"t\"", "\"sales.ordres\"");
    let error = archive(&tools(site.server.folder.path(), &text), "old").await.unwrap_err();
    assert!(
        error.contains("did you mean `sales.orders`?") && error.contains(&site.server.address()),
        "{error}"
    );
    site.sql("DROP SCHEMA sales CASCADE; DROP SCHEMA \"My.Shop\" CASCADE; DROP TABLE \"a.b\"").await;
}

/// What can't be tried is said.
async fn roles_that_may_not_put(site: &Site) {
    site.fill(10).await;
    site.sql("RESET ROLE; ALTER TABLE t OWNER TO boss; GRANT SELECT, DELETE ON t TO app").await;
    let tools = site.tools("");
    let done = archive(&tools, "old").await.unwrap();
    assert_eq!(done["moved"], 5);
    has(&done, "warnings", "whether the rows of public.t can be put back was not tried");
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert_eq!(verified["ok"], true, "{verified}");
    has(&verified, "notes", "may not INSERT");
    for asked in [dry(), ArchiveAsk::Restore { range: ArchiveRange::default(), dry_run: false }] {
        let error = ask(&tools, "old", &asked).await.unwrap_err();
        assert!(
            error.contains("table public.t of postgres://") && error.contains("permission denied"),
            "{error}"
        );
    }
    site.sql("GRANT INSERT ON t TO app").await;
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 5);
    site.sql("DROP TABLE t; SET ROLE app").await;
    clear(site);
}

/// A row that somebody works on costs that row.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_row_costs_no_other() {
    let Some(site) = Site::start().await else { return };
    for may_lock in [true, false] {
        site.fill(40).await;
        if !may_lock {
            site.sql("RESET ROLE; ALTER TABLE t OWNER TO boss; GRANT SELECT, DELETE, INSERT ON t TO app; SET ROLE app").await;
        }
        let address = format!("postgres://boss:rooty@{}/postgres", site.server.address());
        let (other, connection) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        other.batch_execute("BEGIN; UPDATE t SET note = 'mine' WHERE id IN (5, 31)").await.unwrap();
        let done = archive(&site.tools("chunk_rows = 7"), "old").await.unwrap();
        assert_eq!((&done["moved"], &done["locked"]), (&json!(18), &json!(2)), "{may_lock}: {done}");
        has(&done, "warnings", "left for the next run: 2 rows of t, locked by another program");
        other.batch_execute("COMMIT").await.unwrap();
        assert_eq!(site.count("t WHERE id IN (5, 31) AND note = 'mine'").await, 2);
        assert_eq!(archive(&site.tools(""), "old").await.unwrap()["moved"], 2);
        site.sql("RESET ROLE; DROP TABLE t; SET ROLE app").await;
        clear(&site);
    }
}
