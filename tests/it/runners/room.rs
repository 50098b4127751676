//! What the folders of runs take, and what goes when it is too much.
use super::*;

/// Work that could not be brought back, of two runs nobody knows any more, the older one first.
fn left(daemon: &Daemon, bytes: usize) -> [PathBuf; 2] {
    ["0199f3c2-8a00-7000-8000-5d1c1f2e3d4c-1", "0199f3c2-8a01-7000-8000-5d1c1f2e3d4c-3"].map(|name| {
        let folder = daemon.path("state/kept").join(name);
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::write(folder.join("src/made.rs"), vec![b'x'; bytes]).unwrap();
        folder
    })
}

#[test]
fn the_oldest_work_goes_when_the_folders_of_runs_take_too_much_and_that_is_said_before() {
    let mut daemon = Daemon::with("[daemon]\nretention = { workspaces = \"3MiB\" }\n");
    let [older, newer] = left(&daemon, 2 << 20);
    daemon.up();
    let removed = daemon.until_event("work goes", |event| event["type"] == "workspace_removed");
    assert_eq!(removed["run_id"], "0199f3c2-8a00-7000-8000-5d1c1f2e3d4c", "{removed:#}");
    let payload = &removed["payload"];
    assert_eq!((&payload["attempt"], &payload["bound"]), (&json!(1), &json!(3 << 20)));
    assert!(payload["bytes"].as_u64().unwrap() >= 2 << 20, "{payload}");
    assert_eq!(
        payload["folder"].as_str().map(Path::new),
        Some(older.canonicalize().unwrap_or(older.clone()).as_path())
    );
    wait_for("it to be gone", || (!older.exists()).then_some(()));
    assert!(newer.join("src/made.rs").exists(), "no more goes than must");
    let view = wait_for("what is taken", || {
        let view = daemon.call("get_daemon_status", json!({}));
        view["workspaces"].is_object().then(|| view["workspaces"].clone())
    });
    assert_eq!(
        (&view["kept"], &view["runs"], &view["bound"]),
        (&json!(1), &json!(0), &json!(3 << 20)),
        "{view}"
    );
    let status = daemon.ok(&["status"]);
    assert!(status.contains("of 3.0 MiB, 1 piece of work that could not be brought back"), "{status}");
    let told = daemon.ok(&["tail", "--no-follow", "-n", "50"]);
    assert!(told.contains("the folders of runs took more than 3.0 MiB"), "{told}");
    let found: Value = serde_json::from_slice(&daemon.run(&["--json", "doctor"]).stdout).unwrap_or_default();
    // where there is no sandbox, `doctor` has nothing else to say
    if found.is_object() {
        assert_eq!(found["workspaces"]["kept_folders"], 1, "{found:#}");
    }
}

#[test]
fn the_folder_of_a_run_in_flight_stays_and_is_an_incident() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = daemon(&endpoint, &[("a", "good", "")]);
    let config = std::fs::read_to_string(daemon.path("agents.toml")).unwrap();
    let script = "[agents.writes]\nquery = \"x\"\nrunner = \"writes\"\nretry = { max = 0 }\n\
        [runners.writes]\nprotocol = \"claude-json\"\nfirst_event = \"10m\"\nmeter = \"main\"\n\
        command = [\"/bin/sh\", \"-c\", \"head -c 3000000 /dev/zero > made; echo {query} {meter} {key}; exec sleep 600\"]\n";
    daemon.configure(&format!("{config}{script}"));
    let kept = left(&daemon, 10);
    daemon.up();
    let run = daemon.call("run_agent", json!({"agent_id": "writes"}))["run_id"].clone();
    let work = daemon.path("state/runs").join(run.as_str().unwrap()).join("work/made");
    wait_for("its file", || std::fs::metadata(&work).ok().filter(|found| found.len() == 3_000_000));
    assert!(kept.iter().all(|folder| folder.exists()));
    daemon.configure(&format!("[daemon]\nretention = {{ workspaces = \"1MiB\" }}\n{config}{script}"));
    daemon.ok(&["reload"]);
    let opened = daemon.until("incident_opened", "bgagent");
    let title = opened["payload"]["title"].as_str().unwrap();
    assert!(
        title.contains("the folders of runs that are not over (1)")
            && title.contains("`retention.workspaces`"),
        "{title}"
    );
    assert!(work.exists(), "its run is in flight");
    assert!(kept.iter().all(|folder| !folder.exists()), "what nobody needs goes before");
    daemon.call("cancel_run", json!({"run_id": run}));
}
