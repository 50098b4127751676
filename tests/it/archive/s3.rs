//! To a bucket of a real S3-compatible server.
use super::check::{Rows, archived, is_partition, table};
use super::crash::dies_in;
use super::*;
use crate::moto::Moto;
use bgagent::domain::S3Settings;
use bgagent::s3::Bucket;
use std::os::unix::fs::PermissionsExt;

struct Site {
    moto: Moto,
    place: Place,
    all: Rows,
}

impl Site {
    fn start(rows: i64) -> Option<Self> {
        let moto = Moto::start()?;
        moto.make_bucket("backups");
        let place = Place::new();
        fill(&place.db(), rows);
        let key = place.path("key");
        std::fs::write(&key, "not-to-be-told").expect("our folder");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("our folder");
        let all = table(&place.db(), "t", "id");
        let site = Self { moto, place, all };
        std::fs::write(site.place.path("agents.toml"), site.settings("chunk_rows = 7")).expect("our folder");
        Some(site)
    }

    fn settings(&self, more: &str) -> String {
        let bucket = format!(
            "[tools.backups]\ntype = \"s3\"\nendpoint = \"{}\"\nbucket = \"backups\"\nprefix = \"all\"\nmode = \"read_write\"\n\
             access_key_id = \"test\"\nsecret_access_key = {{ file = \"key\" }}\n",
            self.moto.endpoint()
        );
        bucket
            + &settings(more).replace("{ folder = \"archive\" }", "{ s3 = \"backups\", prefix = \"orders\" }")
    }

    fn tools(&self, more: &str) -> Tools {
        tools(self.place.folder.path(), &self.settings(more))
    }

    /// What the bucket holds, by the rules of a folder: it is copied into one.
    async fn archived(&self, left: &Rows) -> Rows {
        let settings = json!({
            "endpoint": self.moto.endpoint(), "bucket": "backups", "mode": "read_write", "prefix": "all/orders", "access_key_id": "test",
            "secret_access_key": {"command": ["echo", "not-to-be-told"]}, "timeout": 20,
        });
        let bucket = Bucket::open(&serde_json::from_value::<S3Settings>(settings).unwrap()).await.unwrap();
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("pending")).unwrap();
        for object in bucket.list("", None, usize::MAX).await.unwrap().objects {
            let bytes = bucket.get(&object.key, 1 << 30).await.unwrap().bytes;
            std::fs::write(copy.path().join(&object.key), bytes).unwrap();
        }
        archived(copy.path(), "id", left)
    }

    async fn whole(&self) -> (usize, usize) {
        let left = table(&self.place.db(), "t", "id");
        let old = self.archived(&left).await;
        is_partition(&left, &old, &self.all);
        (left.len(), old.len())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_move_to_a_bucket_and_back() {
    let Some(site) = Site::start(300) else { return };
    let tools = site.tools("chunk_rows = 16");
    let done = archive(&tools, "old").await.unwrap();
    assert_eq!((&done["moved"], &done["to"]), (&json!(150), &json!("s3://backups/all/orders")));
    assert_eq!(site.whole().await, (150, 150));
    assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["rows"], 150);
    let range = ArchiveRange { key: vec!["7".into()], ..ArchiveRange::default() };
    assert_eq!(restore(&tools, "old", range).await.unwrap()["restored"], 1);
    assert_eq!(site.whole().await, (151, 149));
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 149);
    assert_eq!(site.whole().await, (300, 0));
    // a bucket that is not there
    let wrong = site.settings("").replace("bucket = \"backups\"", "bucket = \"backup\"");
    let error = archive(&super::tools(site.place.folder.path(), &wrong), "old").await.unwrap_err();
    assert!(error.contains("bucket `backup`"), "{error}");
    assert_eq!(site.whole().await, (300, 0));
    // one that only reads is refused before anything runs
    let wrong = site.settings("").replace("mode = \"read_write\"\n", "");
    assert!(mistakes(&wrong).contains("tool `backups` only reads"), "{}", mistakes(&wrong));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_step_with_a_bucket() {
    let Some(site) = Site::start(42) else { return };
    let folder = site.place.folder.path().to_owned();
    let mut killed = 0;
    for step in ["written", "verified", "intended", "deleted", "sealed", "done"] {
        for round in 1..=2 {
            killed += u32::from(dies_in(&folder, "archive", &format!("{step}:{round}")));
            site.whole().await;
        }
        archive(&site.tools("chunk_rows = 7"), "old").await.unwrap();
        assert_eq!(site.whole().await, (21, 21), "{step}");
        for back in ["restoring", "put", "unsealed"] {
            killed += u32::from(dies_in(&folder, "2030-01-01T00:00:00Z", &format!("{back}:2")));
            site.whole().await;
        }
        restore(&site.tools(""), "old", ArchiveRange::default()).await.unwrap();
        assert_eq!(site.whole().await, (42, 0), "{step}");
    }
    assert!(killed >= 20, "only {killed} kills");
}

/// What others do in the bucket: an object is overwritten, one of another archive is put beside ours, all is moved.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_in_the_bucket_is_noticed() {
    let Some(site) = Site::start(60) else { return };
    let tools = site.tools("chunk_rows = 10");
    for question in [ArchiveAsk::List, ArchiveAsk::Verify] {
        let error = ask(&tools, "old", &question).await.unwrap_err();
        assert!(error.contains("s3://backups/all/orders: there is no archive here"), "{error}");
    }
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 30);
    let settings = json!({
        "endpoint": site.moto.endpoint(), "bucket": "backups", "mode": "read_write", "prefix": "all/orders", "access_key_id": "test",
        "secret_access_key": {"command": ["echo", "not-to-be-told"]}, "timeout": 20,
    });
    let bucket = Bucket::open(&serde_json::from_value::<S3Settings>(settings).unwrap()).await.unwrap();
    let keys: Vec<String> = bucket
        .list("", None, usize::MAX)
        .await
        .unwrap()
        .objects
        .into_iter()
        .map(|object| object.key)
        .collect();
    let objects: Vec<&String> = keys.iter().filter(|key| key.ends_with(".zst")).collect();
    let whole = bucket.get(objects[0], 1 << 30).await.unwrap().bytes;
    let second = bucket.get(objects[1], 1 << 30).await.unwrap().bytes;
    bucket.put(objects[0], second.clone(), "application/zstd").await.unwrap();
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert_eq!(
        (&verified["ok"], verified["problems"].as_array().unwrap().len()),
        (&json!(false), 1),
        "{verified}"
    );
    // it is not put back, and the others would be
    let all = ArchiveAsk::Restore { range: ArchiveRange::default(), dry_run: true };
    let tried = ask(&tools, "old", &all).await.unwrap();
    assert_eq!(tried["damaged"][0]["object"], *objects[0].rsplit('/').next().unwrap(), "{tried}");
    assert!(
        tried["damaged"].as_array().unwrap().len() == 1 && tried["restored"].as_u64() > Some(0),
        "{tried}"
    );
    bucket.put(objects[0], whole, "application/zstd").await.unwrap();
    // a copy under a name of ours, without a manifest
    bucket
        .put("20200101T000000000-00000000000000000000.jsonl.zst", second, "application/zstd")
        .await
        .unwrap();
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert!(verified["problems"].to_string().contains("has no manifest"), "{verified}");
    let done = archive(&tools, "old").await.unwrap();
    assert!(done["warnings"].to_string().contains("unclaimed/"), "{done}");
    assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true);
    restore(&tools, "old", ArchiveRange::default()).await.unwrap();
    assert_eq!(table(&site.place.db(), "t", "id"), site.all);
}
