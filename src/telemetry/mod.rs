//! What is told of the fleet to programs that watch it: metrics, which Prometheus reads, and traces, which are sent.
//!
//! Counters are kept in a [`FleetTally`] of what is committed while telemetry is on; all else is asked for at the moment at
//! which somebody reads. Traces are made of the log when a run has ended. Nothing here decides or holds anything up.
mod exposition;
mod listen;
mod metrics;
mod tally;
mod traces;

pub use listen::{Listening, MetricsStanding, serve};
pub use metrics::{FleetSnapshot, text};
pub use tally::{CountedFact, FleetTally, MOST_AGENTS};
pub use traces::{Collector, TraceExporter, TraceProgress, TraceStanding};
