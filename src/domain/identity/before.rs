//! The hashes that were stored before there was a canonical form: over the debug output of an agent. They are known so
//! that what waits in a database of then goes on; they go with the release after this one.
use super::form::first_bytes;
use crate::domain::agent::{AgentSpec, Schedule};
use crate::domain::ids::ConfigHash;

/// What the same configuration was identified by. Two, since a cron schedule has printed itself in two ways.
pub(super) fn hashes(spec: &AgentSpec) -> [ConfigHash; 2] {
    let spec = AgentSpec { config_hash: ConfigHash(0), line: 0, ..spec.clone() };
    // What is newer than that, and nothing is said of, was not printed.
    let text = format!("{spec:?}")
        .replace(", control: None", "")
        .replace(", sandbox: None", "")
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
