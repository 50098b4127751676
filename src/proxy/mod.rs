//! The way out of a sandbox: a proxy that programs within walls reach at a port of their own network, and nothing else.
//!
//! Theory of operation. Each program that has `net` gets a [`Pass`]: a key, and the places that it may connect to. Its
//! environment names the proxy with the key, in the variables that programs read. What comes to the listener of its network
//! is answered for that pass alone (`serve`): `CONNECT` for what is encrypted, and requests with a whole address for what is
//! not (RFC 9110, 9.3.6; RFC 9112, 3.2.2). Each place is judged by its name, looked up once, judged by its addresses, and
//! connected to at those (`net::connect`); so a name that turns to a private address is refused. What is refused is told to the
//! program in words, counted, and reported once for each place ([`denials`]).
//!
//! Where the program is one that asks models, a [`meter`] answers at the same listener for the provider.
//!
//! A pass ends with its program: connections that are open then are cut.
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

/// The port of the proxy within a network of one's own: the one that proxies usually have.
pub const PORT: u16 = 3128;
/// Names that one program has looked up at a time.
const LOOKUPS: usize = 4;
/// The name that goes with the key.
const NAME: &str = "bgagent";

/// What one program may reach. Dropping it cuts its connections.
#[derive(Debug)]
pub struct Pass {
    state: Arc<PassState>,
}

impl Pass {
    /// For `program`, which may connect to these.
    pub fn new(targets: &[NetTarget], owner: ProgramOwner, program: &Path) -> Self {
        let (mut public, mut private) = (Vec::new(), Vec::new());
        for target in targets {
            match target {
                NetTarget::Public(host) => public.push(host.clone()),
                NetTarget::Private(host) => private.push(host.clone()),
            }
        }
        // 244 bits of chance
        let key = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let state = PassState {
            credentials: format!("Basic {}", BASE64.encode(format!("{NAME}:{key}"))),
            key,
            allow: Allow::hosts(public).and_private(private),
            reaches_this_machine: targets.iter().any(NetTarget::is_this_machine),
            owner,
            program: program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            seen: Mutex::new(Seen::default()),
            ended: CancellationToken::new(),
            meter: None,
        };
        Self { state: Arc::new(state) }
    }

    /// With a meter, which answers at the same listener what is asked of the proxy itself. Before it serves.
    pub fn with_meter(mut self, meter: &Meter) -> Self {
        if let Some(state) = Arc::get_mut(&mut self.state) {
            state.meter = Some(meter.state());
        }
        self
    }

    /// What a program reads of it: the proxy with its key, and what is not to go there. What the program itself
    /// listens on is reached directly, unless `net` names this machine.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        const NAMES: [&str; 6] =
            ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let address = format!("http://{NAME}:{}@127.0.0.1:{PORT}", self.state.key);
        // a meter answers for itself in either way
        let direct = if self.state.reaches_this_machine { "" } else { "localhost,127.0.0.1,::1" };
        let mut all: Vec<_> = NAMES.map(|name| (name, address.clone())).into();
        all.extend(["NO_PROXY", "no_proxy"].map(|name| (name, direct.to_owned())));
        // Node reads the others only if it is told to
        all.push(("NODE_USE_ENV_PROXY", "1".to_owned()));
        all
    }

    /// Answers at the listener that comes, until the pass is dropped.
    pub fn serve(&self, listener: impl Future<Output = Option<std::net::TcpListener>> + Send + 'static) {
        listen::serve(self.state.clone(), self.state.ended.clone(), listener);
    }

    /// What is said of each place that was refused.
    pub fn refused(&self) -> Vec<String> {
        self.state.seen().refused.values().cloned().collect()
    }

    /// The places that it was connected to, and how often.
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
