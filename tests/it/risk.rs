//! An agent that joins untrusted input, private data and a way out: refused, or shown with its reason.
use super::support::{Daemon, code};
use serde_json::{Value, json};

const RISKY: &str = "[models.m]\nprovider = \"openai-compatible\"\nmodel = \"x\"\nbase_url = \"http://127.0.0.1:1/v1\"\n\
    [tools.web]\ntype = \"http\"\nhosts = [\"*.example.org\"]\n[tools.box]\ntype = \"files\"\nroots = [\"box\"]\n\
    [agents.clerk]\nquery = \"x\"\nmodel = \"m\"\ntools = [\"web\", \"box\"]\n";

#[test]
fn a_risk_is_refused_or_shown_with_its_reason() {
    let mut daemon = Daemon::with(RISKY);
    std::fs::create_dir(daemon.path("box")).expect("a new folder");
    code(&daemon, &["check"], 78, "agent `clerk` reads what strangers write (web, box)");
    code(&daemon, &["check"], 78, "accept_risk = \"");
    daemon.configure(&format!("{RISKY}accept_risk = \"\"\n"));
    code(&daemon, &["check"], 78, "`accept_risk` says nothing");
    daemon.configure(&format!("{RISKY}accept_risk = \"the box is empty\"\n"));
    code(&daemon, &["check"], 0, "agent `clerk` accepts a risk: the box is empty");
    let checked: Value = serde_json::from_str(&daemon.ok(&["check", "--json"])).expect("JSON");
    assert_eq!(checked["agents"][0]["accept_risk"], "the box is empty", "{checked:#}");
    daemon.up();
    code(&daemon, &["list"], 0, "agent `clerk` accepts a risk: the box is empty");
    code(&daemon, &["status", "clerk"], 0, "accepted: the box is empty");
    assert_eq!(daemon.call("list_agents", json!({}))[0]["accept_risk"], "the box is empty");
}
