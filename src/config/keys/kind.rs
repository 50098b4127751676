//! Definition of a key: its name, the form of its value, and its documentation.

/// The form of a value.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) enum Kind {
    Text,
    Flag,
    Whole,
    Number,
    /// Whole seconds, or a text like `1h30m`.
    Duration,
    /// Whole bytes, or a text like `2GiB`.
    Size,
    /// A whole number, or one of these words.
    WholeOr(&'static [&'static str]),
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or another text if another key allows it.
    WordOrText(&'static [&'static str]),
    /// A reference to a secret.
    Secret,
    /// A text, or a reference to a secret.
    TextOrSecret,
    /// A list of texts.
    Texts,
    /// A list of some of these words.
    Words(&'static [&'static str]),
    /// A text or a list of texts.
    Command,
    /// A table of texts or secrets.
    Texts2,
    /// A table of texts, by names that the user gives.
    NamedTexts,
    /// A table with these keys.
    Table(&'static [Key]),
    /// True, false, or a table with these keys.
    FlagOr(&'static [Key]),
    /// One of these words, or a table with these keys.
    WordOr(&'static [&'static str], &'static [Key]),
    /// A table of these words, by names that the user gives.
    NamedWords(&'static [&'static str]),
    /// A table of these words, or of tables with these keys, by names that the user gives.
    NamedWordOr(&'static [&'static str], &'static [Key]),
    /// A list of tables with these keys.
    Tables(&'static [Key]),
    /// Tables with these keys, by name.
    Named(&'static [Key]),
    /// Anything: its form depends on another key.
    Any,
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Key {
    pub(in crate::config) name: &'static str,
    pub(in crate::config) kind: Kind,
    doc: &'static str,
    /// Values for each `{}` in `doc`: defaults and bounds, taken from the code that applies them.
    amounts: &'static [u64],
}

impl Key {
    /// Returns its documentation, with the default.
    pub(in crate::config) fn doc(&self) -> String {
        let number = |text: String, amount: &u64| text.replacen("{}", &amount.to_string(), 1);
        self.amounts.iter().fold(self.doc.to_owned(), number)
    }

    /// Sets the values of the placeholders in its documentation.
    pub(in crate::config) const fn with(self, amounts: &'static [u64]) -> Self {
        Self { amounts, ..self }
    }
}

pub(in crate::config) const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, amounts: &[] }
}
