//! Feeds as they are found, good and bad: each file of `tests/feeds`, and some that are too large for a file.
use super::super::item::Feed;
use super::super::{ItemFilter, Source, format, gather, identity};
use reqwest::Url;
use std::time::Duration;

fn base() -> Url {
    Url::parse("https://feeds.example/dir/feed.xml").expect("an address")
}

fn read(name: &str) -> Result<Feed, String> {
    let path = format!("{}/tests/feeds/{name}", env!("CARGO_MANIFEST_DIR"));
    format::read(&std::fs::read(path).expect(name), "text/html; charset=utf-8", &base())
}

/// Title, link and summary of each item.
fn told(name: &str) -> Vec<(String, String, String)> {
    let feed = read(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(feed.broken, None, "{name}");
    let items = feed.items.into_iter();
    items.map(|item| (item.title, item.link.unwrap_or_else(|| "-".into()), item.summary)).collect()
}

#[test]
fn each_file_of_the_collection_is_tried() {
    let path = format!("{}/tests/feeds", env!("CARGO_MANIFEST_DIR"));
    let tests = include_str!("shapes.rs");
    let mut count = 0;
    for entry in std::fs::read_dir(path).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(tests.contains(&format!("\"{name}\"")), "{name} is not tried");
        count += 1;
    }
    assert!(count >= 30, "{count}");
}

#[test]
fn good_ones_are_read_whatever_they_claim_to_be() {
    type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str, &'a str)]);
    let table: &[Row<'_>] = &[
        (
            "rss2-plain.xml",
            "Harbour Gazette",
            &[
                (
                    "Crane number four is back",
                    "https://harbour.example/crane-4",
                    "It lifts again after nine weeks.",
                ),
                (
                    "Ferry timetable for winter",
                    "https://harbour.example/ferry",
                    "Fewer trips from December on.",
                ),
            ],
        ),
        (
            "rss2-modules.xml",
            "Kitchen – notes",
            &[
                ("Bread & butter", "https://kitchen.example/bread/", "Flour, water, salt … and time."),
                ("Only the whole text", "https://kitchen.example/whole/", "Soup with beans"),
            ],
        ),
        ("rss-091.xml", "Old wire", &[("Straße gesperrt", "http://old.example/1", "Bis Montag.")]),
        ("rss-odd-version.xml", "Odd", &[("A version that nobody defined", "https://odd.example/1", "")]),
        ("rss-no-version.xml", "None", &[("No version at all", "https://none.example/1", "")]),
        ("rss-channel-only.xml", "Bare", &[("Without a root", "https://bare.example/1", "")]),
        (
            "rss1.rdf",
            "Library of the valley",
            &[
                ("A history of bridges", "https://lib.example/b/1", "Twelve chapters."),
                ("Without a link", "https://lib.example/b/2", ""),
            ],
        ),
        (
            "atom.xml",
            "Notes & queries",
            &[
                ("On time & tide", "https://atom.example/blog/2026/tide", "Short."),
                ("An entry in XHTML", "https://elsewhere.example/a/b", "if a < b then c"),
            ],
        ),
        ("atom-prefixed.xml", "Prefixed", &[("With a prefix everywhere", "https://p.example/1", "")]),
        ("atom-03.xml", "Ancient", &[("Zero point three", "http://ancient.example/1", "Old format.")]),
        (
            "atom-video.xml",
            "A channel",
            &[("How bridges move", "https://video.example/watch?v=dQw4", "Steel, wind and patience.")],
        ),
        (
            "json-11.json",
            "JSON notes",
            &[
                ("Second", "https://json.example/2", "With marks"),
                ("", "https://json.example/ext", "5 < 6 & so on"),
                ("Half of it null", "-", ""),
            ],
        ),
        ("json-1.json", "One", &[("", "https://one.example/1", "Without a title")]),
        (
            "podcast.xml",
            "Radio shed",
            &[("Episode 12", "https://cdn.shed.example/12.mp3", "Nails and glue.")],
        ),
        ("utf16le.xml", "Широкий", &[("Два байта", "https://wide.example/1", "")]),
        ("utf16be-no-mark.xml", "Wide", &[("Größe", "https://wide.example/2", "")]),
        ("latin-says-utf8.xml", "Café", &[("Prix: 5 €, “déjà vu”", "https://cafe.example/1", "")]),
        ("utf8-says-latin.xml", "Café", &[("Ærlig talt – ja", "https://cafe.example/2", "")]),
        ("bom.xml", "Marked", &[("Begins with a mark", "https://bom.example/1", "")]),
        ("preface.xml", "After a warning", &[("Still a feed", "https://pre.example/1", "")]),
        ("empty-channel.xml", "Quiet", &[]),
        (
            "script-links.xml",
            "Links",
            &[
                ("A script", "-", ""),
                ("A file", "-", ""),
                ("Relative", "https://feeds.example/news/3", ""),
                ("Without a scheme", "https://other.example/4", ""),
            ],
        ),
    ];
    for (name, title, items) in table {
        let found = told(name);
        let found: Vec<(&str, &str, &str)> =
            found.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
        assert_eq!(&found[..], *items, "{name}");
        assert_eq!(read(name).unwrap().title.as_deref(), Some(*title), "{name}");
    }
}

#[test]
fn all_that_is_said_of_an_item_is_kept() {
    let items = read("atom.xml").unwrap().items;
    let first = serde_json::to_value(&items[0]).unwrap();
    let wanted = serde_json::json!({
        "guid": "tag:atom.example,2026:1", "link": "https://atom.example/blog/2026/tide", "title": "On time & tide",
        "summary": "Short.", "published": "2026-11-20T06:00:00.123Z", "updated": "2026-11-24T09:00:00Z",
        "authors": ["Cleo"], "tags": ["The sea", "moon"],
    });
    assert_eq!(first, wanted);
    let items = read("rss2-modules.xml").unwrap().items;
    assert_eq!(
        (&items[0].authors[..], &items[0].tags[..]),
        (&["Ada".to_owned()][..], &["Baking".to_owned()][..])
    );
    assert_eq!(items[1].published.unwrap().to_string(), "2026-11-21T09:00:00Z");
    let items = read("json-11.json").unwrap().items;
    assert_eq!((items[1].guid.as_deref(), items[2].authors[0].as_str()), (Some("1"), "Eve"));
    let items = read("atom-03.xml").unwrap().items;
    assert_eq!(items[0].published.unwrap().to_string(), "2026-11-02T00:00:00Z");
}

#[test]
fn sloppy_ones_are_understood_as_far_as_they_go() {
    let found = told("sloppy.xml");
    let links: Vec<&str> = found.iter().map(|(_, link, _)| link.as_str()).collect();
    assert_eq!(
        links[..],
        [
            "https://sloppy.example/?a=1&b=2&copy=3",
            "-",
            "https://sloppy.example/3",
            "https://sloppy.example/4",
            "https://sloppy.example/5",
        ]
    );
    assert_eq!(found[0].0, "AT&T & friends été &bogus; A");
    assert_eq!(found[0].2, "One twothree");
    assert!(found[1].0.starts_with("Never closed"), "{}", found[1].0);
    assert_eq!(found[2].0, "Wrong order");
    assert_eq!(found[4].0, "Control characters");
}

#[test]
fn what_breaks_off_counts_up_to_there() {
    for (name, says) in [("cut-off.xml", "it ends in the middle (line 4"), ("cut-in-cdata.xml", "(line 4")] {
        let feed = read(name).unwrap();
        assert_eq!(feed.items.len(), 1, "{name}");
        assert_eq!(feed.items[0].title, "Whole");
        assert!(feed.broken.as_deref().is_some_and(|why| why.contains(says)), "{name}: {:?}", feed.broken);
    }
    let feed = read("cut-at-once.xml").unwrap();
    assert!(feed.items.is_empty() && feed.broken.is_some());
}

#[test]
fn what_is_no_feed_says_what_it_is() {
    for (name, says) in [
        (
            "page.html",
            "a web page, not a feed; it names https://feeds.example/feed.xml and https://page.example/atom.xml",
        ),
        ("page-bare.html", "the answer is a web page, not a feed"),
        ("sitemap.xml", "XML but no feed: its root is <urlset>"),
        ("text.txt", "not a feed: it begins with \"The service is down"),
        ("json-no-feed.json", "JSON but not a feed: it has no `items` (its version is \"3\")"),
        ("json-broken.json", "line 3 column"),
    ] {
        let error = read(name).expect_err(name);
        assert!(error.contains(says), "{name}: {error}");
    }
    for text in [
        "",
        " \n\t",
        "<",
        "<?xml",
        "<!-- only",
        "[1, 2",
        "{",
        "\u{feff}",
        "<>",
        "</a>",
        "&",
        "<![CDATA[",
        "<!DOCTYPE",
    ] {
        assert!(format::read(text.as_bytes(), "", &base()).is_err(), "{text:?}");
    }
}

#[test]
fn entities_of_a_document_are_never_resolved() {
    let found = told("billion-laughs.xml");
    assert_eq!(found[0].0, "Laughs: &lol9;");
    let found = told("external-entity.xml");
    assert_eq!(found[0].0, "Reads: &file;");
}

#[test]
fn items_without_good_ids_get_some_that_tell_them_apart() {
    let ids = |name: &str| -> Vec<String> {
        let mut feed = read(name).unwrap();
        identity::assign(&mut feed, None, "https://feeds.example/f");
        let now = "2026-11-24T10:00:00Z".parse().unwrap();
        let wanted = ItemFilter { since: None, per_source: 100, summary: 10, now };
        let all = gather::all(&[Source { url: "https://feeds.example/f", feed: &feed }], &wanted);
        all.items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("same-guid.xml"), ["https://same.example/1", "https://same.example/2"]);
    let found = ids("no-ids.xml");
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|id| id.starts_with("https://feeds.example/f#")), "{found:?}");
    assert_eq!(found, ids("no-ids.xml"));
}

/// Whatever comes, it ends soon: nothing here may take more than linear time.
#[test]
fn hostile_ones_end_soon() {
    let head = "<rss version=\"2.0\"><channel><title>x</title><item><title>";
    let many = |piece: &str, bytes: usize| piece.repeat(bytes / piece.len());
    let size = 512 << 10;
    let table: Vec<(&str, String)> = vec![
        ("deep", format!("{head}{}", many("<a>", size))),
        ("deep and named alike", format!("<rss><channel>{}", many("<item>", size))),
        ("attributes", format!("<rss {}><channel></channel></rss>", many("a=\"1\" ", size))),
        (
            "prefixes",
            format!(
                "<rss {}>{}</rss>",
                (0..15_000).map(|n| format!("xmlns:p{n}=\"u\" ")).collect::<String>(),
                many("<p1:a/>", size)
            ),
        ),
        ("ends", format!("{head}{}", many("</b>", size))),
        ("references", format!("{head}{}</title></item></channel></rss>", many("&lol;&#65;&amp;", size))),
        ("ampersands", format!("{head}{}</title></item></channel></rss>", many("&", size))),
        ("one name", format!("<{}", many("x", size))),
        ("one text", format!("{head}{}</title></item></channel></rss>", many("word ", size))),
        ("items", format!("<rss><channel>{}</channel></rss>", many("<item><title>t</title></item>", size))),
        (
            "guids",
            format!(
                "<rss><channel>{}</channel></rss>",
                many("<item><guid>same</guid><link>http://a/b</link></item>", size)
            ),
        ),
        ("comments", format!("{head}{}", many("<!-- -- -->", size))),
        ("less", many("<", size)),
        ("json deep", format!("{{\"items\":{}", many("[", size))),
        ("json wide", format!("{{\"items\":[{}{{}}]}}", many("{\"id\":[[]],\"title\":{}},", size))),
        (
            "html",
            format!(
                "<rss><channel>{}</channel></rss>",
                many("<item><description>&lt;div&gt;&lt;p</description></item>", size)
            ),
        ),
        (
            "long base",
            format!(
                "<rss xml:base=\"http://a/{}\"><channel><item>{}</item></channel></rss>",
                many("x/", size),
                many("<link/>", size)
            ),
        ),
        ("doctype", format!("<!DOCTYPE r [{}]><rss/>", many("<!ENTITY a \"b\">", size))),
    ];
    for (name, text) in table {
        let began = crate::testing::worked();
        let mut feed = format::read(text.as_bytes(), "", &base());
        if let Ok(feed) = &mut feed {
            identity::assign(feed, None, "u");
            let before = feed.clone();
            identity::assign(feed, Some(before), "u");
            let now = "2026-11-24T10:00:00Z".parse().unwrap();
            gather::all(
                &[Source { url: "u", feed }],
                &ItemFilter { since: None, per_source: 9, summary: 9, now },
            );
        }
        // generous: a debug build on a busy machine; what is quadratic takes minutes
        let took = crate::testing::worked() - began;
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
    }
}

#[test]
fn a_base_that_no_address_could_have_is_none() {
    let with = |path: String| {
        let text = format!(
            "<rss xml:base=\"https://far.example/{path}\"><channel><item><link>b</link></item></channel></rss>"
        );
        format::read(text.as_bytes(), "", &base()).unwrap().items.remove(0).link
    };
    assert_eq!(with("a/".into()).as_deref(), Some("https://far.example/a/b"));
    assert_eq!(with("a/".repeat(1100)).as_deref(), Some("https://feeds.example/dir/b"));
}

#[test]
fn of_very_many_items_the_first_ones_count() {
    let with = |count: usize| {
        let items: Vec<String> = (0..count).map(|id| format!("{{\"id\":{id}}}")).collect();
        let text = format!("{{\"items\":[{{}},{}],\"title\":\"Long\"}}", items.join(","));
        format::read(text.as_bytes(), "", &base()).unwrap()
    };
    let feed = with(10_000);
    assert_eq!((feed.items.len(), feed.broken), (10_000, None));
    let feed = with(10_001);
    assert_eq!((feed.items.len(), feed.items[9999].guid.as_deref()), (10_000, Some("9999")));
    assert_eq!(feed.broken.as_deref(), Some("it has more than 10000 items"));
    assert_eq!(feed.title.as_deref(), Some("Long"));
}

/// In a process of its own, whose memory nobody else uses.
#[test]
fn a_list_of_nothing_costs_no_memory() {
    const CHILD: &str = "BGAGENT_TEST_FEED_OF_NOTHING";
    if std::env::var_os(CHILD).is_some() {
        let text = format!("{{\"items\":[{}{{}}]}}", "{},".repeat((5 << 20) / 3));
        assert_eq!(format::read(text.as_bytes(), "", &base()).unwrap().items.len(), 0);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = most.split_whitespace().next().unwrap().parse().unwrap();
        assert!(kib < 150 << 10, "{kib} KiB");
        return;
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tools::feed::tests::shapes::a_list_of_nothing_costs_no_memory", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&child.stderr)
    );
}
