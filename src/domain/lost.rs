//! A time of which the records were lost: a copy of the database was put in its place.
use jiff::Timestamp;

/// From its newest event on, a copy of the database knows nothing; what the daemon did until it was put in place is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRecords {
    /// The newest event of the copy.
    pub since: Timestamp,
    /// When it was put in place. `None`: nobody has noted that; before now.
    pub until: Option<Timestamp>,
}

impl LostRecords {
    /// Is it of this time?
    pub fn holds(&self, at: Timestamp) -> bool {
        at >= self.since && self.until.is_none_or(|until| at <= until)
    }

    /// Why nobody knows what became of a slot of that time.
    pub fn in_words(&self) -> String {
        let when = self.until.map_or_else(String::new, |until| format!(" at {until:.0}"));
        format!(
            "what was recorded then is lost, since a copy of {:.0} was put in place of the database{when}; it may have run",
            self.since
        )
    }
}
