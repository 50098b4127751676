//! What a meter has seen.
use super::account::AnswerEnd;
use crate::domain::{RunError, Usage};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The results of a run's requests so far.
#[derive(Clone, Debug)]
pub struct MeterReport {
    /// Usage charged by this meter, without that of earlier attempts.
    pub used: Usage,
    /// The same per model, as the program named it.
    pub by_model: BTreeMap<String, Usage>,
    /// Requests that are waiting for a hold or in flight.
    pub in_flight: u64,
    /// Lookups, which cost nothing.
    pub lookups: u64,
    /// How the last answer ended: of a request with tools, if there was one, since a program's side requests have none.
    pub last: Option<AnswerEnd>,
    /// When the program last sent a request that is not odd, or received a byte of an answer.
    pub last_sign: Instant,
    /// Requests answered with an error because they are not model requests, or lack the run's key. Not failures of the run:
    /// programs request much that they can do without.
    pub odd: u64,
    /// Requests answered with 503 for lack of memory.
    pub no_room: u64,
    /// Model requests that were refused.
    pub refused: u64,
    /// The reason of the first of them.
    pub refusal: Option<RunError>,
    /// The last failure of the provider; `None` after an answer.
    pub trouble: Option<RunError>,
    /// The provider's tools that were removed from requests, and how often.
    pub taken_out: BTreeMap<String, u64>,
}
