//! Servers that are reached over HTTP.
use super::*;
use bgagent::domain::TextOrSecret;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The server of this test as an HTTP server; its address.
fn http(bench: &Bench) -> (Killed, String) {
    let folder = bench.folder.path();
    let mut child = Command::new(python3())
        .args(["-u".as_ref(), folder.join("server.py").as_os_str(), "http".as_ref(), folder.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let output = child.stdout.take().expect("a pipe");
    let killed = Killed(child);
    let mut port = String::new();
    BufReader::new(output).read_line(&mut port).expect("it says its port");
    (killed, format!("http://127.0.0.1:{}", port.trim()))
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_answer_over_http_too() {
    within(async {
        let mut bench = Bench::with("ok");
        let (server, address) = http(&bench);
        bench.spec().command = None;
        let point = |bench: &mut Bench, path: &str, token: &str| {
            bench.spec().url = Some(format!("{address}{path}"));
            let token = TextOrSecret::Text(format!("Bearer {token}"));
            bench.spec().headers.insert("Authorization".into(), token);
            bench.tools()
        };
        let tools = point(&mut bench, "/mcp", "sesame");
        works(&tools).await;
        let error = call(&tools, "fail", json!({})).await.unwrap_err();
        assert_eq!(error, ToolError::Failed("tool `s/fail`: no such row".into()));
        let refused = point(&mut bench, "/mcp", "abracadabra");
        let error = call(&refused, "echo", json!({})).await.unwrap_err().to_string();
        assert!(error.contains("(HTTP 401)") && !error.contains("abracadabra"), "{error}");
        let moved = point(&mut bench, "/moved", "sesame");
        let error = call(&moved, "echo", json!({})).await.unwrap_err().to_string();
        assert!(error.contains("it can't be started"), "{error}");
        assert_eq!(bench.got("/mcp initialize Bearer sesame"), 1, "a redirect is not followed");
        drop(server);
        let error = call(&tools, "echo", json!({})).await.unwrap_err();
        assert!(!error.may_have_happened(), "it was not sent: {error}");
        assert!(error.to_string().contains("can't connect"), "{error}");
        bench.end(&tools).await;
    })
    .await;
}

/// Whatever form a refusal has, it is an answer at once, and no call that was refused is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_over_http_is_an_answer() {
    within(async {
        let mut bench = Bench::with("ok");
        let (_server, address) = http(&bench);
        bench.spec().command = None;
        let mut ask = async |mode: &str| {
            bench.spec().url = Some(format!("{address}/odd/{mode}"));
            let tools = bench.tools();
            let given = call(&tools, "echo", json!({})).await;
            tools.servers().stop_all().await;
            given
        };
        for mode in ["plain", "other", "events", "mute", "forget404", "forget400"] {
            assert_eq!(ask(mode).await, Ok(json!({"text": "fine"})), "{mode}");
        }
        let refused = [
            ("none", "refused here (HTTP 400)"),
            ("no", "refused here (HTTP 400)"),
            ("foreign", "refused here (HTTP 400)"),
            ("fine", "refused here"),
            ("text", "it refuses the request (HTTP 400): refused here"),
            ("who", "it requires authentication (HTTP 401): refused here"),
            ("not", "it denies access (HTTP 403): refused here"),
            ("often", "it was asked too often (HTTP 429): refused here"),
            ("inside", "it failed (HTTP 500): refused here"),
            ("event", "refused here"),
            ("page", "it does not know our session, nor a new one (HTTP 404)"),
            (
                "lost404",
                "it does not know our session, nor a new one (HTTP 404): Session not found: refused here",
            ),
            ("bare400", "it refuses the request (HTTP 400): the user's session is over"),
            ("bare409", "it refuses the request (HTTP 409): the user's session is over"),
            ("bare410", "it refuses the request (HTTP 410): the user's session is over"),
            ("code400", "it refuses the request (HTTP 400): refused here"),
        ];
        for (mode, says) in refused {
            let says =
                says.replace("refused here (HTTP 400)", "it refuses the request (HTTP 400): refused here");
            assert_eq!(ask(mode).await, Err(ToolError::Failed(format!("tool `s/echo`: {says}"))), "{mode}");
        }
        let open = [
            (
                "lost400",
                "it does not know our session, nor a new one (HTTP 400): Session not found: refused here",
            ),
            ("broken", "it failed (HTTP 500): refused here"),
            ("gateway", "it failed (HTTP 502)"),
            ("taken", "it took the request and gave no answer (HTTP 202)"),
            ("empty", "it took the request and gave no answer (HTTP 200)"),
            ("login", "it answered with text/html that is not a message (HTTP 200): <html>login</html>"),
            ("cut", "the connection was cut off in the middle of the answer"),
        ];
        for (mode, says) in open {
            let text = format!("tool `s/echo`: {says}; nobody knows whether the call was carried out");
            assert_eq!(ask(mode).await, Err(ToolError::Unsure(text)), "{mode}");
        }
    })
    .await;
}

/// What its tool says of a session is no reason to make a call a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_refused_is_made_once() {
    within(async {
        let mut bench = Bench::with("ok");
        let (_server, address) = http(&bench);
        bench.spec().command = None;
        for (mode, calls) in
            [("bare400", 1), ("bare409", 1), ("bare410", 1), ("code400", 1), ("lost400", 2), ("lost404", 2)]
        {
            let asked = format!("/odd/{mode} tools/call None");
            bench.spec().url = Some(format!("{address}/odd/{mode}"));
            let tools = bench.tools();
            call(&tools, "echo", json!({})).await.unwrap_err();
            tools.servers().stop_all().await;
            assert_eq!(bench.got(&asked), calls, "{mode}");
        }
    })
    .await;
}
