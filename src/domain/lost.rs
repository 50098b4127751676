//! A period whose records were lost: the database was replaced by an older copy.
use jiff::Timestamp;

/// The copy has no records after its newest event; what the daemon did from then until the replacement is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRecords {
    /// The newest event of the copy.
    pub since: Timestamp,
    /// When the database was replaced. `None`: unknown; before now.
    pub until: Option<Timestamp>,
}

impl LostRecords {
    /// Returns whether the period contains this time.
    pub fn holds(&self, at: Timestamp) -> bool {
        at >= self.since && self.until.is_none_or(|until| at <= until)
    }

    /// Returns the explanation for slots with an unknown outcome in that period.
    pub fn in_words(&self) -> String {
        let when = self.until.map_or_else(String::new, |until| format!(" at {until:.0}"));
        format!(
            "what was recorded then is lost, since a copy of {:.0} was put in place of the database{when}; it may have run",
            self.since
        )
    }
}
