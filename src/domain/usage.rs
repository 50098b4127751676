//! What a run used of its model.
use super::described::described;
use serde::{Deserialize, Serialize};

impl Usage {
    /// Adds what a request used.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.input_tokens += other.input_tokens;
        self.cached_tokens += other.cached_tokens;
        self.output_tokens += other.output_tokens;
        self.usd += other.usd;
    }

    /// Tokens in and out.
    pub fn tokens(&self) -> u64 {
        self.input_tokens + self.output_tokens
    }
}

described! {
    /// What a run used of its model. All zero for commands and tools.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct Usage {
        /// Requests to models.
        pub requests: u64,
        /// Tokens sent.
        pub input_tokens: u64,
        /// Tokens sent that were read from the provider's cache.
        pub cached_tokens: u64,
        /// Tokens received.
        pub output_tokens: u64,
        /// US dollars; 0 for a model without a price.
        #[serde(serialize_with = "rounded")]
        pub usd: f64,
    }
}

/// An amount as JSON, without the noise of sums of binary fractions: to a millionth of a millionth.
///
/// # Errors
/// Those of the serializer.
pub fn rounded<S: serde::Serializer>(amount: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((amount * 1e12).round() / 1e12)
}
