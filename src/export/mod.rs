//! Exports events: a copy of the log in a Redis stream, for programs that read there.
//!
//! Each event is appended exactly once and in order, whatever crashes in between and however many exporters a database
//! has: see [`Exporter`]. Redis is a copy, and only its position is ever read. Exporting never delays commits, which
//! happen elsewhere.
mod append;
mod entry;
mod exporter;
mod omni;
mod progress;

pub use exporter::{ExportTimeouts, Exporter};
pub use progress::{ExportProgress, ExportStatus};
