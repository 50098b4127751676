//! Tables of good and bad files.
mod follow_ups;
mod identity;
mod judged;

use super::*;
use crate::domain::{
    Body, FallbackOn, FeedArgs, FeedLogin, History, HostPattern, HttpMethod, HttpSettings, MetricsArgs,
    ProbeTarget, SecretRef, TextOrSecret, ToolSettings,
};
use jiff::SignedDuration;
use jiff::tz::TimeZone;

fn read(text: &str) -> Result<Loaded, Box<Rejected>> {
    read_with(text, &|name| (name == "DATA").then(|| "/data".to_owned()))
}

fn read_with(text: &str, env: &(dyn Fn(&str) -> Option<String> + Sync)) -> Result<Loaded, Box<Rejected>> {
    let context = Context {
        now: "2026-06-01T12:00:00Z".parse().unwrap(),
        timezone: TimeZone::UTC,
        home: "/home/u".into(),
        env,
        look: &|path| {
            let path = path.to_str().unwrap_or_default();
            let kind = match path {
                path if path.contains("/nowhere") => return Err(std::io::ErrorKind::NotFound.into()),
                path if [".txt", ".db", "token", ".pem"].iter().any(|end| path.ends_with(end)) => Entry::File,
                path if path.contains("/bin/") || path.ends_with(".sh") => Entry::Program,
                _ => Entry::Folder,
            };
            Ok(Found { kind, others: path.ends_with(".pem") })
        },
    };
    parse(text.to_owned(), Path::new("/etc/bgagent/agents.toml"), &context)
}

#[test]
fn the_starter_is_valid_and_ready() {
    let loaded = read(STARTER).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
    assert_eq!(loaded.warnings, []);
    assert!(loaded.fleet.agents.len() >= 4);
}

#[test]
fn the_reference_lists_the_events_that_start_an_agent() {
    let said = markdown();
    for event in crate::domain::EventType::TRIGGERS {
        assert!(said.contains(&format!(" {event} ")), "{event}");
    }
}

#[test]
fn what_is_there_twice_is_one_error_that_names_it() {
    let twice = |text: &str| -> Vec<(u32, String)> {
        let diagnostics = read(text).expect_err("it is refused").diagnostics;
        diagnostics.into_iter().map(|one| (one.line, one.message)).collect()
    };
    let found = twice(
        "[agents.x]\ncommand = \"a\"\n[agents.y]\ncommand = \"a\"\n[ agents.x ] # again\ncommand = \"b\"\ntimeout = 5\n\
         [agents.z]\ncommand = \"a\"\ncommand = \"b\"\n",
    );
    assert_eq!(
        found,
        [
            (5, "the table [agents.x] is there twice; the first is in line 1".to_owned()),
            (10, "the key `command` is there twice; the first is in line 9".to_owned()),
        ]
    );
}

/// Each is refused at this line, with this in its message or hint.
#[test]
fn bad_files_are_refused_where_they_are_bad() {
    for (text, line, part) in [
        ("[agents.a]\nintervall = 60\ncommand = \"x\"", 2, "did you mean `interval`?"),
        ("[agents.a]\ninterval = \"soon\"\ncommand = \"x\"", 2, "not a duration"),
        ("[agents.a]\ninterval = 0\ncommand = \"x\"", 2, "longer than nothing"),
        ("[agents.a]\ninterval = -5\ncommand = \"x\"", 2, "at least 0"),
        ("[agents.a]\ninterval = 1.5\ncommand = \"x\"", 2, "whole seconds"),
        ("[agents.a]\ninterval = 60\ncron = \"@daily\"\ncommand = \"x\"", 3, "one schedule"),
        ("[agents.a]\ninterval = 60", 1, "nothing to run"),
        ("[agents.a]\ncommand = \"x\"\ntool = \"probe\"", 2, "runs one thing"),
        ("[agents.a]\ncommand = []", 2, "is empty"),
        ("[agents.a]\ncommand = 7", 2, "a text or a list of texts"),
        ("[agents.\"a b\"]\ncommand = \"x\"", 1, "can't name an agent"),
        ("[agents.a]\ncron = \"* * *\"\ncommand = \"x\"", 2, "3 fields"),
        ("[agents.a]\ncron = \"0 0 31 2 *\"\ncommand = \"x\"", 2, "never fires"),
        ("[agents.a]\ncron = \"0 0 */40 * *\"\ncommand = \"x\"", 2, "it fires at day 1 only"),
        ("[models.m]\nprovider = \"openai-compatible\"\nmodel = \"x\"", 1, "needs `base_url`"),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\nfallback = [\"m\"]",
            4,
            "model `m` is its own fallback",
        ),
        ("[agents.a]\ncron = \"*/90 * * * *\"\ncommand = \"x\"", 2, "interval = \"90m\""),
        ("[agents.a]\ncron = \"@daily\"\ntimezone = \"Mars/Olympus\"\ncommand = \"x\"", 3, "no time zone"),
        ("[daemon]\ntimezone = \"UTCC\"", 2, "IANA"),
        ("[agents.a]\nat = \"tomorrow\"\ncommand = \"x\"", 2, "is not a time"),
        (
            "[agents.a]\ntimezone = \"Europe/Berlin\"\nat = \"2027-03-28T02:30:00\"\ncommand = \"x\"",
            3,
            "does not exist in Europe/Berlin: the clock is put forward over it",
        ),
        (
            "[agents.a]\ntimezone = \"Europe/Berlin\"\nat = \"2027-03-28T02:30:00\"\ncommand = \"x\"",
            3,
            "write the time that the clock shows instead, \"2027-03-28T03:30:00+02:00\"",
        ),
        (
            "[agents.a]\ntimezone = \"Europe/Berlin\"\nat = \"2027-10-31T02:30:00\"\ncommand = \"x\"",
            3,
            "write \"2027-10-31T02:30:00+02:00\" for the first time, \"2027-10-31T02:30:00+01:00\" for the second",
        ),
        (
            "[agents.a]\nat = \"2027-10-31T02:30:00[America/New_York]\"\ncommand = \"x\"\n             [agents.b]\nat = \"2027-11-07T01:30[America/New_York]\"\ncommand = \"x\"",
            5,
            "\"2027-11-07T01:30-04:00\" for the first time",
        ),
        ("[agents.\"café\"]\ncommand = \"x\"", 1, "letters from a to z and A to Z"),
        ("[agents.\"\"]\ncommand = \"x\"", 1, "it is empty"),
        ("[agents.-dash]\ncommand = \"x\"", 1, "it begins with `-`"),
        (
            "[agents.a23456789-123456789-123456789-123456789-123456789-123456789-123456789-1]\ncommand = \"x\"",
            1,
            "it has 71 characters, 64 are allowed",
        ),
        ("[agents.a]\nevery = \"5m\"\ncommand = \"x\"", 2, "did you mean `interval`?"),
        ("[agents.a]\nschedule = \"5m\"\ncommand = \"x\"", 2, "did you mean `interval` or `cron` or `at`?"),
        ("[agents.a]\nrun = \"x\"", 2, "did you mean `command`?"),
        ("[agents.a]\ncmd = \"x\"", 2, "did you mean `command`?"),
        ("[agents.a]\nprompt = \"x\"", 2, "did you mean `query`?"),
        ("[agents.a]\nWorking-Directory = \"x\"\ncommand = \"x\"", 2, "did you mean `cwd`?"),
        (
            "[agents.a]\ninterval = \"99999999999999999999d\"\ncommand = \"x\"",
            2,
            "is too long: a duration is at most 100 years",
        ),
        ("[agents.a]\non = \"incident_open\"\ncommand = \"x\"", 2, "incident_opened"),
        ("[agents.a]\non = \"tool_call_started\"\ncommand = \"x\"", 2, "can't be"),
        ("[agents.a]\non = { agent = \"b\" }\ncommand = \"x\"", 2, "needs `event`"),
        (
            "[agents.a]\non = { event = \"circuit_opened\", agent = \"b\" }\ncommand = \"x\"",
            2,
            "no agent `b`",
        ),
        (
            "[agents.a]\non = { event = \"circuit_opened\", agent = \"b\" }\ncommand = \"x\"\n[agents.b]\non = { event = \"circuit_opened\", agent = \"a\" }\ncommand = \"x\"",
            2,
            "in a circle",
        ),
        ("[agents.a]\ncommand = \"x\"\nhistory = \"changes\"", 3, "only of a probe"),
        ("[agents.a]\ntool = \"system_metrics\"\nhistory = \"changes\"", 3, "only of a probe"),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"load\" }] }\nhistory = \"changed\"",
            4,
            "did you mean \"changes\"?",
        ),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"load\" }] }\nhistory = \"changes\"\ngate = { command = \"x\" }",
            4,
            "does not go with a `gate`",
        ),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"load\" }] }\nhistory = \"changes\"\n[defaults]\nsuccess_when = [{ command = \"x\" }]",
            4,
            "does not go with `success_when`",
        ),
        ("[defaults]\nhistory = \"changes\"\n[agents.a]\ncommand = \"x\"", 2, "unknown key `history`"),
        ("[agents.a]\noverlap = \"queued\"\ncommand = \"x\"", 2, "did you mean \"queue\"?"),
        ("[agents.a]\ncatch_up = \"newest\"\ncommand = \"x\"", 2, "did you mean \"latest\"?"),
        (
            "[agents.a]\ncatch_up = { policy = \"all\", maximum = 3 }\ncommand = \"x\"",
            2,
            "unknown key `maximum`",
        ),
        ("[agents.a]\nretry = { max = -1 }\ncommand = \"x\"", 2, "at least 0"),
        ("[agents.a]\nretry = 3\ncommand = \"x\"", 2, "a table"),
        ("[agents.a]\njitter = 60\ninterval = 60\ncommand = \"x\"", 2, "shorter than the interval"),
        ("[agents.a]\nenabled = \"yes\"\ncommand = \"x\"", 2, "true or false"),
        ("[agents.a]\nmax_output = \"5 apples\"\ncommand = \"x\"", 2, "not a size"),
        ("[agents.a]\nquery = \"x\"", 2, "needs a `model`"),
        (
            "[agents.a]\nquery = \"x\"\nmodel = \"mian\"\n[models.main]\nprovider = \"ollama\"\nmodel = \"m\"",
            3,
            "did you mean \"main\"?",
        ),
        ("[models.m]\nprovider = \"openia\"\nmodel = \"x\"", 2, "did you mean \"openai\"?"),
        ("[models.m]\nmodel = \"x\"", 1, "needs `provider`"),
        ("[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = \"sk-123\"", 4, "{ env = \"NAME\" }"),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = { env = \"A\", file = \"b\" }",
            4,
            "exactly one",
        ),
        ("[models.m]\nprovider = \"openai\"\nmodel = \"x\"\nbase_url = \"localhost\"", 4, "http://"),
        ("[models.m]\nprovider = \"openai\"\nmodel = \"x\"\nfallback = [\"n\"]", 4, "no model `n`"),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\n[agents.a]\nquery = \"q\"\nmodel = \"m\"\nmax_usd_per_run = 1",
            7,
            "needs a price",
        ),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\nprice = { input = 1 }\nfallback = [\"f\"]\n\
             [models.f]\nprovider = \"ollama\"\nmodel = \"y\"\n\
             [agents.a]\nquery = \"q\"\nmodel = \"m\"\nusd_per_day = 1",
            12,
            "its fallback, model `f` has none",
        ),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\n[budget]\nusd_per_day = 1\n\
             [agents.a]\nquery = \"q\"\nmodel = \"m\"",
            5,
            "model `m`, which may answer agent `a`, has none",
        ),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\nprice = { input = 1 }\nfallback = [\"f\"]\n\
             [models.f]\nprovider = \"ollama\"\nmodel = \"y\"\n[budget]\nusd_per_month = 1\n\
             [agents.a]\nquery = \"q\"\nmodel = \"m\"",
            10,
            "model `f`, which may answer agent `a`, has none",
        ),
        (
            "[agents.a]\ncommand = \"x\"\ngate = { command = \"x\", expect = { exit = 0 }, novel_by = [\"id\"] }",
            3,
            "exclude each other",
        ),
        (
            "[agents.a]\ncommand = \"x\"\nsuccess_when = [{ command = \"x\", novel_by = [\"id\"] }]",
            3,
            "is for a gate",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nquery = \"x\"\nmodel = \"m\"\noutput_schema = { type = \"object\", requird = [\"a\"] }",
            7,
            "`output_schema`: `requird` is not a keyword of JSON Schema; did you mean `required`?",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[tools.sh]\ntype = \"shell\"\ncommands = { a = { exec = \"/bin/a\" } }\n[agents.a]\nquery = \"x\"\nmodel = \"m\"\ntools = [\"sh\"]\napprove = [\"shh\"]",
            11,
            "did you mean \"sh\"?",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[tools.sh]\ntype = \"shell\"\ncommands = { a = { exec = \"/bin/a\" } }\n[agents.a]\nquery = \"x\"\nmodel = \"m\"\ntools = [\"sh\"]\napprove = [\"http\"]",
            11,
            "not among this agent's `tools`",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[tools.sh]\ntype = \"shell\"\ncommands = { a = { exec = \"/bin/a\" } }\n[agents.a]\nquery = \"x\"\nmodel = \"m\"\ntools = [\"sh\"]\nsinks = [\"shell\"]",
            11,
            "name the tool itself: \"sh\"",
        ),
        ("[agents.a]\ntool = \"prob\"", 2, "did you mean \"probe\"?"),
        ("[agents.a]\ntool = \"probe\"", 2, "needs `args`"),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nquery = \"q\"\nmodel = \"m\"\ntools = [\"probe\"]",
            7,
            "could run any command",
        ),
        ("[agents.a]\ntool = \"probe\"\nargs = { checks = [] }", 3, "is empty"),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"disc\", path = \"/\" }] }",
            3,
            "did you mean \"disk\"?",
        ),
        ("[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"disk\" }] }", 3, "needs `path`"),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"memory\", path = \"/\" }] }",
            3,
            "not for a check",
        ),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"tcp\", host = \"h\", port = 99999 }] }",
            3,
            "65535",
        ),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"disk\", path = \"/\", warn = 90, crit = 80 }] }",
            3,
            "`crit` must not be below",
        ),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"http\", url = \"ftp://x\" }] }",
            3,
            "http://",
        ),
        ("[agents.a]\ntool = \"system_metrics\"\nargs = { top = 99 }", 3, "at most 50"),
        ("[agents.a]\ntool = \"gh/search\"", 2, "no MCP server `gh`"),
        ("[agents.a]\ncommand = \"x\"\nargs = {}", 3, "for agents with a `tool`"),
        ("[agents.a]\ncommand = \"x\"\ngate = {}", 3, "either `tool` or `command`"),
        (
            "[agents.a]\ncommand = \"x\"\nsuccess_when = [{ command = \"y\", expect = { exit = { over = 1 } } }]",
            3,
            "does not compare",
        ),
        (
            "[agents.a]\ncommand = \"x\"\nsuccess_when = [{ command = \"y\", expect = { exit_cod = 0 } }]",
            3,
            "a command has no `exit_cod` to expect",
        ),
        (
            "[agents.a]\ncommand = \"x\"\ngate = { command = \"y\", expect = { rows = 0 } }",
            3,
            "a command has no `rows` to expect",
        ),
        ("[agents.a]\ncommand = \"x\"\nnotify = { to = [\"ops\"] }", 3, "no notify target `ops`"),
        ("[agents.a]\ncommand = \"x\"\nnotify = { on = [\"failed\"] }", 3, "needs `to`"),
        ("[notify.n]\ntype = \"sms\"", 2, "use one of"),
        ("[notify.n]\ntype = \"webhook\"", 1, "needs `url`"),
        ("[tools.t]\ntype = \"sqlite\"", 2, "can't be"),
        ("[agents.a]\ntool = \"http\"", 2, "does nothing without settings"),
        (
            "[agents.a]\non = \"incident_opened\"\ntool = \"probe\"\nargs = { checks = [{ type = \"command\", command = \"test -e {event.payload.title}\" }] }",
            4,
            "would be run as a program",
        ),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"command\", command = [\"bash\", \"-c\", \"x {gate}\"] }] }",
            3,
            "would be run as a program",
        ),
        ("[notify.m]\ntype = \"email\"\nfrom = \"a@b\"\nsmtp = \"c\"", 1, "needs `to`"),
        ("[notify.m]\ntype = \"email\"\nto = []\nfrom = \"a@b\"\nsmtp = \"c\"", 3, "is empty"),
        (
            "[notify.m]\ntype = \"email\"\nto = \"Me <a@b>\"\nfrom = \"a@b\"\nsmtp = \"c\"",
            3,
            "not an address of a mailbox",
        ),
        (
            "[notify.m]\ntype = \"email\"\nto = \"a@b\"\nfrom = \"a@b\\r\\nx\"\nsmtp = \"c\"",
            4,
            "not an address of a mailbox",
        ),
        (
            "[notify.m]\ntype = \"email\"\nto = \"a@b\"\nfrom = \"a@b\"\nsmtp = \"smtp://c\"",
            5,
            "names no mail server",
        ),
        (
            "[notify.m]\ntype = \"email\"\nto = \"a@b.example\"\nfrom = \"c@d.example\"\nsmtp = \"mail.example\"\ntls = \"none\"",
            6,
            "must be encrypted",
        ),
        (
            "[notify.m]\ntype = \"email\"\nto = \"a@b.example\"\nfrom = \"c@d.example\"\nsmtp = \"mail.example\"\nusername = \"me\"",
            6,
            "belong together",
        ),
        (
            "[notify.m]\ntype = \"email\"\nto = \"a@b.example\"\nfrom = \"c@d.example\"\nsmtp = \"mail.example\"\nusername = \"me\"\npassword = \"x\"",
            7,
            "must not stand",
        ),
        ("[tools.t]\ntype = \"s3\"", 1, "needs `bucket`"),
        ("[tools.t]\ntype = \"s3\"\nbucket = \"a/b\"", 3, "can't be a bucket"),
        ("[tools.t]\ntype = \"s3\"\nbucket = \"b\"\nregion = \"Europe, west\"", 4, "can't be a region"),
        ("[tools.t]\ntype = \"s3\"\nbucket = \"b\"\nprefix = \"a/../b\"", 4, "`..`"),
        ("[tools.t]\ntype = \"s3\"\nbucket = \"b\"\nprefix = \"/a\"", 4, "begins with a slash"),
        ("[tools.t]\ntype = \"s3\"\nbucket = \"b\"\nendpoint = \"s3.example.org\"", 4, "begins with http"),
        (
            "[tools.t]\ntype = \"s3\"\nbucket = \"b\"\nendpoint = \"https://id:key@s3.example.org\"",
            4,
            "must not stand in an address",
        ),
        (
            "[tools.t]\ntype = \"s3\"\nbucket = \"b\"\nendpoint = \"https://s3.example.org/?x\"",
            4,
            "of the server alone",
        ),
        ("[tools.t]\ntype = \"s3\"\nbucket = \"b\"\nsecret_access_key = \"AbC\"", 4, "must not stand"),
        ("[tools.t]\ntype = \"s3\"\nbucket = \"b\"\naccess_key_id = \"A\"", 1, "needs `secret_access_key`"),
        ("[tools.t]\ntype = \"s3\"\nbucket = \"b\"\nmode = \"read_write\"", 1, "needs `access_key_id`"),
        ("[tools.t]\ntype = \"s3\"\nbucket = \"b\"\nmax_bytes = \"1GiB\"", 4, "at most 64MiB"),
        ("[tools.t]\ntype = \"s3\"\nbucket = \"b\"\nbuckets = \"b\"", 4, "did you mean `bucket`?"),
        ("[tools.t]\ntype = \"feed\"", 1, "needs `urls`"),
        ("[tools.t]\ntype = \"feed\"\nurls = []", 3, "`urls` is empty"),
        (
            "[tools.t]\ntype = \"feed\"\nurls = [\"example.org/feed\"]",
            3,
            "write \"https://example.org/feed\"",
        ),
        (
            "[tools.t]\ntype = \"feed\"\nurls = [\"feed://example.org/f\"]",
            3,
            "write \"https://example.org/f\"",
        ),
        ("[tools.t]\ntype = \"feed\"\nurls = [\"file:///f.xml\"]", 3, "over http:// and https:// only"),
        ("[tools.t]\ntype = \"feed\"\nurls = [\"https://u:p@example.org/\"]", 3, "sources = [{"),
        ("[tools.t]\ntype = \"feed\"\nsources = [{ url = \"https://a.example/\" }]", 3, "needs `username`"),
        (
            "[tools.t]\ntype = \"feed\"\nsources = [{ url = \"https://a.example/\", username = \"u\", password = \"p\" }]",
            3,
            "password",
        ),
        (
            "[tools.t]\ntype = \"feed\"\nurls = [\"https://a.example/\"]\nsources = [{ url = \"https://a.example/\", username = \"u\", password = { env = \"P\" } }]",
            4,
            "stands here twice",
        ),
        ("[notify.n]\ntype = \"desktop\"\nper_minute = 0", 3, "at least 1"),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"http\", url = \"http://a.example/\", tls_days = 9 }] }",
            3,
            "needs an https:// address",
        ),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"http\", url = \"http://a.example/\", method = \"HEAD\", contains = \"x\" }] }",
            3,
            "has no body",
        ),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"http\", url = \"http://a.example/\", headers = { Authorization = \"x\" } }] }",
            3,
            "must not stand in this file",
        ),
        ("[tools.t]\ntype = \"feed\"\nurls = [\"https:///feed\"]", 3, "names no host"),
        ("[tools.t]\ntype = \"feed\"\nurls = [\"https://a.example/a b\"]", 3, "%20"),
        (
            "[tools.t]\ntype = \"feed\"\nurls = [\"https://2130706433/\"]",
            3,
            "is neither a name nor an address",
        ),
        ("[tools.t]\ntype = \"feed\"\nurls = [\"https://a.example/{event.x}\"]", 3, "a table is fixed"),
        (
            "[tools.t]\ntype = \"feed\"\nurls = [\"http://a.example/\", \"http://a.example/\"]",
            3,
            "stands here twice",
        ),
        (
            "[tools.t]\ntype = \"feed\"\nurls = [\"http://a.example/\"]\nsince = \"soon\"",
            4,
            "neither a duration",
        ),
        ("[tools.t]\ntype = \"feed\"\nurls = [\"http://a.example/\"]\nmax_items = 1001", 4, "at most 1000"),
        (
            "[tools.t]\ntype = \"feed\"\nurls = [\"http://a.example/\"]\nmax_bytes = \"1GiB\"",
            4,
            "at most 20MiB",
        ),
        ("[tools.t]\ntype = \"feed\"\nurl = [\"http://a.example/\"]", 3, "did you mean `urls`?"),
        ("[agents.a]\ntool = \"feed\"", 2, "needs `args` with `urls`"),
        ("[agents.a]\ntool = \"feed\"\nargs = { urls = [\"a.example\"] }", 3, "write \"https://a.example\""),
        ("[agents.a]\ntool = \"feed\"\nargs = { url = \"http://a.example\" }", 3, "did you mean `urls`?"),
        (
            "[tools.t]\ntype = \"feed\"\nurls = [\"http://a.example/\"]\n[agents.a]\ntool = \"t\"\nargs = { urls = [\"http://b.example/\"] }",
            6,
            "are fixed in its table",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nquery = \"q\"\nmodel = \"m\"\ntools = [\"feed\"]",
            7,
            "a model would choose addresses itself",
        ),
        ("[tools.t]\ntype = \"http\"", 1, "needs `hosts`"),
        ("[tools.t]\ntype = \"http\"\nhosts = []", 3, "is empty"),
        ("[tools.t]\ntype = \"http\"\nhosts = \"example.org\"", 3, "must be a list"),
        ("[tools.t]\ntype = \"http\"\nhost = [\"example.org\"]", 3, "did you mean `hosts`?"),
        ("[tools.t]\ntype = \"http\"\nhosts = [\"*\"]", 3, "is every host"),
        ("[tools.t]\ntype = \"http\"\nhosts = [\"https://example.org/\"]", 3, "write \"example.org\""),
        (
            "[tools.t]\ntype = \"http\"\nhosts = [\"a.example\",\n\"2130706433\"]",
            4,
            "is neither a name nor an address",
        ),
        ("[tools.t]\ntype = \"http\"\nallow_private = [\"*.nas.local\"]", 3, "more than one host"),
        ("[tools.t]\ntype = \"http\"\nallow_private = [\"10.0.0.0/8\"]", 3, "without a path or a mask"),
        (
            "[tools.t]\ntype = \"http\"\nhosts = [\"a.example\"]\nmethods = [\"GET\", \"PSOT\"]",
            4,
            "did you mean \"POST\"?",
        ),
        ("[tools.t]\ntype = \"http\"\nhosts = [\"a.example\"]\nmethods = []", 4, "is empty"),
        ("[tools.t]\ntype = \"http\"\nhosts = [\"a.example\"]\nmax_bytes = \"9MiB\"", 4, "at most 8MiB"),
        ("[tools.t]\ntype = \"http\"\nhosts = [\"a.example\"]\nhttps_only = \"yes\"", 4, "true or false"),
        (
            "[tools.t]\ntype = \"http\"\nhosts = [\"a.example\"]\nheaders = { Host = \"b\" }",
            4,
            "can't be set",
        ),
        (
            "[tools.t]\ntype = \"http\"\nhosts = [\"a.example\"]\nheaders = { \"a b\" = \"c\" }",
            4,
            "can't name a header",
        ),
        (
            "[tools.t]\ntype = \"http\"\nhosts = [\"a.example\"]\nheaders = { X = \"a\\nb\" }",
            4,
            "control characters",
        ),
        (
            "[tools.t]\ntype = \"http\"\nhosts = [\"a.example\"]\nheaders = { Authorization = \"Bearer x\" }",
            4,
            "must not stand in this file",
        ),
        (
            "[tools.t]\ntype = \"http\"\nhosts = [\"a.example\"]\nheaders = { X = { envv = \"T\" } }",
            4,
            "did you mean `env`?",
        ),
        ("[mcp.m]\nallow = []", 1, "either `command` or `url`"),
        ("[budget]\nwarn_at = 3", 2, "between 0 and 1"),
        ("[agents.a]\ncommand = \"x\"\ncwd = \"${NOPE}/x\"", 3, "`NOPE` is not set"),
        ("[defaults]\ncron = \"@daily\"", 2, "unknown key `cron`"),
        ("[daemons]", 1, "did you mean `daemon`?"),
        ("[agents.a\ncommand = \"x\"", 1, ""),
        ("[agents.a]\ncommand = \"x\"\ncommand = \"y\"", 3, ""),
        ("🙂 = 1\n", 1, ""),
    ] {
        let rejected = read(text).expect_err(text);
        let errors: Vec<&Diagnostic> = rejected.diagnostics.iter().filter(|found| found.is_error).collect();
        let fits = |found: &&Diagnostic| {
            found.line == line
                && (found.message.contains(part)
                    || found.hint.as_deref().is_some_and(|hint| hint.contains(part)))
        };
        assert!(errors.iter().any(fits), "{text}\nwanted line {line}: {part}\n{errors:#?}");
        let shown = render(&rejected.diagnostics, &rejected.shown, &rejected.path, false);
        assert!(shown.contains("agents.toml"), "{shown}");
    }
}

#[test]
fn what_the_starter_has_to_copy_works_too() {
    // Comments that hold keys or tables begin with one space; those for people do too, and hold none.
    let code = |line: &str| {
        let line = line.strip_prefix("# ").unwrap_or_default();
        let key = line
            .split_once(" = ")
            .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        key || line.starts_with(['[', ']']) || line.starts_with("  {") || line.starts_with("  \"")
    };
    let plain = |line: &str| if code(line) { line[2..].to_owned() } else { line.to_owned() };
    let text: String = super::STARTER.lines().map(|line| plain(line) + "\n").collect();
    let loaded = read(&text).unwrap_or_else(|rejected| panic!("{:?}\n{text}", rejected.diagnostics));
    for agent in ["fleet", "doctor", "backup", "after-backup", "system-health"] {
        assert!(loaded.fleet.agent(agent).is_some(), "{agent}");
    }
}

#[test]
fn all_errors_are_found_in_one_go() {
    let rejected =
        read("[agents.a]\nintervall = 1\n[agents.b]\ncommand = 3\n[agents.c]\ncron = \"x\"\ncommand = \"x\"")
            .unwrap_err();
    let lines: Vec<u32> = rejected.diagnostics.iter().map(|found| found.line).collect();
    assert_eq!(lines, [1, 2, 4, 6]);
}

#[test]
fn a_probe_may_keep_what_changes_only() {
    let text = "[tools.checks]\ntype = \"probe\"\nchecks = [{ type = \"load\" }]\n\
        [agents.a]\ninterval = 60\ntool = \"probe\"\nargs = { checks = [{ type = \"load\" }] }\nhistory = \"changes\"\n\
        [agents.b]\ninterval = 60\ntool = \"checks\"\nhistory = \"changes\"\n\
        [agents.c]\ninterval = 60\ntool = \"checks\"\nhistory = \"all\"\n\
        [agents.d]\ninterval = 60\ntool = \"checks\"\n";
    let loaded = read(text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
    assert_eq!(loaded.warnings, []);
    let kept: Vec<History> = loaded.fleet.agents.iter().map(|agent| agent.history).collect();
    assert_eq!(kept, [History::Changes, History::Changes, History::All, History::All]);
}

#[test]
fn what_is_odd_is_warned_of() {
    for (text, part) in [
        ("[agents.a]\nat = \"2020-01-01T00:00:00Z\"\ncommand = \"x\"", "has passed"),
        ("[agents.a]\ninterval = 10\noverlap = \"parallel\"\ncommand = \"x\"", "pile up"),
        ("[agents.a]\ncron = \"30 2 * * *\"\ntimezone = \"Europe/Berlin\"\ncommand = \"x\"", "comes twice"),
        (
            "[agents.a]\ncron = \"30 2 * 1-6 *\"\ntimezone = \"Europe/Berlin\"\ncommand = \"x\"",
            "does not exist",
        ),
        (
            "[agents.a]\ntool = \"system_metrics\"\ntimeout = 5\ntool_call_timeout = 50",
            "longer than `timeout`",
        ),
        (
            "[agents.a]\ncommand = \"x\"\nretry = { max = 2, initial = \"10m\" }\ntimeout = 60\ntotal_timeout = 90",
            "no retry can fit",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n\
             [agents.a]\nquery = \"q\"\nmodel = \"m\"\nenv = { A = \"b\" }",
            "`env` is for agents with a `command`",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nquery = \"{gate}\"\nmodel = \"m\"\ngate = { tool = \"feed\", args = { urls = [\"http://a.example/\"] } }",
            "each slot asks the model",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nquery = \"x\"\nmodel = \"m\"\ngate = { tool = \"feed\", args = { urls = [\"http://a.example/\"] }, novel_by = [\"id\"] }",
            "is not told what the gate found",
        ),
        ("[agents.a]\ncron = \"0 0 13 * FRI\"\ncommand = \"x\"", "where either fits"),
        (
            "[notify.n]\ntype = \"command\"\ncommand = \"x\"\nurl = \"http://x\"",
            "`url` has no effect: it is for type = \"webhook\"",
        ),
        (
            "[agents.a]\ncommand = \"x\"\nrequest_limit = 3",
            "`request_limit` has no effect here: it is for agents with a `query`",
        ),
        (
            "[agents.a]\ncron = \"@daily\"\ncommand = \"x\"\nfirst_run = \"now\"",
            "`first_run` has no effect here",
        ),
        ("[agents.a]\ncommand = \"x\"\njitter = 5", "`jitter` has no effect here"),
        ("[agents.a]\ninterval = 5\ntool = \"system_metrics\"\nstdin = \"x\"", "`stdin` has no effect here"),
        (
            "[agents.a]\ncommand = \"x\"\ntimeout = 5\ntool_call_timeout = 50\n\
             gate = { tool = \"probe\", args = { checks = [{ type = \"load\" }] } }",
            "longer than `timeout`",
        ),
        (
            "[agents.a]\non = \"background_task_completed\"\ncommand = \"x\"\n\
             [agents.b]\non = \"background_task_completed\"\ncommand = \"x\"",
            "`a` and `b` start each other",
        ),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\nmax_output_tokens = 1000\nprice = { input = 1, output = 2 }\n\
             [agents.a]\nquery = \"q\"\nmodel = \"m\"\nusd_per_day = 0.001",
            "no request fits `usd_per_day`: an answer of model `m` may have 1000 tokens, for $0.0020",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\nmax_output_tokens = 1000\n\
             [agents.a]\nquery = \"q\"\nmodel = \"m\"\ntokens_per_day = 999",
            "no request fits `tokens_per_day`",
        ),
        (
            "[models.m]\nprovider = \"openai\"\nmodel = \"x\"\nprice = { input = 1, output = 2 }\n[budget]\nusd_per_day = 1\n\
             [agents.a]\ncron = \"0 * * * *\"\nquery = \"q\"\nmodel = \"m\"\nmax_usd_per_run = 0.1",
            "at the worst this agent costs $2.40 a day, the fleet's budget is $1.00",
        ),
        (
            "[agents.a]\ncommand = \"x\"\ngate = { tool = \"system_metrics\" }",
            "this gate is always open: the result of `system_metrics` is never empty",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nmodel = \"m\"\nquery = \"see {gate}\"",
            "this agent has no `gate`",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nmodel = \"m\"\nquery = \"see {event.payload}\"",
            "no event starts this agent",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nmodel = \"m\"\nquery = \"see {evnt.payload}\"",
            "`{evnt.payload}` is filled by nothing",
        ),
        (
            "[tools.s]\ntype = \"sql\"\nurl = \"sqlite:x\"\n[agents.a]\ntool = \"s\"\nargs = { sql = \"{gat}\" }",
            "filled by nothing",
        ),
        (
            "[agents.a]\ntool = \"probe\"\nargs = { checks = [{ type = \"load\" }] }\nhistory = \"changes\"",
            "no effect without a schedule",
        ),
        (
            "[agents.a]\ninterval = 60\ntool = \"probe\"\nargs = { checks = [{ type = \"load\" }] }\nhistory = \"changes\"\n\
             [agents.b]\non = { event = \"background_task_completed\", agent = \"a\" }\ncommand = \"x\"",
            "`a` has history = \"changes\"",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nmodel = \"m\"\nquery = \"x\"\ntools = [\"s/get_al\"]\n[mcp.s]\ncommand = [\"s\"]\nallow = [\"get_all\", \"put\"]",
            "`s/get_al` gives this agent no tool: `allow` of [mcp.s] does not name it",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nmodel = \"m\"\nquery = \"x\"\ntools = [\"s/get_*\"]\n[mcp.s]\ncommand = [\"s\"]\nallow = [\"put\", \"del\"]",
            "`allow` of [mcp.s] does not name it",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nmodel = \"m\"\nquery = \"x\"\ntools = [\"s/*\"]\n[mcp.s]\ncommand = [\"s\"]\nallow = []",
            "`allow` of [mcp.s] does not name it",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nmodel = \"m\"\nquery = \"x\"\ntools = [\"s/*\"]\n[mcp.s]\ncommand = [\"s\"]\nallow = [\"a\"]\ndeny = [\"*\"]",
            "`deny` of [mcp.s] forbids all",
        ),
        (
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nmodel = \"m\"\nquery = \"x\"\ntools = [\"s/put\"]\n[mcp.s]\ncommand = [\"s\"]\ndeny = [\"p*\"]",
            "`deny` of [mcp.s] forbids it",
        ),
    ] {
        let loaded = read(text).unwrap_or_else(|rejected| panic!("{text}: {:?}", rejected.diagnostics));
        assert!(
            loaded.warnings.iter().any(|found| found.message.contains(part)),
            "{text}: {:?}",
            loaded.warnings
        );
    }
}

#[test]
fn servers_are_resolved() {
    let agent = "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[agents.a]\nmodel = \"m\"\nquery = \"x\"\n\
        tools = [\"s/get_all\", \"s/get_it\", \"s/p*\", \"t/*\"]\nsinks = [\"s/put\"]\n";
    let servers = "[mcp.s]\ncommand = [\"s\"]\ncwd = \"${DATA}/s\"\nstart_timeout = \"2m\"\n\
        allow = [\"get_a*\", \"get it\", \"put\"]\ndeny = [\"*_drop\"]\n[mcp.t]\ncommand = [\"t\"]\n";
    let loaded =
        read(&format!("{agent}{servers}")).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
    assert!(!loaded.warnings.iter().any(|found| found.message.contains("no tool")), "{:?}", loaded.warnings);
    let (s, t) = (&loaded.fleet.mcp["s"], &loaded.fleet.mcp["t"]);
    assert_eq!(s.cwd.as_deref(), Some(Path::new("/data/s")));
    assert_eq!(
        (s.start_timeout, t.start_timeout),
        (SignedDuration::from_mins(2), SignedDuration::from_secs(60))
    );
    assert_eq!(s.deny, ["*_drop"]);
    assert_eq!((t.cwd.as_ref(), t.deny.len()), (None, 0));
    assert!(read("[mcp.s]\ncommand = [\"s\"]\nstart_timeout = 0").is_err());
}

#[test]
fn settings_of_tools_are_resolved() {
    let text = r#"
[tools.web]
type = "http"
hosts = ["API.example.org", "*.example.net:8443"]
allow_private = ["[::1]:8080", "nas.local"]
methods = ["POST", "GET", "GET"]
headers = { Authorization = { file = "token" }, X-Plain = "yes" }
max_bytes = "2MiB"
https_only = true
"#;
    let loaded = read(text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
    let tool = &loaded.fleet.tools["web"];
    assert_eq!(tool.kind, crate::domain::ToolKind::Http);
    let hosts =
        |texts: &[&str]| texts.iter().map(|text| HostPattern::parse(text).unwrap()).collect::<Vec<_>>();
    let token = TextOrSecret::Secret(SecretRef::File("/etc/bgagent/token".into()));
    assert_eq!(
        tool.settings,
        ToolSettings::Http(HttpSettings {
            hosts: hosts(&["api.example.org", "*.example.net:8443"]),
            allow_private: hosts(&["[::1]:8080", "nas.local"]),
            methods: vec![HttpMethod::Get, HttpMethod::Post],
            headers: [("Authorization".into(), token), ("X-Plain".into(), TextOrSecret::Text("yes".into()))]
                .into(),
            max_bytes: 2 << 20,
            https_only: true,
        })
    );
    let wrong =
        read("[tools.web]\ntype = \"http\"\nhosts = [\"a.example\"]\nmax_bytes = \"many\"").unwrap_err();
    assert_eq!(wrong.diagnostics.len(), 1, "a mistake is reported once: {:?}", wrong.diagnostics);
    // A private host alone is enough.
    assert!(read("[tools.nas]\ntype = \"http\"\nallow_private = [\"nas.local\"]").is_ok());
}

/// The contract's own example, with what its references need.
#[test]
fn every_key_of_the_contract_is_known() {
    let text = r#"
[daemon]
timezone = "Europe/Berlin"
max_parallel_runs = 64
shutdown_grace = "30s"
reload = "watch"
retention = { runs = "90d", events = "90d", transcripts = "30d", output = "30d", max_db_size = "2GiB" }
[models.main]
provider = "openai"
model = "gpt-4o-mini"
base_url = "http://127.0.0.1:8080/v1"
api_key = { env = "OPENAI_API_KEY" }
request_timeout = "60s"
max_output_tokens = 2048
temperature = 0.2
price = { input = 0.15, cached_input = 0.075, output = 0.60 }
fallback = ["local"]
max_parallel_requests = 8
requests_per_minute = 60
[models.local]
provider = "ollama"
model = "x"
price = { input = 0, output = 0 }
[mcp.github]
command = ["github-mcp-server", "stdio"]
env = { GITHUB_TOKEN = { env = "GITHUB_TOKEN" } }
allow = ["search_issues"]
[tools.app_db]
type = "sql"
url = "sqlite:///var/lib/app/app.db"
mode = "read_only"
[notify.ops]
type = "webhook"
url = { env = "OPS_WEBHOOK" }
[budget]
usd_per_day = 2.0
usd_per_month = 30.0
tokens_per_day = 2_000_000
requests_per_day = 5_000
warn_at = 0.8
[defaults]
timeout = "10m"
[agents.system-health]
description = "Disk, memory and services"
interval = 60
timezone = "Europe/Berlin"
jitter = "5s"
first_run = "now"
catch_up = { policy = "all", max = 10, max_age = "24h", spread = "5m" }
overlap = "skip"
enabled = true
query = "Check disk, memory and services."
system_instruction = "You are a careful operator."
model = "main"
tools = ["system_metrics", "app_db", "github/search_issues"]
env = { LEVEL = "warn" }
cwd = "."
stdin = "text"
timeout = "10m"
total_timeout = "30m"
tool_call_timeout = "30s"
request_limit = 20
total_tokens_limit = 100_000
max_steps = 30
max_usd_per_run = 0.10
usd_per_day = 0.50
tokens_per_day = 200_000
requests_per_day = 500
retry = { max = 2, backoff = "exponential", initial = "10s", max_delay = "5m" }
circuit_breaker = { open_after = 5, cooldown = "1h" }
lock = "app-db"
max_output = "1MiB"
memory = { mode = "session", max_tokens = 8000 }
session_id = "health"
gate = { tool = "feed", args = { urls = ["https://example.org/feed.xml"] }, novel_by = ["link"] }
success_when = [ { tool = "app_db", args = { sql = "x" }, expect = { rows = { gte = 1 } } } ]
notify = { to = ["ops"], on = ["failed", "recovered", "circuit_opened", "budget_exhausted", "missed", "incident_opened", "incident_resolved", "approval_requested"], repeat = "6h" }
approval = "deny"
"#;
    let loaded = read(text).unwrap_or_else(|rejected| {
        panic!("{}", render(&rejected.diagnostics, &rejected.shown, &rejected.path, false))
    });
    let agent = loaded.fleet.agent("system-health").unwrap();
    assert_eq!(agent.limits.timeout, SignedDuration::from_mins(10));
    assert_eq!(loaded.fleet.daemon.retention.max_db_size, 2 << 30);
}

#[test]
fn paths_and_defaults_are_resolved() {
    let loaded = read("[defaults]\ntimeout = 5\n[agents.a]\ncommand = [\"x\"]\ncwd = \"${DATA}/y\"\n[agents.b]\ncommand = \"y z\"\ntimeout = 7").unwrap();
    let [a, b] = &loaded.fleet.agents[..] else { panic!("two agents") };
    let crate::domain::Body::Command(command) = &a.body else { panic!("a command") };
    assert_eq!(command.cwd, Path::new("/data/y"));
    let crate::domain::Body::Command(command) = &b.body else { panic!("a command") };
    assert_eq!(
        (command.argv.join(" "), command.cwd.as_path()),
        ("/bin/sh -c y z".into(), Path::new("/etc/bgagent"))
    );
    assert_eq!(
        [a.limits.timeout, b.limits.timeout],
        [SignedDuration::from_secs(5), SignedDuration::from_secs(7)]
    );
}

#[test]
fn odd_texts_are_rendered_with_their_place() {
    let rejected = read("# 🙂🙂\r\n[agents.a]\r\n\tintervall = \"🙂\"\r\ncommand = \"x\"").unwrap_err();
    assert_eq!((rejected.diagnostics[0].line, rejected.diagnostics[0].column), (3, 2));
    let shown = render(&rejected.diagnostics, &rejected.shown, Path::new("a.toml"), false);
    assert!(shown.contains("a.toml:3:2") && shown.contains("did you mean `interval`?"), "{shown}");
    for text in ["", "\n", "[", "a", "=", "[agents"] {
        if let Err(rejected) = read(text) {
            render(&rejected.diagnostics, &rejected.shown, Path::new("a.toml"), false);
        }
    }
}

#[test]
fn many_agents_are_read_quickly() {
    use std::fmt::Write;
    let mut text = String::new();
    for n in 0..20_000 {
        write!(text, "[agents.a{n}]\ninterval = 3600\ncommand = [\"true\"]\n").unwrap();
    }
    let began = crate::testing::worked();
    assert_eq!(read(&text).unwrap().fleet.agents.len(), 20_000);
    let took = crate::testing::worked() - began;
    assert!(took < std::time::Duration::from_secs(60), "{took:?}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]

    /// Whatever is cut out of or put into a good file: an answer, never a panic.
    #[test]
    fn mutated_files_never_panic(at in 0usize..4000, cut in 0usize..40, put in "[a-z\\[\\]{}=\",.#0-9 \n🙂]{0,12}") {
        let mut text = STARTER.to_owned();
        let from = text.floor_char_boundary(at.min(text.len()));
        let to = text.ceil_char_boundary((from + cut).min(text.len()));
        text.replace_range(from..to, &put);
        if let Err(rejected) = read(&text) {
            render(&rejected.diagnostics, &rejected.shown, &rejected.path, false);
        }
    }
}

#[test]
fn all_that_is_wrong_with_an_agent_is_told_at_once_and_defaults_once() {
    let lines = |text: &str| {
        let rejected = read(text).expect_err(text);
        rejected.diagnostics.iter().filter(|one| one.is_error).map(|one| one.line).collect::<Vec<_>>()
    };
    let agent = "[agents.a]\ncron = \"61 * * * *\"\ntimezone = \"Mars/Olympus\"\n\
        notify = { to = [7, \"ops\"], on = [\"faild\"] }\nretry = 3\n";
    assert_eq!(lines(agent), [1, 2, 3, 4, 4, 4, 5]);
    let query = "[agents.a]\nquery = \"x\"\nmemory = \"all\"\ntools = [\"prob\"]\njitter = \"x\"\n";
    assert_eq!(lines(query), [2, 3, 4, 5]);
    let defaults =
        "[defaults]\ntimeout = \"soon\"\n[agents.a]\ncommand = \"x\"\n[agents.b]\ncommand = \"x\"\n";
    assert_eq!(lines(defaults), [2]);
}

#[test]
fn a_guard_means_tools_that_are_there() {
    let text = |keys: &str| {
        format!(
            "[models.m]\nprovider = \"ollama\"\nmodel = \"x\"\n[mcp.s]\ncommand = \"s\"\n[tools.sh]\ntype = \"shell\"\n\
             commands = {{ a = {{ exec = \"/bin/a\" }} }}\n[defaults]\nsinks = [\"recall\"]\n\
             [agents.b]\nquery = \"x\"\nmodel = \"m\"\ntools = [\"recall\"]\n\
             [agents.a]\nquery = \"x\"\nmodel = \"m\"\ntools = [\"sh\", \"s/*\"]\n{keys}"
        )
    };
    let loaded = read(&text("approve = [\"shell\", \"s/put\", \"s*\"]")).unwrap();
    let crate::domain::Body::Query(query) = &loaded.fleet.agents[0].body else { panic!("a query") };
    assert_eq!(query.approve, ["shell", "s/put", "s*", "sh"]);
    assert_eq!(query.sinks, ["recall"]);
    let rejected =
        read(&text("").replace("[\"recall\"]\n[agents.b]", "[\"recal\"]\n[agents.b]")).unwrap_err();
    assert!(
        rejected.diagnostics[0].message.contains("not among the `tools` of any agent"),
        "{:?}",
        rejected.diagnostics
    );
    assert_eq!(rejected.diagnostics.len(), 1);
}

#[test]
fn logins_paces_and_checks_are_resolved() {
    let text = r#"
[tools.news]
type = "feed"
urls = ["https://a.example/f"]
sources = [{ url = "https://b.example/f", username = "me", password = { env = "P" } }]
[notify.chat]
type = "webhook"
url = "https://chat.example/hook"
[notify.slow]
type = "desktop"
per_minute = 2
[notify.log]
type = "file"
path = "log"
[agents.a]
tool = "probe"
args = { checks = [{ type = "http", url = "https://a.example/", method = "POST", headers = { X-Key = { env = "K" } }, not_contains = "down", tls_days = 14 }, { type = "disk", path = "/data", mounted = true }] }
"#;
    let fleet = read(text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet;
    let ToolSettings::Feed(news) = &fleet.tools["news"].settings else { panic!("a feed") };
    let urls = ["https://a.example/f", "https://b.example/f"].map(str::to_owned).to_vec();
    assert_eq!(news.fixed, FeedArgs { urls: Some(urls), ..FeedArgs::default() });
    let login = FeedLogin { username: TextOrSecret::Text("me".into()), password: SecretRef::Env("P".into()) };
    assert_eq!(news.logins, [("https://b.example/f".to_owned(), login)].into());
    let pace = |name: &str| fleet.notify[name].per_minute;
    assert_eq!([pace("chat"), pace("slow"), pace("log")], [Some(10), Some(2), None]);
    let Body::Tool(call) = &fleet.agents[0].body else { panic!("a tool") };
    let [web, disk] = &call.args["checks"].as_array().expect("checks")[..] else { panic!("two") };
    assert_eq!(
        *web,
        serde_json::json!({
            "type": "http", "url": "https://a.example/", "method": "POST", "headers": {"X-Key": {"env": "K"}},
            "not_contains": "down", "tls_days": 14,
        })
    );
    assert_eq!(disk["mounted"], true);
}

#[test]
fn a_table_of_a_tool_is_judged_when_it_is_read() {
    let tool = |keys: &str| format!("[tools.t]\n{keys}\n[agents.a]\ncommand = \"true\"\ncwd = \"/tmp\"\n");
    let settings = |keys: &str| {
        let loaded = read(&tool(keys)).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
        loaded.fleet.tools["t"].settings.clone()
    };
    let ToolSettings::Probe(Some(probe)) = settings(
        "type = \"probe\"\nchecks = [{ type = \"disk\", path = \"/data\", for = \"5m\", warn = 70 }]",
    ) else {
        panic!("a probe with checks")
    };
    let [check] = &probe.checks[..] else { panic!("one") };
    let target = ProbeTarget::Disk { path: "/data".into(), metric: None, mounted: None };
    assert_eq!((&check.target, check.warn, check.crit), (&target, Some(70.0), None));
    assert_eq!(check.hold_for, Some(SignedDuration::from_mins(5)));
    assert_eq!(settings("type = \"probe\""), ToolSettings::Probe(None));
    assert_eq!(
        settings("type = \"system_metrics\"\ntop = 3"),
        ToolSettings::SystemMetrics(MetricsArgs { top: Some(3), disks: None })
    );
    for (keys, part) in [
        ("type = \"probe\"\nchecks = []", "`checks` is empty"),
        ("type = \"probe\"\nchecks = [{ type = \"disk\" }]", "needs `path`"),
        ("type = \"probe\"\nchecks = [{ type = \"memory\", port = 1 }]", "`port` is not for a check"),
        ("type = \"probe\"\nchecks = [{ type = \"tcp\", host = \"\", port = 1 }]", "`host` is empty"),
        ("type = \"probe\"\nchecks = [{ type = \"load\", timeout = 0 }]", "longer than nothing"),
        (
            "type = \"probe\"\nchecks = [{ type = \"systemd\", unit = \"x\", warn = 1 }]",
            "`warn` is not for a check",
        ),
        ("type = \"probe\"\ncheck = []", "unknown key `check`"),
        ("type = \"system_metrics\"\ntop = 51", "`top` is at most 50"),
    ] {
        let rejected = read(&tool(keys)).expect_err(keys);
        assert!(rejected.diagnostics[0].message.contains(part), "{keys}: {:?}", rejected.diagnostics);
    }
    let loaded = read(&tool("type = \"report\"\nsilent = true")).unwrap();
    assert_eq!(
        loaded.warnings[0].message,
        "`silent` has no effect: a tool of type \"report\" has no settings"
    );
}

#[test]
fn parameters_of_requests_are_checked() {
    let model = |provider: &str, keys: &str| {
        format!(
            "[models.m]\nprovider = \"{provider}\"\nmodel = \"x\"\n{keys}\n[agents.a]\nquery = \"q\"\nmodel = \"m\"\n"
        )
    };
    for (provider, keys, wrong) in [
        ("openai", "params = { stream = true }", "`params` can't have `stream`"),
        ("openai", "params = { max_tokens = 9 }", "`params` can't have `max_tokens`"),
        ("openai", "params = { n = 2 }", "`params` can't have `n`"),
        (
            "gemini",
            "params = { generationConfig = { maxOutputTokens = 9 } }",
            "`generationConfig.maxOutputTokens`",
        ),
        ("openai", "params = 7", "`params` must be"),
        ("openai", "num_ctx = 4096", "`num_ctx` is for provider = \"ollama\""),
        ("openai", "cache = true", "`cache` is for provider = \"anthropic\""),
        ("openai", "reasoning_effort = \"hard\"", "`reasoning_effort` can't be \"hard\""),
        ("openai", "fallback_on = [\"credits\"]", "can't be \"credits\""),
    ] {
        let rejected = read(&model(provider, keys)).err().unwrap_or_else(|| panic!("{keys} is taken"));
        let errors: Vec<&str> = rejected.diagnostics.iter().map(|found| found.message.as_str()).collect();
        assert!(errors.iter().any(|error| error.contains(wrong)), "{keys}: {errors:?}");
    }
    let keys = "params = { seed = 7, provider = { sort = \"price\" } }\nprice = { input = 2, output = 4 }\n\
                fallback_on = [\"missing\", \"credit\"]\ntop_p = 0.5\nreasoning_effort = \"low\"\ncache = true";
    let loaded =
        read(&model("anthropic", keys)).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
    let warned =
        loaded.warnings.iter().any(|one| one.message == "`fallback_on` has no effect without `fallback`");
    assert!(warned, "{:?}", loaded.warnings);
    let model = &loaded.fleet.models["m"];
    assert_eq!(model.settings.params["provider"]["sort"], "price");
    assert_eq!(model.fallback_on, [FallbackOn::Missing, FallbackOn::Credit]);
    assert_eq!(model.price.map(|price| (price.cached_input, price.cache_write)), Some((2.0, 2.5)));
}

#[test]
fn models_that_think_may_say_more() {
    let most = |name: &str, keys: &str| {
        let text = format!(
            "[models.m]\nprovider = \"openai\"\nmodel = \"{name}\"\n{keys}\n[agents.a]\nquery = \"q\"\nmodel = \"m\"\n"
        );
        let loaded = read(&text).unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics));
        loaded.fleet.models["m"].max_output_tokens
    };
    for name in [
        "o3-mini",
        "gpt-5",
        "openai/gpt-oss-20b",
        "deepseek-reasoner",
        "DeepSeek-R1",
        "qwen3:8b",
        "gemini-2.5-pro",
    ] {
        assert_eq!(most(name, ""), 16_384, "{name}");
    }
    for name in ["gpt-4o-mini", "llama3.1", "mistral-large", "claude-haiku-4-5"] {
        assert_eq!(most(name, ""), 2048, "{name}");
        assert_eq!(most(name, "reasoning_effort = \"high\""), 16_384, "{name}");
    }
    assert_eq!(most("o3", "max_output_tokens = 500"), 500);
}

#[test]
fn what_is_said_of_a_file_as_a_whole_has_no_gutter() {
    let one = Diagnostic::of_file("it is gone".into(), Some("put it back".into()));
    assert_eq!(render(&[one], "", Path::new("x"), false), "error: it is gone\nhelp: put it back\n");
}
