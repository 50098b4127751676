//! What could only fail when it runs is judged when it is read; nothing that is read is without effect.
use super::{read, read_with};
use crate::domain::{Body, Schedule};

#[test]
fn a_time_is_honoured_or_refused() {
    let at = |keys: &str| match read(&format!("[agents.a]\n{keys}\ncommand = \"x\"")) {
        Ok(loaded) => match &loaded.fleet.agents[0].schedule {
            Schedule::At(at) => at.to_string(),
            other => panic!("{keys}: {other:?}"),
        },
        Err(rejected) => rejected.diagnostics[0].message.clone(),
    };
    let new_york = "timezone = \"America/New_York\"\n";
    for (keys, expected) in [
        ("at = \"2027-06-01T10:00:00[Asia/Tokyo]\"", "2027-06-01T01:00:00Z"),
        ("at = \"2027-06-01T10:00:00+09:00[Asia/Tokyo]\"", "2027-06-01T01:00:00Z"),
        ("at = \"2027-06-01T10:00:00\"", "2027-06-01T14:00:00Z"),
        ("at = 2027-06-01T10:00:00", "2027-06-01T14:00:00Z"),
        ("at = 2027-06-01T10:00:00+02:00", "2027-06-01T08:00:00Z"),
        ("at = \"2027-06-01\"", "2027-06-01T04:00:00Z"),
        ("at = \"2027-10-31T01:30:00-05:00[America/Chicago]\"", "2027-10-31T06:30:00Z"),
        ("at = \"2027-06-01T10:00:00+02:00[Asia/Tokyo]\"", "is not a time"),
        ("at = \"2027-06-01T10:00:00Z[Mars/Olympus]\"", "is not a time"),
        ("at = \"2027-06-01T10:00:00[Asia/Tokyo][u-ca=hebrew]\"", "is not a time"),
        ("at = \"2027-06-01T10:00:00[u-ca=hebrew]\"", "is not a time"),
        ("at = \"2027-03-28T02:30:00[Europe/Berlin]\"", "does not exist in Europe/Berlin"),
        ("at = \"2027-10-31T02:30:00[Europe/Berlin]\"", "happens twice in Europe/Berlin"),
        ("at = \"9999-12-31T23:59:59\"", "beyond the calendar"),
        ("at = \"9999-12-31\"", "beyond the calendar"),
        ("at = 9999-12-31T23:59:59", "beyond the calendar"),
        ("at = \"2027-06-30T23:59:60Z\"", "leap second"),
        ("at = \"2027-06-01T10:00:00.0000001Z\"", "finer than a microsecond"),
        ("at = 10:00:00", "is not a time"),
    ] {
        let got = at(&format!("{new_york}{keys}"));
        assert!(got == expected || got.contains(expected), "{keys}: {got}");
    }
    let loaded =
        read(&format!("[agents.a]\n{new_york}at = \"2027-06-01T10:00:00Z\"\ncommand = \"x\"")).unwrap();
    assert_eq!(loaded.warnings[0].message, "`timezone` has no effect here: `at` has its offset");
}

#[test]
fn no_duration_leads_out_of_the_calendar() {
    for text in ["interval = 9223372036854775807", "interval = \"40000d\"", "after = \"15000000w\""] {
        let rejected = read(&format!("[agents.a]\n{text}\ncommand = \"x\"")).expect_err(text);
        assert!(rejected.diagnostics[0].message.contains("at most 100 years"), "{:?}", rejected.diagnostics);
    }
}

/// Each is refused at this line, with this in its message or hint.
#[test]
fn what_no_run_could_do_is_refused() {
    let text_tool = "[tools.f]\ntype = \"files\"\nroots = [\"/x\"]\n[tools.s]\ntype = \"shell\"\n\
        commands = { df = { exec = \"/bin/df\" } }\n";
    let web_call = "[tools.w]\ntype = \"http\"\nhosts = [\"example.org\"]\n[agents.a]\ntool = \"w\"\n\
        args = { url = \"https://example.org/\", ";
    for (text, part) in [
        ("[agents.a]\ncommand = \"x\"\nenv = { \"A=B\" = \"x\" }", "no program can have a variable"),
        ("[agents.a]\ncommand = \"x\"\nenv = { \"\" = \"x\" }", "no program can have a variable"),
        ("[agents.a]\ncommand = \"x\"\nenv = { \"A\\u0000\" = \"x\" }", "no program can have a variable"),
        ("[agents.a]\ncommand = \"x\"\nenv = { A = \"x\\u0000\" }", "has a NUL byte"),
        ("[agents.a]\ncommand = \"x\"\nenv = { TZ = \"Europe/Berlim\" }", "did you mean \"Europe/Berlin\"?"),
        ("[mcp.m]\ncommand = \"x\"\nenv = { \"A=B\" = \"x\" }", "no program can have a variable"),
        ("[mcp.m]\nurl = \"http://x\"\nheaders = { \"a b\" = \"x\" }", "can't name a header"),
        (
            "[notify.n]\ntype = \"webhook\"\nurl = \"http://x\"\nheaders = { A = \"x\\ny\" }",
            "control characters",
        ),
        (
            "[agents.a]\ncommand = \"x\"\ngate = { command = \"x\", env = { \"=\" = \"x\" } }",
            "no program can have",
        ),
        ("[agents.a]\ncommand = \"x\"\nmax_output = 0", "at least 1KiB"),
        ("[agents.a]\ncommand = \"x\"\nmax_output = \"100\"", "at least 1KiB"),
        ("[daemon]\nretention = { max_db_size = \"1KiB\" }", "at least 1MiB"),
        ("[daemon]\nretention = { workspaces = 0 }", "`workspaces` must be at least 1MiB"),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = { env = \"sk-ant-123\" }",
            "name the variable",
        ),
        (
            "[agents.a]\ntool = \"report\"\nargs = { key = \"k\", severity = \"bad\", title = \"t\" }",
            "can't be \"bad\"",
        ),
        (
            "[agents.a]\ntool = \"report\"\nargs = { key = \"k\", severity = \"crit\", title = \"t\" }",
            "critical",
        ),
        (
            "[agents.a]\ntool = \"report\"\nargs = { key = \"k\", title = \"t\" }",
            "needs the argument `severity`",
        ),
        (
            "[agents.a]\ntool = \"report\"\nargs = { key = \"k\", severty = \"ok\", title = \"t\" }",
            "did you mean `severity`?",
        ),
        ("[agents.a]\ntool = \"report\"", "needs the arguments `key`, `severity`, `title`"),
        ("[agents.a]\ntool = \"remember\"\nargs = { key = 7, text = \"x\" }", "must be a text"),
        (
            "[agents.a]\ncommand = \"x\"\ngate = { tool = \"recall\", args = { name = \"x\" } }",
            "takes no argument `name`",
        ),
        (
            &format!("{text_tool}[agents.a]\ntool = \"f\"\nargs = {{ op = \"write\", path = \"x\" }}"),
            "can't be \"write\"",
        ),
        (
            &format!("{text_tool}[agents.a]\ntool = \"s\"\nargs = {{ command = \"du\" }}"),
            "did you mean \"df\"?",
        ),
        (&format!("{web_call}method = \"POST\" }}"), "can't be \"POST\""),
        (&format!("{web_call}body = \"x\" }}"), "takes no argument `body`"),
    ] {
        let rejected = read(text).expect_err(text);
        let fits = |text: &str| text.contains(part);
        let found = &rejected.diagnostics[0];
        assert!(fits(&found.message) || found.hint.as_deref().is_some_and(fits), "{text}: {found:?}");
        assert_eq!(rejected.diagnostics.len(), 1, "{text}: {:?}", rejected.diagnostics);
    }
}

#[test]
fn texts_with_places_to_fill_may_become_anything() {
    let text = "[agents.a]\non = \"incident_opened\"\ntool = \"report\"\n\
        args = { key = \"{event.payload.key}\", severity = \"{event.payload.severity}\", title = \"x\" }";
    let loaded = read(text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
    assert_eq!(loaded.warnings, []);
}

/// So that a file has agents.
const IDLE: &str = "\n[agents.idle]\ncommand = \"x\"\n";

#[test]
fn a_program_that_path_does_not_have_is_warned_of() {
    for (path, text, part) in [
        ("/nowhere", "command = [\"x\"]", "there is no program `x` in PATH (/nowhere)"),
        ("/nowhere", "command = \"x\"\ngate = { command = [\"x\"] }", "there is no program `x`"),
        ("/nowhere", "command = \"x\"\n[mcp.s]\ncommand = [\"x\", \"-y\"]", "there is no program `x`"),
        ("/nowhere", "command = \"x\"\n[notify.n]\ntype = \"command\"\ncommand = [\"x\"]", "no program `x`"),
        ("/nowhere:/usr", "command = [\"x.txt\"]", "`/usr/x.txt` is not executable"),
        ("/bin/", "command = [\"x\"]\nenv = { PATH = \"/nowhere\" }", "in PATH (/nowhere)"),
        ("/nowhere:/bin/", "command = [\"x\"]", ""),
        ("/nowhere", "command = [\"x\"]\nenv = { PATH = \"/bin/\" }", ""),
        ("", "command = [\"x\"]", ""),
    ] {
        let env = |name: &str| (name == "PATH").then(|| path.to_owned());
        let loaded = read_with(&format!("[agents.a]\n{text}"), &env).expect(text);
        let said: Vec<&str> = loaded.warnings.iter().map(|one| one.message.as_str()).collect();
        match part {
            "" => assert!(said.is_empty(), "{text}: {said:?}"),
            part => assert!(said.len() == 1 && said[0].contains(part), "{text}: {said:?}"),
        }
        assert!(loaded.warnings.iter().all(|one| one.line > 1 && one.key.is_some() && one.hint.is_some()));
    }
}

#[test]
fn what_is_not_there_is_warned_of() {
    for (text, part) in [
        ("[agents.a]\ncommand = [\"true\"]\ncwd = \"/nowhere\"", "there is no folder `/nowhere`"),
        ("[agents.a]\ncommand = [\"true\"]\ncwd = \"/x.txt\"", "is not a folder"),
        ("[agents.a]\ncommand = [\"/nowhere/x\"]", "there is no program `/nowhere/x`"),
        ("[agents.a]\ncommand = [\"./x.txt\"]", "is not executable"),
        ("[agents.a]\ncommand = [\"/usr\"]", "is a folder"),
        ("[agents.a]\ncommand = [\"echo hello\"]", "probably no program"),
        ("[agents.a]\ncommand = [\"/bin/ls\", \"~/x\"]", "only a shell knows"),
        ("[agents.a]\ncommand = \"x\"\ngate = { command = [\"/nowhere/x\"] }", "there is no program"),
        (
            "[agents.a]\ncommand = \"x\"\nsuccess_when = [{ command = [\"x\"], cwd = \"/nowhere\" }]",
            "there is no folder",
        ),
        ("[mcp.s]\ncommand = [\"/nowhere/x\"]", "there is no program `/nowhere/x`"),
        ("[mcp.s]\ncommand = [\"./x.txt\"]\ncwd = \"/x\"", "is not executable"),
        ("[mcp.s]\ncommand = [\"/bin/x\"]\ncwd = \"/nowhere\"", "there is no folder `/nowhere`"),
        (
            "[mcp.s]\ncommand = [\"/bin/x\"]\nenv = { K = { env = \"K\" } }",
            "the variable `K` is not set here",
        ),
        ("[notify.n]\ntype = \"command\"\ncommand = [\"/nowhere/x\"]", "there is no program `/nowhere/x`"),
        ("[notify.n]\ntype = \"webhook\"\nurl = { file = \"/nowhere/key\" }", "there is no key file"),
        (
            "[tools.t]\ntype = \"shell\"\ncommands = { x = { exec = \"/nowhere/x\" } }",
            "no program `/nowhere/x`",
        ),
        ("[tools.t]\ntype = \"shell\"\ncommands = { x = { exec = \"/x.txt\" } }", "is not executable"),
        ("[tools.t]\ntype = \"sql\"\nurl = \"sqlite:/nowhere/app.db\"", "no database `/nowhere/app.db`"),
        ("[tools.t]\ntype = \"sql\"\nurl = \"sqlite:/data\"", "is a folder, not a database"),
        (
            "[tools.t]\ntype = \"archive_rows\"\nto = { folder = \"a\" }\n\
             from = { url = \"sqlite:/nowhere/app.db\", table = \"t\", key = [\"id\"], column = \"c\", older_than = \"9d\" }",
            "no database `/nowhere/app.db`",
        ),
        ("[tools.t]\ntype = \"files\"\nroots = [\"/data\", \"/nowhere\"]", "there is no folder `/nowhere`"),
        ("[tools.t]\ntype = \"files\"\nroots = [\"/x.txt\"]", "is not a folder"),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = { env = \"K\" }",
            "`K` is not set here",
        ),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = { file = \"/k.pem\" }",
            "others may read",
        ),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = { file = \"/data\" }",
            "not a key file",
        ),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = { command = [\"/nowhere/pass\"] }",
            "there is no program `/nowhere/pass`",
        ),
    ] {
        let text = &if text.contains("[agents.") { text.to_owned() } else { text.to_owned() + IDLE };
        let loaded = read(text).unwrap_or_else(|rejected| panic!("{text}: {:?}", rejected.diagnostics));
        let said: Vec<&str> = loaded.warnings.iter().map(|one| one.message.as_str()).collect();
        assert!(said.len() == 1 && said[0].contains(part), "{text}: {said:?}");
    }
    for text in ["command = [\"./x.sh\"]", "command = \"cd ~/x\"", "command = [\"true\"]\ncwd = \"~/x\""] {
        assert_eq!(read(&format!("[agents.a]\n{text}")).unwrap().warnings, [], "{text}");
    }
}

#[test]
fn the_path_of_a_program_is_expanded() {
    for (text, program) in [
        ("[\"~/bin/x\", \"~\"]", "/home/u/bin/x"),
        ("[\"${DATA}/bin/x\"]", "/data/bin/x"),
        ("[\"./x.sh\"]", "./x.sh"),
        ("[\"x\"]", "x"),
    ] {
        let loaded = read(&format!("[agents.a]\ncommand = {text}")).unwrap();
        let Body::Command(command) = &loaded.fleet.agents[0].body else { panic!("a command") };
        assert_eq!(command.argv[0], program, "{text}");
    }
}

/// An error beside a secret shows neither the secret nor loses its place.
#[test]
fn a_refused_secret_is_nowhere_in_what_is_said() {
    const SECRET: &str = "hunter2-hunter2";
    for text in [
        "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = \"SECRET\"",
        "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = [\"SECRET\"]",
        "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = { value = \"SECRET\" }",
        "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = { env = \"SECRET\" }",
        "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_kye = \"SECRET\"",
        "[models]\nm = { provider = \"openia\", model = \"x\", api_key = \"SECRET\" }",
        "[models]\nm = { provider = \"openia\", model = \"x\", api_key = SECRET }",
        "[models.m]\nprovider = \"openai\"\napi_key = \"SECRET\nmodel = \"x\"",
        "[tools.d]\ntype = \"sql\"\nurl = \"postgres://me:SECRET@host/db\"",
        "[tools.d]\ntype = \"sql\"\nurl = \"postgres://host/db?password=SECRET\"",
        "[tools.d]\ntype = \"s3\"\nbucket = \"b\"\naccess_key_id = \"A\"\nsecret_access_key = \"SECRET\"",
        "[tools.d]\ntype = \"feed\"\nurls = [\"https://u:SECRET@example.org/\"]",
        "[mcp.m]\nurl = \"http://x\"\nheadrs = { Authorization = \"Bearer SECRET\" }",
        "[notify.n]\ntype = \"email\"\nto = \"a@b.c\"\nfrom = \"a@b.c\"\nsmtp = \"m.example\"\nusername = \"u\"\npassword = \"SECRET\"",
    ] {
        let rejected = read(&text.replace("SECRET", SECRET)).expect_err(text);
        let shown = super::render(&rejected.diagnostics, &rejected.shown, &rejected.path, false);
        let json: Vec<String> =
            rejected.diagnostics.iter().map(|one| one.to_json(&rejected.path).to_string()).collect();
        assert!(!shown.contains(SECRET) && !json.concat().contains(SECRET), "{text}\n{shown}\n{json:?}");
    }
}

#[test]
fn a_diagnostic_names_its_key() {
    for (text, key) in [
        ("[agents.a]\ncron = \"x\"\ncommand = \"x\"", "agents.a.cron"),
        ("[agents.\"b.c\"]\nretry = { max = -1 }\ncommand = \"x\"", "agents.b.c.retry.max"),
        ("[agents.a]\ncommand = \"x\"\nsuccess_when = [{ command = 7 }]", "agents.a.success_when.command"),
        ("[agents.a]\ninterval = 60", "agents.a"),
        ("[daemons]", "daemons"),
    ] {
        let rejected = read(text).expect_err(text);
        assert_eq!(rejected.diagnostics[0].key.as_deref(), Some(key), "{text}");
        let json = rejected.diagnostics[0].to_json(&rejected.path);
        assert_eq!(json["key"], key);
        assert_eq!(json["file"], "/etc/bgagent/agents.toml");
        assert_eq!(json["help"], json["hint"]);
    }
}

/// A database may come to be later, which a gate can wait for; but not one that asks the database itself.
#[test]
fn a_database_that_a_gate_waits_for_may_be_missing() {
    let tool = "[tools.t]\ntype = \"sql\"\nurl = \"sqlite:/nowhere/app.db\"\n";
    let agent = |name: &str, gate: &str| {
        format!("[agents.{name}]\ntool = \"t\"\nargs = {{ sql = \"SELECT 1\" }}\n{gate}\n")
    };
    let waits = "gate = { command = [\"test\", \"-e\", \"/nowhere/app.db\"] }";
    let asks = "gate = { tool = \"t\", args = { sql = \"SELECT 1\" }, expect = { row_count = 1 } }";
    let inline = "[agents.a]\ntool = \"archive_rows\"\nargs = { to = { folder = \"a\" }, from = { \
                  url = \"sqlite:/nowhere/app.db\", table = \"t\", key = [\"id\"], column = \"c\", older_than = \"9d\" } }\n";
    for (text, line) in [
        (tool.to_owned() + &agent("a", waits), None),
        (tool.to_owned() + &agent("a", waits) + &agent("b", ""), Some(3)),
        (tool.to_owned() + &agent("a", asks), Some(3)),
        (tool.to_owned() + &agent("a", ""), Some(3)),
        (inline.to_owned(), Some(3)),
        (inline.to_owned() + waits + "\n", None),
    ] {
        let loaded = read(&text).unwrap_or_else(|rejected| panic!("{text}: {:?}", rejected.diagnostics));
        let missing = loaded.warnings.iter().filter(|one| one.message.contains("there is no database"));
        assert_eq!(missing.map(|one| one.line).collect::<Vec<_>>(), Vec::from_iter(line), "{text}");
    }
}

#[test]
fn who_calls_a_tool_is_not_blamed_for_its_table() {
    for (table, call, says) in [
        (
            "type = \"sql\"\nurl = \"postgres://u:pw@h/d\"\nstatements = { q = \"SELECT 1\" }",
            "{ statement = \"q\" }",
            "password",
        ),
        (
            "type = \"s3\"\nmode = \"read_write\"\naccess_key_id = \"k\"\nsecret_access_key = { env = \"S\" }",
            "{ op = \"put\", key = \"k\", text = \"x\" }",
            "bucket",
        ),
        (
            "type = \"files\"\nmode = \"read_write\"",
            "{ op = \"write\", path = \"p\", text = \"x\" }",
            "roots",
        ),
        ("type = \"shell\"\ncomands = { q = [\"true\"] }", "{ command = \"q\" }", "comands"),
        ("type = \"probe\"\ncheck = [{ type = \"load\" }]", "", "check"),
    ] {
        let args = if call.is_empty() { String::new() } else { format!("args = {call}\n") };
        let text = format!("[tools.x]\n{table}\n[agents.a]\ninterval = 60\ntool = \"x\"\n{args}");
        let rejected = read(&text).expect_err(table);
        let errors: Vec<_> = rejected.diagnostics.iter().filter(|found| found.is_error).collect();
        assert!(errors.len() == 1 && errors[0].message.contains(says), "{table}: {errors:#?}");
    }
}
