//! Agents that join what strangers write, what is private, and a way out; and what `sinks` may name.
use super::read;

/// One agent with these keys, beside a tool of each kind.
fn of(keys: &str) -> String {
    format!(
        "[models.m]\nprovider = \"openai-compatible\"\nmodel = \"x\"\nbase_url = \"http://127.0.0.1:1/v1\"\n\
         [tools.web]\ntype = \"http\"\nhosts = [\"*.example.org\"]\n\
         [tools.box]\ntype = \"files\"\nroots = [\"/srv/box\"]\n\
         [tools.db]\ntype = \"sql\"\nurl = \"sqlite:/srv/app.db\"\n\
         [tools.news]\ntype = \"feed\"\nurls = [\"https://a.example/feed\"]\n\
         [tools.bucket]\ntype = \"s3\"\nbucket = \"b\"\naccess_key_id = \"k\"\nsecret_access_key = {{ file = \"/etc/token\" }}\n\
         [tools.sh]\ntype = \"shell\"\n[tools.sh.commands]\n\
         get = {{ exec = \"/usr/bin/curl\", args = [\"{{url}}\"], read = true }}\n\
         df = {{ exec = \"/bin/df\", read = true }}\n\
         [mcp.far]\nurl = \"https://mcp.example/\"\n[mcp.near]\ncommand = [\"/bin/true\"]\n\
         [agents.b]\nmodel = \"m\"\nquery = \"x\"\nmemory = \"session\"\ntools = [\"box\"]\n\
         [agents.a]\nmodel = \"m\"\n{keys}"
    )
}

/// Errors and warnings of it.
fn said(keys: &str) -> (Vec<String>, Vec<String>) {
    match read(&of(keys)) {
        Ok(loaded) => (Vec::new(), loaded.warnings.into_iter().map(|one| one.message).collect()),
        Err(rejected) => {
            let (errors, warnings): (Vec<_>, Vec<_>) =
                rejected.diagnostics.into_iter().partition(|one| one.is_error);
            let text = |one: crate::config::Diagnostic| {
                format!("{} | {}", one.message, one.hint.unwrap_or_default())
            };
            (errors.into_iter().map(text).collect(), warnings.into_iter().map(text).collect())
        }
    }
}

#[test]
fn who_joins_all_three_is_refused_by_name() {
    for (keys, untrusted, private, outward) in [
        ("query = \"x\"\ntools = [\"web\", \"box\"]", "web, box", "box", "web"),
        ("query = \"x\"\ntools = [\"web\", \"db\"]\nsinks = [\"web\"]", "web, db", "db", "web"),
        (
            "query = \"x\"\ntools = [\"web\"]\nmemory = \"session\"\nsession_id = \"b\"",
            "web",
            "session_id",
            "web",
        ),
        ("query = \"x\"\ntools = [\"sh\", \"box\"]", "sh, box", "box", "sh"),
        ("query = \"x\"\ntools = [\"far/find\", \"db\"]", "far/find, db", "db", "far/find"),
        ("query = \"x\"\ntools = [\"web\", \"bucket\"]", "web, bucket", "bucket", "web"),
        (
            "query = \"See {gate}\"\ninterval = 60\ntools = [\"web\"]\ngate = { tool = \"box\", args = { op = \"list\", path = \".\" }, expect = { entries = { gte = 1 } } }",
            "web, gate",
            "gate",
            "web",
        ),
    ] {
        let (errors, _) = said(keys);
        let [error] = &errors[..] else { panic!("{keys}: {errors:?}") };
        let told = format!(
            "agent `a` reads what strangers write ({untrusted}) and what is private ({private}), and can send out what it \
             likes ({outward})"
        );
        assert!(error.starts_with(&told), "{keys}: {error}");
        assert!(
            error.contains(&format!("approve = [\"{outward}\"]")) && error.contains("accept_risk = \""),
            "{error}"
        );
        let (errors, warnings) =
            said(&format!("{keys}\naccept_risk = \"it runs in a network without a way out\""));
        assert!(
            errors.is_empty() && !warnings.iter().any(|one| one.contains("accept_risk")),
            "{errors:?} {warnings:?}"
        );
    }
}

#[test]
fn who_lacks_one_of_them_is_not() {
    for keys in [
        "tools = [\"web\", \"news\", \"system_metrics\", \"report\", \"remember\"]",
        "tools = [\"box\", \"db\", \"news\", \"near/look\", \"recall\", \"report\"]\nmemory = \"session\"",
        "tools = [\"db\", \"news\"]\nsinks = [\"db\"]",
        "tools = [\"bucket\"]",
        "tools = [\"web\", \"box\"]\napprove = [\"web\"]",
        "tools = [\"box\"]\nmemory = \"last_result\"",
        "tools = [\"web\", \"recall\", \"remember\"]\nmemory = \"session\"",
    ] {
        let (errors, warnings) = said(&format!("query = \"x\"\n{keys}"));
        assert!(errors.is_empty(), "{keys}: {errors:?}");
        assert!(
            !warnings.iter().any(|one| one.contains("risk") || one.contains("strangers")),
            "{keys}: {warnings:?}"
        );
    }
}

#[test]
fn a_reason_says_something_and_has_something_to_say() {
    let (errors, _) = said("query = \"x\"\ntools = [\"web\", \"box\"]\naccept_risk = \" \"");
    assert!(errors.iter().any(|one| one.starts_with("`accept_risk` says nothing")), "{errors:?}");
    let (errors, warnings) = said("query = \"x\"\ntools = [\"box\"]\naccept_risk = \"why\"");
    assert!(errors.is_empty() && warnings[0].contains("`accept_risk` has no effect here"), "{warnings:?}");
    let in_defaults = format!("[defaults]\naccept_risk = \"why\"\n{}", of("query = \"x\""));
    assert!(read(&in_defaults).is_err(), "a reason is for one agent");
    let loaded =
        read(&of("query = \"x\"\ntools = [\"web\", \"box\"]\naccept_risk = \" why \"")).expect("it is valid");
    assert_eq!(loaded.fleet.agents[0].accept_risk.as_deref(), Some("why"));
}

#[test]
fn sinks_take_addresses_and_everything_is_too_much() {
    let with =
        |tools: &str, sinks: &str| said(&format!("query = \"x\"\ntools = [{tools}]\nsinks = [{sinks}]"));
    for sinks in [
        "\"https://api.example.org/*\"",
        "\"https://api.example.org/in\", \"web\"",
        "\"http://127.0.0.1:1/x\"",
    ] {
        assert_eq!(with("\"web\"", sinks), (Vec::new(), Vec::new()), "{sinks}");
    }
    for (tools, sinks, part) in [
        ("\"web\"", "\"https://*.example.org/\"", "only be the end of an address"),
        ("\"web\"", "\"https://api.example.org*\"", "may not stand in the host"),
        ("\"web\"", "\"https://me@api.example.org/\"", "has no login"),
        ("\"db\"", "\"https://api.example.org/*\"", "none of this agent's `tools` sends requests"),
    ] {
        let (errors, _) = with(tools, sinks);
        assert!(errors.len() == 1 && errors[0].contains(part), "{sinks}: {errors:?}");
    }
    let (errors, warnings) = with("\"web\", \"news\"", "\"*\"");
    assert!(
        errors.is_empty() && warnings[0].contains("allows every tool after data from outside"),
        "{warnings:?}"
    );
}

#[test]
fn an_agent_may_want_reports_from_outside() {
    let on = |on: &str| read(&format!("[agents.a]\ncommand = \"x\"\non = {on}"));
    let loaded = on("{ event = \"incident_opened\", untrusted = true }").expect("it is valid");
    let schedule = &loaded.fleet.agents[0].schedule;
    assert_eq!(schedule.describe(), "on incident_opened, untrusted ones too");
    let plain = on("\"incident_opened\"").expect("it is valid");
    assert!(plain.fleet.agents[0].config_hash != loaded.fleet.agents[0].config_hash);
    let explicit = on("{ event = \"incident_opened\", untrusted = false }").expect("it is valid");
    assert_eq!(plain.fleet.agents[0].config_hash, explicit.fleet.agents[0].config_hash);
    assert!(on("{ event = \"incident_opened\", untrusted = 1 }").is_err());
}

/// The agent that the README shows, and those that have a page, need no reason.
#[test]
fn what_the_readme_shows_accepts_no_risk() {
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let whole: Vec<&str> =
        blocks.map(|(block, _)| block).filter(|block| block.contains("[models.main]")).collect();
    assert!(!whole.is_empty());
    for block in whole {
        let loaded = read(block).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
        assert!(loaded.fleet.agents.iter().all(|agent| agent.accept_risk.is_none()), "{block}");
    }
}
