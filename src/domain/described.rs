//! Wire types that carry their own documentation: a field is described only in its doc comment, and
//! `docs/PROTOCOL.md` is generated from that.
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// A type whose JSON can be described.
pub trait Described {
    /// Returns the shape of its values.
    fn shape() -> Shape;
}

/// Shape of values in JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A value described in a word or two: `integer`.
    Plain(&'static str),
    /// One of these strings.
    Words(Words),
    /// A value of this shape, or null.
    OrNull(Box<Self>),
    /// An array of these.
    List(Box<Self>),
    /// An object with keys of the first shape and values of the second.
    Map(Box<Self>, Box<Self>),
    Object(Object),
    /// An object with a field that selects one of several variants.
    Tagged(Tagged),
}

/// A closed set of strings.
#[derive(Clone, Debug, PartialEq)]
pub struct Words {
    pub name: &'static str,
    /// Description of the set.
    pub about: String,
    /// Each with its description.
    pub words: Vec<(&'static str, String)>,
}

/// An object with these fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub name: &'static str,
    pub about: String,
    pub fields: Vec<Field>,
}

/// An object with several variants, distinguished by one of its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Tagged {
    pub name: &'static str,
    pub about: String,
    /// The field that selects the variant.
    pub tag: &'static str,
    /// Value of that field, description, and the other fields.
    pub variants: Vec<(String, String, Vec<Field>)>,
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub about: String,
    pub shape: Shape,
    /// It may be missing when read.
    pub has_default: bool,
    /// It may be left out when written.
    pub may_be_left_out: bool,
    /// It is flattened: the fields of its value are inlined here.
    pub is_flat: bool,
}

impl Field {
    /// Creates a field from its declaration.
    pub fn of(name: &str, about: &[&str], shape: Shape, serde: &str) -> Self {
        let has =
            |word: &str| serde.split(',').any(|part| part.split('=').next().unwrap_or("").trim() == word);
        let renamed = serde.split(',').find_map(|part| part.trim().strip_prefix("rename = "));
        Self {
            name: renamed.map_or(name, |name| name.trim_matches('"')).to_owned(),
            about: text(about),
            has_default: has("default") || matches!(shape, Shape::OrNull(_)),
            may_be_left_out: has("skip_serializing_if"),
            is_flat: has("flatten"),
            shape,
        }
    }
}

/// Joins the lines of a doc comment.
pub(crate) fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// Converts `WaitingApproval` like serde's `snake_case`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// Defines structs with named fields and internally tagged enums, and implements [`Described`] for them. The syntax
/// is the usual one: doc comments first, then `derive`, then other attributes.
macro_rules! described {
    () => {};
    (
        $(#[doc = $about:literal])*
        $(#[derive($($derive:tt)*)])?
        $(#[error($($error:tt)*)])?
        pub struct $name:ident { $(
            $(#[doc = $field_about:literal])*
            $(#[serde($($serde:tt)*)])?
            pub $field:ident: $type:ty,
        )* }
        $($rest:tt)*
    ) => {
        $(#[doc = $about])*
        $(#[derive($($derive)*)])?
        $(#[error($($error)*)])?
        pub struct $name { $(
            $(#[doc = $field_about])*
            $(#[serde($($serde)*)])?
            pub $field: $type,
        )* }

        impl $crate::domain::Described for $name {
            fn shape() -> $crate::domain::Shape {
                let fields = vec![$(
                    $crate::domain::Field::of(
                        stringify!($field),
                        &[$($field_about),*],
                        <$type as $crate::domain::Described>::shape(),
                        stringify!($($($serde)*)?),
                    ),
                )*];
                $crate::domain::Shape::Object($crate::domain::Object {
                    name: stringify!($name),
                    about: $crate::domain::doc_text(&[$($about),*]),
                    fields,
                })
            }
        }

        $crate::domain::described! { $($rest)* }
    };
    (
        $(#[doc = $about:literal])*
        $(#[derive($($derive:tt)*)])?
        #[serde(tag = $tag:literal, rename_all = "snake_case")]
        pub enum $name:ident { $(
            $(#[doc = $variant_about:literal])*
            $variant:ident { $(
                $(#[doc = $field_about:literal])*
                $(#[serde($($serde:tt)*)])?
                $field:ident: $type:ty,
            )* },
        )* }
        $($rest:tt)*
    ) => {
        $(#[doc = $about])*
        $(#[derive($($derive)*)])?
        #[serde(tag = $tag, rename_all = "snake_case")]
        pub enum $name { $(
            $(#[doc = $variant_about])*
            $variant { $(
                $(#[doc = $field_about])*
                $(#[serde($($serde)*)])?
                $field: $type,
            )* },
        )* }

        impl $crate::domain::Described for $name {
            fn shape() -> $crate::domain::Shape {
                let variants = vec![$((
                    $crate::domain::snake_case(stringify!($variant)),
                    $crate::domain::doc_text(&[$($variant_about),*]),
                    vec![$(
                        $crate::domain::Field::of(
                            stringify!($field),
                            &[$($field_about),*],
                            <$type as $crate::domain::Described>::shape(),
                            stringify!($($($serde)*)?),
                        ),
                    )*],
                ),)*];
                $crate::domain::Shape::Tagged($crate::domain::Tagged {
                    name: stringify!($name),
                    about: $crate::domain::doc_text(&[$($about),*]),
                    tag: $tag,
                    variants,
                })
            }
        }

        $crate::domain::described! { $($rest)* }
    };
}
pub(crate) use described;

macro_rules! plain {
    ($($type:ty = $word:literal;)*) => {
        $(impl Described for $type { fn shape() -> Shape { Shape::Plain($word) } })*
    };
}

plain! {
    bool = "boolean";
    u8 = "integer";
    u32 = "integer";
    u64 = "integer";
    usize = "integer";
    i32 = "integer";
    i64 = "integer";
    f64 = "number";
    String = "string";
    Value = "any JSON";
    Timestamp = "instant";
    super::AgentId = "agent";
    super::RunId = "run";
    super::Seq = "integer";
}

impl<T: Described> Described for Option<T> {
    fn shape() -> Shape {
        Shape::OrNull(Box::new(T::shape()))
    }
}

impl<T: Described> Described for Box<T> {
    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: Described> Described for Vec<T> {
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
}

impl<K: Described, T: Described> Described for BTreeMap<K, T> {
    fn shape() -> Shape {
        Shape::Map(Box::new(K::shape()), Box::new(T::shape()))
    }
}
