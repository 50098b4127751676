//! As much of WebDriver (W3C recommendation, sections 8 to 13) as looking at a page takes: JSON over HTTP, one session. The
//! crate for it, `thirtyfour`, brings additions of `str` to `String` that make those of a whole test binary ambiguous.
use super::super::support::{SOON, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A browser and the program that drives it; both end with it.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// `None`: there is no browser here, which is said; where `BGAGENT_REQUIRE_BROWSER` is set that is a failure.
    pub fn start() -> Option<Self> {
        let program = ["/usr/bin/chromedriver", "/usr/lib/chromium/chromedriver"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let Some(program) = program.filter(|_| Path::new("/usr/bin/chromium").exists()) else {
            assert!(
                std::env::var_os("BGAGENT_REQUIRE_BROWSER").is_none(),
                "chromium and chromium-driver are required"
            );
            eprintln!("skipped: there is no chromium with chromium-driver");
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("its address")
            .port();
        let driver = Command::new(program)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut browser = Self { driver, port, session: String::new() };
        wait_for("chromedriver", || TcpStream::connect(("127.0.0.1", port)).ok());
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": args}}}});
        let made = browser.ask("POST", "/session", &wanted);
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        Some(browser)
    }

    pub fn go(&self, url: &str) {
        self.of_session("POST", "/url", &json!({"url": url}));
    }

    /// What a script returns.
    pub fn script(&self, text: &str) -> Value {
        self.of_session("POST", "/execute/sync", &json!({"script": text, "args": []}))
    }

    /// Waits until a script returns true.
    #[track_caller]
    pub fn until(&self, what: &str, text: &str) {
        let began = Instant::now();
        while self.script(text) != true {
            assert!(
                began.elapsed() < SOON,
                "{what} did not come: {}",
                self.script("return document.body.innerText")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Clicks what this selector finds, as a person does with a mouse: a page that renews itself may take it away meanwhile.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        wait_for(selector, || {
            let found = self
                .try_ask("POST", "/element", &json!({"using": "css selector", "value": selector}))
                .ok()?;
            let id = found.as_object()?.values().next()?.as_str()?.to_owned();
            self.try_ask("POST", &format!("/element/{id}/click"), &json!({})).ok()
        });
    }

    /// Says yes to the dialog that is open, and gives its text.
    #[track_caller]
    pub fn accept(&self) -> String {
        let text = wait_for("a dialog", || self.try_ask("GET", "/alert/text", &Value::Null).ok());
        self.of_session("POST", "/alert/accept", &json!({}));
        text.as_str().unwrap_or_default().to_owned()
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let (head, value) = self.answer(method, &format!("/session/{}{path}", self.session), body);
        if head.starts_with("http/1.1 200") { Ok(value["value"].clone()) } else { Err(value) }
    }

    /// The size of what a page has for itself, whatever the window is.
    pub fn size(&self, width: u32, height: u32) {
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700});
        self.of_session(
            "POST",
            "/goog/cdp/execute",
            &json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": params}),
        );
    }

    #[track_caller]
    fn of_session(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (head, value) = self.answer(method, path, body);
        assert!(head.starts_with("http/1.1 200"), "{path}: {value}");
        value["value"].clone()
    }

    /// The head of the answer to a request, and what it says.
    #[track_caller]
    fn answer(&self, method: &str, path: &str, body: &Value) -> (String, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("it is sent");
        // it keeps the connection, whatever it is asked: the head says where the answer ends
        let mut answer = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && answer.read_line(&mut head).expect("a head") > 0 {}
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.expect(&head)];
        answer.read_exact(&mut body).expect("an answer");
        let value: Value = serde_json::from_slice(&body).expect("JSON");
        (head, value)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // the browser ends with its session, also that of a test that failed
        if let (false, Ok(mut stream)) =
            (self.session.is_empty(), TcpStream::connect(("127.0.0.1", self.port)))
        {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let head =
                format!("DELETE /session/{} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n", self.session, self.port);
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.read(&mut [0; 512]));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
