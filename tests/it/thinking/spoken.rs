//! What a model says in its text that is no answer, and what a server does not read.
use super::*;

#[test]
fn a_call_in_a_text_is_made_and_thoughts_are_no_answer() {
    let endpoint = Endpoint::script([
        Reply::text(
            "<think>I must look.</think>\n<tool_call>\n{\"name\": \"recall\", \"arguments\": {\"key\": \"x\"}}\n</tool_call>",
        ),
        Reply::text("<think>\nNothing there.\n</think>\n\nAll well."),
    ]);
    let daemon = Daemon::start(&agent(&endpoint, "tools = [\"recall\"]\nmemory = \"session\""));
    let view = completed(&daemon);
    assert_eq!(view["result"], "All well.");
    let thoughts: Vec<&Value> = told(&view, "agent_thought").iter().map(|thought| &thought["text"]).collect();
    assert_eq!(thoughts, ["I must look.", "Nothing there."]);
    let began = told(&view, "tool_call_started");
    assert_eq!(
        (began.len(), &began[0]["tool"], &began[0]["args"]),
        (1, &json!("recall"), &json!(r#"{"key":"x"}"#))
    );
    let sent = endpoint.requests();
    assert_eq!((sent.len(), results(&sent[1]).len()), (2, 1));
    assert_eq!(sent[1].json["messages"][2]["tool_calls"][0]["function"]["name"], "recall");
    completed(&daemon);
    let later = endpoint.requests()[2].json.to_string();
    assert!(later.contains("All well.") && !later.contains("Nothing there"), "{later}");
}

#[test]
fn a_call_that_can_not_be_read_is_asked_for_once_more() {
    let garbled = || Reply::text("<tool_call>{\"name\": \"recall\", \"arguments\": {</tool_call>");
    let endpoint = Endpoint::script([garbled(), Reply::text("All well.")]);
    let daemon = Daemon::start(&agent(&endpoint, "tools = [\"recall\"]\nretry = { max = 0 }"));
    assert_eq!(completed(&daemon)["result"], "All well.");
    let endpoint = Endpoint::script([garbled()]);
    let daemon = Daemon::start(&agent(&endpoint, "tools = [\"recall\"]"));
    let view = run(&daemon);
    let kind = (&view["status"], &view["error"]["kind"], &view["attempt"]);
    assert_eq!(kind, (&json!("failed"), &json!("call_as_text"), &json!(1)), "{view:#}");
    assert_eq!((view["result"].clone(), endpoint.requests().len()), (Value::Null, 2));
    books_agree(&daemon, &[&view]);
}

#[test]
fn a_hiccup_is_no_end_where_tries_are_allowed() {
    let hiccups = || Endpoint::script([Reply::empty(), Reply::text("All well.")]);
    let endpoint = hiccups();
    let daemon = Daemon::start(&agent(&endpoint, "retry = { max = 2, initial = \"1s\" }"));
    let view = completed(&daemon);
    assert_eq!((&view["attempt"], &view["usage"]["requests"]), (&json!(1), &json!(2)), "{view:#}");
    assert_eq!(endpoint.requests()[0].json, endpoint.requests()[1].json);
    let endpoint = hiccups();
    let daemon = Daemon::start(&agent(&endpoint, "retry = { max = 0 }"));
    assert_eq!(run(&daemon)["error"]["kind"], "empty_answer");
}

#[test]
fn a_server_that_cuts_what_it_reads_is_told_of() {
    let read = |tokens| {
        Endpoint::script([Reply::text("x").using(Used { input: tokens, cached: 0, output: 1, thoughts: 0 })])
    };
    let many = "Look at host two. ".repeat(400);
    for (tokens, cuts) in [(512, true), (2000, false)] {
        let endpoint = read(tokens);
        let toml = agent(&endpoint, "").replace("Look after it.", &many);
        let view = completed(&Daemon::start(&toml));
        let warnings = view["warnings"].to_string();
        assert_eq!(warnings.contains("it cuts what does not fit"), cuts, "{warnings}");
    }
}
