//! Why a text is no cron expression.

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It can't be read.
    #[error("not a cron expression: {0}")]
    Syntax(String),
    /// It is what another scheduler writes.
    #[error("not a cron expression: {what}")]
    Foreign {
        /// What is not ours in it.
        what: String,
        /// What to write instead.
        instead: String,
    },
    /// It can be read, but names no instant at all.
    #[error("never fires")]
    Never,
    /// A step that does not mean what it seems.
    #[error("`{field}` in the {name} field restarts at each {unit}: it fires at {name} {first} only")]
    MisleadingStep {
        /// The field as typed.
        field: String,
        name: &'static str,
        /// The next larger unit.
        unit: &'static str,
        /// The only value at which it fires.
        first: u32,
        /// What to write instead.
        instead: &'static str,
    },
}
