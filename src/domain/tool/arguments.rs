//! Arguments of tool calls: a type, from which the JSON Schema for callers and the rules for checking the
//! configuration are derived. An argument is described only in the doc comment of its field.
//!
//! Settings restrict what a type allows: an instance takes fewer arguments, fewer words, or names its own hosts.
//! See [`CallSchema`].
use crate::domain::described::text;
use crate::domain::words::Word;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

/// A type that can be part of arguments.
pub trait ArgumentType {
    /// Whether an argument of this type is required.
    const IS_REQUIRED: bool = true;

    /// Returns the JSON Schema of its values (draft 2020-12), without a description.
    fn schema() -> Value;

    /// Returns its fields, if its values are objects.
    fn properties() -> Vec<Property> {
        Vec::new()
    }

    /// Returns its variants by their tags, each with its fields, if it has several.
    fn forms() -> Vec<(String, Vec<Property>)> {
        Vec::new()
    }
}

/// One argument, as a property of the schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    name: String,
    schema: Value,
    is_required: bool,
}

impl Property {
    /// Returns the properties of a field from its declaration: one, or with `#[serde(flatten)]` those of its type.
    pub(super) fn of<T: ArgumentType>(field: &str, about: &[&str], serde: &str) -> Vec<Self> {
        let has =
            |word: &str| serde.split(',').any(|part| part.split('=').next().unwrap_or("").trim() == word);
        if has("flatten") {
            return T::properties();
        }
        let renamed = serde.split(',').find_map(|part| part.trim().strip_prefix("rename = "));
        let name = renamed.map_or(field, |name| name.trim_matches('"')).to_owned();
        let mut schema = T::schema();
        schema["description"] = text(about).into();
        vec![Self { name, schema, is_required: T::IS_REQUIRED && !has("default") }]
    }

    /// Returns the properties of an object with several variants: `tag`, which selects one, and those of all
    /// variants. Only the tag is required.
    pub(super) fn of_forms(tag: &str, forms: Vec<(String, Vec<Self>)>) -> Vec<Self> {
        let words: Vec<&str> = forms.iter().map(|(form, _)| form.as_str()).collect();
        let schema = json!({"type": "string", "enum": words});
        let mut all = vec![Self { name: tag.to_owned(), schema, is_required: true }];
        for (form, properties) in forms {
            all.extend(properties.into_iter().map(|property| {
                let description = property.schema["description"].as_str().unwrap_or_default();
                let description = format!("{form}: {description}");
                property.optional().with("description", description)
            }));
        }
        all
    }

    fn with(mut self, word: &str, value: impl Into<Value>) -> Self {
        self.schema[word] = value.into();
        self
    }

    /// Sets the minimum of a number.
    pub(super) fn at_least(self, least: u64) -> Self {
        self.with("minimum", least)
    }

    /// Sets the maximum of a number.
    pub(super) fn at_most(self, most: u64) -> Self {
        self.with("maximum", most)
    }

    /// Requires a list with at least one item.
    pub(super) fn not_empty(self) -> Self {
        self.with("minItems", 1)
    }

    /// Sets the range of the numbers in a list.
    pub(super) fn each_within(mut self, least: u64, most: u64) -> Self {
        self.schema["items"]["minimum"] = least.into();
        self.schema["items"]["maximum"] = most.into();
        self
    }

    /// Accepts a single value instead of a list.
    pub(super) fn or_one(mut self) -> Self {
        for (word, value) in self.schema["items"].as_object().cloned().into_iter().flatten() {
            self.schema[&word] = if word == "type" { json!([value, "array"]) } else { value };
        }
        self
    }

    /// Sets the default.
    pub(super) fn default_is(self, value: impl Into<Value>) -> Self {
        self.with("default", value)
    }

    /// Replaces each `{}` in the description by these values.
    pub(super) fn filled(self, values: &[&dyn Display]) -> Self {
        let description = self.schema["description"].as_str().unwrap_or_default();
        let mut parts = description.split("{}");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for (part, value) in parts.zip(values) {
            filled.push_str(&value.to_string());
            filled.push_str(part);
        }
        self.with("description", filled)
    }

    /// Removes the description, since the name suffices.
    pub(super) fn undescribed(mut self) -> Self {
        if let Some(schema) = self.schema.as_object_mut() {
            schema.remove("description");
        }
        self
    }

    /// Makes it optional, since the tool itself explains what is missing better than a schema can.
    pub(super) fn optional(self) -> Self {
        Self { is_required: false, ..self }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether it is required.
    pub fn is_required(&self) -> bool {
        self.is_required
    }

    /// Returns the allowed words; `None` if it is not an enumeration.
    pub fn words(&self) -> Option<Vec<&str>> {
        let words = self.schema["enum"].as_array()?;
        Some(words.iter().filter_map(Value::as_str).collect())
    }

    /// Returns the allowed range; `None` if it is not an integer.
    pub fn range(&self) -> Option<RangeInclusive<u64>> {
        let bound = |word: &str| self.schema[word].as_u64();
        (self.schema["type"] == "integer")
            .then(|| bound("minimum").unwrap_or(0)..=bound("maximum").unwrap_or(u64::MAX))
    }

    /// Returns whether it takes only text.
    pub fn is_text(&self) -> bool {
        self.schema["type"] == "string"
    }
}

/// The arguments of a tool's calls: those of its type, restricted by the settings of an instance. Restricting an
/// unknown argument is a programming error, and panics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallSchema {
    properties: Vec<Property>,
}

impl CallSchema {
    /// Returns all arguments of this type.
    pub(super) fn of<T: ArgumentType>() -> Self {
        Self { properties: T::properties() }
    }

    /// Returns the arguments in the order of their declaration.
    pub fn properties(&self) -> &[Property] {
        &self.properties
    }

    fn change(mut self, name: &str, change: impl FnOnce(&mut Property)) -> Self {
        change(self.properties.iter_mut().find(|property| property.name == name).expect("an argument"));
        self
    }

    /// Returns the description of this argument.
    pub(super) fn description(&self, name: &str) -> &str {
        let property = self.properties.iter().find(|property| property.name == name);
        property.and_then(|property| property.schema["description"].as_str()).unwrap_or_default()
    }

    /// Replaces the description of this argument.
    pub(super) fn describe(self, name: &str, description: String) -> Self {
        self.change(name, |property| property.schema["description"] = description.into())
    }

    /// Restricts this argument to these words.
    pub(super) fn only<T: AsRef<str>>(self, name: &str, words: impl IntoIterator<Item = T>) -> Self {
        let words: Vec<Value> = words.into_iter().map(|word| word.as_ref().into()).collect();
        self.change(name, |property| property.schema["enum"] = words.into())
    }

    /// Sets the maximum of this argument.
    pub(super) fn at_most(self, name: &str, most: u64) -> Self {
        self.change(name, |property| property.schema["maximum"] = most.into())
    }

    /// Makes this argument required.
    pub(super) fn require(self, name: &str) -> Self {
        self.change(name, |property| property.is_required = true)
    }

    /// Removes this argument.
    pub(super) fn without(mut self, name: &str) -> Self {
        let known = self.properties.len();
        self.properties.retain(|property| property.name != name);
        assert!(self.properties.len() < known, "there is no argument `{name}`");
        self
    }

    /// Returns the JSON Schema: an object with these properties and no others.
    pub fn json(&self) -> Value {
        let properties: Map<String, Value> =
            self.properties.iter().map(|property| (property.name.clone(), property.schema.clone())).collect();
        let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
        let required: Vec<&str> =
            self.properties.iter().filter(|property| property.is_required).map(Property::name).collect();
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        schema
    }
}

/// Defines structs whose fields are arguments, and internally tagged enums, and implements [`ArgumentType`] for
/// them. The syntax is the usual one. `#[schema(…)]` after a field adds what its type does not say: methods of
/// [`Property`].
macro_rules! arguments {
    () => {};
    (
        $(#[doc = $about:literal])*
        $(#[derive($($derive:tt)*)])?
        $(#[serde($($container:tt)*)])?
        pub struct $name:ident { $(
            $(#[doc = $field_about:literal])*
            $(#[serde($($serde:tt)*)])*
            $(#[schema($($schema:tt)*)])?
            pub $field:ident: $type:ty,
        )* }
        $($rest:tt)*
    ) => {
        $(#[doc = $about])*
        $(#[derive($($derive)*)])?
        $(#[serde($($container)*)])?
        pub struct $name { $(
            $(#[doc = $field_about])*
            $(#[serde($($serde)*)])*
            pub $field: $type,
        )* }

        impl $crate::domain::tool::arguments::ArgumentType for $name {
            fn schema() -> serde_json::Value {
                $crate::domain::tool::arguments::CallSchema::of::<Self>().json()
            }

            fn properties() -> Vec<$crate::domain::tool::arguments::Property> {
                $crate::domain::tool::arguments::fields!($(
                    $field: $type, [$($field_about),*], [$($($serde)*,)*], [$($($schema)*)?];
                )*)
            }
        }

        $crate::domain::tool::arguments::arguments! { $($rest)* }
    };
    (
        $(#[doc = $about:literal])*
        $(#[derive($($derive:tt)*)])?
        #[serde(tag = $tag:literal, rename_all = "snake_case")]
        pub enum $name:ident { $(
            $(#[doc = $variant_about:literal])*
            $variant:ident
            $({ $(
                $(#[doc = $field_about:literal])*
                $(#[serde($($serde:tt)*)])*
                $(#[schema($($schema:tt)*)])?
                $field:ident: $type:ty,
            )* })?
            $(($inner:ty))?,
        )* }
        $($rest:tt)*
    ) => {
        $(#[doc = $about])*
        $(#[derive($($derive)*)])?
        #[serde(tag = $tag, rename_all = "snake_case")]
        pub enum $name { $(
            $(#[doc = $variant_about])*
            $variant
            $({ $(
                $(#[doc = $field_about])*
                $(#[serde($($serde)*)])*
                $field: $type,
            )* })?
            $(($inner))?,
        )* }

        impl $crate::domain::tool::arguments::ArgumentType for $name {
            fn schema() -> serde_json::Value {
                $crate::domain::tool::arguments::CallSchema::of::<Self>().json()
            }

            fn properties() -> Vec<$crate::domain::tool::arguments::Property> {
                let forms = <Self as $crate::domain::tool::arguments::ArgumentType>::forms();
                $crate::domain::tool::arguments::Property::of_forms($tag, forms)
            }

            fn forms() -> Vec<(String, Vec<$crate::domain::tool::arguments::Property>)> {
                use $crate::domain::tool::arguments;
                vec![$({
                    let properties: Vec<Vec<arguments::Property>> = vec![
                        $(arguments::fields!($(
                            $field: $type, [$($field_about),*], [$($($serde)*,)*], [$($($schema)*)?];
                        )*),)?
                        $(<$inner as arguments::ArgumentType>::properties(),)?
                    ];
                    ($crate::domain::snake_case(stringify!($variant)), properties.concat())
                },)*]
            }
        }

        $crate::domain::tool::arguments::arguments! { $($rest)* }
    };
}
pub(super) use arguments;

/// Returns the properties of fields.
macro_rules! fields {
    ($($field:ident: $type:ty, [$($about:literal),*], [$($serde:tt)*], [$($schema:tt)*];)*) => {{
        let all: Vec<Vec<$crate::domain::tool::arguments::Property>> = vec![$(
            $crate::domain::tool::arguments::changed!(
                $crate::domain::tool::arguments::Property::of::<$type>(
                    stringify!($field),
                    &[$($about),*],
                    stringify!($($serde)*),
                ),
                $($schema)*
            ),
        )*];
        all.concat()
    }};
}
pub(super) use fields;

/// Applies `#[schema(…)]` to properties.
macro_rules! changed {
    ($of_field:expr,) => { $of_field };
    ($of_field:expr, $($schema:tt)+) => {
        $of_field.into_iter().map(|property| property.$($schema)+).collect()
    };
}
pub(super) use changed;

macro_rules! plain {
    ($($type:ty = $schema:tt;)*) => {
        $(impl ArgumentType for $type { fn schema() -> Value { json!($schema) } })*
    };
}

plain! {
    String = {"type": "string"};
    PathBuf = {"type": "string"};
    bool = {"type": "boolean"};
    u16 = {"type": "integer", "minimum": 0, "maximum": 65535};
    u64 = {"type": "integer", "minimum": 0};
    f64 = {"type": "number"};
    Timestamp = {"type": "string", "format": "date-time"};
    // seconds, or a text such as 5m
    SignedDuration = {"type": ["number", "string"], "minimum": 0};
}

impl<T: Word> ArgumentType for T {
    fn schema() -> Value {
        json!({"type": "string", "enum": T::WORDS})
    }
}

impl<T: ArgumentType> ArgumentType for Option<T> {
    const IS_REQUIRED: bool = false;

    fn schema() -> Value {
        T::schema()
    }
}

impl<T: ArgumentType> ArgumentType for Arc<T> {
    fn schema() -> Value {
        T::schema()
    }
}

impl<T: ArgumentType> ArgumentType for Vec<T> {
    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }
}

impl<T> ArgumentType for BTreeMap<String, T> {
    fn schema() -> Value {
        json!({"type": "object"})
    }
}

#[cfg(test)]
#[expect(dead_code, reason = "only the schemas of these types are looked at")]
mod tests {
    //! Tests of types and their schemas.
    use super::*;
    use serde::Deserialize;

    arguments! {
        /// What a call asks for.
        #[derive(Deserialize)]
        pub struct SampleArgs {
            /// Its name
            /// in full.
            pub name: String,
            /// At most {}, else {}.
            #[serde(default, rename = "as")]
            #[schema(at_least(1).at_most(9).filled(&[&9, &"none"]))]
            pub most: u64,
            /// Not for callers to read.
            #[schema(undescribed())]
            pub flags: Option<Vec<bool>>,
            /// Not a field of its own.
            #[serde(flatten)]
            pub form: SampleForm,
        }
        /// Which of several.
        #[derive(Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        pub enum SampleForm {
            /// Without fields.
            AllOfIt,
            /// With a field.
            Part {
                /// Which.
                key: String,
            },
            /// With the fields of another type.
            Whole(SampleWhole),
        }
        /// What the third form has.
        #[derive(Deserialize)]
        pub struct SampleWhole {
            /// How much.
            #[schema(default_is(0.5))]
            pub share: f64,
        }
    }

    #[test]
    fn a_schema_is_what_a_type_says() {
        let schema = CallSchema::of::<SampleArgs>();
        assert_eq!(
            schema.json(),
            json!({
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "Its name in full."},
                    "as": {"type": "integer", "minimum": 1, "maximum": 9, "description": "At most 9, else none."},
                    "flags": {"type": "array", "items": {"type": "boolean"}},
                    "type": {"type": "string", "enum": ["all_of_it", "part", "whole"]},
                    "key": {"type": "string", "description": "part: Which."},
                    "share": {"type": "number", "default": 0.5, "description": "whole: How much."},
                },
                "required": ["name", "type"],
                "additionalProperties": false,
            })
        );
        let names: Vec<_> = schema.properties().iter().map(Property::name).collect();
        assert_eq!(names, ["name", "as", "flags", "type", "key", "share"]);
        let [name, most, _, form, ..] = schema.properties() else { panic!("four arguments") };
        assert!(name.is_text() && name.is_required() && name.words().is_none() && name.range().is_none());
        assert_eq!((most.range(), most.is_required()), (Some(1..=9), false));
        assert_eq!(form.words(), Some(vec!["all_of_it", "part", "whole"]));
    }

    #[test]
    fn settings_narrow_a_schema() {
        let schema = CallSchema::of::<SampleArgs>();
        let all = schema.json();
        let narrow = schema
            .only("type", ["part"])
            .at_most("as", 3)
            .require("key")
            .describe("name", "Its name.".into())
            .without("flags")
            .json();
        assert_eq!(narrow["properties"]["type"]["enum"], json!(["part"]));
        assert_eq!(narrow["properties"]["as"]["maximum"], 3);
        assert_eq!(narrow["required"], json!(["name", "type", "key"]));
        assert_eq!(narrow["properties"]["name"]["description"], "Its name.");
        assert_eq!(narrow["properties"].get("flags"), None);
        assert_eq!(all["properties"]["share"], narrow["properties"]["share"]);
    }
}
