//! Tests of `probe`: thresholds as a table, each type against the real thing.
use super::level::Thresholds;
use super::measured::plain;
use super::*;
use crate::domain::Fleet;
use crate::tools::Tools;
use crate::tools::contract::CallContext;
use serde::Deserialize;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn probe_within(bound: Duration, checks: Value) -> Result<ToolOutput, ToolError> {
    let tools = Tools::new(&Fleet::empty("/agents.toml".into()));
    let context = CallContext { timeout: Some(bound), ..CallContext::default() };
    tools.call("probe", &json!({"checks": checks}), &context).await
}

async fn probe(checks: Value) -> ToolOutput {
    probe_within(Duration::from_secs(60), checks).await.unwrap()
}

/// The only finding of one check.
async fn finding(check: Value) -> Finding {
    let mut output = probe(json!([check])).await;
    assert_eq!(output.findings.len(), 1);
    let finding = output.findings.remove(0);
    let row = &output.result["checks"][0];
    assert_eq!(row["name"], finding.key.as_str());
    assert_eq!(row["title"], finding.title.as_str());
    assert_eq!(row["level"], finding.level.as_str());
    assert_eq!(output.result["wake"], matches!(finding.level, Level::Warn | Level::Crit));
    finding
}

#[track_caller]
fn is(finding: &Finding, level: Level, says: &str) {
    assert_eq!(finding.level, level, "{finding:?}");
    assert!(finding.title.contains(says), "{finding:?} does not say {says:?}");
}

#[test]
fn levels_and_hysteresis() {
    use Level::{Crit, Hold, Ok, Warn};
    let both = Some((80.0, 90.0));
    let table = [
        (
            Thresholds::new(None, None, None, both),
            &[(0.0, Ok), (79.9, Ok), (80.0, Warn), (89.9, Warn), (90.0, Crit)][..],
        ),
        (
            Thresholds::new(None, None, Some(70.0), both),
            &[(70.0, Ok), (70.1, Hold), (79.9, Hold), (80.0, Warn), (90.0, Crit)],
        ),
        (Thresholds::new(Some(95.0), None, None, both), &[(94.9, Ok), (95.0, Warn), (100.0, Warn)]),
        (Thresholds::new(None, Some(70.0), None, both), &[(69.9, Ok), (70.0, Crit), (85.0, Crit)]),
        (Thresholds::new(None, Some(70.0), Some(60.0), both), &[(60.0, Ok), (65.0, Hold), (70.0, Crit)]),
        (Thresholds::new(Some(50.0), Some(50.0), None, both), &[(49.0, Ok), (50.0, Crit)]),
        (Thresholds::new(None, None, None, None), &[(0.0, Ok), (1e9, Ok)]),
        (Thresholds::new(Some(100.0), None, Some(100.0), None), &[(100.0, Warn), (99.0, Ok)]),
    ];
    for (at, (thresholds, values)) in table.into_iter().enumerate() {
        let thresholds = thresholds.unwrap();
        for (value, level) in values {
            assert_eq!(thresholds.level(*value), *level, "row {at}, value {value}");
        }
    }
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_told() {
    let table = [
        (json!([]), "`checks` must have at least 1 item"),
        (json!([{"type": "dsk"}]), "did you mean `disk`?"),
        (json!([{"type": "disk", "pth": "/"}]), "`checks[0]` can't have `pth`; did you mean `path`?"),
        (json!([{"type": "disk"}]), "`checks[0]`: a check of type `disk` needs `path`"),
        (json!([{"type": "memory"}, {"type": "http"}]), "`checks[1]`: a check of type `http` needs `url`"),
        (json!([{"type": "tcp", "host": "x"}]), "needs `port`"),
        (json!([{"type": "tcp", "host": "x", "port": 70000}]), "`checks[0].port` must be at most 65535"),
        (json!([{"type": "memory", "path": "/"}]), "a check of type `memory` can't have `path`"),
        (
            json!([{"type": "command", "command": "true", "warn": 1}]),
            "can't have `warn`: there is no number to compare",
        ),
        (json!([{"type": "memory", "warn": 90, "crit": 80}]), "`warn` (90) must not be above `crit` (80)"),
        (json!([{"type": "memory", "clear": 99}]), "`clear` (99) must not be above `warn` (85)"),
        (json!([{"type": "http", "url": "http://x/", "clear": 9}]), "`clear` needs `warn` or `crit`"),
        (json!([{"type": "http", "url": "ftp://x/"}]), "must begin with http:// or https://"),
        (json!([{"type": "http", "url": "x"}]), "`url` is not an address"),
        (
            json!([{"type": "http", "url": "http://x/", "status": 99}]),
            "`checks[0].status` must be at least 100",
        ),
        (json!([{"type": "memory", "for": "soon"}]), "`for` must be a number of seconds or a text such as"),
        (json!([{"type": "memory", "for": -1}]), "`checks[0].for` must be at least 0"),
        (json!([{"type": "memory", "timeout": 0}]), "`timeout` must be"),
        (json!([{"type": "memory", "timeout": "1m1x"}]), "`timeout` must be"),
        (json!([{"type": "command", "command": []}]), "`checks[0].command` must have at least 1 item"),
        (json!([{"type": "command", "command": " "}]), "needs `command`"),
    ];
    for (checks, says) in table {
        match probe_within(Duration::from_secs(5), checks.clone()).await {
            Err(ToolError::Arguments(text)) => assert!(text.contains(says), "{checks}: {text}"),
            other => panic!("{checks}: {other:?}"),
        }
    }
}

#[test]
fn names_durations_and_defaults() {
    let read = |args: &Value| ProbeSettings::deserialize(args).unwrap();
    let settings = read(&json!({"checks": [
        {"type": "disk", "path": "/"},
        {"type": "disk", "path": "/", "metric": "inodes", "for": "1h30m"},
        {"type": "disk", "path": "/", "for": 90, "timeout": "500ms"},
        {"type": "memory", "for": "7d"},
        {"type": "load", "for": 0.5},
        {"type": "http", "url": "https://user:pw@example.com/health?key=SECRET"},
        {"type": "tcp", "host": "db", "port": 5432},
        {"type": "tcp", "host": "[::1]", "port": 1.0},
        {"type": "process", "process": "nginx"},
        {"type": "systemd", "unit": "nginx.service"},
        {"type": "command", "command": ["./check.sh", "--fast"]},
        {"type": "command", "command": "df -h | grep x"},
        {"type": "memory", "name": "disk:/"},
    ]}));
    assert_eq!(read(&serde_json::to_value(&settings).unwrap()), settings);
    let checks = spec::complete(&settings.checks).unwrap();
    let names: Vec<_> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "disk:/",
            "disk:/:inodes",
            "disk:/#2",
            "memory",
            "load",
            "http:https://example.com/health",
            "tcp:db:5432",
            "tcp:[::1]:1",
            "process:nginx",
            "systemd:nginx.service",
            "command:./check.sh",
            "command:df",
            "disk:/#3",
        ]
    );
    let held: Vec<_> = checks.iter().take(5).map(|check| check.hold_for.as_millis()).collect();
    assert_eq!(held, [0, 5_400_000, 90_000, 604_800_000, 500]);
    assert_eq!(checks[0].timeout, Duration::from_secs(10));
    assert_eq!(checks[2].timeout, Duration::from_millis(500));
    assert_eq!(checks[0].thresholds, Thresholds::new(Some(80.0), Some(90.0), None, None).unwrap());
    assert_eq!(checks[3].thresholds, Thresholds::new(Some(85.0), Some(95.0), None, None).unwrap());
    assert_eq!(checks[4].thresholds, Thresholds::new(Some(2.0), Some(4.0), None, None).unwrap());
}

#[tokio::test]
async fn status_is_that_of_the_worst() {
    let fine = json!({"type": "memory", "warn": 101, "crit": 102});
    let bad = json!({"type": "memory", "warn": 0, "crit": 102, "for": "5m"});
    let worse = json!({"type": "memory", "warn": 0, "crit": 0});
    let held = json!({"type": "memory", "clear": 0, "warn": 101});
    let table = [
        (json!([fine]), "ok"),
        (json!([fine, held]), "ok"),
        (json!([fine, bad]), "warn"),
        (json!([worse, bad, fine]), "crit"),
    ];
    for (checks, status) in table {
        let output = probe(checks).await;
        assert_eq!(output.result["status"], status, "{}", output.result);
        assert_eq!(output.result["wake"], status != "ok");
    }
    let output = probe(json!([bad, held])).await;
    assert_eq!(output.findings[0].hold_for, SignedDuration::from_mins(5));
    assert_eq!(output.findings[1].level, Level::Hold);
    assert_eq!(output.findings[1].key, "memory#2");
    let row = &output.result["checks"][0];
    assert_eq!((&row["type"], &row["unit"]), (&json!("memory"), &json!("%")));
    assert!(row["value"].as_f64().is_some() && row["duration_ms"].is_u64(), "{row}");
    assert!(output.findings[0].title.ends_with("(warn at 0 %)"), "{:?}", output.findings[0]);
}

#[tokio::test]
async fn this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display().to_string();
    is(&finding(json!({"type": "disk", "path": here, "warn": 101})).await, Level::Ok, "% full");
    is(
        &finding(json!({"type": "disk", "path": here, "warn": 0, "crit": 0})).await,
        Level::Crit,
        "% full (crit at 0 %)",
    );
    is(
        &finding(json!({"type": "disk", "path": here, "metric": "inodes", "warn": 101})).await,
        Level::Ok,
        "inodes",
    );
    is(
        &finding(json!({"type": "disk", "path": "/no/such/place"})).await,
        Level::Crit,
        "/no/such/place can't be read: No such file",
    );
    is(&finding(json!({"type": "load", "warn": 100_000})).await, Level::Ok, "per core");
    is(
        &finding(json!({"type": "load", "warn": 0, "crit": 100_000})).await,
        Level::Warn,
        "(warn at 0 per core)",
    );
}

#[tokio::test]
async fn processes() {
    let missing = finding(json!({"type": "process", "process": "no-such-program"})).await;
    is(&missing, Level::Crit, "no-such-program is not running");
    assert_eq!(missing.key, "process:no-such-program");
    let allowed = json!({"type": "process", "process": "no-such-program", "min": 0});
    is(&finding(allowed).await, Level::Ok, "not running");

    // The file name of a copy is ours alone, and longer than what the kernel keeps of it.
    let folder = tempfile::tempdir().unwrap();
    let name = "sleeper-of-the-probe-test";
    let copy = folder.path().join(name);
    std::fs::copy("/bin/sleep", &copy).unwrap();
    let mut child = tokio::process::Command::new(&copy).arg("600").kill_on_drop(true).spawn().unwrap();
    is(&finding(json!({"type": "process", "process": name})).await, Level::Ok, "is running");
    is(&finding(json!({"type": "process", "process": name, "min": 2})).await, Level::Crit, "there must be 2");
    let most = json!({"type": "process", "process": name, "warn": 1});
    is(&finding(most).await, Level::Warn, "(warn at 1 processes)");
    child.kill().await.unwrap();
    is(&finding(json!({"type": "process", "process": name})).await, Level::Crit, "is not running");
}

/// A server that treats each connection alike.
async fn server<F: Future<Output = ()> + Send>(
    treat: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            treat(stream).await;
        }
    });
    address
}

/// Reads a request, then says this.
async fn says(answer: &'static str) -> SocketAddr {
    server(move |mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|count| count > 0)
    {
    }
    String::from_utf8_lossy(&request).into_owned()
}

fn http(address: SocketAddr, more: Value) -> Value {
    let mut check = json!({"type": "http", "url": format!("http://{address}/health?key=TOKEN")});
    check.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    check
}

#[tokio::test]
async fn http_answers() {
    let ok = says("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall is up").await;
    is(&finding(http(ok, json!({}))).await, Level::Ok, "/health answered 200 in ");
    is(&finding(http(ok, json!({"contains": "is up"}))).await, Level::Ok, "answered 200");
    is(&finding(http(ok, json!({"contains": "down"}))).await, Level::Crit, "answered 200 without \"down\"");
    is(&finding(http(ok, json!({"status": 204}))).await, Level::Crit, "answered 200, not 204");
    is(&finding(http(ok, json!({"status": [200, 204]}))).await, Level::Ok, "answered 200");
    is(&finding(http(ok, json!({"warn": 0, "crit": 600_000}))).await, Level::Warn, "(warn at 0 ms)");
    is(&finding(http(ok, json!({"warn": 600_000}))).await, Level::Ok, "answered 200");

    let broken = says("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n").await;
    let found = finding(http(broken, json!({}))).await;
    is(&found, Level::Crit, "answered 500, not 200 to 399");
    assert_eq!(found.key, format!("http:http://{broken}/health"));
    is(&finding(http(broken, json!({"status": 500}))).await, Level::Ok, "answered 500");

    // One that points at itself.
    let circle = says("HTTP/1.1 302 Found\r\nlocation: /health\r\ncontent-length: 0\r\n\r\n").await;
    is(&finding(http(circle, json!({}))).await, Level::Crit, "more than 5 redirects");
    is(&finding(http(circle, json!({"status": 302}))).await, Level::Ok, "answered 302");

    for check in [http(ok, json!({"status": 1000})), http(ok, json!({"status": []}))] {
        assert!(matches!(
            probe_within(Duration::from_secs(5), json!([check])).await,
            Err(ToolError::Arguments(_))
        ));
    }
}

#[tokio::test]
async fn http_that_does_not_answer() {
    let soon = json!({"timeout": "200ms"});
    let hangs = server(|stream| async move {
        let mut stream = stream;
        read_request(&mut stream).await;
        read_request(&mut stream).await;
    })
    .await;
    let started = Instant::now();
    is(&finding(http(hangs, soon.clone())).await, Level::Crit, "did not answer within 200ms");
    assert!(started.elapsed() < crate::testing::SOON);

    // Its head comes, its body does not.
    let slow = server(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall").await;
        read_request(&mut stream).await;
    })
    .await;
    is(&finding(http(slow, soon)).await, Level::Crit, "did not answer within 200ms");

    let cut = says("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall").await;
    is(&finding(http(cut, json!({}))).await, Level::Crit, "the answer broke off");

    let resets = server(|mut stream| async move {
        read_request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    is(&finding(http(resets, json!({}))).await, Level::Crit, "the request failed");

    is(&finding(http(crate::testing::nobody(), json!({}))).await, Level::Crit, "can't connect");
    is(
        &finding(json!({"type": "http", "url": "http://no-such-host.invalid/"})).await,
        Level::Crit,
        "http://no-such-host.invalid/",
    );

    for bad in [hangs, resets, cut] {
        let found = finding(http(bad, json!({"timeout": "200ms"}))).await;
        assert!(!found.title.contains("TOKEN") && !found.key.contains("TOKEN"), "{found:?}");
    }
}

#[tokio::test]
async fn http_bodies_are_bounded() {
    // An answer without an end.
    let endless = server(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
    })
    .await;
    is(&finding(http(endless, json!({}))).await, Level::Ok, "answered 200");
    is(
        &finding(http(endless, json!({"contains": "y"}))).await,
        Level::Crit,
        "without \"y\" in its first 1 MiB",
    );
}

#[tokio::test]
async fn tcp_ports() {
    let open = server(|_| async {}).await;
    let check = |address: SocketAddr| json!({"type": "tcp", "host": "127.0.0.1", "port": address.port()});
    let found = finding(check(open)).await;
    is(&found, Level::Ok, "accepted a connection in ");
    assert_eq!(found.key, format!("tcp:127.0.0.1:{}", open.port()));
    is(&finding(check(crate::testing::nobody())).await, Level::Crit, "can't be reached: Connection refused");
    is(
        &finding(json!({"type": "tcp", "host": "no-such-host.invalid", "port": 1})).await,
        Level::Crit,
        "no-such-host.invalid:1 ",
    );
}

#[tokio::test]
async fn commands() {
    let check = |script: &str| json!({"type": "command", "command": script});
    is(&finding(check("echo; echo fine; echo more")).await, Level::Ok, "fine");
    is(&finding(check("echo so so; exit 1")).await, Level::Warn, "so so");
    is(&finding(check("echo bad; exit 2")).await, Level::Crit, "bad");
    is(&finding(check("echo why >&2; exit 9")).await, Level::Crit, "why");
    is(&finding(check("exit 9")).await, Level::Crit, "`/bin/sh` ended with exit status 9");
    is(&finding(check("kill -9 $$")).await, Level::Crit, "signal 9");
    is(&finding(check("true")).await, Level::Ok, "exit status 0");
    is(&finding(check("echo \"<$CARGO_MANIFEST_DIR>${PATH:+p}\"")).await, Level::Ok, "<>p");
    is(
        &finding(json!({"type": "command", "command": ["no-such-program-anywhere"]})).await,
        Level::Crit,
        "there is no program",
    );

    let started = Instant::now();
    let found =
        finding(json!({"type": "command", "command": "sleep 600 & sleep 600", "timeout": "300ms"})).await;
    is(&found, Level::Crit, "within 300ms");
    assert!(started.elapsed() < crate::testing::SOON);
}

#[tokio::test]
async fn systemd_units() {
    // With or without systemd, this unit is not active, and the title says so or why it is not known.
    for user in [false, true] {
        let found =
            finding(json!({"type": "systemd", "unit": "no-such-unit-anywhere.service", "user": user})).await;
        is(&found, Level::Crit, "no-such-unit-anywhere.service ");
    }
    // A name can't become a flag.
    is(&finding(json!({"type": "systemd", "unit": "--help"})).await, Level::Crit, "--help ");
}

#[tokio::test]
async fn http_texts_are_read_in_their_encoding() {
    let answer = |head: &str, body: &[u8]| -> &'static [u8] {
        let head = format!("HTTP/1.1 200 OK\r\n{head}content-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat().leak()
    };
    let latin = b"Gr\xf6\xdfe: gut";
    let says = |bytes: &'static [u8]| {
        server(move |mut stream| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(bytes).await;
        })
    };
    for (head, body) in [
        ("content-type: text/html; charset=iso-8859-1\r\n", &latin[..]),
        ("content-type: text/html\r\n", &latin[..]),
        ("content-type: text/html\r\n", b"<meta charset=windows-1252>Gr\xf6\xdfe: gut"),
        ("content-type: text/plain; charset=utf-16le\r\n", b"G\0r\0\xf6\0\xdf\0e\0"),
        ("content-encoding: gzip\r\n", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x73\x2f\x3a\xbc\xed\xf0\xfc\x54\x00\x15\x90\x6e\x94\x07\x00\x00\x00"),
        ("", "Größe".as_bytes()),
    ] {
        let at = says(answer(head, body)).await;
        is(&finding(http(at, json!({"contains": "Größe"}))).await, Level::Ok, "answered 200");
        let found = finding(http(at, json!({"not_contains": "Größe"}))).await;
        is(&found, Level::Crit, "answered 200 with \"Größe\"");
        let found = finding(http(at, json!({"not_contains": "klein", "contains": "Gr"}))).await;
        is(&found, Level::Ok, "answered 200");
    }
}

#[tokio::test]
async fn http_asks_as_it_is_told() {
    let echo = server(|mut stream| async move {
        let asked = read_request(&mut stream).await;
        let text = asked.to_ascii_lowercase();
        let _ = stream
            .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()).as_bytes())
            .await;
    })
    .await;
    let found = finding(http(
        echo,
        json!({"method": "POST", "headers": {"X-Team": "Ops"}, "contains": "x-team: ops"}),
    ))
    .await;
    is(&found, Level::Ok, "answered 200");
    let found = finding(http(echo, json!({"method": "OPTIONS", "contains": "options /health"}))).await;
    is(&found, Level::Ok, "answered 200");
    for (more, says) in [
        (json!({"method": "HEAD", "contains": "x"}), "an answer to HEAD has no body"),
        (json!({"tls_days": 14}), "`tls_days` needs an https:// address"),
        (json!({"method": "BREW"}), "method"),
        (json!({"headers": {"X Y": "z"}}), "can't name a header"),
    ] {
        let error =
            probe_within(Duration::from_secs(9), json!([http(echo, more)])).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let missing = json!({"headers": {"X-Key": {"env": "NO_SUCH_VARIABLE_OF_OURS"}}});
    is(&finding(http(echo, missing)).await, Level::Crit, "no value for the header `X-Key`");
}

#[test]
fn a_certificate_that_ends_soon_is_a_warning() {
    let well =
        || Measured { level: Level::Ok, value: Some(5.0), unit: Some("ms"), title: "x answered 200".into() };
    let ends = |hours: i64| {
        Some(jiff::Timestamp::now() + SignedDuration::from_hours(hours) + SignedDuration::from_mins(1))
    };
    let judged = |measured, hours| reach::with_certificate("x", measured, 14, ends(hours));
    assert_eq!(judged(well(), 14 * 24).level, Level::Ok);
    assert!(
        judged(well(), 14 * 24)
            .title
            .contains("x answered 200; its certificate is good for 14 days, until 20")
    );
    let soon = judged(well(), 14 * 24 - 1);
    assert_eq!((soon.level, soon.value, soon.unit), (Level::Warn, Some(13.0), Some("days")));
    assert!(
        soon.title.contains("good for 13 days") && soon.title.ends_with("(warn below 14 days)"),
        "{}",
        soon.title
    );
    assert_eq!(judged(well(), -30).level, Level::Warn);
    let bad = || Measured { level: Level::Crit, ..well() };
    assert_eq!(judged(bad(), 1).level, Level::Crit);
    assert_eq!(reach::with_certificate("x", well(), 14, None).level, Level::Crit);
}

#[tokio::test]
async fn a_probe_ends_within_the_bound_of_its_call() {
    let hangs = server(|stream| async move {
        tokio::spawn(async move {
            let mut stream = stream;
            read_request(&mut stream).await;
            read_request(&mut stream).await;
        });
    })
    .await;
    let many: Vec<_> = (0..MAX_CONCURRENT_CHECKS + 4).map(|_| http(hangs, json!({}))).collect();
    let started = Instant::now();
    let output = probe_within(Duration::from_secs(3), json!(many)).await.unwrap();
    assert!(started.elapsed() < crate::testing::SOON);
    let count = |level: Level| output.findings.iter().filter(|finding| finding.level == level).count();
    assert_eq!((count(Level::Crit), count(Level::Hold)), (MAX_CONCURRENT_CHECKS, 4), "{:?}", output.findings);
    is(output.findings.last().unwrap(), Level::Hold, "was not checked");
    assert_eq!(output.result["status"], "crit");
    assert_eq!(output.warnings.len(), 4, "the record of the run says so: {:?}", output.warnings);
    assert!(output.warnings[0].contains("was not checked"));
}

#[test]
fn numbers_in_titles() {
    for (value, text) in
        [(93.0, "93"), (93.46, "93.5"), (0.043, "0.04"), (0.5, "0.5"), (2.0, "2"), (1234.56, "1234.6")]
    {
        assert_eq!(plain(value), text);
    }
}

/// Whoever calls it has not said what is wrong.
#[tokio::test]
async fn a_table_that_can_not_be_meant_is_no_fault_of_the_arguments() {
    use crate::domain::{ProbeCheck, ProbeTarget, ToolKind, ToolSpec};
    let check = ProbeCheck {
        name: None,
        warn: None,
        crit: None,
        clear: Some(99.0),
        hold_for: None,
        timeout: None,
        target: ProbeTarget::Memory,
    };
    let settings = ToolSettings::Probe(Some(ProbeSettings { checks: vec![check] }));
    let mut fleet = Fleet::empty("/agents.toml".into());
    fleet.tools.insert("p".into(), ToolSpec { kind: ToolKind::Probe, settings });
    let error = Tools::new(&fleet).call("p", &json!({}), &CallContext::default()).await.unwrap_err();
    assert!(error.to_string().starts_with("tool `p`, as configured in [tools.p]: `checks[0]`: "), "{error}");
    assert!(matches!(error, ToolError::Failed(_)), "{error:?}");
}

#[tokio::test]
async fn redirects_to_other_hosts_are_judged() {
    let canary = says("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncaught").await;
    let leads_to = |place: &str| -> &'static str {
        format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n").leak()
    };
    for place in [
        format!("http://{canary}/"),
        "http://169.254.169.254/latest".into(),
        "http://127.0.0.2/".into(),
        "file:///etc/passwd".into(),
    ] {
        let found = finding(http(says(leads_to(&place)).await, json!({}))).await;
        is(&found, Level::Crit, "check the final address itself");
    }
    // One that stays on its host is followed.
    let stays = server(move |mut stream| async move {
        let request = read_request(&mut stream).await;
        let answer = match request.starts_with("GET /health") {
            true => "HTTP/1.1 301 Moved\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n",
            false => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nthere",
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    is(&finding(http(stays, json!({"contains": "there"}))).await, Level::Ok, "answered 200");
}
