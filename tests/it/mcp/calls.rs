//! Tools of a server: which are offered, and what comes of a call.
use super::*;

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
