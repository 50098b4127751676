//! Tests of whole pages as a browser receives them, without a browser: their content, and what can't be injected.
use super::html::{block, line};
use super::strip::strip;
use askama::Template;

#[test]
fn text_from_outside_stays_text() {
    let hostile = "<script>alert(1)</script>\u{202e}\u{0}javascript:x</textarea>";
    let shown = super::html::When { iso: line(hostile), relative: line(hostile), local: line(hostile) };
    let html = shown.render().expect("it renders");
    assert!(!html.contains("<script") && !html.contains("</textarea"), "{html}");
    assert!(!html.contains(['\u{202e}', '\u{0}']), "{html}");
    assert!(html.contains("\\u{202e}") && html.contains("\\x00"), "{html}");
}

#[test]
fn a_text_of_a_mebibyte_is_its_beginning_and_its_end() {
    let shown = block(&format!("begin{}end", "wörd".repeat(1 << 18)));
    assert!(
        shown.len() < 200 << 10 && shown.starts_with("begin") && shown.ends_with("end"),
        "{}",
        shown.len()
    );
    assert!(shown.contains("left out"));
}

#[test]
fn a_picture_has_no_style_of_its_own() {
    let now = "2026-11-24T10:00:00Z".parse().expect("a time");
    let html = strip(&[], &[], (now, now), now).render().expect("it renders");
    assert!(html.contains("aria-label=\"no slot\"") && !html.contains("style="), "{html}");
}
