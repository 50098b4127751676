//! Calls are allowed and denied by people at notification targets: by a button of Telegram, an action of ntfy, a message in
//! a room of Matrix. The services are scripted; what their phones would send is put into their queue.
use crate::endpoint::{Endpoint, Reply, Request};
use crate::rng::Rng;
use crate::support::{Daemon, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What people do, in the order in which the service hands it out.
#[derive(Default)]
struct Queue {
    all: Mutex<Vec<Value>>,
    news: Condvar,
}

impl Queue {
    fn push(&self, done: Value) {
        self.all.lock().expect("no panic").push(done);
        self.news.notify_all();
    }

    /// A long poll: all from this place on, as soon as there is something.
    fn after(&self, place: usize) -> Vec<Value> {
        let all = self.all.lock().expect("no panic");
        let patience = Duration::from_secs(30);
        let (all, _) =
            self.news.wait_timeout_while(all, patience, |all| all.len() <= place).expect("no panic");
        all.get(place..).unwrap_or_default().to_vec()
    }
}

/// A service, and what its people do.
pub(super) struct Phone {
    queue: Arc<Queue>,
    endpoint: Endpoint,
}

impl Phone {
    fn of(answering: impl Fn(&Request, &Queue) -> Value + Send + Sync + 'static) -> Self {
        let queue = Arc::<Queue>::default();
        let shared = queue.clone();
        let endpoint =
            Endpoint::answering(move |request| Reply::body(answering(request, &shared).to_string()));
        Self { queue, endpoint }
    }

    pub(super) fn url(&self) -> String {
        self.endpoint.url()
    }

    pub(super) fn telegram() -> Self {
        Self::of(|request, queue| {
            if !request.path.ends_with("/getUpdates") {
                return json!({"ok": true, "result": {"message_id": 7}});
            }
            let offset = request.json["offset"].as_u64().expect("an offset").max(100) as usize;
            let news = (offset..).zip(queue.after(offset - 100));
            let updates = news.map(|(id, query)| json!({"update_id": id, "callback_query": query}));
            json!({"ok": true, "result": updates.collect::<Vec<_>>()})
        })
    }

    /// What was sent by a method, oldest first.
    pub(super) fn sent(&self, end: &str) -> Vec<Request> {
        let requests = self.endpoint.requests().into_iter();
        requests
            .filter(|request| request.path.split('?').next().is_some_and(|path| path.ends_with(end)))
            .collect()
    }

    #[track_caller]
    fn until_sent(&self, end: &str, times: usize) -> Request {
        wait_for(end, || self.sent(end).into_iter().nth(times - 1))
    }

    /// Waits until whoever pressed a button was told this.
    #[track_caller]
    fn until_told(&self, words: &str) {
        let told = |request: &Request| request.json["text"].as_str().is_some_and(|text| text.contains(words));
        wait_for(words, || self.sent("/answerCallbackQuery").iter().any(told).then_some(()));
    }

    fn press(&self, chat: i64, data: &str) {
        let from = json!({"id": 5, "is_bot": false, "first_name": "Ada", "username": "ada"});
        let message = json!({"message_id": 7, "chat": {"id": chat, "type": "group"}});
        self.queue.push(json!({"id": "q1", "from": from, "message": message, "data": data}));
    }
}

/// A model that wants to remember something, which needs a person.
fn model(text: &'static str) -> Endpoint {
    Endpoint::answering(move |request| {
        let messages = request.json["messages"].as_array().expect("messages");
        let results: Vec<&str> = messages
            .iter()
            .filter(|message| message["role"] == "tool")
            .filter_map(|message| message["content"].as_str())
            .collect();
        match results.first() {
            None => Reply::calls(&[("remember", text)]),
            Some(result) => Reply::text(result),
        }
    })
}

/// A daemon whose agent `a` asks at the target `me`; what its table says besides is `target`.
fn daemon(model: &Endpoint, target: &str, approval: &str) -> Daemon {
    let mut daemon = Daemon::with("");
    let token = daemon.path("token");
    std::fs::write(&token, "12:secret-token\n").expect("our folder");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("our file");
    daemon.configure(&format!(
        "[models.main]\nprovider = \"openai-compatible\"\nmodel = \"m-1\"\nbase_url = \"{}\"\n\
         price = {{ input = 1.0, output = 4.0 }}\n\
         [notify.me]\ntoken = {{ file = \"token\" }}\nper_minute = 600\n{target}\n\
         [agents.a]\nquery = \"Look after it.\"\nmodel = \"main\"\ntools = [\"remember\"]\n\
         approve = [\"remember\"]\napproval = {approval}\n",
        model.url()
    ));
    daemon.up();
    daemon
}

fn telegram_target(phone: &Phone) -> String {
    format!("type = \"telegram\"\nurl = \"{}\"\nchat = -100123", phone.endpoint.url())
}

const VIA: &str = "{ wait = \"12h\", via = [\"me\"] }";

fn start(daemon: &Daemon) -> Value {
    daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone()
}

/// The code behind a word of a question's buttons.
fn code_of(question: &Request) -> String {
    let buttons = &question.json["reply_markup"]["inline_keyboard"][0];
    let data = buttons[0]["callback_data"].as_str().expect("a button");
    assert_eq!(buttons[1]["callback_data"], data.replace("approve", "deny"));
    data.strip_prefix("approve ").expect("the word").to_owned()
}

#[test]
fn a_button_allows_the_call_also_after_a_restart() {
    let (model, phone) = (model(r#"{"key": "k", "text": "a <b>bold</b> plan"}"#), Phone::telegram());
    let mut daemon = daemon(&model, &telegram_target(&phone), VIA);
    assert!(phone.endpoint.requests().is_empty(), "nothing is asked of a service while nothing waits");
    let run = start(&daemon);
    let question = phone.until_sent("/sendMessage", 1);
    let text = question.json["text"].as_str().expect("a text").to_owned();
    assert!(text.contains("a: may it call remember?") && text.contains("12h"), "{text}");
    assert!(text.contains(r#""text": "a &lt;b&gt;bold&lt;/b&gt; plan""#), "{text}");
    let code = code_of(&question);
    // a code that is none, and one that somebody else has got hold of
    phone.press(-100_123, "approve 000000000000");
    phone.press(999, &format!("approve {code}"));
    phone.until_told("nothing was asked here under this code");
    phone.until_told("only from the chat that was asked");
    assert_eq!(
        phone.sent("/sendMessage").len(),
        1,
        "nothing is written to the chat about what counts for nothing"
    );
    assert_eq!(daemon.call("list_approvals", json!({})).as_array().map(Vec::len), Some(1));
    wait_for("an empty outbox", || (super::outbox(&daemon) == 0).then_some(()));
    daemon.kill();
    daemon.up();
    phone.press(-100_123, &format!("approve {code}"));
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "completed", "{view:#}");
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"}))[0]["value"], "a <b>bold</b> plan");
    let decided = daemon.until("approval_decided", "a");
    assert_eq!(decided["payload"]["by"], "5 (@ada) at `me`");
    phone.until_told("Approved by 5 (@ada)");
    assert_eq!(phone.until_sent("/editMessageReplyMarkup", 1).json["message_id"], 7);
    // it is used up
    phone.press(-100_123, &format!("deny {code}"));
    phone.until_told("it was approved before, by 5 (@ada)");
    assert_eq!(
        phone.sent("/sendMessage").iter().filter(|sent| !sent.json["reply_markup"].is_null()).count(),
        1
    );
    assert!(!daemon.log().contains("secret-token"), "{}", daemon.log());
}

#[test]
fn a_long_call_is_told_whole_and_a_very_long_one_elsewhere() {
    let words: &'static str = "word @all <tag> 🦀 ".repeat(400).leak();
    let args: &'static str = json!({"key": "k", "text": words}).to_string().leak();
    let (model, phone) = (model(args), Phone::telegram());
    let daemon = daemon(&model, &telegram_target(&phone), VIA);
    let run = start(&daemon);
    let last = wait_for("the last part", || {
        phone.sent("/sendMessage").into_iter().find(|sent| !sent.json["reply_markup"].is_null())
    });
    let sent = phone.sent("/sendMessage");
    assert!(sent.len() > 1, "{}", sent.len());
    let texts: Vec<&str> = sent.iter().filter_map(|sent| sent.json["text"].as_str()).collect();
    assert!(texts.iter().all(|text| text.encode_utf16().count() <= 4096));
    let whole: String = texts.iter().filter_map(|text| text.split_once('\n')).map(|(_, text)| text).collect();
    assert_eq!(whole.matches("&lt;tag&gt;").count(), 400, "all of it: {whole}");
    phone.press(-100_123, &format!("deny {}", code_of(&last)));
    let view = daemon.finished(&run);
    assert!(view["result"].as_str().is_some_and(|text| text.contains("was not allowed")), "{view:#}");
}

#[test]
fn what_is_decided_elsewhere_is_not_decided_again() {
    let (model, phone) = (model(r#"{"key": "k", "text": "v"}"#), Phone::telegram());
    let daemon = daemon(&model, &telegram_target(&phone), VIA);
    let run = start(&daemon);
    let code = code_of(&phone.until_sent("/sendMessage", 1));
    let waiting = daemon.call("list_approvals", json!({}));
    daemon.call("decide_approval", json!({"id": waiting[0]["id"], "approve": false}));
    daemon.finished(&run);
    phone.press(-100_123, &format!("approve {code}"));
    phone.until_told("it was denied before");
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"})), json!([]));
}

/// How often whoever pressed a button was told anything.
fn told(phone: &Phone) -> Vec<String> {
    let sent = phone.sent("/answerCallbackQuery").into_iter();
    sent.map(|sent| sent.json["text"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn an_answer_that_can_not_be_recorded_counts_when_it_can() {
    let (model, phone) = (model(r#"{"key": "k", "text": "v"}"#), Phone::telegram());
    let daemon = daemon(&model, &telegram_target(&phone), VIA);
    let run = start(&daemon);
    let code = code_of(&phone.until_sent("/sendMessage", 1));
    wait_for("an empty outbox", || (super::outbox(&daemon) == 0).then_some(()));
    let lock = daemon.lock_database();
    phone.press(-100_123, &format!("approve {code}"));
    wait_for("two tries", || {
        (daemon.log().matches("an answer can't be taken now").count() > 1).then_some(())
    });
    assert_eq!(told(&phone), Vec::<String>::new(), "it is not known yet");
    drop(lock);
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "completed", "{view:#}");
    phone.until_told("Approved by 5 (@ada)");
    assert_eq!(told(&phone).len(), 1);
}

#[test]
fn a_press_while_the_daemon_goes_down_counts_after_its_restart() {
    let (model, phone) = (model(r#"{"key": "k", "text": "v"}"#), Phone::telegram());
    let other = "\n[agents.b]\ncommand = \"echo > began; while ! [ -e go ]; do sleep 0.02; done\"";
    let mut daemon = daemon(&model, &telegram_target(&phone), &format!("{VIA}{other}"));
    let run = start(&daemon);
    let code = code_of(&phone.until_sent("/sendMessage", 1));
    phone.until_sent("/getUpdates", 1);
    daemon.call("run_agent", json!({"agent_id": "b"}));
    wait_for("a run that is waited for", || daemon.path("began").exists().then_some(()));
    daemon.call("shutdown", json!({}));
    phone.press(-100_123, &format!("approve {code}"));
    wait_for("the press", || daemon.log().contains("answers are accepted after the restart").then_some(()));
    std::fs::write(daemon.path("go"), "").expect("our folder");
    assert_eq!(daemon.wait_end(), Some(0));
    assert_eq!(told(&phone), Vec::<String>::new(), "it is not taken yet");
    daemon.up();
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "completed", "{view:#}");
    phone.until_told("Approved by 5 (@ada)");
}

#[test]
fn an_action_of_ntfy_is_an_answer() {
    let queue = Arc::<Queue>::default();
    let shared = queue.clone();
    let endpoint = Endpoint::answering(move |request| {
        if request.method != "GET" {
            return Reply::body(json!({"id": "sent", "event": "message"}).to_string());
        }
        let since = request.path.split("since=").nth(1).unwrap_or_default();
        let place = since.strip_prefix('m').and_then(|at| at.parse::<usize>().ok()).unwrap_or(0);
        let Some(news) = shared.after(place).into_iter().next() else {
            return Reply::body("{\"event\":\"open\"}\n");
        };
        let message = json!({"id": format!("m{}", place + 1), "event": "message", "message": news});
        Reply::body(format!("{{\"event\":\"open\"}}\n{message}\n"))
    });
    let phone = Phone { queue, endpoint };
    let model = model(r#"{"key": "k", "text": "v"}"#);
    let target = format!(
        "type = \"ntfy\"\nurl = \"{}\"\ntopic = \"mine\"\nreply_topic = \"replies\"",
        phone.endpoint.url()
    );
    let daemon = daemon(&model, &target, VIA);
    let run = start(&daemon);
    let question = wait_for("the question", || {
        phone.endpoint.requests().into_iter().find(|request| request.json["actions"].is_array())
    });
    let action = &question.json["actions"][0];
    assert_eq!(action["url"], format!("{}/replies", phone.endpoint.url()));
    assert_eq!((&action["action"], &action["method"]), (&json!("http"), &json!("POST")));
    assert!(!question.body.contains("secret-token"), "{}", question.body);
    phone.queue.push(json!("what is this?"));
    phone.queue.push(action["body"].clone());
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "completed", "{view:#}");
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"}))[0]["value"], "v");
    let heard = phone.sent("/replies/json");
    assert!(heard.iter().all(|heard| heard.header("authorization") == Some("Bearer 12:secret-token")));
    wait_for("the word back", || {
        let told = |request: &Request| {
            request.json["message"].as_str().is_some_and(|text| text.starts_with("Approved"))
        };
        phone.endpoint.requests().iter().any(told).then_some(())
    });
}

#[test]
fn a_message_in_a_room_of_matrix_is_an_answer() {
    let phone = Phone::of(|request, queue| {
        let path = request.path.split('?').next().unwrap_or_default();
        match path {
            path if path.ends_with("/whoami") => json!({"user_id": "@bot:example.org"}),
            path if path.ends_with("/sync") => {
                let since = request.path.split("since=s").nth(1).unwrap_or_default();
                let place: usize = since.split('&').next().and_then(|at| at.parse().ok()).unwrap_or(0);
                let first = !request.path.contains("since=");
                let events = if first { Vec::new() } else { queue.after(place) };
                let next = format!("s{}", place + events.len());
                let room = |name: &str| {
                    let events: Vec<&Value> =
                        events.iter().filter(|event| event["room_id"] == name).collect();
                    json!({"timeline": {"events": events}})
                };
                let rooms =
                    ["!abc:example.org", "!other:example.org"].map(|name| (name.to_owned(), room(name)));
                json!({"next_batch": next, "rooms": {"join": Value::from_iter(rooms)}})
            }
            _ => json!({"event_id": "$1"}),
        }
    });
    let model = model(r#"{"key": "k", "text": "v"}"#);
    let target =
        format!("type = \"matrix\"\nurl = \"{}\"\nroom = \"!abc:example.org\"", phone.endpoint.url());
    let daemon = daemon(&model, &target, VIA);
    let run = start(&daemon);
    let question = wait_for("the question", || {
        let asks =
            |request: &Request| request.json["body"].as_str().is_some_and(|body| body.contains("deny"));
        phone.endpoint.requests().into_iter().find(asks)
    });
    let body = question.json["body"].as_str().expect("a text").to_owned();
    let code = body.rsplit("deny ").next().expect("a code").trim_end_matches('.').to_owned();
    let say_in = |room: &str, sender: &str, body: String| {
        phone
            .queue
            .push(json!({"type": "m.room.message", "sender": sender, "event_id": "$2", "room_id": room,
            "content": {"msgtype": "m.text", "body": body}}));
    };
    let say = |sender: &str, body: String| say_in("!abc:example.org", sender, body);
    say_in("!other:example.org", "@ada:example.org", format!("approve {code}"));
    say("@bot:example.org", format!("approve {code}"));
    say("@ada:example.org", format!("I would not approve {code}"));
    say("@ada:example.org", format!("> <@bot:example.org> {}\n\ndeny {code}", body.replace('\n', "\n> ")));
    let view = daemon.finished(&run);
    assert!(view["result"].as_str().is_some_and(|text| text.contains("was not allowed")), "{view:#}");
    let decided = daemon.until("approval_decided", "a");
    assert_eq!(decided["payload"]["by"], "@ada:example.org at `me`");
    wait_for("the word back", || {
        let told = |request: &Request| request.json["m.relates_to"]["m.in_reply_to"]["event_id"] == "$2";
        phone.endpoint.requests().iter().any(told).then_some(())
    });
}

#[test]
fn a_call_that_nobody_decides_about_is_denied() {
    let (model, phone) = (model(r#"{"key": "k", "text": "v"}"#), Phone::telegram());
    let daemon = daemon(&model, &telegram_target(&phone), "{ wait = \"1s\", via = [\"me\"] }");
    let run = start(&daemon);
    let view = daemon.finished(&run);
    assert!(
        view["result"].as_str().is_some_and(|text| text.contains("nobody decided within 1s")),
        "{view:#}"
    );
}

/// How often the daemon is killed between an answer and the end of its run; more with `BGAGENT_KILLS`.
const KILLS: usize = 5;

#[test]
fn killed_at_any_moment_an_answer_counts_once() {
    let (model, phone) = (model(r#"{"key": "k", "text": "v"}"#), Phone::telegram());
    let mut daemon = daemon(&model, &telegram_target(&phone), VIA);
    let (mut random, mut known) = (Rng::new(15), BTreeSet::new());
    let kills = std::env::var("BGAGENT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    for _ in 0..kills {
        let run = start(&daemon);
        let code = wait_for("a new question", || {
            let asked = phone.sent("/sendMessage").into_iter();
            let mut codes =
                asked.filter(|sent| !sent.json["reply_markup"].is_null()).map(|sent| code_of(&sent));
            codes.find(|code| known.insert(code.clone()))
        });
        phone.press(-100_123, &format!("approve {code}"));
        let end = Instant::now() + Duration::from_millis(random.next() % 300);
        wait_for("the moment to kill", || (Instant::now() >= end).then_some(()));
        daemon.kill();
        daemon.up();
        let view = daemon.finished(&run);
        assert_eq!(view["status"], "completed", "{view:#}");
    }
    let decided = "SELECT count(*) FROM events WHERE type = 'approval_decided'";
    let decided: i64 = daemon.database().query_row(decided, [], |row| row.get(0)).expect("a count");
    assert_eq!(decided, kills as i64, "each call is decided once");
}
