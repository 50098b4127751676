//! `[telemetry]`: what is exported about the fleet to monitoring programs.
use super::keys;
use super::values::{is_this_machine, url, warn_if_unencrypted};
use super::walk::{Item, Section};
use crate::domain::{TelemetrySpec, TextOrSecret};
use std::net::SocketAddr;

/// Advice for an address that can't be listened on.
const LISTEN_HINT: &str =
    "write an address of this machine and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\"";

/// Advice for an address that traces can't be sent to.
const COLLECTOR_HINT: &str = "write the address without /v1/traces, such as \"http://127.0.0.1:4318\"";

/// Parses what is exported, if anything is, as far as it has no errors.
pub(super) fn telemetry(top: &Section<'_>) -> Option<TelemetrySpec> {
    let section = top.get("telemetry")?.section(keys::TELEMETRY)?;
    let prometheus = section.get("prometheus").and_then(listen_address);
    let otlp = section.get("otlp").and_then(collector);
    let content = section.flag("content").unwrap_or_default();
    if let Some(item) = section.own("content").filter(|_| content && section.own("otlp").is_none()) {
        let hint = "add `otlp`, the address of a collector, or leave it out";
        item.file.warn(item.span(), "`content` is about traces, and none are sent".into(), Some(hint.into()));
    }
    let headers = section.headers();
    match (section.own("otlp"), section.own("headers")) {
        (Some(address), _) => warn_if_unencrypted(address, headers.values().any(TextOrSecret::is_secret)),
        (None, Some(item)) if !headers.is_empty() => {
            let hint = "add `otlp`, the address of a collector, or leave them out";
            item.file.warn(
                item.span(),
                "`headers` go with traces, and none are sent".into(),
                Some(hint.into()),
            );
        }
        (None, _) => {}
    }
    let spec = TelemetrySpec { prometheus, otlp, headers, content };
    (spec != TelemetrySpec::default()).then_some(spec)
}

/// Parses the address where metrics are served.
fn listen_address(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        return item.refuse_with("`prometheus` is not an address with a port".into(), LISTEN_HINT.into());
    };
    if !address.ip().is_loopback() {
        item.file.warn(
            item.span(),
            "whoever reaches this address reads the names of agents, models and receivers, how runs end and what they cost"
                .into(),
            Some("write 127.0.0.1 if Prometheus runs on this machine; otherwise let a firewall decide who reaches it".into()),
        );
    }
    Some(address.to_string())
}

/// Parses the address that traces are sent to. It may not contain a name and a password, which would be
/// stored in the file.
fn collector(item: Item<'_>) -> Option<String> {
    let url = url(item)?;
    if url.contains('@') {
        item.file.hide(item.span());
        let hint =
            "put them into headers = { Authorization = { env = \"NAME\" } }, whose value is \"Basic …\"";
        return item.refuse_with("a name and a password must not stand in an address".into(), hint.into());
    }
    if url.contains(['?', '#']) || url::Url::parse(&url).is_err() {
        return item
            .refuse_with("`otlp` is not the base address of a collector".into(), COLLECTOR_HINT.into());
    }
    if url.starts_with("http://") && !is_this_machine(&url) {
        item.file.warn(
            item.span(),
            "traces go there over plain HTTP, and everybody on the way can read them".into(),
            Some("write https://, or send to a collector on this machine".into()),
        );
    }
    Some(url)
}
