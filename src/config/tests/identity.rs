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
        "archive-demo a2b4a4a4099774c8\ndisk-report 24ae8414a451ec40\nlarge-tmp d22c8c18733eff16\n\
         machine-facts 2aa187c97b638859\nsystem-health 3ff746920065c877\nfleet 3917b04a5fe11065"
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

/// The folder of the file counted once, where nothing was said of another: what was stored then is known.
#[test]
fn the_folder_of_the_file_is_no_part_of_an_agent() {
    let fleet = read(STARTER).unwrap().fleet;
    for (name, stored) in
        [("archive-demo", 0xb329_2c21_f883_7a74), ("disk-report", 0xd656_0612_3ca3_32b5_u64)]
    {
        let agent = fleet.agent(name).unwrap();
        assert!(
            agent.is_identified_by(ConfigHash(stored)) && agent.config_hash != ConfigHash(stored),
            "{name}"
        );
    }
    let context = |home: &str| Context {
        home: home.into(),
        ..Context::system("2026-06-01T12:00:00Z".parse().unwrap())
    };
    let text = "[notify.n]\ntype = \"command\"\ncommand = [\"true\"]\n[tools.t]\ntype = \"shell\"\ncommands = { x = { exec = \"/bin/true\" } }\n[agents.a]\ncommand = \"./a.sh\"\ngate = { command = [\"./g.sh\"] }\n";
    let at =
        |text: &str, file: &str| parse(text.to_owned(), Path::new(file), &context("/home/u")).unwrap().fleet;
    let (one, other) = (at(text, "/home/ada/agents.toml"), at(text, "/srv/fleet/agents.toml"));
    assert_eq!((one.hash, one.agents[0].config_hash), (other.hash, other.agents[0].config_hash));
    let own = format!("{text}cwd = \"work\"\n");
    let (one, other) = (at(&own, "/home/ada/agents.toml"), at(&own, "/srv/fleet/agents.toml"));
    assert_ne!(one.agents[0].config_hash, other.agents[0].config_hash, "what is said counts");
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
