//! What a server says: other versions of the protocol, too much, noise, and questions to us.
use super::*;
use std::process::{Command, Stdio};

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
