//! An error hides what follows from it, and nothing else.
use super::read;

/// All that is said, errors before their warnings: `line message`.
fn said(text: &str) -> Vec<String> {
    let diagnostics = match read(text) {
        Ok(loaded) => loaded.warnings,
        Err(rejected) => rejected.diagnostics,
    };
    diagnostics.iter().map(|one| format!("{} {}", one.line, one.message)).collect()
}

const MODEL: &str = "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n";

#[test]
fn one_mistake_is_one_message() {
    for text in [
        // schedules
        "[agents.a]\ncron = \"0 0 * * FRX\"\ntimezone = \"UTC\"\njitter = \"1m\"\ncatch_up = \"none\"\ncommand = \"x\"",
        "[agents.a]\ninterval = \"5x\"\nfirst_run = \"after_interval\"\ncommand = \"x\"",
        "[agents.a]\nintervall = 60\nfirst_run = \"after_interval\"\njitter = 5\ncommand = \"x\"",
        "[agents.a]\ninterval = 60\ncron = \"@daily\"\nfirst_run = \"now\"\ntimezone = \"UTC\"\ncommand = \"x\"",
        "[agents.a]\nat = \"soon\"\ntimezone = \"UTC\"\ncatch_up = \"none\"\ncommand = \"x\"",
        "[agents.a]\nat = \"2026-06-01T13:00:00\"\ntimezone = \"Mars/Olympus\"\ncommand = \"x\"",
        "[agents.a]\ncron = \"30 2 * * *\"\ntimezone = \"Europe/Berlim\"\ncommand = \"x\"",
        "[daemon]\ntimezone = \"Europe/Berlim\"\n[agents.a]\nat = \"2026-06-01T12:00:00\"\ncommand = \"x\"",
        "[agents.a]\non = \"incident_open\"\ntool = \"report\"\nargs = { key = \"{event.id}\", severity = \"ok\", title = \"x\" }",
        "[agents.a]\ninterval = \"5x\"\ntool = \"probe\"\nargs = { checks = [{ type = \"load\" }] }\nhistory = \"changes\"",
        // limits
        "[agents.a]\ntool = \"system_metrics\"\ntimeout = \"5x\"\ntool_call_timeout = \"20m\"",
        "[defaults]\ntimeout = \"5x\"\n[agents.a]\ntool = \"system_metrics\"\ntool_call_timeout = \"20m\"",
        "[agents.a]\ncommand = \"x\"\ntotal_timeout = \"5m\"\ntimout = \"1m\"",
        "[agents.a]\ninterval = 10\noverlap = \"parallel\"\ntimeout = \"5x\"\ncommand = \"x\"",
        // names that are nearly right
        "[agents.a]\ncomand = \"x\"",
        "[agents.a]\nquery = \"x\"\nmodle = \"m\"",
        "[agents.a]\ncommand = \"x\"\nnotify = { too = [\"ops\"] }",
        "[agent.a]\ncommand = \"x\"",
        "[models.m]\nprovder = \"ollama\"\nmodel = \"x\"",
        "[mcp.m]\ncomand = \"x\"",
        "[notify.n]\ntpye = \"file\"\npath = \"x\"",
        "[notify.n]\ntype = \"file\"\npaht = \"x\"",
        "[agents.a]\ntool = \"probe\"\nargs = { chekcs = [{ type = \"load\" }] }",
        "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ typ = \"load\" }] }",
        "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"disk\", pth = \"/\" }] }",
        "[agents.a]\ntool = \"feed\"\nargs = { url = [\"http://a.example\"] }",
        "[agents.a]\ncommand = \"x\"\ngate = { comand = \"x\" }",
        "[agents.a]\non = { evnt = \"circuit_opened\" }\ncommand = \"x\"",
        // what refers to something that is wrong itself
        "[models.m]\nprovider = \"openia\"\nmodel = \"x\"\n[agents.a]\nquery = \"q\"\nmodel = \"m\"",
        "[model.m]\nprovider = \"openai\"\nmodel = \"x\"\n[agents.a]\nquery = \"q\"\nmodel = \"m\"",
        "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\nprice = 5\n[agents.a]\nquery = \"q\"\nmodel = \"m\"\nusd_per_day = 1",
        "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\nprise = { input = 1 }\n[budget]\nusd_per_day = 1\n[agents.a]\nquery = \"q\"\nmodel = \"m\"",
        "[notify.n]\ntype = \"sms\"\n[agents.a]\ncommand = \"x\"\nnotify = { to = [\"n\"] }",
        "[tools.t]\ntype = \"sqll\"\n[agents.a]\ntool = \"t\"",
        "[tools.t]\ntpe = 5\n[agents.a]\ntool = \"t\"",
        "[mcp.s]\ncommand = 7\n[agents.a]\ntool = \"s/x\"",
        "[agents.b]\ncommand = 7\n[agents.a]\non = { event = \"circuit_opened\", agent = \"b\" }\ncommand = \"x\"",
        "[agents]\na = 5",
        "agents = 5",
        // the syntax
        "[agents.a]\ncommand = \"x\ninterval = 60\n",
        "[agents.a\ncommand = \"x\"",
    ] {
        assert_eq!(said(text).len(), 1, "{text}\n{:#?}", said(text));
    }
    for (text, messages) in [
        (format!("{MODEL}[agents.a]\nquery = \"{{gate}}\"\nmodel = \"m\"\ngate = 7"), 1),
        (
            format!(
                "{MODEL}[agents.a]\nquery = \"x\"\nmodel = \"m\"\ntools = \"recall\"\napprove = [\"recall\"]"
            ),
            1,
        ),
        (
            format!(
                "{MODEL}[agents.a]\nquery = \"x\"\nmodel = \"m\"\ntoolz = [\"recall\"]\napprove = [\"recall\"]"
            ),
            1,
        ),
    ] {
        assert_eq!(said(&text).len(), messages, "{text}\n{:#?}", said(&text));
    }
}

#[test]
fn two_mistakes_are_two_messages() {
    for text in [
        "[agents.a]\ncron = \"0 0 * * FRX\"\ncommand = \"x\"\nrequest_limit = 3",
        "[agents.a]\ninterval = \"5x\"\ntool = \"system_metrics\"\ntimeout = 5\ntool_call_timeout = 50",
        "[agents.a]\ncommand = 7\n[agents.b]\ncommand = \"x\"\njitter = 5",
        "[agents.a]\ncommand = 7\n[agents.b]\non = { event = \"circuit_opened\", agent = \"c\" }\ncommand = \"x\"",
        "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nquery = 7\nmodel = \"n\"",
    ] {
        assert_eq!(said(text).len(), 2, "{text}\n{:#?}", said(text));
    }
}
