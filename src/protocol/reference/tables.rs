//! Tables of fields, and the sections of the types that they reference.
use crate::domain::{Field, Shape};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The sender of an object, which decides what its table says.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    /// Sent by a client: the table says which fields are optional.
    Parameters,
    /// Sent by the daemon: the table says which fields may be absent.
    Answer,
}

/// Returns the fields of an object.
pub(super) fn fields_of(shape: &Shape) -> Vec<Field> {
    match shape {
        Shape::Object(object) => object.fields.clone(),
        _ => Vec::new(),
    }
}

/// Formats a table of fields, with a blank line after it. A flattened shared object is referenced
/// before the table.
pub(super) fn table(fields: &[Field], side: Side, glossary: &mut Glossary) -> String {
    let mut out = String::new();
    for field in fields.iter().filter(|field| field.is_flat && matches!(field.shape, Shape::Object(_))) {
        let _ = writeln!(out, "All that {} has, and:\n", glossary.name(&field.shape));
    }
    out += match side {
        Side::Parameters => "| Parameter | Type | Meaning |\n|---|---|---|\n",
        Side::Answer => "| Field | Type | Meaning |\n|---|---|---|\n",
    };
    for field in fields {
        match &field.shape {
            Shape::Object(_) if field.is_flat => {}
            Shape::OrNull(inner) if field.is_flat => {
                for inner in fields_of(inner) {
                    row(&mut out, &Field { may_be_left_out: true, ..inner }, side, glossary);
                }
            }
            Shape::Tagged(tagged) if field.is_flat => {
                let about = format!("{} Its other fields stand beside this one.", tagged.about);
                row(&mut out, &Field { name: tagged.tag.to_owned(), about, ..field.clone() }, side, glossary);
            }
            _ => row(&mut out, field, side, glossary),
        }
    }
    out.push('\n');
    out
}

fn row(out: &mut String, field: &Field, side: Side, glossary: &mut Glossary) {
    let inner = match &field.shape {
        Shape::OrNull(inner) => inner,
        shape => shape,
    };
    let kind = match side {
        Side::Parameters if field.has_default => format!("{}, optional", glossary.name(inner)),
        Side::Answer if field.may_be_left_out => format!("{}, may be absent", glossary.name(inner)),
        _ => glossary.name(&field.shape),
    };
    let about = clean(&field.about).replace('|', "\\|");
    let _ = writeln!(out, "| `{}` | {kind} | {about} |", field.name);
}

/// Returns a link to a heading of the document.
pub(super) fn link(text: &str, heading: &str) -> String {
    let anchor: String = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect();
    format!("[{text}](#{anchor})")
}

/// Prepares a doc comment for readers without the code: strips the paths of items.
pub(super) fn clean(about: &str) -> String {
    // references to sections of the contract are of no use to these readers
    let source = about.find(" (section ").and_then(|at| Some((at, at + about[at..].find(')')? + 1)));
    let about = source.map_or_else(|| about.to_owned(), |(at, end)| about[..at].to_owned() + &about[end..]);
    let about = about.as_str();
    each_name(about, |name| format!("[`{}`]", name.rsplit("::").next().unwrap_or_default()))
}

/// Replaces intra-doc links of a text by another form.
pub(super) fn each_name(text: &str, mut form: impl FnMut(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, (name, after))) =
        rest.split_once("[`").and_then(|(before, inner)| Some((before, inner.split_once("`]")?)))
    {
        out = out + before + &form(name);
        rest = after;
    }
    out + rest
}

/// The types that tables reference; each is described once, at the end.
#[derive(Default)]
pub(super) struct Glossary {
    types: BTreeMap<&'static str, Shape>,
    words: BTreeMap<&'static str, Shape>,
}

impl Glossary {
    /// Returns the name of a type for a table, and records the type.
    pub(super) fn name(&mut self, shape: &Shape) -> String {
        match shape {
            Shape::Plain(word) => (*word).to_owned(),
            Shape::OrNull(inner) => format!("{} or null", self.name(inner)),
            Shape::List(inner) => format!("array of {}", self.name(inner)),
            Shape::Map(key, value) => format!("object of {} by {}", self.name(value), self.name(key)),
            // described in its own chapter
            Shape::Object(object) if object.name == "LoggedEvent" => link("event", "Events"),
            Shape::Words(words) if words.name == "EventType" => link("event type", "Events"),
            Shape::Object(object) => {
                self.types.insert(object.name, shape.clone());
                link(object.name, object.name)
            }
            Shape::Tagged(tagged) => {
                self.types.insert(tagged.name, shape.clone());
                link(tagged.name, tagged.name)
            }
            Shape::Words(words) => {
                self.words.insert(words.name, shape.clone());
                link(words.name, words.name)
            }
        }
    }

    /// Writes the chapters of types and of words.
    pub(super) fn write(mut self, out: &mut String) {
        out.push_str("## Types\n\nObjects that stand in answers and events.\n\n");
        let mut written: BTreeMap<&str, String> = BTreeMap::new();
        // describing a type may add further types
        while let Some(name) = self.types.keys().find(|name| !written.contains_key(*name)).copied() {
            let shape = self.types[name].clone();
            let mut section = String::new();
            self.describe(&mut section, &shape);
            written.insert(name, section);
        }
        out.extend(written.into_values());
        out.push_str("## Words\n\nClosed sets of strings. A newer daemon may have more of them.\n\n");
        for shape in self.words.values() {
            let Shape::Words(words) = shape else { continue };
            let _ = writeln!(
                out,
                "### {}\n\n{}\n\n| Word | Meaning |\n|---|---|",
                words.name,
                clean(&words.about)
            );
            for (word, about) in &words.words {
                let _ = writeln!(out, "| `{word}` | {} |", clean(about).replace('|', "\\|"));
            }
            out.push('\n');
        }
    }

    fn describe(&mut self, out: &mut String, shape: &Shape) {
        match shape {
            Shape::Object(object) => {
                let _ = writeln!(out, "### {}\n\n{}\n", object.name, clean(&object.about));
                out.push_str(&table(&object.fields, Side::Answer, self));
            }
            Shape::Tagged(tagged) => {
                let _ = writeln!(
                    out,
                    "### {}\n\n{} Its field `{}` says which it is, and which other fields it has.\n",
                    tagged.name,
                    clean(&tagged.about),
                    tagged.tag
                );
                for (value, about, fields) in &tagged.variants {
                    let _ = writeln!(out, "`\"{}\": \"{value}\"`: {}\n", tagged.tag, clean(about));
                    out.push_str(&table(fields, Side::Answer, self));
                }
            }
            _ => {}
        }
    }
}
