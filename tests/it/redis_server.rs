//! A real Redis server in a folder of its own, and a client that speaks to it by hand. Where there is none to start,
//! [`Redis::start`] says that the test is skipped; `BGAGENT_REQUIRE_SERVERS=1` makes that a failure.
use super::support::wait_for;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server that writes each change to its log; it ends with this value.
pub struct Redis {
    pub folder: tempfile::TempDir,
    pub port: u16,
    more: Vec<String>,
    child: Option<Child>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Redis {
    /// A server that is up; `None`: there is none on this machine.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with further settings, as on its command line.
    pub fn start_with(more: &[&str]) -> Option<Self> {
        let found = Command::new("redis-server").arg("--version").output().is_ok();
        if !found {
            let required = std::env::var("BGAGENT_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
            assert!(!required, "there is no redis-server, and BGAGENT_REQUIRE_SERVERS=1 requires it");
            eprintln!("skipped: there is no redis-server on this machine");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let more = more.iter().map(|one| (*one).to_owned()).collect();
        let mut redis = Self { folder, port: free_port(), more, child: None };
        redis.up();
        Some(redis)
    }

    /// The socket, which no other test can have.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Where it is reached over its socket.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Starts it, and waits until it has read its log.
    #[track_caller]
    pub fn up(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).expect("our folder");
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .args(["--appendonly", "yes", "--appendfsync", "no", "--save", "", "--aof-load-truncated", "yes"])
            // a rewritten log could not be cut
            .args(["--auto-aof-rewrite-percentage", "0"])
            .args(&self.more)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("it can be started");
        self.child = Some(child);
        let socket = self.socket();
        wait_for("a Redis server", || {
            let mut client = Client::open(&socket)?;
            let said = client.try_ask(&["PING"])?;
            (said != json!({"error": "LOADING Redis is loading the dataset in memory"})).then_some(())
        });
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(self.socket());
    }

    /// Takes bytes off the end of its log, as if they had not been written when the machine went down.
    pub fn cut_log(&self, bytes: u64) {
        assert!(self.child.is_none(), "it still writes");
        let folder = self.folder.path().join("appendonlydir");
        let folder = if folder.exists() { folder } else { self.folder.path().to_owned() };
        let of_log = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.ends_with(".incr.aof") || name == "appendonly.aof"
        };
        let files =
            std::fs::read_dir(folder).expect("our folder").map(|entry| entry.expect("our folder").path());
        let log = files.filter(of_log).max().expect("it has a log");
        let file = std::fs::File::options().write(true).open(log).expect("our folder");
        let length = file.metadata().expect("our folder").len();
        file.set_len(length.saturating_sub(bytes)).expect("our folder");
    }

    /// Asks one thing.
    #[track_caller]
    pub fn ask(&self, parts: &[&str]) -> Value {
        let mut client = Client::open(&self.socket()).expect("it listens");
        client.try_ask(parts).expect("it answers")
    }

    /// All entries of a stream: their ids and their fields.
    #[track_caller]
    pub fn entries(&self, stream: &str) -> Vec<(String, serde_json::Map<String, Value>)> {
        let (mut all, mut from) = (Vec::new(), "-".to_owned());
        loop {
            let page = self.ask(&["XRANGE", stream, &from, "+", "COUNT", "5000"]);
            let page = page.as_array().unwrap_or_else(|| panic!("{page}"));
            for entry in page {
                let fields = entry[1].as_array().expect("fields");
                let fields = fields.chunks(2).map(|pair| (text(&pair[0]), pair[1].clone())).collect();
                all.push((text(&entry[0]), fields));
            }
            match all.last() {
                Some((last, _)) if page.len() == 5000 => from = format!("({last}"),
                _ => return all,
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// A port that nobody has just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// A connection that is asked one thing after the other.
struct Client(BufReader<std::os::unix::net::UnixStream>);

impl Client {
    fn open(socket: &Path) -> Option<Self> {
        std::os::unix::net::UnixStream::connect(socket).ok().map(|stream| Self(BufReader::new(stream)))
    }

    fn try_ask(&mut self, parts: &[&str]) -> Option<Value> {
        let mut command = format!("*{}\r\n", parts.len());
        parts.iter().for_each(|part| command += &format!("${}\r\n{part}\r\n", part.len()));
        self.0.get_mut().write_all(command.as_bytes()).ok()?;
        self.reply()
    }

    fn reply(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let (kind, rest) = line.trim_end().split_at(1);
        Some(match kind {
            "+" => rest.into(),
            "-" => json!({"error": rest}),
            ":" => rest.parse::<i64>().expect("a number").into(),
            "$" if rest == "-1" => Value::Null,
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().expect("a length") + 2];
                self.0.read_exact(&mut bytes).ok()?;
                bytes.truncate(bytes.len() - 2);
                String::from_utf8(bytes).expect("text").into()
            }
            _ => (0..rest.parse::<i64>().expect("a length"))
                .map(|_| self.reply())
                .collect::<Option<Value>>()?,
        })
    }
}

/// What stands between an exporter and a server does with one connection.
#[derive(Clone, Debug)]
pub enum Oddly {
    /// Says this to everything, in order; then nothing more, and keeps it open.
    Say(Vec<Vec<u8>>),
    /// Passes on so many commands, and takes the answer of the last away: closes instead.
    LoseAnswer(usize),
    /// Takes commands of at most so many bytes; a longer one never gets through.
    OnlyShort(usize),
}

/// Stands before a server: the first connections go oddly, all others as they should.
pub fn before(redis: &Redis, oddly: Vec<Oddly>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    let socket = redis.socket();
    std::thread::spawn(move || {
        let mut oddly = oddly.into_iter();
        for stream in listener.incoming().flatten() {
            let (socket, oddly) = (socket.clone(), oddly.next());
            std::thread::spawn(move || serve(stream, &socket, oddly));
        }
    });
    port
}

fn serve(stream: TcpStream, socket: &Path, oddly: Option<Oddly>) {
    let mut out = stream.try_clone().expect("a socket");
    let mut commands = BufReader::new(stream);
    match oddly {
        Some(Oddly::Say(answers)) => {
            for answer in answers {
                if command(&mut commands).is_none() || out.write_all(&answer).is_err() {
                    return;
                }
            }
            while command(&mut commands).is_some() {}
        }
        Some(Oddly::LoseAnswer(count)) => pass(&mut commands, &mut out, socket, Some(count), usize::MAX),
        Some(Oddly::OnlyShort(longest)) => pass(&mut commands, &mut out, socket, None, longest),
        None => pass(&mut commands, &mut out, socket, None, usize::MAX),
    }
}

/// Passes commands on, and answers back; of the last of `count` the answer is lost, and so is a command that is longer
/// than `longest`.
fn pass(
    commands: &mut BufReader<TcpStream>,
    out: &mut TcpStream,
    socket: &Path,
    count: Option<usize>,
    longest: usize,
) {
    let Some(mut real) = Client::open(socket) else { return };
    for n in 1.. {
        let Some(bytes) = command(commands) else { return };
        if bytes.len() > longest {
            while command(commands).is_some() {}
            return;
        }
        if real.0.get_mut().write_all(&bytes).is_err() {
            return;
        }
        let Some(answer) = real.reply() else { return };
        if count == Some(n) {
            return;
        }
        if out.write_all(&encoded(&answer)).is_err() {
            return;
        }
    }
}

/// The bytes of one command.
fn command(from: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let line = |bytes: &mut Vec<u8>, from: &mut BufReader<TcpStream>| {
        let start = bytes.len();
        from.read_until(b'\n', bytes).ok().filter(|length| *length > 0)?;
        std::str::from_utf8(&bytes[start + 1..]).ok()?.trim_end().parse::<usize>().ok()
    };
    for _ in 0..line(&mut bytes, from)? {
        let length = line(&mut bytes, from)?;
        let start = bytes.len();
        bytes.resize(start + length + 2, 0);
        from.read_exact(&mut bytes[start..]).ok()?;
    }
    Some(bytes)
}

fn encoded(answer: &Value) -> Vec<u8> {
    match answer {
        Value::String(text) => format!("${}\r\n{text}\r\n", text.len()).into_bytes(),
        Value::Number(number) => format!(":{number}\r\n").into_bytes(),
        Value::Array(parts) => {
            let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
            parts.iter().for_each(|part| bytes.extend(encoded(part)));
            bytes
        }
        Value::Object(error) => format!("-{}\r\n", text(&error["error"])).into_bytes(),
        _ => b"$-1\r\n".to_vec(),
    }
}
