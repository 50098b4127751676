//! The S3 client and the tool `s3` on a real S3-compatible server.
use super::moto::Moto;
use bgagent::config::{self, Context};
use bgagent::domain::{S3Settings, ToolError};
use bgagent::s3::{Bucket, S3ErrorKind};
use bgagent::tools::{CallContext, Tools};
use serde_json::{Value, json};

const KEYS: &str = r#"
access_key_id = "test"
secret_access_key = { file = "key" }
"#;

/// Tools of a configuration in which `$ENDPOINT` and `$KEYS` are filled in.
fn tools(moto: &Moto, text: &str) -> Tools {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = folder.keep().join("key");
    std::fs::write(&key, "not-to-be-told").expect("our folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).expect("our folder");
    let text = text.replace("$ENDPOINT", &moto.endpoint()).replace("$KEYS", KEYS);
    let context = Context::system("2026-06-01T12:00:00Z".parse().expect("a time"));
    let loaded = config::parse(text, &key.with_file_name("agents.toml"), &context);
    Tools::new(&loaded.unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet)
}

async fn bucket(moto: &Moto, name: &str, prefix: Option<&str>) -> Bucket {
    let mut settings = json!({
        "endpoint": moto.endpoint(), "bucket": name, "mode": "read_write", "access_key_id": "test",
        "secret_access_key": {"command": ["echo", "not-to-be-told"]}, "timeout": 20,
    });
    if let Some(prefix) = prefix {
        settings["prefix"] = prefix.into();
    }
    let settings: S3Settings = serde_json::from_value(settings).expect("settings");
    Bucket::open(&settings).await.expect("a bucket")
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_back_as_they_were_put() {
    let Some(moto) = Moto::start() else { return };
    moto.make_bucket("data");
    let bucket = bucket(&moto, "data", Some("app")).await;
    let mut large = vec![0; 6 << 20];
    large.iter_mut().enumerate().for_each(|(at, byte)| *byte = ((at * at) >> 3) as u8);
    let contents: [(&str, Vec<u8>); 5] = [
        ("plain.txt", b"hello".to_vec()),
        ("empty", Vec::new()),
        ("2026/11/rows of \u{fc}ser+%2e%2e&c=d?e#f.jsonl", "[\u{1f642}]".into()),
        ("deep/er/object.bin", (0..=255).collect()),
        ("large", large),
    ];
    for (key, bytes) in &contents {
        let put = bucket.put(key, bytes.clone(), "application/octet-stream").await.expect(key);
        let got = bucket.get(key, bytes.len()).await.expect(key);
        assert!(got.bytes == *bytes && !got.truncated, "{key}");
        let head = bucket.head(key).await.expect(key);
        assert_eq!((head.bytes, &head.sha256), (Some(bytes.len() as u64), &put.sha256), "{key}");
        assert!(head.modified.is_some() && head.content_type.as_deref() == Some("application/octet-stream"));
    }
    let listed = bucket.list("", None, 100).await.expect("a list");
    let mut keys: Vec<&str> = contents.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    assert_eq!(listed.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), keys);
    assert_eq!(listed.objects.iter().map(|object| object.bytes).sum::<u64>(), (6 << 20) + 5 + 6 + 256);
    let part = bucket.get_some("plain.txt", 4).await.expect("a part");
    assert_eq!((part.bytes.as_slice(), part.truncated), (b"hell".as_slice(), true));
    bucket.put("plain.txt", b"other".to_vec(), "text/plain").await.expect("it is replaced");
    assert_eq!(bucket.get("plain.txt", 100).await.expect("it is there").bytes, b"other");
    for _ in 0..2 {
        bucket.delete("plain.txt").await.expect("deleting is harmless to repeat");
    }
    assert_eq!(bucket.get("plain.txt", 100).await.unwrap_err().kind, S3ErrorKind::NotFound);
    assert_eq!(bucket.list("plain", None, 100).await.expect("a list").objects, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_they_ended() {
    let Some(moto) = Moto::start() else { return };
    moto.make_bucket("many");
    let bucket = bucket(&moto, "many", Some("in")).await;
    for outside in ["/many/a", "/many/in.txt", "/many/in0/x", "/many/z"] {
        assert!(moto.put(outside, &[], b"x").contains(" 200 "));
    }
    // More than one answer can hold.
    let keys: Vec<String> = (0..1005).map(|number| format!("k {number:04}")).collect();
    for some in keys.chunks(50) {
        let puts = some.iter().map(|key| bucket.put(key, b"x".to_vec(), "text/plain"));
        futures_util::future::try_join_all(puts).await.expect("they are stored");
    }
    let found = bucket.list("", None, 5000).await.expect("a list");
    assert!(found.objects.iter().map(|object| &object.key).eq(&keys) && !found.more);
    let mut after = None;
    let mut all = Vec::new();
    loop {
        let page = bucket.list("k 0", after.as_deref(), 333).await.expect("a list");
        assert!(page.objects.len() <= 333);
        all.extend(page.objects.into_iter().map(|object| object.key));
        after = all.last().cloned();
        if !page.more {
            break;
        }
    }
    assert_eq!(all, keys[..1000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_they_are() {
    let Some(moto) = Moto::start() else { return };
    moto.make_bucket("data");
    let data = bucket(&moto, "data", None).await;
    data.put("a/b", b"0123456789".to_vec(), "text/plain").await.expect("it is stored");
    let nowhere = bucket(&moto, "nowhere", None).await;
    let put = nowhere.put("a", b"x".to_vec(), "text/plain").await.map(drop);
    let mut found = vec![
        (data.get("a/c", 100).await.map(drop), S3ErrorKind::NotFound, "there is no such object"),
        (data.head("a").await.map(drop), S3ErrorKind::NotFound, "`a` in bucket `data` at http://127.0.0.1:"),
        (
            data.get("a/b", 9).await.map(drop),
            S3ErrorKind::TooLarge,
            "it has 10 bytes, and 9 bytes are the most",
        ),
        (put, S3ErrorKind::NoBucket, "there is no such bucket: check `bucket`"),
        (nowhere.list("", None, 10).await.map(drop), S3ErrorKind::NoBucket, "bucket `nowhere`"),
    ];
    for (key, why) in [("../a", "`..`"), ("/a", "begins with a slash"), ("", "is empty"), ("a//b", "slashes")]
    {
        found.push((data.get(key, 100).await.map(drop), S3ErrorKind::Key, why));
        found.push((data.put(key, Vec::new(), "text/plain").await.map(drop), S3ErrorKind::Key, why));
        found.push((data.head(key).await.map(drop), S3ErrorKind::Key, why));
        found.push((data.delete(key).await, S3ErrorKind::Key, why));
    }
    // Somebody puts another content under our checksum.
    let sum = "x-amz-meta-bgagent-sha256: ".to_owned() + &"0".repeat(64);
    assert!(moto.put("/data/swapped", &[&sum], b"other").contains(" 200 "));
    found.push((data.get("swapped", 100).await.map(drop), S3ErrorKind::Corrupt, "not what was stored"));
    for (result, kind, says) in found {
        let error = result.expect_err(says);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.to_string().contains("not-to-be-told"), "{error}");
        assert!(!error.to_string().contains("Signature"), "{error}");
    }
}

const TOOLS: &str = r#"
[tools.backups]
type = "s3"
endpoint = "$ENDPOINT"
bucket = "data"
prefix = "app/"
mode = "read_write"
max_bytes = "1KiB"
$KEYS
[tools.reader]
type = "s3"
endpoint = "$ENDPOINT"
bucket = "data"
$KEYS
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_tool_reaches_what_it_may() {
    let Some(moto) = Moto::start() else { return };
    moto.make_bucket("data");
    let tools = tools(&moto, TOOLS);
    let ask = async |name: &str, args: Value| {
        tools.call(name, &args, &CallContext::default()).await.map(|output| output.result)
    };
    let put = ask("backups", json!({"op": "put", "key": "r/1.txt", "text": "gr\u{fc}n"})).await.expect("put");
    assert_eq!((&put["key"], &put["bytes"]), (&json!("r/1.txt"), &json!(5)));
    ask("backups", json!({"op": "put", "key": "r/2.bin", "base64": "/wD/"})).await.expect("put");
    let got = ask("backups", json!({"op": "get", "key": "r/1.txt"})).await.expect("get");
    assert_eq!((&got["text"], &got["truncated"]), (&json!("gr\u{fc}n"), &json!(false)));
    assert_eq!(got["content_type"], "text/plain; charset=utf-8");
    let got = ask("reader", json!({"op": "get", "key": "app/r/2.bin"})).await.expect("get");
    assert_eq!(got["base64"], "/wD/");
    let head = ask("backups", json!({"op": "head", "key": "r/2.bin"})).await.expect("head");
    assert_eq!((&head["bytes"], head.get("base64")), (&json!(3), None));
    let list = ask("backups", json!({"op": "list", "prefix": "r/", "max": 1})).await.expect("list");
    assert_eq!((&list["objects"][0]["key"], &list["truncated"]), (&json!("r/1.txt"), &json!(true)));
    let list = ask("backups", json!({"op": "list", "after": "r/1.txt"})).await.expect("list");
    assert_eq!((&list["objects"][0]["key"], &list["truncated"]), (&json!("r/2.bin"), &json!(false)));
    let bytes = format!("{}\u{1f642}", "a".repeat(1022));
    assert!(moto.put("/data/app/long", &[], bytes.as_bytes()).contains(" 200 "));
    let got = ask("backups", json!({"op": "get", "key": "long"})).await.expect("get");
    assert_eq!((got["text"].as_str().map(str::len), &got["truncated"]), (Some(1022), &json!(true)));
    let long = "x".repeat(1025);
    for (name, args, says) in [
        ("reader", json!({"op": "put", "key": "a", "text": "x"}), "one of"),
        ("backups", json!({"op": "put", "key": "a"}), "either `text` or `base64`"),
        ("backups", json!({"op": "put", "key": "a", "text": "x", "base64": "eA=="}), "either"),
        ("backups", json!({"op": "put", "key": "a", "base64": "?"}), "`base64` can't be read"),
        ("backups", json!({"op": "put", "key": "a", "text": long}), "1025 bytes, and 1024 are the most"),
        ("backups", json!({"op": "put", "key": "../a", "text": "x"}), "`..`"),
        ("backups", json!({"op": "get"}), "get needs `key`"),
        ("backups", json!({"op": "get", "key": "a", "max": 3}), "`max` is not for get"),
        ("backups", json!({"op": "delete", "key": "a"}), "one of"),
    ] {
        match ask(name, args).await {
            Err(ToolError::Arguments(error)) => assert!(error.contains(says), "{error}"),
            other => panic!("{says}: {other:?}"),
        }
    }
    let gone = ask("backups", json!({"op": "get", "key": "none"})).await.unwrap_err().to_string();
    assert!(gone.contains("`app/none` in bucket `data`") && gone.contains("no such object"), "{gone}");
    let bare = ask("s3", json!({"op": "list"})).await.unwrap_err().to_string();
    assert!(bare.contains("does nothing without settings"), "{bare}");
}
