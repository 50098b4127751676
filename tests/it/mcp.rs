//! MCP servers that behave, and all the ways in which they don't. Each test has a server of its own
//! (`mcp/server.py`), is bounded, and leaves no process behind.
mod calls;
mod lives;
mod over_http;
mod trust;
mod words;

use super::support::{PATIENCE, python3, wait_for};
use bgagent::domain::{Effect, Fleet, McpEffect, McpSpec, SandboxSetting, ToolError};
use bgagent::mcp::{Limits, Pin, PinEvent, PinNews, Pins, Servers};
use bgagent::tools::{CallContext, Tools};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

const SERVER: &str = include_str!("mcp/server.py");

/// As in the daemon, but for servers that end badly soon.
const LIMITS: Limits =
    Limits { patience: Duration::from_millis(300), back_off: Duration::from_millis(1), ..Limits::DAEMON };

/// A folder with a server `s`; its path is in the arguments of all its processes.
struct Bench {
    folder: tempfile::TempDir,
    fleet: Fleet,
    pins: Arc<Pins>,
    changes: UnboundedReceiver<PinNews>,
    limits: Limits,
}

/// What the tools of the server are in this mode, as a person has trusted them.
fn known(mode: &str) -> Vec<Pin> {
    static KNOWN: Mutex<BTreeMap<String, Vec<Pin>>> = Mutex::new(BTreeMap::new());
    let mode = if mode == "odd" { mode } else { "ok" };
    let mut known = KNOWN.lock().expect("no holder panics");
    let trust = async || {
        let bench = Bench::untrusted(mode);
        let servers = bench.servers(None);
        servers.list("s", PATIENCE).await.expect("it answers");
        servers.trust("s", None).expect("they were seen");
        servers.stop_all().await;
        bench.pins.all()
    };
    let aside = || tokio::runtime::Runtime::new().expect("a runtime").block_on(trust());
    let look = || std::thread::scope(|scope| scope.spawn(aside).join().expect("it does not panic"));
    known.entry(mode.to_owned()).or_insert_with(look).clone()
}

impl Bench {
    /// Its tools are trusted.
    fn with(mode: &str) -> Self {
        let (pins, changes) = Pins::load(known(mode));
        Self { pins, changes, ..Self::untrusted(mode) }
    }

    /// Nobody has seen its tools yet.
    fn untrusted(mode: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().to_str().expect("UTF-8").to_owned();
        let script = format!("{place}/server.py");
        fs::write(&script, SERVER).expect("the folder can be written");
        let command = Some(vec![python3().into(), "-u".into(), script, mode.into(), place]);
        let mut fleet = Fleet::empty(folder.path().join("agents.toml"));
        let none = BTreeMap::new;
        fleet.mcp.insert(
            "s".into(),
            McpSpec {
                command,
                url: None,
                headers: none(),
                env: none(),
                cwd: None,
                start_timeout: SignedDuration::from_secs(20),
                allow: Some(Vec::new()),
                deny: Vec::new(),
                // it keeps a log beside itself
                sandbox: SandboxSetting::Off,
                effects: effects(),
            },
        );
        let (pins, changes) = Pins::load([]);
        let mut bench = Self { folder, fleet, pins, changes, limits: LIMITS };
        bench.spec().allow = None;
        bench
    }

    fn spec(&mut self) -> &mut McpSpec {
        self.fleet.mcp.get_mut("s").expect("it is there")
    }

    fn servers(&self, previous: Option<&Servers>) -> Servers {
        Servers::with_limits(&self.fleet, previous, self.pins.clone(), self.limits)
    }

    fn tools(&self) -> Tools {
        Tools::with_servers(&self.fleet, self.servers(None))
    }

    /// What the server got, by method.
    fn got(&self, method: &str) -> usize {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().filter(|line| *line == method).count()
    }

    /// Processes of this test that live.
    fn processes(&self) -> Vec<u32> {
        let marker = self.folder.path().to_str().expect("UTF-8");
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("there is a /proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let argv = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&argv).contains(marker) {
                found.push(pid);
            }
        }
        found
    }

    /// Stops all, and sees that nothing is left.
    async fn end(&self, tools: &Tools) {
        tools.servers().stop_all().await;
        wait_for("the end of all processes", || self.processes().is_empty().then_some(()));
    }

    fn told(&mut self) -> Vec<(PinEvent, String)> {
        let mut told = Vec::new();
        while let Ok(news) = self.changes.try_recv() {
            told.extend(news.changes.into_iter().map(|change| (change.event, change.tool)));
        }
        told
    }
}

/// What the tools of the server do: almost all of them only look.
fn effects() -> BTreeMap<String, McpEffect> {
    let others = ["crash", "deaf", "garbage", "wipe"].map(|name| (name.to_owned(), McpEffect::Effect));
    others.into_iter().chain([("add".into(), McpEffect::Idempotent), ("*".into(), McpEffect::Read)]).collect()
}

async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(2 * PATIENCE, test).await.expect("the test ends in time")
}

async fn call_for(tools: &Tools, tool: &str, args: Value, bound: Duration) -> Result<Value, ToolError> {
    let context = CallContext { timeout: Some(bound), ..CallContext::default() };
    tools.call(&format!("s/{tool}"), &args, &context).await.map(|output| output.result)
}

async fn call(tools: &Tools, tool: &str, args: Value) -> Result<Value, ToolError> {
    call_for(tools, tool, args, PATIENCE).await
}

async fn works(tools: &Tools) {
    assert_eq!(call(tools, "echo", json!({"text": "hello"})).await, Ok(json!({"text": "hello"})));
}

async fn pid(tools: &Tools) -> String {
    call(tools, "pid", json!({})).await.expect("it answers")["text"].as_str().expect("a text").to_owned()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
