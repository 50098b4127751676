//! Servers that mean no good: each is a failure beside the items of the others, within bounds of time and
//! memory.
use super::{Daemon, Endpoint, Feeds, Reply, json};
use std::time::{Duration, Instant};

/// Peak of the daemon's memory, in MiB.
#[cfg(target_os = "linux")]
fn peak(daemon: &Daemon) -> u64 {
    let pid = daemon.child.as_ref().expect("it runs").id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") >> 10
}

#[cfg(not(target_os = "linux"))]
fn peak(_: &Daemon) -> u64 {
    0
}

#[test]
fn hostile_servers_are_failures_beside_the_others() {
    let feeds = Feeds::new(&[(1, "one")]);
    let hostile = Endpoint::answering(|request| match request.path.as_str() {
        "/huge" => Reply::huge(100 << 20),
        "/endless" => Reply::endless(),
        "/bomb" => Reply::bomb(),
        "/hang" => Reply::hang(),
        "/close" => Reply::close(),
        "/broken" => Reply::broken_off(),
        "/stall" => Reply::stall(),
        "/drip" => Reply::drip("<rss><channel>".repeat(1000), Duration::from_millis(200)),
        "/loop" => Reply::redirect("/loop"),
        "/away" => Reply::redirect("http://169.254.169.254/latest/meta-data/"),
        "/401" => Reply::status(401, "who are you"),
        _ => Reply::html(),
    });
    let table = [
        ("/huge", "longer than"),
        ("/endless", "longer than"),
        ("/bomb", "longer than"),
        ("/hang", "no whole answer within 2 s"),
        ("/close", "127.0.0.1"),
        ("/broken", "broke off"),
        ("/stall", "no whole answer within 2 s"),
        ("/drip", "no whole answer within 2 s"),
        ("/loop", "redirects"),
        ("/away", "not a public address"),
        ("/401", "status 401: it refuses"),
        ("/page", "a web page, not a feed"),
    ];
    let urls: Vec<String> = table.iter().map(|(path, _)| format!("\"{}{path}\"", hostile.url())).collect();
    let daemon = Daemon::start(&format!(
        "[tools.news]\ntype = \"feed\"\ntimeout = \"2s\"\nmax_bytes = \"1MiB\"\nurls = [\"{}/feed\", {}]\n",
        feeds.endpoint.url(),
        urls.join(", ")
    ));
    let before = peak(&daemon);
    let began = Instant::now();
    let result = daemon.call("call_tool", json!({"tool": "news", "args": {}}))["result"].clone();
    assert!(began.elapsed() < crate::support::SOON, "{:?}", began.elapsed());
    assert_eq!(result["items"].as_array().unwrap().len(), 1, "{result}");
    let failures = result["failures"].as_array().unwrap();
    assert_eq!(failures.len(), table.len(), "{failures:?}");
    for (path, says) in table {
        let failure = failures.iter().find(|one| one["url"].as_str().unwrap().ends_with(path)).expect(path);
        assert!(failure["error"].as_str().unwrap().contains(says), "{path}: {failure}");
    }
    let used = peak(&daemon) - before;
    assert!(used < 60, "{used} MiB for answers of 1 MiB");
}
