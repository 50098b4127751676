//! Identities of configurations are pinned: a change of one breaks off conversations that wait, and has all agents told as
//! changed. If one of these fails, the code is wrong, and not the number.
use super::*;
use crate::domain::{AgentSpec, ConfigHash, identity};
use std::fmt::Write;

const EACH_KIND: &str = include_str!("identity.toml");

fn identities(text: &str) -> String {
    let fleet = read(text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet;
    let mut said = String::new();
    for agent in &fleet.agents {
        writeln!(said, "{} {}", agent.id, agent.config_hash).unwrap();
    }
    said + &format!("fleet {}", fleet.hash)
}

#[test]
fn identities_are_pinned() {
    assert_eq!(
        identities(EACH_KIND),
        "asks 1ef234bbfbaf7ba6\nby_hand 9dd825d5e6a72c63\ncalls 4c612fe847430fe0\nchained 6b73365d28961c47\n\
         nightly 415faa9b1d45a3ac\nonce 8765eb5386cecbb0\npauses cb615791a72082c9\nfleet 64a22b2a5fc31620"
    );
    assert_eq!(
        identities(STARTER),
        "archive-demo b3292c21f8837a74\ndisk-report d65606123ca332b5\nlarge-tmp bdf051c76df99ab4\n\
         machine-facts 2aa187c97b638859\nsystem-health 3ff746920065c877\nfleet f3f236570a0a4071"
    );
}

/// As 0.1 and what came after it have stored them: those with a cron schedule in two ways.
#[test]
fn an_agent_is_known_by_the_hash_that_was_stored_before() {
    let fleet = read(EACH_KIND).unwrap().fleet;
    for (name, stored) in [
        ("asks", 0x74ed_01ab_31bd_7296),
        ("calls", 0x21c7_e0b0_87e5_94c0),
        ("calls", 0x1756_325c_8e4b_98fc),
        ("nightly", 0x68ba_c068_892e_de57),
        ("nightly", 0xe4b2_7b6f_9beb_99fe),
        ("once", 0xe9a8_b29d_db0c_a1d6),
        ("chained", 0xcb43_1433_4923_96eb),
        ("by_hand", 0x7e3e_c7dd_d010_7d0e),
        ("pauses", 0x65e0_2346_fd44_57a7_u64),
    ] {
        let agent = fleet.agent(name).unwrap();
        assert!(agent.is_identified_by(ConfigHash(stored)), "{name}");
        let other = AgentSpec { enabled: !agent.enabled, ..(**agent).clone() };
        let other = AgentSpec { config_hash: identity::of_agent(&other), ..other };
        assert!(!other.is_identified_by(ConfigHash(stored)), "{name}");
        assert!(other.is_identified_by(other.config_hash) && agent.is_identified_by(agent.config_hash));
    }
}

#[test]
fn what_means_the_same_is_the_same_and_all_else_is_not() {
    let agent = "[agents.a]\ninterval = 60\ntool = \"report\"\nargs = { key = \"k\", title = \"t\", severity = \"ok\" }\n";
    let first = identities(agent);
    for same in [
        agent.replace("interval = 60", "# a remark\n\ninterval = \"1m\""),
        agent.replace("key = \"k\", title = \"t\"", "title = \"t\", key = \"k\""),
        format!("\n\n{agent}"),
    ] {
        assert_eq!(identities(&same), first, "{same}");
    }
    let mut seen = vec![first];
    for other in [
        agent.replace("60", "61"),
        agent.replace("\"k\"", "\"l\""),
        agent.replace("\"t\"", "\"\""),
        agent.replace("interval = 60", "after = 60"),
        agent.to_owned() + "enabled = false\n",
        agent.to_owned() + "description = \"d\"\n",
        "[defaults]\ntimeout = 3\n".to_owned() + agent,
    ] {
        let found = identities(&other);
        assert!(!seen.contains(&found), "{other}");
        seen.push(found);
    }
}
