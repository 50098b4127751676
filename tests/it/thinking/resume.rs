//! A daemon that is killed at any step of a run: the run goes on from its journal, nothing that was
//! finished is repeated, and what nobody can know is said.
use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Results that the model has seen when it hangs; this many and more: never.
const NEVER: usize = 99;

/// A model that looks, puts, keeps and is done, told apart by what it is shown. It hangs when it has
/// seen as many results as `hang` says.
fn model(hang: Arc<AtomicUsize>) -> Endpoint {
    Endpoint::answering(move |request| {
        let seen = results(request).len();
        if seen == hang.load(Ordering::SeqCst) {
            return Reply::hang();
        }
        match seen {
            0 => Reply::calls(&[("s_look", r#"{"q": "1"}"#)]),
            1 => Reply::calls(&[("s_put", r#"{"q": "2"}"#)]),
            2 => Reply::calls(&[("s_keep", r#"{"q": "3"}"#)]),
            _ => Reply::text("all done"),
        }
    })
}

const KEYS: &str = "tools = [\"s/*\"]\nsinks = [\"s/put\", \"s/keep\"]\nretry = { max = 0 }";

/// What is left of one run for the next.
struct Before {
    requests: usize,
    witness: usize,
    books: (u64, u64, f64),
}

fn before(daemon: &Daemon, endpoint: &Endpoint) -> Before {
    Before { requests: endpoint.requests().len(), witness: witness(daemon).len(), books: charged(daemon) }
}

/// Kills the daemon, starts it again, and checks all that must hold of the run at its end.
#[track_caller]
fn goes_on(what: &str, daemon: &mut Daemon, endpoint: &Endpoint, run: &Value, before: &Before) -> Value {
    daemon.kill();
    for tool in ["look", "put", "keep"] {
        let _ = std::fs::remove_file(daemon.path(&format!("hold-{tool}")));
    }
    daemon.up();
    let view = daemon.finished(run);
    assert_eq!(
        (&view["status"], &view["result"]),
        (&json!("completed"), &json!("all done")),
        "{what}: {view:#}"
    );
    assert_eq!(view["attempt"], 1, "{what}");
    // at most the one request that was under way is sent again
    let asked = endpoint.requests().len() - before.requests;
    assert!(asked == 4 || asked == 5, "{what}: {asked} requests");
    let made: Vec<String> = witness(daemon).split_off(before.witness);
    let times = |tool: &str| made.iter().filter(|line| line.starts_with(tool)).count();
    let began = |tool: &str| {
        told(&view, "tool_call_started").iter().filter(|call| call["tool"] == format!("s/{tool}")).count()
    };
    for tool in ["look", "keep"] {
        assert!(
            times(tool) >= 1 && times(tool) <= began(tool) && began(tool) <= 2,
            "{what}: {tool} {made:?}"
        );
    }
    let warnings = view["warnings"].to_string();
    let unknown = warnings.contains("it is unknown whether this call happened: s/put");
    assert_eq!(began("put"), 1, "{what}: an effect was begun twice");
    assert!(times("put") <= 1 && (unknown || times("put") == 1), "{what}: {made:?} {warnings}");
    assert_eq!(
        unknown,
        results(&endpoint.requests()[endpoint.requests().len() - 1])[1].contains("outcome unknown"),
        "{what}"
    );
    // each result once, and the books agree with the record
    let gave = told(&view, "tool_call_result").len() + told(&view, "tool_call_error").len();
    assert_eq!(gave, 3, "{what}: {view:#}");
    let (requests, tokens, usd) = amounts(&view["usage"]);
    let books = charged(daemon);
    assert_eq!((requests, tokens), (books.0 - before.books.0, books.1 - before.books.1), "{what}: {view:#}");
    assert!(near(usd, books.2 - before.books.2), "{what}");
    // a request without an answer is charged at its worst
    let open = told(&view, "model_request").len() - told(&view, "model_response").len();
    assert_eq!(requests as usize, 4 + open, "{what}");
    assert!(usd >= 4.0 * USD + open as f64 * 500.0 * 4.0 / 1e6 - 1e-9, "{what}: {usd}");
    let output = view["usage"]["output_tokens"].as_u64().expect("a count");
    assert!(output >= open as u64 * 500 && output < tokens, "{what}: {}", view["usage"]);
    view
}

/// The events of a run up to its end, if nobody disturbs it.
fn steps(daemon: &Daemon, endpoint: &Endpoint) -> usize {
    let view = completed(daemon);
    assert_eq!(types(&view).len(), 19, "{view:#}");
    assert_eq!((endpoint.requests().len(), witness(daemon).len()), (4, 3));
    types(&view).len()
}

#[test]
fn killed_after_any_event_a_run_goes_on() {
    let endpoint = model(Arc::new(AtomicUsize::new(NEVER)));
    let mut daemon = with_server(&endpoint, KEYS);
    daemon.up();
    let mut resumed = 0;
    for step in 1..steps(&daemon, &endpoint) - 1 {
        let before = before(&daemon, &endpoint);
        let run = start(&daemon);
        let mut seen = 0;
        daemon.client().until("an event", json!({"from": 1, "run_id": run}), |_| {
            seen += 1;
            seen == step
        });
        let view = goes_on(&format!("event {step}"), &mut daemon, &endpoint, &run, &before);
        resumed += told(&view, "background_task_resumed").len();
    }
    // the run is quick: now and then it is done before the kill
    assert!(resumed >= 5, "only {resumed} runs were cut short");
}

#[test]
fn killed_in_each_request_a_run_goes_on_and_the_request_is_charged() {
    let hang = Arc::new(AtomicUsize::new(NEVER));
    let endpoint = model(hang.clone());
    let mut daemon = with_server(&endpoint, KEYS);
    daemon.up();
    for seen in 0..4 {
        let before = before(&daemon, &endpoint);
        hang.store(seen, Ordering::SeqCst);
        let run = start(&daemon);
        endpoint.until_asked(before.requests + seen + 1);
        hang.store(NEVER, Ordering::SeqCst);
        let view = goes_on(&format!("request {seen}"), &mut daemon, &endpoint, &run, &before);
        assert_eq!(told(&view, "background_task_resumed").len(), 1, "{view:#}");
        assert_eq!(amounts(&view["usage"]).0, 5);
        // only what was in flight is repeated
        assert_eq!(witness(&daemon).len() - before.witness, 3);
        assert_eq!(view["warnings"], Value::Null);
    }
}

#[test]
fn killed_in_each_call_a_run_goes_on_and_an_effect_is_not_repeated() {
    let endpoint = model(Arc::new(AtomicUsize::new(NEVER)));
    let mut daemon = with_server(&endpoint, KEYS);
    daemon.up();
    for tool in ["look", "put", "keep"] {
        let before = before(&daemon, &endpoint);
        std::fs::write(daemon.path(&format!("hold-{tool}")), "").expect("the folder can be written");
        let run = start(&daemon);
        wait_for("the call", || {
            witness(&daemon)[before.witness..].iter().any(|line| line.starts_with(tool)).then_some(())
        });
        let view = goes_on(tool, &mut daemon, &endpoint, &run, &before);
        assert_eq!(told(&view, "background_task_resumed").len(), 1, "{view:#}");
        let made = witness(&daemon).len() - before.witness;
        let warnings = view["warnings"].to_string();
        if tool == "put" {
            assert_eq!(made, 3, "an effect was repeated");
            assert!(warnings.contains("s/put {\\\"q\\\": \\\"2\\\"}"), "{warnings}");
            let shown = results(endpoint.requests().last().expect("requests"));
            assert!(shown[1].contains("outcome unknown:"), "{shown:?}");
        } else {
            assert_eq!(made, 4, "{tool}");
            assert_eq!(view["warnings"], Value::Null);
        }
    }
}

#[test]
fn a_shutdown_in_order_is_no_end_of_a_run_either() {
    let hang = Arc::new(AtomicUsize::new(2));
    let endpoint = model(hang.clone());
    let mut daemon = with_server(&endpoint, KEYS);
    daemon.up();
    let run = start(&daemon);
    endpoint.until_asked(3);
    assert_eq!(daemon.down(), Some(0), "{}", daemon.log());
    hang.store(NEVER, Ordering::SeqCst);
    daemon.up();
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "completed", "{view:#}");
    assert_eq!(told(&view, "background_task_resumed").len(), 1);
    assert_eq!((endpoint.requests().len(), witness(&daemon).len()), (5, 3));
    books_agree(&daemon, &[&view]);
}

#[test]
fn a_run_whose_agent_is_another_one_now_is_interrupted() {
    let hang = Arc::new(AtomicUsize::new(2));
    let endpoint = model(hang.clone());
    let mut daemon = with_server(&endpoint, KEYS);
    daemon.up();
    let run = start(&daemon);
    endpoint.until_asked(3);
    daemon.kill();
    hang.store(NEVER, Ordering::SeqCst);
    let text = std::fs::read_to_string(daemon.path("agents.toml")).expect("a file");
    daemon.configure(&text.replace("Look after it.", "Do something else."));
    daemon.up();
    let view = daemon.finished(&run);
    assert_eq!((&view["status"], &view["error"]["kind"]), (&json!("interrupted"), &json!("interrupted")));
    assert_eq!((endpoint.requests().len(), witness(&daemon).len()), (3, 2));
    assert_eq!(charged(&daemon).0, 3, "the open request is charged");
    books_agree(&daemon, &[&view]);
    // an effect in flight is named by the record
    std::fs::write(daemon.path("hold-put"), "").expect("the folder can be written");
    let run = start(&daemon);
    wait_for("the call", || (witnessed(&daemon, "put") == 2).then_some(()));
    daemon.kill();
    daemon.configure(&text);
    daemon.up();
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "interrupted", "{view:#}");
    assert!(view["warnings"].to_string().contains("whether this call happened: s/put"), "{view:#}");
    assert_eq!(witnessed(&daemon, "put"), 2);
}
