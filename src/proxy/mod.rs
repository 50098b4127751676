//! The egress proxy of a sandbox: the only destination that sandboxed programs reach, at a port of their own network namespace.
//!
//! Theory of operation. Each program that has `net` gets a [`Pass`]: a key, and the destinations that it may connect to. Its
//! environment names the proxy with the key, in the usual variables. Connections to the listener in its network namespace are
//! served for that pass alone (`serve`): `CONNECT` for encrypted traffic, requests in absolute form for the rest (RFC 9110,
//! 9.3.6; RFC 9112, 3.2.2). Each destination is checked by its name, resolved once, checked by its addresses, and connected to
//! at those (`net::connect`); so DNS rebinding to a private address is refused. A refusal is explained to the program, counted,
//! and reported once per destination ([`denials`]).
//!
//! For a program that sends requests to models, a [`meter`] answers at the same listener in place of the provider.
//!
//! A pass ends with its program: open connections are closed.
mod forward;
mod listen;
pub mod meter;
mod reply;
mod serve;
mod state;

use crate::domain::{NetTarget, ProgramOwner};
use crate::net::Allow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use meter::Meter;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use state::{Denial, denials};
use state::{PassState, Seen};

/// The port of the proxy within the network namespace: the usual one for proxies.
pub const PORT: u16 = 3128;
/// Maximum concurrent DNS lookups of one program.
const MAX_LOOKUPS: usize = 4;
/// The user name that goes with the key.
const USER_NAME: &str = "bgagent";

/// What one program may reach. Dropping it closes its connections.
#[derive(Debug)]
pub struct Pass {
    state: Arc<PassState>,
}

impl Pass {
    /// Creates the pass of `program` with the destinations that it may connect to.
    pub fn new(targets: &[NetTarget], owner: ProgramOwner, program: &Path) -> Self {
        let (mut public, mut private) = (Vec::new(), Vec::new());
        for target in targets {
            match target {
                NetTarget::Public(host) => public.push(host.clone()),
                NetTarget::Private(host) => private.push(host.clone()),
            }
        }
        // 244 random bits
        let key = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let state = PassState {
            credentials: format!("Basic {}", BASE64.encode(format!("{USER_NAME}:{key}"))),
            key,
            allow: Allow::hosts(public).and_private(private),
            reaches_this_machine: targets.iter().any(NetTarget::is_this_machine),
            owner,
            program: program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            seen: Mutex::new(Seen::default()),
            ended: CancellationToken::new(),
            meter: None,
        };
        Self { state: Arc::new(state) }
    }

    /// Adds a meter, which answers requests that are addressed to the proxy itself. Called before serving.
    pub fn with_meter(mut self, meter: &Meter) -> Self {
        if let Some(state) = Arc::get_mut(&mut self.state) {
            state.meter = Some(meter.state());
        }
        self
    }

    /// Returns the program's environment variables: the proxy with its key, and exceptions from it. The program's own listeners
    /// are reached directly, unless `net` names this machine.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        const NAMES: [&str; 6] =
            ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let address = format!("http://{USER_NAME}:{}@127.0.0.1:{PORT}", self.state.key);
        // a meter handles both cases itself
        let direct = if self.state.reaches_this_machine { "" } else { "localhost,127.0.0.1,::1" };
        let mut all: Vec<_> = NAMES.map(|name| (name, address.clone())).into();
        all.extend(["NO_PROXY", "no_proxy"].map(|name| (name, direct.to_owned())));
        // Node reads the others only with this set
        all.push(("NODE_USE_ENV_PROXY", "1".to_owned()));
        all
    }

    /// Serves the listener once it is available, until the pass is dropped.
    pub fn serve(&self, listener: impl Future<Output = Option<std::net::TcpListener>> + Send + 'static) {
        listen::serve(self.state.clone(), self.state.ended.clone(), listener);
    }

    /// Returns the message about each refused destination.
    pub fn refused(&self) -> Vec<String> {
        self.state.seen().refused.values().cloned().collect()
    }

    /// Returns the destinations that it connected to, and how often.
    pub fn connections(&self) -> BTreeMap<String, u64> {
        self.state.seen().connections.clone()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.state.ended.cancel();
        let seen = self.state.seen();
        if !seen.connections.is_empty() {
            let (table, program) = (&self.state.owner.table, &self.state.program);
            tracing::debug!(%table, %program, connections = ?seen.connections, "was connected by the proxy");
        }
    }
}

#[cfg(test)]
mod tests;
