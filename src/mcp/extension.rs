//! The names of the Events extension: its id, its methods, and its list entries. They are used in `events`.
use super::about::About;
use serde_json::Value;
use std::sync::Arc;
use tokio::time::Instant;

pub(super) const EXTENSION: &str = "io.modelcontextprotocol/events";
/// Prefix of the extension's methods.
pub(super) const METHODS: &str = "events/";
/// The event types of a server, and when they were requested. `None`: it has no events.
pub(super) type ListedEvents = Option<(Instant, Option<Arc<Vec<ListedEvent>>>)>;

/// An event type, as listed by the server.
#[derive(Clone, Debug)]
pub(super) struct ListedEvent {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) schema: Value,
    /// It supports polling.
    pub(super) by_poll: bool,
    pub(super) hash: String,
    pub(super) about: Arc<About>,
}
