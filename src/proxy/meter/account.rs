//! The words between the meter and the one who pays: what a request may cost, and what came of it.
use super::wire::ModelWire;
use crate::domain::{RunError, Tokens, Usage, WorstCase};
use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use std::time::Duration;

/// Who pays for the requests of a run. The meter asks before each request that costs something, and says afterwards what
/// was used; it never sends one that is not held for.
pub trait Account: Send + Sync {
    /// Holds the worst case of a request, and makes that durable. May wait, for a budget that others hold or for a place
    /// among the requests of a model. It is waited for to its end, unless the meter is closed: then the future is dropped,
    /// and what it may have held has no end that anybody will say.
    ///
    /// # Errors
    /// Why the request must not be sent; its kind becomes the run's, and the program is told the message.
    fn hold(&self, asked: Asked) -> BoxFuture<'_, Result<HeldRequest, RunError>>;

    /// A request has its end: what it used takes the place of what was held. Called once for each [`HeldRequest`]. The program
    /// sees the end of the answer when this is done.
    fn settle(&self, held: HeldRequest, settled: Settled) -> BoxFuture<'_, ()>;
}

/// What the account knows a hold by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRequest(pub u64);

/// A request that is to be sent.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The `[models.…]` table that prices it.
    pub table: String,
    /// The model, as the program names it.
    pub model: String,
    /// In which wire it is.
    pub wire: ModelWire,
    /// What it may cost.
    pub worst: WorstCase,
    /// The body as it goes to the provider, without any key.
    pub request: Bytes,
    /// The model may call tools: a side request of a program, such as for a title, seldom has any.
    pub has_tools: bool,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The `[models.…]` table that prices it.
    pub table: String,
    /// The model, as the program names it.
    pub model: String,
    /// What is charged.
    pub used: Usage,
    /// What the provider said it used; `None`: it said nothing that counts, and `used` is the worst case.
    pub tokens: Option<Tokens>,
    /// How the answer ended.
    pub end: AnswerEnd,
    /// What the model said, without its thoughts; its beginning, if that is long.
    pub text: String,
    /// Tools that it called.
    pub calls: Vec<String>,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// The body of the answer as it came, without any key: its beginning, if that is long.
    pub answer: Bytes,
    /// Bytes of the answer that are left out at its end.
    pub left_out: u64,
    /// From sent to answered.
    pub took: Duration,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerEnd {
    /// The model said all, or waits for its tools.
    Complete,
    /// It got too long and was cut off.
    CutOff,
    /// The model, or a filter of its provider, refuses. Says why, if that is known.
    Refused(String),
    /// Nothing was said, and no tool was called.
    Empty,
    /// There is no whole answer.
    Failed(RunError),
}
