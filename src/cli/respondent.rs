//! The respondent of read-only requests: the daemon, or, while none runs, its records.
use super::exit::Failure;
use crate::client::{Address, ClientError, Connection, Timeouts};
use crate::config::Paths;
use crate::daemon::Records;
use crate::protocol::Method;
use std::io::Write as _;

/// A respondent of read-only requests.
pub(super) enum Respondent {
    Daemon(Box<Connection>),
    /// The records of a daemon that does not run.
    Records(Box<Records>),
}

impl Respondent {
    /// Connects to the daemon; if none runs, opens its records.
    ///
    /// # Errors
    /// The daemon can't be reached, and its records can't be read or are in use by a daemon.
    pub(super) fn find(
        address: &Address,
        records_paths: impl FnOnce() -> Result<Paths, Failure>,
    ) -> Result<Self, Failure> {
        match Connection::open(address, Timeouts::default()) {
            Ok(connection) => Ok(Self::Daemon(Box::new(connection))),
            Err(error @ ClientError::Unreachable { holder: None, .. }) => {
                let records = Records::open(&records_paths()?);
                Ok(Self::Records(Box::new(records.ok_or(error)?)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The connection failed, or the answer is an error.
    pub(super) fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, ClientError> {
        match self {
            Self::Daemon(connection) => {
                let answer = connection.call::<M>(params);
                // printed apart from the answer, which is the same from either respondent
                if let Some(note) = connection.take_note() {
                    let _ = writeln!(std::io::stderr(), "{note}");
                }
                answer
            }
            Self::Records(records) => {
                let params = serde_json::to_value(params).unwrap_or_default();
                let answer = records.ask(M::NAME, params)?;
                serde_json::from_str(answer.get()).map_err(|error| ClientError::Garbled {
                    socket: std::path::PathBuf::new(),
                    what: error.to_string(),
                })
            }
        }
    }
}
