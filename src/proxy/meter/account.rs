//! The interface between the meter and the account: what a request may cost, and what it used.
use super::wire::ModelWire;
use crate::domain::{RunError, Tokens, Usage, WorstCase};
use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use std::time::Duration;

/// Pays for the requests of a run. The meter calls it before each request that costs something, and reports the usage
/// afterwards; it never sends a request without a hold.
pub trait Account: Send + Sync {
    /// Holds the worst case of a request, durably. May wait for a budget that others hold or for one of the model's concurrent
    /// requests. The future is awaited to completion, unless the meter is closed: then it is dropped, and nobody will settle
    /// what it may have held.
    ///
    /// # Errors
    /// Why the request must not be sent; its kind becomes the run's, and the program gets the message.
    fn hold(&self, asked: Asked) -> BoxFuture<'_, Result<HeldRequest, RunError>>;

    /// Replaces a hold by the actual usage. Called once for each [`HeldRequest`]. The program sees the end of the answer when
    /// this is done.
    fn settle(&self, held: HeldRequest, settled: Settled) -> BoxFuture<'_, ()>;
}

/// The account's id of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRequest(pub u64);

/// A request that is to be sent.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The `[models.…]` table that prices it.
    pub table: String,
    /// The model, as the program names it.
    pub model: String,
    pub wire: ModelWire,
    pub worst: WorstCase,
    /// The body that is sent to the provider, without any key.
    pub request: Bytes,
    /// The model may call tools: side requests of a program, such as for a title, seldom have any.
    pub has_tools: bool,
}

/// The result of a request.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The `[models.…]` table that prices it.
    pub table: String,
    /// The model, as the program names it.
    pub model: String,
    /// The usage that is charged.
    pub used: Usage,
    /// The usage reported by the provider; `None`: it reported none that counts, and `used` is the worst case.
    pub tokens: Option<Tokens>,
    pub end: AnswerEnd,
    /// The model's text without its thoughts; only the beginning, if it is long.
    pub text: String,
    pub calls: Vec<String>,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// The body of the answer as received, without any key; only the beginning, if it is long.
    pub answer: Bytes,
    /// Bytes that were cut off at the end of `answer`.
    pub left_out: u64,
    /// From sent to answered.
    pub took: Duration,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerEnd {
    /// The model has finished, or waits for its tools.
    Complete,
    /// It reached the output limit.
    CutOff,
    /// The model, or a filter of its provider, refuses. With the reason, if known.
    Refused(String),
    /// No text and no tool call.
    Empty,
    /// There is no complete answer.
    Failed(RunError),
}
