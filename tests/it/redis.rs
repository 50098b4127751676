//! The exporter and a real Redis: every event, once and in order, whatever happens to either side.
use super::redis_server::{Oddly, Redis, before};
use super::rng::Rng;
use super::support::PATIENCE;
use bgagent::domain::{
    Entry, ExportState, Fact, RedisAddress, RedisSection, RedisServer, RedisSpec, Seq, StreamFormat,
    StreamFrom,
};
use bgagent::export::{ExportProgress, ExportTimeouts, Exporter};
use bgagent::store::{Ancestor, Store};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waits short enough for tests.
pub(super) const HASTE: ExportTimeouts = ExportTimeouts {
    answer: Duration::from_millis(700),
    first: Duration::from_millis(20),
    longest: Duration::from_millis(150),
};

/// A store with events, and what is to be copied of it.
pub(super) struct Log {
    pub(super) folder: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) database: String,
}

impl Log {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (store, restored) = Store::open(&folder.path().join("bgagent.db")).expect("a store");
        Self { folder, store, database: restored.database }
    }

    /// With so many events.
    pub(super) async fn with(events: u64) -> Self {
        let log = Self::new();
        log.add(events).await;
        log
    }

    pub(super) async fn add(&self, events: u64) {
        add(&self.store, events).await;
    }

    pub(super) fn exporter(&self, spec: &Arc<RedisSpec>) -> (Exporter, Arc<ExportProgress>) {
        self.exporter_of(spec, &self.database, Vec::new())
    }

    pub(super) fn exporter_of(
        &self,
        spec: &Arc<RedisSpec>,
        database: &str,
        ancestors: Vec<Ancestor>,
    ) -> (Exporter, Arc<ExportProgress>) {
        let progress = Arc::new(ExportProgress::default());
        let made =
            Exporter::new(self.store.clone(), spec.clone(), database.to_owned(), ancestors, progress.clone());
        (made.with_timeouts(HASTE), progress)
    }

    /// What is in the way, when all that there is is to be sent.
    #[track_caller]
    pub(super) fn refused(&self, spec: &Arc<RedisSpec>) -> impl Future<Output = String> {
        let (exporter, _) = self.exporter(spec);
        async move { exporter.catch_up().await.expect_err("it is refused") }
    }

    pub(super) async fn caught_up(&self, spec: &Arc<RedisSpec>) -> u64 {
        self.exporter(spec).0.catch_up().await.expect("it is sent").0
    }
}

async fn add(store: &Store, events: u64) {
    let at = "2026-11-23T09:00:00.123456Z".parse().expect("a time");
    let mut left = events;
    while left > 0 {
        let now = left.min(5000);
        let fact = |n| Fact::DaemonStopping {
            reason: format!("event {n} of {left} of a test, as long as they usually are: {:0>150}", n),
        };
        store.commit((0..now).map(|n| Entry { at, fact: fact(n) }).collect()).await.expect("a commit");
        left -= now;
    }
}

pub(super) fn spec(redis: &Redis) -> RedisSpec {
    RedisSpec {
        server: RedisServer {
            section: RedisSection::Events,
            address: RedisAddress::Socket(redis.socket()),
            database: 0,
            username: None,
            password: None,
        },
        stream: RedisSpec::STREAM.into(),
        maxlen: 10_000_000,
        format: StreamFormat::Bgagent,
        from: StreamFrom::Event(1),
    }
}

pub(super) fn at_port(redis: &Redis, port: u16) -> Arc<RedisSpec> {
    let address = RedisAddress::Host { host: "127.0.0.1".into(), port, tls: false };
    let mut spec = spec(redis);
    spec.server.address = address;
    Arc::new(spec)
}

/// Each event is there, once, in order, with what it says.
#[track_caller]
pub(super) fn assert_whole(redis: &Redis, stream: &str, numbers: std::ops::RangeInclusive<u64>) {
    let entries = redis.entries(stream);
    let ids: Vec<&str> = entries.iter().map(|(id, _)| id.as_str()).collect();
    let wanted: Vec<String> = numbers.map(|n| format!("{n}-0")).collect();
    let first_other = ids.iter().zip(&wanted).find(|(id, wanted)| **id != **wanted);
    assert!(
        first_other.is_none() && ids.len() == wanted.len(),
        "{} of {}: {first_other:?}",
        ids.len(),
        wanted.len()
    );
    for (id, fields) in &entries {
        let event = fields["event"].as_str().expect("an event");
        assert!(event.starts_with(&format!("{{\"seq\":{},", id.trim_end_matches("-0"))), "{id}: {event}");
    }
}

/// Runs until it is dropped.
pub(super) fn run(exporter: Exporter) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        exporter.run().await;
    })
}

pub(super) async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_exporters_and_what_retention_has_removed() {
    let Some(redis) = Redis::start() else { return };
    let log = Log::with(2500).await;
    let spec = Arc::new(spec(&redis));
    let ((one, _), (two, _)) = (log.exporter(&spec), log.exporter(&spec));
    let (one, two) = (run(one), run(two));
    until("all events", || redis.ask(&["XLEN", &spec.stream]) == 2500).await;
    log.add(2500).await;
    until("all events", || redis.ask(&["XLEN", &spec.stream]) == 5000).await;
    one.abort();
    two.abort();
    assert_whole(&redis, &spec.stream, 1..=5000);
    // trimmed below what was sent: nothing comes again
    redis.ask(&["XTRIM", &spec.stream, "MAXLEN", "0"]);
    log.add(10).await;
    assert_eq!(log.caught_up(&spec).await, 5010);
    assert_whole(&redis, &spec.stream, 5001..=5010);
    // the stream is lost, and so are the first events here
    redis.ask(&["DEL", &spec.stream]);
    let database = rusqlite::Connection::open(log.folder.path().join("bgagent.db")).expect("it opens");
    database.execute("DELETE FROM events WHERE seq <= 5003", []).expect("it is ours");
    assert_eq!(log.caught_up(&spec).await, 5010);
    let entries = redis.entries(&spec.stream);
    assert_eq!(entries.len(), 8);
    let (id, gap) = &entries[0];
    assert_eq!(
        (id.as_str(), &gap["type"], &gap["from"], &gap["to"]),
        ("5003-0", &json!("gap"), &json!("1"), &json!("5003"))
    );
    assert_eq!(entries[7].0, "5010-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stream_begins_where_it_is_told_and_there_again() {
    let Some(redis) = Redis::start() else { return };
    let log = Log::with(30).await;
    let now = Arc::new(RedisSpec { from: StreamFrom::Now, ..spec(&redis) });
    assert_eq!(log.caught_up(&now).await, 30);
    assert_eq!(redis.entries(&now.stream), []);
    log.add(5).await;
    assert_eq!(log.caught_up(&now).await, 35);
    assert_whole(&redis, &now.stream, 31..=35);
    // lost: what it had from its beginning, and not from now on
    redis.ask(&["FLUSHALL"]);
    log.add(5).await;
    assert_eq!(log.caught_up(&now).await, 40);
    assert_whole(&redis, &now.stream, 31..=40);
    // somebody wants it otherwise
    redis.ask(&["FLUSHALL"]);
    let from = Arc::new(RedisSpec { from: StreamFrom::Event(11), ..spec(&redis) });
    assert_eq!(log.caught_up(&from).await, 40);
    assert_whole(&redis, &now.stream, 11..=40);
    // about so many are kept
    let short = Arc::new(RedisSpec { maxlen: 100, ..spec(&redis) });
    log.add(3000).await;
    assert_eq!(log.caught_up(&short).await, 3040);
    let entries = redis.entries(&short.stream);
    assert!((100..400).contains(&entries.len()), "{}", entries.len());
    // a group that was made before the stream is no stranger
    redis.ask(&["FLUSHALL"]);
    redis.ask(&["XGROUP", "CREATE", &from.stream, "readers", "$", "MKSTREAM"]);
    assert_eq!(log.caught_up(&from).await, 3040);
    let read =
        redis.ask(&["XREADGROUP", "GROUP", "readers", "me", "COUNT", "2", "STREAMS", &from.stream, ">"]);
    assert_eq!(read[0][1][0][0], "11-0", "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_of_this_log_is_left_alone() {
    let Some(redis) = Redis::start() else { return };
    let (log, other) = (Log::with(20).await, Log::with(50).await);
    let spec = Arc::new(spec(&redis));
    assert_eq!(log.caught_up(&spec).await, 20);
    let before = redis.entries(&spec.stream);
    // another fleet, behind or ahead
    let why = other.refused(&spec).await;
    assert!(
        why.contains("another fleet") && why.contains(&log.database) && why.contains("DEL bgagent:events"),
        "{why}"
    );
    // nobody knows whose
    redis.ask(&["DEL", "bgagent:events:fleet"]);
    let why = log.refused(&spec).await;
    assert!(why.contains(&format!("SET bgagent:events:fleet {}", log.database)), "{why}");
    redis.ask(&["SET", "bgagent:events:fleet", &log.database]);
    assert_eq!(log.caught_up(&spec).await, 20);
    // somebody else writes into it
    redis.ask(&["XADD", &spec.stream, "*", "x", "y"]);
    let why = log.refused(&spec).await;
    assert!(why.contains("the newest event here is 20"), "{why}");
    redis.ask(&["DEL", &spec.stream]);
    assert_eq!(log.caught_up(&spec).await, 20);
    assert_eq!(redis.entries(&spec.stream), before);
    // a copy of the database goes on, if it has all that is there
    let ancestors = |until| vec![Ancestor { database: log.database.clone(), until }];
    let (copy, _) = log.exporter_of(&spec, "a-copy", ancestors(19));
    let why = copy.catch_up().await.expect_err("it is older");
    assert!(why.contains("shares those up to 19"), "{why}");
    let (copy, _) = log.exporter_of(&spec, "a-copy", ancestors(20));
    log.add(5).await;
    assert_eq!(copy.catch_up().await, Ok(Seq(25)));
    assert_whole(&redis, &spec.stream, 1..=25);
    let why = log.refused(&spec).await;
    assert!(why.contains("another fleet") && why.contains("a-copy"), "{why}");
    // other data under the names
    for (key, name) in [("bgagent:events", "a stream"), ("bgagent:events:fleet", "the mark")] {
        redis.ask(&["FLUSHALL"]);
        redis.ask(&["HSET", key, "a", "b"]);
        let why = log.refused(&spec).await;
        assert!(why.contains("(a hash)") && why.contains(name), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_oddly_costs_nothing() {
    let Some(redis) = Redis::start() else { return };
    let log = Log::with(3000).await;
    let say =
        |answers: &[&str]| Oddly::Say(answers.iter().map(|answer| answer.as_bytes().to_vec()).collect());
    let loaded = "$40\r\n0123456789012345678901234567890123456789\r\n";
    let oddly = vec![
        say(&["-LOADING Redis is loading the dataset in memory\r\n"]),
        say(&[loaded, "-READONLY You can't write against a read only replica.\r\n"]),
        say(&[loaded, "-OOM command not allowed when used memory > 'maxmemory'.\r\n"]),
        say(&[loaded, "*3\r\n$2\r\nat\r\n$3\r\n0-0\r\n$0\r\n\r\n", "*2\r\n$4\r\ndo"]),
        say(&["$9999999999\r\n"]),
        say(&["HTTP/1.1 400 Bad Request\r\n\r\n"]),
        say(&[]),
        say(&["+OK\r\n", "+OK\r\n"]),
        say(&[loaded, "-MOVED 3999 127.0.0.1:6381\r\n"]),
        Oddly::LoseAnswer(4),
        Oddly::LoseAnswer(4),
        Oddly::LoseAnswer(4),
    ];
    let port = before(&redis, oddly);
    let spec = at_port(&redis, port);
    let (exporter, progress) = log.exporter(&spec);
    let running = run(exporter);
    let mut seen = BTreeSet::new();
    until("all events", || {
        seen.extend(progress.now().and_then(|standing| standing.problem));
        let standing = progress.now();
        standing.is_some_and(|now| now.state == ExportState::Connected && now.position == Some(Seq(3000)))
    })
    .await;
    let seen: Vec<String> = seen.into_iter().collect();
    for wanted in
        ["LOADING", "READONLY", "OOM", "no answer within", "speak Redis's protocol", "closed", "Cluster"]
    {
        assert!(seen.iter().any(|one| one.contains(wanted)), "{wanted}: {seen:#?}");
    }
    assert_whole(&redis, &spec.stream, 1..=3000);
    // scripts are forgotten, connections are closed
    redis.ask(&["SCRIPT", "FLUSH"]);
    log.add(10).await;
    until("the rest", || redis.ask(&["XLEN", &spec.stream]) == 3010).await;
    running.abort();
    assert_whole(&redis, &spec.stream, 1..=3010);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_databases_and_encryption_are_as_configured() {
    let Some(redis) = Redis::start_with(&["--requirepass", "the-right-one"]) else { return };
    let log = Log::with(10).await;
    let key = log.folder.path().join("password");
    let with = |password: Option<&str>, change: &dyn Fn(&mut RedisSpec)| {
        let mut spec = (*at_port(&redis, redis.port)).clone();
        if let Some(password) = password {
            std::fs::write(&key, password).expect("our folder");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&key, mode).expect("our folder");
            spec.server.password = Some(bgagent::domain::SecretRef::File(key.clone()));
        }
        change(&mut spec);
        Arc::new(spec)
    };
    let as_is = |_: &mut RedisSpec| {};
    let why = log.refused(&with(None, &as_is)).await;
    assert!(why.contains("it wants a password"), "{why}");
    let why = log.refused(&with(Some("a-wrong-one"), &as_is)).await;
    assert!(why.contains("check `username` and `password`") && !why.contains("a-wrong-one"), "{why}");
    let other = |spec: &mut RedisSpec| spec.server.database = 3;
    assert_eq!(log.caught_up(&with(Some("the-right-one"), &other)).await, 10);
    let none = |spec: &mut RedisSpec| spec.server.database = 99;
    let why = log.refused(&with(Some("the-right-one"), &none)).await;
    assert!(why.contains("no database of this number"), "{why}");
    let tls = |spec: &mut RedisSpec| {
        spec.server.address = RedisAddress::Host { host: "localhost".into(), port: redis.port, tls: true };
    };
    let why = log.refused(&with(Some("the-right-one"), &tls)).await;
    assert!(why.contains("no encryption"), "{why}");
}

pub(super) fn changed(agent: &str, n: u64) -> Fact {
    let agent = agent.parse().expect("a name");
    let change = bgagent::domain::AgentChange {
        agent,
        desired: bgagent::domain::Desired::Paused,
        previous: bgagent::domain::Desired::Active,
        reason: Some(format!("{n}")),
        resume_at: None,
        run_count: n,
        error_count: 0,
        last_run: None,
        next_run: None,
    };
    Fact::AgentChanged(Box::new(change))
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_streams_that_omnicoreagent_reads() {
    let Some(redis) = Redis::start() else { return };
    let log = Log::new();
    let at = "2026-11-23T09:00:00.5Z".parse().expect("a time");
    let facts = (0..3000).map(|n| Entry { at, fact: changed(if n % 3 == 0 { "a" } else { "b" }, n) });
    log.store.commit(facts.collect()).await.expect("a commit");
    log.add(5).await; // without an agent: no place there
    let spec = Arc::new(RedisSpec { format: StreamFormat::OmniCoreAgent, ..spec(&redis) });
    let ((one, _), (two, _)) = (log.exporter(&spec), log.exporter(&spec));
    let (one, two) = (run(one), run(two));
    until("all events", || redis.entries(&spec.stream).iter().any(|(id, _)| id == "3005-0")).await;
    one.abort();
    two.abort();
    let (of_a, of_b) = (redis.entries("omnicoreagent_events:a"), redis.entries("omnicoreagent_events:b"));
    assert_eq!((of_a.len(), of_b.len()), (1000, 2000));
    let numbers = (1..=3000u64).filter(|n| n % 3 == 1).map(|n| format!("{n}-0"));
    assert!(of_a.iter().map(|(id, _)| id.clone()).eq(numbers));
    let event: Value = serde_json::from_str(of_a[1].1["event"].as_str().expect("JSON")).expect("JSON");
    assert_eq!(event["timestamp"], "2026-11-23T09:00:00.500000+00:00");
    assert_eq!((&event["agent_name"], &event["payload"]["run_count"]), (&json!("a"), &json!(3)));
    assert_eq!(of_a[1].1["sequence"], "4");
    assert_eq!(redis.entries(&spec.stream).len(), 1);
    // the position is lost, the sessions are not: nothing is doubled
    redis.ask(&["DEL", &spec.stream]);
    assert_eq!(log.caught_up(&spec).await, 3005);
    assert_eq!(redis.entries("omnicoreagent_events:b"), of_b);
    // OmniCoreAgent itself writes there
    redis.ask(&["XADD", "omnicoreagent_events:b", "*", "event", "{}"]);
    let facts = vec![Entry { at, fact: changed("b", 1) }];
    log.store.commit(facts).await.expect("a commit");
    let why = log.refused(&spec).await;
    assert!(why.contains("omnicoreagent_events:b") && why.contains("somebody else"), "{why}");
}

/// What a run of [`chaos`] is to survive.
struct Chaos {
    events: u64,
    kills_of_exporters: u32,
    kills_of_redis: u32,
    /// At the most, off the end of its log.
    cut: usize,
    seed: u64,
}

/// Two exporters at once, each killed again and again at random moments, while events come and Redis is killed and loses
/// the end of its log.
async fn chaos(Chaos { events, kills_of_exporters, kills_of_redis, cut, seed }: Chaos) {
    let Some(mut redis) = Redis::start() else { return };
    let log = Log::with(events / 4).await;
    let store = log.store.clone();
    let writing = tokio::spawn(async move {
        for _ in 0..30 {
            add(&store, events / 40).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let spec = Arc::new(spec(&redis));
    let start = || run(log.exporter(&spec).0);
    let mut running = [start(), start()];
    let mut rng = Rng::new(seed);
    let mut killed = (0, 0);
    let every = u64::from(kills_of_exporters / kills_of_redis.max(1)).max(1);
    while killed.0 < kills_of_exporters || killed.1 < kills_of_redis {
        tokio::time::sleep(Duration::from_millis(5 + rng.below(60) as u64)).await;
        let one = &mut running[rng.below(2)];
        one.abort();
        let _ = (&mut *one).await;
        killed.0 += 1;
        if u64::from(killed.0) % every == 0 && killed.1 < kills_of_redis {
            redis.kill();
            redis.cut_log(rng.below(cut) as u64);
            redis.up();
            killed.1 += 1;
        }
        *one = start();
    }
    writing.await.expect("it writes");
    let total = events / 4 + 30 * (events / 40);
    let began = Instant::now();
    until("all events", || {
        assert!(began.elapsed() < PATIENCE);
        redis.ask(&["XLEN", &spec.stream]).as_u64() >= Some(total)
    })
    .await;
    running.into_iter().for_each(|one| one.abort());
    assert_whole(&redis, &spec.stream, 1..=total);
    println!("{total} events, {} exporters and {} servers killed", killed.0, killed.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_out_of_order_in_a_short_chaos() {
    chaos(Chaos { events: 20_000, kills_of_exporters: 12, kills_of_redis: 3, cut: 400_000, seed: 7 }).await;
}

/// The long form: `cargo test --test it redis::long -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute of chaos with 600,000 events"]
async fn long_chaos() {
    chaos(Chaos { events: 600_000, kills_of_exporters: 49, kills_of_redis: 12, cut: 4_000_000, seed: 11 })
        .await;
}

/// How fast a log that exists goes out: `cargo test --test it redis::how_fast -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn how_fast() {
    let Some(redis) = Redis::start() else { return };
    let events = 300_000;
    let log = Log::with(events).await;
    for (name, spec) in [("socket", Arc::new(spec(&redis))), ("loopback", at_port(&redis, redis.port))] {
        redis.ask(&["FLUSHALL"]);
        let began = Instant::now();
        assert_eq!(log.caught_up(&spec).await, events);
        let took = began.elapsed().as_secs_f64();
        println!("{name}: {events} events in {took:.2} s, {:.0} a second", events as f64 / took);
    }
}
