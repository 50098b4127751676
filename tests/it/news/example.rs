//! The news agent of `agents.example.toml`, as somebody uses it who takes the comment signs away.
use super::{Daemon, Endpoint, Feeds, Reply, has_saved, items_of, json};

/// The file with the parts uncommented that the news need.
fn uncommented() -> String {
    let mut on = false;
    let mut lines = Vec::new();
    for line in bgagent::config::STARTER.lines() {
        let code = line.strip_prefix('#').map(|rest| rest.strip_prefix(' ').unwrap_or(rest));
        match code {
            Some(code) => {
                on |= matches!(code, "[models.main]" | "[tools.news_db]");
                on &= code != "[agents.doctor]" && !code.starts_with("---");
                lines.push(if on { code } else { line });
            }
            None => lines.push(line),
        }
    }
    lines.join("\n")
}

#[test]
fn the_example_works_as_it_stands_there() {
    let feeds = Feeds::new(&[(1, "one"), (2, "two")]);
    let model = Endpoint::answering(|request| {
        if has_saved(request) {
            return Reply::text(&json!({"digest": "Two things happened."}).to_string());
        }
        let stories: Vec<_> = items_of(request)
            .iter()
            .map(|item| json!({"id": item["id"], "link": item["link"], "title": item["title"], "summary": "In short."}))
            .collect();
        Reply::calls(&[(
            "news_db",
            &json!({"statement": "save", "params": {"stories": stories}}).to_string(),
        )])
    });
    let text = uncommented();
    assert!(text.contains("\n[agents.news]\n") && text.contains("\n[tools.news_db]\n"));
    let mut daemon = Daemon::with(&text);
    let checked = daemon.ok(&["check"]);
    assert!(checked.contains("news"), "{checked}");
    let text = text
        .replace("http://127.0.0.1:8080/v1", &format!("{}/v1", model.url()))
        .replace("https://blog.rust-lang.org/feed.xml", &format!("{}/feed", feeds.endpoint.url()))
        .replace("https://www.debian.org/News/news", &format!("{}/other", feeds.endpoint.url()))
        .replace("since = \"7d\"", "since = \"2000-01-01\"");
    daemon.configure(&text);
    std::fs::write(daemon.path("news.db"), "").expect("a file");
    daemon.up();
    let statement =
        |name: &str| daemon.ok(&["tool", "call", "news_db", &json!({"statement": name}).to_string()]);
    statement("create");
    assert!(
        daemon.call("list_runs", json!({"agent_id": "news"})).as_array().unwrap().is_empty(),
        "not by itself"
    );
    let shown = daemon.ok(&["run", "news", "--wait"]);
    assert!(shown.contains("Two things happened."), "{shown}");
    let latest = statement("latest");
    assert!(latest.contains("https://feeds.example/1") && latest.contains("In short."), "{latest}");
    daemon.ok(&["start", "news"]);
    let skipped = daemon.until_event("nothing new", |event| {
        event["type"] == "background_slot_skipped" && event["agent_id"] == "news"
    });
    assert_eq!(skipped["payload"]["verdict"], "skipped_gate", "{skipped}");
    assert_eq!(model.requests().len(), 2);
}
