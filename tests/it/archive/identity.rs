//! One table under two names, and two databases under one: what is meant counts, not what it is called.
use super::check::{archived, is_partition, table};
use super::crash::{dies_in, store};
use super::*;
use sha2::{Digest, Sha256};

/// A context with the state database of this folder, which is made where there is none.
fn context(folder: &Path, seconds: u64) -> CallContext {
    let path = folder.join("bgagent.db");
    if !path.exists() {
        drop(bgagent::store::Store::open(&path).unwrap());
    }
    CallContext {
        store: store(folder),
        timeout: Some(Duration::from_secs(seconds)),
        ..CallContext::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_under_another_name_is_no_destination() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 20);
    let all = table(&db, "t", "id");
    std::os::unix::fs::symlink(place.path("app.db"), place.path("link.db")).unwrap();
    std::fs::hard_link(place.path("app.db"), place.path("hard.db")).unwrap();
    for (file, name) in [("app.db", "T"), ("link.db", "t"), ("hard.db", "T"), ("./app.db", "t")] {
        let to = format!("to = {{ url = \"sqlite:{file}\", table = \"{name}\" }}");
        let text = settings("").replace("to = { folder = \"archive\" }", &to);
        if mistakes(&text).contains("are the same table") {
            continue;
        }
        let error = archive(&tools(place.folder.path(), &text), "old").await.unwrap_err();
        assert!(error.contains("`from` and `to` are the same table (t)"), "{file} {name}: {error}");
        assert_eq!(table(&db, "t", "id"), all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_was_broken_off_is_known_under_another_name() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 60);
    let all = table(&db, "t", "id");
    std::fs::write(place.path("agents.toml"), settings("chunk_rows = 7")).unwrap();
    let context = context(place.folder.path(), 60);
    assert!(dies_in(place.folder.path(), "archive", "deleted:2"));
    std::os::unix::fs::symlink(place.path("app.db"), place.path("link.db")).unwrap();
    let text = settings("").replace("\"t\"", "\"T\"").replace("app.db", "link.db");
    let second = tools(place.folder.path(), &text.replace("folder = \"archive\"", "folder = \"second\""));
    let error = second.call("old", &json!({}), &context).await.unwrap_err().to_string();
    assert!(error.contains("/archive was broken off: let it run again first"), "{error}");
    place.tools("").call("old", &json!({}), &context).await.unwrap();
    let left = table(&db, "t", "id");
    is_partition(&left, &archived(&place.path("archive"), "id", &left), &all);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_tables_of_postgres() {
    let Some(site) = super::postgres::Site::start().await else { return };
    let folder = site.server.folder.path().to_owned();
    site.fill(20).await;
    site.sql(
        "CREATE TABLE ev(id int, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE ev_old PARTITION OF ev FOR VALUES FROM ('2000-01-01') TO ('2021-01-01');
         CREATE TABLE ev_new PARTITION OF ev DEFAULT;
         INSERT INTO ev SELECT i, '2020-01-01' FROM generate_series(1, 20) AS i;
         CREATE SCHEMA w; CREATE TABLE w.t(LIKE t INCLUDING ALL)",
    )
    .await;
    let local = format!("localhost:{}", site.server.port);
    let as_to = |address: &str, table: &str| {
        format!(
            "to = {{ url = \"postgres://app@{address}/postgres\", password = {{ file = \"app.pw\" }}, table = \"{table}\" }}"
        )
    };
    let address = site.server.address();
    for (from, address, to, key) in [
        ("t", &address, "public.t", "\"id\""),
        ("public.t", &local, "t", "\"id\""),
        ("t", &local, "t", "\"id\""),
        ("ev", &address, "ev_old", "\"id\", \"at\""),
        ("ev_old", &local, "public.ev", "\"id\", \"at\""),
    ] {
        let text = site
            .settings("")
            .replace("table = \"t\", key = [\"id\"]", &format!("table = \"{from}\", key = [{key}]"))
            .replace("to = { folder = \"archive\" }", &as_to(address, to));
        let error = archive(&tools(&folder, &text), "old").await.unwrap_err();
        assert!(error.contains("`from` and `to` are the same table"), "{from} to {to}: {error}");
        assert_eq!((site.count("t").await, site.count("ev").await), (20, 20), "{from} to {to}");
    }
    // a table of the same name elsewhere is another one
    let text = site.settings("").replace("to = { folder = \"archive\" }", &as_to(&local, "w.t"));
    assert_eq!(archive(&tools(&folder, &text), "old").await.unwrap()["moved"], 10);
    site.fill(60).await;
    // the lock and the journal know a table by its name in the server, and a partition by its whole
    let lock = |table: &str, doing: &str| {
        format!("SELECT pg_advisory_{doing}(hashtextextended('bgagent archive {table}', 0))")
    };
    for (table, whole, key) in [("t", "public.t", "\"id\""), ("ev_old", "public.ev", "\"id\", \"at\"")] {
        site.sql(&lock(whole, "lock")).await;
        let text = site
            .settings("")
            .replace("table = \"t\", key = [\"id\"]", &format!("table = \"{table}\", key = [{key}]"));
        let hasty = CallContext { timeout: Some(Duration::from_secs(3)), ..CallContext::default() };
        let error = tools(&folder, &text).call("old", &json!({}), &hasty).await.unwrap_err().to_string();
        assert!(error.contains("another archive works on table"), "{table}: {error}");
        site.sql(&lock(whole, "unlock")).await;
    }
    std::fs::write(folder.join("agents.toml"), site.settings("chunk_rows = 7")).unwrap();
    let context = context(&folder, 60);
    assert!(dies_in(&folder, "archive", "deleted:2"));
    let text = site
        .settings("")
        .replace("\"t\"", "\"public.t\"")
        .replace(&address, &local)
        .replace("folder = \"archive\"", "folder = \"second\"");
    let error = tools(&folder, &text).call("old", &json!({}), &context).await.unwrap_err().to_string();
    assert!(error.contains("/archive was broken off: let it run again first"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_do_not_share_a_place() {
    // the same configuration and the same path on each host, and one folder for both
    let place = Place::new();
    let (app, away) = (place.path("app.db"), place.path("away.db"));
    let lock = |db: &Path| PathBuf::from(format!("{}-archive-lock", db.display()));
    let swap = |from: &Path, to: &Path| {
        std::fs::rename(from, to).unwrap();
        if lock(from).exists() {
            std::fs::rename(lock(from), lock(to)).unwrap();
        }
    };
    fill(&place.db(), 60);
    std::fs::write(place.path("agents.toml"), settings("chunk_rows = 7")).unwrap();
    let first = table(&place.db(), "t", "id");
    // the first one has written an object, and dies before it says what the object is about
    assert!(dies_in(place.folder.path(), "archive", "verified:2"));
    let before = names(&place.path("archive"));
    swap(&app, &away);
    fill(&place.db(), 60);
    place.db().execute_batch("UPDATE t SET note = 'of the second host'").unwrap();
    let second = table(&place.db(), "t", "id");
    let tools = place.tools("chunk_rows = 7");
    let error = archive(&tools, "old").await.unwrap_err();
    assert!(error.contains("is the archive of table t of") && error.contains("(database"), "{error}");
    assert!(error.contains("change `source`, `table` and `database` in archive.json"), "{error}");
    let error = restore(&tools, "old", ArchiveRange::default()).await.unwrap_err();
    assert!(error.contains("is the archive of table t of"), "{error}");
    assert_eq!(names(&place.path("archive")), before, "nothing of the first one is touched");
    assert_eq!(table(&place.db(), "t", "id"), second);
    swap(&app, &place.path("second.db"));
    swap(&away, &app);
    archive(&tools, "old").await.unwrap();
    let left = table(&place.db(), "t", "id");
    is_partition(&left, &archived(&place.path("archive"), "id", &left), &first);
    assert_eq!(left.len(), 30);
}

/// All files below.
fn names(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    let below: Vec<PathBuf> = all.iter().filter(|path| path.is_dir()).flat_map(|path| names(path)).collect();
    all.extend(below);
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_begin_at_the_same_time_do_not_share_a_place() {
    let place = Place::new();
    fill(&place.db(), 20);
    let all = table(&place.db(), "t", "id");
    // what another host has just written, which has the same path and another database
    let claim = place.path("archive/pending/claim-other");
    std::fs::create_dir_all(claim.parent().unwrap()).unwrap();
    assert!(archive(&place.tools(""), "old").await.is_ok());
    restore(&place.tools(""), "old", ArchiveRange::default()).await.unwrap();
    let ours = place.path("archive/archive.json");
    let owner: Value = serde_json::from_slice(&std::fs::read(&ours).unwrap()).unwrap();
    let mut other = owner.clone();
    other["database"] = "another one".into();
    std::fs::remove_file(&ours).unwrap();
    std::fs::write(&claim, other.to_string()).unwrap();
    let error = archive(&place.tools(""), "old").await.unwrap_err();
    assert!(
        error.contains("begins here at the same time") && error.contains("pending/claim-other"),
        "{error}"
    );
    assert!(!ours.exists());
    assert_eq!(table(&place.db(), "t", "id"), all);
    assert_eq!(names(&place.path("archive")), [place.path("archive/pending"), claim.clone()]);
    // one of our own that was broken off is nobody else's
    std::fs::write(&claim, owner.to_string()).unwrap();
    assert_eq!(archive(&place.tools(""), "old").await.unwrap()["moved"], 10);
    assert!(!claim.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_databases_of_one_address_do_not_share_a_place() {
    let Some(site) = super::postgres::Site::start().await else { return };
    site.fill(20).await;
    site.sql("RESET ROLE").await;
    let text = site.settings("").replace("/postgres\"", "/shop\"");
    let tools = tools(site.server.folder.path(), &text);
    site.sql("CREATE DATABASE shop TEMPLATE postgres").await;
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 10);
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 0);
    site.sql("DROP DATABASE shop").await;
    site.sql("CREATE DATABASE shop TEMPLATE postgres").await;
    let error = archive(&tools, "old").await.unwrap_err();
    assert!(error.contains("is the archive of table public.t of") && error.contains("(database"), "{error}");
    // a role that can't ask
    site.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC").await;
    let text = site.settings("");
    let error = archive(&super::tools(site.server.folder.path(), &text), "old").await.unwrap_err();
    assert!(error.contains("GRANT EXECUTE ON FUNCTION pg_control_system()"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_vanished_is_not_begun_anew() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 60);
    let all = table(&db, "t", "id");
    std::fs::write(place.path("agents.toml"), settings("chunk_rows = 7")).unwrap();
    let context = context(place.folder.path(), 60);
    let (here, away) = (place.path("archive"), place.path("unmounted"));
    // broken off in its first chunk, so that no row is counted yet; and later, between two chunks
    for step in ["deleted:1", "done:2"] {
        assert!(dies_in(place.folder.path(), "archive", step));
        std::fs::rename(&here, &away).unwrap();
        for mounted in [false, true] {
            if mounted {
                std::fs::create_dir(&here).unwrap();
            }
            let left = table(&db, "t", "id");
            let error = place.tools("").call("old", &json!({}), &context).await.unwrap_err().to_string();
            assert!(error.contains("is it mounted, or was it moved?"), "{error}");
            assert_eq!(table(&db, "t", "id"), left);
            assert_eq!(here.exists(), mounted, "nothing is made there");
        }
        std::fs::remove_dir(&here).unwrap();
        std::fs::rename(&away, &here).unwrap();
    }
    place.tools("").call("old", &json!({}), &context).await.unwrap();
    let left = table(&db, "t", "id");
    is_partition(&left, &archived(&here, "id", &left), &all);
    assert_eq!(left.len(), 30);
}

/// Who may write where objects lie must not be able to say anything to the database by it.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_object_says_of_its_columns_is_no_sql() {
    let Some(site) = super::postgres::Site::start().await else { return };
    site.fill(20).await;
    let all = site.table().await;
    // a sequence does not go back when its transaction does
    site.sql("CREATE SEQUENCE mark; CREATE FUNCTION hit() RETURNS text LANGUAGE sql AS 'SELECT nextval(''mark'')::text'").await;
    let folder = site.server.folder.path().join("archive");
    let tools = site.tools("");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 10);
    let manifest = names(&folder).into_iter().find(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".json") && name != "archive.json"
    });
    let manifest = manifest.unwrap();
    let whole: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let pending = folder.join("pending").join(manifest.file_name().unwrap());
    let object = folder.join(whole["object"].as_str().unwrap());
    let object_bytes = std::fs::read(&object).unwrap();
    let mut reached = Vec::new();
    for (column, kind) in [(0, "bigint OR hit() = 'x'"), (2, "text || hit()")] {
        let mut changed = whole.clone();
        assert!(changed["columns"][column]["type"].is_string(), "{changed}");
        changed["columns"][column]["type"] = kind.into();
        // the object says the same, so that only the database can tell
        let head = changed.to_string();
        let length = u32::from_le_bytes(object_bytes[4..8].try_into().unwrap()) as usize;
        let mut bytes = object_bytes[..4].to_vec();
        bytes.extend_from_slice(&u32::try_from(head.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&object_bytes[8 + length..]);
        changed["stored"] = bytes.len().into();
        changed["sha256"] =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        std::fs::write(&object, bytes).unwrap();
        std::fs::write(&manifest, changed.to_string()).unwrap();
        // they fail, or they work as if nothing had been said
        let _ = ask(&tools, "old", &ArchiveAsk::Verify).await;
        let dry = ArchiveAsk::Restore { range: ArchiveRange::default(), dry_run: true };
        let _ = ask(&tools, "old", &dry).await;
        reached.push(restore(&tools, "old", ArchiveRange::default()).await.is_ok());
        assert_eq!(site.count("mark WHERE is_called").await, 0, "{kind}");
        let _ = std::fs::remove_file(&pending);
    }
    assert!(reached.contains(&true), "nothing came as far as the database");
    assert_eq!(site.table().await, all, "a type that only has another name does no harm");
}
