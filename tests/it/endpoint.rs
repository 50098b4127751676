//! A language model's endpoint that does what a test wants: it speaks the three wires, and knows every
//! way to fail. A real server on a real port; it keeps connections, and records what it was asked.
mod answers;

use super::support::{PATIENCE, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Whose words a request is in: told from its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    OpenAi,
    Anthropic,
    Gemini,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub wire: Wire,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub json: Value,
    /// As it came.
    pub body: String,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What the model says it used.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
    pub thoughts: u64,
}

/// What the endpoint does with a request.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    act: Act,
}

#[derive(Clone, Debug)]
enum Act {
    /// A regular answer, in the words of the request's wire.
    Say(Box<Said>),
    /// This body.
    Body(Vec<u8>),
    /// Nothing, until the client goes.
    Hang,
    /// The end of the connection, before any answer.
    Close,
    /// A body that is announced longer than it is; then the end of the connection.
    Break(Vec<u8>),
    /// A regular answer, then nothing more although more is announced.
    Stall,
    /// A body, a byte at a time, with this pause between.
    Drip(Vec<u8>, Duration),
    /// A body without end, or of this many bytes.
    Flood(Option<u64>),
    /// A small body that unpacks to something huge.
    Bomb,
}

#[derive(Clone, Debug, Default)]
struct Said {
    text: String,
    thought: Option<String>,
    /// Id, name, arguments as text.
    calls: Vec<(String, String, String)>,
    used: Option<Used>,
    /// A word for the reason why it ended, in OpenAI's language.
    finish: Option<&'static str>,
    refusal: Option<String>,
}

impl Reply {
    fn of(status: u16, act: Act) -> Self {
        Self { status, headers: Vec::new(), act }
    }

    /// Says a text.
    pub fn text(text: &str) -> Self {
        let used = Some(Used { input: 100, cached: 0, output: 10, thoughts: 0 });
        Self::of(200, Act::Say(Box::new(Said { text: text.into(), used, ..Said::default() })))
    }

    /// Calls tools: name, and arguments as text.
    pub fn calls(calls: &[(&str, &str)]) -> Self {
        Self::text("").also(|said| {
            let ids = (0..).map(|at| format!("id_{at}"));
            said.calls =
                ids.zip(calls).map(|(id, (name, args))| (id, (*name).into(), (*args).into())).collect();
        })
    }

    /// Says nothing at all, with success.
    pub fn empty() -> Self {
        Self::text("")
    }

    /// Was cut off by its length.
    pub fn cut_off(text: &str) -> Self {
        Self::text(text).also(|said| said.finish = Some("length"))
    }

    /// Refuses.
    pub fn refusal(why: &str) -> Self {
        Self::text("").also(|said| said.refusal = Some(why.into()))
    }

    /// An error's status, with a message as providers word it.
    pub fn status(status: u16, message: &str) -> Self {
        Self::body(json!({"error": {"message": message}}).to_string()).with_status(status)
    }

    /// Any body, with status 200.
    pub fn body(body: impl AsRef<[u8]>) -> Self {
        Self::of(200, Act::Body(body.as_ref().to_vec()))
    }

    pub fn html() -> Self {
        Self::body("<!DOCTYPE html>\n<html><body>Please sign in</body></html>")
            .with("content-type", "text/html")
    }

    /// Another address.
    pub fn redirect(to: &str) -> Self {
        Self::body("").with_status(307).with("location", to)
    }

    pub fn hang() -> Self {
        Self::of(200, Act::Hang)
    }

    pub fn close() -> Self {
        Self::of(200, Act::Close)
    }

    pub fn broken_off() -> Self {
        Self::of(200, Act::Break(br#"{"choices":[{"message":{"content":"half"#.to_vec()))
    }

    pub fn stall() -> Self {
        Self::of(200, Act::Stall)
    }

    pub fn drip(body: impl AsRef<[u8]>, pause: Duration) -> Self {
        Self::of(200, Act::Drip(body.as_ref().to_vec(), pause))
    }

    /// Blanks, without end.
    pub fn endless() -> Self {
        Self::of(200, Act::Flood(None))
    }

    /// Blanks: this many, and it says so.
    pub fn huge(bytes: u64) -> Self {
        Self::of(200, Act::Flood(Some(bytes)))
    }

    /// 100 MB of blanks in less than 1 MB.
    pub fn bomb() -> Self {
        Self::of(200, Act::Bomb).with("content-encoding", "gzip")
    }

    pub fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.push((header.into(), value.into()));
        self
    }

    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub fn thinking(self, thought: &str) -> Self {
        self.also(|said| said.thought = Some(thought.into()))
    }

    pub fn using(self, used: Used) -> Self {
        self.also(|said| said.used = Some(used))
    }

    /// With other words in the arguments of its calls.
    pub fn replacing(mut self, from: &str, to: &str) -> Self {
        if let Act::Say(said) = &mut self.act {
            for (_, _, args) in &mut said.calls {
                *args = args.replace(from, to);
            }
        }
        self
    }

    pub fn without_usage(self) -> Self {
        self.also(|said| said.used = None)
    }

    fn also(mut self, change: impl FnOnce(&mut Said)) -> Self {
        match &mut self.act {
            Act::Say(said) => change(said),
            _ => panic!("only a regular answer can say that"),
        }
        self
    }
}

type Answering = dyn Fn(&Request) -> Reply + Send + Sync;

struct State {
    answering: Box<Answering>,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    /// Connections that are open now; kept so that they can be ended.
    open: Mutex<Vec<(usize, TcpStream)>>,
    closed: AtomicBool,
}

/// The endpoint. It ends, with all connections, when it is dropped.
pub struct Endpoint {
    address: SocketAddr,
    state: Arc<State>,
}

impl Endpoint {
    /// Answers each request as told.
    pub fn answering(answering: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            answering: Box::new(answering),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), shared) = (stream, shared.clone()) else { continue };
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, state }
    }

    /// One reply after the other; the last one again and again.
    pub fn script(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Vec<Reply> = replies.into_iter().collect();
        let next = AtomicUsize::new(0);
        Self::answering(move |_| {
            let at = next.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1);
            replies[at].clone()
        })
    }

    /// What it would answer.
    pub fn answer(&self, request: &Request) -> Reply {
        (self.state.answering)(request)
    }

    /// Where it answers, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().expect("no panic").clone()
    }

    /// Waits until it was asked so often.
    #[track_caller]
    pub fn until_asked(&self, times: usize) -> Vec<Request> {
        wait_for("requests", || Some(self.requests()).filter(|requests| requests.len() >= times))
    }

    /// Waits until nobody is connected any more.
    #[track_caller]
    pub fn until_left(&self) {
        wait_for("the end of all connections", || {
            self.state.open.lock().expect("no panic").is_empty().then_some(())
        });
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        for (_, stream) in self.state.open.lock().expect("no panic").iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let id = self.connections.fetch_add(1, Ordering::SeqCst);
        let Ok(copy) = stream.try_clone() else { return };
        self.open.lock().expect("no panic").push((id, copy));
        let _ = stream.set_nodelay(true);
        let _ = self.talk(&stream, id);
        let _ = stream.shutdown(Shutdown::Both);
        self.open.lock().expect("no panic").retain(|(open, _)| *open != id);
    }

    fn talk(&self, stream: &TcpStream, connection: usize) -> std::io::Result<()> {
        let mut input = BufReader::new(stream);
        while let Some(request) = read(&mut input, connection)? {
            self.requests.lock().expect("no panic").push(request.clone());
            let reply = (self.answering)(&request);
            if !write(stream, &request, reply)? {
                break;
            }
        }
        Ok(())
    }
}

fn read(input: &mut BufReader<&TcpStream>, connection: usize) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let word = |nth| line.split(' ').nth(nth).unwrap_or("").to_owned();
    let (method, path) = (word(0), word(1));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        match line.trim().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().expect("a length"))];
    input.read_exact(&mut body)?;
    let wire = match path.as_str() {
        path if path.contains(":generateContent") => Wire::Gemini,
        path if path.contains("/messages") => Wire::Anthropic,
        _ => Wire::OpenAi,
    };
    let json = serde_json::from_slice(&body).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Request { method, path, wire, headers, json, body, connection }))
}

/// Writes the reply. False: the connection is of no more use.
fn write(mut stream: &TcpStream, request: &Request, reply: Reply) -> std::io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = |bytes: u64| format!("{head}content-length: {bytes}\r\n\r\n").into_bytes();
    let whole = |body: &[u8]| [length(body.len() as u64), body.to_vec()].concat();
    match reply.act {
        Act::Say(said) => {
            stream.write_all(&whole(answers::answer(request.wire, &said).to_string().as_bytes()))?;
            return Ok(true);
        }
        Act::Body(body) => {
            stream.write_all(&whole(&body))?;
            return Ok(true);
        }
        Act::Hang => until_gone(stream, None)?,
        Act::Close => {}
        Act::Break(body) => stream.write_all(&[length(body.len() as u64 + 100), body].concat())?,
        Act::Stall => {
            stream.write_all(&[length(1000), b"{\"choices\":".to_vec()].concat())?;
            until_gone(stream, None)?;
        }
        Act::Drip(body, pause) => {
            stream.write_all(&length(body.len() as u64))?;
            for byte in body {
                stream.write_all(&[byte])?;
                until_gone(stream, Some(pause))?;
            }
        }
        Act::Flood(Some(bytes)) => {
            stream.write_all(&length(bytes))?;
            let blanks = vec![b' '; 1 << 16];
            for _ in 0..bytes >> 16 {
                stream.write_all(&blanks)?;
            }
        }
        Act::Flood(None) => {
            stream.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes())?;
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
            loop {
                stream.write_all(chunk.as_bytes())?;
            }
        }
        Act::Bomb => stream.write_all(&whole(&bomb(100 << 20)))?,
    }
    Ok(false)
}

/// Waits until the client goes, or for this long.
fn until_gone(mut stream: &TcpStream, pause: Option<Duration>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(pause.unwrap_or(PATIENCE)))?;
    match stream.read(&mut [0; 64]) {
        Ok(_) => Err(ErrorKind::ConnectionAborted.into()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Blanks, packed: one literal, and then "the last byte 258 times more" over and over (RFC 1951, fixed
/// codes). The sum at the end is missing.
fn bomb(size: usize) -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut buffer, mut used) = (0u64, 0);
    let mut put = |bits: u64, count: u32| {
        buffer |= bits << used;
        used += count;
        while used >= 8 {
            bytes.push(buffer as u8);
            buffer >>= 8;
            used -= 8;
        }
    };
    // not the last block; fixed codes
    put(0b010, 3);
    // codes stand with their first bit first
    let code = |code: u8| u64::from(code.reverse_bits());
    put(code(0x30 + b' '), 8);
    for _ in 0..size / 258 {
        put(code(0b1100_0101), 8);
        put(0, 5);
    }
    bytes
}
