//! The words of the Events extension: its name, its methods, and what a server lists. What is done with them is in `events`.
use super::about::About;
use serde_json::Value;
use std::sync::Arc;
use tokio::time::Instant;

/// Name of the extension.
pub(super) const EXTENSION: &str = "io.modelcontextprotocol/events";
/// Begins the methods of the extension.
pub(super) const METHODS: &str = "events/";
/// The types of a server's events, and when they were asked for. `None`: it has no events.
pub(super) type ListedEvents = Option<(Instant, Option<Arc<Vec<ListedEvent>>>)>;

/// A type of events, as the server lists it.
#[derive(Clone, Debug)]
pub(super) struct ListedEvent {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) schema: Value,
    /// It can be asked for.
    pub(super) by_poll: bool,
    pub(super) hash: String,
    pub(super) about: Arc<About>,
}
