//! Tools: what a call of one may do to the world.
use super::slot::words;
use serde::{Deserialize, Serialize};

words! {
    /// What a call may do to the world (section "Words" of the contract).
    Effect {
        /// Only looks.
        Read = "read",
        /// May be repeated without harm.
        Idempotent = "idempotent",
        /// Changes something.
        Effect = "effect",
    }
}
