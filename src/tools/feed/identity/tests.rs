//! Tests of ids over several answers of one source: what is told, when each id is told once.
use super::*;

const URL: &str = "https://a.example/feed";

/// `guid|link|title|day|summary`, as much of it as there is.
fn item(text: &str) -> Item {
    let mut parts = text.split('|').map(str::to_owned);
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let (guid, link, title, day, summary) = (next(), next(), next(), next(), next());
    let published = day.map(|day| format!("2026-11-{day}T08:30:00Z").parse().expect("an instant"));
    Item {
        guid,
        link,
        title: title.unwrap_or_default(),
        published,
        summary: summary.unwrap_or_default(),
        ..Item::default()
    }
}

/// What each answer has that was not there before, by title and summary.
fn told(answers: &[&[&str]]) -> Vec<Vec<String>> {
    let (mut before, mut seen) = (None, HashSet::new());
    let mut all = Vec::new();
    for answer in answers {
        let items = answer.iter().map(|text| item(text)).collect();
        let mut feed = Feed { home: Some("https://a.example/".into()), items, ..Feed::default() };
        assign(&mut feed, before, URL);
        let new = feed.items.iter().filter(|item| seen.insert(item.id.clone()));
        all.push(new.map(|item| format!("{}{}", item.title, item.summary)).collect());
        // as it is kept
        before = Some(serde_json::from_str(&serde_json::to_string(&feed).unwrap()).unwrap());
    }
    all
}

fn check(what: &str, rows: &[(&[&str], &[&str])]) {
    let answers: Vec<&[&str]> = rows.iter().map(|(answer, _)| *answer).collect();
    let wanted: Vec<Vec<String>> =
        rows.iter().map(|(_, new)| new.iter().map(|text| (*text).to_owned()).collect()).collect();
    assert_eq!(told(&answers), wanted, "{what}");
}

#[test]
fn nothing_is_lost_however_much_items_share() {
    check(
        "one page for all, no guid",
        &[
            (&["|L|A"], &["A"]),
            (&["|L|B", "|L|A"], &["B"]),
            (&["|L|C"], &["C"]),
            (&["|L|D"], &["D"]),
            (&["|L|A"], &[]),
        ],
    );
    check("one page for all, one at a time", &[(&["|L|A"], &["A"]), (&["|L|B"], &["B"]), (&["|L|A"], &[])]);
    check(
        "one guid for several",
        &[
            (&["G|/a|A"], &["A"]),
            (&["G|/b|B", "G|/a|A"], &["B"]),
            (&["G|/c|C"], &["C"]),
            (&["G|/a|A", "G|/b|B"], &[]),
        ],
    );
    check(
        "one guid and one page for all",
        &[(&["G|L|A"], &["A"]), (&["G|L|B", "G|L|A"], &["B"]), (&["G|L|C"], &["C"])],
    );
    check(
        "one guid, no link",
        &[(&["G||A|10"], &["A"]), (&["G||B|11", "G||A|10"], &["B"]), (&["G||C|12"], &["C"])],
    );
    check(
        "the home page for a link",
        &[(&["|https://a.example/|A"], &["A"]), (&["|https://a.example|B"], &["B"])],
    );
    check(
        "the home page for a guid",
        &[(&["https://a.example/|/1|A"], &["A"]), (&["https://a.example/|/2|B"], &["B"])],
    );
    check(
        "the same again, on another day",
        &[
            (&["1|L|Degraded|10"], &["Degraded"]),
            (&["2|L|Degraded|12"], &["Degraded"]),
            (&["3|L|Degraded|14", "2|L|Degraded|12"], &["Degraded"]),
        ],
    );
    check(
        "the same again, without guids",
        &[
            (&["|L|Degraded|10", "|L|Down|09"], &["Degraded", "Down"]),
            (&["|L|Degraded|12", "|L|Degraded|10"], &["Degraded"]),
        ],
    );
    check(
        "the same twice in one answer",
        &[(&["|L|Degraded|10", "|L|Degraded|12"], &["Degraded", "Degraded"])],
    );
    check("numbers differ", &[(&["|L|Release 1"], &["Release 1"]), (&["|L|Release 2"], &["Release 2"])]);
    check("nothing but a text", &[(&["||||one"], &["one"]), (&["||||two", "||||one"], &["two"])]);
    check("nothing but a title", &[(&["||A"], &["A"]), (&["||B"], &["B"]), (&["||A"], &[])]);
}

#[test]
fn nothing_is_told_twice_however_it_changes() {
    check(
        "a guid for each answer",
        &[(&["1|/a|A|10"], &["A"]), (&["2|/a|A|10"], &[]), (&["3|/a|A|10", "4|/b|B|11"], &["B"])],
    );
    check(
        "a guid for each answer, no dates",
        &[(&["1|/a|A", "2|/b|B"], &["A", "B"]), (&["3|/a|A", "4|/b|B"], &[])],
    );
    check("guids begin", &[(&["|/a|A", "|/b|B"], &["A", "B"]), (&["1|/a|A", "2|/b|B"], &[])]);
    check("guids end", &[(&["1|/a|A|10", "2|/b|B|10"], &["A", "B"]), (&["|/a|A|10", "|/b|B|10"], &[])]);
    check(
        "edited",
        &[
            (&["1|/a|A|10|x", "|/b|Big news|10|y", "|/c|C|10|z"], &["Ax", "Big newsy", "Cz"]),
            (&["1|/a|Other|11|v", "|/b|Big news (updated)||w", "|/c|Quite another|10|u"], &[]),
            (&["1|/slug|Other|11|v", "|/b|Big nwes||w"], &[]),
        ],
    );
    check(
        "a mistake less",
        &[(&["|/a|Goverment falls"], &["Goverment falls"]), (&["|/a|Government falls"], &[])],
    );
    check(
        "another address of the same page",
        &[(&["|http://www.b.example/1/|A"], &["A"]), (&["|https://b.example/1?utm_source=x|A"], &[])],
    );
    check("gone and back", &[(&["1|/a|A", "|/b|B"], &["A", "B"]), (&[], &[]), (&["|/b|B", "1|/a|A"], &[])]);
    check(
        "twice in one answer",
        &[(&["1|/a|A", "1|/a|A", "|/b|B", "|/b|B", "||C", "||C"], &["A", "B", "C"])],
    );
    check("twice, with another guid", &[(&["1|/a|A"], &["A"]), (&["2|/a|A", "2|/a|A"], &[])]);
    check(
        "another order",
        &[
            (&["G|/a|A", "G|/b|B", "|L|C", "|L|D"], &["A", "B", "C", "D"]),
            (&["|L|D", "G|/b|B", "|L|C", "G|/a|A"], &[]),
        ],
    );
}

/// What an older version kept has no ids; what it told is not told again.
#[test]
fn ids_of_before_stay() {
    let texts = ["G|/1|one guid", "G|/2|one guid", "|L|A", "|L|B", "17|/3|number", "||bare|10"];
    let mut feed = Feed { items: texts.iter().map(|text| item(text)).collect(), ..Feed::default() };
    let old = serde_json::to_string(&feed).unwrap();
    assert!(!old.contains("\"id\"") && !old.contains("\"gone\""));
    assign(&mut feed, None, URL);
    let ids = |feed: &Feed| -> Vec<String> { feed.items.iter().map(|item| item.id.clone()).collect() };
    let first = ids(&feed);
    // as they were in 0.1
    assert_eq!(
        first,
        [
            "/1",
            "/2",
            "https://a.example/feed#6e2e8ea8cfa3f99442a37636",
            "https://a.example/feed#a79596b8caff3048bb69c2af",
            "https://a.example/feed#17",
            "https://a.example/feed#0ed99a346bc4d59f2c372308",
        ]
    );
    let mut next =
        Feed { items: vec![item("G|/3|new"), item("|L|A"), item("G|/1|one guid")], ..Feed::default() };
    assign(&mut next, Some(serde_json::from_str(&old).unwrap()), URL);
    assert_eq!(ids(&next)[1..], [first[2].clone(), first[0].clone()]);
    assert!(!first.contains(&next.items[0].id));
}

#[test]
fn what_left_is_remembered_within_bounds() {
    let items =
        |count: usize, from: usize| (from..from + count).map(|n| item(&format!("{n}|/{n}|t{n}"))).collect();
    let mut feed = Feed { items: items(1500, 0), ..Feed::default() };
    assign(&mut feed, None, URL);
    let mut next = Feed { items: items(10, 5000), ..Feed::default() };
    assign(&mut next, Some(feed), URL);
    assert_eq!((next.items.len(), next.gone.len()), (10, MAX_REMEMBERED_ITEMS));
}
