//! MCP servers that behave, and all the ways in which they don't. Each test has a server of its own
//! (`mcp/server.py`), is bounded, and leaves no process behind.
use super::support::{PATIENCE, python3, wait_for};
use bgagent::domain::{
    Effect, Fleet, McpEffect, McpSpec, SandboxSetting, SecretRef, TextOrSecret, ToolError,
};
use bgagent::mcp::{Limits, Pin, PinEvent, PinNews, PinState, Pins, Servers};
use bgagent::tools::{CallContext, Tools};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
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

#[tokio::test(flavor = "multi_thread")]
async fn tools_of_a_server_are_offered_and_called() {
    within(async {
        let bench = Bench::with("ok");
        let tools = bench.tools();
        assert!(bench.processes().is_empty(), "nothing is started before it is needed");
        let calls = (0..10).map(|number| call(&tools, "add", json!({"a": number, "b": 1})));
        for (number, sum) in futures_util::future::join_all(calls).await.into_iter().enumerate() {
            assert_eq!(sum, Ok(json!({"structured": {"sum": number + 1}})));
        }
        assert_eq!(bench.got("initialize"), 1, "it is shared");
        assert_eq!(bench.processes().len(), 1);
        let error = call(&tools, "add", json!({"a": "1"})).await.unwrap_err();
        assert_eq!(
            error,
            ToolError::Arguments(
                "tool `s/add`: `b` is missing; `a` must be a whole number, not the text \"1\"".into()
            )
        );
        assert_eq!(
            call(&tools, "fail", Value::Null).await.unwrap_err(),
            ToolError::Failed("tool `s/fail`: no such row".into())
        );
        assert_eq!(
            call(&tools, "ech", json!({})).await.unwrap_err().to_string(),
            "there is no tool `s/ech`; did you mean `s/echo`?"
        );

        let bound = PATIENCE;
        let offers =
            tools.offers(&names(&["s/add", "system_metrics", "s/*", "s/add"]), bound).await.unwrap().tools;
        let offered: Vec<_> = offers.iter().map(|offer| offer.def.name.as_str()).collect();
        assert_eq!(offered[..3], ["s/add", "system_metrics", "s/ask"]);
        assert_eq!(offers.len(), 24, "{offered:?}");
        assert_eq!((offers[0].effect, offers[2].effect), (Effect::Idempotent, Effect::Read));
        assert!(offers.iter().all(|offer| offer.untrusted));
        let servers = [&offers[0], &offers[1]].map(|offer| offer.server.as_deref());
        assert_eq!(servers, [Some("s"), None]);
        for (name, says) in [
            ("s/wipe", "tool `s/wipe` may destroy something, so it must be named in `allow` of [mcp.s]"),
            ("s/ad", "there is no tool `s/ad`; did you mean `s/add`?"),
            ("t/x", "there is no tool `t/x`; `bgagent tool list` shows all"),
        ] {
            assert_eq!(tools.offers(&names(&[name]), bound).await.unwrap_err().to_string(), says);
        }
        bench.end(&tools).await;
        let error = call(&tools, "echo", json!({})).await.unwrap_err();
        assert!(error.to_string().contains("is not started again"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_allowed_is_called() {
    within(async {
        let mut bench = Bench::with("ok");
        bench.spec().allow = Some(names(&["wipe"]));
        let tools = bench.tools();
        assert_eq!(call(&tools, "wipe", json!({})).await, Ok(json!({"text": "wiped"})));
        let error = call(&tools, "echo", json!({})).await.unwrap_err();
        assert_eq!(error, ToolError::Failed("tool `s/echo` is not in `allow` of [mcp.s]".into()));
        assert_eq!(bench.got("tools/call"), 1);
        let offers = tools.offers(&names(&["s/*"]), PATIENCE).await.unwrap().tools;
        assert_eq!(offers.iter().map(|offer| offer.effect).collect::<Vec<_>>(), [Effect::Effect]);
        let listed = tools.servers().list("s", PATIENCE).await.unwrap();
        assert_eq!(listed.len(), 24);
        assert_eq!(listed.iter().filter(|tool| tool.allowed).count(), 1);
        bench.end(&tools).await;
    })
    .await;
}

/// A pattern that gives nothing is an error like a name that gives nothing, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_pattern_gives_and_what_it_leaves_out() {
    within(async {
        let mut bench = Bench::with("odd");
        bench.spec().effects.clear();
        let offered = async |bench: &Bench, name: &str| {
            let tools = bench.tools();
            let offers = tools.offers(&names(&[name]), PATIENCE).await;
            bench.end(&tools).await;
            let offers = offers.map_err(|error| error.to_string())?;
            let tools: Vec<String> = offers.tools.into_iter().map(|tool| tool.def.name).collect();
            Ok::<_, String>((tools.join(" "), offers.warnings.join(" ")))
        };
        // "none" says nothing of itself
        let twice = "tool `s/echo` is left out: can't be used: another tool of the server is `s/echo` as well";
        assert_eq!(offered(&bench, "s/e*").await, Ok(("s/echo".into(), twice.into())));
        let says = "`s/n?ne` gives no tool: the only one, `none`, may destroy something, so it must be named in `allow` of [mcp.s]";
        assert_eq!(offered(&bench, "s/n?ne").await, Err(says.into()));
        let says = "`s/x*` gives no tool: the server has none of that name; `bgagent mcp list s` shows what it has";
        assert_eq!(offered(&bench, "s/x*").await, Err(says.into()));
        bench.spec().allow = Some(names(&["*", "gone"]));
        bench.spec().deny = names(&["e*"]);
        let (tools, warned) = offered(&bench, "s/*").await.unwrap();
        assert_eq!(tools, "s/none");
        assert!(warned.starts_with("no tool of MCP server `s` is `gone`, which `allow` of [mcp.s] names"), "{warned}");
        assert!(warned.contains("tool `s/bad` is left out: can't be used: its `inputSchema` is not an object"), "{warned}");
        let tools = bench.tools();
        let error = call(&tools, "echo", json!({})).await.unwrap_err().to_string();
        assert_eq!(error, "tool `s/echo` is in `deny` of [mcp.s]");
        bench.end(&tools).await;
    })
    .await;
}

/// A start that is slow or fails once is no reason to fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_has_its_own_time_and_a_second_try() {
    within(async {
        let bench = Bench::with("second_time");
        let tools = bench.tools();
        works(&tools).await;
        bench.end(&tools).await;
        let mut bench = Bench::with("slow");
        fs::create_dir(bench.folder.path().join("own")).unwrap();
        bench.spec().cwd = Some(bench.folder.path().join("own"));
        let tools = bench.tools();
        let given =
            call_for(&tools, "env", json!({}), Duration::from_millis(1500)).await.expect("it starts in time");
        assert!(given["structured"]["cwd"].as_str().unwrap().ends_with("/own"), "{given}");
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_gets_its_own_secrets_and_no_others() {
    within(async {
        let mut bench = Bench::with("ok");
        let secret = bench.folder.path().join("secret");
        fs::write(&secret, "xyzzy-plugh\n").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        bench.spec().env.insert("TOKEN".into(), TextOrSecret::Secret(SecretRef::File(secret.clone())));
        let tools = bench.tools();
        let given = call(&tools, "env", json!({})).await.unwrap();
        let env = given["structured"]["env"].as_object().unwrap();
        assert_eq!(env["TOKEN"], "[redacted]", "it has it, and nobody sees it");
        let kept = ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"];
        let own = |name: &str| matches!(name, "PWD" | "OLDPWD" | "SHLVL" | "_");
        for (name, _) in std::env::vars() {
            let may_have = kept.contains(&name.as_str()) || name.starts_with("LC_") || own(&name);
            assert!(may_have || !env.contains_key(&name), "{name}");
        }
        assert_eq!(fs::canonicalize(given["structured"]["cwd"].as_str().unwrap()).unwrap(), {
            fs::canonicalize(bench.folder.path()).unwrap()
        });
        let error = call(&tools, "crash", json!({})).await.unwrap_err().to_string();
        assert!(error.contains("it ended with exit status 3; it said: boom [redacted];"), "{error}");
        fs::remove_file(secret).unwrap();
        let error = call(&tools, "echo", json!({})).await.unwrap_err().to_string();
        assert!(error.contains("no value for the variable `TOKEN`: can't read the secret file"), "{error}");
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_not_begin_says_why() {
    within(async {
        let mut bench = Bench::with("crash_init");
        let says = async |bench: &Bench| {
            let tools = bench.tools();
            let error = call(&tools, "echo", json!({})).await.unwrap_err();
            assert!(!error.may_have_happened(), "{error}");
            bench.end(&tools).await;
            error.to_string()
        };
        assert_eq!(
            says(&bench).await,
            "MCP server `s`: it can't be started: it ended with exit status 4 before it answered; \
             it said: can't find the database … ServerError: no such file"
        );
        bench.spec().command = Some(vec!["no-such-program-at-all".into()]);
        let said = says(&bench).await;
        let missing = "MCP server `s`: it can't be started: `no-such-program-at-all` was not found in PATH (";
        assert!(said.starts_with(missing), "{said}");
        let mut bench = Bench::with("hang_init");
        bench.spec().start_timeout = SignedDuration::from_millis(500);
        assert_eq!(
            says(&bench).await,
            "MCP server `s`: it can't be started: it did not answer the first message within `start_timeout`"
        );
        let refuses = Bench::with("refuses");
        assert_eq!(
            says(&refuses).await,
            "MCP server `s`: it can't be started: it refuses to begin (`initialize`): Unsupported protocol version"
        );
        let endless = Bench::with("endless");
        assert_eq!(
            says(&endless).await,
            "MCP server `s`: its tools can't be listed: its list has more than 100 pages"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_the_newer_protocol_is_understood() {
    within(async {
        let bench = Bench::with("modern");
        let tools = bench.tools();
        works(&tools).await;
        assert_eq!((bench.got("initialize"), bench.got("server/discover")), (1, 1));
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hangs_is_cancelled_and_the_second_ends_the_server() {
    within(async {
        let bench = Bench::with("ok");
        let tools = bench.tools();
        let first = pid(&tools).await;
        let short = Duration::from_millis(200);
        let hangs = async || {
            let error = call_for(&tools, "hang", json!({}), short).await.unwrap_err();
            assert_eq!(error, ToolError::Timeout { tool: "s/hang".into(), secs: 1 });
            assert!(error.may_have_happened());
        };
        hangs().await;
        wait_for("the cancellation", || (bench.got("notifications/cancelled") == 1).then_some(()));
        assert_eq!(pid(&tools).await, first, "one is forgiven");
        hangs().await;
        assert_eq!(pid(&tools).await, first, "an answer in between makes it the first again");
        hangs().await;
        hangs().await;
        assert_ne!(pid(&tools).await, first);
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_nothing_any_more_is_replaced_for_the_next_call() {
    within(async {
        let mut bench = Bench::with("ok");
        bench.limits.ping = Duration::from_millis(200);
        let tools = bench.tools();
        let first = pid(&tools).await;
        let error = call_for(&tools, "block", json!({}), Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(error, ToolError::Timeout { .. }), "{error}");
        assert_ne!(pid(&tools).await, first, "the next call does not wait behind it");
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_takes_only_the_call_that_caused_it() {
    within(async {
        let bench = Bench::with("ok");
        let tools = bench.tools();
        let first = pid(&tools).await;
        let crash = call(&tools, "crash", json!({"wait": true}));
        let queued = async {
            while bench.got("about to crash") == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let others = futures_util::future::join_all((0..8).map(|_| call(&tools, "pid", json!({}))));
            let go = async {
                // the others are on their way by now, and the server is too busy to read them
                fs::write(bench.folder.path().join("go"), "").expect("the folder can be written");
            };
            tokio::join!(others, go).0
        };
        let (crashed, others) = tokio::join!(crash, queued);
        assert!(matches!(crashed, Err(ToolError::Unsure(_))), "{crashed:?}");
        assert_eq!(bench.got("about to crash"), 1, "what may change something is not tried again");
        for other in others {
            let other = other.expect("it is answered by another process");
            assert_ne!(other["text"], first);
        }
        // what only looks is tried once more, and no more than that
        let calls = bench.got("tools/call");
        let error = call(&tools, "drop", json!({})).await.unwrap_err();
        assert!(error.to_string().contains("it ended with exit status 4"), "{error}");
        assert_eq!(bench.got("tools/call"), calls + 2);
        bench.end(&tools).await;
    })
    .await;
}

/// A call that the server has not got is made at another process, whatever it would have done.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hears_nothing_more_costs_no_call() {
    within(async {
        let bench = Bench::with("ok");
        let tools = bench.tools();
        for effect in [("pid", json!({})), ("deaf", json!({}))] {
            let first = pid(&tools).await;
            call(&tools, "deaf", json!({})).await.expect("it answers a last time");
            call(&tools, effect.0, effect.1).await.expect("it is answered by another process");
            assert_ne!(pid(&tools).await, first, "{}", effect.0);
        }
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_is_cancelled() {
    within(async {
        let bench = Bench::with("ok");
        let tools = bench.tools();
        works(&tools).await;
        {
            let hanging = call(&tools, "hang", json!({}));
            tokio::pin!(hanging);
            let sent = async {
                while bench.got("tools/call") < 2 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! { _ = &mut hanging => panic!("it hangs"), () = sent => () }
        }
        wait_for("the cancellation", || (bench.got("notifications/cancelled") == 1).then_some(()));
        works(&tools).await;
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_the_call_open_and_the_server_is_started_again_but_not_for_ever() {
    within(async {
        let mut bench = Bench::with("ok");
        bench.limits.restarts = 2;
        let tools = bench.tools();
        for round in 1..=3 {
            let error = call(&tools, "crash", json!({})).await.unwrap_err();
            assert_eq!(
                error,
                ToolError::Unsure(
                    "tool `s/crash`: its server is gone: it ended with exit status 3; it said: boom; \
                     nobody knows whether the call was carried out"
                        .into()
                )
            );
            assert!(error.may_have_happened());
            assert_eq!(bench.got("tools/call"), round, "it is not tried again");
        }
        let error = call(&tools, "echo", json!({})).await.unwrap_err();
        assert!(!error.may_have_happened());
        let text = error.to_string();
        assert!(text.contains("it failed 3 times within 10m, so it is given up for "), "{text}");
        assert!(text.contains("the last time: it ended with exit status 3; it said: boom"), "{text}");
        assert_eq!(bench.got("initialize"), 3);
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_too_long_for_us() {
    within(async {
        let bench = Bench::with("ok");
        let tools = bench.tools();
        let error = call(&tools, "big", json!({})).await.unwrap_err();
        assert!(!error.may_have_happened(), "it was answered: {error}");
        let text = error.to_string();
        assert!(text.contains("the answer is longer than 4 MiB and was dropped"), "{text}");
        let long = call(&tools, "long", json!({})).await.unwrap();
        assert!(long.to_string().len() <= 256 << 10);
        assert!(long["text"].as_str().unwrap().ends_with(" KiB of 1024 KiB]"));
        assert_eq!(call(&tools, "shout", json!({})).await, Ok(json!({"text": "said"})));
        works(&tools).await;
        assert_eq!(bench.got("initialize"), 1);
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_is_tolerated_up_to_a_point() {
    within(async {
        let bench = Bench::with("ok");
        let tools = bench.tools();
        assert_eq!(call(&tools, "noise", json!({})).await, Ok(json!({"text": "first"})));
        works(&tools).await;
        for _ in 0..5 {
            assert_eq!(call(&tools, "chatty", json!({})).await, Ok(json!({"text": "done"})));
        }
        let error = call(&tools, "garbage", json!({})).await.unwrap_err();
        assert!(matches!(error, ToolError::Unsure(_)), "{error}");
        assert!(error.to_string().contains("it wrote 10000 lines that are not messages"), "{error}");
        assert_eq!(bench.got("initialize"), 1);
        works(&tools).await;
        assert_eq!(bench.got("initialize"), 2);
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_notifications_hurts_nobody() {
    within(async {
        let bench = Bench::with("ok");
        let tools = bench.tools();
        assert_eq!(call(&tools, "flood", json!({})).await, Ok(json!({"text": "flooded"})));
        works(&tools).await;
        assert_eq!(bench.got("tools/list"), 2, "ten thousand changes are one to us");
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_us_is_refused() {
    within(async {
        let bench = Bench::with("ok");
        let tools = bench.tools();
        let given = call(&tools, "ask", json!({})).await.unwrap();
        assert_eq!(given, json!({"text": "[-32601, -32601, -32601, \"answered\"]"}));
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_server() {
    within(async {
        let bench = Bench::with("ok");
        let tools = bench.tools();
        call(&tools, "leave", json!({})).await.unwrap();
        wait_for("both", || (bench.processes().len() == 2).then_some(()));
        bench.end(&tools).await;

        // A crash takes what it had started with it.
        let tools = bench.tools();
        call(&tools, "leave", json!({})).await.unwrap();
        call(&tools, "crash", json!({})).await.unwrap_err();
        wait_for("the end of both", || bench.processes().is_empty().then_some(()));

        let bench = Bench::with("stubborn");
        let tools = bench.tools();
        works(&tools).await;
        let began = Instant::now();
        bench.end(&tools).await;
        assert!(began.elapsed() >= 2 * LIMITS.patience, "it is asked before it is killed");

        // Nobody says stop: the last one who could use it is gone.
        let tools = bench.tools();
        works(&tools).await;
        drop(tools);
        wait_for("the end of it", || bench.processes().is_empty().then_some(()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_uses_is_stopped_and_comes_back() {
    within(async {
        let mut bench = Bench::with("ok");
        bench.limits.idle = Duration::from_millis(100);
        let tools = bench.tools();
        let first = pid(&tools).await;
        wait_for("its end", || bench.processes().is_empty().then_some(()));
        assert_ne!(pid(&tools).await, first);
        // A call that takes longer is no idleness.
        let slow = call_for(&tools, "hang", json!({}), Duration::from_millis(400)).await.unwrap_err();
        assert!(matches!(slow, ToolError::Timeout { .. }), "{slow}");
        bench.end(&tools).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_did_not_change() {
    within(async {
        let mut bench = Bench::with("ok");
        let before = bench.servers(None);
        let early = Tools::with_servers(&bench.fleet, before.clone());
        let first = pid(&early).await;
        bench.spec().allow = Some(names(&["pid"]));
        let after = bench.servers(Some(&before));
        let tools = Tools::with_servers(&bench.fleet, after.clone());
        drop((before, early));
        assert_eq!(pid(&tools).await, first);
        assert!(call(&tools, "echo", json!({})).await.is_err(), "what is allowed did change");
        bench.spec().env.insert("LEVEL".into(), TextOrSecret::Text("high".into()));
        let again = Tools::with_servers(&bench.fleet, bench.servers(Some(&after)));
        let second = pid(&again).await;
        assert_ne!(second, first);
        assert_eq!(pid(&tools).await, first, "runs that go on keep theirs");
        drop((tools, after));
        let only: [u32; 1] = [second.parse().expect("a number")];
        wait_for("the end of the first", || (bench.processes() == only).then_some(()));
        bench.end(&again).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_changed_is_off_until_it_is_trusted() {
    within(async {
        let mut bench = Bench::untrusted("ok");
        let tools = bench.tools();
        let error = tools.servers().trust("s", None).unwrap_err().to_string();
        assert!(error.contains("run `bgagent mcp list` first"), "{error}");
        let listed = tools.servers().list("s", PATIENCE).await.unwrap();
        assert!(listed.iter().all(|tool| tool.pin == PinState::New && !tool.is_usable()));
        assert_eq!(bench.told(), [], "what is seen is not trusted");
        let off = "is off: nobody has trusted it yet; `bgagent mcp trust s` shows what it says of itself, and asks";
        let is_off = |error: ToolError| assert_eq!(error, ToolError::Untrusted(format!("tool `s/echo` {off}")));
        is_off(call(&tools, "echo", json!({})).await.unwrap_err());
        is_off(tools.offers(&names(&["s/echo"]), PATIENCE).await.unwrap_err());
        let none = tools.offers(&names(&["s/ech*"]), PATIENCE).await.unwrap_err();
        assert_eq!(none, ToolError::Untrusted(format!("`s/ech*` gives no tool: the only one, `echo`, {off}")));
        assert_eq!(bench.got("tools/call"), 0);

        // one of them, as it was shown
        let echo = listed.iter().find(|tool| tool.info.name == "s/echo").expect("it is listed");
        let shown = |hash: &str| BTreeMap::from([("s/echo".to_owned(), hash.to_owned())]);
        let error = tools.servers().trust("s", Some(&shown("other"))).unwrap_err().to_string();
        assert!(error.contains("s/echo differently from what was shown"), "{error}");
        assert_eq!(tools.servers().trust("s", Some(&shown(&echo.hash))).unwrap().len(), 1);
        works(&tools).await;
        let offers = tools.offers(&names(&["s/*"]), PATIENCE).await.unwrap();
        assert_eq!(offers.tools.len(), 1);
        let left_out = format!("tool `s/add` is left out: {off}");
        assert!(offers.warnings.contains(&left_out), "{:?}", offers.warnings);
        assert_eq!(tools.servers().trust("s", None).unwrap().len(), listed.len() - 1);
        assert!(bench.told().iter().all(|(event, _)| *event == PinEvent::Trusted));
        // The server says that its list changed, so it is asked before the next call.
        call(&tools, "relabel", json!({})).await.unwrap();
        let off = "tool `s/echo` is off: its description changed since it was trusted; see `bgagent mcp list`, \
                   then `bgagent mcp trust s`";
        assert_eq!(call(&tools, "echo", json!({})).await.unwrap_err().to_string(), off);
        assert_eq!(tools.offers(&names(&["s/echo"]), PATIENCE).await.unwrap_err().to_string(), off);
        assert_eq!(tools.offers(&names(&["s/*"]), PATIENCE).await.unwrap().tools.len(), 22);
        works_not(&tools).await;
        assert_eq!(bench.told(), [(PinEvent::Differs, "echo".into())], "told once");
        bench.end(&tools).await;

        // Another daemon, the same pins.
        let kept: Vec<Pin> = bench.pins.all();
        (bench.pins, bench.changes) = Pins::load(kept);
        let tools = bench.tools();
        works_not(&tools).await;
        let trusted = tools.servers().trust("s", None).unwrap();
        assert_eq!(trusted.len(), 1);
        works(&tools).await;
        let events = [(PinEvent::Differs, "echo".to_owned()), (PinEvent::Trusted, "echo".to_owned())];
        assert_eq!(bench.told(), events);
        bench.end(&tools).await;
    })
    .await;
}

async fn works_not(tools: &Tools) {
    let error = call(tools, "echo", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("is off"), "{error}");
}

/// The server of this test as an HTTP server; its address.
fn http(bench: &Bench) -> (Killed, String) {
    let folder = bench.folder.path();
    let mut child = Command::new(python3())
        .args(["-u".as_ref(), folder.join("server.py").as_os_str(), "http".as_ref(), folder.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let output = child.stdout.take().expect("a pipe");
    let killed = Killed(child);
    let mut port = String::new();
    BufReader::new(output).read_line(&mut port).expect("it says its port");
    (killed, format!("http://127.0.0.1:{}", port.trim()))
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_answer_over_http_too() {
    within(async {
        let mut bench = Bench::with("ok");
        let (server, address) = http(&bench);
        bench.spec().command = None;
        let point = |bench: &mut Bench, path: &str, token: &str| {
            bench.spec().url = Some(format!("{address}{path}"));
            let token = TextOrSecret::Text(format!("Bearer {token}"));
            bench.spec().headers.insert("Authorization".into(), token);
            bench.tools()
        };
        let tools = point(&mut bench, "/mcp", "sesame");
        works(&tools).await;
        let error = call(&tools, "fail", json!({})).await.unwrap_err();
        assert_eq!(error, ToolError::Failed("tool `s/fail`: no such row".into()));
        let refused = point(&mut bench, "/mcp", "abracadabra");
        let error = call(&refused, "echo", json!({})).await.unwrap_err().to_string();
        assert!(error.contains("(HTTP 401)") && !error.contains("abracadabra"), "{error}");
        let moved = point(&mut bench, "/moved", "sesame");
        let error = call(&moved, "echo", json!({})).await.unwrap_err().to_string();
        assert!(error.contains("it can't be started"), "{error}");
        assert_eq!(bench.got("/mcp initialize Bearer sesame"), 1, "a redirect is not followed");
        drop(server);
        let error = call(&tools, "echo", json!({})).await.unwrap_err();
        assert!(!error.may_have_happened(), "it was not sent: {error}");
        assert!(error.to_string().contains("can't connect"), "{error}");
        bench.end(&tools).await;
    })
    .await;
}

/// Whatever form a refusal has, it is an answer at once, and no call that was refused is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_over_http_is_an_answer() {
    within(async {
        let mut bench = Bench::with("ok");
        let (_server, address) = http(&bench);
        bench.spec().command = None;
        let mut ask = async |mode: &str| {
            bench.spec().url = Some(format!("{address}/odd/{mode}"));
            let tools = bench.tools();
            let given = call(&tools, "echo", json!({})).await;
            tools.servers().stop_all().await;
            given
        };
        for mode in ["plain", "other", "events", "mute", "forget404", "forget400"] {
            assert_eq!(ask(mode).await, Ok(json!({"text": "fine"})), "{mode}");
        }
        let refused = [
            ("none", "refused here (HTTP 400)"),
            ("no", "refused here (HTTP 400)"),
            ("foreign", "refused here (HTTP 400)"),
            ("fine", "refused here"),
            ("text", "it refuses the request (HTTP 400): refused here"),
            ("who", "it requires authentication (HTTP 401): refused here"),
            ("not", "it denies access (HTTP 403): refused here"),
            ("often", "it was asked too often (HTTP 429): refused here"),
            ("inside", "it failed (HTTP 500): refused here"),
            ("event", "refused here"),
            ("page", "it does not know our session, nor a new one (HTTP 404)"),
            (
                "lost404",
                "it does not know our session, nor a new one (HTTP 404): Session not found: refused here",
            ),
            ("bare400", "it refuses the request (HTTP 400): the user's session is over"),
            ("bare409", "it refuses the request (HTTP 409): the user's session is over"),
            ("bare410", "it refuses the request (HTTP 410): the user's session is over"),
            ("code400", "it refuses the request (HTTP 400): refused here"),
        ];
        for (mode, says) in refused {
            let says =
                says.replace("refused here (HTTP 400)", "it refuses the request (HTTP 400): refused here");
            assert_eq!(ask(mode).await, Err(ToolError::Failed(format!("tool `s/echo`: {says}"))), "{mode}");
        }
        let open = [
            (
                "lost400",
                "it does not know our session, nor a new one (HTTP 400): Session not found: refused here",
            ),
            ("broken", "it failed (HTTP 500): refused here"),
            ("gateway", "it failed (HTTP 502)"),
            ("taken", "it took the request and gave no answer (HTTP 202)"),
            ("empty", "it took the request and gave no answer (HTTP 200)"),
            ("login", "it answered with text/html that is not a message (HTTP 200): <html>login</html>"),
            ("cut", "the connection was cut off in the middle of the answer"),
        ];
        for (mode, says) in open {
            let text = format!("tool `s/echo`: {says}; nobody knows whether the call was carried out");
            assert_eq!(ask(mode).await, Err(ToolError::Unsure(text)), "{mode}");
        }
    })
    .await;
}

/// What its tool says of a session is no reason to make a call a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_refused_is_made_once() {
    within(async {
        let mut bench = Bench::with("ok");
        let (_server, address) = http(&bench);
        bench.spec().command = None;
        for (mode, calls) in
            [("bare400", 1), ("bare409", 1), ("bare410", 1), ("code400", 1), ("lost400", 2), ("lost404", 2)]
        {
            let asked = format!("/odd/{mode} tools/call None");
            bench.spec().url = Some(format!("{address}/odd/{mode}"));
            let tools = bench.tools();
            call(&tools, "echo", json!({})).await.unwrap_err();
            tools.servers().stop_all().await;
            assert_eq!(bench.got(&asked), calls, "{mode}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_part_or_tool_loses_only_itself() {
    within(async {
        let bench = Bench::with("ok");
        let tools = bench.tools();
        let text = "[video, not known here: {\"type\":\"video\",\"url\":\"x\"}]\n[image, unknown type, 3 bytes, left out]\ntail";
        assert_eq!(call(&tools, "odd", json!({})).await, Ok(json!({"text": text})));
        assert_eq!(call(&tools, "half", json!({})).await, Ok(json!({"text": "cut \u{fffd}"})));
        let error = ToolError::Failed("tool `s/lost`: can't read that".into());
        assert_eq!(call(&tools, "lost", json!({})).await, Err(error));
        assert_eq!(bench.got("initialize"), 1);
        bench.end(&tools).await;
        let bench = Bench::with("odd");
        let tools = bench.tools();
        works(&tools).await;
        let listed = tools.servers().list("s", PATIENCE).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|tool| (tool.info.name.as_str(), tool.info.available)).collect();
        let all = [("s/bad", false), ("s/echo", true), ("s/echo", false), ("s/none", true), ("s/unnamed", false)];
        assert_eq!(listed, all);
        let error = call(&tools, "bad", json!({})).await.unwrap_err().to_string();
        assert_eq!(error, "tool `s/bad` can't be used: its `inputSchema` is not an object but \"x\"");
        bench.end(&tools).await;
    })
    .await;
}

/// Against the official SDK, where it is installed.
#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdk_is_understood() {
    let there = Command::new(python3()).args(["-c", "import mcp"]).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        println!("skipped: there is no Python package `mcp` here");
        return;
    }
    within(async {
        let mut bench = Bench::with("ok");
        let script = bench.folder.path().join("sdk.py");
        let text = "\
try:
    from mcp.server.mcpserver import MCPServer
except ImportError:
    from mcp.server.fastmcp import FastMCP as MCPServer
from mcp.types import ToolAnnotations
server = MCPServer('t')
@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def echo(text: str) -> str:
    return text
server.run()
";
        fs::write(&script, text).unwrap();
        let script = script.to_str().expect("UTF-8").to_owned();
        bench.spec().command = Some(vec![python3().into(), script]);
        let tools = bench.tools();
        let given = call(&tools, "echo", json!({"text": "hello"})).await.unwrap();
        assert!(given.to_string().contains("hello"), "{given}");
        bench.end(&tools).await;
    })
    .await;
}
