//! Options of the display, and its errors.
use super::theme::Theme;
use crate::client::ClientError;
use jiff::tz::TimeZone;
use std::io;

/// Options of the display.
#[derive(Debug, Clone)]
pub struct TopOptions {
    /// The capabilities of the terminal.
    pub theme: Theme,
    /// Changes are disabled.
    pub read_only: bool,
    /// Time zone for display.
    pub zone: TimeZone,
    /// Name of the machine.
    pub host: String,
    /// Width of printed lines in columns; none: unlimited.
    pub width: Option<usize>,
}

/// Why the full screen ended.
#[derive(Debug, thiserror::Error)]
pub enum TopFailure {
    /// A call to the daemon failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Reading from or writing to the terminal failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
