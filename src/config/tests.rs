//! Good and bad files.
mod cases;
mod follow_ups;
mod identity;
mod judged;
mod redis;
mod rights;
mod risk;
mod runners;
mod store;
mod telemetry;

use super::*;
use crate::domain::{
    Body, Effect, FallbackOn, FeedArgs, FeedLogin, History, HostPattern, HttpMethod, HttpSettings,
    MetricsArgs, ProbeTarget, SecretRef, TextOrSecret, ToolSettings,
};
use jiff::SignedDuration;
use jiff::tz::TimeZone;

fn read(text: &str) -> Result<Loaded, Box<Rejected>> {
    read_with(text, &|name| (name == "DATA").then(|| "/data".to_owned()))
}

fn read_with(text: &str, env: &(dyn Fn(&str) -> Option<String> + Sync)) -> Result<Loaded, Box<Rejected>> {
    let context = Context {
        now: "2026-06-01T12:00:00Z".parse().unwrap(),
        timezone: TimeZone::UTC,
        home: "/home/u".into(),
        env,
        state_dir: Some("/home/u/.local/state/bgagent".into()),
        own: None,
        real: &|path| Ok(path.to_owned()),
        look: &|path| {
            let path = path.to_str().unwrap_or_default();
            let kind = match path {
                path if path.contains("/nowhere")
                    || (path.ends_with("/.git") && !path.contains("checkout"))
                    || (["/HEAD", "/commondir", "/objects", "/refs"]
                        .iter()
                        .any(|end| path.ends_with(end))
                        && !path.contains("mirror")) =>
                {
                    return Err(std::io::ErrorKind::NotFound.into());
                }
                path if [".txt", ".db", "token", ".pem"].iter().any(|end| path.ends_with(end)) => Entry::File,
                path if path.contains("/bin/") || path.ends_with(".sh") => Entry::Program,
                _ => Entry::Folder,
            };
            Ok(Found { kind, others: path.ends_with(".pem") })
        },
    };
    parse(text.to_owned(), Path::new("/etc/bgagent/agents.toml"), &context)
}

#[test]
fn the_starter_is_valid_and_ready() {
    let loaded = read(STARTER).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
    assert_eq!(loaded.warnings, []);
    assert!(loaded.fleet.agents.len() >= 4);
}

#[test]
fn the_reference_lists_the_events_that_start_an_agent() {
    let said = markdown();
    for event in crate::domain::EventType::TRIGGERS {
        assert!(said.contains(&format!(" {event} ")), "{event}");
    }
}

#[test]
fn what_is_there_twice_is_one_error_that_names_it() {
    let twice = |text: &str| -> Vec<(u32, String)> {
        let diagnostics = read(text).expect_err("it is refused").diagnostics;
        diagnostics.into_iter().map(|one| (one.line, one.message)).collect()
    };
    let found = twice(
        "[agents.x]\ncommand = \"a\"\n[agents.y]\ncommand = \"a\"\n[ agents.x ] # again\ncommand = \"b\"\ntimeout = 5\n\
         [agents.z]\ncommand = \"a\"\ncommand = \"b\"\n",
    );
    assert_eq!(
        found,
        [
            (5, "duplicate table [agents.x]; the first is in line 1".to_owned()),
            (10, "duplicate key `command`; the first is in line 9".to_owned()),
        ]
    );
}

/// Each is refused at this line, with this in its message or hint.
#[test]
fn what_the_starter_has_to_copy_works_too() {
    // Comments that hold keys or tables begin with one space; those for people do too, and hold none.
    let code = |line: &str| {
        let line = line.strip_prefix("# ").unwrap_or_default();
        let key = line
            .split_once(" = ")
            .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        key || line.starts_with(['[', ']']) || line.starts_with("  {") || line.starts_with("  \"")
    };
    let plain = |line: &str| if code(line) { line[2..].to_owned() } else { line.to_owned() };
    let text: String = super::STARTER.lines().map(|line| plain(line) + "\n").collect();
    let loaded = read(&text).unwrap_or_else(|rejected| panic!("{:?}\n{text}", rejected.diagnostics));
    for agent in ["fleet", "doctor", "backup", "after-backup", "system-health"] {
        assert!(loaded.fleet.agent(agent).is_some(), "{agent}");
    }
}

#[test]
fn all_errors_are_found_in_one_go() {
    let rejected =
        read("[agents.a]\nintervall = 1\n[agents.b]\ncommand = 3\n[agents.c]\ncron = \"x\"\ncommand = \"x\"")
            .unwrap_err();
    let lines: Vec<u32> = rejected.diagnostics.iter().map(|found| found.line).collect();
    assert_eq!(lines, [1, 2, 4, 6]);
}

#[test]
fn a_probe_may_keep_what_changes_only() {
    let text = "[tools.checks]\ntype = \"probe\"\nchecks = [{ type = \"load\" }]\n\
        [agents.a]\ninterval = 60\ntool = \"probe\"\nargs = { checks = [{ type = \"load\" }] }\nhistory = \"changes\"\n\
        [agents.b]\ninterval = 60\ntool = \"checks\"\nhistory = \"changes\"\n\
        [agents.c]\ninterval = 60\ntool = \"checks\"\nhistory = \"all\"\n\
        [agents.d]\ninterval = 60\ntool = \"checks\"\n";
    let loaded = read(text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
    assert_eq!(loaded.warnings, []);
    let kept: Vec<History> = loaded.fleet.agents.iter().map(|agent| agent.history).collect();
    assert_eq!(kept, [History::Changes, History::Changes, History::All, History::All]);
}

#[test]
fn servers_are_resolved() {
    let agent = "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nmodel = \"m\"\nquery = \"x\"\n\
        tools = [\"s/get_all\", \"s/get_it\", \"s/p*\", \"t/*\"]\nsinks = [\"s/put\"]\n";
    let servers = "[mcp.s]\ncommand = [\"s\"]\ncwd = \"${DATA}/s\"\nstart_timeout = \"2m\"\n\
        allow = [\"get_a*\", \"get it\", \"put\"]\ndeny = [\"*_drop\"]\neffects = { get_it = \"read\", put = \"send\" }\n[mcp.t]\ncommand = [\"t\"]\n";
    let loaded =
        read(&format!("{agent}{servers}")).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
    assert!(!loaded.warnings.iter().any(|found| found.message.contains("no tool")), "{:?}", loaded.warnings);
    let (s, t) = (&loaded.fleet.mcp["s"], &loaded.fleet.mcp["t"]);
    assert_eq!(s.cwd.as_deref(), Some(Path::new("/data/s")));
    assert_eq!(
        (s.start_timeout, t.start_timeout),
        (SignedDuration::from_mins(2), SignedDuration::from_secs(60))
    );
    assert_eq!(s.deny, ["*_drop"]);
    assert_eq!((t.cwd.as_ref(), t.deny.len(), t.effects.len()), (None, 0, 0));
    let classes: Vec<_> = s.effects.iter().map(|(tool, word)| (tool.as_str(), word.class())).collect();
    assert_eq!(classes, [("get_it", Effect::Read), ("put", Effect::Effect)]);
    for (wrong, told, hint) in [
        ("{ put = \"writ\" }", "`put` can't be \"writ\"", "use one of read, idempotent, effect, send"),
        ("{ put = \"red\" }", "`put` can't be \"red\"", "did you mean \"read\"?"),
        ("{ put = true }", "`put` must be a text", ""),
        ("[\"put\"]", "`effects` must be a table", ""),
    ] {
        let rejected = read(&format!("[mcp.s]\ncommand = [\"s\"]\neffects = {wrong}")).unwrap_err();
        let found = &rejected.diagnostics[0];
        assert!(found.message.starts_with(told), "{found:?}");
        assert_eq!((found.line, found.hint.as_deref().unwrap_or_default()), (3, hint));
    }
    assert!(read("[mcp.s]\ncommand = [\"s\"]\nstart_timeout = 0").is_err());
}

#[test]
fn settings_of_tools_are_resolved() {
    let text = r#"
[tools.web]
type = "http"
hosts = ["API.example.org", "*.example.net:8443"]
allow_private = ["[::1]:8080", "nas.local", "nas.lan=10.1.2.0/24"]
methods = ["POST", "GET", "GET"]
headers = { Authorization = { file = "token" }, X-Plain = "yes" }
max_bytes = "2MiB"
https_only = true
"#;
    let loaded = read(text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
    let tool = &loaded.fleet.tools["web"];
    assert_eq!(tool.kind, crate::domain::ToolKind::Http);
    let hosts =
        |texts: &[&str]| texts.iter().map(|text| HostPattern::parse(text).unwrap()).collect::<Vec<_>>();
    let token = TextOrSecret::Secret(SecretRef::File("/etc/bgagent/token".into()));
    assert_eq!(
        tool.settings,
        ToolSettings::Http(HttpSettings {
            hosts: hosts(&["api.example.org", "*.example.net:8443"]),
            allow_private: ["[::1]:8080", "nas.local", "nas.lan=10.1.2.0/24"]
                .map(|host| crate::domain::PrivateHost::parse(host).unwrap())
                .into(),
            methods: vec![HttpMethod::Get, HttpMethod::Post],
            headers: [("Authorization".into(), token), ("X-Plain".into(), TextOrSecret::Text("yes".into()))]
                .into(),
            max_bytes: 2 << 20,
            https_only: true,
        })
    );
    let wrong =
        read("[tools.web]\ntype = \"http\"\nhosts = [\"a.example\"]\nmax_bytes = \"many\"").unwrap_err();
    assert_eq!(wrong.diagnostics.len(), 1, "a mistake is reported once: {:?}", wrong.diagnostics);
    // A private host alone is enough.
    assert!(read("[tools.nas]\ntype = \"http\"\nallow_private = [\"nas.local\"]").is_ok());
}

/// The contract's own example, with what its references need.
#[test]
fn every_key_of_the_contract_is_known() {
    let text = r#"
[daemon]
timezone = "Europe/Berlin"
max_parallel_runs = 64
shutdown_grace = "30s"
reload = "watch"
retention = { runs = "90d", events = "90d", transcripts = "30d", output = "30d", max_db_size = "2GiB" }
[models.main]
provider = "openai"
model = "gpt-4o-mini"
base_url = "http://127.0.0.1:8080/v1"
api_key = { env = "OPENAI_API_KEY" }
request_timeout = "60s"
max_output_tokens = 2048
temperature = 0.2
price = { input = 0.15, cached_input = 0.075, output = 0.60 }
fallback = ["local"]
max_parallel_requests = 8
requests_per_minute = 60
[models.local]
provider = "ollama"
model = "x"
price = { input = 0, output = 0 }
[mcp.github]
command = ["github-mcp-server", "stdio"]
env = { GITHUB_TOKEN = { env = "GITHUB_TOKEN" } }
allow = ["search_issues"]
[tools.app_db]
type = "sql"
url = "sqlite:///var/lib/app/app.db"
mode = "read_only"
[notify.ops]
type = "webhook"
url = { env = "OPS_WEBHOOK" }
[budget]
usd_per_day = 2.0
usd_per_month = 30.0
tokens_per_day = 2_000_000
requests_per_day = 5_000
warn_at = 0.8
[defaults]
timeout = "10m"
[agents.system-health]
description = "Disk, memory and services"
interval = 60
timezone = "Europe/Berlin"
jitter = "5s"
first_run = "now"
catch_up = { policy = "all", max = 10, max_age = "24h", spread = "5m" }
overlap = "skip"
enabled = true
query = "Check disk, memory and services."
system_instruction = "You are a careful operator."
model = "main"
tools = ["system_metrics", "app_db", "github/search_issues"]
env = { LEVEL = "warn" }
cwd = "."
stdin = "text"
timeout = "10m"
total_timeout = "30m"
tool_call_timeout = "30s"
request_limit = 20
total_tokens_limit = 100_000
max_steps = 30
max_usd_per_run = 0.10
usd_per_day = 0.50
tokens_per_day = 200_000
requests_per_day = 500
retry = { max = 2, backoff = "exponential", initial = "10s", max_delay = "5m" }
circuit_breaker = { open_after = 5, cooldown = "1h" }
lock = "app-db"
max_output = "1MiB"
memory = { mode = "session", max_tokens = 8000 }
session_id = "health"
gate = { tool = "feed", args = { urls = ["https://example.org/feed.xml"] }, novel_by = ["link"] }
success_when = [ { tool = "app_db", args = { sql = "x" }, expect = { rows = { gte = 1 } } } ]
notify = { to = ["ops"], on = ["failed", "recovered", "circuit_opened", "budget_exhausted", "missed", "incident_opened", "incident_resolved", "approval_requested"], repeat = "6h" }
approval = "deny"
"#;
    let loaded = read(text).unwrap_or_else(|rejected| {
        panic!("{}", render(&rejected.diagnostics, &rejected.shown, &rejected.path, false))
    });
    let agent = loaded.fleet.agent("system-health").unwrap();
    assert_eq!(agent.limits.timeout, SignedDuration::from_mins(10));
    assert_eq!(loaded.fleet.daemon.retention.max_db_size, 2 << 30);
}

#[test]
fn paths_and_defaults_are_resolved() {
    let loaded = read("[defaults]\ntimeout = 5\n[agents.a]\ncommand = [\"x\"]\ncwd = \"${DATA}/y\"\n[agents.b]\ncommand = \"y z\"\ntimeout = 7").unwrap();
    let [a, b] = &loaded.fleet.agents[..] else { panic!("two agents") };
    let crate::domain::Body::Command(command) = &a.body else { panic!("a command") };
    assert_eq!(command.cwd, Path::new("/data/y"));
    let crate::domain::Body::Command(command) = &b.body else { panic!("a command") };
    assert_eq!(
        (command.argv.join(" "), command.cwd.as_path()),
        ("/bin/sh -c y z".into(), Path::new("/etc/bgagent"))
    );
    assert_eq!(
        [a.limits.timeout, b.limits.timeout],
        [SignedDuration::from_secs(5), SignedDuration::from_secs(7)]
    );
}

#[test]
fn odd_texts_are_rendered_with_their_place() {
    let rejected = read("# 🙂🙂\r\n[agents.a]\r\n\tintervall = \"🙂\"\r\ncommand = \"x\"").unwrap_err();
    assert_eq!((rejected.diagnostics[0].line, rejected.diagnostics[0].column), (3, 2));
    let shown = render(&rejected.diagnostics, &rejected.shown, Path::new("a.toml"), false);
    assert!(shown.contains("a.toml:3:2") && shown.contains("did you mean `interval`?"), "{shown}");
    for text in ["", "\n", "[", "a", "=", "[agents"] {
        if let Err(rejected) = read(text) {
            render(&rejected.diagnostics, &rejected.shown, Path::new("a.toml"), false);
        }
    }
}

#[test]
fn many_agents_are_read_quickly() {
    use std::fmt::Write;
    let mut text = String::new();
    for n in 0..20_000 {
        write!(text, "[agents.a{n}]\ninterval = 3600\ncommand = [\"true\"]\n").unwrap();
    }
    let began = crate::testing::worked();
    assert_eq!(read(&text).unwrap().fleet.agents.len(), 20_000);
    let took = crate::testing::worked() - began;
    assert!(took < std::time::Duration::from_secs(60), "{took:?}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]

    /// Whatever is cut out of or put into a good file: an answer, never a panic.
    #[test]
    fn mutated_files_never_panic(at in 0usize..4000, cut in 0usize..40, put in "[a-z\\[\\]{}=\",.#0-9 \n🙂]{0,12}") {
        let mut text = STARTER.to_owned();
        let from = text.floor_char_boundary(at.min(text.len()));
        let to = text.ceil_char_boundary((from + cut).min(text.len()));
        text.replace_range(from..to, &put);
        if let Err(rejected) = read(&text) {
            render(&rejected.diagnostics, &rejected.shown, &rejected.path, false);
        }
    }
}

#[test]
fn all_that_is_wrong_with_an_agent_is_told_at_once_and_defaults_once() {
    let lines = |text: &str| {
        let rejected = read(text).expect_err(text);
        rejected.diagnostics.iter().filter(|one| one.is_error).map(|one| one.line).collect::<Vec<_>>()
    };
    let agent = "[agents.a]\ncron = \"61 * * * *\"\ntimezone = \"Mars/Olympus\"\n\
        notify = { to = [7, \"ops\"], on = [\"faild\"] }\nretry = 3\n";
    assert_eq!(lines(agent), [1, 2, 3, 4, 4, 4, 5]);
    let query = "[agents.a]\nquery = \"x\"\nmemory = \"all\"\ntools = [\"prob\"]\njitter = \"x\"\n";
    assert_eq!(lines(query), [2, 3, 4, 5]);
    let defaults =
        "[defaults]\ntimeout = \"soon\"\n[agents.a]\ncommand = \"x\"\n[agents.b]\ncommand = \"x\"\n";
    assert_eq!(lines(defaults), [2]);
}

#[test]
fn a_guard_means_tools_that_are_there() {
    let text = |keys: &str| {
        format!(
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[mcp.s]\ncommand = \"s\"\n[tools.sh]\ntype = \"shell\"\n\
             commands = {{ a = {{ exec = \"/bin/a\" }} }}\n[defaults]\nsinks = [\"recall\"]\n\
             [agents.b]\nquery = \"x\"\nmodel = \"m\"\ntools = [\"recall\"]\n\
             [agents.a]\nquery = \"x\"\nmodel = \"m\"\ntools = [\"sh\", \"s/*\"]\n{keys}"
        )
    };
    let loaded = read(&text("approve = [\"shell\", \"s/put\", \"s*\"]")).unwrap();
    let crate::domain::Body::Query(query) = &loaded.fleet.agents[0].body else { panic!("a query") };
    assert_eq!(query.approve, ["shell", "s/put", "s*", "sh"]);
    assert_eq!(query.sinks, ["recall"]);
    let rejected =
        read(&text("").replace("[\"recall\"]\n[agents.b]", "[\"recal\"]\n[agents.b]")).unwrap_err();
    assert!(
        rejected.diagnostics[0].message.contains("not among the `tools` of any agent"),
        "{:?}",
        rejected.diagnostics
    );
    assert_eq!(rejected.diagnostics.len(), 1);
}

#[test]
fn logins_paces_and_checks_are_resolved() {
    let text = r#"
[tools.news]
type = "feed"
urls = ["https://a.example/f"]
sources = [{ url = "https://b.example/f", username = "me", password = { env = "P" } }]
[notify.chat]
type = "webhook"
url = "https://chat.example/hook"
[notify.slow]
type = "desktop"
per_minute = 2
[notify.log]
type = "file"
path = "log"
[agents.a]
tool = "probe"
args = { checks = [{ type = "http", url = "https://a.example/", method = "POST", headers = { X-Key = { env = "K" } }, not_contains = "down", tls_days = 14 }, { type = "disk", path = "/data", mounted = true }] }
"#;
    let fleet = read(text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet;
    let ToolSettings::Feed(news) = &fleet.tools["news"].settings else { panic!("a feed") };
    let urls = ["https://a.example/f", "https://b.example/f"].map(str::to_owned).to_vec();
    assert_eq!(news.fixed, FeedArgs { urls: Some(urls), ..FeedArgs::default() });
    let login = FeedLogin { username: TextOrSecret::Text("me".into()), password: SecretRef::Env("P".into()) };
    assert_eq!(news.logins, [("https://b.example/f".to_owned(), login)].into());
    let pace = |name: &str| fleet.notify[name].per_minute;
    assert_eq!([pace("chat"), pace("slow"), pace("log")], [Some(10), Some(2), None]);
    let Body::Tool(call) = &fleet.agents[0].body else { panic!("a tool") };
    let [web, disk] = &call.args["checks"].as_array().expect("checks")[..] else { panic!("two") };
    assert_eq!(
        *web,
        serde_json::json!({
            "type": "http", "url": "https://a.example/", "method": "POST", "headers": {"X-Key": {"env": "K"}},
            "not_contains": "down", "tls_days": 14,
        })
    );
    assert_eq!(disk["mounted"], true);
}

#[test]
fn a_table_of_a_tool_is_judged_when_it_is_read() {
    let tool = |keys: &str| format!("[tools.t]\n{keys}\n[agents.a]\ncommand = \"true\"\ncwd = \"/tmp\"\n");
    let settings = |keys: &str| {
        let loaded = read(&tool(keys)).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
        loaded.fleet.tools["t"].settings.clone()
    };
    let ToolSettings::Probe(Some(probe)) = settings(
        "type = \"probe\"\nchecks = [{ type = \"disk\", path = \"/data\", for = \"5m\", warn = 70 }]",
    ) else {
        panic!("a probe with checks")
    };
    let [check] = &probe.checks[..] else { panic!("one") };
    let target = ProbeTarget::Disk { path: "/data".into(), metric: None, mounted: None };
    assert_eq!((&check.target, check.warn, check.crit), (&target, Some(70.0), None));
    assert_eq!(check.hold_for, Some(SignedDuration::from_mins(5)));
    assert_eq!(settings("type = \"probe\""), ToolSettings::Probe(None));
    assert_eq!(
        settings("type = \"system_metrics\"\ntop = 3"),
        ToolSettings::SystemMetrics(MetricsArgs { top: Some(3), disks: None })
    );
    for (keys, part) in [
        ("type = \"probe\"\nchecks = []", "`checks` is empty"),
        ("type = \"probe\"\nchecks = [{ type = \"disk\" }]", "needs `path`"),
        ("type = \"probe\"\nchecks = [{ type = \"memory\", port = 1 }]", "`port` is not for a check"),
        ("type = \"probe\"\nchecks = [{ type = \"tcp\", host = \"\", port = 1 }]", "`host` is empty"),
        ("type = \"probe\"\nchecks = [{ type = \"load\", timeout = 0 }]", "greater than 0"),
        (
            "type = \"probe\"\nchecks = [{ type = \"systemd\", unit = \"x\", warn = 1 }]",
            "`warn` is not for a check",
        ),
        ("type = \"probe\"\ncheck = []", "unknown key `check`"),
        ("type = \"system_metrics\"\ntop = 51", "`top` is at most 50"),
    ] {
        let rejected = read(&tool(keys)).expect_err(keys);
        assert!(rejected.diagnostics[0].message.contains(part), "{keys}: {:?}", rejected.diagnostics);
    }
    let loaded = read(&tool("type = \"report\"\nsilent = true")).unwrap();
    assert_eq!(
        loaded.warnings[0].message,
        "`silent` has no effect: a tool of type \"report\" has no settings"
    );
}

#[test]
fn parameters_of_requests_are_checked() {
    let model = |provider: &str, keys: &str| {
        format!(
            "[models.m]\nprovider = \"{provider}\"\nmodel = \"x\"\n{keys}\n[agents.a]\nquery = \"q\"\nmodel = \"m\"\n"
        )
    };
    for (provider, keys, wrong) in [
        ("openai", "params = { stream = true }", "`params` can't have `stream`"),
        ("openai", "params = { max_tokens = 9 }", "`params` can't have `max_tokens`"),
        ("openai", "params = { n = 2 }", "`params` can't have `n`"),
        (
            "gemini",
            "params = { generationConfig = { maxOutputTokens = 9 } }",
            "`generationConfig.maxOutputTokens`",
        ),
        ("openai", "params = 7", "`params` must be"),
        ("openai", "num_ctx = 4096", "`num_ctx` is for provider = \"ollama\""),
        ("openai", "cache = true", "`cache` is for provider = \"anthropic\""),
        ("openai", "reasoning_effort = \"hard\"", "`reasoning_effort` can't be \"hard\""),
        ("openai", "fallback_on = [\"credits\"]", "can't be \"credits\""),
    ] {
        let rejected = read(&model(provider, keys)).err().unwrap_or_else(|| panic!("{keys} is taken"));
        let errors: Vec<&str> = rejected.diagnostics.iter().map(|found| found.message.as_str()).collect();
        assert!(errors.iter().any(|error| error.contains(wrong)), "{keys}: {errors:?}");
    }
    let keys = "params = { seed = 7, provider = { sort = \"price\" } }\nprice = { input = 2, output = 4 }\n\
                fallback_on = [\"missing\", \"credit\"]\ntop_p = 0.5\nreasoning_effort = \"low\"\ncache = true";
    let loaded =
        read(&model("anthropic", keys)).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
    let warned =
        loaded.warnings.iter().any(|one| one.message == "`fallback_on` has no effect without `fallback`");
    assert!(warned, "{:?}", loaded.warnings);
    let model = &loaded.fleet.models["m"];
    assert_eq!(model.settings.params["provider"]["sort"], "price");
    assert_eq!(model.fallback_on, [FallbackOn::Missing, FallbackOn::Credit]);
    assert_eq!(model.price.map(|price| (price.cached_input, price.cache_write)), Some((2.0, 2.5)));
}

#[test]
fn models_that_think_may_say_more() {
    let most = |name: &str, keys: &str| {
        let text = format!(
            "[models.m]\nprovider = \"openai\"\nmodel = \"{name}\"\n{keys}\n[agents.a]\nquery = \"q\"\nmodel = \"m\"\n"
        );
        let loaded = read(&text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
        loaded.fleet.models["m"].max_output_tokens
    };
    for name in [
        "o3-mini",
        "gpt-5",
        "openai/gpt-oss-20b",
        "deepseek-reasoner",
        "DeepSeek-R1",
        "qwen3:8b",
        "gemini-2.5-pro",
    ] {
        assert_eq!(most(name, ""), 16_384, "{name}");
    }
    for name in ["gpt-4o-mini", "llama3.1", "mistral-large", "claude-haiku-4-5"] {
        assert_eq!(most(name, ""), 2048, "{name}");
        assert_eq!(most(name, "reasoning_effort = \"high\""), 16_384, "{name}");
    }
    assert_eq!(most("o3", "max_output_tokens = 500"), 500);
}

#[test]
fn what_is_said_of_a_file_as_a_whole_has_no_gutter() {
    let one = Diagnostic::of_file("it is gone".into(), Some("put it back".into()));
    assert_eq!(render(&[one], "", Path::new("x"), false), "error: it is gone\nhelp: put it back\n");
}
