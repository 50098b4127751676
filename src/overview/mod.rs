//! What of a fleet needs a person, and in which order: one judgement for the list, the full-screen view and the page.
//! Pure: it is made from what the daemon answers.
mod needs;
mod standing;

pub use needs::{Need, NeedKind, needs, proposals_wait};
pub use standing::{Rank, Standing, StandingMark, StandingSection, by_need, standing, standings};
