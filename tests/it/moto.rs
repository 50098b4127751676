//! An S3-compatible server for tests: `moto_server` (PyPI: `moto[server]`), started on a free port of the loopback
//! interface. Where there is none to start, [`Moto::start`] says that the test is skipped;
//! `BGAGENT_REQUIRE_SERVERS=1` makes that a failure.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

/// A server; it ends with this value. It believes every signature.
pub struct Moto {
    /// Where it listens: `127.0.0.1:PORT`.
    pub address: String,
    child: Child,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `$BGAGENT_MOTO_SERVER`, what `.ci/run` installed, or what is on the path.
fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("BGAGENT_MOTO_SERVER") {
        return Some(path.into());
    }
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/target/moto/bin/moto_server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("moto_server"));
    std::iter::once(installed.into()).chain(on_path).find(|path| path.is_file())
}

impl Moto {
    /// A fresh server without buckets; `None`: there is none on this machine.
    pub fn start() -> Option<Self> {
        let Some(program) = program() else {
            let required = std::env::var("BGAGENT_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
            assert!(!required, "there is no moto_server, and BGAGENT_REQUIRE_SERVERS=1 requires it");
            eprintln!("skipped: there is no moto_server on this machine (pip install 'moto[server]')");
            return None;
        };
        let mut child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto_server can be started");
        let output = BufReader::new(child.stderr.take().expect("a pipe"));
        let (found, address) = mpsc::channel();
        // Reads on to the end, so that the server never waits for a reader.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("Running on http://") {
                    let _ = found.send(address.trim().to_owned());
                }
            }
        });
        let mut moto = Self { address: String::new(), child };
        moto.address = address.recv_timeout(super::support::PATIENCE).expect("moto_server comes up");
        Some(moto)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, name: &str) {
        let status = self.put(&format!("/{name}"), &[], b"");
        assert!(status.contains(" 200 "), "{status}");
    }

    /// Puts an object behind the back of the client under test; gives the first line of the answer.
    pub fn put(&self, path: &str, headers: &[&str], body: &[u8]) -> String {
        let mut request = format!("PUT {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for header in headers {
            request.push_str(&format!("{header}\r\n"));
        }
        // The form of a signature is enough.
        request.push_str(&format!(
            "authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
             SignedHeaders=host, Signature=0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ));
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(body)).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer.lines().next().unwrap_or_default().to_owned()
    }
}
