//! Servers of Redis, and what they are for.
use super::read;
use crate::domain::{
    MemoryStore, RedisAddress, RedisSpec, Rights, SecretRef, StreamFormat, StreamFrom, TextOrSecret,
};

fn redis(keys: &str) -> RedisSpec {
    let loaded = read(&format!("[events.redis]\n{keys}\n"));
    let fleet = loaded.unwrap_or_else(|rejected| panic!("{keys}: {:?}", rejected.diagnostics)).fleet;
    (**fleet.redis.as_ref().expect("a stream")).clone()
}

#[test]
fn addresses_are_understood() {
    let host = |host: &str, port, tls| RedisAddress::Host { host: host.into(), port, tls };
    for (url, address, database, place) in [
        ("redis://localhost", host("localhost", 6379, false), 0, "redis://localhost:6379/0"),
        ("redis://localhost/", host("localhost", 6379, false), 0, "redis://localhost:6379/0"),
        (
            "rediss://cache.internal:6380/12",
            host("cache.internal", 6380, true),
            12,
            "rediss://cache.internal:6380/12",
        ),
        ("redis://[::1]:7000/1", host("::1", 7000, false), 1, "redis://[::1]:7000/1"),
        ("redis://127.0.0.1:1/0", host("127.0.0.1", 1, false), 0, "redis://127.0.0.1:1/0"),
        (
            "unix:///run/redis.sock",
            RedisAddress::Socket("/run/redis.sock".into()),
            0,
            "unix:///run/redis.sock?db=0",
        ),
        ("unix:///r.sock?db=3", RedisAddress::Socket("/r.sock".into()), 3, "unix:///r.sock?db=3"),
    ] {
        let spec = redis(&format!("url = \"{url}\""));
        assert_eq!(
            (&spec.server.address, spec.server.database, spec.server.place().as_str()),
            (&address, database, place),
            "{url}"
        );
    }
}

#[test]
fn keys_have_their_defaults_and_their_values() {
    let spec = redis("url = \"redis://localhost\"");
    let given = (spec.stream.as_str(), spec.maxlen, spec.format, spec.from);
    assert_eq!(given, ("bgagent:events", 1_000_000, StreamFormat::Bgagent, StreamFrom::Now));
    assert_eq!((spec.server.username.as_ref(), spec.server.password.as_ref()), (None, None));
    let spec = redis(
        "url = \"rediss://h\"\nstream = \"s\"\nmaxlen = 5\nformat = \"omnicoreagent\"\nfrom = 7\nusername = \"me\"\n\
         password = { env = \"P\" }",
    );
    let given = (spec.stream.as_str(), spec.maxlen, spec.format, spec.from);
    assert_eq!(given, ("s", 5, StreamFormat::OmniCoreAgent, StreamFrom::Event(7)));
    assert_eq!(spec.server.username, Some(TextOrSecret::Text("me".into())));
    assert_eq!(spec.server.password, Some(SecretRef::Env("P".into())));
    assert_eq!(spec.mark(), "s:fleet");
}

#[test]
fn each_key_is_another_configuration_and_another_right() {
    let base = "url = \"redis://localhost/0\"\n";
    let of = |keys: &str| read(&format!("[events.redis]\n{keys}")).expect("it is valid").fleet;
    let none = read("").expect("it is valid").fleet;
    assert_eq!(
        Rights::of(&of(base)).beyond(&Rights::of(&none)),
        [
            "log is copied to the stream bgagent:events of Redis at redis://localhost:6379/0, in the format bgagent"
        ]
    );
    assert!(Rights::of(&none).beyond(&Rights::of(&of(base))).is_empty());
    let mut seen = vec![none.hash, of(base).hash];
    for (other, is_right) in [
        ("url = \"redis://localhost/1\"\n".to_owned(), true),
        ("url = \"rediss://localhost/0\"\n".to_owned(), true),
        (format!("{base}stream = \"s\"\n"), true),
        (format!("{base}format = \"omnicoreagent\"\n"), true),
        (format!("{base}password = {{ env = \"P\" }}\n"), true),
        (format!("{base}username = \"me\"\npassword = {{ env = \"P\" }}\n"), true),
        (format!("{base}maxlen = 7\n"), false),
        (format!("{base}from = 7\n"), false),
    ] {
        let fleet = of(&other);
        assert!(!seen.contains(&fleet.hash), "{other}");
        seen.push(fleet.hash);
        let wider = Rights::of(&fleet).beyond(&Rights::of(&of(base)));
        assert_eq!(!wider.is_empty(), is_right, "{other}: {wider:?}");
    }
}

#[test]
fn memory_in_redis_is_a_table_and_a_word_of_agents() {
    let agent = |memory: &str| {
        format!(
            "[models.m]\nprovider = \"anthropic\"\nmodel = \"x\"\n[agents.a]\nquery = \"q\"\nmodel = \"m\"\nmemory = {memory}\n"
        )
    };
    let there = agent("{ mode = \"session\", store = \"redis\" }");
    let table = "[memory.redis]\nurl = \"redis://localhost/2\"\n";
    let loaded = read(&format!("{there}{table}")).expect("it is valid").fleet;
    let spec = loaded.memory.as_ref().expect("a place");
    assert_eq!(
        (spec.server.place().as_str(), spec.prefix.as_str()),
        ("redis://localhost:6379/2", "bgagent:memory")
    );
    assert_eq!(loaded.agents[0].memory_store(), MemoryStore::Redis);
    let here = read(&format!("{}{table}", agent("{ mode = \"session\" }"))).expect("it is valid").fleet;
    assert_ne!(here.agents[0].config_hash, loaded.agents[0].config_hash);
    let plain = read(&agent("\"session\"")).expect("it is valid").fleet;
    assert_eq!(here.agents[0].config_hash, plain.agents[0].config_hash, "the default says nothing");
    assert_ne!(here.hash, plain.hash);
    let wider = Rights::of(&loaded).beyond(&Rights::of(&plain));
    assert_eq!(
        wider,
        [
            "memory keeps sessions and notes of agents below bgagent:memory in Redis at redis://localhost:6379/2, and believes what is there"
        ]
    );
    for (text, said) in [
        (there.clone(), "there is no [memory.redis] that says where"),
        (
            format!("{}{table}", agent("{ mode = \"last_result\", store = \"redis\" }")),
            "is for `mode = \"session\"`",
        ),
        (format!("{there}[memory.redis]\nprefix = \"p\"\n"), "[memory.redis] needs `url`"),
        (format!("{there}{table}prefix = \"a b\"\n"), "`prefix` must be a name without spaces"),
        (format!("{there}[memory.redis]\nurl = \"http://h\"\n"), "must begin with redis://"),
    ] {
        let rejected = read(&text).expect_err(&text);
        let all: Vec<String> = rejected.diagnostics.iter().map(|one| one.message.clone()).collect();
        assert!(all.iter().any(|one| one.contains(said)), "{text}: {all:?}");
    }
}
