//! What is told of the fleet to programs that watch it.

/// `[telemetry]`: metrics that are read, for Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySpec {
    /// Address and port where metrics are read: `127.0.0.1:9464`.
    pub prometheus: Option<String>,
}
