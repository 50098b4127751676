//! Output of programs, as it is captured.
use super::words::words;
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
    /// Where from.
    pub stream: Stream,
    /// When it was read.
    pub at: Timestamp,
    /// Text; bytes that were no UTF-8 are replaced.
    pub text: String,
}
