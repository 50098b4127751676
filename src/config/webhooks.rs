//! `[webhooks.…]`, `[daemon] webhooks`, and agents that wait for deliveries: `on = { webhook = "deploy" }`.
use super::walk::{Item, Section};
use crate::config::values::refers;
use crate::domain::{Fleet, HookScheme, HookSpec, Schedule};
use std::net::SocketAddr;
use std::sync::Arc;

/// Parses one table.
pub(super) fn hook(section: &Section<'_>) -> Option<HookSpec> {
    let scheme = section.word("scheme").unwrap_or(HookScheme::Standard);
    let Some(secret) = section.get("secret") else {
        let hint = "name where it is found: secret = { env = \"DEPLOY_SECRET\" }".to_owned();
        return section.missing(&["secret"], "a webhook needs a `secret`".into(), Some(hint));
    };
    Some(HookSpec { scheme, secret: secret.secret()? })
}

/// Parses the address where webhooks are received.
pub(super) fn address(item: Item<'_>) -> Option<SocketAddr> {
    let text = item.text()?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Some(address),
        Ok(address) => item.refuse_with(
            format!("webhooks are received on this machine only, and {} is open to others", address.ip()),
            format!(
                "write \"127.0.0.1:{}\"; a reverse proxy or `ssh -R` brings what comes from elsewhere: docs/ARRIVALS.md",
                address.port()
            ),
        ),
        Err(_) => {
            item.refuse_with(format!("`{text}` is not an address with a port"), "write \"127.0.0.1:9470\"".into())
        }
    }
}

/// Parses the webhook that the table of an `on` names.
pub(super) fn trigger(section: &Section<'_>, item: Item<'_>, fleet: &Fleet) -> Option<Arc<str>> {
    section.refuse_other_keys("webhook", &["webhook"], super::keys::ON);
    let name = item.text()?;
    refers(item, name, "webhook", fleet.hooks.keys().map(String::as_str)).then(|| Arc::from(name))
}

/// Reports webhooks that can't be delivered, or that no agent waits for.
pub(super) fn used(top: &Section<'_>, fleet: &Fleet) {
    let table = top.get("webhooks").and_then(|item| item.table());
    for (name, value) in table.into_iter().flatten() {
        let text = name.get_ref().as_ref();
        let item = Item { file: top.file, value, name: "webhooks" };
        if !fleet.hooks.contains_key(text) {
            continue;
        }
        let has_path = !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !has_path {
            let hint = "use letters, digits, `-`, `_` and `.`".to_owned();
            top.file.error(Some(name.span()), format!("`{text}` can't be a part of an address"), Some(hint));
        } else if fleet.daemon.webhooks.is_none() {
            let hint = "name an address of this machine: [daemon] webhooks = \"127.0.0.1:9470\"".to_owned();
            item.file.warn(name.span(), format!("nothing can be delivered to `{text}`"), Some(hint));
        }
        let waits = |schedule: &Schedule| matches!(schedule, Schedule::Webhook(of) if **of == *text);
        if top.file.errors() == 0 && !fleet.agents.iter().any(|agent| waits(&agent.schedule)) {
            let hint = format!("an agent waits for it with on = {{ webhook = \"{text}\" }}");
            item.file.warn(name.span(), format!("no agent waits for the webhook `{text}`"), Some(hint));
        }
    }
}
