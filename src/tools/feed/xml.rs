//! RSS 0.9x, 1.0 and 2.0, and Atom.
//!
//! Theory of operation. One pass over the tokens of the text, with a stack of open elements. Within an item,
//! a known element is captured: its text, and markup that was not escaped. An end tag closes the nearest open
//! element of its name and all within it; one that closes nothing is ignored. Entities defined by a document
//! are never resolved, so they can't expand. If the text can't be parsed further, what was complete before
//! that position counts, and the position is reported.
use super::item::{Draft, Feed, MAX_LINK_BYTES, address};
use super::marks::{
    attributes, page_link, resolved, text_type, title_type, value, web_page_error, with_position,
};
use super::text::{LOOKED_AT, Markup};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use reqwest::Url;
use std::collections::HashMap;
use std::rc::Rc;

/// Maximum nesting depth.
const MAX_DEPTH: usize = 256;
/// Maximum number of namespace prefixes that are stored.
const MAX_PREFIXES: usize = 64;

/// XML namespace of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    /// The feed's own, in any of the formats.
    Own,
    Atom,
    Dublin,
    Content,
    Media,
    Rdf,
    Other,
}

/// What is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    FeedTitle,
    FeedHome,
    Title,
    Link,
    Guid { permanent: bool },
    Text { rank: u8 },
    Published,
    Updated,
    Author,
    Tag,
}

struct Capture {
    field: Field,
    /// Number of open elements when it began.
    depth: usize,
    text: String,
    markup: Markup,
    /// Its markup is part of the XML document itself, so text within it is not markup.
    inline: bool,
}

/// An open element.
struct Open {
    /// With its prefix, to match the end tag.
    name: String,
    local: String,
    /// It has an `xml:base`.
    has_base: bool,
}

struct Walk {
    feed: Feed,
    open: Vec<Open>,
    bases: Vec<Rc<Url>>,
    prefixes: HashMap<String, Namespace>,
    /// The root was `feed` or `entry`.
    is_atom: bool,
    item: Option<(usize, Draft)>,
    capture: Option<Capture>,
}

/// Parses a document.
pub(super) fn read(text: &str, base: &Url) -> Result<Feed, String> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut walk = Walk {
        feed: Feed::default(),
        open: Vec::new(),
        bases: vec![Rc::new(base.clone())],
        prefixes: HashMap::new(),
        is_atom: false,
        item: None,
        capture: None,
    };
    let mut has_root = false;
    let why = loop {
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => break Some((reader.error_position(), error.to_string())),
        };
        let begins = matches!(event, Event::Start(_) | Event::Empty(_));
        if begins && !has_root {
            has_root = true;
            if let Event::Start(root) | Event::Empty(root) = &event {
                walk.root(root, text, base)?;
            }
        } else if begins && walk.open.is_empty() {
            // A second document follows the first.
            break None;
        }
        match event {
            Event::Start(start) => {
                if walk.open.len() == MAX_DEPTH {
                    break Some((
                        reader.buffer_position(),
                        format!("elements are nested more than {MAX_DEPTH} deep"),
                    ));
                }
                walk.start(&start);
            }
            Event::Empty(start) => {
                walk.start(&start);
                walk.end(start.name().0);
            }
            Event::End(end) => walk.end(end.name().0),
            Event::Text(text) => walk.text(&text.into_inner()),
            Event::CData(text) => walk.text(&text.into_inner()),
            Event::GeneralRef(name) => walk.reference(&name.into_inner()),
            Event::Eof if walk.open.is_empty() => break None,
            Event::Eof => break Some((reader.buffer_position(), "it ends in the middle".into())),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    };
    if !has_root {
        return Err(match why {
            Some((at, why)) => format!("the answer is not a feed: {}", with_position(text, at, &why)),
            None => "the answer is not a feed: it has no element".into(),
        });
    }
    walk.feed.broken = why.map(|(at, why)| with_position(text, at, &why));
    Ok(walk.feed)
}

impl Walk {
    /// Checks that the document is a feed.
    fn root(&mut self, root: &BytesStart<'_>, text: &str, base: &Url) -> Result<(), String> {
        let attributes = attributes(root);
        self.declare(&attributes);
        let name = root.name().0;
        let (_, local) = self.resolve(name);
        match local {
            "feed" | "entry" => self.is_atom = true,
            "rss" | "RDF" | "rdf" | "channel" => {}
            local if local.eq_ignore_ascii_case("html") || local.eq_ignore_ascii_case("head") => {
                return Err(web_page_error(text, base));
            }
            _ => {
                let name = super::text::shorter(name, 60);
                // A page may begin with any element.
                let is_page =
                    text.get(..4096.min(text.len())).unwrap_or(text).to_ascii_lowercase().contains("<html");
                return Err(if is_page {
                    web_page_error(text, base)
                } else {
                    format!("the answer is XML but no feed: its root is <{name}>")
                });
            }
        }
        Ok(())
    }

    /// Stores the namespace prefixes that an element declares.
    fn declare(&mut self, attributes: &[(String, String)]) {
        for (name, value) in attributes {
            let Some(prefix) = name.strip_prefix("xmlns:") else { continue };
            if self.prefixes.len() < MAX_PREFIXES {
                self.prefixes.insert(prefix.to_owned(), namespace_of(value));
            }
        }
    }

    /// Returns the namespace of a name, and the name without its prefix.
    fn resolve<'n>(&self, name: &'n str) -> (Namespace, &'n str) {
        let Some((prefix, local)) = name.split_once(':') else { return (Namespace::Own, name) };
        let space = self.prefixes.get(prefix).copied().unwrap_or(match prefix {
            // Not declared, but the conventional prefix.
            "atom" => Namespace::Atom,
            "content" => Namespace::Content,
            "dc" => Namespace::Dublin,
            "media" => Namespace::Media,
            "rdf" => Namespace::Rdf,
            _ => Namespace::Other,
        });
        match (space, self.is_atom) {
            (Namespace::Atom, true) => (Namespace::Own, local),
            _ => (space, local),
        }
    }

    fn base(&self) -> Rc<Url> {
        self.bases.last().expect("the first is never taken away").clone()
    }

    fn start(&mut self, start: &BytesStart<'_>) {
        let name = start.name().0;
        let again = self.item.as_ref().is_some_and(|(depth, _)| self.open[depth - 1].name == name);
        if again {
            // The end tag of the previous one is missing.
            self.end(name);
        }
        if let Some(capture) = &mut self.capture {
            // Markup within a text.
            let local = name.rsplit(':').next().unwrap_or(name);
            push(&mut capture.text, &format!("<{local}>"));
            capture.markup = Markup::Html;
            self.open.push(Open { name: name.into(), local: String::new(), has_base: false });
            return;
        }
        let attributes = attributes(start);
        self.declare(&attributes);
        let (space, local) = self.resolve(name);
        let base = value(&attributes, "xml:base").and_then(|base| self.base().join(base).ok());
        // Every address is as long as its base: one that is too long for an address is ignored.
        let base = base.filter(|base| base.as_str().len() <= MAX_LINK_BYTES);
        let has_base = base.is_some();
        self.bases.extend(base.map(Rc::new));
        let is_item = self.item.is_none()
            && matches!(
                (space, local, self.is_atom),
                (Namespace::Own, "item", false) | (Namespace::Own, "entry", true)
            );
        let local = local.to_owned();
        let captured = if is_item { None } else { self.known(space, &local, &attributes) };
        self.open.push(Open { name: name.into(), local, has_base });
        if is_item {
            let mut draft = Draft::default();
            if let Some(about) = value(&attributes, "rdf:about") {
                // The address that identifies an item in RSS 1.0.
                draft.stand_in = Some(about.to_owned());
                draft.guid(about);
            }
            self.item = Some((self.open.len(), draft));
        }
        if let Some((field, markup)) = captured {
            let inline = markup == Markup::Html && value(&attributes, "type") == Some("xhtml");
            self.capture =
                Some(Capture { field, depth: self.open.len(), text: String::new(), markup, inline });
        }
    }

    /// Returns what is to be captured of an element, if anything; its attributes are processed immediately.
    fn known(
        &mut self,
        space: Namespace,
        local: &str,
        attributes: &[(String, String)],
    ) -> Option<(Field, Markup)> {
        let depth = self.open.len();
        let parent = self.open.last().map_or("", |open| open.local.as_str());
        if let Some((item, _)) = &self.item {
            // Belongs to the item although it is not its direct child.
            let is_within =
                (parent == "author" && local == "name") || (parent == "group" && space == Namespace::Media);
            return (depth == *item || is_within).then(|| self.of_item(space, local, attributes)).flatten();
        }
        if !matches!(parent, "channel" | "feed") {
            return None;
        }
        match (space, local) {
            (Namespace::Own, "title") => Some((Field::FeedTitle, title_type(attributes, self.is_atom))),
            (Namespace::Own, "link") if self.is_atom => {
                if let Some(href) = page_link(attributes).filter(|_| self.feed.home.is_none()) {
                    self.feed.home = address(href, &self.base());
                }
                None
            }
            (Namespace::Own, "link") => Some((Field::FeedHome, Markup::Plain)),
            _ => None,
        }
    }

    fn of_item(
        &mut self,
        space: Namespace,
        local: &str,
        attributes: &[(String, String)],
    ) -> Option<(Field, Markup)> {
        use Namespace::{Atom, Content, Dublin, Media, Own};
        let markup = text_type(attributes, self.is_atom);
        let text = |rank| Field::Text { rank };
        Some(match (space, local) {
            (Own, "title") => (Field::Title, title_type(attributes, self.is_atom)),
            // Of RSS; Atom uses an attribute instead.
            (Own, "link") if !self.is_atom && value(attributes, "href").is_none() => {
                (Field::Link, Markup::Plain)
            }
            (Own, "guid") => {
                let flag = value(attributes, "isPermaLink");
                let permanent = flag.is_none_or(|flag| !flag.eq_ignore_ascii_case("false"));
                (Field::Guid { permanent }, Markup::Plain)
            }
            (Own, "id") if self.is_atom => (Field::Guid { permanent: false }, Markup::Plain),
            (Own | Atom, "summary") => (text(0), markup),
            (Own, "description") => (text(0), Markup::Html),
            (Own, "content") if self.is_atom => (text(1), markup),
            (Content, "encoded") => (text(1), Markup::Html),
            (Dublin, "description") => (text(2), Markup::Perhaps),
            (Media, "description") => (text(3), Markup::Perhaps),
            (Own, "pubDate" | "pubdate" | "published" | "issued" | "created")
            | (Dublin, "date")
            | (Atom, "published") => (Field::Published, Markup::Plain),
            (Own, "updated" | "modified" | "lastBuildDate") | (Atom, "updated") | (Dublin, "modified") => {
                (Field::Updated, Markup::Plain)
            }
            (Own, "name") if self.is_atom => (Field::Author, Markup::Perhaps),
            (Own, "author") if !self.is_atom => (Field::Author, Markup::Perhaps),
            (Dublin, "creator") => (Field::Author, Markup::Perhaps),
            (Own, "category") if !self.is_atom => (Field::Tag, Markup::Perhaps),
            (Dublin, "subject") => (Field::Tag, Markup::Perhaps),
            _ => {
                self.said_by_attributes(space, local, attributes);
                return None;
            }
        })
    }

    fn said_by_attributes(&mut self, space: Namespace, local: &str, attributes: &[(String, String)]) {
        let base = self.base();
        let Some((_, draft)) = &mut self.item else { return };
        match (space, local) {
            (Namespace::Own | Namespace::Atom, "link") => atom_link(draft, attributes, &base),
            (Namespace::Own, "category") => {
                if let Some(term) = value(attributes, "label").or_else(|| value(attributes, "term")) {
                    draft.tag(term);
                }
            }
            (Namespace::Own, "enclosure") => {
                if let (None, Some(url)) = (&draft.stand_in, value(attributes, "url")) {
                    draft.stand_in = Some(url.to_owned());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        let Some(at) = self.open.iter().rposition(|open| open.name == name) else { return };
        while self.open.len() > at {
            self.close();
        }
    }

    /// Closes the innermost element.
    fn close(&mut self) {
        let depth = self.open.len();
        let open = self.open.pop().expect("the caller knows one");
        if let Some(capture) = &mut self.capture {
            if capture.depth < depth {
                let local = open.name.rsplit(':').next().unwrap_or(&open.name);
                push(&mut capture.text, &format!("</{local}>"));
            } else {
                self.captured();
            }
        }
        if self.item.as_ref().is_some_and(|(item, _)| *item == depth)
            && let Some((_, draft)) = self.item.take()
        {
            let item = draft.done(&self.base());
            self.feed.items.extend(item);
        }
        if open.has_base {
            self.bases.pop();
        }
    }

    /// Stores the text of a captured element at its end.
    fn captured(&mut self) {
        let Some(capture) = self.capture.take() else { return };
        let base = self.base();
        let Capture { field, text, markup, .. } = capture;
        let Some((_, draft)) = &mut self.item else {
            match field {
                Field::FeedTitle if self.feed.title.is_none() => {
                    self.feed.title =
                        Some(super::text::plain(&text, markup, 300)).filter(|text| !text.is_empty());
                }
                Field::FeedHome if self.feed.home.is_none() => self.feed.home = address(&text, &base),
                _ => {}
            }
            return;
        };
        match field {
            Field::Title => draft.title(&text, markup),
            Field::Link => draft.link(&text, &base),
            Field::Guid { permanent } => {
                let is_web = ["http://", "https://"].iter().any(|start| text.trim().starts_with(start));
                if permanent && is_web {
                    draft.stand_in = Some(text.clone());
                }
                draft.guid(&text);
            }
            Field::Text { rank } => draft.text(rank, text, markup),
            Field::Published => draft.published(&text),
            Field::Updated => draft.updated(&text),
            Field::Author => draft.author(&text),
            Field::Tag => draft.tag(&text),
            Field::FeedTitle | Field::FeedHome => {}
        }
    }

    fn text(&mut self, text: &str) {
        let Some(capture) = &mut self.capture else { return };
        if capture.inline {
            push(&mut capture.text, &text.replace('&', "&amp;").replace('<', "&lt;"));
        } else {
            push(&mut capture.text, text);
        }
    }

    /// Appends `&amp;`, `&#8364;`, `&eacute;`. An unknown entity is kept literally.
    fn reference(&mut self, name: &str) {
        if self.capture.is_none() {
            return;
        }
        let text = resolved(name).unwrap_or_else(|| format!("&{name};"));
        self.text(&text);
    }
}

/// Appends to a captured text, up to the maximum length.
fn push(text: &mut String, more: &str) {
    let room = LOOKED_AT.saturating_sub(text.len());
    text.push_str(&more[..more.floor_char_boundary(room)]);
}

fn atom_link(draft: &mut Draft, attributes: &[(String, String)], base: &Url) {
    if let Some(href) = page_link(attributes) {
        draft.link(href, base);
    } else if let (Some("enclosure" | "related"), Some(href), None) =
        (value(attributes, "rel"), value(attributes, "href"), &draft.stand_in)
    {
        draft.stand_in = Some(href.to_owned());
    }
}

fn namespace_of(uri: &str) -> Namespace {
    match uri.trim() {
        "http://www.w3.org/2005/Atom" | "http://purl.org/atom/ns#" => Namespace::Atom,
        "http://purl.org/dc/elements/1.1/" | "http://purl.org/dc/terms/" => Namespace::Dublin,
        "http://purl.org/rss/1.0/modules/content/" => Namespace::Content,
        "http://www.w3.org/1999/02/22-rdf-syntax-ns#" => Namespace::Rdf,
        "http://search.yahoo.com/mrss/" | "http://search.yahoo.com/mrss" => Namespace::Media,
        "http://purl.org/rss/1.0/"
        | "http://my.netscape.com/rdf/simple/0.9/"
        | "http://backend.userland.com/rss2" => Namespace::Own,
        _ => Namespace::Other,
    }
}
