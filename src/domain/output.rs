//! Output of programs, as it is captured.
use super::words::words;
use super::{AgentId, RunId};
use jiff::Timestamp;

words! {
    /// Where a piece of output came from.
    Stream {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }
}

/// A piece of output: whole lines where it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChunk {
    /// Place in the output of its attempt, from 0.
    pub n: u64,
    pub stream: Stream,
    /// When it was read.
    pub at: Timestamp,
    /// Text; bytes that were no UTF-8 are replaced.
    pub text: String,
}

/// A batch of an attempt's output on its way to the records, with the range of earlier chunks that are no longer kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedOutput {
    /// Of this run.
    pub run: RunId,
    pub agent: AgentId,
    /// In this attempt.
    pub attempt: u32,
    pub chunks: Vec<OutputChunk>,
    /// Chunks of this attempt with `keep_head <= n < drop_before` are no longer kept.
    pub keep_head: u64,
    pub drop_before: u64,
    /// Bytes of this attempt that were left out so far.
    pub dropped_bytes: u64,
    /// Whether an event tells it.
    pub told: bool,
}
