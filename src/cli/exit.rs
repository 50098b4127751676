//! How a command ends: every kind of failure, with its exit code (section 9), its message and its hint.
use super::render::plain_lines;
use crate::client::{ClientError, Holder};
use crate::config::{Diagnostic, Paths, Rejected, RejectedFor};
use crate::daemon::Refusal;
use crate::domain::counted;
use crate::protocol::{Code, RpcError};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// Exit code: the daemon can't be reached.
pub const UNREACHABLE: u8 = 3;

/// The outcome of a command that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or there was nothing to do.
    Done,
    /// The request succeeded with a negative result, which was printed.
    Negative,
    /// Some of several targets failed; that was printed.
    SomeFailed,
    /// `health` only: the daemon is not running or its database can't be read; that was printed.
    Dead,
}

impl Outcome {
    /// Returns the exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Negative => 1,
            Self::Dead => 2,
            Self::SomeFailed => 9,
        }
    }
}

/// The ways in which a command can fail.
#[derive(Debug)]
pub enum Failure {
    /// Wrong usage.
    Usage {
        /// What is wrong.
        what: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// The configuration is invalid. The text shows each error with its source line.
    Config {
        path: PathBuf,
        /// Every error, rendered. Empty: the file can't even be read.
        errors: Vec<String>,
        /// The same errors as data.
        diagnostics: Vec<Diagnostic>,
    },
    /// A call to the daemon failed.
    Client(ClientError),
    /// A file, a folder or a program failed.
    Io {
        /// The operation that failed, as a verb.
        doing: &'static str,
        path: PathBuf,
        cause: io::Error,
    },
    /// Something exists already, or is missing.
    Conflict {
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// The timeout that a person gave has passed.
    TimedOut {
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// The request was carried out, and its result is negative.
    Negative {
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// A configuration that others can write.
    NotOurs {
        /// The path, its owner, and its mode.
        what: String,
        /// The command that repairs it.
        hint: String,
    },
    /// Something is wrong with the state folder, as the daemon would report it.
    State(Refusal),
    /// The reader of our output has closed it: nothing is printed.
    BrokenPipe,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        Self::Client(ClientError::Refused(error))
    }
}

/// Formats the holder's process: `process 4711`.
fn process(holder: Holder) -> String {
    holder.pid.map_or("process unknown".into(), |pid| format!("process {pid}"))
}

impl Failure {
    /// Returns a usage error.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), hint: None }
    }

    /// Returns a usage error with a hint.
    pub fn usage_hint(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), hint: Some(hint.into()) }
    }

    /// Returns the failure of an operation on `path`.
    pub fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), cause }
    }

    /// Returns the failure for an invalid configuration.
    pub fn rejected(rejected: &Rejected, color: bool) -> Self {
        let (path, diagnostics) = (rejected.path.clone(), rejected.diagnostics.clone());
        if let (RejectedFor::Owner, [one]) = (rejected.why, &diagnostics[..]) {
            return Self::NotOurs { what: one.message.clone(), hint: one.hint.clone().unwrap_or_default() };
        }
        let errors = if rejected.is_unreadable() {
            Vec::new()
        } else {
            vec![crate::config::render(&diagnostics, &rejected.shown, &path, color)]
        };
        Self::Config { path, errors, diagnostics }
    }

    /// Returns the exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Config { .. } => 78,
            Self::NotOurs { .. } => 77,
            Self::Io { .. } => 74,
            Self::Conflict { .. } => 5,
            Self::TimedOut { .. } => 7,
            Self::Negative { .. } => 1,
            Self::State(refusal) => refusal.code,
            Self::BrokenPipe => 141,
            Self::Client(error) => match error {
                ClientError::Unreachable { .. } | ClientError::Vanished { .. } => UNREACHABLE,
                ClientError::Foreign { .. } => 77,
                ClientError::TimedOut { .. } => 7,
                ClientError::Protocol { .. } | ClientError::Garbled { .. } => 8,
                ClientError::Refused(error) => refused(error),
            },
        }
    }

    /// Returns the message: one sentence without a full stop.
    pub fn what(&self) -> String {
        match self {
            Self::Usage { what, .. }
            | Self::Conflict { what, .. }
            | Self::TimedOut { what, .. }
            | Self::NotOurs { what, .. }
            | Self::Negative { what, .. } => what.clone(),
            Self::Config { errors, diagnostics, .. } if errors.is_empty() && !diagnostics.is_empty() => {
                diagnostics[0].message.clone()
            }
            Self::Config { path, diagnostics, .. } => {
                let errors = diagnostics.iter().filter(|one| one.is_error).count();
                let warnings = counted(diagnostics.len() - errors, "warning");
                format!("{} is not valid: {}, {warnings}", path.display(), counted(errors, "error"))
            }
            Self::Io { doing, path, cause } => format!("can't {doing} {}: {cause}", path.display()),
            Self::State(refusal) => refusal.what.clone(),
            Self::BrokenPipe => "the reader of the output is gone".into(),
            Self::Client(ClientError::Unreachable {
                holder: Some(holder), listener: Some(listener), ..
            }) if listener.standby_of.is_some() && Some(listener.pid) == holder.pid => {
                let leader = listener.standby_of.as_deref().unwrap_or_default();
                format!(
                    "the daemon here ({}) is a standby and takes no commands: {leader} leads",
                    process(*holder)
                )
            }
            Self::Client(error @ ClientError::Unreachable { holder: Some(holder), listener, socket, .. })
                if listener.as_ref().is_none_or(|listener| listener.socket == *socket) =>
            {
                // `daemon.json` is written once it listens
                let was_there = listener.as_ref().is_some_and(|listener| Some(listener.pid) == holder.pid);
                let what = match (socket.exists(), was_there) {
                    (true, _) => "nobody answers at its socket",
                    (false, true) => "its socket was removed",
                    (false, false) => "has no socket yet: it is starting, or its files were removed",
                };
                format!("{error} (the daemon of the state folder is alive, {}; {what})", process(*holder))
            }
            Self::Client(error @ ClientError::Unreachable { listener: Some(listener), socket, .. }) => {
                let pid = listener.pid;
                let state = match (crate::client::is_alive(pid), listener.socket == *socket) {
                    (true, true) => format!("its process {pid} is alive"),
                    (true, false) => {
                        format!(
                            "the daemon of the state folder, process {pid}, listens at {}",
                            listener.socket.display()
                        )
                    }
                    (false, _) => format!("its last process, {pid}, is gone"),
                };
                format!("{error} ({state})")
            }
            Self::Client(error) => error.to_string(),
        }
    }

    /// Returns the hint.
    pub fn hint(&self, paths: Option<&Paths>) -> Option<String> {
        match self {
            Self::Usage { hint, .. } => hint.clone(),
            Self::Conflict { hint, .. }
            | Self::TimedOut { hint, .. }
            | Self::NotOurs { hint, .. }
            | Self::Negative { hint, .. } => Some(hint.clone()),
            Self::Config { errors, diagnostics, .. } if errors.is_empty() => {
                diagnostics.first().and_then(|one| one.hint.clone())
            }
            Self::State(refusal) => refusal.hint.clone(),
            Self::Config { .. } | Self::Io { .. } | Self::BrokenPipe => None,
            Self::Client(error) => match error {
                ClientError::Unreachable { listener: Some(listener), socket, .. }
                    if crate::client::is_alive(listener.pid) && listener.socket != *socket =>
                {
                    Some("leave --socket (or BGAGENT_SOCKET) out".into())
                }
                ClientError::Unreachable { socket, cause, .. } if cause.contains("Permission denied") => {
                    Some(format!("{} belongs to another user: ask as that user", socket.display()))
                }
                ClientError::Unreachable { holder: Some(holder), listener: Some(listener), .. }
                    if listener.standby_of.is_some() && Some(listener.pid) == holder.pid =>
                {
                    Some("run this there; `bgagent health` works here, too".into())
                }
                ClientError::Unreachable { holder: Some(_), socket, .. } if in_the_way(socket).is_some() => {
                    in_the_way(socket).map(|what| {
                        let path = socket.display();
                        format!("{what} stands at {path}: move it away, and the daemon listens there again within seconds")
                    })
                }
                ClientError::Unreachable { holder: Some(holder), .. } => {
                    let stop = holder
                        .pid
                        .map_or(String::new(), |pid| format!("; `kill {pid}` shuts it down cleanly"));
                    Some(format!(
                        "ask again: it replaces a removed socket within seconds; `bgagent health` reads its \
                         database without it{stop}"
                    ))
                }
                ClientError::Unreachable { .. } => Some(super::service::how_to_start(paths)),
                ClientError::Vanished { .. } => Some(
                    "whether it was done is not known; `bgagent status` shows whether the daemon is back"
                        .into(),
                ),
                ClientError::TimedOut { .. } => {
                    Some("is it busy? `bgagent health` reads its database without asking it".into())
                }
                ClientError::Foreign { user, .. } => Some(format!(
                    "ask as that user if it is meant: `sudo -u '#{user}' bgagent …`; else name your own daemon with --state-dir or \
                     --socket"
                )),
                ClientError::Protocol { .. } => Some(
                    "run the same release on both sides; `bgagent shutdown` stops a daemon of any release"
                        .into(),
                ),
                ClientError::Garbled { .. } => {
                    Some("is --socket (or BGAGENT_SOCKET) the socket of another program?".into())
                }
                ClientError::Refused(error) => error.data.as_ref().and_then(|data| data.hint.clone()),
            },
        }
    }

    /// Returns all errors of a configuration.
    fn errors(&self) -> &[String] {
        match self {
            Self::Config { errors, .. } => errors,
            Self::Client(ClientError::Refused(RpcError { data: Some(data), .. })) => &data.errors,
            _ => &[],
        }
    }

    /// Formats the failure for people: the errors of a configuration, `bgagent: <what>`, `hint: …`.
    pub fn to_text(&self, paths: Option<&Paths>) -> String {
        let mut text = String::new();
        for error in self.errors() {
            let _ = writeln!(text, "{}", error.trim_end());
        }
        let _ = writeln!(text, "bgagent: {}", plain_lines(&self.what()));
        if let Some(hint) = self.hint(paths) {
            let _ = writeln!(text, "hint: {}", plain_lines(&hint));
        }
        text
    }

    /// Formats the failure for programs: one line of JSON.
    pub fn to_json(&self, paths: Option<&Paths>) -> Value {
        let mut error = json!({"code": self.code(), "message": self.what(), "hint": self.hint(paths)});
        match self {
            Self::Config { path, diagnostics, .. } => {
                error["errors"] = diagnostics.iter().map(|one| one.to_json(path)).collect();
            }
            Self::Client(ClientError::Refused(RpcError { data: Some(data), .. }))
                if !data.diagnostics.is_empty() =>
            {
                error["errors"] = json!(data.diagnostics);
            }
            _ if !self.errors().is_empty() => error["errors"] = json!(self.errors()),
            _ => {}
        }
        json!({"error": error})
    }
}

/// Returns the exit code for a request that the daemon refused.
pub fn refused(error: &RpcError) -> u8 {
    if error.data.as_ref().is_some_and(|data| data.pending) {
        return 7; // not refused: still pending, but no caller waits for it
    }
    match error.kind() {
        Some(Code::NoSuchAgent | Code::NoSuchRun) => 4,
        Some(Code::WrongState) => 5,
        Some(Code::InvalidConfig) => 78,
        Some(Code::Refused | Code::ShuttingDown) => 6,
        Some(Code::NoLeader) => UNREACHABLE,
        Some(Code::Protocol | Code::NoSuchMethod) => 8,
        Some(Code::InvalidParams) => 2,
        Some(Code::Parse | Code::InvalidRequest | Code::Internal) | None => 1,
    }
}

/// What stands where a socket should be, if it is something else.
fn in_the_way(socket: &std::path::Path) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    let kind = std::fs::symlink_metadata(socket).ok()?.file_type();
    match kind {
        kind if kind.is_socket() => None,
        kind if kind.is_dir() => Some("a folder"),
        kind if kind.is_symlink() => Some("a link"),
        _ => Some("a file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_failure_has_the_exit_code_of_the_contract() {
        let client = |error| Failure::Client(error);
        let rpc = |code| Failure::from(RpcError::new(code, "x"));
        let table = [
            (Failure::usage("x"), 2),
            (client(ClientError::Foreign { place: "/s".into(), user: 1, me: 2 }), 77),
            (Failure::Config { path: "x".into(), errors: vec![], diagnostics: vec![] }, 78),
            (Failure::NotOurs { what: "x".into(), hint: "y".into() }, 77),
            (Failure::io("read", Path::new("x"), io::ErrorKind::NotFound.into()), 74),
            (Failure::Conflict { what: "x".into(), hint: "y".into() }, 5),
            (Failure::TimedOut { what: "x".into(), hint: "y".into() }, 7),
            (Failure::Negative { what: "x".into(), hint: "y".into() }, 1),
            (Failure::BrokenPipe, 141),
            (
                client(ClientError::Unreachable {
                    socket: "x".into(),
                    cause: "y".into(),
                    listener: None,
                    holder: None,
                }),
                3,
            ),
            (client(ClientError::Vanished { method: "ping" }), 3),
            (client(ClientError::TimedOut { method: "ping", after: Duration::from_secs(1) }), 7),
            (client(ClientError::Protocol { ours: "1".into(), theirs: "2".into() }), 8),
            (client(ClientError::Garbled { socket: "x".into(), what: "y".into() }), 8),
            (rpc(Code::NoSuchAgent), 4),
            (rpc(Code::NoSuchRun), 4),
            (rpc(Code::WrongState), 5),
            (rpc(Code::InvalidConfig), 78),
            (rpc(Code::Refused), 6),
            (Failure::from(RpcError::new(Code::Refused, "x").pending()), 7),
            (rpc(Code::ShuttingDown), 6),
            (rpc(Code::NoLeader), 3),
            (rpc(Code::Protocol), 8),
            (rpc(Code::NoSuchMethod), 8),
            (rpc(Code::InvalidParams), 2),
            (rpc(Code::Internal), 1),
            (Failure::from(RpcError { code: 99, message: "newer".into(), data: None }), 1),
        ];
        for (failure, code) in table {
            assert_eq!(failure.code(), code, "{failure:?}");
        }
        let codes = [Outcome::Done, Outcome::Negative, Outcome::Dead, Outcome::SomeFailed].map(Outcome::code);
        assert_eq!(codes, [0, 1, 2, 9]);
    }

    #[test]
    fn an_error_is_one_sentence_and_one_hint() {
        let error = RpcError::new(Code::NoSuchAgent, "no agent `nwes`").hint("did you mean `news`?");
        let failure = Failure::from(error);
        assert_eq!(failure.to_text(None), "bgagent: no agent `nwes`\nhint: did you mean `news`?\n");
        let json = r#"{"error":{"code":4,"hint":"did you mean `news`?","message":"no agent `nwes`"}}"#;
        assert_eq!(failure.to_json(None).to_string(), json);
    }

    #[test]
    fn a_socket_of_somebody_else_is_no_reason_to_start_a_daemon() {
        let failure = Failure::Client(ClientError::Unreachable {
            socket: "/run/x.sock".into(),
            cause: "Permission denied (os error 13)".into(),
            listener: None,
            holder: None,
        });
        assert_eq!(failure.hint(None).unwrap(), "/run/x.sock belongs to another user: ask as that user");
    }

    #[test]
    fn a_daemon_that_lives_without_a_socket_is_not_to_be_started() {
        let failure = Failure::Client(ClientError::Unreachable {
            socket: "/nowhere/x.sock".into(),
            cause: "No such file or directory (os error 2)".into(),
            listener: Some(Box::new(crate::client::Listener {
                socket: "/nowhere/x.sock".into(),
                pid: 4711,
                version: String::new(),
                protocol: None,
                standby_of: None,
            })),
            holder: Some(Holder { pid: Some(4711) }),
        });
        assert!(
            failure
                .what()
                .ends_with("(the daemon of the state folder is alive, process 4711; its socket was removed)")
        );
        let hint = failure.hint(None).unwrap();
        assert!(hint.contains("ask again") && hint.contains("`kill 4711`"), "{hint}");
    }

    #[test]
    fn a_dead_daemon_is_named() {
        let listener = crate::client::Listener {
            socket: "/run/x.sock".into(),
            pid: u32::MAX,
            version: String::new(),
            protocol: None,
            standby_of: None,
        };
        let failure = Failure::Client(ClientError::Unreachable {
            socket: "/run/x.sock".into(),
            cause: "Connection refused".into(),
            listener: Some(Box::new(listener)),
            holder: None,
        });
        assert_eq!(
            failure.what(),
            "can't reach the daemon at /run/x.sock: Connection refused (its last process, 4294967295, is gone)"
        );
    }
}
