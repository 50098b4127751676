//! What a meter has seen.
use super::account::AnswerEnd;
use crate::domain::{RunError, Usage};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// What the requests of a run came to so far.
#[derive(Clone, Debug)]
pub struct MeterReport {
    /// What was charged by this meter, without what it was given as used before.
    pub used: Usage,
    /// The same by the model that the program named.
    pub by_model: BTreeMap<String, Usage>,
    /// Requests that are held for or under way.
    pub in_flight: u64,
    /// Look-ups, which cost nothing.
    pub lookups: u64,
    /// How the last answer ended: of a request with tools, if any had some, since what a program asks beside its work has
    /// none.
    pub last: Option<AnswerEnd>,
    /// When the program last asked something that is not odd, or a byte of an answer came.
    pub last_sign: Instant,
    /// What was answered with an error since it is no request of a model, or does not show the run's key. That is no
    /// failure of the run: programs ask for much that they can do without.
    pub odd: u64,
    /// Requests that were answered with 503, since there was no memory for them.
    pub no_room: u64,
    /// Requests of models that were refused.
    pub refused: u64,
    /// Why the first of them was.
    pub refusal: Option<RunError>,
    /// The last failure of a provider; `None` once an answer came after it.
    pub trouble: Option<RunError>,
    /// Tools of the provider that were taken out of requests, and how often.
    pub taken_out: BTreeMap<String, u64>,
}
