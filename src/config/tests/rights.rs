//! What a file lets its agents do, and what of a change goes beyond that.
use super::read;
use crate::domain::{Rights, Walled};

const MODEL: &str = "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n";

const HOOK: &str = "[daemon]\nwebhooks = \"127.0.0.1:8090\"\n[webhooks.deploy]\nsecret = { env = \"S\" }\nscheme = \"github\"\n";

fn rights(text: &str) -> Rights {
    Rights::of(&read(text).unwrap_or_else(|rejected| panic!("{text}: {:?}", rejected.diagnostics)).fleet)
}

/// An agent with a model.
fn thinks(keys: &str) -> String {
    format!(
        "{MODEL}[tools.db]\ntype = \"sql\"\nurl = \"sqlite:/a.db\"\n[agents.a]\nmodel = \"m\"\nquery = \"?\"\n{keys}\n"
    )
}

#[test]
fn what_goes_beyond_what_was_trusted_is_named() {
    let mcp = |keys: &str| format!("[mcp.s]\ncommand = [\"s\", \"stdio\"]\n{keys}\n");
    let shell = |commands: &str| {
        format!("[tools.t]\ntype = \"shell\"\ncwd = \"/w\"\n[tools.t.commands]\n{commands}\n")
    };
    let files = |keys: &str| format!("[tools.t]\ntype = \"files\"\n{keys}\n");
    let http = |keys: &str| format!("[tools.t]\ntype = \"http\"\n{keys}\n");
    let sql = |keys: &str| format!("[tools.t]\ntype = \"sql\"\nurl = \"sqlite:/a.db\"\n{keys}\n");
    let model = |keys: &str| format!("[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n{keys}\n");
    let runs = |command: &str| format!("[agents.a]\ncwd = \"/w\"\ncommand = {command}\n");
    let notify = |keys: &str| format!("[notify.n]\n{keys}\n");
    let probe = |check: &str| format!("[tools.t]\ntype = \"probe\"\nchecks = [{check}]\n");
    let mut wrong = Vec::new();
    let (df, all) = ("[\"df\"]", "[\"df\", \"-a b\"]");
    for (before, after, wider) in [
        // what runs, with what, and where
        (String::new(), runs(df), &["agent a runs df in /w"][..]),
        (runs(df), String::new(), &[]),
        (runs(df), runs(all), &["agent a runs df \"-a b\" in /w"]),
        (runs(df), runs("\"df\""), &["agent a runs by the shell \"df\" in /w"]),
        (runs(df), runs("[\"df\"]\ntimeout = 5\ninterval = 7\noverlap = \"queue\""), &[]),
        (
            runs(df),
            runs("[\"df\"]\nenv = { LD_PRELOAD = \"/x.so\" }"),
            &["agent a runs df in /w with LD_PRELOAD=/x.so"],
        ),
        (runs(df), runs("[\"df\"]\nstdin = \"x\""), &["agent a runs df in /w, reading \"x\""]),
        (
            runs(df),
            runs("[\"df\"]\nenv = { K = { command = [\"id\"] } }"),
            &["agent a runs df in /w with K=the secret that comes from running id"],
        ),
        (
            runs(df),
            runs("[\"df\"]\ncontrol = \"run\""),
            &["agent a lets its programs ask the daemon, control run"],
        ),
        // walls
        (runs(df), runs("[\"df\"]\nsandbox = true"), &[]),
        (runs("[\"df\"]\nsandbox = true"), runs(df), &["agent a no longer keeps its program in a sandbox"]),
        (
            runs("[\"df\"]\nsandbox = { limits = { cpu = 5 } }"),
            runs("[\"df\"]\nsandbox = { write = [\"/w\"] }"),
            &[
                "agent a writes /w in the sandbox of its program",
                "agent a no longer limits its program to 5 seconds on a processor",
            ],
        ),
        (mcp(""), mcp("sandbox = false"), &["MCP server s no longer keeps its program in a sandbox"]),
        (
            runs(df),
            runs("[\"df\"]\ngate = { command = [\"id\"] }"),
            &["agent a has a gate that runs id in /etc/bgagent"],
        ),
        (
            runs(df),
            runs(
                "[\"df\"]\nsuccess_when = [{ tool = \"feed\", args = { urls = [\"https://a.example/f\"] } }]",
            ),
            &["agent a has a proof that calls feed with {\"urls\":[\"https://a.example/f\"]}"],
        ),
        // what a model may call, and with whose word
        (thinks(""), thinks("tools = [\"recall\"]"), &["agent a lets a model call recall"]),
        (
            thinks("tools = [\"recall\", \"db\"]"),
            thinks("tools = [\"db\"]\nquery = \"!\"").replace("query = \"?\"\n", ""),
            &[],
        ),
        (
            thinks("tools = [\"db\"]"),
            thinks("tools = [\"db\"]\nsinks = [\"db\"]"),
            &["agent a lets a model call db after it has read what strangers wrote"],
        ),
        (
            thinks("tools = [\"db\"]\napprove = [\"db\"]"),
            thinks("tools = [\"db\"]"),
            &["agent a no longer asks a person before it calls db"],
        ),
        (thinks("tools = [\"db\"]"), thinks("tools = [\"db\"]\napprove = [\"db\"]"), &[]),
        (thinks("tools = [\"db\"]\napprove = [\"db\"]"), String::new(), &[]),
        // servers
        (
            mcp("allow = [\"a\"]"),
            mcp("allow = [\"a\", \"b\"]\neffects = { a = \"read\", b = \"send\" }"),
            &["MCP server s is believed that a is read", "MCP server s offers b"],
        ),
        (mcp("allow = [\"a\", \"b\"]"), mcp("allow = [\"a\"]\ndeny = [\"b\"]\nstart_timeout = 5"), &[]),
        (mcp("deny = [\"b\"]"), mcp(""), &["MCP server s no longer does not offer b"]),
        (mcp("cwd = \"/w\""), mcp("cwd = \"/v\""), &["MCP server s runs s stdio in /v"]),
        (
            String::new(),
            "[mcp.s]\nurl = \"https://a.example/mcp\"\nallow = []\nheaders = { A = { env = \"T\" } }\n"
                .into(),
            &[
                "MCP server s is asked at https://a.example/mcp",
                "MCP server s is sent the header A: the secret in the variable T",
            ],
        ),
        // tools
        (
            shell("df = { exec = \"/bin/df\" }"),
            shell("df = { exec = \"/bin/df\", args = [\"{p:path}\"], under = [\"/w\"], read = true }"),
            &[
                "tool t hands df paths below /w",
                "tool t has df, which runs /bin/df {p:Path} in /w",
                "tool t is believed that df only looks",
            ],
        ),
        (files("roots = [\"/a\", \"/b\"]"), files("roots = [\"/a\"]\nmax_bytes = \"1KiB\""), &[]),
        (
            files("roots = [\"/a\"]"),
            files("roots = [\"/a\", \"/b c\"]\nmode = \"read_write\""),
            &[
                "tool t reads what is below \"/b c\"",
                "tool t writes below \"/b c\"",
                "tool t writes below /a",
            ],
        ),
        (http("hosts = [\"a.example\"]"), http("hosts = [\"*.b.example\"]"), &["tool t asks *.b.example"]),
        (
            http("hosts = [\"a.example\"]\nhttps_only = true"),
            http("hosts = [\"a.example\"]\nmethods = [\"GET\", \"POST\"]"),
            &["tool t sends POST", "tool t no longer asks nobody without encryption"],
        ),
        (
            sql("mode = \"read_write\"\nstatements = { s = \"INSERT INTO t VALUES (1)\" }"),
            sql("mode = \"read_write\""),
            &["tool t runs any statement that it may"],
        ),
        (sql("tables = [\"t\"]"), sql(""), &["tool t touches all of it"]),
        (
            probe("{ type = \"load\" }"),
            probe("{ type = \"load\", warn = 3 }, { type = \"command\", command = [\"id\"] }"),
            &["tool t runs id"],
        ),
        // where prompts, keys and messages go
        (
            model(""),
            model("base_url = \"http://a.example/v1\""),
            &["model m is asked of ollama at http://a.example/v1"],
        ),
        (
            model(""),
            model("temperature = 0.5\napi_key = { command = [\"pass\", \"x\"] }"),
            &["model m is sent the secret that comes from running pass x"],
        ),
        (
            notify("type = \"file\"\npath = \"/l\""),
            notify("type = \"command\"\ncwd = \"/w\"\ncommand = [\"mail\"]"),
            &["receiver n runs mail in /w"],
        ),
        (
            notify("type = \"file\"\npath = \"/l\""),
            notify("type = \"webhook\"\nurl = \"https://a.example\""),
            &["receiver n is sent messages at https://a.example"],
        ),
        // who starts it, and what it is given then
        (
            runs("[\"bash\"]"),
            format!("{HOOK}{}", runs("[\"bash\"]\non = { webhook = \"deploy\" }")),
            &[
                "agent a is started by deliveries to the webhook deploy, which it is given",
                "daemon takes webhooks at 127.0.0.1:8090",
                "webhook deploy lets whoever signs with the secret in the variable S start agents (scheme github)",
            ],
        ),
        (
            runs("[\"bash\"]"),
            runs("[\"bash\"]\non = { file = \"/in/*.csv\" }"),
            &["agent a is started by files that arrive as /in/*.csv"],
        ),
        (runs(df), runs("[\"df\"]\non = { event = \"incident_opened\" }"), &[]),
        (
            runs("[\"df\"]\non = { event = \"incident_opened\" }"),
            runs("[\"df\"]\non = { event = \"incident_opened\", untrusted = true }"),
            &["agent a is started by incident_opened, also where strangers wrote what it tells"],
        ),
        (
            thinks(""),
            thinks("accept_risk = \"no way out\""),
            &["agent a joins what strangers write, what is private and a way out, since \"no way out\""],
        ),
        // what it finds of before
        (
            thinks(""),
            thinks("memory = \"session\""),
            &["agent a reads in each run what its runs before have read and said"],
        ),
        (
            thinks("memory = \"session\""),
            thinks("memory = \"session\"\nsession_id = \"desk\""),
            &["agent a shares the session desk"],
        ),
        // what is sent along, whom else it reaches, and what is counted of it
        (
            model(""),
            model("params = { route = \"fallback\" }"),
            &["model m is sent the field route of each request: \"fallback\""],
        ),
        (
            format!("{}[models.n]\nprovider = \"ollama\"\nmodel = \"y\"\n", model("")),
            format!("{}[models.n]\nprovider = \"ollama\"\nmodel = \"y\"\n", model("fallback = [\"n\"]")),
            &["model m has n asked in its place"],
        ),
        (
            model("price = { input = 3, output = 15 }"),
            model("price = { input = 0, output = 0 }"),
            &[
                "model m no longer counts x at 3 for input, 3 for cached input, 3 for what is cached and 15 for output (US \
               dollars per million tokens)",
            ],
        ),
        (model(""), model("price = { input = 3, output = 15 }"), &[]),
        // what is removed
        (
            runs(df),
            runs(df) + "[daemon]\nretention = { runs = \"1h\" }\n",
            &["daemon removes runs after 3600 seconds"],
        ),
        (runs(df), runs(df) + "[daemon]\nretention = { runs = \"400d\" }\n", &[]),
        (
            runs(df) + "[daemon]\nretention = { runs = \"400d\" }\n",
            runs(df),
            &["daemon no longer keeps runs for 34560000 seconds"],
        ),
    ] {
        let found = rights(&after).beyond(&rights(&before));
        if found != wider {
            wrong.push(format!("{before}\n->\n{after}\n{found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whatever is written, a line can't be made to say what another one says.
#[test]
fn lines_are_the_same_only_if_they_say_the_same() {
    let runs = |argv: &str| rights(&format!("[agents.a]\ncwd = \"/w\"\ncommand = {argv}\n"));
    let all = [
        r#"["df", "-h"]"#,
        r#"["df -h"]"#,
        r#"["df", "-h", ""]"#,
        r#"["df", "\"-h\""]"#,
        r#"["df", "-h in /w"]"#,
        r#""df -h""#,
        r#"["df", "-h\nagent b"]"#,
        r#"["df", "-h\u001b[2J"]"#,
    ];
    for (at, one) in all.iter().enumerate() {
        for other in &all[at + 1..] {
            assert_eq!(runs(one).beyond(&runs(other)).len(), 1, "{one} {other}");
        }
        let line = runs(one).iter().next().unwrap().1.may.first().unwrap().clone();
        assert!(!line.contains(char::is_control), "{line}");
    }
}

#[test]
fn which_programs_are_within_walls_is_known() {
    let text = format!(
        "{MODEL}[mcp.s]\ncommand = [\"s\"]\n[mcp.free]\ncommand = [\"s\"]\nsandbox = false\n\
         [mcp.far]\nurl = \"https://a.example/\"\n[notify.n]\ntype = \"command\"\ncommand = \"x\"\n\
         [tools.sh]\ntype = \"shell\"\ncommands = {{ df = {{ exec = \"/bin/df\" }} }}\n\
         [agents.a]\ncommand = \"x\"\n[agents.b]\ncommand = \"x\"\nsandbox = true\n"
    );
    let walled =
        Walled::of(&read(&text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet);
    assert_eq!(walled.within, ["agents.b", "mcp.s", "tools.sh"]);
    assert_eq!(walled.without, ["agents.a", "mcp.free", "notify.n"]);
}

#[test]
fn which_programs_of_an_agent_are_within_walls_is_known() {
    let text = format!(
        "{MODEL}[mcp.s]\ncommand = [\"s\"]\n[mcp.other]\ncommand = [\"s\"]\n\
         [tools.sh]\ntype = \"shell\"\ncommands = {{ df = {{ exec = \"/bin/df\" }} }}\n\
         [tools.well]\ntype = \"probe\"\nchecks = [{{ type = \"command\", command = [\"x\"], sandbox = true }}]\n\
         [agents.a]\nquery = \"q\"\nmodel = \"m\"\ntools = [\"sh\", \"s/t\"]\ngate = {{ command = \"x\" }}\n\
         [agents.b]\ncommand = \"x\"\nsandbox = true\nsuccess_when = [{{ command = \"x\", sandbox = false }}, {{ tool = \"well\" }}]\n\
         [agents.c]\ntool = \"probe\"\nargs = {{ checks = [{{ type = \"command\", command = [\"x\"] }}] }}\n"
    );
    let fleet = read(&text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet;
    let of = |name| {
        let walled = Walled::of_agent(&fleet, fleet.agent(name).unwrap());
        (walled.within.join(" "), walled.without.join(" "))
    };
    assert_eq!(of("a"), ("mcp.s tools.sh".into(), "agents.a.gate".into()));
    assert_eq!(of("b"), ("agents.b tools.well".into(), "agents.b.success_when".into()));
    assert_eq!(of("c"), (String::new(), "agents.c.args".into()));
}

#[test]
fn roots_of_a_sandbox_hold_nothing_that_is_anothers() {
    let agent =
        |name: &str, sandbox: &str| format!("[agents.{name}]\ncommand = \"x\"\nsandbox = {{ {sandbox} }}\n");
    let found = |text: &str| -> Vec<(u32, Option<String>, String)> {
        let diagnostics = read(text).map_or_else(|rejected| rejected.diagnostics, |_| Vec::new());
        diagnostics.into_iter().map(|one| (one.line, one.key, one.message)).collect()
    };
    let writes = agent("writes", "write = [\"/work/out\"]");
    for (sandbox, what) in [
        ("read = [\"/data\", \"~\"]", "which is, holds, or is in the state folder"),
        ("read = [\"/home/u/.local/state/bgagent\"]", "in the state folder"),
        ("unix = [\"~/.local/state/bgagent/bgagent.sock\"]", "in the state folder"),
        ("exec = [\"/etc\"]", "which holds the configuration (/etc/bgagent/agents.toml)"),
        ("write = [\"/etc/bgagent/out\"]", "which lies in the folder of the configuration (/etc/bgagent)"),
        ("read = [\"/work\"]", "holds what agent `writes` writes (`/work/out`)"),
        ("read = [\"/x\", \"/work/out\"]", "holds what agent `writes` writes"),
    ] {
        let found = found(&(writes.clone() + &agent("reads", sandbox)));
        assert_eq!(found.len(), 1, "{sandbox}: {found:?}");
        assert_eq!(found[0].0, 6, "{sandbox}: {found:?}");
        assert!(found[0].1.as_ref().is_some_and(|key| key.starts_with("agents.reads.sandbox")), "{found:?}");
        assert!(found[0].2.contains(what), "{sandbox}: {found:?}");
    }
    for fine in [
        agent("reads", "read = [\"/work/in\", \"/work/output\"]"),
        agent("shares", "read = [\"/work\"], write = [\"/work/out\"]"),
        agent("reads", "read = [\"/etc/bgagent/scripts\"]"),
    ] {
        assert_eq!(found(&(writes.clone() + &fine)), [], "{fine}");
    }
    // what all have by [defaults] is each one's own; and it is told once
    let shared = "[defaults.sandbox]\nread = [\"/work\"]\nwrite = [\"/work/out\"]\n[agents.a]\ncommand = \"x\"\n[agents.b]\ncommand = \"x\"\n";
    assert_eq!(found(shared), []);
    let wide = found(&shared.replace("\"/work\"", "\"/\""));
    assert_eq!((wide.len(), wide[0].0), (1, 2), "{wide:?}");
    let of_tool = format!(
        "{MODEL}{writes}[tools.sh]\ntype = \"shell\"\ncommands = {{ df = {{ exec = \"/bin/df\" }} }}\nsandbox = {{ read = [\"/work\"] }}\n"
    );
    assert!(found(&of_tool).iter().any(|one| one.2.contains("[tools.sh]")), "{:?}", found(&of_tool));
}
