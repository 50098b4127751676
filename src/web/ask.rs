//! Calls the daemon from async code over a small pool of connections, each used by one call at a time.
use crate::client::{Address, ClientError, Connection, Timeouts};
use crate::protocol::Method;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Maximum number of idle connections.
const MAX_IDLE_CONNECTIONS: usize = 4;

/// Timeout of an answer; a person does not wait longer for a page.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The connection pool of the pages. Cheap to clone.
#[derive(Clone)]
pub(super) struct DaemonPool {
    address: Arc<Address>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl DaemonPool {
    pub(super) fn new(address: Address) -> Self {
        Self { address: Arc::new(address), idle: Arc::default() }
    }

    /// Returns the address of the daemon.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Makes a read-only call. A pooled connection that has become stale is replaced once.
    pub(super) async fn call<M: Method>(&self, params: M::Params) -> Result<M::Reply, ClientError>
    where
        M::Params: Send + 'static,
        M::Reply: Send + 'static,
    {
        let pool = self.clone();
        let asked = tokio::task::spawn_blocking(move || pool.call_now::<M>(&params)).await;
        asked.unwrap_or(Err(ClientError::Vanished { method: M::NAME }))
    }

    /// Makes a change. It uses a new connection and is never retried: a change without an answer may have been carried
    /// out.
    pub(super) async fn order<M: Method>(&self, params: M::Params) -> Result<M::Reply, ClientError>
    where
        M::Params: Send + 'static,
        M::Reply: Send + 'static,
    {
        let address = self.address.clone();
        let ordered = tokio::task::spawn_blocking(move || {
            Connection::open(&address, Timeouts::all(ANSWER_TIMEOUT))?.call::<M>(&params)
        });
        ordered.await.unwrap_or(Err(ClientError::Vanished { method: M::NAME }))
    }

    /// Makes a call as [`DaemonPool::call`] does, from a thread that may block.
    pub(super) fn call_now<M: Method>(&self, params: &M::Params) -> Result<M::Reply, ClientError> {
        let kept = self.idle.lock().expect("no holder panics").pop();
        if let Some(mut connection) = kept {
            match connection.call::<M>(params) {
                Err(error) if error.is_passing() => {}
                answer => {
                    if matches!(&answer, Ok(_) | Err(ClientError::Refused(_))) {
                        self.keep(connection);
                    }
                    return answer;
                }
            }
        }
        let mut connection = Connection::open(&self.address, Timeouts::all(ANSWER_TIMEOUT))?;
        let answer = connection.call::<M>(params);
        if matches!(&answer, Ok(_) | Err(ClientError::Refused(_))) {
            self.keep(connection);
        }
        answer
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().expect("no holder panics");
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }
}
