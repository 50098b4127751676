//! How it is shown, and how it ends.
use super::theme::Theme;
use crate::client::ClientError;
use jiff::tz::TimeZone;
use std::io;

/// How it is shown.
#[derive(Debug, Clone)]
pub struct TopOptions {
    /// What the terminal can show.
    pub theme: Theme,
    /// No key does anything to the fleet.
    pub read_only: bool,
    /// Zone of local times.
    pub zone: TimeZone,
    /// Name of the machine.
    pub host: String,
    /// Columns of lines that are printed; none: as many as they need.
    pub width: Option<usize>,
}

/// Why it ended.
#[derive(Debug, thiserror::Error)]
pub enum TopFailure {
    /// The daemon could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The terminal could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}
