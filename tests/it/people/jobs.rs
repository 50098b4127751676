//! The three jobs that the README is about, and what somebody reads of each on a phone: that something is wrong with a machine, that
//! old rows were archived, what is new.
use super::phone::Phone;
use crate::endpoint::{Endpoint, Reply};
use crate::support::{Daemon, wait_for};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

/// The most that one message of Telegram holds, in characters.
const LONGEST_MESSAGE: usize = 4096;

/// Two items, as a server of feeds has them.
const FEED: &str = "<feed xmlns=\"http://www.w3.org/2005/Atom\"><title>Feeds</title>\
    <entry><id>tag:feeds.example,2026:1</id><title>Rust 1.99 is out</title><link href=\"https://feeds.example/1\"/>\
    <updated>2026-11-24T10:00:00Z</updated><summary>More.</summary></entry>\
    <entry><id>tag:feeds.example,2026:2</id><title>Debian 14</title><link href=\"https://feeds.example/2\"/>\
    <updated>2026-11-24T11:00:00Z</updated><summary>More.</summary></entry></feed>";

fn config(phone: &Phone, feeds: &Endpoint, model: &Endpoint) -> String {
    format!(
        r#"
[notify.phone]
type = "telegram"
url = "{phone}"
chat = 100123
token = {{ file = "token" }}
per_minute = 6000

[models.main]
provider = "openai-compatible"
model = "m-1"
base_url = "{model}"

[agents.system-health]
interval = "1h"
tool = "probe"
args = {{ checks = [{{ type = "tcp", name = "db", host = "127.0.0.1", port = 1 }}] }}
history = "changes"
notify = {{ to = ["phone"], on = ["incident_opened", "incident_resolved"] }}

[tools.old_orders]
type = "archive_rows"
from = {{ url = "sqlite:app.db", table = "orders", key = ["id"], column = "created_at", older_than = "90d" }}
to = {{ folder = "archive" }}

[agents.archive]
cron = "30 2 * * *"
tool = "old_orders"
deliver = {{ to = ["phone"], title = "Archive", text = "{{result.moved}} orders moved" }}

[agents.news]
cron = "0 * * * *"
gate = {{ tool = "feed", novel_by = ["id"], args = {{ urls = ["{feeds}/feed"] }} }}
query = "New items, as JSON: {{gate}} Answer with a digest."
model = "main"
output_schema = {{ type = "object", required = ["digest"], properties = {{ digest = {{ type = "string" }} }} }}
deliver = {{ to = ["phone"], title = "News", text = "{{result.digest}}" }}
"#,
        phone = phone.url(),
        feeds = feeds.url(),
        model = model.url(),
    )
}

/// All that was sent, as text.
fn messages(phone: &Phone) -> Vec<String> {
    let text = |sent: &Value| sent["text"].as_str().expect("a text").to_owned();
    phone.sent("/sendMessage").iter().map(|sent| text(&sent.json)).collect()
}

#[test]
fn each_job_ends_as_a_message_that_fits_a_phone() {
    let digest = "Rust 1.99 is out, and Debian 14.";
    let phone = Phone::telegram();
    let feeds = Endpoint::answering(|_| Reply::body(FEED));
    let model = Endpoint::answering(move |_| Reply::text(&json!({"digest": digest}).to_string()));
    let mut daemon = Daemon::with("");
    let token = daemon.path("token");
    std::fs::write(&token, "12:secret-token\n").expect("our folder");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("our file");
    let orders = rusqlite::Connection::open(daemon.path("app.db")).expect("a database");
    orders
        .execute_batch(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, created_at TEXT NOT NULL);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
             INSERT INTO orders SELECT i, iif(i <= 40, '2020-01-01 00:00:00', datetime('now')) FROM n;",
        )
        .expect("orders");
    daemon.configure(&config(&phone, &feeds, &model));
    daemon.up();
    daemon.run_by_hand("archive");
    daemon.run_by_hand("news");
    for (job, words) in [("the check", "db"), ("the archive", "40 orders moved"), ("the news", digest)] {
        let found = wait_for(job, || messages(&phone).into_iter().find(|text| text.contains(words)));
        assert!(found.chars().count() <= LONGEST_MESSAGE, "{found}");
        // words for people: the subject alone in its line, no JSON, no fractions of a second
        let lines: Vec<&str> = found.lines().collect();
        let is_exact = |line: &&str| line.split_once("since ").is_some_and(|(_, since)| since.contains('.'));
        assert!(!lines.iter().any(is_exact), "{found}");
        assert!(lines.len() >= 2 && lines[0].chars().count() <= 100 && !found.contains('{'), "{found}");
    }
    let left: i64 = orders.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).expect("a count");
    assert_eq!(left, 10);
    assert_eq!(messages(&phone).len(), 3, "each once: {:?}", messages(&phone));
}
