//! The tool against servers on the loopback interface: whose address is asked, what is kept between calls,
//! what a failure costs. Hostile servers are in `tests/it/news`.
use crate::domain::{
    AgentId, Entry, Fact, FeedArgs, FeedLogin, FeedSettings, Fleet, Level, MemoryChange, SecretRef,
    TextOrSecret, ToolError, ToolKind, ToolSettings, ToolSpec, novelty,
};
use crate::net::testing::{Server, answer};
use crate::store::Store;
use crate::tools::Tools;
use crate::tools::contract::CallContext;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A feed with these items: number and title.
fn rss(items: &[(u32, &str)]) -> String {
    let items: String = items
        .iter()
        .map(|(n, title)| {
            format!(
                "<item><title>{title}</title><link>https://a.example/{n}</link><guid isPermaLink=\"false\">{n}</guid>\
                 <description>About {title}.</description></item>"
            )
        })
        .collect();
    format!(
        "<rss version=\"2.0\"><channel><title>A</title><link>https://a.example/</link>{items}</channel></rss>"
    )
}

fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", &[("content-type", "text/html")], body)
}

/// A call by a person, in these words.
fn by_hand(args: &Value) -> CallContext {
    CallContext { written: Some(args.clone()), ..CallContext::default() }
}

async fn call(args: Value, context: &CallContext) -> Result<Value, ToolError> {
    let tools = Tools::new(&Fleet::empty("/agents.toml".into()));
    tools.call("feed", &args, context).await.map(|output| output.result)
}

async fn ask(args: Value) -> Result<Value, String> {
    let context = by_hand(&args);
    call(args, &context).await.map_err(|error| error.to_string())
}

/// With the instance `news`.
fn instance(settings: FeedSettings) -> Tools {
    let mut fleet = Fleet::empty("/agents.toml".into());
    let settings = ToolSettings::Feed(settings);
    fleet.tools.insert("news".into(), ToolSpec { kind: ToolKind::Feed, settings });
    Tools::new(&fleet)
}

fn titles(result: &Value) -> Vec<&str> {
    result["items"].as_array().expect("items").iter().filter_map(|item| item["title"].as_str()).collect()
}

#[tokio::test]
async fn several_sources_become_one_list_and_who_fails_is_named() {
    let server = Server::start(|line| match line.split(' ').nth(1) {
        Some("/one") => ok(&rss(&[(1, "first"), (2, "second")])),
        Some("/two") => {
            ok(r#"{"version":"https://jsonfeed.org/version/1.1","items":[{"id":"x","title":"third"}]}"#)
        }
        Some("/cut") => ok("<rss><channel><item><title>whole</title></item><item><title>ha"),
        Some("/gone") => answer("410 Gone", &[], ""),
        Some("/page") => ok("<html><body>sign in</body></html>"),
        _ => answer("503 Busy", &[("retry-after", "120")], ""),
    })
    .await;
    let url = |path: &str| server.url(path);
    let urls =
        json!([url("/one"), url("/two"), url("/cut"), url("/gone"), url("/page"), url("/busy"), url("/one")]);
    let result = ask(json!({"urls": urls})).await.unwrap();
    assert_eq!(titles(&result), ["first", "second", "third", "whole"]);
    assert_eq!(result["wake"], true);
    let first = json!({
        "id": format!("{}#1", url("/one")), "link": "https://a.example/1", "title": "first",
        "summary": "About first.", "source": "A",
    });
    assert_eq!(result["items"][0], first);
    let failures = result["failures"].as_array().unwrap();
    let says = ["it ends in the middle", "gone for good", "a web page", "wants 120"];
    assert_eq!(failures.len(), says.len(), "{failures:?}");
    for (failure, says) in failures.iter().zip(says) {
        assert!(failure["error"].as_str().unwrap().contains(says), "{failure}");
        assert!(failure["url"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{failure}");
    }
    assert_eq!(result["sources"].as_array().unwrap().len(), 3);
    // each once, however often it is named
    assert_eq!(server.asked().len(), 6);
    let error = ask(json!({"urls": [url("/gone"), url("/page")]})).await.unwrap_err();
    assert!(error.starts_with("none of the 2 sources could be read: http://127.0.0.1:"), "{error}");
    let error = ask(json!({"urls": [url("/gone")]})).await.unwrap_err();
    assert!(error.contains("/gone: the server answers with status 410"), "{error}");
}

#[tokio::test]
async fn bounds_are_kept_and_what_is_left_out_is_counted() {
    let many: Vec<(u32, String)> =
        (0..3000).map(|n| (n, format!("number {n} {}", "x".repeat(200)))).collect();
    let many: Vec<(u32, &str)> = many.iter().map(|(n, title)| (*n, title.as_str())).collect();
    let text = rss(&many);
    let server = Server::start(move |_| ok(&text)).await;
    let urls = json!([server.url("/")]);
    let result = ask(json!({"urls": urls})).await.unwrap();
    assert_eq!((result["items"].as_array().unwrap().len(), &result["left_out"]), (50, &json!(2950)));
    let result = ask(json!({"urls": urls, "max_items": 1000})).await.unwrap();
    let count = result["items"].as_array().unwrap().len();
    assert!((400..1000).contains(&count), "{count}");
    assert!(result.to_string().len() <= 256 << 10);
    assert_eq!(result["left_out"], 3000 - count);
    let result = ask(json!({"urls": urls, "max_per_source": 3, "max_summary": 0})).await.unwrap();
    assert_eq!(
        (result["items"].as_array().unwrap().len(), &result["items"][0]["summary"]),
        (3, &Value::Null)
    );
    for (wrong, says) in [
        (json!({"urls": []}), "`urls` is empty"),
        (json!({}), "urls"),
        (json!({"urls": urls, "max_items": 0}), "max_items"),
        (json!({"urls": urls, "since": "soon"}), "neither a duration"),
        (json!({"urls": urls, "topic": "x"}), "topic"),
        (json!({"urls": ["ftp://a.example/"]}), "must begin with http"),
        (json!({"urls": vec!["http://a.example/"; 3], "max_summary": 99999}), "max_summary"),
        (
            json!({"urls": (0..201).map(|n| format!("http://a.example/{n}")).collect::<Vec<_>>()}),
            "200 are the most",
        ),
    ] {
        let error = ask(wrong.clone()).await.unwrap_err();
        assert!(error.contains(says), "{wrong}: {error}");
    }
}

#[tokio::test]
async fn only_what_a_person_wrote_may_be_private() {
    let target = Server::start(|_| ok(&rss(&[(1, "secret")]))).await;
    let to = target.url("/feed");
    let server = {
        let to = to.clone();
        Server::start(move |line| match line.split(' ').nth(1) {
            Some("/here") => answer("302 Found", &[("location", "/feed")], ""),
            Some("/there") => answer("302 Found", &[("location", &to)], ""),
            Some("/metadata") => answer("302 Found", &[("location", "http://169.254.169.254/latest")], ""),
            Some("/loop") => answer("301 Moved", &[("location", "/loop")], ""),
            Some("/file") => answer("301 Moved", &[("location", "file:///etc/passwd")], ""),
            _ => ok(&rss(&[(1, "own")])),
        })
        .await
    };
    assert_eq!(titles(&ask(json!({"urls": [server.url("/here")]})).await.unwrap()), ["own"]);
    for (path, says) in [
        ("/there", "is not allowed"),
        ("/metadata", "169.254.169.254, which is not a public address"),
        ("/loop", "redirects"),
        ("/file", "must begin with http"),
    ] {
        let error = ask(json!({"urls": [server.url(path)]})).await.unwrap_err();
        assert!(error.contains(says), "{path}: {error}");
    }
    // also when both are written out: a server does not lead to the other
    let both = json!({"urls": [server.url("/there"), to.clone()]});
    assert_eq!(ask(both).await.unwrap()["failures"].as_array().unwrap().len(), 1);
    assert_eq!(target.asked().len(), 1);
    // what came out of a place was not written by anybody
    let filled = json!({"urls": [server.url("/feed"), to.clone()]});
    let written = json!({"urls": [server.url("/feed"), "http://{event.host}/feed"]});
    let context = CallContext { written: Some(written), ..CallContext::default() };
    let result = call(filled.clone(), &context).await.unwrap();
    assert!(result["failures"][0]["error"].as_str().unwrap().contains("not allowed"), "{result}");
    let private = json!({"urls": ["http://127.0.0.1/feed"]});
    let nobody = CallContext { written: Some(json!({})), ..CallContext::default() };
    let error = call(private, &nobody).await.unwrap_err().to_string();
    assert!(error.contains("allow_private = [\"127.0.0.1\"]"), "{error}");
    // a model chooses none at all
    let error = call(filled, &CallContext::default()).await.unwrap_err().to_string();
    assert!(error.contains("a model does not choose them") && error.contains("[tools.news]"), "{error}");
    assert_eq!(target.asked().len(), 1);
}

#[tokio::test]
async fn an_instance_has_fixed_addresses_and_sends_its_headers_nowhere_else() {
    let other = Server::start(|_| ok(&rss(&[(1, "elsewhere")]))).await;
    let server = Server::start(|line| match line.contains("/moved") {
        true => answer("302 Found", &[("location", "http://localhost.example/")], ""),
        false => ok(&rss(&[(1, "a"), (2, "b"), (3, "c")])),
    })
    .await;
    let tools = instance(FeedSettings {
        fixed: FeedArgs { urls: Some(vec![server.url("/feed")]), max_items: Some(2), ..FeedArgs::default() },
        headers: [("X-Key".into(), TextOrSecret::Text("k1".into()))].into(),
        ..FeedSettings::default()
    });
    let info = tools.list().into_iter().find(|tool| tool.name == "news").unwrap();
    assert!(info.untrusted && info.schema["properties"].get("urls").is_none(), "{}", info.schema);
    assert_eq!(info.schema["properties"]["max_items"]["maximum"], 2);
    let result = tools.call("news", &json!({}), &CallContext::default()).await.unwrap().result;
    assert_eq!(titles(&result), ["a", "b"]);
    assert!(server.asked()[0].to_ascii_lowercase().contains("x-key: k1"), "{}", server.asked()[0]);
    for args in [json!({"urls": [other.url("/")]}), json!({"max_items": 3}), json!({"headers": {}})] {
        assert!(tools.call("news", &args, &CallContext::default()).await.is_err(), "{args}");
    }
    assert!(other.asked().is_empty());
}

/// A store in a folder of its own.
struct Kept {
    folder: tempfile::TempDir,
    store: Store,
}

impl Kept {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("bgagent.db")).unwrap().0;
        Self { folder, store }
    }

    fn context(&self, args: &Value, novel_by: &[&str]) -> CallContext {
        CallContext {
            agent: Some("news".parse::<AgentId>().unwrap()),
            store: Some(self.store.clone()),
            novel_by: novel_by.iter().map(|field| (*field).to_owned()).collect(),
            timeout: Some(Duration::from_secs(60)),
            ..by_hand(args)
        }
    }

    async fn see(&self, result: &Value, by: &[&str]) {
        let by: Vec<String> = by.iter().map(|field| (*field).to_owned()).collect();
        let items = novelty::keys(result["items"].as_array().unwrap(), &by);
        let change = MemoryChange::Seen { agent: "news".parse().unwrap(), items };
        let fact = Fact::Remembered(Box::new(change));
        self.store.commit(vec![Entry { at: Timestamp::now(), fact }]).await.unwrap();
    }
}

#[tokio::test]
async fn not_modified_gives_what_was_there_before_also_after_a_restart() {
    let edition = Arc::new(AtomicUsize::new(1));
    let now = edition.clone();
    let server = Server::start(move |_| {
        // one answer for all: whether it is asked for is looked at below
        let number = now.load(Ordering::SeqCst);
        match number {
            0 => answer("304 Not Modified", &[("etag", "\"1\"")], ""),
            number => {
                let tag = format!("\"{number}\"");
                let headers = [("etag", tag.as_str()), ("last-modified", "Tue, 24 Nov 2026 08:00:00 GMT")];
                answer("200 OK", &headers, rss(&[(1, "first"), (2, &format!("edition {number}"))]))
            }
        }
    })
    .await;
    let args = json!({"urls": [server.url("/feed")]});
    let mut kept = Kept::new();
    let first = call(args.clone(), &kept.context(&args, &[])).await.unwrap();
    assert_eq!(first["sources"][0].get("unchanged"), None);
    assert!(!server.asked()[0].to_ascii_lowercase().contains("if-none-match"), "{}", server.asked()[0]);
    edition.store(0, Ordering::SeqCst);
    let second = call(args.clone(), &kept.context(&args, &[])).await.unwrap();
    assert_eq!((&second["items"], &second["sources"][0]["unchanged"]), (&first["items"], &json!(true)));
    let asked = server.asked()[1].to_ascii_lowercase();
    assert!(
        asked.contains("if-none-match: \"1\"") && asked.contains("if-modified-since: tue, 24 nov"),
        "{asked}"
    );
    kept.store = Store::open(&kept.folder.path().join("bgagent.db")).unwrap().0;
    let third = call(args.clone(), &kept.context(&args, &[])).await.unwrap();
    assert_eq!(third["items"], first["items"]);
    edition.store(2, Ordering::SeqCst);
    let fourth = call(args.clone(), &kept.context(&args, &[])).await.unwrap();
    assert_eq!(titles(&fourth), ["first", "edition 2"]);
    // whoever has nothing to compare with does not take "not modified" for an answer
    edition.store(0, Ordering::SeqCst);
    let error = ask(args).await.unwrap_err();
    assert!(error.contains("304"), "{error}");
}

#[tokio::test]
async fn not_modified_of_another_address_is_not_believed() {
    let moved = Arc::new(AtomicUsize::new(0));
    let to = moved.clone();
    let server = Server::start(move |line| {
        let path = line.split(' ').nth(1).unwrap_or_default();
        match (path, to.load(Ordering::SeqCst)) {
            ("/feed", 0) => answer("302 Found", &[("location", "/old")], ""),
            ("/feed", _) => answer("302 Found", &[("location", "/new")], ""),
            ("/old", _) => {
                answer("200 OK", &[("last-modified", "Tue, 24 Nov 2026 08:00:00 GMT")], rss(&[(1, "old")]))
            }
            // its file is older than that of the other, so it says that nothing is new
            (_, 1) => {
                to.store(2, Ordering::SeqCst);
                answer("304 Not Modified", &[], "")
            }
            _ => ok(&rss(&[(2, "new")])),
        }
    })
    .await;
    let args = json!({"urls": [server.url("/feed")]});
    let kept = Kept::new();
    assert_eq!(titles(&call(args.clone(), &kept.context(&args, &[])).await.unwrap()), ["old"]);
    moved.store(1, Ordering::SeqCst);
    assert_eq!(titles(&call(args.clone(), &kept.context(&args, &[])).await.unwrap()), ["new"]);
}

#[tokio::test]
async fn what_was_seen_makes_room_for_what_was_not() {
    let many: Vec<(u32, String)> = (0..25).map(|n| (n, format!("number {n}"))).collect();
    let many: Vec<(u32, &str)> = many.iter().map(|(n, title)| (*n, title.as_str())).collect();
    let text = rss(&many);
    let server = Server::start(move |_| ok(&text)).await;
    let args = json!({"urls": [server.url("/")], "max_items": 10});
    for by in [["link"], ["id"]] {
        let kept = Kept::new();
        let mut told: Vec<String> = Vec::new();
        for count in [10, 10, 5, 0] {
            let result = call(args.clone(), &kept.context(&args, &by)).await.unwrap();
            assert_eq!(titles(&result).len(), count, "{result}");
            assert_eq!(result["wake"], count > 0);
            told.extend(titles(&result).into_iter().map(str::to_owned));
            kept.see(&result, &by).await;
        }
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 25);
        // a gate that does not ask for what is new gets all
        assert_eq!(titles(&call(args.clone(), &kept.context(&args, &[])).await.unwrap()).len(), 10);
    }
}

/// The body of `/feed` changes; other paths do what their name says.
struct Changing(Server, Arc<Mutex<String>>);

impl Changing {
    async fn new() -> Self {
        let body = Arc::new(Mutex::new(String::new()));
        let now = body.clone();
        Self(Server::start(move |_| ok(&now.lock().unwrap())).await, body)
    }

    fn put(&self, items: &[&str]) {
        let home = "<title>s</title><link>http://site.example/</link>";
        *self.1.lock().unwrap() =
            format!("<rss version='2.0'><channel>{home}{}</channel></rss>", items.concat());
    }
}

#[tokio::test]
async fn ids_stay_also_without_validators() {
    let server = Changing::new().await;
    let args = json!({"urls": [server.0.url("/feed")]});
    let kept = Kept::new();
    let status =
        |title: &str| format!("<item><title>{title}</title><link>http://site.example/status</link></item>");
    let (a, b, c) = (status("A"), status("B"), status("C"));
    for (items, wanted) in [
        (vec![a.as_str()], vec!["A"]),
        (vec![&b, &a], vec!["B"]),
        (vec![&c], vec!["C"]),
        (vec![&c, &a], vec![]),
    ] {
        server.put(&items);
        let result = call(args.clone(), &kept.context(&args, &["id"])).await.unwrap();
        assert_eq!(titles(&result), wanted);
        kept.see(&result, &["id"]).await;
    }
}

#[tokio::test]
async fn a_story_of_two_feeds_is_told_once_whichever_has_it_later() {
    let (first, second) = (Changing::new().await, Changing::new().await);
    let args = json!({"urls": [first.0.url("/a"), second.0.url("/b")]});
    let kept = Kept::new();
    let item = |guid: &str, scheme: &str| {
        format!(
            "<item><title>T</title><guid isPermaLink='false'>{guid}</guid><link>{scheme}://b.example/story</link></item>"
        )
    };
    first.put(&[&item("1", "http")]);
    second.put(&[&item("x", "https")]);
    for by in ["id", "link"] {
        let context = kept.context(&args, &[by]);
        let output =
            Tools::new(&Fleet::empty("/agents.toml".into())).call("feed", &args, &context).await.unwrap();
        assert_eq!(titles(&output.result), ["T"]);
        assert_eq!(output.doubles.len(), 1);
        kept.see(&output.result, &[by]).await;
        // noted as told, too, when it is looked at again
        assert!(titles(&call(args.clone(), &context).await.unwrap()).is_empty());
        let alone = json!({"urls": [second.0.url("/b")]});
        let result = call(alone.clone(), &kept.context(&alone, &[by])).await.unwrap();
        assert!(titles(&result).is_empty(), "{by}: {result}");
    }
}

#[tokio::test]
async fn who_wants_to_be_left_alone_is() {
    let server = Server::start(|line| match line.split(' ').nth(1) {
        Some("/busy") => answer("429 Too Many Requests", &[("retry-after", "3600")], ""),
        Some("/later") => answer("503 Busy", &[("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT")], ""),
        Some("/past") => answer("503 Busy", &[("retry-after", "Fri, 31 Dec 2010 23:59:59 GMT")], ""),
        _ => ok(&rss(&[(1, "a")])),
    })
    .await;
    let args = json!({"urls": [server.url("/busy"), server.url("/later"), server.url("/past"), server.url("/good")]});
    let kept = Kept::new();
    for _ in 0..3 {
        call(args.clone(), &kept.context(&args, &[])).await.unwrap();
    }
    let count = |path: &str| server.asked().iter().filter(|asked| asked.contains(path)).count();
    assert_eq!((count("/busy"), count("/later"), count("/past"), count("/good")), (1, 1, 3, 3));
    // all that there is waits: that was told as a failure, and is none again
    let busy = json!({"urls": [server.url("/busy")]});
    let context = kept.context(&busy, &[]);
    let output =
        Tools::new(&Fleet::empty("/agents.toml".into())).call("feed", &busy, &context).await.unwrap();
    let error = output.result["failures"][0]["error"].as_str().unwrap();
    assert!(error.contains("not to be asked before 2"), "{error}");
    assert_eq!(output.result["wake"], false);
    assert_eq!((output.warnings.len(), output.findings[0].level), (1, Level::Warn));
}

#[tokio::test]
async fn a_dead_source_among_others_is_a_warning_and_a_finding() {
    let server = Server::start(|line| match line.split(' ').nth(1) {
        Some("/dead") => answer("404 Not Found", &[], ""),
        Some("/old") => answer("301 Moved", &[("location", "/temporary")], ""),
        Some("/temporary") => answer("302 Found", &[("location", "/new")], ""),
        _ => ok("<rss><channel><item><title>x</title><pubDate>around noon</pubDate></item></channel></rss>"),
    })
    .await;
    let args = json!({"urls": [server.url("/dead"), server.url("/old")]});
    let output =
        Tools::new(&Fleet::empty("/agents.toml".into())).call("feed", &args, &by_hand(&args)).await.unwrap();
    let [dead, good] = &output.findings[..] else { panic!("{:?}", output.findings) };
    assert_eq!(
        (dead.level, dead.key.as_str()),
        (Level::Warn, format!("feed:{}", server.url("/dead")).as_str())
    );
    assert_eq!(dead.hold_for, jiff::SignedDuration::from_hours(24));
    assert_eq!(good.level, Level::Ok);
    assert!(
        output.warnings[0].contains("/dead can't be read: the server answers with status 404"),
        "{:?}",
        output.warnings
    );
    assert!(
        output.warnings[1].contains("has moved to") && output.warnings[1].contains("/temporary for good")
    );
    let source = &output.result["sources"][0];
    assert_eq!(source["moved_to"], server.url("/temporary"));
    assert_eq!(source["odd_dates"], json!({"count": 1, "example": "around noon"}));
    assert_eq!(output.result["items"][0].get("published"), None);
}

#[tokio::test]
async fn cookies_live_as_long_as_a_request() {
    let server = Arc::new(Mutex::new(None::<Server>));
    let at = server.clone();
    let wall = Server::start(move |line| {
        let asked = at.lock().unwrap().as_ref().map(|server| server.asked().len()).unwrap_or_default();
        match line.split(' ').nth(1) {
            Some("/feed") if asked.is_multiple_of(2) => answer(
                "302 Found",
                &[
                    ("location", "/feed?again"),
                    ("set-cookie", "seen=1; Path=/"),
                    ("set-cookie", "b=2; Path=/other"),
                ],
                "",
            ),
            _ => ok(&rss(&[(1, "behind the wall")])),
        }
    })
    .await;
    let url = wall.url("/feed");
    *server.lock().unwrap() = Some(wall);
    assert_eq!(titles(&ask(json!({"urls": [url]})).await.unwrap()), ["behind the wall"]);
    ask(json!({"urls": [url]})).await.unwrap();
    let cookies: Vec<Option<String>> = {
        let server = server.lock().unwrap();
        let cookie = |asked: &String| {
            let line = asked.lines().find(|line| line.to_ascii_lowercase().starts_with("cookie:"));
            line.map(|line| line[8..].to_owned())
        };
        server.as_ref().unwrap().asked().iter().map(cookie).collect()
    };
    assert_eq!(cookies, [None, Some("seen=1".to_owned()), None, Some("seen=1".to_owned())]);
}

#[tokio::test]
async fn a_login_goes_to_its_source_alone() {
    let server = Server::start(|_| ok(&rss(&[(1, "a")]))).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("password");
    std::fs::write(&secret, "s3cret\n").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let login = FeedLogin { username: TextOrSecret::Text("me".into()), password: SecretRef::File(secret) };
    let urls = Some(vec![server.url("/open"), server.url("/closed")]);
    let tools = instance(FeedSettings {
        fixed: FeedArgs { urls, ..FeedArgs::default() },
        logins: [(server.url("/closed"), login)].into(),
        ..FeedSettings::default()
    });
    tools.call("news", &json!({}), &CallContext::default()).await.unwrap();
    for asked in server.asked() {
        let has = asked.to_ascii_lowercase().contains("authorization: basic bwu6cznjcmv0");
        assert_eq!(has, asked.starts_with("GET /closed"), "{asked}");
    }
}
