//! What is told of the fleet to programs that watch it: metrics, which Prometheus reads.
//!
//! Counters are kept in a [`FleetTally`] of what is committed while telemetry is on; all else is asked for at the moment at
//! which somebody reads. Nothing here decides or holds anything up.
mod exposition;
mod listen;
mod metrics;
mod tally;

pub use listen::{Listening, Standing, serve};
pub use metrics::{FleetSnapshot, text};
pub use tally::{CountedFact, FleetTally, MOST_AGENTS};
