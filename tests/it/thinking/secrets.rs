//! Secrets that come back from everywhere, in many forms: the model, a page, a server, a program and an
//! error say them, and nobody gets to read them.
use super::*;
use std::os::unix::fs::PermissionsExt;

/// The file of a secret, and the secret.
const SECRETS: [(&str, &str); 5] = [
    ("key", "model \"k3y/of\"+a%model"),
    ("token", "page \"t0ken/of\"+a%page"),
    ("word", "server \"w0rd/of\"+a%server"),
    ("code", "program \"c0de/of\"+a%program"),
    ("phrase", "command \"phr4se/of\"+a%command"),
];

fn secret(name: &str) -> &'static str {
    SECRETS.iter().find(|(known, _)| *known == name).expect("a secret").1
}

/// A secret as programs write it: as it is, in base64 (alone, and behind a user's name), in hex, in an
/// address, and within JSON.
fn forms(value: &str) -> Vec<String> {
    use base64::Engine;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let hex = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let in_address = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let quoted = json!(value).to_string();
    let quoted = quoted[1..quoted.len() - 1].to_owned();
    vec![
        value.to_owned(),
        base64(value),
        base64(&format!("u:{value}")),
        hex,
        value.bytes().map(in_address).collect(),
        quoted,
    ]
}

/// What somebody says who has a secret.
fn told_all(name: &str) -> String {
    forms(secret(name)).join(" ; ")
}

fn model() -> Endpoint {
    Endpoint::answering(|request| {
        let key = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        assert_eq!(key, Some(secret("key")));
        match (request.json["model"] == "bad", results(request).len()) {
            (true, _) => Reply::status(401, &told_all("key")),
            (false, 0) => {
                let note = json!({"key": "k", "text": told_all("key")}).to_string();
                let problem = json!({"key": "p", "severity": "warning", "title": secret("key"), "detail": told_all("key")});
                Reply::calls(&[
                    ("page", &json!({"url": "http://PAGE/"}).to_string()),
                    ("s_look", "{}"),
                    ("machine", r#"{"command": "print"}"#),
                    ("machine", r#"{"command": "env"}"#),
                    ("remember", &note),
                    ("report", &problem.to_string()),
                    ("s_look", &json!({"q": told_all("key")}).to_string()),
                    ("no_such_tool", &json!({"q": secret("key")}).to_string()),
                ])
                .thinking(&told_all("key"))
            }
            _ => Reply::text(&format!("I know {}", told_all("key"))),
        }
    })
}

/// The text of all of it, and the daemon.
fn world(model: &Endpoint, page: &Endpoint) -> Daemon {
    let daemon = with_server(model, "");
    let folder = daemon.folder.path().display().to_string();
    for (name, value) in SECRETS {
        std::fs::write(daemon.path(name), value).expect("the folder can be written");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(daemon.path(name), private).expect("a mode");
    }
    for (file, name) in [("say", "word"), ("printed", "code"), ("output", "phrase")] {
        std::fs::write(daemon.path(file), told_all(name) + "\n").expect("the folder can be written");
    }
    daemon.configure(&format!(
        "{}[models.bad]\nprovider = \"openai-compatible\"\nmodel = \"bad\"\nbase_url = \"{}\"\napi_key = {{ file = \"key\" }}\n\
         [tools.page]\ntype = \"http\"\nallow_private = [\"{}\"]\nheaders = {{ Authorization = {{ file = \"token\" }} }}\n\
         [tools.machine]\ntype = \"shell\"\nenv = {{ CODE = {{ file = \"code\" }} }}\n[tools.machine.commands]\n\
         print = {{ exec = \"/bin/cat\", args = [\"{folder}/printed\"], read = true }}\n\
         env = {{ exec = \"/usr/bin/printenv\", args = [\"CODE\"], read = true }}\n\
         [mcp.s]\ncommand = [\"{python3}\", \"server.py\", \"{folder}\"]\nsandbox = false\nallow = [\"look\"]\neffects = {{ look = \"read\" }}\nenv = {{ WORD = {{ file = \"word\" }} }}\n\
         [agents.a]\nquery = \"Look after it.\"\nmodel = \"main\"\nmemory = \"session\"\n\
         tools = [\"page\", \"machine\", \"s/look\", \"remember\", \"report\"]\nsinks = [\"page\"]\n\
         [agents.g]\nquery = \"See {{gate}}\"\nmodel = \"main\"\ninterval = 3600\n\
         gate = {{ command = [\"cat\", \"output\"], env = {{ PHRASE = {{ file = \"phrase\" }} }} }}\n\
         success_when = [{{ command = \"cat output >&2; printenv PHRASE >&2; exit 1\", env = {{ PHRASE = {{ file = \"phrase\" }} }} }}]\n\
         [agents.b]\nquery = \"Look after it.\"\nmodel = \"bad\"\n\
         [agents.c]\ncommand = \"cat output; cat output >&2; printenv PHRASE; exit 1\"\nenv = {{ PHRASE = {{ file = \"phrase\" }} }}\n",
        config(model, "api_key = { file = \"key\" }\n"),
        model.url(),
        host_of(page),
        python3 = python3(),
    ));
    daemon
}

fn host_of(endpoint: &Endpoint) -> String {
    endpoint.url().trim_start_matches("http://").to_owned()
}

#[test]
fn what_is_said_back_is_read_by_nobody() {
    let page = Endpoint::answering(|request| {
        assert_eq!(request.header("authorization"), Some(secret("token")));
        Reply::body(told_all("token")).with("content-type", "text/plain")
    });
    let host = host_of(&page);
    let inner = model();
    let model = Endpoint::answering(move |request| {
        inner.answer(request).replacing("http://PAGE", &format!("http://{host}"))
    });
    let mut daemon = world(&model, &page);
    daemon.up();
    let mut runs: Vec<Value> = ["a", "a", "b", "c"].iter().map(|agent| daemon.run_by_hand(agent)).collect();
    let ends: Vec<&str> = runs.iter().map(|run| run["status"].as_str().expect("a status")).collect();
    assert_eq!(ends, ["completed", "completed", "failed", "failed"], "{runs:#?}");
    assert_eq!(told(&runs[0], "tool_call_result").len(), 7, "{:#}", runs[0]);
    let gated = daemon.until("background_task_error", "g");
    assert_eq!(gated["payload"]["kind"], "unverified", "{gated}");
    runs.push(daemon.finished(&gated["run_id"]));
    // all that a person or a program can read
    let mut read: Vec<(String, Vec<u8>)> = Vec::new();
    for args in [
        &["tail", "-n", "1000", "--no-follow"][..],
        &["--json", "tail", "-n", "1000", "--no-follow"],
        &["runs"],
        &["memory", "a"],
        &["incidents"],
        &["logs", "c"],
        &["status", "a"],
        &["status", "b"],
    ] {
        read.push((args.join(" "), daemon.ok(args).into_bytes()));
    }
    for run in &runs {
        let id = run["run_id"].as_str().expect("an id");
        read.push((format!("show {id}"), daemon.ok(&["show", id]).into_bytes()));
        read.push((format!("show {id} as JSON"), daemon.ok(&["--json", "show", id]).into_bytes()));
    }
    for request in model.requests() {
        read.push(("a request to the model".into(), request.json.to_string().into_bytes()));
    }
    for file in ["state/bgagent.db", "state/bgagent.db-wal", "log", "witness"] {
        read.push((file.into(), std::fs::read(daemon.path(file)).expect("a file")));
    }
    let mut found = Vec::new();
    for (name, value) in SECRETS {
        for form in forms(value) {
            // base64 behind something else is told by its middle
            let form = if form.len() > 40 { form[8..form.len() - 8].to_owned() } else { form };
            let places = read
                .iter()
                .filter(|(_, bytes)| bytes.windows(form.len()).any(|part| part == form.as_bytes()));
            found.extend(places.map(|(place, _)| format!("{name} as {form} in {place}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let shown = String::from_utf8(read[0].1.clone()).expect("text");
    assert!(shown.matches("[redacted]").count() > 10, "{shown}");
}
