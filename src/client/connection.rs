//! A connection: connect, negotiate, call.
use super::address::is_ours;
use super::lines::{Broken, Lines};
use super::{Address, ClientError};
use crate::protocol::{
    Code, Hello, HelloParams, HelloView, Message, Method, PROTOCOLS, Response, RpcError, call,
};
use rustix::net;
use serde_json::value::RawValue;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The timeouts of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For connecting and for the answer to `hello`, each.
    pub connect: Duration,
    /// For any other answer.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(60) }
    }
}

impl Timeouts {
    /// Returns the same timeout for everything.
    pub fn all(time: Duration) -> Self {
        Self { connect: time, answer: time }
    }
}

/// A connection with a negotiated protocol.
#[derive(Debug)]
pub struct Connection {
    lines: Lines,
    socket: PathBuf,
    hello: HelloView,
    timeouts: Timeouts,
    next_id: u64,
    note: Option<String>,
}

impl Connection {
    /// Connects and negotiates the protocol.
    pub fn open(address: &Address, timeouts: Timeouts) -> Result<Self, ClientError> {
        let socket = address.socket()?;
        let stream = connect(&socket, timeouts.connect).map_err(|error| address.unreachable(error))?;
        let user = owner(&stream, &socket).map_err(|error| address.unreachable(error))?;
        is_ours(&socket, user)?;
        let nobody = HelloView {
            protocol: 0,
            protocols: Vec::new(),
            server: String::new(),
            pid: 0,
            database: String::new(),
            ancestors: Vec::new(),
            of_agent: false,
        };
        let mut connection =
            Self { lines: Lines::new(stream), socket, hello: nobody, timeouts, next_id: 1, note: None };
        connection.hello = connection.negotiate().map_err(|error| match error {
            ClientError::TimedOut { after, .. } => address.unreachable(format!(
                "it takes connections, but did not say hello within {} s",
                after.as_secs_f32()
            )),
            ClientError::Vanished { .. } => address.unreachable("it hung up before it said hello"),
            other => other,
        })?;
        Ok(connection)
    }

    /// Returns the daemon's answer to `hello`.
    pub fn hello(&self) -> &HelloView {
        &self.hello
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Takes the note about answers since the last call, if there is one.
    pub fn take_note(&mut self) -> Option<String> {
        self.note.take()
    }

    /// Sets the timeout of further answers.
    pub fn set_answer_timeout(&mut self, time: Duration) {
        self.timeouts.answer = time;
    }

    /// Calls a method.
    pub fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, ClientError> {
        let id = self.send::<M>(params)?;
        self.receive::<M>(id, self.timeouts.answer)
    }

    /// Calls a method several times, pipelined. The outer error is a failure of the connection, the inner ones are
    /// answers of the daemon.
    pub fn call_many<M: Method>(
        &mut self,
        params: &[M::Params],
    ) -> Result<Vec<Result<M::Reply, RpcError>>, ClientError> {
        let mut answers = Vec::with_capacity(params.len());
        // the number in flight is bounded, so that neither side's buffer fills up
        for some in params.chunks(32) {
            let ids = some.iter().map(|one| self.send::<M>(one)).collect::<Result<Vec<_>, _>>()?;
            let mut got: Vec<Option<Response>> = vec![None; ids.len()];
            while got.iter().any(Option::is_none) {
                let response = self.response(M::NAME, self.timeouts.answer)?;
                // answers may arrive in any order
                let place = response.id.as_u64().and_then(|id| ids.iter().position(|own| *own == id));
                if let Some(place) = place {
                    got[place] = Some(response);
                }
            }
            for response in got.into_iter().flatten() {
                answers.push(match response.result {
                    Ok(value) => Ok(self.decode::<M>(&value)?),
                    Err(error) => Err(error),
                });
            }
        }
        Ok(answers)
    }

    /// Waits until the daemon closes the connection. Returns false on timeout.
    pub fn wait_for_end(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            match self.lines.next(Some(deadline)) {
                Ok(_) => {}
                Err(Broken::Late) => return false,
                Err(_) => return true,
            }
        }
    }

    pub(super) fn send<M: Method>(&mut self, params: &M::Params) -> Result<u64, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        let line = call::<M>(id, params);
        let stream = self.lines.stream();
        let sent = stream
            .set_write_timeout(Some(self.timeouts.answer))
            .and_then(|()| stream.write_all(line.as_bytes()));
        match sent {
            Ok(()) => Ok(id),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                Err(ClientError::TimedOut { method: M::NAME, after: self.timeouts.answer })
            }
            // the daemon may have sent an explanation before it closed, so the answer is read anyway
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(id),
            Err(_) => Err(ClientError::Vanished { method: M::NAME }),
        }
    }

    pub(super) fn has_line(&self) -> bool {
        self.lines.has_line()
    }

    pub(super) fn lines(&mut self) -> &mut Lines {
        &mut self.lines
    }

    pub(super) fn garbled(&self, what: impl std::fmt::Display, line: &[u8]) -> ClientError {
        let start: String = String::from_utf8_lossy(line).chars().take(60).collect();
        ClientError::Garbled { socket: self.socket.clone(), what: format!("{what} in {start:?}") }
    }

    fn receive<M: Method>(&mut self, id: u64, within: Duration) -> Result<M::Reply, ClientError> {
        loop {
            let response = self.response(M::NAME, within)?;
            // an error without an id answers a line that could not be parsed: ours
            if response.id == id || (response.id.is_null() && response.result.is_err()) {
                return self.decode::<M>(&response.result?);
            }
        }
    }

    fn decode<M: Method>(&self, value: &RawValue) -> Result<M::Reply, ClientError> {
        serde_json::from_str(value.get()).map_err(|error| ClientError::Garbled {
            socket: self.socket.clone(),
            what: format!("the answer to `{}` can't be understood: {error}", M::NAME),
        })
    }

    fn response(&mut self, method: &'static str, within: Duration) -> Result<Response, ClientError> {
        let deadline = Instant::now() + within;
        loop {
            let line = self.lines.next(Some(deadline)).map_err(|broken| match broken {
                Broken::Late => ClientError::TimedOut { method, after: within },
                Broken::Closed => ClientError::Vanished { method },
                Broken::TooLong => self.garbled("a line without an end", b""),
            })?;
            match Message::decode(&line).map_err(|error| self.garbled(error, &line))? {
                Message::Response(response) => {
                    if response.note.is_some() {
                        self.note.clone_from(&response.note);
                    }
                    return Ok(response);
                }
                Message::Notification(_) => {}
            }
        }
    }

    fn negotiate(&mut self) -> Result<HelloView, ClientError> {
        let ours = PROTOCOLS.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let params = HelloParams {
            protocols: PROTOCOLS.to_vec(),
            client: concat!("bgagent ", env!("CARGO_PKG_VERSION")).into(),
        };
        let id = self.send::<Hello>(&params)?;
        match self.receive::<Hello>(id, self.timeouts.connect) {
            Ok(hello) if PROTOCOLS.contains(&hello.protocol) => Ok(hello),
            Ok(hello) => Err(ClientError::Protocol {
                ours,
                theirs: format!("the daemon ({}) wants {}", hello.server, hello.protocol),
            }),
            Err(ClientError::Refused(error)) if error.kind() == Some(Code::Protocol) => {
                Err(ClientError::Protocol { ours, theirs: format!("the daemon says: {}", error.message) })
            }
            Err(other) => Err(other),
        }
    }
}

/// Connects with a timeout: if the daemon's backlog is full, connecting would block forever.
fn connect(socket: &Path, within: Duration) -> std::io::Result<UnixStream> {
    let address = net::SocketAddrUnix::new(socket)?;
    let fd = net::socket(net::AddressFamily::UNIX, net::SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    net::sockopt::set_socket_timeout(&fd, net::sockopt::Timeout::Send, Some(within))?;
    net::connect(&fd, &address)?;
    Ok(UnixStream::from(fd))
}

/// Returns the user of the process that listens on the socket (unix(7), `SO_PEERCRED`).
#[cfg(target_os = "linux")]
fn owner(stream: &UnixStream, socket: &Path) -> std::io::Result<u32> {
    use interprocess::local_socket::prelude::*;
    use interprocess::os::unix::uds_local_socket::Stream;
    match Stream::from(stream.try_clone()?).peer_creds() {
        Ok(creds) => creds.euid().map_or_else(|| owner_of_file(socket), Ok),
        // a daemon outside this PID namespace has no pid here, which the library takes for a process that has ended
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => owner_of_file(socket),
        Err(error) => Err(error),
    }
}

/// Returns the owner, on systems that don't provide the listener's user.
#[cfg(not(target_os = "linux"))]
fn owner(_: &UnixStream, socket: &Path) -> std::io::Result<u32> {
    owner_of_file(socket)
}

/// Returns the owner of the socket file.
fn owner_of_file(socket: &Path) -> std::io::Result<u32> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata(socket)?.uid())
}
