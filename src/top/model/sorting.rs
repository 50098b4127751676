//! Orders of the list of agents.

/// Order of the agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::top) enum Sorting {
    Name,
    /// What needs a person first.
    Urgency,
    /// Those that are due soonest first.
    Next,
    /// Those that cost most today first.
    Cost,
}

impl Sorting {
    /// The order after this one.
    pub(in crate::top) fn next(self) -> Self {
        match self {
            Self::Name => Self::Urgency,
            Self::Urgency => Self::Next,
            Self::Next => Self::Cost,
            Self::Cost => Self::Name,
        }
    }

    /// In words.
    pub(in crate::top) fn words(self) -> &'static str {
        match self {
            Self::Name => "by name",
            Self::Urgency => "worst first",
            Self::Next => "due soonest first",
            Self::Cost => "costliest first",
        }
    }
}
