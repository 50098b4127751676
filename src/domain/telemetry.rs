//! Export of metrics and traces to monitoring systems.
use super::secret_ref::TextOrSecret;
use std::collections::BTreeMap;

/// The settings in `[telemetry]`: metrics are scraped, traces are pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySpec {
    /// Listening address and port for metrics: `127.0.0.1:9464`.
    pub prometheus: Option<String>,
    /// Base address of the trace collector: `http://127.0.0.1:4318`.
    pub otlp: Option<String>,
    /// HTTP headers for the collector, such as the key of a hosted one.
    pub headers: BTreeMap<String, TextOrSecret>,
    /// Include contents in traces: queries and answers, and arguments and results of tools.
    pub content: bool,
}
