//! What a person has trusted, and what changed since.
use super::*;
use bgagent::mcp::PinState;

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
