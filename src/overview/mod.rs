//! Determines what in a fleet needs a person, and in which order: one judgement for the list, the full screen and the
//! page. Pure: derived from the daemon's answers.
mod needs;
mod standing;

pub use needs::{Need, NeedKind, needs, proposals_wait};
pub use standing::{Rank, Standing, StandingMark, StandingSection, by_need, standing, standings};
