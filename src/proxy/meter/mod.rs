//! The meter of a run: what an agent program (Claude Code, Codex, opencode, Gemini CLI) has in the place of its model's
//! provider.
//!
//! Theory of operation. The program knows the meter's address and a key of the run, nothing else. A request is read whole
//! (`body`), understood as far as money needs it (`route`, `request`): which model, the most tokens that it and its answer
//! may be. Tools that the provider would run itself are taken out, a bound of the answer is added where there is none; all
//! else goes on byte for byte. The run's own limits hold the worst case (`limits`), then the [`Account`] does, durably; only
//! then the request is sent (`exchange`), with the real key. The answer goes back as it comes; on its way its usage and its
//! end are read (`answer`), and the real key is kept from it (`keyhole`). What was used takes the place of what was held
//! before the program sees the end. Who can't say what was used is charged the worst case.
//!
//! A request that must not be sent is answered by HTTP 400 in the provider's own form: the one answer on which all programs
//! end at once. What a program asks again, or beside its work, is a request like any other.
//!
//! Beside that, the tools that a program is handed are reached at the same address (`tools`).
//!
//! An exchange belongs to the meter and not to the connection of the program: it is settled, whoever goes away.
mod account;
mod answer;
mod body;
mod conversation;
mod exchange;
mod hosted;
mod keyhole;
mod limits;
mod media;
mod object;
mod receive;
mod refusal;
mod report;
mod request;
mod spec;
mod state;
mod tool_server;
mod tools;
mod weigh;
mod wire;

use super::listen;
use crate::domain::RunError;
use std::fmt;
use std::sync::Arc;

pub use account::{Account, AnswerEnd, Asked, HeldRequest as Held, Settled};
pub use report::MeterReport;
pub use spec::{MeterLimits, MeterPatience, MeterSpec, Upstream};
pub(super) use state::MeterState;
pub use tool_server::{MCP_PATH, ToolServer};
pub use wire::ModelWire;

/// Stands for a model's provider, for one attempt of a run. Dropping it ends what it serves; what is under way is settled.
pub struct Meter {
    state: Arc<MeterState>,
}

impl Meter {
    /// For a program that is to be started.
    pub fn new(spec: MeterSpec, account: Arc<dyn Account>) -> Self {
        Self { state: Arc::new(MeterState::new(spec, account)) }
    }

    /// With tools that the program is handed, at [`MCP_PATH`] of the same address and by the same key. Before it serves.
    pub fn with_tools(mut self, tools: Arc<dyn ToolServer>) -> Self {
        if let Some(state) = Arc::get_mut(&mut self.state) {
            state.tools = Some(tools);
        }
        self
    }

    /// The run's key: what the program has in the place of the provider's. Good for this meter alone.
    pub fn key(&self) -> &str {
        self.state.key()
    }

    /// What stands behind the address of [`Self::serve`] in the base URL of a program: see [`ModelWire::base_path`].
    pub fn base_path(&self, wire: ModelWire) -> &'static str {
        wire.base_path()
    }

    /// Answers at the listener that comes, until the meter is dropped. A program in a network of its own is served by its
    /// [`super::Pass`] instead: [`super::Pass::with_meter`].
    pub fn serve(&self, listener: impl Future<Output = Option<std::net::TcpListener>> + Send + 'static) {
        listen::serve(self.state.clone(), self.state.ended.clone(), listener);
    }

    /// From now on nothing more is sent, and the program is told this. What is under way goes on. The first reason counts.
    pub fn refuse(&self, reason: RunError) {
        self.state.refuse(reason);
    }

    /// Other credentials, or another address, for all requests from now on: an access token was renewed.
    pub fn renew(&self, upstream: Upstream) {
        self.state.renew(upstream);
    }

    /// What was asked so far, and what it came to.
    pub fn report(&self) -> MeterReport {
        self.state.report()
    }

    /// Sends nothing more, ends what is under way, and returns when all of it is settled.
    pub async fn close(&self) {
        self.state.close().await;
    }

    pub(super) fn state(&self) -> Arc<MeterState> {
        self.state.clone()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.state.end();
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("state", &self.state).finish()
    }
}

#[cfg(test)]
mod tests;
