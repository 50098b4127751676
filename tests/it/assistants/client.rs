//! The project's own MCP client, which speaks as the SDKs do, against its own server.
use super::super::support::{Daemon, PATIENCE};
use super::FILE;
use bgagent::domain::{Fleet, McpSpec, SandboxSetting};
use bgagent::mcp::{Limits, Pins, Servers};
use bgagent::tools::{CallContext, Tools};
use jiff::SignedDuration;
use serde_json::json;
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread")]
async fn our_own_client_takes_our_own_server_for_one_like_others() {
    let daemon = Daemon::start(FILE);
    let program = daemon.command(&["mcp", "serve", "--may", "run,propose"]);
    let words = std::iter::once(program.get_program()).chain(program.get_args());
    let command = words.map(|word| word.to_str().expect("UTF-8").to_owned()).collect();
    let mut fleet = Fleet::empty(daemon.path("agents.toml"));
    let spec = McpSpec {
        command: Some(command),
        url: None,
        headers: BTreeMap::new(),
        env: BTreeMap::new(),
        cwd: None,
        start_timeout: SignedDuration::from_secs(20),
        allow: None,
        deny: Vec::new(),
        sandbox: SandboxSetting::Off,
        effects: BTreeMap::new(),
    };
    fleet.mcp.insert("fleet".into(), spec);
    let (pins, _changes) = Pins::load([]);
    let servers = Servers::with_limits(&fleet, None, pins, Limits::DAEMON);
    servers.list("fleet", PATIENCE).await.expect("it answers");
    servers.trust("fleet", None).expect("they were seen");
    let tools = Tools::with_servers(&fleet, servers);
    let context = || CallContext { timeout: Some(PATIENCE), ..CallContext::default() };
    let listed = tools.call("fleet/list_agents", &json!({}), &context()).await.expect("it answers").result;
    assert_eq!(listed["structured"]["total"], 2, "{listed}");
    let names: Vec<String> =
        ["fleet/list_agents", "fleet/pause", "fleet/propose_agent"].map(String::from).to_vec();
    let offers = tools.offers(&names, PATIENCE).await.expect("they are offered").tools;
    assert_eq!(offers.len(), names.len());
    let refused = tools.call("fleet/why", &json!({"agent": "nobody"}), &context()).await.unwrap_err();
    assert!(refused.to_string().contains("no agent named `nobody`"), "{refused}");
    // its keeper is called like ours, so it counts as a program of an agent
    let proposed = tools.call("fleet/propose_agent", &json!({"toml": super::SAY}), &context()).await;
    let error = proposed.map(|output| output.result.to_string()).unwrap_or_else(|error| error.to_string());
    assert!(error.contains("can't propose agents") || error.contains("Proposal"), "{error}");
    tools.servers().stop_all().await;
}
