//! Webhooks that start agents: accepted senders (`[webhooks.NAME]`).
use super::secret_ref::SecretRef;
use super::words::words;

words! {
    /// How a delivery is signed.
    HookScheme {
        /// As the Standard Webhooks have it: id, time and body, with HMAC-SHA256.
        Standard = "standard",
        /// As GitHub has it: the body, with HMAC-SHA256.
        Github = "github",
    }
}

/// A webhook in `[webhooks.…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSpec {
    /// How a delivery is signed.
    pub scheme: HookScheme,
    pub secret: SecretRef,
}

impl HookSpec {
    /// Maximum length of a delivery's body, in bytes.
    pub const LONGEST_BODY: usize = 1 << 20;
}
