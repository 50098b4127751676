//! Where else events go: a copy of the log in a Redis stream, for programs that read there.
//!
//! Each event is appended once and in order, whatever crashes in between and however many exporters of one database
//! there are: see [`Exporter`]. Redis is a copy and never asked for anything but where it stands. What is committed, and
//! when, is for others to say; nothing here holds them up.
mod append;
mod entry;
mod exporter;
mod omni;
mod progress;

pub use exporter::{ExportPatience, Exporter};
pub use progress::{ExportProgress, ExportStanding};
