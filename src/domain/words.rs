//! Closed sets of words: each spelling stands in one place, and a word of the configuration, the database or the wire
//! becomes a value once.
/// A word of a closed set.
pub trait Word: Copy + 'static {
    /// All of them, in the order of the contract.
    const ALL: &'static [Self];
    /// How they are written, in the same order.
    const WORDS: &'static [&'static str];

    /// How it is written in the configuration, in the database, on the wire and in messages.
    fn as_str(self) -> &'static str;
}

/// An enum whose variants are words: `Skip = "skip"`.
macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $vdoc:literal])* $variant:ident = $word:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
        )]
        pub enum $name { $($(#[doc = $vdoc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// All of them, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// How they are written, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word,)*];

            /// The word that stands for it in the configuration, in the database, on the wire and in messages.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The inverse of [`Self::as_str`].
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
