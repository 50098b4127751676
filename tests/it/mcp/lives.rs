//! Processes of servers: how they start, hang, crash, come back and end.
use super::*;
use bgagent::domain::{SecretRef, TextOrSecret};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

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
