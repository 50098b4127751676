//! What is told of the fleet to programs that watch it.
use super::read;
use crate::domain::{Fleet, Rights};

fn fleet(text: &str) -> Fleet {
    read(text).unwrap_or_else(|rejected| panic!("{text}: {:?}", rejected.diagnostics)).fleet
}

#[test]
fn nothing_is_told_unless_the_configuration_says_where() {
    assert_eq!((fleet("").telemetry, fleet("[telemetry]\n").telemetry), (None, None));
    let told = fleet("[telemetry]\nprometheus = \"[::1]:9464\"\n").telemetry.expect("metrics");
    assert_eq!(told.prometheus.as_deref(), Some("[::1]:9464"));
}

#[test]
fn each_key_is_another_configuration_and_a_right() {
    let none = fleet("");
    let metrics = fleet("[telemetry]\nprometheus = \"127.0.0.1:9464\"\n");
    assert_ne!(none.hash, metrics.hash);
    assert_eq!(
        Rights::of(&metrics).beyond(&Rights::of(&none)),
        ["telemetry lets metrics be read at 127.0.0.1:9464"]
    );
    let elsewhere = fleet("[telemetry]\nprometheus = \"0.0.0.0:9464\"\n");
    assert_eq!(Rights::of(&elsewhere).beyond(&Rights::of(&metrics)).len(), 1);
    assert!(Rights::of(&none).beyond(&Rights::of(&metrics)).is_empty());
}
