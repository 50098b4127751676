//! Plain text from feeds: markup and entities removed, whitespace normalized, length limited.
use crate::domain::is_misleading;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, StartTag, Tag, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};

/// Maximum number of bytes of one text that are processed.
pub(super) const LOOKED_AT: usize = 64 << 10;

/// How a text is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Markup {
    /// Literal text.
    Plain,
    Html,
    /// HTML if it looks like it: a title of RSS may be either.
    Perhaps,
}

/// Returns the text on one line, with at most `most` characters; a truncated one ends with `…`.
pub(super) fn plain(text: &str, markup: Markup, most: usize) -> String {
    let text = head(text);
    let text = match markup {
        Markup::Plain => Cow::Borrowed(text),
        Markup::Perhaps if !has_tags(text) => entities(text),
        Markup::Html | Markup::Perhaps if text.contains(['<', '&']) => Cow::Owned(without_tags(text)),
        Markup::Html | Markup::Perhaps => Cow::Borrowed(text),
    };
    on_one_line(&text, most)
}

/// Returns the part that is processed. It does not end within a tag.
fn head(text: &str) -> &str {
    if text.len() <= LOOKED_AT {
        return text;
    }
    let head = &text[..text.floor_char_boundary(LOOKED_AT)];
    match (head.rfind('<'), head.rfind('>')) {
        (Some(open), close) if close.is_none_or(|close| close < open) => &head[..open],
        _ => head,
    }
}

/// Joins words with single spaces, and drops invisible characters.
fn on_one_line(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most * 4));
    let (mut count, mut blank) = (0, false);
    for c in text.chars().map(meant) {
        if c.is_whitespace() || c.is_control() {
            blank = !out.is_empty();
            continue;
        }
        if is_invisible(c) {
            continue;
        }
        if count + 1 + usize::from(blank) > most {
            cut(&mut out, most);
            return out;
        }
        if std::mem::take(&mut blank) {
            out.push(' ');
            count += 1;
        }
        out.push(c);
        count += 1;
    }
    out
}

/// Replaces a control character between 128 and 159 by the character with that code in windows-1252, which is
/// what was meant.
pub(super) fn meant(c: char) -> char {
    let Ok(byte @ 0x80..=0x9f) = u8::try_from(c) else { return c };
    let bytes = [byte];
    let (text, _) = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&bytes);
    text.chars().next().unwrap_or(c)
}

/// Truncates to make room for the ellipsis, and appends it.
fn cut(out: &mut String, most: usize) {
    if most == 0 {
        return;
    }
    if let Some((end, _)) = out.char_indices().nth(most - 1) {
        out.truncate(end);
    }
    out.truncate(out.trim_end().len());
    out.push('…');
}

/// Shortens a plain text.
pub(super) fn shorter(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most || text.chars().nth(most).is_none() {
        return text.into();
    }
    let mut out: String = text.chars().take(most).collect();
    cut(&mut out, most);
    out.into()
}

/// Returns whether a character is invisible, such as a direction mark: those make a text look like another
/// one.
fn is_invisible(c: char) -> bool {
    c == '\u{ad}' || is_misleading(c)
}

/// Elements whose tag in a title means that it is HTML.
const TAGS: &[&str] = &[
    "a", "abbr", "b", "br", "cite", "code", "del", "div", "em", "font", "h1", "h2", "h3", "i", "img", "ins",
    "kbd", "mark", "p", "q", "s", "small", "span", "strong", "sub", "sup", "tt", "u",
];

/// Returns whether the text has a tag of a known element. `Vec<String>` and `a < b` have none.
fn has_tags(text: &str) -> bool {
    text.match_indices('<').any(|(at, _)| {
        let rest = &text[at + 1..];
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = rest[..end].to_ascii_lowercase();
        rest[end..].starts_with(['>', ' ', '/', '\n', '\t']) && TAGS.contains(&name.as_str())
    })
}

/// Resolves entities only.
fn entities(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    without_tags(&text.replace('<', "&lt;")).into()
}

/// Returns what `&name;` stands for in HTML.
pub(super) fn named(name: &str) -> Option<String> {
    if name.len() > 32 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let found = without_tags(&format!("&{name};"));
    (!found.ends_with(';')).then_some(found)
}

/// Returns the text of a piece of HTML. Linear in its length, without a tree, so nesting depth does not
/// matter.
fn without_tags(html: &str) -> String {
    let sink = Words::default();
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(html));
    let tokens = Tokenizer::new(sink, TokenizerOpts::default());
    let _ = tokens.feed(&input);
    tokens.end();
    tokens.sink.text.into_inner()
}

/// Collects the text of a stream of tokens.
#[derive(Default)]
struct Words {
    text: RefCell<String>,
    /// Within an element whose text is not shown.
    hidden: Cell<bool>,
}

impl TokenSink for Words {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        match token {
            Token::CharacterTokens(text) if !self.hidden.get() => self.text.borrow_mut().push_str(&text),
            Token::TagToken(tag) => return self.tag(&tag),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl Words {
    fn tag(&self, tag: &Tag) -> TokenSinkResult<()> {
        let inline = matches!(
            &*tag.name,
            "a" | "abbr"
                | "b"
                | "bdi"
                | "cite"
                | "code"
                | "em"
                | "font"
                | "i"
                | "kbd"
                | "mark"
                | "q"
                | "s"
                | "small"
                | "span"
                | "strong"
                | "sub"
                | "sup"
                | "u"
                | "wbr"
        );
        if !inline {
            self.text.borrow_mut().push(' ');
        }
        let hides = matches!(&*tag.name, "script" | "style" | "iframe" | "noscript" | "template" | "title");
        if hides {
            self.hidden.set(tag.kind == StartTag && !tag.self_closing);
        }
        match (&*tag.name, tag.kind) {
            ("script" | "style" | "iframe" | "noscript", StartTag) => {
                TokenSinkResult::RawData(RawKind::Rawtext)
            }
            _ => TokenSinkResult::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of plain texts.
    use super::*;

    #[test]
    fn markup_goes_and_words_stay() {
        for (html, wanted) in [
            ("<p>One</p><p>two &amp; three</p>", "One two & three"),
            ("in<b>ner</b> words", "inner words"),
            ("a<br>b<br/>c", "a b c"),
            ("don&#146;t &#x93;quote&#148; \u{96} \u{81}", "don’t “quote” –"),
            ("caf&eacute; &#8364; &#x1F600; &nosuch; &", "café € 😀 &nosuch; &"),
            ("<script>alert('x')</script>seen<style>p{}</style>", "seen"),
            ("<script>never closed", ""),
            ("a < b and c > d", "a < b and c > d"),
            ("<img src=\"x\" onerror='y > z'>picture", "picture"),
            ("  much \n\t blank\u{a0}here ", "much blank here"),
            ("un<!-- no -->seen", "unseen"),
            ("ev\u{202e}il \u{200b}x\u{0}", "evil x"),
            ("", ""),
            ("<unclosed", ""),
        ] {
            assert_eq!(plain(html, Markup::Html, 500), wanted, "{html}");
        }
    }

    #[test]
    fn a_title_is_html_only_if_it_looks_like_it() {
        for (text, wanted) in [
            ("Vec<String> and <T>", "Vec<String> and <T>"),
            ("5 < 7 &amp; 9 > 8", "5 < 7 & 9 > 8"),
            ("An <em>important</em> thing", "An important thing"),
            ("AT&T", "AT&T"),
        ] {
            assert_eq!(plain(text, Markup::Perhaps, 500), wanted, "{text}");
        }
        assert_eq!(plain("a &amp; <b>b</b>", Markup::Plain, 500), "a &amp; <b>b</b>");
    }

    #[test]
    fn a_cut_text_says_so() {
        assert_eq!(plain("eins zwei drei", Markup::Plain, 9), "eins zwe…");
        assert_eq!(plain("eins zwei drei", Markup::Plain, 10), "eins zwei…");
        assert_eq!(plain("eins zwei", Markup::Plain, 9), "eins zwei");
        assert_eq!(plain("äöü", Markup::Plain, 3), "äöü");
        assert_eq!(plain("äöüß", Markup::Plain, 3), "äö…");
        assert_eq!(plain("x", Markup::Plain, 0), "");
        assert_eq!(shorter("äöüß", 3), "äö…");
        assert_eq!(shorter("äöü", 3), "äöü");
        assert_eq!(shorter("abc", 0), "");
    }

    #[test]
    fn entities_have_names() {
        assert_eq!(named("nbsp").as_deref(), Some("\u{a0}"));
        assert_eq!(named("eacute").as_deref(), Some("é"));
        assert_eq!(named("lol9"), None);
        assert_eq!(named("a b"), None);
    }

    #[test]
    fn what_is_deep_or_long_takes_no_time() {
        let deep = "<div>".repeat(1 << 20);
        assert_eq!(plain(&deep, Markup::Html, 500), "");
        let long = "x".repeat(10 << 20);
        assert_eq!(plain(&long, Markup::Html, 500).chars().count(), 500);
    }
}
