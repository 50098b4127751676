//! Telemetry for monitoring: metrics, which Prometheus scrapes, and traces, which are sent.
//!
//! Counters are kept in a [`FleetTally`] of what is committed while telemetry is on; everything else is queried at the
//! time of a scrape. Traces are built from the log when a run has ended. Nothing here makes decisions or delays runs.
mod exposition;
mod listen;
mod metrics;
mod tally;
mod traces;

pub use listen::{MetricsListenerState, MetricsStanding, serve};
pub use metrics::{FleetSnapshot, text};
pub use tally::{CountedFact, FleetTally, MAX_SERIES_AGENTS};
pub use traces::{Collector, TraceExporter, TraceProgress, TraceStatus};
