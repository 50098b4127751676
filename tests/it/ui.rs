//! The page for the browser, over HTTP and in a real one.
use super::support::{Daemon, SOON, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

mod browser;
mod webdriver;

const HOSTILE: &str = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";

/// A fleet with something of each kind.
fn fleet() -> String {
    format!(
        "[agents.good]\ninterval = \"1s\"\ncommand = [\"echo\", \"fine\"]\n\
         [agents.bad]\ninterval = \"1s\"\ncommand = [\"sh\", \"-c\", \"echo no such table: orders >&2; exit 3\"]\n\
         circuit_breaker = {{ open_after = 2, cooldown = \"1h\" }}\n\
         [agents.hostile]\ndescription = {description}\ncommand = [\"printf\", \"%s\", {text}]\n",
        description = Value::from(HOSTILE),
        text = Value::from(HOSTILE),
    )
}

/// `bgagent ui` of a daemon, and its address.
struct Ui {
    child: Child,
    port: u16,
    own: String,
    plain: String,
    cookie: String,
}

impl Ui {
    fn start(daemon: &Daemon, args: &[&str]) -> Self {
        let mut child = daemon
            .command(&[&["--json", "ui"], args].concat())
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let links: Value = serde_json::from_str(&line).expect("links");
        let (own, plain) =
            (links["url"].as_str().expect("a link"), links["plain_url"].as_str().expect("a link"));
        let port = plain.split(['/', ':']).find_map(|part| part.parse().ok()).expect("a port");
        Self { child, port, own: own.into(), plain: plain.into(), cookie: String::new() }
    }

    /// Uses the link up, and keeps the cookie.
    fn enter(mut self) -> Self {
        let path = self.plain.split_once(&self.port.to_string()).expect("a port").1.to_owned();
        let (status, head, _) = self.get(&path, &[]);
        assert_eq!(status, 200, "{head}");
        let cookie =
            head.lines().find_map(|line| line.strip_prefix("set-cookie: bgagent-")).expect("a cookie");
        self.cookie = format!("bgagent-{}", cookie.split(';').next().expect("a value"));
        self
    }

    /// Status, head and body of an answer.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        let own = format!("127.0.0.1:{}", self.port);
        let mut all = vec![("connection", "close"), ("host", own.as_str()), ("cookie", self.cookie.as_str())];
        for (name, value) in headers {
            all.retain(|(known, _)| known != name);
            all.push((name, value));
        }
        let length = body.len().to_string();
        if !body.is_empty() {
            all.extend([
                ("content-length", length.as_str()),
                ("content-type", "application/x-www-form-urlencoded"),
            ]);
        }
        let head: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        stream
            .write_all(format!("{method} {path} HTTP/1.1\r\n{head}\r\n{body}").as_bytes())
            .expect("it is sent");
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
        self.ask("GET", path, headers, "")
    }

    #[track_caller]
    fn page(&self, path: &str) -> String {
        let (status, head, body) = self.get(path, &[]);
        assert_eq!(status, 200, "{path}: {head}\n{body}");
        body
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn busy() -> Daemon {
    let daemon = Daemon::start(&fleet());
    daemon.run_by_hand("hostile");
    wait_for("runs, and an open circuit", || {
        let agents = daemon.call("list_agents", json!({}));
        let of = |name: &str| agents.as_array()?.iter().find(|agent| agent["agent_id"] == name).cloned();
        (of("good")?["success_count"].as_u64()? > 0 && of("bad")?["health"] == "circuit_open").then_some(())
    });
    daemon
}

#[test]
fn every_page_is_there_whole_without_a_script_and_nothing_from_outside_is_markup() {
    let daemon = busy();
    let ui = Ui::start(&daemon, &[]).enter();
    let run = daemon.call("list_runs", json!({"agent_id": "hostile"}))[0]["run_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let failed =
        daemon.call("list_runs", json!({"agent_id": "bad"}))[0]["run_id"].as_str().expect("an id").to_owned();
    for (path, shown) in [
        ("/", "circuit open 2"),
        ("/", "no such table: orders"),
        ("/timeline", "2 failed"),
        ("/timeline?range=24h&order=name", "good"),
        ("/timeline/bad?range=1h", "failed"),
        ("/agents", "circuit open 2"),
        ("/agents/bad", "no such table: orders"),
        ("/agents/hostile", "&#60;script&#62;"),
        ("/runs?status=failures", "exit status 3"),
        (format!("/runs/{failed}").as_str(), "no such table: orders"),
        (format!("/runs/{run}").as_str(), "&#60;script&#62;"),
        ("/incidents", "agent:bad"),
        ("/approvals", "Nothing waits"),
        ("/spending", "$0.00 spent"),
        ("/log?agent=bad", "circuit"),
        ("/find?q=goo", "/agents/good"),
    ] {
        let page = ui.page(path);
        assert!(page.contains(shown), "{path} lacks `{shown}`:\n{page}");
        assert_eq!(page.matches("<h1>").count(), 1, "{path}");
        assert!(
            !page.contains("<script>") && !page.contains("<img") && !page.contains(" style="),
            "{path}:\n{page}"
        );
    }
    let (status, head, text) = ui.get(&format!("/runs/{run}/output"), &[]);
    assert_eq!((status, text.as_str()), (200, HOSTILE));
    assert!(head.contains("text/plain") && head.contains("attachment"), "{head}");
    for (path, status) in [
        ("/nothing", 404),
        ("/agents/nobody", 404),
        ("/runs/ffffffff", 404),
        ("/timeline?range=1y", 400),
        ("/runs?status=x", 400),
    ] {
        let (got, _, body) = ui.get(path, &[]);
        assert_eq!(got, status, "{path}: {body}");
    }
}

#[test]
fn a_link_works_once_and_no_other_site_gets_in() {
    let daemon = busy();
    let ui = Ui::start(&daemon, &[]);
    assert_eq!(ui.get("/", &[]).0, 401);
    assert_eq!(ui.get("/open?t=0000", &[]).0, 401);
    let ui = ui.enter();
    let path = ui.plain.split_once(&ui.port.to_string()).expect("a port").1.to_owned();
    assert_eq!(ui.get(&path, &[]).0, 401, "it was used");
    let (status, head, _) = ui.get("/", &[]);
    assert_eq!(status, 200);
    for wanted in [
        "content-security-policy: default-src 'none'",
        "x-frame-options: deny",
        "cache-control: no-store",
        "referrer-policy: same-origin",
    ] {
        assert!(head.contains(wanted), "{head}");
    }
    assert!(!head.contains("unsafe-inline") && !head.contains("access-control"), "{head}");
    let own = ui.own.split('/').nth(2).expect("a host").to_owned();
    assert_eq!(ui.get("/", &[("host", &own)]).0, 200);
    for (headers, status) in [
        (vec![("host", "evil.example")], 421),
        (vec![("host", "127.0.0.1:1")], 421),
        (vec![("sec-fetch-site", "cross-site")], 403),
        (vec![("origin", "http://evil.example")], 403),
        (vec![("cookie", "")], 401),
    ] {
        assert_eq!(ui.get("/", &headers).0, status, "{headers:?}");
    }
    assert_eq!(ui.ask("OPTIONS", "/", &[], "").0, 405);
    // without --control there is nothing to post to
    let origin = format!("http://127.0.0.1:{}", ui.port);
    assert_eq!(ui.ask("POST", "/act", &[("origin", &origin)], "form=x&act=pause&on=good").0, 404);
    assert!(!ui.page("/agents/good").contains("<form method=\"post\""));
    super::support::code(&daemon, &["ui", "--listen", "0.0.0.0:0"], 2, "is not an address of loopback");
}

#[test]
fn with_control_a_form_acts_and_only_ours_does() {
    let daemon = busy();
    let ui = Ui::start(&daemon, &["--control"]).enter();
    let page = ui.page("/agents/good");
    let form = page
        .split("name=\"form\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a form")
        .to_owned();
    let origin = format!("http://127.0.0.1:{}", ui.port);
    let post = |headers: &[(&str, &str)], form: &str| {
        ui.ask(
            "POST",
            "/act",
            headers,
            &format!("form={form}&act=pause&on=good&reason=looking&back=%2Fagents%2Fgood"),
        )
        .0
    };
    let state = || daemon.call("list_agents", json!({"agents": ["good"]}))[0]["state"].clone();
    assert_eq!(post(&[], &form), 403, "a post says where it comes from");
    assert_eq!(post(&[("origin", "http://evil.example")], &form), 403);
    assert_eq!(post(&[("origin", &origin)], "0000"), 400);
    // a form that lacks something is told so in words for people
    for body in ["act=pause&on=good", "form=x", "x"] {
        let (status, head, page) = ui.ask("POST", "/act", &[("origin", &origin)], body);
        assert!(status == 400 && head.contains("text/html"), "{body}: {head}\n{page}");
        assert!(page.contains("reload") && !page.contains("deserialize"), "{body}: {page}");
    }
    let (status, head, page) = ui.ask("POST", "/act", &[("origin", &origin)], &format!("form={form}&form=x"));
    assert!((400..500).contains(&status) && head.contains("text/html"), "{head}\n{page}");
    assert!(page.contains("reload") && !page.contains("deserialize"), "{page}");
    let (status, _, page) = ui.get("/agents/%ff", &[]);
    assert!(status == 400 && page.contains("Invalid request"), "{page}");
    assert!(ui.get("/agents/nobody", &[]).2.contains("There is no such agent"));
    assert_eq!(state(), "active");
    assert_eq!(post(&[("origin", &origin)], &form), 303);
    assert_eq!(state(), "paused");
    assert!(ui.page("/agents/good").contains("looking"));
}

#[test]
fn what_changes_is_told_and_a_daemon_that_is_away_is_said() {
    let mut daemon = Daemon::start("[agents.a]\ncommand = [\"true\"]\n");
    let ui = Ui::start(&daemon, &[]).enter();
    let mut stream = TcpStream::connect(("127.0.0.1", ui.port)).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let request =
        format!("GET /live HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncookie: {}\r\n\r\n", ui.port, ui.cookie);
    stream.write_all(request.as_bytes()).expect("it is sent");
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next().expect("a line").expect("a line");
    assert!(status.contains("200"), "{status}");
    daemon.run_by_hand("a");
    assert!(lines.any(|line| line.expect("a line").contains("event: changed")));
    daemon.kill();
    let (status, _, body) = ui.get("/", &[]);
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("The daemon does not answer") && body.contains("bgagent daemon"), "{body}");
    daemon.up();
    wait_for("the page again", || (ui.get("/", &[]).0 == 200).then_some(()));
}

#[test]
fn nothing_is_left_of_the_file_that_leads_a_browser_here() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = busy();
    let bin = daemon.path("bin");
    std::fs::create_dir(&bin).expect("a folder");
    std::fs::write(bin.join("xdg-open"), "#!/bin/sh\nexit 0\n").expect("a file");
    std::fs::set_permissions(bin.join("xdg-open"), std::fs::Permissions::from_mode(0o755)).expect("ours");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut child =
        daemon.command(&["ui", "--open"]).env("PATH", path).stdin(Stdio::null()).spawn().expect("it starts");
    let led = || {
        let names = std::fs::read_dir(daemon.path("state")).expect("a folder").flatten();
        names.filter(|entry| entry.file_name().to_string_lossy().starts_with("ui-")).count()
    };
    wait_for("the file", || (led() == 1).then_some(()));
    super::support::signal(child.id(), rustix::process::Signal::TERM);
    wait_for("its end", || child.try_wait().expect("a child"));
    assert_eq!(led(), 0);
}
