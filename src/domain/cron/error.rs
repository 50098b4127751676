//! Reasons why a text is not a valid cron expression.

/// Why a text is not a valid cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It can't be parsed.
    #[error("not a cron expression: {0}")]
    Syntax(String),
    /// It uses the syntax of another scheduler.
    #[error("not a cron expression: {what}")]
    Foreign {
        /// The unsupported part.
        what: String,
        /// What to write instead.
        instead: String,
    },
    /// It can be parsed, but never matches.
    #[error("never fires")]
    Never,
    /// A step that does not mean what it seems to.
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
