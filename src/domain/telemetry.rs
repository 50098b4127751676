//! What is told of the fleet to programs that watch it.
use super::secret_ref::TextOrSecret;
use std::collections::BTreeMap;

/// `[telemetry]`: metrics that are read, and traces that are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySpec {
    /// Address and port where metrics are read: `127.0.0.1:9464`.
    pub prometheus: Option<String>,
    /// Base address of the collector that traces are sent to: `http://127.0.0.1:4318`.
    pub otlp: Option<String>,
    /// Headers of what is sent there, such as the key of a hosted collector.
    pub headers: BTreeMap<String, TextOrSecret>,
    /// Traces have what agents are asked, what they say, and what tools are given and give.
    pub content: bool,
}
