//! Changes of one agent that an assistant proposes, and that wait for a person: what such a change would do, how it is
//! stored, and how it gets into the file.
//!
//! A proposal changes nothing. It is a small file in the state folder; whether it fits is judged again each time, since
//! the configuration may change. Who may accept one is left to `cli`.
mod book;
mod judge;
mod replace;

pub use book::{
    EXPIRES_AFTER, MAX_WAITING_COUNT, NewProposal, Proposal, ProposalBook, ProposalError, Proposer,
};
pub use judge::{JudgedProposal, MAX_TABLE_BYTES, UnfitProposal, judge};
pub use replace::{ReplaceError, replace};
