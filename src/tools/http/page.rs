//! A page as readable text. Pages are untrusted: their size, depth, number of elements and weight are
//! limited, since the time of all processing grows with their product and the serializer's stack with their
//! depth. That keeps the steps that can't be interrupted short; between them the clock is checked, so that a
//! thread whose caller is gone ends soon.
use dom_query::Document;
use dom_smoothie::{Config, Readability, TextMode};
use html5ever::ParseOpts;
use html5ever::tendril::TendrilSink;
use html5ever::tree_builder::TreeBuilderOpts;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Maximum number of bytes of a page that are processed.
const MAX_PAGE_BYTES: usize = 2 << 20;

/// Maximum depth; deeper pages are returned as plain text.
const MAX_DEPTH: usize = 200;

/// Maximum weight; heavier pages are returned as plain text. The weight is the sum of the depths of all nodes
/// and lines. This is as much as 30,000 elements with a text each, 25 deep.
const MAX_WEIGHT: usize = 1_500_000;

/// Timeout for parsing; a page that takes longer is returned as plain text. If parsing and writing take twice
/// as long, the article is not extracted.
const PARSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Number of bytes parsed between two checks of the clock.
const PARSED_CHUNK_BYTES: usize = 4 << 10;

/// Maximum number of elements in which an article is searched; larger pages are returned whole.
const MOST_ELEMENTS: usize = 30_000;

/// Limits the pages processed concurrently: slow pages must not take all threads.
static PERMITS: Semaphore = Semaphore::const_new(2);

/// The content of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: Option<String>,
    /// Markdown: the article, if there is one, else the whole page.
    pub(super) text: String,
    pub(super) truncated: bool,
}

/// Parses a page. `url` is its address, for resolving links.
pub(super) async fn readable(html: String, url: String) -> Result<Page, String> {
    let permit = PERMITS.acquire().await.map_err(|error| error.to_string())?;
    let working = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        read(&html, &url, PARSE_TIMEOUT)
    });
    working.await.map_err(|error| format!("the page can't be read: {}", crate::blocking::panic_text(error)))
}

fn read(html: &str, url: &str, parsing: Duration) -> Page {
    let cut = &html[..html.floor_char_boundary(MAX_PAGE_BYTES)];
    let truncated = cut.len() < html.len();
    let plain = || Page { title: None, text: without_tags(cut), truncated };
    let config = Config {
        text_mode: TextMode::Markdown,
        max_elements_to_parse: MOST_ELEMENTS,
        disable_json_ld: true,
        ..Config::default()
    };
    let began = Instant::now();
    let Some(document) = parse(cut, parsing).filter(is_light) else { return plain() };
    let Ok(mut page) = Readability::with_document(document, Some(url), Some(config)) else { return plain() };
    let title = Some(page.get_article_title().trim().to_owned()).filter(|title| !title.is_empty());
    let whole = |page: &Readability| page.doc.md(Some(&SKIPPED)).trim().to_owned();
    let text = if page.is_probably_readable() {
        let all = whole(&page);
        match began.elapsed() < parsing * 2 {
            true => page.parse().map_or(all, |article| article.text_content.trim().to_owned()),
            false => all,
        }
    } else {
        whole(&page)
    };
    Page { title, text, truncated }
}

/// Elements without readable content.
const SKIPPED: [&str; 8] = ["script", "style", "meta", "head", "noscript", "template", "svg", "iframe"];

/// Returns whether the page is neither too deep nor too heavy. Walks it without recursion.
fn is_light(document: &Document) -> bool {
    let (mut node, mut depth, mut weight) = (document.root(), 0_usize, 0_usize);
    loop {
        // Each line is written with the prefixes of all the elements that it is in.
        let lines = if node.is_text() { node.text().matches('\n').count() } else { 0 };
        weight += depth * (1 + lines);
        if depth > MAX_DEPTH || weight > MAX_WEIGHT {
            return false;
        }
        if let Some(child) = node.first_child() {
            node = child;
            depth += 1;
            continue;
        }
        loop {
            if let Some(next) = node.next_sibling() {
                node = next;
                break;
            }
            match node.parent() {
                Some(parent) if depth > 0 => {
                    node = parent;
                    depth -= 1;
                }
                _ => return true,
            }
        }
    }
}

/// Parses in pieces, so that parsing can be aborted if it takes too long.
fn parse(html: &str, bound: Duration) -> Option<Document> {
    let tree_builder = TreeBuilderOpts { scripting_enabled: false, ..TreeBuilderOpts::default() };
    let options = ParseOpts { tree_builder, ..ParseOpts::default() };
    let mut parser = html5ever::parse_document(Document::default(), options);
    let began = Instant::now();
    let mut rest = html;
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rest.floor_char_boundary(PARSED_CHUNK_BYTES));
        parser.process(piece.into());
        rest = more;
        if began.elapsed() > bound {
            return None;
        }
    }
    Some(parser.finish())
}

/// Returns the text between the tags, for pages that can't be parsed safely.
fn without_tags(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let tag = &rest[at..];
        let name: String = tag[1..].chars().take_while(char::is_ascii_alphanumeric).collect();
        let name = name.to_ascii_lowercase();
        rest = if matches!(name.as_str(), "script" | "style") {
            let end = format!("</{name}");
            let is_end = |at: &usize| {
                tag.as_bytes()[*at..]
                    .get(..end.len())
                    .is_some_and(|here| here.eq_ignore_ascii_case(end.as_bytes()))
            };
            tag.match_indices("</").map(|(at, _)| at).find(is_end).map_or("", |at| &tag[at..])
        } else {
            tag
        };
        rest = rest.find('>').map_or("", |end| &rest[end + 1..]);
        out.push(' ');
    }
    out.push_str(rest);
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    //! Tests of pages, hostile ones included.
    use super::*;

    fn article(paragraphs: usize) -> String {
        let paragraph = "<p>Here is a paragraph with enough words, commas, and sense, so that it counts as \
            part of an article. See <a href=\"/more\">more</a> about it, and read on, and on, and on.</p>";
        format!(
            "<html><head><title>A page &amp; more</title><script>var x = 1;</script></head><body>\
             <nav><a href='/'>Home</a></nav><article><h1>The heading</h1>{}</article><footer>Imprint</footer>\
             </body></html>",
            paragraph.repeat(paragraphs)
        )
    }

    #[test]
    fn an_article_is_taken_out_of_its_page() {
        let page = read(&article(12), "https://example.org/a/b", PARSE_TIMEOUT);
        assert!(page.title.as_deref().is_some_and(|title| title.contains("page & more")), "{page:?}");
        assert!(page.text.contains("paragraph with enough words"), "{page:?}");
        assert!(page.text.contains("(https://example.org/more)"), "{page:?}");
        assert!(!page.text.contains("Imprint") && !page.text.contains("var x"), "{page:?}");
        assert!(!page.truncated);
    }

    #[test]
    fn other_pages_are_given_whole() {
        let html = "<title>List</title><style>a{}</style><ul><li><a href='/1'>One</a><li>Two</ul><p>End";
        let page = read(html, "https://example.org/", PARSE_TIMEOUT);
        assert_eq!(page.title.as_deref(), Some("List"));
        for part in ["One", "Two", "End"] {
            assert!(page.text.contains(part), "{page:?}");
        }
        assert!(!page.text.contains("a{}"), "{page:?}");
        assert_eq!(read("", "https://example.org/", PARSE_TIMEOUT).text, "");
        assert_eq!(read("just text", "https://example.org/", PARSE_TIMEOUT).text, "just text");
    }

    #[test]
    fn text_between_tags_is_found_without_parsing() {
        for (html, text) in [
            ("a<b>c</b>d", "a c d"),
            ("a<STYLE>x</b></Style >b<script>y</scripT>c", "a b c"),
            ("ä<style>ü</ö></style>ö", "ä ö"),
            ("a<style>never ended", "a"),
            ("a<style>x</sty", "a"),
            ("a <", "a"),
        ] {
            assert_eq!(without_tags(html), text, "{html}");
        }
    }

    #[test]
    fn hostile_pages_end_in_time() {
        let many = |unit: &str| unit.repeat((32 << 10) / unit.len());
        for html in [
            many("<div>"),
            many("<blockquote>"),
            many("<ul><li>"),
            many("<em><b>"),
            many("<table><tr><td>"),
            many("<div></i>"),
            many("<div><object></div></object>"),
            many("<blockquote><object></blockquote></object>"),
            many("<a href=x>"),
            many("<b>x</i>"),
            many("<p><font>"),
            many("<svg><g>"),
            many("<template>"),
            many("<select><option>"),
            many("<p>a"),
            many("<td>"),
            many("<"),
            many("<!--"),
            many("&amp"),
            many("<x a=1 a=2 a=3 a=4>"),
            article(2000),
            format!("{}{}", "<blockquote>".repeat(1000), article(10)),
            format!("{}{}", "<div>".repeat(300), "<style></style>".repeat(35_000)),
            format!("{}{}", "<div>".repeat(300), "<SCRIPT></style></SCRIPT>".repeat(20_000)),
            format!("{}{}", "<div>".repeat(190), "x<br>".repeat(7_500)),
            format!("{}{}", "<div>".repeat(190), "<img src=x>".repeat(7_000)),
            format!("{}{}", "<div>".repeat(190), "<b>x</b>, y".repeat(7_000)),
            format!("{}<pre>{}", "<blockquote>".repeat(190), "\n".repeat(1 << 19)),
            format!("{}{}", "<ul><li>".repeat(95), "x<br>".repeat(7_500)),
        ] {
            let start = html[..html.floor_char_boundary(40)].to_owned();
            let began = Instant::now();
            read(&html, "https://example.org/", Duration::from_millis(200));
            let took = began.elapsed();
            assert!(took < Duration::from_secs(8), "{start}: {took:?}");
        }
    }
}
