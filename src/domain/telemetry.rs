//! What is told of the fleet to programs that watch it.

/// `[telemetry]`: metrics that are read, and traces that are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySpec {
    /// Address and port where metrics are read: `127.0.0.1:9464`.
    pub prometheus: Option<String>,
    /// Base address of the collector that traces are sent to: `http://127.0.0.1:4318`.
    pub otlp: Option<String>,
    /// Traces have what agents are asked, what they say, and what tools are given and give.
    pub content: bool,
}
