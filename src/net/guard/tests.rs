//! Tests of the guard: hostile addresses in many forms never reach a canary on the loopback interface.
use super::*;
use crate::net::fetch::send_by;
use crate::net::testing::{Server, answer};
use crate::net::{Bounds, Fetched, Request};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(60), bytes: 1 << 20 };

fn patterns(texts: &[&str]) -> Vec<HostPattern> {
    texts.iter().map(|text| HostPattern::parse(text).unwrap()).collect()
}

fn private(texts: &[&str]) -> Vec<PrivateHost> {
    texts.iter().map(|text| PrivateHost::parse(text).unwrap()).collect()
}

/// Each name leads to these addresses; the next lookup to the next of them.
fn dialer(
    answers: &'static [&'static [&'static str]],
    is_public: fn(IpAddr) -> bool,
) -> (Dialer, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    let lookup = move |_: String, _: u16| -> Found {
        let turn = seen.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let found = answers[turn].iter().map(|text| text.parse().unwrap()).collect();
        Box::pin(std::future::ready(Ok(found)))
    };
    (Dialer { lookup: Arc::new(lookup), is_public }, count)
}

/// All forms of an address that some parser or other understands.
fn forms(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let bits = address.to_bits();
    let low = bits & 0xff_ffff;
    let dotted = address.to_string();
    let wide = |zero: u32| -> String {
        let digit = |c: char| c.to_digit(10).map_or(c, |n| char::from_u32(zero + n).unwrap());
        dotted.chars().map(digit).collect()
    };
    let (high, lower) = (bits >> 16, bits & 0xffff);
    vec![
        dotted.clone(),
        format!("{dotted}."),
        format!("{bits}"),
        format!("{bits:#x}"),
        format!("0X{bits:X}"),
        format!("0{bits:o}"),
        format!("00000{bits:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("000{a:o}.000{b:o}.000{c:o}.000{d:o}"),
        format!("{a}.{low}"),
        format!("{a:#x}.{low}"),
        format!("0{a:o}.{low:#x}"),
        format!("{a}.{b}.{}", bits & 0xffff),
        format!("{a}.{b:#x}.{:#x}", bits & 0xffff),
        format!("{a:#x}.0{b:o}.{c}.{d}"),
        dotted.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        dotted.replace('.', "%2e"),
        dotted.replace('.', "。"),
        dotted.replace('.', "．"),
        dotted.replace('.', "｡"),
        wide(0xff10),
        wide(0x1d7d8),
        wide(0x1d7f6),
        dotted.replace('1', "①").replace('2', "②"),
        format!("{dotted}\u{200b}"),
        format!("{dotted}%00"),
        format!("{dotted}\0.example.com"),
        format!("{dotted}%20"),
        format!("[::ffff:{dotted}]"),
        format!("[::FFFF:{high:x}:{lower:x}]"),
        format!("[0:0:0:0:0:ffff:{high:x}:{lower:x}]"),
        format!("[::{dotted}]"),
        format!("[::{high:x}:{lower:x}]"),
        format!("[::ffff:0:{dotted}]"),
        format!("[2002:{high:x}:{lower:x}::]"),
        format!("[2002:{high:x}:{lower:x}::1]"),
        format!("[64:ff9b::{dotted}]"),
        format!("[64:ff9b::{high:x}:{lower:x}]"),
        format!("[64:ff9b:1::{dotted}]"),
        format!("[2001:0:{high:x}:{lower:x}::]"),
        format!("[2001::{:x}:{:x}]", !high & 0xffff, !lower & 0xffff),
        format!("[fe80::5efe:{dotted}]"),
        format!("[::ffff:{dotted}%25lo]"),
        format!("example.com@{dotted}"),
        format!("example.com:80@{dotted}"),
        format!("user:pass@{dotted}"),
        format!("@{dotted}"),
        format!(":@{dotted}"),
        format!("a@b@{dotted}"),
        format!("example.com%40{dotted}"),
        format!("example.com\\@{dotted}"),
        format!("{dotted}\\@example.com"),
        format!("{dotted}\\.example.com"),
        format!("example.com\t@{dotted}"),
        format!("{dotted}\n.example.com"),
        format!("{dotted}.nip.io"),
        format!("{}.example.com", dotted.replace('.', "-")),
    ]
}

/// Hostile addresses; `PORT` stands for that of the canary.
fn hostile() -> Vec<String> {
    let mut all = Vec::new();
    for address in [
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "0.0.0.0",
    ] {
        for form in forms(address.parse().unwrap()) {
            all.push(format!("http://{form}:PORT/"));
            all.push(format!("http://{form}/"));
        }
    }
    for form in forms(Ipv4Addr::LOCALHOST) {
        all.extend([
            format!("https://{form}:PORT/"),
            format!("HTTP://{form}:PORT"),
            format!("http:/{form}:PORT/"),
            format!("http:{form}:PORT/"),
            format!("http:///{form}:PORT/"),
            format!("http:\\\\{form}:PORT/"),
            format!("//{form}:PORT/"),
            format!(" http://{form}:PORT/"),
            format!("http://{form}:PORT?x"),
            format!("http://{form}:PORT#x"),
            format!("http://{form}:0PORT/"),
            format!("ftp://{form}:PORT/"),
            format!("ws://{form}:PORT/"),
        ]);
    }
    for host in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "localhost..",
        "a.localhost",
        "ⓛocalhost",
        "ｌocalhost",
        "localhoſt",
        "loc%61lhost",
        "localhost%00.example.com",
        "localhost\u{ad}",
        "localhost.localdomain",
        "ip6-localhost",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[0000::0001]",
        "[::1%lo]",
        "[::1%25lo]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fec0::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[100::1]",
        "[5f00::1]",
        "[3fff::1]",
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "0",
        "0x0",
        "00",
        "127.1",
        "0177.1",
        "metadata.google.internal",
        "metadata",
        "rebind.example.com",
        "inner.example.com",
        "::1",
        "[::1",
        "::1]",
        "",
    ] {
        all.push(format!("http://{host}:PORT/"));
        all.push(format!("http://{host}/"));
    }
    all.extend(
        [
            "",
            "http://",
            "http:",
            "https://",
            "/",
            "localhost:PORT",
            "127.0.0.1:PORT/",
            "file:///etc/passwd",
            "gopher://127.0.0.1:PORT/_x",
            "data:text/plain,x",
            "javascript:alert(1)",
            "unix:/run/x.sock",
            "http+unix://%2Frun%2Fx.sock/",
            "jar:http://127.0.0.1:PORT/!/",
            "view-source:http://127.0.0.1:PORT/",
            "http://example.com:0/",
            "http://example.com:99999/",
            "http://example.com:-1/",
            "http://example.com:PORT:80/",
            "http://exa mple.com/",
            "http://example.com/a b",
            "http://example.com/\r\nHost: x",
            "http://example.com/\0",
            "http://example.com\\..\\x",
            "http://a..example.com/",
            "http://.example.com/",
            "http://example.com./",
        ]
        .map(str::to_owned),
    );
    all
}

/// The configuration that is kindest to this address: it lists the host as the parser reads it.
fn kindest(text: &str) -> Allow {
    let Ok(url) = Url::parse(text.trim()) else { return Allow::public() };
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    match HostPattern::parse(&format!("{host}:{port}")) {
        Ok(pattern) => Allow::hosts(vec![pattern]),
        Err(_) => Allow::public(),
    }
}

#[tokio::test]
async fn hostile_addresses_never_reach_the_canary() {
    let canary = Server::start(|_| answer("200 OK", &[], "caught")).await;
    let port = canary.address.port().to_string();
    let table: std::collections::BTreeSet<_> =
        hostile().into_iter().map(|text| text.replace("PORT", &port)).collect();
    assert!(table.len() >= 500, "{}", table.len());
    // Whatever has a name is at the canary.
    let (dialer, _) = dialer(&[&["127.0.0.1"]], is_public);
    for text in &table {
        for allow in [Allow::public(), kindest(text), Allow::hosts(Vec::new())] {
            let request = Request { url: text.clone(), ..Request::default() };
            let result = send_by(&dialer, request, &allow, BOUNDS).await;
            assert!(result.is_err(), "{text:?} with {allow:?}");
        }
    }
    // The same by a redirect of a server that is allowed.
    for chunk in
        table.iter().filter(|text| !text.contains(['\r', '\n', '\0'])).collect::<Vec<_>>().chunks(100)
    {
        let list: Vec<String> = chunk.iter().map(|text| (*text).clone()).collect();
        let server = Server::start(move |line| {
            let at: usize = line.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            answer("302 Found", &[("location", &list[at])], "")
        })
        .await;
        let allow = Allow::public().and_private(private(&[&server.address.to_string()]));
        for (at, text) in chunk.iter().enumerate() {
            let request = Request { url: server.url(&format!("/{at}")), ..Request::default() };
            let result = send_by(&dialer, request, &allow, BOUNDS).await;
            // Those without a scheme are paths of the server itself.
            let stays = Url::parse(&server.url("/")).unwrap().join(text).is_ok_and(|to| {
                to.port() == Some(server.address.port()) && to.host_str() == Some("127.0.0.1")
            });
            assert!(result.is_err() || stays, "{text:?}: {result:?}");
        }
    }
    assert_eq!(canary.asked(), Vec::<String>::new());

    // A guard that takes the loopback interface for public lets the canary be caught.
    let broken = Dialer { is_public: |address| address.is_loopback() && address.is_ipv4(), ..dialer };
    for text in table.iter().filter(|text| text.starts_with("http://") && text.contains(&port)) {
        let request = Request { url: text.clone(), ..Request::default() };
        let _ = send_by(&broken, request, &kindest(text), Bounds { time: Duration::from_secs(5), ..BOUNDS })
            .await;
    }
    assert!(canary.asked().len() >= 5, "{:?}", canary.asked());
}

#[test]
fn good_addresses_pass() {
    let hosts = [
        "api.github.com",
        "*.example.org",
        "example.org:8443",
        "8.8.8.8",
        "xn--bcher-kva.example",
        "[2606:4700::1111]:8080",
    ];
    let listed = Allow::hosts(patterns(&hosts)).and_private(private(&[
        "10.1.2.3",
        "10.1.2.3:8080",
        "nas.local",
        "::1",
    ]));
    let good = [
        "https://api.github.com",
        "https://api.github.com/",
        "https://api.github.com/repos/a/b?x=1#y",
        "http://api.github.com/",
        "https://API.GitHub.com/",
        "HTTPS://api.github.com/",
        "https://api.github.com:443/",
        "http://api.github.com:80/",
        "http://api.github.com:443/",
        "https://api.github.com/%7Euser",
        "https://api.github.com/a%20b",
        "https://api.github.com/@user",
        "https://api.github.com/?q=a@b",
        "https://api.github.com/#a@b",
        "https://api.github.com/ü",
        "https://api.github.com/?q=日本",
        "https://api.github.com/a/../b",
        "https://api.github.com/a//b",
        "https://api.github.com/?next=http://127.0.0.1/",
        "https://a.example.org/",
        "https://b.a.example.org/",
        "https://x-y.example.org/",
        "https://x_y.example.org/",
        "https://1.example.org/",
        "https://example.org:8443/",
        "http://example.org:8443/",
        "http://8.8.8.8/",
        "https://8.8.8.8/",
        "https://bücher.example/",
        "https://xn--bcher-kva.example/",
        "http://[2606:4700::1111]:8080/",
        "http://[2606:4700:0:0:0:0:0:1111]:8080/",
        "http://10.1.2.3/",
        "http://10.1.2.3:8080/",
        "https://10.1.2.3/",
        "http://nas.local/",
        "https://nas.local/x",
        "http://[::1]/",
        "http://[0:0:0:0:0:0:0:1]/",
    ];
    let public = [
        "https://www.rust-lang.org/",
        "https://de.wikipedia.org/wiki/Käse",
        "https://news.ycombinator.com/item?id=1",
        "http://example.com/",
        "https://localhost.example.com/",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::1111]/",
        "https://xn--fsq.com/",
        "https://例.com/",
        "https://müller.de/straße",
        "https://faß.de/",
        "https://a.b.c.d.e.example/",
        "https://example.museum/",
        "https://3com.com/",
        "https://0x7f.example/",
    ];
    assert!(good.len() + public.len() >= 50);
    for text in good {
        check(text, &listed).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    for text in public {
        check(text, &Allow::public()).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    let tls = Allow::hosts(patterns(&["a.example"])).and_private(private(&["nas.local"])).https_only(true);
    assert!(check("https://a.example/", &tls).is_ok() && check("http://nas.local/", &tls).is_ok());
    assert!(matches!(check("http://a.example/", &tls), Err(GuardError::Address(_))));
}

#[test]
fn says_what_is_wrong() {
    let allow = Allow::hosts(patterns(&["example.org", "*.example.org:8443"]));
    for (text, says) in [
        ("example.org", "must begin with http://"),
        ("http://a@example.org/", "must not name a user"),
        ("http://example.com/", "the host example.com is not allowed"),
        ("http://example.org:8080/", "listed as \"example.org:8080\""),
        ("http://a.example.org/", "port 80 of a.example.org"),
        ("http://example.org/a b", "percent-encoded"),
        ("http://0x8080808/", "write the address as 8.8.8.8"),
        ("http://ｅxample.org/", "write the host as example.org"),
        ("http://example.org./", "end with a dot"),
    ] {
        let error = check(text, &allow).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

/// In these tests 127.0.0.2 plays the public internet.
fn pretend(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)) || is_public(address)
}

async fn get(dialer: &Dialer, url: &str, allow: &Allow) -> Result<Fetched, GuardError> {
    let request = Request { url: url.into(), ..Request::default() };
    send_by(dialer, request, allow, BOUNDS).await.map_err(|unanswered| unanswered.error)
}

#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    let canary = Server::start(|_| answer("200 OK", &[], "caught")).await;
    let port = canary.address.port();
    let public = Server::at(&format!("127.0.0.2:{port}"), |line| match line {
        line if line.starts_with("GET /again") => answer("302 Found", &[("location", "/")], ""),
        _ => answer("200 OK", &[], "public"),
    })
    .await;
    let host = format!("rebind.example:{port}");
    let allow = Allow::hosts(patterns(&[&host]));

    // The first lookup is public, all others are not: there is only one.
    let (changing, count) = dialer(&[&["127.0.0.2"], &["127.0.0.1"]], pretend);
    let fetched = get(&changing, &format!("http://{host}/"), &allow).await.unwrap();
    assert_eq!((fetched.body.as_slice(), count.load(Ordering::SeqCst)), (&b"public"[..], 1));

    // A redirect to the same name is judged anew.
    let (changing, count) = dialer(&[&["127.0.0.2"], &["127.0.0.1"]], pretend);
    let error = get(&changing, &format!("http://{host}/again"), &allow).await.unwrap_err();
    assert!(matches!(error, GuardError::Private { .. }), "{error}");
    assert_eq!(count.load(Ordering::SeqCst), 2);

    // One bad address among good ones, in any place.
    const MIXED: [&[&[&str]]; 3] =
        [&[&["127.0.0.2", "127.0.0.1"]], &[&["127.0.0.1", "127.0.0.2"]], &[&["127.0.0.2", "::1"]]];
    for answers in MIXED {
        let (mixed, _) = dialer(answers, pretend);
        let error = get(&mixed, &format!("http://{host}/"), &allow).await.unwrap_err();
        assert!(matches!(error, GuardError::Private { .. }), "{error}");
    }
    let (nowhere, _) = dialer(&[&[]], pretend);
    let error = get(&nowhere, &format!("http://{host}/"), &allow).await.unwrap_err();
    assert!(matches!(error, GuardError::Unresolved { .. }), "{error}");
    let broken =
        Dialer { lookup: Arc::new(|_, _| Box::pin(async { Err(io::Error::other("no DNS")) })), is_public };
    let error = get(&broken, &format!("http://{host}/"), &allow).await.unwrap_err();
    assert_eq!(error.to_string(), "the name rebind.example can't be resolved: no DNS");

    assert_eq!(canary.asked().len(), 0);
    assert_eq!(public.asked().len(), 2);
    // A host that may be private, is; one that nobody owns is not.
    let (local, _) = dialer(&[&["127.0.0.1"]], is_public);
    let private = Allow::default().and_private(private(&[&host]));
    assert_eq!(get(&local, &format!("http://{host}/"), &private).await.unwrap().body, b"caught");
    let (zero, _) = dialer(&[&["0.0.0.0"]], is_public);
    let error = get(&zero, &format!("http://{host}/"), &private).await.unwrap_err();
    assert!(matches!(error, GuardError::Private { .. }), "{error}");
}

fn secret_request(method: Method, url: String) -> Request {
    let mut own_headers = HeaderMap::new();
    own_headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer canary"));
    own_headers.insert("idempotency-key", HeaderValue::from_static("k1"));
    let headers = HeaderMap::from_iter([(reqwest::header::ACCEPT, HeaderValue::from_static("text/x"))]);
    let body = (method == Method::POST).then(|| b"payload".to_vec());
    Request { method, url, headers, own_headers, has_secret: true, body, redirects: None }
}

#[tokio::test]
async fn a_redirect_is_judged_by_the_addresses_that_hold_the_request() {
    let other = Server::start(|_| answer("200 OK", &[], "other")).await;
    let away = other.url("/in/there");
    let first = Server::start(move |line| match line.split(' ').nth(1).unwrap() {
        "/in/same" => answer("302 Found", &[("location", "/in/end")], ""),
        "/in/up" => answer("302 Found", &[("location", "/out?d=words")], ""),
        "/in/other" => answer("302 Found", &[("location", &away)], ""),
        _ => answer("200 OK", &[], "end"),
    })
    .await;
    let allow =
        Allow::default().and_private(private(&[&first.address.to_string(), &other.address.to_string()]));
    let pattern = crate::domain::AddressPattern::parse(&first.url("/in/*")).unwrap();
    let ask = async |path: &str| {
        let request =
            Request { url: first.url(path), redirects: Some(vec![pattern.clone()]), ..Request::default() };
        send_by(&Dialer::system(), request, &allow, BOUNDS).await
    };
    assert_eq!(ask("/in/same").await.unwrap().body, b"end");
    for path in ["/in/up", "/in/other"] {
        let error = ask(path).await.unwrap_err().error;
        assert!(matches!(&error, GuardError::Redirect(why) if why.contains("`sinks`")), "{path}: {error}");
    }
    assert!(other.asked().is_empty() && first.asked().iter().all(|line| !line.contains("/out")));
}

#[tokio::test]
async fn what_is_for_one_host_does_not_follow_to_another() {
    let other = Server::start(|_| answer("200 OK", &[], "other")).await;
    let there = other.url("/there");
    let away = there.clone();
    let first = Server::start(move |line| match line.split(' ').nth(1).unwrap() {
        "/same" => answer("302 Found", &[("location", "/end")], ""),
        "/other" => answer("302 Found", &[("location", &away)], ""),
        "/keep" => answer("307 Temporary Redirect", &[("location", "/end")], ""),
        "/keep-other" => answer("308 Permanent Redirect", &[("location", &away)], ""),
        "/see" => answer("303 See Other", &[("location", &away)], ""),
        "/round" => answer("301 Moved", &[("location", "/round")], ""),
        "/nowhere" => answer("302 Found", &[], "a body"),
        _ => answer("200 OK", &[], "end"),
    })
    .await;
    let allow =
        Allow::default().and_private(private(&[&first.address.to_string(), &other.address.to_string()]));
    let system = Dialer::system();
    let ask = async |method: Method, path: &str| {
        send_by(&system, secret_request(method, first.url(path)), &allow, BOUNDS).await
    };
    let last = |server: &Server| server.asked().last().unwrap().to_ascii_lowercase();

    assert_eq!(ask(Method::GET, "/same").await.unwrap().body, b"end");
    assert!(last(&first).contains("authorization: bearer canary"));
    let fetched = ask(Method::GET, "/other").await.unwrap();
    assert_eq!(
        (fetched.body.as_slice(), fetched.url.as_str()),
        (&b"other"[..], other.url("/there").as_str())
    );
    let seen = last(&other);
    assert!(
        !seen.contains("canary") && !seen.contains("idempotency") && seen.contains("accept: text/x"),
        "{seen}"
    );
    assert!(!seen.contains("referer"), "{seen}");

    ask(Method::POST, "/keep").await.unwrap();
    let seen = last(&first);
    assert!(
        seen.starts_with("post /end") && seen.contains("payload") && seen.contains("idempotency-key: k1"),
        "{seen}"
    );
    let before = other.asked().len();
    // What was answered to a request that changes something is told; a look fails.
    let fetched = ask(Method::POST, "/keep-other").await.unwrap();
    assert_eq!((fetched.status.as_u16(), fetched.headers["location"].to_str().unwrap()), (308, &*there));
    let trouble = fetched.trouble.unwrap();
    assert!(matches!(&trouble, GuardError::Redirect(why) if why.contains("another host")), "{trouble}");
    assert_eq!(other.asked().len(), before);
    ask(Method::POST, "/see").await.unwrap();
    let seen = last(&other);
    assert!(
        seen.starts_with("get /there") && !seen.contains("payload") && !seen.contains("canary"),
        "{seen}"
    );

    let asked = first.asked().len();
    let error = ask(Method::GET, "/round").await.unwrap_err();
    assert_eq!(error.error, GuardError::Redirect("more than 5 redirects".into()));
    assert!(!error.may_have_happened);
    assert_eq!(first.asked().len(), asked + 6);
    let fetched = ask(Method::GET, "/nowhere").await.unwrap();
    assert_eq!((fetched.status.as_u16(), fetched.body.as_slice()), (302, &b"a body"[..]));
}

#[test]
fn the_same_place_is_the_same() {
    let same = |from: &str, to: &str| {
        crate::net::fetch::is_same(&Url::parse(from).unwrap(), &Url::parse(to).unwrap())
    };
    assert!(same("http://a.example/x", "http://a.example/y"));
    assert!(same("http://a.example/", "http://a.example:80/"));
    assert!(same("http://a.example/", "https://a.example/"));
    assert!(!same("https://a.example/", "http://a.example/"));
    assert!(!same("http://a.example/", "http://a.example:8080/"));
    assert!(!same("http://a.example/", "https://a.example:8443/"));
    assert!(!same("http://a.example/", "http://b.a.example/"));
}

#[tokio::test]
async fn size_and_time_are_bounded() {
    let server = Server::start(|line| match line.split(' ').nth(1).unwrap() {
        "/bomb" => answer("200 OK", &[("content-encoding", "gzip")], include_bytes!("zeros.gz")),
        "/exact" => answer("200 OK", &[], "x".repeat(1000)),
        "/short" => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec(),
        "/noise" => b"\x16\x03\x01 nothing of HTTP".to_vec(),
        _ => answer("200 OK", &[], "x".repeat(1001)),
    })
    .await;
    let allow = Allow::default().and_private(private(&[&server.address.to_string()]));
    let bounds = Bounds { bytes: 1000, ..BOUNDS };
    let ask = async |path: &str| {
        send_by(&Dialer::system(), Request { url: server.url(path), ..Request::default() }, &allow, bounds)
            .await
    };
    for (path, truncated) in [("/bomb", true), ("/exact", false), ("/long", true)] {
        let fetched = ask(path).await.unwrap();
        assert_eq!((fetched.body.len(), fetched.truncated), (1000, truncated), "{path}");
    }
    for path in ["/short", "/noise"] {
        let error = ask(path).await.unwrap_err();
        assert!(matches!(error.error, GuardError::Failed(_)) && !error.may_have_happened, "{path}");
    }
    let slow = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = slow.local_addr().unwrap().to_string();
    let allow = Allow::default().and_private(private(&[&place]));
    let bounds = Bounds { time: Duration::from_millis(200), bytes: 10 };
    let request = Request { url: format!("http://{place}/"), ..Request::default() };
    let error = send_by(&Dialer::system(), request, &allow, bounds).await.unwrap_err();
    assert_eq!((error.error, error.may_have_happened), (GuardError::Timeout, false));
}

#[tokio::test]
async fn a_client_of_ones_own_reaches_its_host_only() {
    let server = Server::start(|_| answer("302 Found", &[("location", "http://127.0.0.1:1/")], "here")).await;
    let text = format!("http://localhost:{}/mcp", server.address.port());
    assert!(
        guarded_client(&text, &Allow::hosts(patterns(&[&text["http://".len()..text.len() - 4]])))
            .await
            .is_err()
    );
    let allow = Allow::default().and_private(private(&[&text["http://".len()..text.len() - 4]]));
    let Ok((client, url)) = guarded_client(&text, &allow).await else {
        return; // this machine does not know its own name
    };
    assert_eq!(client.get(url).send().await.unwrap().status(), 302);
    assert!(client.get("http://other.example/").send().await.is_err());
}

#[tokio::test]
async fn a_name_is_held_to_its_range_and_leads_to_no_metadata() {
    let server = Server::start(|_| answer("200 OK", &[], "here")).await;
    let port = server.address.port();
    let url = format!("http://nas.lan:{port}/");
    for (entry, leads_to, admitted) in [
        ("nas.lan:PORT", "127.0.0.1", true),
        ("nas.lan:PORT=127.0.0.0/8", "127.0.0.1", true),
        ("nas.lan:PORT=127.0.0.1", "127.0.0.1", true),
        ("nas.lan:PORT=10.1.2.0/24", "127.0.0.1", false),
        ("nas.lan:PORT", "169.254.169.254", false),
        ("nas.lan:PORT=169.254.0.0/16", "169.254.169.254", false),
        ("nas.lan:PORT", "fd00:ec2::254", false),
        ("nas.lan:PORT", "100.100.100.200", false),
    ] {
        let lookup = move |_: String, _: u16| -> Found {
            Box::pin(std::future::ready(Ok(vec![leads_to.parse().unwrap()])))
        };
        let dialer = Dialer { lookup: Arc::new(lookup), is_public };
        let allow = Allow::default().and_private(private(&[&entry.replace("PORT", &port.to_string())]));
        match get(&dialer, &url, &allow).await {
            Ok(fetched) => assert!(admitted && fetched.body == b"here", "{entry} at {leads_to}"),
            Err(error) => {
                assert!(
                    !admitted && matches!(error, GuardError::Private { .. }),
                    "{entry} at {leads_to}: {error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_secret_goes_nowhere_in_the_clear() {
    let (public, _) = dialer(&[&["93.184.216.34"]], is_public);
    let allow = Allow::hosts(patterns(&["a.example"]));
    let ask = |url: &str| secret_request(Method::GET, url.into());
    let sent = send_by(&public, ask("http://a.example/"), &allow, BOUNDS).await.unwrap_err();
    assert_eq!(sent.error, GuardError::InTheClear { host: "a.example".into() });
    assert!(!sent.may_have_happened);
    let (local, _) = dialer(&[&["127.0.0.2"]], pretend);
    let server = Server::at("127.0.0.2:0", |_| answer("200 OK", &[], "here")).await;
    let port = server.address.port();
    let allow = Allow::hosts(patterns(&[&format!("a.example:{port}")]));
    let sent = send_by(&local, ask(&format!("http://a.example:{port}/")), &allow, BOUNDS).await;
    assert_eq!(sent.unwrap().body, b"here", "this machine may hear it");
}
