//! The hashes stored before the canonical form existed: over the debug output of an agent. They are accepted so
//! that what waits in a database of that time continues; to be removed after the next release.
use super::form::first_bytes;
use crate::domain::agent::{AgentSpec, Schedule};
use crate::domain::ids::ConfigHash;

/// Returns the former hashes of this configuration. There are two, since cron schedules have had two debug formats.
pub(super) fn hashes(spec: &AgentSpec) -> [ConfigHash; 2] {
    let spec = AgentSpec { config_hash: ConfigHash(0), line: 0, ..spec.clone() };
    // Newer fields did not exist then: remove their defaults.
    let text = format!("{spec:?}")
        .replace(", control: None", "")
        .replace(", sandbox: None", "")
        .replace(", default_cwd: true", "")
        .replace(", default_cwd: false", "")
        .replace(", skills: []", "")
        .replace(", on_nodes: None", "")
        .replace(", when_cut_off: None", "")
        .replace(", store: Database }", " }")
        .replace(", active_times: None", "")
        .replace(", route: None, sinks: ", ", sinks: ")
        .replacen(", params: None", "", 1)
        .replacen(", deliver: None, late_after: None, slow_after: None, ping: None, ", ", ", 1)
        .replacen(", accept_risk: None, config_hash:", ", config_hash:", 1)
        .replacen(", untrusted: false })", " })", 1);
    let older = match &spec.schedule {
        Schedule::Cron(cron) => {
            let of_old = cron.debug_of_0_1();
            first_bytes(text.replacen(&format!("{cron:?}"), &of_old.unwrap_or_default(), 1).as_bytes())
        }
        _ => first_bytes(text.as_bytes()),
    };
    [first_bytes(text.as_bytes()), older]
}
