//! The meter of a run: replaces the model's provider for an agent program (Claude Code, Codex, opencode, Gemini CLI).
//!
//! Theory of operation. The program only knows the meter's address and a key of the run. A request is read whole (`body`) and
//! parsed as far as its cost depends on it (`route`, `request`): its model, and upper bounds of its tokens and those of its
//! answer. Tools that the provider would run itself are removed, and an output limit is added where there is none; all else is
//! forwarded byte for byte. The run's own limits hold the worst case (`limits`), then the [`Account`] does, durably; only then
//! is the request sent (`exchange`), with the real key. The answer is streamed back; on the way its usage and end are read
//! (`answer`), and the real key is masked (`keyhole`). Actual usage replaces the hold before the program sees the end. If the
//! usage is unknown, the worst case is charged.
//!
//! A request that must not be sent is answered by HTTP 400 in the provider's own format: the one status on which all programs
//! stop at once. Retries and side requests of a program are requests like any other.
//!
//! The tools that are handed to a program are served at the same address (`tools`).
//!
//! An exchange belongs to the meter, not to the program's connection: it is settled even if the program disconnects.
mod account;
mod answer;
mod body;
mod conversation;
mod exchange;
mod fields;
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

/// Replaces a model's provider, for one attempt of a run. Dropping it stops serving; requests in flight are settled.
pub struct Meter {
    state: Arc<MeterState>,
}

impl Meter {
    /// Creates the meter for a program that is to be started.
    pub fn new(spec: MeterSpec, account: Arc<dyn Account>) -> Self {
        Self { state: Arc::new(MeterState::new(spec, account)) }
    }

    /// Adds the tools that are handed to the program, at [`MCP_PATH`] of the same address, with the same key. Called before
    /// serving.
    pub fn with_tools(mut self, tools: Arc<dyn ToolServer>) -> Self {
        if let Some(state) = Arc::get_mut(&mut self.state) {
            state.tools = Some(tools);
        }
        self
    }

    /// Returns the run's key, which the program uses in place of the provider's. Only valid for this meter.
    pub fn key(&self) -> &str {
        self.state.key()
    }

    /// Returns the path after the address of [`Self::serve`] in a program's base URL: see [`ModelWire::base_path`].
    pub fn base_path(&self, wire: ModelWire) -> &'static str {
        wire.base_path()
    }

    /// Serves the listener once it is available, until the meter is dropped. A program in its own network namespace is served
    /// by its [`super::Pass`] instead: [`super::Pass::with_meter`].
    pub fn serve(&self, listener: impl Future<Output = Option<std::net::TcpListener>> + Send + 'static) {
        listen::serve(self.state.clone(), self.state.ended.clone(), listener);
    }

    /// Refuses all further requests, with this error for the program. Requests in flight continue. The first reason counts.
    pub fn refuse(&self, reason: RunError) {
        self.state.refuse(reason);
    }

    /// Replaces credentials or address for all further requests: an access token was renewed.
    pub fn renew(&self, upstream: Upstream) {
        self.state.renew(upstream);
    }

    /// Returns the requests so far, and their usage.
    pub fn report(&self) -> MeterReport {
        self.state.report()
    }

    /// Refuses further requests, aborts those in flight, and returns when all of them are settled.
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
