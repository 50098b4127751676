//! Tests of the proxy, as a program within walls has it: by a listener and a key.
use super::*;
use crate::net::GuardError;
use crate::net::testing::{Server, answer};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A proxy for these targets, and where it answers.
fn proxy(targets: &[&str]) -> (Pass, SocketAddr) {
    let targets: Vec<_> = targets.iter().map(|text| NetTarget::parse(text).unwrap()).collect();
    let owner = ProgramOwner { table: "mcp.files".into(), ..ProgramOwner::default() };
    let pass = Pass::new(&targets, owner, Path::new("/usr/bin/curl"));
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    pass.serve(std::future::ready(Some(listener)));
    (pass, address)
}

/// All that comes back for these lines, with the key among them.
async fn asked(pass: &Pass, proxy: SocketAddr, lines: &str) -> String {
    let text =
        format!("{lines}\r\nProxy-Authorization: {}\r\nConnection: close\r\n\r\n", pass.state.credentials);
    said(proxy, &text).await
}

async fn said(proxy: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn what_is_listed_is_reached_in_the_clear_and_through_a_tunnel() {
    let server = Server::start(|_| answer("200 OK", &[("te", "x"), ("x-own", "1")], "here")).await;
    let place = server.address.to_string();
    let (pass, address) = proxy(&[&place]);
    let lines = format!(
        "POST http://{place}/a/b?c=d HTTP/1.1\r\nHost: elsewhere.example\r\nContent-Length: 2\r\nTE: trailers\r\nX-Hop: 1\r\nX-Kept: 1\r\nConnection: x-hop\r\n"
    );
    let text = format!("{lines}Proxy-Authorization: {}\r\n\r\nhi", pass.state.credentials);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut heard = vec![0; 4096];
    let count = stream.read(&mut heard).await.unwrap();
    let heard = String::from_utf8_lossy(&heard[..count]);
    assert!(heard.starts_with("HTTP/1.1 200 OK") && heard.contains("x-own: 1"), "{heard}");
    assert!(!heard.contains("te: x"), "{heard}");
    let came = server.asked().concat().to_ascii_lowercase();
    assert!(came.starts_with("post /a/b?c=d http/1.1\r\n") && came.ends_with("\r\n\r\nhi"), "{came}");
    assert!(came.contains(&format!("host: {place}\r\n")) && came.contains("x-kept: 1"), "{came}");
    for gone in ["elsewhere", "proxy-authorization", "x-hop", "trailers"] {
        assert!(!came.contains(gone), "{gone}: {came}");
    }
    let through = format!(
        "CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nProxy-Authorization: {}\r\n\r\nGET /tunnel HTTP/1.1\r\n\r\n",
        pass.state.credentials
    );
    let heard = said(address, &through).await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with("here"), "{heard}");
    assert!(server.asked().concat().contains("GET /tunnel"));
    assert_eq!(pass.connections(), BTreeMap::from([(place, 2)]));
    assert!(pass.refused().is_empty());
}

#[tokio::test]
async fn what_is_not_listed_is_refused_with_words_and_reported_once() {
    let server = Server::start(|_| answer("200 OK", &[], "here")).await;
    let port = server.address.port();
    let (pass, address) = proxy(&["api.example.com:443", "localhost:1"]);
    let mut reports = denials();
    for _ in 0..2 {
        for target in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "api.example.com:80".into()]
        {
            for lines in [format!("CONNECT {target} HTTP/1.1"), format!("GET http://{target}/ HTTP/1.1")] {
                let heard = asked(&pass, address, &lines).await;
                assert!(heard.starts_with("HTTP/1.1 403 "), "{heard}");
                assert!(
                    heard.contains(&format!("add \"{target}\" to `net`")) && heard.contains("mcp.files"),
                    "{heard}"
                );
            }
        }
    }
    assert_eq!(server.asked(), Vec::<String>::new());
    assert_eq!(pass.refused().len(), 3);
    for odd in ["0x7f.1:80", "127.0.0.1.:80", "169.254.169.254:80"] {
        let heard = asked(&pass, address, &format!("CONNECT {odd} HTTP/1.1")).await;
        assert!(heard.starts_with("HTTP/1.1 403 ") && !heard.contains("add \""), "{odd}: {heard}");
    }
    let long = format!("CONNECT {}:443 HTTP/1.1", "a.".repeat(10_000));
    assert!(asked(&pass, address, &long).await.starts_with("HTTP/1.1 403 "));
    assert!(pass.refused().iter().all(|told| told.len() <= 1000), "what is kept is bounded");
    // other tests report here as well
    let mut own = 0;
    while let Ok(denial) = reports.try_recv() {
        own +=
            usize::from(denial.place.ends_with(&format!(":{port}")) || denial.place == "api.example.com:80");
        assert_eq!(denial.program, "curl");
    }
    assert_eq!(own, 3);
}

#[tokio::test]
async fn who_has_not_the_key_gets_nothing() {
    let server = Server::start(|_| answer("200 OK", &[], "here")).await;
    let (pass, address) = proxy(&[&server.address.to_string()]);
    let (other, _) = proxy(&[&server.address.to_string()]);
    let target = server.address;
    for key in [
        "",
        "Proxy-Authorization: Basic Og==\r\n",
        &format!("Proxy-Authorization: {}\r\n", other.state.credentials),
    ] {
        for line in [format!("GET http://{target}/"), format!("CONNECT {target}")] {
            let heard =
                said(address, &format!("{line} HTTP/1.1\r\nHost: x\r\n{key}Connection: close\r\n\r\n")).await;
            assert!(
                heard.starts_with("HTTP/1.1 407 ") && heard.contains("proxy-authenticate: Basic"),
                "{heard}"
            );
        }
    }
    assert!(server.asked().is_empty() && pass.connections().is_empty());
}

#[tokio::test]
async fn what_is_no_request_to_a_proxy_is_told_so() {
    let (pass, address) = proxy(&["127.0.0.1:9"]);
    for lines in [
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:9",
        "GET https://127.0.0.1:9/ HTTP/1.1",
        "CONNECT nowhere HTTP/1.1",
        "CONNECT 127.0.0.1:99999 HTTP/1.1",
        "CONNECT http://127.0.0.1:9/ HTTP/1.1",
        "CONNECT user@127.0.0.1:9 HTTP/1.1",
        "GET http://elsewhere:80@127.0.0.1:9/ HTTP/1.1",
    ] {
        let heard = asked(&pass, address, lines).await;
        assert!(heard.starts_with("HTTP/1.1 400 "), "{lines}: {heard}");
    }
    let heard = asked(&pass, address, "CONNECT 127.0.0.1:9 HTTP/1.1").await;
    assert!(heard.starts_with("HTTP/1.1 502 ") && heard.contains("can't be reached"), "{heard}");
}

#[test]
fn what_would_allow_a_place_is_said_by_why_it_was_refused() {
    let host = || "a.example".to_owned();
    let at = |address: &str| GuardError::Private { host: host(), address: address.parse().unwrap() };
    for (place, why, entry) in [
        ("a.example:443", GuardError::Host { host: host() }, Some("a.example:443")),
        ("a.example:22", GuardError::Port { host: host(), port: 22 }, Some("a.example:22")),
        ("a.example:443", at("10.1.2.3"), Some("a.example:443=10.1.2.3/32")),
        ("a.example:443", at("169.254.169.254"), None),
        ("169.254.169.254:80", GuardError::Host { host: "169.254.169.254".into() }, None),
        ("0x7f.1:80", GuardError::Address("write the address as 127.0.0.1".into()), None),
    ] {
        assert_eq!(state::would_allow(place, &why).as_deref(), entry, "{place} {why:?}");
    }
}

#[tokio::test]
async fn connections_end_with_the_pass() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = silent.local_addr().unwrap();
    let (pass, address) = proxy(&[&place.to_string()]);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("CONNECT {place} HTTP/1.1\r\nProxy-Authorization: {}\r\n\r\n", pass.state.credentials);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut heard = [0; 256];
    let count = stream.read(&mut heard).await.unwrap();
    assert!(heard[..count].starts_with(b"HTTP/1.1 200"));
    let (mut other, _) = silent.accept().await.unwrap();
    drop(pass);
    for end in [&mut stream, &mut other] {
        let ended = end.read(&mut heard).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    assert!(TcpStream::connect(address).await.is_err(), "nobody answers there any more");
}

#[test]
fn what_the_program_listens_on_itself_is_reached_directly() {
    let direct = |targets: &[&str]| {
        let targets: Vec<_> = targets.iter().map(|text| NetTarget::parse(text).unwrap()).collect();
        let pass = Pass::new(&targets, ProgramOwner::default(), Path::new("x"));
        pass.environment().into_iter().find(|(name, _)| *name == "NO_PROXY").unwrap().1
    };
    assert_eq!(direct(&["api.example.com"]), "localhost,127.0.0.1,::1");
    assert_eq!(direct(&["api.example.com", "127.0.0.1:8080"]), "", "that is the daemon's machine");
}
