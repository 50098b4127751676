//! Sort orders of the list of agents.

/// Sort order of the agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::top) enum Sorting {
    Name,
    /// Items that need a person first.
    Urgency,
    /// Soonest due first.
    Next,
    /// Highest cost today first.
    Cost,
}

impl Sorting {
    /// Returns the next order.
    pub(in crate::top) fn next(self) -> Self {
        match self {
            Self::Name => Self::Urgency,
            Self::Urgency => Self::Next,
            Self::Next => Self::Cost,
            Self::Cost => Self::Name,
        }
    }

    /// Describes the order.
    pub(in crate::top) fn words(self) -> &'static str {
        match self {
            Self::Name => "by name",
            Self::Urgency => "worst first",
            Self::Next => "due soonest first",
            Self::Cost => "costliest first",
        }
    }
}
