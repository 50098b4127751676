//! Asks the daemon from async code: a few connections that are kept, each used by one question at a time.
use crate::client::{Address, ClientError, Connection, Timeouts};
use crate::protocol::Method;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Connections that are kept.
const KEPT: usize = 4;

/// How long the daemon may take for an answer; whoever looks at a page does not wait longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The daemon, as pages ask it. Cheap to clone.
#[derive(Clone)]
pub(super) struct DaemonPool {
    address: Arc<Address>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl DaemonPool {
    pub(super) fn new(address: Address) -> Self {
        Self { address: Arc::new(address), idle: Arc::default() }
    }

    /// Where it is.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Asks. A kept connection that has gone stale is replaced once, for questions that change nothing.
    pub(super) async fn call<M: Method>(&self, params: M::Params) -> Result<M::Reply, ClientError>
    where
        M::Params: Send + 'static,
        M::Reply: Send + 'static,
    {
        let pool = self.clone();
        let asked = tokio::task::spawn_blocking(move || pool.call_now::<M>(&params)).await;
        asked.unwrap_or(Err(ClientError::Vanished { method: M::NAME }))
    }

    /// Has something changed. On a connection of its own, and never twice: an order whose answer did not come may have been
    /// carried out.
    pub(super) async fn order<M: Method>(&self, params: M::Params) -> Result<M::Reply, ClientError>
    where
        M::Params: Send + 'static,
        M::Reply: Send + 'static,
    {
        let address = self.address.clone();
        let ordered = tokio::task::spawn_blocking(move || {
            Connection::open(&address, Timeouts::all(PATIENCE))?.call::<M>(&params)
        });
        ordered.await.unwrap_or(Err(ClientError::Vanished { method: M::NAME }))
    }

    /// The same as [`DaemonPool::call`], from a thread that may block.
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
        let mut connection = Connection::open(&self.address, Timeouts::all(PATIENCE))?;
        let answer = connection.call::<M>(params);
        if matches!(&answer, Ok(_) | Err(ClientError::Refused(_))) {
            self.keep(connection);
        }
        answer
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().expect("no holder panics");
        if idle.len() < KEPT {
            idle.push(connection);
        }
    }
}
