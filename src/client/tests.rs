//! Tests of the client against a scripted server.
use super::*;
use crate::protocol::{
    Code, GetDaemonStatus, ListAgents, ListParams, NoParams, Ping, PongView, StreamParams,
};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"protocol":1,"protocols":[1],"server":"bgagent 9","pid":7,"database":"db-a"}}"#;

/// A step of the server on one connection.
enum Act {
    /// Reads a line that must contain this text.
    Hear(&'static str),
    /// Writes a line.
    Say(String),
    /// Writes this without a newline.
    Half(&'static str),
}

use Act::{Half, Hear, Say};

fn say(text: &str) -> Act {
    Say(text.to_owned())
}

fn hello() -> [Act; 2] {
    [Hear(r#""method":"hello","params":{"protocols":[1],"client":"bgagent "#), say(HELLO)]
}

fn script(rest: Vec<Act>) -> Vec<Act> {
    hello().into_iter().chain(rest).collect()
}

/// Serves one connection after another by the scripts, then stops listening.
fn serve(dir: &Path, scripts: Vec<Vec<Act>>) -> (Address, JoinHandle<()>) {
    let socket = dir.join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let address = Address { socket, given: true, listener_file: dir.join("daemon.json") };
    let server = std::thread::spawn(move || {
        for script in scripts {
            let (stream, _) = listener.accept().unwrap();
            play(&stream, script);
        }
    });
    (address, server)
}

fn play(stream: &UnixStream, script: Vec<Act>) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    for act in script {
        match act {
            Hear(expected) => {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                assert!(line.contains(expected), "{line} has no {expected}");
            }
            Say(text) => writer.write_all(format!("{text}\n").as_bytes()).unwrap(),
            Half(text) => writer.write_all(text.as_bytes()).unwrap(),
        }
    }
}

fn open(address: &Address) -> Result<Connection, ClientError> {
    Connection::open(address, Timeouts::all(Duration::from_secs(5)))
}

#[test]
fn questions_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (address, server) = serve(
        dir.path(),
        vec![script(vec![
            Hear(r#"{"jsonrpc":"2.0","id":2,"method":"ping","params":{}}"#),
            say(r#"{"jsonrpc":"2.0","method":"something_new","params":{}}"#),
            say(r#"{"jsonrpc":"2.0","id":2,"result":{"now":"2026-11-24T10:00:00Z","more":1}}"#),
            Hear("list_agents"),
            say(
                r#"{"jsonrpc":"2.0","id":3,"error":{"code":6,"message":"shutting down","data":{"hint":"wait"}}}"#,
            ),
        ])],
    );
    let mut connection = open(&address).unwrap();
    assert_eq!((connection.hello().pid, connection.hello().database.as_str()), (7, "db-a"));
    let PongView { now } = connection.call::<Ping>(&NoParams {}).unwrap();
    assert_eq!(now.to_string(), "2026-11-24T10:00:00Z");
    match connection.call::<ListAgents>(&ListParams::default()) {
        Err(ClientError::Refused(error)) => {
            assert_eq!(error.kind(), Some(Code::ShuttingDown));
            assert_eq!(error.data.unwrap().hint.as_deref(), Some("wait"));
        }
        other => panic!("{other:?}"),
    }
    server.join().unwrap();
}

#[test]
fn many_questions_are_on_their_way_at_once_and_answers_come_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let pong = |id: u64, second: u64| {
        Say(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"now":"2026-11-24T10:00:0{second}Z"}}}}"#))
    };
    let (address, server) = serve(
        dir.path(),
        vec![script(vec![
            Hear(r#""id":2"#),
            Hear(r#""id":3"#),
            Hear(r#""id":4"#),
            pong(4, 4),
            say(r#"{"jsonrpc":"2.0","id":3,"error":{"code":3,"message":"no"}}"#),
            pong(2, 2),
        ])],
    );
    let mut connection = open(&address).unwrap();
    let answers = connection.call_many::<Ping>(&[NoParams {}, NoParams {}, NoParams {}]).unwrap();
    let told: Vec<Result<String, i32>> = answers
        .into_iter()
        .map(|answer| answer.map(|pong| pong.now.to_string()).map_err(|error| error.code))
        .collect();
    assert_eq!(told, [Ok("2026-11-24T10:00:02Z".into()), Err(3), Ok("2026-11-24T10:00:04Z".into())]);
    server.join().unwrap();
}

#[test]
fn without_a_common_protocol_both_sides_are_named() {
    let answers = [
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":7,"message":"this daemon speaks 2, 3; you speak 1"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"protocol":9,"protocols":[9],"server":"bgagent 9","pid":7,"database":"d"}}"#,
    ];
    for answer in answers {
        let dir = tempfile::tempdir().unwrap();
        let (address, server) = serve(dir.path(), vec![vec![Hear("hello"), say(answer)]]);
        let error = open(&address).unwrap_err();
        assert!(matches!(&error, ClientError::Protocol { ours, .. } if ours == "1"), "{error:?}");
        assert!(error.to_string().contains("daemon"), "{error}");
        server.join().unwrap();
    }
}

#[test]
fn garbage_is_called_so() {
    for garbage in
        ["HTTP/1.1 400 Bad Request", "\u{0}\u{1}", r#"{"jsonrpc":"2.0","id":1,"result":{"pid":"x"}}"#]
    {
        let dir = tempfile::tempdir().unwrap();
        let (address, server) = serve(dir.path(), vec![vec![Hear("hello"), say(garbage)]]);
        let error = open(&address).unwrap_err();
        assert!(matches!(error, ClientError::Garbled { .. }), "{error:?}");
        assert!(!error.to_string().contains('\u{0}'), "shown as escapes");
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_vanishes_in_its_answer_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let half = Half(r#"{"jsonrpc":"2.0","id":2,"result":{"pid":"#);
    let (address, server) = serve(dir.path(), vec![script(vec![Hear("get_daemon_status"), half])]);
    let mut connection = open(&address).unwrap();
    let error = connection.call::<GetDaemonStatus>(&NoParams {}).unwrap_err();
    assert!(matches!(error, ClientError::Vanished { method: "get_daemon_status" }), "{error:?}");
    server.join().unwrap();
}

#[test]
fn nobody_is_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    let address = Address {
        socket: dir.path().join("none"),
        given: false,
        listener_file: dir.path().join("daemon.json"),
    };
    let told = |address: &Address| match open(address) {
        Err(ClientError::Unreachable { listener, .. }) => listener.map(|listener| listener.pid),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&address), None);
    std::fs::write(&address.listener_file, r#"{"socket":"/nowhere/s","pid":4294967295}"#).unwrap();
    assert_eq!(told(&address), Some(u32::MAX));
    // the server closes the connection at once
    let (address, server) = serve(dir.path(), vec![vec![]]);
    let address = Address { listener_file: dir.path().join("none.json"), ..address };
    assert_eq!(told(&address), None);
    server.join().unwrap();
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    // connections fill the backlog, and are never accepted
    let _listener = UnixListener::bind(&socket).unwrap();
    let address = Address { socket, given: true, listener_file: dir.path().join("none") };
    let error = Connection::open(&address, Timeouts::all(Duration::from_millis(50))).unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
}

fn event(seq: u64) -> Act {
    Say(format!(
        r#"{{"jsonrpc":"2.0","method":"event","params":{{"subscription":5,"event":{{"seq":{seq},"zeta":1,"alpha":2}}}}}}"#
    ))
}

fn subscribed(newest: u64) -> Act {
    Say(format!(r#"{{"jsonrpc":"2.0","id":2,"result":{{"subscription":5,"newest_seq":{newest}}}}}"#))
}

fn note(method: &str, rest: &str) -> Act {
    Say(format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"subscription":5,{rest}}}}}"#))
}

fn follow(address: Address, params: StreamParams, resume: Option<Resume>) -> Follow {
    let quick = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(4) };
    Follow::start(address, Timeouts::all(Duration::from_secs(5)), quick, params, resume).unwrap()
}

fn last(n: u64) -> StreamParams {
    StreamParams { last: Some(n), follow: true, ..StreamParams::default() }
}

/// Returns the next `n` items in short form.
fn take(follow: &mut Follow, n: usize) -> Vec<String> {
    (0..n)
        .map(|_| match follow.next(None).unwrap() {
            FollowItem::Event(event) => event.seq.to_string(),
            FollowItem::Live => "live".into(),
            FollowItem::Gap { from, to } => format!("gap {from}-{to}"),
            FollowItem::Note(Note::Gone { last }) => format!("gone {last:?}"),
            FollowItem::Note(Note::Back) => "back".into(),
            FollowItem::Note(Note::OtherDatabase) => "other".into(),
            FollowItem::Note(Note::WentBack { last, shared }) => format!("went back {last} {shared}"),
            FollowItem::Note(Note::Ahead { from, newest, after }) => format!("ahead {from} {newest} {after}"),
            FollowItem::End => "end".into(),
            FollowItem::Deadline => "deadline".into(),
        })
        .collect()
}

#[test]
fn following_goes_on_after_a_restart_without_a_gap_or_a_double() {
    let dir = tempfile::tempdir().unwrap();
    let (address, server) = serve(
        dir.path(),
        vec![
            script(vec![
                Hear(r#""last":2"#),
                subscribed(11),
                event(10),
                event(11),
                note("live", r#""seq":11"#),
                event(12),
                Half(r#"{"jsonrpc":"2.0","method":"event","params":{"subscription":5,"ev"#),
            ]),
            // the server comes up and disconnects before it answers
            script(vec![Hear(r#""from":13"#)]),
            // a server that repeats itself
            script(vec![Hear(r#""from":13"#), subscribed(14), event(12), event(13), event(14)]),
        ],
    );
    let mut follow = follow(address, last(2), None);
    let told = take(&mut follow, 9);
    assert_eq!(told, ["10", "11", "live", "12", "gone Some(12)", "back", "13", "14", "gone Some(14)"]);
    assert_eq!(follow.position(), Some(Resume { database: "db-a".into(), seq: 14 }));
    server.join().unwrap();
}

#[test]
fn what_retention_removed_is_told_and_not_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let from = StreamParams { from: Some(1), follow: true, ..StreamParams::default() };
    let (address, server) = serve(
        dir.path(),
        vec![
            script(vec![Hear(r#""from":1"#), subscribed(9), note("gap", r#""from":1,"to":7"#)]),
            script(vec![Hear(r#""from":8"#), subscribed(9), event(8)]),
        ],
    );
    let mut follow = follow(address, from, None);
    assert_eq!(take(&mut follow, 4), ["gap 1-7", "gone Some(7)", "back", "8"]);
    server.join().unwrap();
}

#[test]
fn before_anything_was_shown_the_question_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (address, server) = serve(
        dir.path(),
        vec![
            script(vec![Hear(r#""last":2"#), subscribed(11)]),
            script(vec![Hear(r#""last":2"#), subscribed(11), event(10)]),
        ],
    );
    let mut follow = follow(address, last(2), None);
    assert_eq!(take(&mut follow, 3), ["gone None", "back", "10"]);
    server.join().unwrap();
}

#[test]
fn another_database_is_told_and_begins_with_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let other = HELLO.replace("db-a", "db-b");
    let (address, server) = serve(
        dir.path(),
        vec![
            script(vec![Hear("stream_agent_events"), subscribed(11), event(11)]),
            vec![
                Hear("hello"),
                Say(other.clone()),
                Hear(r#""params":{"from":1,"follow":true}"#),
                subscribed(3),
                event(4),
            ],
            vec![Hear("hello"), Say(other), Hear(r#""from":5"#), subscribed(4), event(5)],
        ],
    );
    let mut follow = follow(address, last(2), None);
    let told = take(&mut follow, 7);
    assert_eq!(told, ["11", "gone Some(11)", "other", "4", "gone Some(4)", "back", "5"]);
    server.join().unwrap();
}

#[test]
fn a_cursor_is_taken_up_in_its_own_database_only() {
    let dir = tempfile::tempdir().unwrap();
    let (address, server) = serve(
        dir.path(),
        vec![
            script(vec![Hear(r#""from":8"#), subscribed(9), event(8)]),
            script(vec![Hear(r#""params":{"from":1,"follow":true}"#), subscribed(9), event(10)]),
        ],
    );
    let at = |database: &str| Some(Resume { database: database.into(), seq: 7 });
    assert_eq!(take(&mut follow(address.clone(), last(2), at("db-a")), 1), ["8"]);
    assert_eq!(take(&mut follow(address, last(2), at("db-z")), 2), ["other", "10"]);
    server.join().unwrap();
}

/// The database is a copy of the one that was followed: shared events were seen, those that the copy added were not.
#[test]
fn behind_an_older_copy_it_goes_on_after_what_both_have() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |until: u64| {
        let came_from = format!(r#""database":"db-b","ancestors":[{{"database":"db-a","until":{until}}}]"#);
        HELLO.replace(r#""database":"db-a""#, &came_from)
    };
    let at = |seq| Some(Resume { database: "db-a".into(), seq });
    let (address, server) = serve(
        dir.path(),
        vec![
            vec![Hear("hello"), Say(copy(5)), Hear(r#""from":6,"follow""#), subscribed(8), event(6)],
            vec![Hear("hello"), Say(copy(5)), Hear(r#""from":4,"follow""#), subscribed(8), event(4)],
        ],
    );
    assert_eq!(take(&mut follow(address.clone(), last(2), at(40)), 2), ["went back 40 5", "6"]);
    assert_eq!(take(&mut follow(address, last(2), at(3)), 1), ["4"], "nothing that was seen is lost");
    server.join().unwrap();
}

/// The server names no ancestors: a position beyond the newest event is replaced by one that it chooses.
#[test]
fn a_position_beyond_the_newest_event_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let ahead = r#"{"jsonrpc":"2.0","id":2,"result":{"subscription":5,"newest_seq":5,"instead_after":3}}"#;
    let (address, server) = serve(
        dir.path(),
        vec![script(vec![Hear(r#""from":41,"resume":true"#), Say(ahead.into()), event(4)])],
    );
    let at = Some(Resume { database: "db-a".into(), seq: 40 });
    assert_eq!(take(&mut follow(address, last(2), at), 2), ["ahead 41 5 3", "4"]);
    server.join().unwrap();
}

#[test]
fn what_is_not_followed_ends_and_does_not_wait() {
    let dir = tempfile::tempdir().unwrap();
    let params = || StreamParams { last: Some(2), follow: false, ..StreamParams::default() };
    let (address, server) = serve(
        dir.path(),
        vec![
            script(vec![Hear(r#""follow":false"#), subscribed(9), event(9), note("end", r#""seq":9"#)]),
            script(vec![Hear(r#""follow":false"#), subscribed(9), event(9)]),
        ],
    );
    assert_eq!(take(&mut follow(address.clone(), params(), None), 2), ["9", "end"]);
    let mut cut = follow(address, params(), None);
    assert_eq!(take(&mut cut, 1), ["9"]);
    assert!(matches!(cut.next(None), Err(ClientError::Vanished { .. })));
    server.join().unwrap();
}

#[test]
fn an_event_is_handed_on_as_it_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (address, server) = serve(dir.path(), vec![script(vec![Hear("stream"), subscribed(9), event(9)])]);
    match follow(address, last(1), None).next(None).unwrap() {
        FollowItem::Event(event) => assert_eq!(event.text, r#"{"seq":9,"zeta":1,"alpha":2}"#),
        other => panic!("{other:?}"),
    }
    server.join().unwrap();
}

#[test]
fn a_deadline_ends_the_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (address, server) = serve(dir.path(), vec![script(vec![Hear("stream"), subscribed(9), Hear("")])]);
    let mut follow = follow(address, last(1), None);
    let soon = std::time::Instant::now() + Duration::from_millis(20);
    assert!(matches!(follow.next(Some(soon)).unwrap(), FollowItem::Deadline));
    drop(follow);
    server.join().unwrap();
}
