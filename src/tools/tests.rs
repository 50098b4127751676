//! Tests of the dispatcher and of `system_metrics`.
use super::*;
use crate::blocking;
use crate::domain::{
    Finding, FoundBy, MAX_TOOL_RESULT_BYTES, McpSpec, MetricsArgs, SandboxSetting, SqlSettings, TextOrSecret,
    ToolKind, ToolMode, ToolSettings, ToolSpec,
};
use serde_json::json;
use std::time::Instant;

mod schemas;

fn fleet() -> Fleet {
    let mut fleet = Fleet::empty("/agents.toml".into());
    let app_db = SqlSettings {
        mode: ToolMode::ReadWrite,
        ..SqlSettings::of(TextOrSecret::Text("sqlite:///x".into()))
    };
    fleet
        .tools
        .insert("app_db".into(), ToolSpec { kind: ToolKind::Sql, settings: ToolSettings::Sql(Some(app_db)) });
    let small = ToolSettings::SystemMetrics(MetricsArgs { top: Some(0), disks: None });
    fleet.tools.insert("small".into(), ToolSpec { kind: ToolKind::SystemMetrics, settings: small });
    let server = McpSpec {
        command: None,
        url: None,
        headers: BTreeMap::new(),
        env: BTreeMap::new(),
        cwd: None,
        start_timeout: McpSpec::START_TIMEOUT,
        allow: None,
        deny: Vec::new(),
        sandbox: SandboxSetting::Off,
        effects: BTreeMap::new(),
    };
    fleet.mcp.insert("github".into(), server);
    fleet
}

async fn call(name: &str, args: Value) -> Result<ToolOutput, ToolError> {
    Tools::new(&fleet()).call(name, &args, &CallContext::default()).await
}

#[test]
fn lists_what_there_is() {
    let list = Tools::new(&fleet()).list();
    let names: Vec<_> = list.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "app_db",
            "archive_rows",
            "feed",
            "files",
            "http",
            "probe",
            "recall",
            "remember",
            "report",
            "s3",
            "shell",
            "small",
            "sql",
            "system_metrics",
        ]
    );
    for tool in &list {
        assert!(tool.available, "{}", tool.name);
        assert!(tool.description.ends_with('.'), "{}", tool.description);
        assert_eq!(tool.schema["type"], "object", "{}", tool.name);
    }
    let find = |name: &str| list.iter().find(|tool| tool.name == name).unwrap();
    assert_eq!(find("app_db").kind.as_deref(), Some("sql"));
    assert_eq!(find("app_db").effect, Effect::Effect);
    assert_eq!(find("probe").kind, None);
    assert_eq!(find("archive_rows").effect, Effect::Idempotent);
    assert!(find("small").schema["properties"].get("top").is_none());
}

#[tokio::test]
async fn says_why_there_is_no_such_call() {
    let unknown = |text: &str| ToolError::Unknown(text.into());
    let arguments = |text: &str| ToolError::Arguments(text.into());
    for (name, args, error) in [
        ("prob", json!({}), unknown("there is no tool `prob`; did you mean `probe`?")),
        ("xyzzy", json!({}), unknown("there is no tool `xyzzy`; `bgagent tool list` shows all")),
        (
            "gitlab/search",
            json!({}),
            unknown("there is no tool `gitlab/search`; `bgagent tool list` shows all"),
        ),
        (
            "github/search",
            json!({}),
            ToolError::Failed(
                "MCP server `github`: it can't be started: it has neither `command` nor `url`".into(),
            ),
        ),
        ("probe", json!(null), arguments("tool `probe`: `checks` is missing")),
        (
            "system_metrics",
            json!({"top": 51}),
            arguments("tool `system_metrics`: `top` must be at most 50, not 51"),
        ),
        (
            "small",
            json!({"top": 3}),
            arguments("tool `small`: the arguments can't have `top`; it can have disks"),
        ),
    ] {
        assert_eq!(call(name, args).await.unwrap_err(), error, "{name}");
    }
}

async fn bounded(
    bound: Duration,
    tool: impl Future<Output = Result<ToolOutput, ToolError>> + Send + 'static,
) -> Result<ToolOutput, ToolError> {
    dispatch::bounded("some", Effect::Read, bound, tool).await
}

fn output(result: Value) -> Result<ToolOutput, ToolError> {
    Ok(ToolOutput::of(result))
}

#[tokio::test]
async fn a_call_is_bounded() {
    let minute = Duration::from_secs(60);
    let started = Instant::now();
    let (sign, mut life) = tokio::sync::mpsc::channel::<()>(1);
    let hangs = async move {
        let _sign = sign;
        std::future::pending().await
    };
    let error = bounded(Duration::from_millis(100), hangs).await.unwrap_err();
    assert_eq!(error, ToolError::Timeout { tool: "some".into(), secs: 1 });
    assert!(started.elapsed() < crate::testing::SOON);
    // The call itself has ended too.
    assert_eq!(tokio::time::timeout(minute, life.recv()).await, Ok(None));

    let panics = async {
        assert!(std::hint::black_box(false), "the sky fell");
        output(json!(null))
    };
    let error = bounded(minute, panics).await.unwrap_err();
    assert_eq!(error, ToolError::Failed("internal error in tool `some`: the sky fell".into()));

    let fits = "x".repeat(MAX_TOOL_RESULT_BYTES - 2);
    assert!(bounded(minute, async move { output(json!(fits)) }).await.is_ok());
    let too_long = "x".repeat(MAX_TOOL_RESULT_BYTES - 1);
    let error = bounded(minute, async move { output(json!(too_long)) }).await.unwrap_err();
    assert_eq!(
        error,
        ToolError::Failed(
            "the result of tool `some` has 257 KiB, and 256 KiB are the most: ask for less".into()
        )
    );
}

/// Whoever is told that such a call failed makes it again.
#[tokio::test]
async fn what_a_call_may_have_done_is_not_told_as_a_failure() {
    let minute = Duration::from_secs(60);
    let panics = async {
        assert!(std::hint::black_box(false), "the sky fell");
        output(json!(null))
    };
    let error = dispatch::bounded("some", Effect::Effect, minute, panics).await.unwrap_err();
    assert!(error.may_have_happened() && error.to_string().contains("the sky fell"), "{error:?}");

    let too_long = "x".repeat(MAX_TOOL_RESULT_BYTES);
    let given = dispatch::bounded("some", Effect::Effect, minute, async move { output(json!(too_long)) });
    let note = given.await.unwrap().result["note"].as_str().unwrap().to_owned();
    assert!(note.contains("was carried out") && note.contains("257 KiB"), "{note}");
}

/// Of each tool: whether what it gives comes from outside, whether it is private, and whether anything leaves with a call.
#[test]
fn it_is_known_of_each_tool_what_it_gives_and_what_it_sends_out() {
    let tools = Tools::new(&Fleet::empty("/agents.toml".into()));
    for (kind, untrusted, private, sends) in [
        (ToolKind::SystemMetrics, true, false, false),
        (ToolKind::Probe, true, false, true),
        (ToolKind::Http, true, false, true),
        (ToolKind::Feed, true, false, true),
        (ToolKind::Sql, true, true, false),
        (ToolKind::ArchiveRows, true, false, true),
        (ToolKind::Files, true, true, false),
        (ToolKind::S3, true, false, true),
        (ToolKind::Shell, true, false, false),
        (ToolKind::Remember, false, false, false),
        // what it gives says itself whether it comes from outside
        (ToolKind::Recall, false, true, false),
        (ToolKind::Report, true, false, false),
    ] {
        let offer = tools.find(kind.as_str()).unwrap().offer();
        let found = (offer.untrusted, offer.private, !offer.outward.is_nothing());
        assert_eq!(found, (untrusted, private, sends), "{kind}");
        assert_eq!(tools.is_untrusted(kind.as_str()), untrusted, "{kind}");
    }
}

#[tokio::test]
async fn no_secret_is_in_what_a_call_gives() {
    use crate::domain::{Level, TextOrSecret};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "dispatch-canary-1").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let minute = Duration::from_secs(60);
    let named = TextOrSecret::from_json(&json!({"file": file.to_str().unwrap()})).unwrap();
    let _secret = crate::secret::value_of(&named, minute).await.unwrap();
    let said = || "it said dispatch-canary-1".to_owned();
    let finding = || Finding {
        key: said(),
        level: Level::Warn,
        title: said(),
        hold_for: jiff::SignedDuration::ZERO,
        by: FoundBy::Check,
    };
    let result = json!([{"dispatch-canary-1": said()}]);
    let found = ToolOutput { findings: vec![finding()], ..ToolOutput::of(result) };
    for given in [
        Ok(found),
        Err(ToolError::Failed(said())),
        Err(ToolError::Arguments(said())),
        Err(ToolError::Unsure(said())),
    ] {
        let given = format!("{:?}", bounded(minute, async move { given }).await);
        assert!(given.contains("[redacted]") && !given.contains("canary"), "{given}");
    }
}

#[tokio::test]
async fn the_time_of_the_context_holds() {
    let context = CallContext { timeout: Some(Duration::from_millis(1)), ..CallContext::default() };
    let error = Tools::new(&fleet()).call("system_metrics", &json!({}), &context).await.unwrap_err();
    assert_eq!(error, ToolError::Timeout { tool: "system_metrics".into(), secs: 1 });
}

#[tokio::test]
async fn system_metrics_are_sane() {
    let output = call("system_metrics", json!({"top": 3})).await.unwrap();
    assert_eq!(output.findings, []);
    let result = &output.result;
    let number = |pointer: &str| {
        result.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}: {result}"))
    };
    let percent = |pointer: &str| assert!((0.0..=100.0).contains(&number(pointer)), "{pointer}: {result}");
    assert!(number("/cpu/cores") >= 1.0);
    assert!(number("/uptime_s") > 0.0);
    percent("/cpu/usage_percent");
    percent("/memory/used_percent");
    percent("/swap/used_percent");
    assert!(number("/memory/available") <= number("/memory/total"));
    for pointer in ["/load/1", "/load/5", "/load/15"] {
        assert!(number(pointer) >= 0.0);
    }
    assert_eq!(result["top"].as_array().unwrap().len(), 3);
    for network in result["network"].as_array().unwrap() {
        assert!(network["name"].is_string() && network["rx_bytes"].is_u64(), "{network}");
    }
    for disk in result["disks"].as_array().unwrap() {
        let used = disk["used_percent"].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&used), "{disk}");
        assert_eq!(used, system_metrics::tenth(used));
        assert!(disk["mount"].as_str().unwrap().starts_with('/'));
    }
    assert!(result["hostname"].is_string());

    let output = call("small", json!({"disks": false})).await.unwrap();
    assert!(output.result.get("disks").is_none());
    assert_eq!(output.result["top"], json!([]));
}

#[tokio::test]
async fn a_place_that_hangs_takes_one_thread() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let (began, begun) = tokio::sync::oneshot::channel();
    let first = tokio::spawn(blocking::one_at_a_time("test:hangs", move || {
        let _ = began.send(());
        let _ = wait.recv();
    }));
    begun.await.unwrap();
    let second = blocking::one_at_a_time("test:hangs", || ());
    tokio::pin!(second);
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut second).await.is_err());
    blocking::one_at_a_time("test:other", || ()).await.unwrap();
    release.send(()).unwrap();
    second.await.unwrap();
    first.await.unwrap().unwrap();
}
