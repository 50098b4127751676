//! Feeds of realistic size, from a server on this machine, through the tool.
use super::{Daemon, row};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

/// Items of one feed; a blog or a newspaper has 10 to 100.
const ITEMS: usize = 100;
const FEEDS: usize = 20;

/// RSS as blogs make it: a teaser and the whole text, both in HTML.
fn feed(number: usize) -> String {
    let paragraph = "<p>The <b>harbour</b> office says that the fourth crane lifts again, after nine weeks &amp; two \
                     storms. <a href=\"https://harbour.example/more\">Read on</a> about what it took.</p>\n";
    let item = |n: usize| {
        format!(
            "<item><title>Crane &#8211; part {n} of feed {number}</title><link>https://harbour.example/{number}/{n}</link>\
             <dc:creator><![CDATA[Ada]]></dc:creator><pubDate>Tue, 24 Nov 2026 08:{:02}:00 +0000</pubDate>\
             <category><![CDATA[Port]]></category><guid isPermaLink=\"false\">https://harbour.example/?p={number}-{n}</guid>\
             <description><![CDATA[{paragraph}]]></description>\
             <content:encoded><![CDATA[{}]]></content:encoded></item>\n",
            n % 60,
            paragraph.repeat(8)
        )
    };
    let items: String = (0..ITEMS).map(item).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><rss version=\"2.0\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\" \
         xmlns:content=\"http://purl.org/rss/1.0/modules/content/\"><channel><title>Harbour {number}</title>\
         <link>https://harbour.example/</link>{items}</channel></rss>"
    )
}

/// Serves them by number; ends with the program.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let feeds: Arc<Vec<String>> = Arc::new((0..FEEDS).map(feed).collect());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let feeds = feeds.clone();
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                let count = stream.read(&mut head).unwrap_or(0);
                let text = String::from_utf8_lossy(&head[..count]).into_owned();
                let number = text.split(['/', ' ']).nth(2).and_then(|text| text.parse::<usize>().ok());
                let body = &feeds[number.unwrap_or(0)];
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
            });
        }
    });
    format!("http://{address}")
}

/// Fetched, decoded, read, made plain, put together and answered.
pub(super) fn items_per_second() {
    const CALLS: usize = 20;
    let url = server();
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    let urls: Vec<String> = (0..FEEDS).map(|number| format!("{url}/{number}")).collect();
    let args = json!({"urls": urls, "max_items": 50});
    let call =
        json!({"jsonrpc": "2.0", "id": 1, "method": "call_tool", "params": {"tool": "feed", "args": args}});
    let mut ask = || -> Value {
        writeln!(client.output, "{call}").expect("it is read");
        client.line()
    };
    let answer = ask();
    let result = &answer["result"]["result"];
    assert_eq!(
        (result["items"].as_array().map(Vec::len), &result["left_out"]),
        (Some(50), &json!(FEEDS * ITEMS - 50))
    );
    let began = Instant::now();
    for _ in 0..CALLS {
        ask();
    }
    let took = began.elapsed().as_secs_f64();
    let bytes = CALLS * (0..FEEDS).map(|number| feed(number).len()).sum::<usize>();
    row(
        &format!("feed items, {FEEDS} feeds of {ITEMS} items a call, HTML made plain"),
        format!("{:.0} /s ({:.0} MB/s)", (CALLS * FEEDS * ITEMS) as f64 / took, bytes as f64 / took / 1e6),
    );
}
