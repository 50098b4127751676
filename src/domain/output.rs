//! Captured output of programs.
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

/// A chunk of output, cut at line ends where possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChunk {
    /// Position in the output of its attempt, from 0.
    pub n: u64,
    pub stream: Stream,
    pub at: Timestamp,
    /// Text; invalid UTF-8 is replaced.
    pub text: String,
}

/// A batch of an attempt's output on its way to the records, with the range of earlier chunks that are no longer kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedOutput {
    pub run: RunId,
    pub agent: AgentId,
    pub attempt: u32,
    pub chunks: Vec<OutputChunk>,
    /// Chunks of this attempt with `keep_head <= n < drop_before` are no longer kept.
    pub keep_head: u64,
    pub drop_before: u64,
    /// Bytes of this attempt that were left out so far.
    pub dropped_bytes: u64,
    /// Whether an event reports it.
    pub told: bool,
}
