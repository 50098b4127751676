//! Arguments of `remember` and `recall`.
use super::arguments::{CallSchema, arguments};
use serde::Deserialize;

arguments! {
    /// A note to keep.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct RememberArgs {
        /// Names the note; the same key writes over it.
        pub key: String,
        /// What to keep, at most {} KiB. Empty: the note is removed.
        #[schema(filled(&[&(Self::LONGEST_TEXT_BYTES >> 10)]))]
        pub text: String,
    }

    /// Which notes are read.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct RecallArgs {
        /// Which note. Left out: all of them.
        pub key: Option<String>,
    }
}

impl RememberArgs {
    /// Maximum length of a note's text.
    pub const LONGEST_TEXT_BYTES: usize = 16 << 10;
    /// Maximum length of a key.
    pub const LONGEST_KEY_BYTES: usize = 128;

    /// Returns the arguments of a call.
    pub fn schema() -> CallSchema {
        CallSchema::of::<Self>()
    }
}

impl RecallArgs {
    /// Returns the arguments of a call.
    pub fn schema() -> CallSchema {
        CallSchema::of::<Self>()
    }
}
