//! The news job, through the real binary: feeds on a real server, a scripted model, a real database. What is
//! told is told once, whatever fails or is killed in between; what is not new costs nothing.
mod example;
mod hostile;

use super::endpoint::{Endpoint, Reply, Request};
use super::support::{Daemon, wait_for};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What a source has now: id and title of each item. `None`: it is down.
type Edition = Arc<Mutex<Option<Vec<(u32, String)>>>>;

fn edition(items: &[(u32, &str)]) -> Option<Vec<(u32, String)>> {
    Some(items.iter().map(|(id, title)| (*id, (*title).to_owned())).collect())
}

/// A server of feeds: `/feed` and `/other`, with validators.
struct Feeds {
    endpoint: Endpoint,
    first: Edition,
    other: Edition,
}

impl Feeds {
    fn new(items: &[(u32, &str)]) -> Self {
        let first: Edition = Arc::new(Mutex::new(edition(items)));
        let other: Edition = Arc::new(Mutex::new(edition(&[])));
        let (at_first, at_other) = (first.clone(), other.clone());
        let endpoint = Endpoint::answering(move |request| {
            let which = if request.path == "/feed" { &at_first } else { &at_other };
            let Some(items) = which.lock().expect("no panic").clone() else {
                return Reply::status(503, "down");
            };
            let text = atom(&items);
            let tag = format!("\"{}-{}\"", text.len(), items.iter().map(|(id, _)| id).sum::<u32>());
            if request.header("if-none-match") == Some(tag.as_str()) {
                return Reply::body("").with_status(304).with("etag", &tag);
            }
            Reply::body(text).with("etag", &tag).with("content-type", "text/plain")
        });
        Self { endpoint, first, other }
    }

    fn set(&self, items: &[(u32, &str)]) {
        *self.first.lock().expect("no panic") = edition(items);
    }

    fn down(&self) {
        *self.first.lock().expect("no panic") = None;
        *self.other.lock().expect("no panic") = None;
    }
}

fn atom(items: &[(u32, String)]) -> String {
    let entries: String = items
        .iter()
        .map(|(id, title)| {
            format!(
                "<entry><id>tag:feeds.example,2026:{id}</id><title>{title}</title><link href=\"https://feeds.example/{id}\"/>\
                 <updated>2026-11-24T10:00:{:02}Z</updated><summary>More of {title}.</summary></entry>",
                id % 60
            )
        })
        .collect();
    format!("<feed xmlns=\"http://www.w3.org/2005/Atom\"><title>Feeds</title>{entries}</feed>")
}

/// The items that a query hands to the model.
fn items_of(request: &Request) -> Vec<Value> {
    let messages = request.json["messages"].as_array().expect("messages");
    let query = messages.iter().find(|message| message["role"] == "user").expect("a query");
    let text = query["content"].as_str().expect("a text");
    let Some(begin) = text.find("{\"failures\"") else { return Vec::new() };
    let mut found = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<Value>();
    let gate = found.next().expect("a result").expect("JSON");
    gate["items"].as_array().expect("items").clone()
}

fn ids(items: &[Value]) -> Vec<String> {
    items
        .iter()
        .map(|item| item["id"].as_str().expect("an id").replace("tag:feeds.example,2026:", ""))
        .collect()
}

fn has_saved(request: &Request) -> bool {
    request.json["messages"].as_array().expect("messages").iter().any(|message| message["role"] == "tool")
}

/// A model that does its work: saves all items, then answers.
fn works(request: &Request) -> Reply {
    let items = items_of(request);
    if has_saved(request) {
        return Reply::text(&json!({"saved": items.len(), "headline": items[0]["title"]}).to_string());
    }
    let stories: Vec<Value> = items
        .iter()
        .map(|item| json!({"id": item["id"], "link": item["link"], "title": item["title"], "summary": "In short."}))
        .collect();
    let args = json!({"statement": "save", "params": {"stories": stories}}).to_string();
    Reply::calls(&[("news_db", args.as_str())])
}

/// The job: `interval` is a second, so that each test sees many slots.
fn config(feeds: &Feeds, model: &Endpoint, more: &str) -> String {
    format!(
        r#"
[models.m]
provider = "openai-compatible"
model = "x"
base_url = "{model}/v1"
request_timeout = 20
max_output_tokens = 500

[tools.news_db]
type = "sql"
url = "sqlite:news.db"
mode = "read_write"
ddl = true

[tools.news_db.statements]
create = "CREATE TABLE IF NOT EXISTS stories (id TEXT PRIMARY KEY, link TEXT, title TEXT, summary TEXT, told INTEGER NOT NULL DEFAULT 1)"
save = """INSERT INTO stories (id, link, title, summary)
  SELECT value ->> 'id', value ->> 'link', value ->> 'title', value ->> 'summary' FROM json_each(:stories) WHERE true
  ON CONFLICT (id) DO UPDATE SET told = told + 1"""
missing = """SELECT count(*) AS missing FROM json_each(:gate, '$.items')
  WHERE value ->> 'id' NOT IN (SELECT id FROM stories)"""

[agents.news]
interval = 1
query = "Summarise these: {{gate}}"
model = "m"
tools = ["news_db"]
sinks = ["news_db"]
retry = {{ max = 0 }}
circuit_breaker = {{ open_after = 0 }}
gate = {{ tool = "feed", args = {{ urls = ["{feeds}/feed", "{feeds}/other"] }}, novel_by = ["id"] }}
output_schema = {{ type = "object", required = ["saved"], properties = {{ saved = {{ type = "integer" }}, headline = {{ type = "string" }} }} }}
success_when = [{{ tool = "news_db", args = {{ statement = "missing", params = {{ gate = "{{gate}}" }} }}, expect = {{ "rows.0.missing" = 0 }} }}]
{more}
"#,
        model = model.url(),
        feeds = feeds.endpoint.url(),
    )
}

fn start(feeds: &Feeds, model: &Endpoint) -> Daemon {
    let daemon = stopped(&config(feeds, model, "enabled = false"));
    daemon.call("start_agent", json!({"agent_id": "news"}));
    daemon
}

/// A daemon whose agent does not run by itself, with the table that it saves to.
fn stopped(config: &str) -> Daemon {
    let mut daemon = Daemon::with(config);
    std::fs::write(daemon.path("news.db"), "").expect("a file");
    daemon.up();
    daemon.call("call_tool", json!({"tool": "news_db", "args": {"statement": "create"}}));
    daemon
}

/// What was saved: id without its beginning, title, how often it was told.
fn saved(daemon: &Daemon) -> Vec<(String, String, i64)> {
    let database = super::support::open(&daemon.path("news.db"));
    let mut rows = database
        .prepare("SELECT replace(id, 'tag:feeds.example,2026:', ''), title, told FROM stories ORDER BY id")
        .expect("SQL");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("rows");
    rows.flatten().collect()
}

/// Waits until so many runs have ended; all that have, the newest first.
fn runs(daemon: &Daemon, count: usize) -> Vec<Value> {
    wait_for("the end of runs", || {
        let runs = daemon.call("list_runs", json!({"agent_id": "news"}));
        let ended: Vec<Value> = runs
            .as_array()
            .expect("runs")
            .iter()
            .filter(|run| !run["finished_at"].is_null())
            .cloned()
            .collect();
        (ended.len() >= count).then_some(ended)
    })
}

/// Waits until further slots were skipped because nothing was new.
fn idle(daemon: &Daemon) {
    let before = skipped(daemon);
    wait_for("a slot with nothing new", || (skipped(daemon) >= before + 2).then_some(()));
}

fn skipped(daemon: &Daemon) -> i64 {
    daemon
        .database()
        .query_row(
            "SELECT coalesce(sum(count), 0) FROM ledger WHERE agent = 'news' AND verdict = 'skipped_gate'",
            [],
            |row| row.get(0),
        )
        .expect("a ledger")
}

#[test]
fn what_is_new_is_told_once_and_what_is_not_costs_nothing() {
    let feeds = Feeds::new(&[(1, "one"), (2, "two")]);
    let model = Endpoint::answering(works);
    let daemon = start(&feeds, &model);
    let first = &runs(&daemon, 1)[0];
    assert_eq!((&first["status"], &first["usage"]["requests"]), (&json!("completed"), &json!(2)), "{first}");
    assert_eq!(first["result"], r#"{"headline":"two","saved":2}"#.to_owned());
    idle(&daemon);
    assert_eq!(model.requests().len(), 2, "nothing new: no request");
    assert_eq!(runs(&daemon, 1).len(), 1, "nothing new: no run");
    let seen = daemon.call("get_memory", json!({"agent_id": "news"}));
    assert_eq!((&seen[0]["key"], &seen[0]["value"]), (&json!("seen"), &json!("2 items of its gate")));
    assert!(seen[0]["at"].as_str() <= first["finished_at"].as_str(), "when it was seen, not now: {seen}");
    assert_eq!(daemon.call("get_usage", json!({"by": "agent"}))[0]["usage"]["requests"], 2);
    // an edit is no news, neither is what goes and comes back, nor what another feed has too
    feeds.set(&[(1, "one, revised")]);
    idle(&daemon);
    feeds.set(&[(1, "one, revised"), (2, "two")]);
    *feeds.other.lock().unwrap() = edition(&[(1, "one elsewhere")]);
    idle(&daemon);
    feeds.down();
    wait_for("a run that fails", || runs(&daemon, 2).into_iter().find(|run| run["status"] == "failed"));
    assert_eq!(model.requests().len(), 2);
    feeds.set(&[(3, "three"), (1, "one"), (2, "two")]);
    *feeds.other.lock().unwrap() = edition(&[(4, "four")]);
    wait_for("the news", || (saved(&daemon).len() == 4).then_some(()));
    idle(&daemon);
    let asked = model.requests();
    let told: Vec<String> =
        asked.iter().filter(|request| !has_saved(request)).flat_map(|r| ids(&items_of(r))).collect();
    let mut sorted = told.clone();
    sorted.sort();
    assert_eq!(sorted, ["1", "2", "3", "4"], "each once: {told:?}");
    assert!(saved(&daemon).iter().all(|(_, _, told)| *told == 1), "{:?}", saved(&daemon));
    // the source answered most of the time that nothing had changed
    let conditional =
        feeds.endpoint.requests().iter().filter(|r| r.header("if-none-match").is_some()).count();
    assert!(conditional >= 4, "{conditional}");
}

#[test]
fn what_a_failed_run_did_not_tell_is_told_by_the_next() {
    type Fails = fn(&Request) -> Reply;
    let table: [(&str, Fails, &str); 4] = [
        ("an error of the provider", |_| Reply::status(400, "what"), "failed"),
        ("an answer that does not fit", |_| Reply::text("no JSON at all"), "failed"),
        ("a success that saved nothing", |_| Reply::text("{\"saved\": 2}"), "unverified"),
        (
            "a success that saved half",
            |request| {
                let half: Vec<Value> = items_of(request).into_iter().take(1).collect();
                let args = json!({"statement": "save", "params": {"stories": half}}).to_string();
                if has_saved(request) {
                    Reply::text("{\"saved\": 2}")
                } else {
                    Reply::calls(&[("news_db", args.as_str())])
                }
            },
            "unverified",
        ),
    ];
    for (what, fails, status) in table {
        let feeds = Feeds::new(&[(1, "one"), (2, "two")]);
        let failing = Arc::new(AtomicUsize::new(1));
        let switch = failing.clone();
        let model = Endpoint::answering(move |request| {
            if switch.load(Ordering::SeqCst) == 1 { fails(request) } else { works(request) }
        });
        let daemon = start(&feeds, &model);
        // also when the source has nothing to say but "not modified"
        let failed = runs(&daemon, 2);
        assert!(failed.iter().all(|run| run["status"] == status), "{what}: {failed:?}");
        failing.store(0, Ordering::SeqCst);
        wait_for("the news", || (saved(&daemon).len() == 2).then_some(()));
        idle(&daemon);
        let asked: Vec<Vec<String>> = model
            .requests()
            .iter()
            .filter(|request| !has_saved(request))
            .map(|r| ids(&items_of(r)))
            .collect();
        assert!(asked.len() >= 3 && asked.iter().all(|ids| *ids == ["2", "1"]), "{what}: {asked:?}");
        let count = model.requests().len();
        idle(&daemon);
        assert_eq!(model.requests().len(), count, "{what}: told, and not again");
    }
}

#[test]
fn a_second_attempt_knows_what_the_first_was_to_tell() {
    let feeds = Feeds::new(&[(1, "one")]);
    let tries = AtomicUsize::new(0);
    let model = Endpoint::answering(move |request| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::status(503, "busy"),
        _ => works(request),
    });
    let retry = "retry = { max = 2, initial = \"100ms\", max_delay = \"200ms\" }";
    let daemon = stopped(&config(&feeds, &model, "enabled = false").replace("retry = { max = 0 }", retry));
    daemon.call("start_agent", json!({"agent_id": "news"}));
    assert_eq!(runs(&daemon, 1)[0]["status"], "completed");
    idle(&daemon);
    assert_eq!((saved(&daemon), model.requests().len()), (vec![("1".into(), "one".into(), 1)], 3));
}

/// `kill -9` while the model is asked, after the save, and again and again.
#[test]
fn a_kill_loses_nothing_and_tells_nothing_twice() {
    for killed_at in 0..3 {
        let feeds = Feeds::new(&[(1, "one"), (2, "two")]);
        let hung = Arc::new(AtomicUsize::new(0));
        let count = hung.clone();
        let model = Endpoint::answering(move |request| {
            let here = match killed_at {
                0 => !has_saved(request) && count.load(Ordering::SeqCst) < 1,
                1 => has_saved(request) && count.load(Ordering::SeqCst) < 1,
                _ => count.load(Ordering::SeqCst) < 3,
            };
            if here {
                count.fetch_add(1, Ordering::SeqCst);
                return Reply::hang();
            }
            works(request)
        });
        let mut daemon = start(&feeds, &model);
        let kills = if killed_at == 2 { 3 } else { 1 };
        for kill in 1..=kills {
            wait_for("the request", || (hung.load(Ordering::SeqCst) >= kill).then_some(()));
            daemon.kill();
            if kill == 1 {
                feeds.set(&[(1, "one"), (2, "two"), (3, "three")]);
            }
            daemon.up();
        }
        wait_for("the news", || (saved(&daemon).len() == 3).then_some(()));
        idle(&daemon);
        let all = runs(&daemon, 2);
        assert!(all.iter().all(|run| run["status"] == "completed"), "{killed_at}: {all:?}");
        assert!(saved(&daemon).iter().all(|(_, _, told)| *told == 1), "{killed_at}: {:?}", saved(&daemon));
        let asked = model.requests().len();
        idle(&daemon);
        assert_eq!(model.requests().len(), asked, "{killed_at}: nothing is told again");
    }
}

#[test]
fn a_person_who_asks_for_a_run_gets_one_with_what_is_new() {
    let feeds = Feeds::new(&[(1, "one")]);
    let model = Endpoint::answering(|request| {
        if items_of(request).is_empty() { Reply::text("{\"saved\": 0}") } else { works(request) }
    });
    let daemon = stopped(&config(&feeds, &model, "enabled = false"));
    daemon.ok(&["run", "news", "--wait"]);
    assert_eq!(saved(&daemon).len(), 1);
    daemon.ok(&["run", "news", "--wait"]);
    let asked = model.requests();
    assert_eq!((asked.len(), items_of(&asked[2]).len()), (3, 0), "what was told is not new");
    assert_eq!(runs(&daemon, 2)[0]["result"], "{\"saved\":0}");
}

/// A source that is dead among others is said where a person looks, and not passed over in silence.
#[test]
fn a_dead_source_is_a_warning_of_its_slot() {
    let feeds = Feeds::new(&[(1, "one")]);
    let url = feeds.endpoint.url();
    let mut daemon = Daemon::with("");
    *feeds.other.lock().expect("no panic") = None;
    daemon.configure(&format!(
        "[agents.dead]\ninterval = 1\ntool = \"remember\"\nargs = {{ key = \"k\", text = \"{{gate}}\" }}\n\
         gate = {{ tool = \"feed\", novel_by = [\"id\"], args = {{ urls = [\"{url}/feed\", \"{url}/other\"] }} }}\n"
    ));
    daemon.up();
    let run = daemon.until("background_task_completed", "dead");
    let shown = daemon.ok(&["show", run["run_id"].as_str().expect("a run")]);
    assert!(shown.contains("/other can't be read: the server answers with status 503"), "{shown}");
    daemon.until("background_slot_skipped", "dead");
    let why = daemon.ok(&["why", "dead"]);
    assert!(why.contains("a warning: ") && why.contains("/other can't be read"), "{why}");
    // a day of it is an incident; it is not open yet
    let since = "SELECT count(*) FROM incidents WHERE key LIKE 'feed:%/other' AND opened_at IS NULL";
    let since: i64 = daemon.database().query_row(since, [], |row| row.get(0)).expect("a number");
    assert_eq!(since, 1);
}
