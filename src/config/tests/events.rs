//! Where else events go.
use super::read;
use crate::domain::{RedisAddress, RedisSpec, Rights, SecretRef, StreamFormat, StreamFrom, TextOrSecret};

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
            (&spec.address, spec.database, spec.place().as_str()),
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
    assert_eq!((spec.username.as_ref(), spec.password.as_ref()), (None, None));
    let spec = redis(
        "url = \"rediss://h\"\nstream = \"s\"\nmaxlen = 5\nformat = \"omnicoreagent\"\nfrom = 7\nusername = \"me\"\n\
         password = { env = \"P\" }",
    );
    let given = (spec.stream.as_str(), spec.maxlen, spec.format, spec.from);
    assert_eq!(given, ("s", 5, StreamFormat::OmniCoreAgent, StreamFrom::Event(7)));
    assert_eq!(spec.username, Some(TextOrSecret::Text("me".into())));
    assert_eq!(spec.password, Some(SecretRef::Env("P".into())));
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
