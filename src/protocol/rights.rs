//! The rights that each method requires of its caller.
use crate::domain::Control;

/// Methods open to every client that may connect.
const UNRESTRICTED: &[&str] = &["hello", "ping", "unsubscribe"];
/// Read-only methods.
const READ_ONLY: &[&str] = &[
    "list_agents",
    "get_agent_status",
    "next_slots",
    "explain_slot",
    "list_slots",
    "list_runs",
    "get_run",
    "get_run_output",
    "stream_agent_events",
    "get_daemon_status",
    "list_nodes",
    "get_usage",
    "list_tools",
    "list_mcp",
    "list_approvals",
    "list_incidents",
    "get_memory",
];

/// Returns the rights that a program of a run needs to call this method.
pub fn needed(method: &str) -> Control {
    if UNRESTRICTED.contains(&method) {
        Control::None
    } else if READ_ONLY.contains(&method) {
        Control::Read
    } else if method == "run_agent" {
        Control::Run
    } else {
        Control::Full
    }
}

#[cfg(test)]
mod tests {
    //! Tests of which method needs what.
    use super::*;
    use crate::protocol::Request;

    #[test]
    fn whatever_is_not_known_to_look_only_needs_all_rights() {
        for name in UNRESTRICTED.iter().chain(READ_ONLY) {
            assert!(Request::NAMES.contains(name), "there is no method `{name}`");
        }
        for (method, control) in [
            ("ping", Control::None),
            ("list_agents", Control::Read),
            ("run_agent", Control::Run),
            ("decide_approval", Control::Full),
            ("call_tool", Control::Full),
            ("shutdown", Control::Full),
            ("one that comes later", Control::Full),
        ] {
            assert_eq!(needed(method), control, "{method}");
        }
        let full = Request::NAMES.iter().filter(|name| needed(name) == Control::Full).count();
        assert_eq!(full + UNRESTRICTED.len() + READ_ONLY.len() + 1, Request::NAMES.len());
    }
}
