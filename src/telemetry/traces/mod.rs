//! Traces: what each run did, and when, for an OpenTelemetry collector.
mod attributes;
mod exporter;
mod queue;
mod spans;

pub use exporter::{Collector, TraceExporter};
pub use queue::{TraceProgress, TraceStatus};
