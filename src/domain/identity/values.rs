//! The canonical form of plain values and of collections.
use super::form::{Canonical, Form};
use crate::domain::ids::AgentId;
use crate::domain::words::Word;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

macro_rules! tokens {
    ($($type:ty),*) => { $(impl Canonical for $type {
        fn write(&self, form: &mut Form) { form.token(self); }
    })* };
}

tokens!(u16, u32, u64, usize, i64);

/// A word has the form of a text, whatever its type is now.
impl<T: Word> Canonical for T {
    fn write(&self, form: &mut Form) {
        form.text(self.as_str());
    }
}

impl Canonical for bool {
    fn is_nothing(&self) -> bool {
        !self
    }
    fn write(&self, form: &mut Form) {
        form.token(self);
    }
}

impl Canonical for f64 {
    fn write(&self, form: &mut Form) {
        form.token(format_args!("x{:016x}", self.to_bits()));
    }
}

impl Canonical for str {
    fn write(&self, form: &mut Form) {
        form.text(self);
    }
}

impl Canonical for String {
    fn write(&self, form: &mut Form) {
        form.text(self);
    }
}

impl Canonical for PathBuf {
    fn write(&self, form: &mut Form) {
        form.bytes(self.as_os_str().as_encoded_bytes());
    }
}

impl Canonical for SignedDuration {
    fn write(&self, form: &mut Form) {
        form.token(self.as_nanos());
    }
}

impl Canonical for Timestamp {
    fn write(&self, form: &mut Form) {
        form.token(self.as_nanosecond());
    }
}

/// By its name in the IANA database; the rules behind a name are not part of a configuration. A zone without a name
/// is that of the machine.
impl Canonical for TimeZone {
    fn write(&self, form: &mut Form) {
        form.text(self.iana_name().unwrap_or("local time"));
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn is_nothing(&self) -> bool {
        self.is_none()
    }
    fn write(&self, form: &mut Form) {
        if let Some(value) = self {
            value.write(form);
        }
    }
}

impl<T: Canonical + ?Sized> Canonical for Arc<T> {
    fn is_nothing(&self) -> bool {
        (**self).is_nothing()
    }
    fn write(&self, form: &mut Form) {
        (**self).write(form);
    }
}

impl Canonical for jiff::civil::Time {
    fn write(&self, form: &mut Form) {
        form.token(self);
    }
}

impl Canonical for Box<str> {
    fn write(&self, form: &mut Form) {
        form.text(self);
    }
}

impl<T: Canonical> Canonical for [T] {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
    fn write(&self, form: &mut Form) {
        form.raw("[");
        self.iter().for_each(|value| value.write(form));
        form.raw("]");
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
    fn write(&self, form: &mut Form) {
        self[..].write(form);
    }
}

/// The names are the user's: each is written as a text, in sorted order.
impl<T: Canonical> Canonical for BTreeMap<String, T> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
    fn write(&self, form: &mut Form) {
        named(form, self);
    }
}

fn named<'a, T: Canonical + 'a>(form: &mut Form, sorted: impl IntoIterator<Item = (&'a String, &'a T)>) {
    form.table(|form| {
        for (name, value) in sorted {
            form.text(name);
            form.raw("=");
            value.write(form);
        }
    });
}

/// JSON by value: the order of names and whitespace do not count.
impl Canonical for Value {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Null => form.token("null"),
            Self::Bool(flag) => form.token(flag),
            Self::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(whole), ..) => form.token(whole),
                (_, Some(whole), _) => form.token(whole),
                (.., Some(real)) => real.write(form),
                _ => form.text(&number.to_string()),
            },
            Self::String(text) => form.text(text),
            Self::Array(values) => values.write(form),
            Self::Object(fields) => fields.write(form),
        }
    }
}

impl Canonical for serde_json::Map<String, Value> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
    fn write(&self, form: &mut Form) {
        named(form, self.iter().collect::<BTreeMap<_, _>>());
    }
}

impl Canonical for AgentId {
    fn write(&self, form: &mut Form) {
        form.text(self.as_str());
    }
}

impl Canonical for core::net::SocketAddr {
    fn write(&self, form: &mut Form) {
        form.token(self);
    }
}
