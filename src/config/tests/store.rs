//! Where records are kept.
use super::read;
use crate::config::store_from_flags;
use crate::domain::{Durability, NodeSpec, Rights, SecretRef, StoreSpec};

fn store(keys: &str) -> StoreSpec {
    let loaded = read(&format!("[store]\n{keys}\n"));
    let fleet = loaded.unwrap_or_else(|rejected| panic!("{keys}: {:?}", rejected.diagnostics)).fleet;
    (**fleet.store.as_ref().expect("a store")).clone()
}

#[test]
fn keys_have_their_defaults_and_their_values() {
    let spec = store("url = \"postgres://me@h:1/d?sslmode=verify-full\"");
    assert_eq!(
        (spec.schema.as_str(), spec.durability, spec.password.as_ref()),
        ("bgagent", Durability::Synchronous, None)
    );
    assert_eq!(spec.place(), "postgres://h:1/d (schema bgagent)");
    let spec = store(
        "url = \"postgresql:///d\"\nschema = \"fleet_2\"\ndurability = \"single\"\npassword = { env = \"P\" }",
    );
    assert_eq!((spec.schema.as_str(), spec.durability), ("fleet_2", Durability::Single));
    assert_eq!(spec.password, Some(SecretRef::Env("P".into())));
    assert!(read("").expect("it is valid").fleet.store.is_none());
}

#[test]
fn only_an_encrypted_way_to_another_machine_is_not_warned_of() {
    for (url, warned) in [
        ("postgres://db.internal/d", true),
        ("postgres://db.internal/d?sslmode=require", true),
        ("postgres://localhost,db.internal/d", true),
        ("postgres://db.internal/d?sslmode=verify-full", false),
        ("postgres://db.internal/d?connect_timeout=3&sslmode=verify-ca", false),
        ("postgres://localhost/d", false),
        ("postgres://me@127.0.0.1:5433/d?sslmode=disable", false),
        ("postgres://%2Frun%2Fpostgresql/d", false),
        ("postgres:///d", false),
    ] {
        let loaded = read(&format!("[store]\nurl = \"{url}\"\n")).expect("it is valid");
        let told = loaded.warnings.iter().any(|one| one.message.contains("may be read and changed"));
        assert_eq!(told, warned, "{url}");
    }
}

#[test]
fn what_can_not_be_a_store_is_refused() {
    for (keys, wanted) in [
        ("url = \"mysql://h/d\"", "must begin with postgres://"),
        ("url = \"postgres://h\"", "names no database"),
        ("url = \"postgres://h/\"", "names no database"),
        ("url = \"postgres://me:secret@h/d\"", "a password must not stand in an address"),
        ("url = \"postgres://h/d?password=secret\"", "a password must not stand in an address"),
        ("url = \"postgres://h/d?pass%77ord=secret\"", "a password must not stand in an address"),
        ("url = \"postgres://h/d?PASSWORD=secret\"", "a password must not stand in an address"),
        ("url = \"postgres://h/d?passfile=x\"", "a password must not stand in an address"),
        ("url = \"postgres://h/d?host=elsewhere\"", "`host` is not a setting of an address here"),
        ("url = \"postgres://h/d?user=boss\"", "`user` is not a setting"),
        ("url = \"postgres://h/d?d%62name=x\"", "is not a setting"),
        ("url = \"postgres://me@x@h/d\"", "a password must not stand in an address"),
        ("url = \"postgres://h/d\"\nschema = \"Big\"", "small letters"),
        ("url = \"postgres://h/d\"\nschema = \"pg_x\"", "pg_"),
        ("url = \"postgres://h/d\"\ndurability = \"none\"", "synchronous"),
        ("schema = \"s\"", "needs `url`"),
    ] {
        let rejected = read(&format!("[store]\n{keys}\n")).expect_err(keys);
        let said: Vec<_> =
            rejected.diagnostics.iter().map(|one| format!("{} {:?}", one.message, one.hint)).collect();
        assert!(said.iter().any(|one| one.contains(wanted)), "{keys}: {said:?}");
        assert!(
            !rejected.shown.contains("secret@") && !rejected.shown.contains("=secret"),
            "{}",
            rejected.shown
        );
    }
    let spec = store_from_flags("postgres://h/d", None, None).expect("it is one");
    assert_eq!((spec.schema.as_str(), spec.durability), ("bgagent", Durability::Single));
    for (url, schema, wanted) in [
        ("file.db", None, "must begin with postgres://"),
        ("postgres://me:secret@h/d", None, "a password must not stand"),
        ("postgres://h/d", Some("A"), "small letters"),
    ] {
        let (what, _) = store_from_flags(url, schema, None).expect_err(url);
        assert!(what.contains(wanted) && !what.contains("secret"), "{url}: {what}");
    }
}

#[test]
fn it_is_another_configuration_and_another_right() {
    let of = |keys: &str| read(&format!("[store]\n{keys}")).expect("it is valid").fleet;
    let base = "url = \"postgres://me@localhost/d\"\n";
    let none = read("").expect("it is valid").fleet;
    assert_eq!(
        Rights::of(&of(base)).beyond(&Rights::of(&none)),
        [
            "store gets agents from there, if a configuration was applied to the fleet",
            "store is kept at postgres://me@localhost/d, schema bgagent"
        ]
    );
    let mut seen = vec![none.hash, of(base).hash];
    for (other, is_right) in [
        ("url = \"postgres://me@localhost/e\"\n".to_owned(), true),
        (format!("{base}schema = \"s\"\n"), true),
        (format!("{base}password = {{ env = \"P\" }}\n"), true),
        (format!("{base}durability = \"single\"\n"), false),
    ] {
        let fleet = of(&other);
        assert!(!seen.contains(&fleet.hash), "{other}");
        seen.push(fleet.hash);
        let wider = Rights::of(&fleet).beyond(&Rights::of(&of(base)));
        assert_eq!(!wider.is_empty(), is_right, "{other}: {wider:?}");
    }
}

#[test]
fn a_node_has_a_name_labels_and_may_lead() {
    let daemon = |keys: &str| read(&format!("[daemon]\n{keys}\n"));
    let node = |keys: &str| {
        daemon(keys).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet.daemon.node
    };
    assert_eq!(node(""), NodeSpec::default());
    let spec = node("node = \"gpu-7\"\nlabels = { gpu = \"h100\", site = \"fra\" }\nleads = false");
    assert_eq!(
        (spec.name.unwrap().as_str(), spec.labels["gpu"].as_str(), spec.leads),
        ("gpu-7", "h100", false)
    );
    // nodes of a fleet have one identity
    let hash = |keys: &str| daemon(keys).unwrap().fleet.hash;
    assert_eq!(hash(""), hash("node = \"gpu-7\"\nlabels = { gpu = \"h100\" }\nleads = false"));
    for (keys, wanted) in [
        ("node = \"a b\"", "can't name a node"),
        ("node = 7", "`node` must be a text"),
        ("labels = { gpu = 7 }", "`labels` must be a text"),
        ("labels = { \"a b\" = \"x\" }", "can't name a label"),
        ("labels = { a = \"x\\ny\" }", "a label is one line"),
        ("labels = \"gpu\"", "`labels` must be a table"),
        ("leads = \"yes\"", "`leads` must be true or false"),
    ] {
        let Err(rejected) = daemon(keys) else { panic!("{keys} is valid") };
        let said: Vec<&str> = rejected.diagnostics.iter().map(|one| one.message.as_str()).collect();
        assert!(said.iter().any(|what| what.contains(wanted)), "{keys}: {said:?}");
    }
}

#[test]
fn an_agent_says_where_it_runs() {
    const STORE: &str =
        "[store]\nurl = \"postgres://me@localhost/d?sslmode=disable\"\ndurability = \"single\"\n";
    let agent = |keys: &str| format!("[agents.a]\n{keys}\n");
    let of = |text: &str| match read(text) {
        Ok(loaded) => loaded,
        Err(rejected) => panic!("{text}: {:?}", rejected.diagnostics),
    };
    let wanted = |text: &str| of(text).fleet.agents[0].on_nodes.clone();
    let plain = agent("command = \"x\"");
    let placed = agent("command = \"x\"\nwhere = { gpu = \"h100\", site = \"fra\" }");
    assert_eq!(wanted(&format!("{STORE}{plain}")), None);
    assert_eq!(wanted(&format!("{STORE}{placed}")).unwrap().to_string(), "gpu=h100, site=fra");
    // it is another agent then
    let hash = |text: &str| of(text).fleet.agents[0].config_hash;
    assert_ne!(hash(&format!("{STORE}{plain}")), hash(&format!("{STORE}{placed}")));
    // a daemon that is the only one has the labels, or nobody has
    let own = format!("[daemon]\nlabels = {{ gpu = \"h100\", site = \"fra\" }}\n{placed}");
    let warned: Vec<String> = of(&own).warnings.iter().map(|one| one.message.clone()).collect();
    assert!(warned.iter().any(|what| what.contains("`where` has no effect here")), "{warned:?}");
    let models = "[models.m]\nprovider = \"openai\"\nmodel = \"g\"\napi_key = { env = \"K\" }\n";
    let server = "[mcp.web]\ncommand = [\"npx\", \"web\"]\n";
    for (text, said) in [
        (placed.clone(), "no node can have gpu=h100, site=fra: with records in a file"),
        (format!("{STORE}{}", agent("command = \"x\"\nwhere = \"gpu\"")), "`where` must be a table"),
        (format!("{STORE}{}", agent("command = \"x\"\nwhere = {}")), "`where` names no label"),
        (format!("{STORE}{}", agent("command = \"x\"\nwhere = { gpu = 7 }")), "`where` must be a text"),
        (format!("{STORE}{}", agent("command = \"x\"\nwhere = { \"a b\" = \"c\" }")), "can't name a label"),
        (
            format!("{STORE}{models}{}", agent("query = \"q\"\nmodel = \"m\"\nwhere = { gpu = \"h100\" }")),
            "`where` goes with a `command` or a `tool`",
        ),
        (
            format!("{STORE}{server}{}", agent("tool = \"web/get\"\nwhere = { gpu = \"h100\" }")),
            "`where` does not go with the tool `web/get`",
        ),
        (
            format!(
                "{STORE}{server}{}",
                agent("command = \"x\"\ngate = { tool = \"web/get\" }\nwhere = { gpu = \"h100\" }")
            ),
            "`where` does not go with the tool `web/get`",
        ),
    ] {
        let Err(rejected) = read(&text) else { panic!("{text} is valid") };
        let told: Vec<&str> = rejected.diagnostics.iter().map(|one| one.message.as_str()).collect();
        assert!(told.iter().any(|what| what.contains(said)), "{text}: {told:?}");
    }
}
