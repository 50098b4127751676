//! `bgagent forecast` from what the real daemon has recorded, and from its records while it is down.
use super::endpoint::{Endpoint, Reply, Used};
use super::support::{Daemon, code};
use serde_json::{Value, json};

/// What a request uses at the price below, in US dollars: 1000 tokens sent, 100 received.
const USD: f64 = (1000.0 * 1.0 + 100.0 * 4.0) / 1e6;

const RUNS: usize = 8;

fn fleet(endpoint: &Endpoint) -> String {
    format!(
        "[daemon]\ntimezone = \"UTC\"\n[budget]\nusd_per_day = 0.5\nusd_per_month = 20.0\n\
         [models.main]\nprovider = \"openai-compatible\"\nmodel = \"m-1\"\nbase_url = \"{0}\"\nmax_output_tokens = 500\n\
         price = {{ input = 1.0, cached_input = 0.5, output = 4.0 }}\n\
         [defaults]\nmodel = \"main\"\n\
         [agents.asked]\nquery = \"Look after it.\"\n\
         [agents.new]\nquery = \"Look after it.\"\ninterval = \"6h\"\nfirst_run = \"after_interval\"\nmax_usd_per_run = 0.25\n\
         [agents.rests]\nquery = \"Look after it.\"\ninterval = \"6h\"\nfirst_run = \"after_interval\"\nmax_usd_per_run = 0.25\nenabled = false\n",
        endpoint.url()
    )
}

fn told(daemon: &Daemon, args: &[&str]) -> Value {
    let mut all = vec!["--json", "forecast"];
    all.extend(args);
    let output = daemon.run(&all);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn of<'a>(view: &'a Value, agent: &str) -> &'a Value {
    let agents = view["agents"].as_array().expect("agents");
    agents.iter().find(|one| one["agent_id"] == agent).unwrap_or_else(|| panic!("no {agent}: {view}"))
}

#[test]
fn what_the_fleet_will_cost_comes_from_history_calendar_and_limits() {
    let used = Used { input: 1000, cached: 0, output: 100, thoughts: 0 };
    let endpoint = Endpoint::answering(move |_| Reply::text("All is well.").using(used));
    let mut daemon = Daemon::start(&fleet(&endpoint));
    let before = told(&daemon, &[]);
    assert_eq!(of(&before, "asked")["basis"], "limits");
    assert_eq!(
        of(&before, "asked")["usd"],
        json!({"p50": 0.0, "p95": 0.0, "worst": 0.0}),
        "nothing starts it"
    );
    for _ in 0..RUNS {
        assert_eq!(daemon.run_by_hand("asked")["status"], "completed");
    }
    let view = told(&daemon, &["--for", "10d"]);
    let asked = of(&view, "asked");
    // eight a day, as on the one day that there is
    let (p50, p95) =
        (asked["usd"]["p50"].as_f64().expect("dollars"), asked["usd"]["p95"].as_f64().expect("dollars"));
    let usual = 10.0 * RUNS as f64 * USD;
    assert!(p50 > 0.5 * usual && p50 < 1.5 * usual && p95 >= p50, "{usual}: {asked}");
    assert_eq!(
        (&asked["basis"], &asked["by_events"], &asked["runs_before"]),
        (&json!("thin history"), &json!(true), &json!(RUNS))
    );
    let new = of(&view, "new");
    let due = new["due"].as_u64().expect("a count");
    assert!((39..=41).contains(&due), "{new}");
    let worst = 0.25 * due as f64;
    assert_eq!(
        (&new["basis"], new["usd"]["p50"].as_f64(), new["usd"]["worst"].as_f64()),
        (&json!("limits"), Some(worst), Some(worst))
    );
    assert_eq!((&of(&view, "rests")["due"], &of(&view, "rests")["held"]), (&json!(0), &json!(true)));
    for range in [&view["usd"], &view["tokens"], &asked["usd"], &asked["tokens"]] {
        let of = |key: &str| range[key].as_f64().expect("a number");
        assert!(of("p50") <= of("p95") && of("p95") <= of("worst"), "{range}");
    }
    // four runs a day at a quarter each: more than half a dollar on the first whole day
    let limit = |key: &str| {
        view["limits"].as_array().expect("limits").iter().find(|one| one["limit"] == key).cloned().expect(key)
    };
    let day = limit("usd_per_day");
    assert!(day["chance"] == 1.0 && day["likely_on"].is_string() && day["worst_on"].is_string(), "{day}");
    let used = limit("usd_per_month")["used"].as_f64().expect("dollars");
    assert!((used - RUNS as f64 * USD).abs() < 1e-9, "{used}");

    let half = told(&daemon, &["--for", "10d", "as*"]);
    assert_eq!(half["agents"].as_array().expect("agents").len(), 1);
    assert_eq!(half["usd"]["p95"], of(&half, "asked")["usd"]["p95"]);
    let text = daemon.ok(&["forecast", "--for", "10d"]);
    for part in ["The next 10d: ", "together", "[budget] usd_per_month", "likely, by ", "limits"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    code(&daemon, &["forecast", "--for", "10d"], 0, "counted at the rate of their history: asked");
    code(&daemon, &["forecast", "--for", "10d"], 0, "paused or stopped: not counted as due: rests");

    let up = told(&daemon, &["--for", "10d"]);
    daemon.down();
    let down = told(&daemon, &["--for", "10d"]);
    assert_eq!(of(&down, "asked")["usd"]["worst"], of(&up, "asked")["usd"]["worst"]);
    code(&daemon, &["forecast"], 3, "has not been running since about");
}

#[test]
fn what_can_not_be_told_is_said() {
    let daemon = Daemon::with(
        "[models.free]\nprovider = \"ollama\"\nmodel = \"f\"\n[agents.a]\ninterval = \"1h\"\nquery = \"?\"\nmodel = \"free\"\ntotal_tokens_limit = 1000\n\
         [agents.b]\ncommand = \"true\"\n",
    );
    // nobody ran yet, and there are no records
    code(&daemon, &["forecast"], 3, "can't reach the daemon");
    let mut daemon = daemon;
    daemon.up();
    let view = told(&daemon, &["--for", "2d"]);
    let a = of(&view, "a");
    assert!(a["usd"].is_null() && view["usd"]["worst"] == 0.0, "{view}");
    assert!((47_000.0..=49_000.0).contains(&a["tokens"]["worst"].as_f64().expect("tokens")), "{a}");
    assert_eq!(view["agents"].as_array().expect("agents").len(), 1, "a command costs nothing");
    code(&daemon, &["forecast"], 0, "models without a price, so only their tokens are counted: a");
    for (args, says) in [
        (&["forecast", "--for", "10 parsecs"][..], "parsecs"),
        (&["forecast", "--for", "5m"], "it must be 1 h to 366 d"),
        (&["forecast", "--for", "9000d"], "it must be 1 h to 366 d"),
        (&["forecast", "--history", "1h"], "it must be 24 h to 366 d"),
    ] {
        code(&daemon, args, 2, says);
    }
    code(&daemon, &["forecast", "nobody"], 1, "there is no agent `nobody`");
    daemon.configure("[agents.b]\ncommand = \"true\"\n");
    code(&daemon, &["forecast"], 0, "no agent asks a model");
    daemon.configure("[agents.b]\nbroken = 1\n");
    code(&daemon, &["forecast"], 78, "broken");
}
