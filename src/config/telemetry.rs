//! `[telemetry]`: what is told of the fleet to programs that watch it.
use super::keys;
use super::walk::{Item, Section};
use crate::domain::TelemetrySpec;
use std::net::SocketAddr;

/// What is said of an address that can't be listened on.
const FORM: &str =
    "write an address of this machine and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\"";

/// What is told, if anything is, and as far as it has no errors.
pub(super) fn telemetry(top: &Section<'_>) -> Option<TelemetrySpec> {
    let section = top.get("telemetry")?.section(keys::TELEMETRY)?;
    let prometheus = section.get("prometheus").and_then(listens_at);
    let spec = TelemetrySpec { prometheus };
    (spec != TelemetrySpec::default()).then_some(spec)
}

/// Where metrics are read.
fn listens_at(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        return item.refuse_with("`prometheus` is no address with a port".into(), FORM.into());
    };
    if !address.ip().is_loopback() {
        item.file.warn(
            item.span(),
            "whoever reaches this address reads the names of agents, models and receivers, how runs end and what they cost"
                .into(),
            Some("write 127.0.0.1 if Prometheus runs on this machine; else let a firewall say who reaches it".into()),
        );
    }
    Some(address.to_string())
}
