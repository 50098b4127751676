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
fn traces_have_no_content_unless_it_is_asked_for() {
    let told = |text: &str| (*fleet(text).telemetry.expect("traces")).clone();
    let traces = told("[telemetry]\notlp = \"http://127.0.0.1:4318\"\n");
    assert_eq!((traces.otlp.as_deref(), traces.content), (Some("http://127.0.0.1:4318"), false));
    assert!(told("[telemetry]\notlp = \"http://127.0.0.1:4318\"\ncontent = true\n").content);
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
    let traces = fleet("[telemetry]\notlp = \"http://127.0.0.1:4318\"\n");
    let content = fleet("[telemetry]\notlp = \"http://127.0.0.1:4318\"\ncontent = true\n");
    assert_eq!(
        Rights::of(&traces).beyond(&Rights::of(&none)),
        ["telemetry sends traces of runs to http://127.0.0.1:4318"]
    );
    assert_eq!(Rights::of(&content).beyond(&Rights::of(&traces)).len(), 1);
    assert_ne!(traces.hash, content.hash);
    let keyed = fleet(
        "[telemetry]\notlp = \"http://127.0.0.1:4318\"\nheaders = { Authorization = { env = \"TOKEN\" } }\n",
    );
    assert_ne!(traces.hash, keyed.hash);
    assert_eq!(
        Rights::of(&keyed).beyond(&Rights::of(&traces)),
        ["telemetry is sent the header Authorization: the secret in the variable TOKEN"]
    );
    let elsewhere = fleet("[telemetry]\nprometheus = \"0.0.0.0:9464\"\n");
    assert_eq!(Rights::of(&elsewhere).beyond(&Rights::of(&metrics)).len(), 1);
    assert!(Rights::of(&none).beyond(&Rights::of(&metrics)).is_empty());
}
