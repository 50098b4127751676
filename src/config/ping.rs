//! `ping` of the daemon and of agents: the address of an external monitor.
use super::keys::Key;
use super::walk::Item;
use crate::config::values::url;
use crate::domain::{PingSpec, TextOrSecret};

pub(super) fn ping(item: Item<'_>, keys: &[Key]) -> Option<PingSpec> {
    let section = item.section(keys)?;
    let Some(address) = section.get("url") else {
        let hint = "ping = { url = { file = \"~/.secrets/ping\" } }".to_owned();
        return section.missing(&["url"], "`ping` needs `url`".into(), Some(hint));
    };
    let text = address.text_or_secret()?;
    if let TextOrSecret::Text(_) = text {
        url(address)?;
    }
    Some(PingSpec { url: text, every: section.positive("every").unwrap_or(PingSpec::EVERY) })
}
