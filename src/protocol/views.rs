//! Results of each method. Instants are RFC 3339 in UTC, durations are in milliseconds, money is in
//! US dollars. Fields are only ever added.
mod agents;
mod daemon;
mod nodes;
mod runs;
mod tools;

pub use agents::*;
pub use daemon::*;
pub use nodes::*;
pub use runs::*;
pub use tools::*;
