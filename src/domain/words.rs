//! Closed sets of words: each spelling is defined in one place, and words of the configuration, the database or the
//! wire are parsed once.
/// A word of a closed set.
pub trait Word: Copy + 'static {
    /// All words, in the order of the contract.
    const ALL: &'static [Self];
    /// Their spellings, in the same order.
    const WORDS: &'static [&'static str];

    /// Returns the spelling in the configuration, in the database, on the wire and in messages.
    fn as_str(self) -> &'static str;
}

/// Defines an enum whose variants are words: `Skip = "skip"`.
macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $vdoc:literal])* $variant:ident = $word:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
        )]
        pub enum $name { $($(#[doc = $vdoc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// All words, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// Their spellings, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word,)*];

            /// Returns the spelling in the configuration, in the database, on the wire and in messages.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Parses a word; inverts [`Self::as_str`].
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl $crate::domain::Word for $name {
            const ALL: &'static [Self] = Self::ALL;
            const WORDS: &'static [&'static str] = Self::WORDS;

            fn as_str(self) -> &'static str {
                self.as_str()
            }
        }

        impl $crate::domain::Described for $name {
            fn shape() -> $crate::domain::Shape {
                use $crate::domain::doc_text;
                $crate::domain::Shape::Words($crate::domain::Words {
                    name: stringify!($name),
                    about: doc_text(&[$($doc),*]),
                    words: vec![$(($word, doc_text(&[$($vdoc),*])),)*],
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use words;
