//! The exporter and what goes against it: servers that repeat, stall or never end, rights that are missing, logs and
//! fleets that would be mixed.
use super::redis::{HASTE, Log, assert_whole, at_port, changed, run, spec, until};
use super::redis_server::{Oddly, Redis, before};
use bgagent::domain::{Entry, ExportState, RedisSpec, Seq, StreamFormat};
use bgagent::export::ExportTimeouts;
use bgagent::store::Ancestor;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A log that went back and went on otherwise has the same identity, and soon as many events as the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_another_past_is_not_mixed_in() {
    for format in [StreamFormat::Bgagent, StreamFormat::OmniCoreAgent] {
        let Some(redis) = Redis::start() else { return };
        let (log, back) = (Log::with(25).await, Log::with(20).await);
        let spec = Arc::new(RedisSpec { format, ..spec(&redis) });
        let put_back = || back.exporter_of(&spec, &log.database, Vec::new());
        assert_eq!(log.caught_up(&spec).await, 25);
        let there = redis.entries(&spec.stream);
        let why = put_back().0.catch_up().await.expect_err("it is behind");
        assert!(why.contains("the newest event here is 20"), "{why}");
        let (exporter, progress) = put_back();
        let running = run(exporter);
        back.add(10).await;
        let stopped = |with: &str| {
            let standing = progress.now();
            standing.is_some_and(|now| {
                now.state == ExportState::Stopped && now.problem.is_some_and(|why| why.contains(with))
            })
        };
        until("another past", || stopped("entry 25-0 of the stream is not the event")).await;
        back.add(1000).await;
        tokio::time::sleep(HASTE.longest * 3).await;
        assert!(stopped("entry 25-0 of the stream is not the event"), "{:?}", progress.now());
        assert_eq!(redis.entries(&spec.stream), there);
        running.abort();
        // it goes on where it is the same log
        log.add(5).await;
        assert_eq!(log.caught_up(&spec).await, 30);
        let why = put_back().0.catch_up().await.expect_err("it is another one");
        assert!(why.contains("entry 30-0") && why.contains("DEL bgagent:events"), "{why}");
        // of the same number, and by somebody else
        redis.ask(&["XADD", &spec.stream, "30-1", "event", "{}"]);
        let why = log.refused(&spec).await;
        assert!(why.contains("entry 30-1"), "{why}");
    }
}

/// One that always gives one answer is asked a few times, and then waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_elsewhere_at_each_look_is_not_asked_without_end() {
    let Some(redis) = Redis::start() else { return };
    let log = Log::with(10).await;
    let loaded = "$2\r\n0a\r\n".to_owned();
    let at = |id: &str| format!("*3\r\n$2\r\nat\r\n$3\r\n{id}\r\n$0\r\n\r\n");
    let done = "*2\r\n$4\r\ndone\r\n$3\r\n0-0\r\n".to_owned();
    let ever = |answers: &[String]| {
        let all = std::iter::once(&loaded).chain(answers.iter().cycle().take(2000));
        Oddly::Say(all.map(|answer| answer.clone().into_bytes()).collect())
    };
    // to each look and each batch; and to each batch only
    for odd in [ever(&[at("2-0")]), ever(&[at("0-0"), done, at("2-0")])] {
        let why = log.refused(&at_port(&redis, before(&redis, vec![odd]))).await;
        assert!(why.contains("has changed at each look"), "{why}");
    }
}

/// Whoever refuses everything is not told to be fine at each try.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_memory_is_not_connected_in_between() {
    let Some(redis) = Redis::start() else { return };
    let log = Log::with(10).await;
    let spec = Arc::new(spec(&redis));
    assert_eq!(log.caught_up(&spec).await, 10);
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    log.add(10).await;
    let (exporter, progress) = log.exporter(&spec);
    let running = run(exporter);
    let mut states = BTreeSet::new();
    let began = Instant::now();
    while began.elapsed() < HASTE.longest * 6 {
        states.extend(progress.now().map(|now| format!("{:?}", now.state)));
        tokio::task::yield_now().await;
    }
    assert_eq!(states.iter().map(String::as_str).collect::<Vec<_>>(), ["Trying"]);
    let now = progress.now().expect("it runs");
    assert!(now.position == Some(Seq(10)) && now.problem.is_some_and(|why| why.contains("OOM")));
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    until("the rest", || progress.now().is_some_and(|now| now.position == Some(Seq(20)))).await;
    assert_eq!(progress.now().map(|now| now.state), Some(ExportState::Connected));
    running.abort();
}

/// With rights that are not enough it stops, and with those that the documentation has it works.
#[tokio::test(flavor = "multi_thread")]
async fn the_rights_that_are_documented_are_enough() {
    let Some(redis) = Redis::start() else { return };
    let log = Log::with(10).await;
    let password = log.folder.path().join("password");
    std::fs::write(&password, "a-long-password").expect("our folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&password, mode).expect("our folder");
    let documented = include_str!("../../docs/REDIS.md").split("ACL SETUSER ").nth(1).expect("a command");
    let documented = documented.split("```").next().expect("its end").replace(['\\', '\n'], " ");
    let documented = documented.replace(">PASSWORD", ">a-long-password");
    let mut spec = spec(&redis);
    // there is a stream, and an event that is not in it
    assert_eq!(log.caught_up(&Arc::new(spec.clone())).await, 10);
    log.add(1).await;
    spec.server.username = Some(bgagent::domain::EnvValue::Text("bgagent".into()));
    spec.server.password = Some(bgagent::domain::SecretRef::File(password));
    let spec = Arc::new(spec);
    for (without, works) in
        [("+xinfo|stream", false), ("+xadd", false), ("~bgagent:events:fleet", false), ("", true)]
    {
        let rights = documented.split_whitespace().filter(|right| *right != without);
        let command: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(rights).collect();
        redis.ask(&["ACL", "DELUSER", "bgagent"]);
        let said = redis.ask(&command);
        assert_eq!(said, json!("OK"), "{command:?}");
        match works {
            true => assert_eq!(log.caught_up(&spec).await, 11),
            false => {
                let why = log.refused(&spec).await;
                assert!(why.contains("docs/REDIS.md"), "{without}: {why}");
            }
        }
    }
}

/// A line that carries less in time than a whole batch.
#[tokio::test(flavor = "multi_thread")]
async fn over_a_slow_line_fewer_events_go_at_once() {
    let Some(redis) = Redis::start() else { return };
    let log = Log::with(100).await;
    let spec = at_port(&redis, before(&redis, vec![Oddly::OnlyShort(12_000); 100]));
    let (exporter, progress) = log.exporter(&spec);
    let haste = ExportTimeouts { answer: Duration::from_millis(400), ..HASTE };
    let running = run(exporter.with_timeouts(haste));
    until("all events", || progress.now().is_some_and(|now| now.position == Some(Seq(100)))).await;
    running.abort();
    assert_whole(&redis, &spec.stream, 1..=100);
}

/// Servers and proxies repeat what they were told.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_a_server_repeats_is_not_shown() {
    let Some(redis) = Redis::start() else { return };
    let log = Log::with(1).await;
    let key = log.folder.path().join("password");
    std::fs::write(&key, "hunter2-and-more").expect("our folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).expect("our folder");
    let padded = format!("-ERR {}hunter2-and-more\r\n", "x".repeat(145));
    let other = "*3\r\n$5\r\nother\r\n$3\r\n9-0\r\n$17\r\nhunter2-\x07and-more\r\n";
    let cases: [&[&str]; 5] = [
        &["-ERR unknown command 'AUTH', with args beginning with: 'hunter2-and-more' \r\n"],
        &["-hunter2-and-more\r\n"],
        &["+OK\r\n", "-ERR unknown command 'SELECT', after hunter2-and-more\r\n"],
        &["+OK\r\n", &padded],
        &["+OK\r\n", "+OK\r\n", "$2\r\n0a\r\n", other],
    ];
    for answers in cases {
        let say = Oddly::Say(answers.iter().map(|answer| answer.as_bytes().to_vec()).collect());
        let mut spec = (*at_port(&redis, before(&redis, vec![say]))).clone();
        (spec.server.password, spec.server.database) =
            (Some(bgagent::domain::SecretRef::File(key.clone())), 1);
        let why = log.refused(&Arc::new(spec)).await;
        assert!(why.contains("Redis") || why.contains("another fleet"), "{why}");
        assert!(!why.contains("hunter2") && !why.contains("hunter"), "{why}");
    }
}

/// Two fleets have agents of one name, and streams of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_of_one_fleet() {
    let Some(redis) = Redis::start() else { return };
    let (log, other) = (Log::new(), Log::new());
    let at = "2026-11-23T09:00:00.5Z".parse().expect("a time");
    for (log, events) in [(&log, 5), (&other, 9)] {
        let facts = (0..events).map(|n| Entry { at, fact: changed("a", n) });
        log.store.commit(facts.collect()).await.expect("a commit");
    }
    let omni = |stream: &str| {
        Arc::new(RedisSpec { format: StreamFormat::OmniCoreAgent, stream: stream.into(), ..spec(&redis) })
    };
    let (ours, theirs, session) = (omni("ours"), omni("theirs"), "omnicoreagent_events:a");
    assert_eq!(log.caught_up(&ours).await, 5);
    let before = redis.entries(session);
    assert_eq!(before.len(), 5);
    let why = other.refused(&theirs).await;
    assert!(why.contains(session) && why.contains(&format!("of database {}", log.database)), "{why}");
    // nothing of the batch is there, the position neither
    assert_eq!((redis.entries(session), redis.entries("theirs")), (before.clone(), vec![]));
    // of nobody that is known
    let mark = "omnicoreagent_events:a:fleet";
    redis.ask(&["DEL", mark]);
    let facts = vec![Entry { at, fact: changed("a", 5) }];
    log.store.commit(facts).await.expect("a commit");
    let why = log.refused(&ours).await;
    assert!(why.contains("there is no key `omnicoreagent_events:a:fleet`"), "{why}");
    // what a database was a copy of has begun it; up to what both have
    redis.ask(&["SET", mark, "before"]);
    let ancestors = |until| vec![Ancestor { database: "before".into(), until }];
    let (older, _) = log.exporter_of(&ours, &log.database, ancestors(4));
    assert!(older.catch_up().await.expect_err("it is older").contains("of database before"));
    let (copy, _) = log.exporter_of(&ours, &log.database, ancestors(5));
    assert_eq!(copy.catch_up().await, Ok(Seq(6)));
    assert_eq!(redis.ask(&["GET", mark]), json!(log.database));
    assert_eq!(redis.entries(session)[..5], before);
    // the way out that it names
    redis.ask(&["DEL", session, mark]);
    assert_eq!(other.caught_up(&theirs).await, 9);
    assert_eq!(redis.entries(session).len(), 9);
}
