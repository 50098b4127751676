//! Model usage of a run.
use super::described::described;
use serde::{Deserialize, Serialize};

impl Usage {
    /// Adds the usage of a request.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.input_tokens += other.input_tokens;
        self.cached_tokens += other.cached_tokens;
        self.output_tokens += other.output_tokens;
        self.usd += other.usd;
    }

    /// Returns the sum of input and output tokens.
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

/// Serializes an amount rounded to 12 decimal places, without the noise of binary fractions.
///
/// # Errors
/// Errors of the serializer.
pub fn rounded<S: serde::Serializer>(amount: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((amount * 1e12).round() / 1e12)
}
