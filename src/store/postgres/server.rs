//! The location of a PostgreSQL store, and how to connect to it.
use super::session::Session;
use super::waiting::wait;
use crate::domain::StoreSpec;
use crate::postgres::{Address, ConnectError, ConnectErrorKind, Link};
use crate::store::error::StoreError;
use crate::store::reader::Reader;
use crate::store::readers::ReaderSource;
use crate::store::sql::SqlError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Timeout of connecting, including the lookup of the password.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Settings of each connection. The server aborts a hanging statement before our own timeout, and
/// notices a dead peer. The schema is set separately, before these.
const SETTINGS: &str = "SET statement_timeout = '25s'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '15s'; SET client_min_messages = 'warning';
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// A schema of a database on a server.
pub(in crate::store) struct StoreServer {
    spec: StoreSpec,
    /// The state folder of the daemon.
    pub(super) state_dir: PathBuf,
    /// The location, for people.
    place: PathBuf,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
}

impl StoreServer {
    /// Creates the store of a configuration, for the daemon of a state folder.
    pub(in crate::store) fn of(spec: &StoreSpec, state_dir: &Path) -> Self {
        Self { place: PathBuf::from(spec.place()), spec: spec.clone(), state_dir: state_dir.to_owned() }
    }

    pub(in crate::store) fn place(&self) -> &Path {
        &self.place
    }

    pub(super) fn schema(&self) -> &str {
        &self.spec.schema
    }

    pub(super) fn durability(&self) -> crate::domain::Durability {
        self.spec.durability
    }

    /// Returns a conversion of SQL errors that adds the location.
    pub(super) fn says<'a>(&'a self, doing: &'a str) -> impl Fn(SqlError) -> StoreError + 'a {
        move |error| StoreError::of(error, &self.place, doing)
    }

    /// Opens another connection.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] if the server does not answer; [`StoreError::Rejected`] if it
    /// refuses the connection.
    pub(super) fn connect(&self, purpose: Purpose) -> Result<Session, StoreError> {
        let place = self.place.display().to_string();
        let connecting = async {
            let password = self.spec.password.as_ref();
            let address = Address::of(&self.spec.url, password, CONNECT_TIMEOUT).await?.of_primary();
            let mut link = Link::open_for(address, usize::MAX).await?;
            // statements are never cancelled from outside, commits least of all
            link.is_done();
            Ok(link)
        };
        let link = match wait(async { tokio::time::timeout(CONNECT_TIMEOUT, connecting).await }) {
            Ok(Ok(link)) => link,
            Ok(Err(ConnectError { kind: ConnectErrorKind::Unreachable, what })) => {
                return Err(StoreError::Unreachable { place, what });
            }
            Ok(Err(ConnectError { what, .. })) => return Err(StoreError::Rejected { place, what }),
            Err(_) => {
                let what = format!("nobody answers within {} s", CONNECT_TIMEOUT.as_secs());
                return Err(StoreError::Unreachable { place, what });
            }
        };
        let session = Session::of(link);
        let mut settings = format!("SET search_path = {}; {SETTINGS}", quoted(self.schema()));
        if purpose == Purpose::Read {
            settings.push_str("; SET default_transaction_read_only = on");
        }
        session.batch(&settings).map_err(self.says("setting up the connection"))?;
        Ok(session)
    }
}

/// Quotes a name as an SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl ReaderSource for Arc<StoreServer> {
    fn open(&self) -> Result<Reader, StoreError> {
        let session = self.connect(Purpose::Read)?;
        Ok(Reader { db: Box::new(session), place: self.place.clone() })
    }

    fn confirm(&self, error: StoreError) -> StoreError {
        error
    }
}
