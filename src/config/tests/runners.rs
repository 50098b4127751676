//! Agent programs and the agents that they work for.
use super::read;
use crate::domain::{
    Body, PermissionKind, ResumePolicy, Rights, RunnerPreset, RunnerProtocol, RunnerQuery, RunnerSpec,
    Walled, Workspace,
};
use std::sync::Arc;

const MODELS: &str = "[models.main]\nprovider = \"anthropic\"\nmodel = \"claude-sonnet-4-5\"\nprice = { input = 3, output = 15 }\n\
     [models.gpt]\nprovider = \"openai\"\nmodel = \"gpt-5\"\n";

fn query_of(text: &str) -> (RunnerSpec, Arc<RunnerQuery>) {
    let text = format!("{MODELS}{text}");
    let fleet = read(&text).unwrap_or_else(|rejected| panic!("{text}: {:?}", rejected.diagnostics)).fleet;
    let Body::Runner(query) = &fleet.agents[0].body else { panic!("an agent program") };
    (fleet.runners[&query.runner].clone(), query.clone())
}

#[test]
fn a_preset_says_all_but_the_model() {
    let (runner, query) =
        query_of("[runners.claude]\nmeter = \"main\"\n[agents.a]\nquery = \"?\"\nrunner = \"claude\"\n");
    assert_eq!(runner.preset, Some(RunnerPreset::Claude), "by the name of its table");
    assert_eq!(
        (runner.protocol, &runner.command[..]),
        (RunnerProtocol::ClaudeJson, &["claude".to_owned()][..])
    );
    assert_eq!((runner.first_event, runner.idle), (RunnerSpec::FIRST_EVENT, RunnerSpec::IDLE));
    assert_eq!(
        (query.resume, &query.workspace, &query.permissions),
        (ResumePolicy::Crash, &Workspace::Empty, &None)
    );
    let (runner, query) = query_of(
        "[runners.second]\npreset = \"codex\"\nmeter = \"gpt\"\nversion = \"=0.171\"\n\
         [agents.a]\nquery = \"?\"\nrunner = \"second\"\nresume = \"never\"\nworkspace = { dir = \"~/notes\" }\n",
    );
    let version = runner.version.expect("it is set");
    assert!(version.exact && version.fits("0.171.3"));
    assert_eq!(
        (query.resume, &query.workspace),
        (ResumePolicy::Never, &Workspace::Folder("/home/u/notes".into()))
    );
}

#[test]
fn a_program_of_ones_own_needs_no_preset() {
    let (runner, query) = query_of(
        "[runners.own]\nprotocol = \"codex-json\"\ncommand = [\"mine\", \"{query}\"]\nmeter = \"main\"\n\
         [agents.a]\nquery = \"?\"\nrunner = \"own\"\n",
    );
    assert_eq!(
        (runner.preset, query.resume),
        (None, ResumePolicy::Never),
        "nothing says how its session goes on"
    );
}

#[test]
fn limits_fit_what_programs_send() {
    let text = format!(
        "{MODELS}[runners.claude]\nmeter = \"main\"\n[agents.a]\nquery = \"?\"\nrunner = \"claude\"\n\
         permissions = {{ allow = [\"read\", \"edit\"] }}\n[agents.b]\nquery = \"?\"\nmodel = \"main\"\n"
    );
    let fleet = read(&text).unwrap().fleet;
    let limits =
        |at: usize| (fleet.agents[at].limits.request_limit, fleet.agents[at].limits.total_tokens_limit);
    assert_eq!(limits(0), (RunnerSpec::REQUEST_LIMIT, RunnerSpec::TOTAL_TOKENS_LIMIT));
    assert_eq!(limits(1), (20, 100_000));
    assert_eq!(fleet.agents[0].retry.max, 2);
    let Body::Runner(query) = &fleet.agents[0].body else { panic!("an agent program") };
    assert_eq!(
        query.permissions.as_ref().unwrap().allow,
        [PermissionKind::Read.into(), PermissionKind::Edit.into()]
    );
    assert_eq!(fleet.model_of(&fleet.agents[0].body), Some("main"));
}

#[test]
fn a_pattern_to_ask_beside_all_commands_is_warned_of() {
    for (permissions, is_warned) in [
        (r#"{ allow = ["execute"], ask = ["execute:git push*"] }"#, true),
        (r#"{ allow = ["execute:*"], ask = ["execute:git push*"] }"#, true),
        (r#"{ default = "allow", ask = ["execute:git push*"] }"#, true),
        (r#"{ allow = ["execute:cargo test*"], ask = ["execute:git push*"] }"#, false),
        (r#"{ allow = ["execute"], ask = ["edit"] }"#, false),
        (r#"{ allow = ["execute"] }"#, false),
    ] {
        let text = format!(
            "{MODELS}[runners.claude]\nmeter = \"main\"\n[agents.a]\nquery = \"?\"\nrunner = \"claude\"\n\
             permissions = {permissions}\n"
        );
        let warnings = read(&text).unwrap().warnings;
        let says = |one: &crate::config::Diagnostic| one.message.contains("is not asked about");
        assert_eq!(warnings.iter().any(says), is_warned, "{permissions}: {warnings:?}");
    }
}

#[test]
fn a_program_has_walls_unless_they_are_off() {
    let runner = |keys: &str| {
        let text = format!(
            "{MODELS}[runners.claude]\nmeter = \"main\"\n{keys}\n[agents.a]\nquery = \"?\"\nrunner = \"claude\"\n"
        );
        read(&text).unwrap().fleet
    };
    let (on, off) = (runner(""), runner("sandbox = false"));
    assert_eq!(Walled::of(&on).within, ["runners.claude"]);
    assert_eq!(Walled::of_agent(&off, &off.agents[0]).without, ["runners.claude"]);
    let beyond = Rights::of(&off).beyond(&Rights::of(&on));
    assert_eq!(beyond, ["runner claude no longer keeps its program in a sandbox"]);
}

#[test]
fn rights_of_a_program_are_named() {
    let rights = |runner: &str, agent: &str| {
        let text = format!(
            "{MODELS}[runners.r]\npreset = \"claude\"\nmeter = \"main\"\n{runner}\n\
             [agents.a]\nquery = \"?\"\nrunner = \"r\"\n{agent}\n"
        );
        Rights::of(&read(&text).unwrap_or_else(|rejected| panic!("{text}: {:?}", rejected.diagnostics)).fleet)
    };
    let plain = rights("", "");
    for (runner, agent, wider) in [
        ("command = [\"other\"]", "", &["runner r runs other as claude"][..]),
        ("env = { X = \"1\" }", "", &["runner r runs claude as claude with X=1"]),
        (
            "sandbox = { net = [\"a.example:443\"] }",
            "",
            &["runner r connects to a.example:443 from the sandbox of its program"],
        ),
        ("", "workspace = { dir = \"/srv/w\" }", &["agent a lets it change /srv/w"]),
        ("", "permissions = { allow = [\"read\"] }", &[]),
        ("version = \"=2.1\"", "", &[]),
    ] {
        assert_eq!(rights(runner, agent).beyond(&plain), wider, "{runner} {agent}");
    }
    let held = rights("version = \"=2.1\"", "permissions = { allow = [\"read\"] }");
    assert_eq!(
        plain.beyond(&held),
        ["agent a no longer allows it read, and nothing else", "runner r no longer runs version 2.1 only"]
    );
}
