//! The state of the screen: what is known, which view and page are open, and pending questions. Pure data and derived values.
mod known;
mod list;
mod needs;
mod rowkey;
mod rows;
mod sorting;
mod state;
mod strip;
mod table;
mod words;

pub(super) use known::{Known, RunOutput};
pub(super) use needs::{calm, key_of, under_way};
pub(super) use rowkey::{RowGroup, RowKey, UsedBy};
pub(super) use rows::is_unwell;
pub(super) use state::{
    ActQuestion, ActTarget, Connected, Overlay, PendingRequests, Prompt, PromptFor, TopModel, TopPage,
    TopView,
};
#[cfg(test)]
pub(super) use strip::SlotSpan;
pub(super) use strip::{strip, tally};
pub(super) use words::{ItemSummary, arguments, gist, of_run, progress};
