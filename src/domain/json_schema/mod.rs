//! JSON Schema: validation of values, and checking whether a schema is supported.
//!
//! Draft 2020-12, except references to other documents and anchors, `$dynamicRef` and the `unevaluated…` keywords;
//! of older drafts `definitions`, and `items` with a list. `format` and `content…` are annotations, as by default.
//! Patterns are those of `regex-lite`: ECMA-262 without look-around and backreferences.
use crate::domain::json_schema::parts::{Pattern, lookup, pattern_of};
mod known;
mod numbers;
mod parts;
mod words;

use serde_json::{Map, Value};
use words::*;

pub use known::check_schema;

/// Validates a value; reports the first five errors. `whole` is the name of the value in messages: "the arguments".
/// Unsupported parts of the schema are ignored; [`check_schema`] finds them.
///
/// # Errors
/// Sentences, each with the path of what does not match; or that validation takes too long.
pub fn fits_schema(whole: &str, schema: &Value, value: &Value) -> Result<(), String> {
    let mut checker = Checker { whole, root: schema, left: MAX_STEPS, deep: 0, errors: Vec::new() };
    checker.check(schema, value, "");
    if checker.left == 0 {
        return Err(format!("{whole} can't be checked: the schema is too deep, or takes too long"));
    }
    let mut errors = checker.errors;
    if errors.is_empty() {
        return Ok(());
    }
    let more = errors.len().saturating_sub(MAX_ERRORS);
    errors.truncate(MAX_ERRORS);
    let mut text = errors.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    Err(text)
}

/// Returns whether a value matches a subschema of `root`, in which its references are resolved. `left` is a budget
/// of steps shared with other calls; once it is used up, nothing matches.
pub fn fits_part(root: &Value, schema: &Value, value: &Value, left: &mut u32) -> bool {
    let mut checker = Checker { whole: "it", root, left: *left, deep: 0, errors: Vec::new() };
    checker.check(schema, value, "");
    *left = checker.left;
    checker.left > 0 && checker.errors.is_empty()
}

/// Maximum number of errors reported.
const MAX_ERRORS: usize = 5;
/// Maximum number of errors collected for the count.
const MAX_COUNTED_ERRORS: usize = 100;
/// Maximum length of an error, in characters: a schema may contain long texts.
const MAX_ERROR_CHARS: usize = 1000;
/// Maximum number of subschemas compared with values: the author of the schema may be hostile.
const MAX_STEPS: u32 = 200_000;
/// Maximum nesting depth of schemas, including references.
const MAX_DEPTH: u32 = 200;

/// Cost of compiling a pattern, in steps.
const PATTERN_STEPS: u32 = 100;
/// Number of state transitions of a pattern that count as one step.
const STATES_PER_STEP: u64 = 500;
/// Bytes of error text that count as one step.
const BYTES_PER_STEP: usize = 200;
/// Number of comparisons of whole values that count as one step.
const COMPARISONS_PER_STEP: usize = 10;

struct Checker<'a> {
    whole: &'a str,
    root: &'a Value,
    /// Remaining steps; at 0 validation stops.
    left: u32,
    deep: u32,
    errors: Vec<String>,
}

impl<'a> Checker<'a> {
    fn check(&mut self, schema: &'a Value, value: &Value, path: &str) {
        self.left = if self.deep == MAX_DEPTH { 0 } else { self.left.saturating_sub(1) };
        if self.left == 0 {
            return;
        }
        self.deep += 1;
        match schema {
            Value::Bool(false) => self.push(format!("{} can't be there at all", self.name(path))),
            Value::Object(schema) => self.check_all(schema, value, path),
            _ => {}
        }
        self.deep -= 1;
    }

    fn check_all(&mut self, schema: &'a Map<String, Value>, value: &Value, path: &str) {
        if let Some(other) = schema.get("$ref").and_then(Value::as_str).and_then(|at| lookup(self.root, at)) {
            self.check(other, value, path);
        }
        if let Some(wanted) = schema.get("type") {
            let wanted: Vec<&str> = match wanted {
                Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
                other => other.as_str().into_iter().collect(),
            };
            if !wanted.iter().any(|wanted| numbers::is_a(value, wanted)) {
                let wanted: Vec<&str> = wanted.into_iter().map(with_article).collect();
                let wanted = wanted.join(" or ");
                return self.push(format!("{} must be {wanted}, not {}", self.name(path), shown(value)));
            }
        }
        if let Some(Value::Array(allowed)) = schema.get("enum")
            && self.pay((allowed.len() / COMPARISONS_PER_STEP) as u64)
            && !allowed.iter().any(|one| numbers::same(one, value))
            && self.pay(allowed.len() as u64)
        {
            return self.push(one_of(&self.name(path), allowed, value));
        }
        if let Some(wanted) = schema.get("const").filter(|wanted| !numbers::same(wanted, value)) {
            return self.push(format!("{} must be {wanted}, not {}", self.name(path), shown(value)));
        }
        match value {
            Value::Object(map) => self.check_object(schema, map, path),
            Value::Array(list) => self.check_array(schema, list, path),
            Value::String(text) => self.check_text(schema, text, path),
            Value::Number(number) => self.check_number(schema, number.as_f64().unwrap_or(0.0), path),
            Value::Null | Value::Bool(_) => {}
        }
        self.check_combined(schema, value, path);
    }

    fn check_combined(&mut self, schema: &'a Map<String, Value>, value: &Value, path: &str) {
        for member in list(schema, "allOf") {
            self.check(member, value, path);
        }
        let has = |key: &str| value.as_object().is_some_and(|map| map.contains_key(key));
        for (_, schema) in entries(schema, "dependentSchemas").filter(|(key, _)| has(key)) {
            self.check(schema, value, path);
        }
        if let Some(Value::Array(forms)) = schema.get("anyOf") {
            let tried = forms.iter().map(|form| self.tried(form, value, path)).collect();
            self.judge(tried, false, path);
        }
        if let Some(Value::Array(forms)) = schema.get("oneOf") {
            let tried = forms.iter().map(|form| self.tried(form, value, path)).collect();
            self.judge(tried, true, path);
        }
        if let Some(not) = schema.get("not")
            && self.tried(not, value, path).is_empty()
        {
            let not = self.text_of(not);
            self.push(format!("{} must not fit {}", self.name(path), cut(&not)));
        }
        if let Some(condition) = schema.get("if") {
            let then = if self.tried(condition, value, path).is_empty() { "then" } else { "else" };
            if let Some(schema) = schema.get(then) {
                self.check(schema, value, path);
            }
        }
    }

    /// Returns the errors of a value against a schema without recording them.
    fn tried(&mut self, schema: &'a Value, value: &Value, path: &str) -> Vec<String> {
        let before = std::mem::take(&mut self.errors);
        self.check(schema, value, path);
        std::mem::replace(&mut self.errors, before)
    }

    /// Requires that one of several schemas matches; with `only`, exactly one.
    fn judge(&mut self, tried: Vec<Vec<String>>, only: bool, path: &str) {
        let fitting = tried.iter().filter(|against| against.is_empty()).count();
        if fitting > 1 && only {
            self.push(format!("{} must fit one form only, but fits {fitting}", self.name(path)));
        }
        if fitting == 0 {
            let mut against: Vec<String> =
                tried.into_iter().filter_map(|all| all.into_iter().next()).collect();
            against.dedup();
            self.push(match against.len() {
                0 | 1 => against.pop().unwrap_or_else(|| format!("{} can't be right", self.name(path))),
                _ => format!("{} fits none of its forms ({})", self.name(path), against.join(", or ")),
            });
        }
    }

    fn check_object(&mut self, schema: &'a Map<String, Value>, map: &Map<String, Value>, path: &str) {
        let required = list(schema, "required").filter_map(Value::as_str);
        if !self.pay((list(schema, "required").count() / COMPARISONS_PER_STEP) as u64) {
            return;
        }
        for key in required.filter(|key| !map.contains_key(*key)) {
            self.push(format!("`{}` is missing", below(path, key)));
        }
        for (key, more) in entries(schema, "dependentRequired").filter(|(key, _)| map.contains_key(*key)) {
            let more = more.as_array().into_iter().flatten().filter_map(Value::as_str);
            for required in more.filter(|required| !map.contains_key(*required)) {
                self.push(format!("`{}` is missing, which `{key}` needs beside it", below(path, required)));
            }
        }
        self.bounds(schema, ["minProperties", "maxProperties"], map.len(), ["have", "key", "keys"], path);
        self.check_keys(schema, map, path);
        if let Some(names) = schema.get("propertyNames") {
            for key in map.keys() {
                let against = self.tried(names, &Value::String(key.clone()), "");
                if let Some(against) = against.into_iter().next() {
                    let against = against.replacen(self.whole, &format!("the key `{}`", cut(key)), 1);
                    self.push(if path.is_empty() { against } else { format!("`{path}`: {against}") });
                }
            }
        }
    }

    fn check_keys(&mut self, schema: &'a Map<String, Value>, map: &Map<String, Value>, path: &str) {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let patterns: Vec<(Pattern, &Value)> = entries(schema, "patternProperties")
            .filter_map(|(pattern, schema)| Some((self.regex(pattern)?, schema)))
            .collect();
        let other = schema.get("additionalProperties");
        for (key, value) in map {
            let at = below(path, key);
            let own = properties.and_then(|properties| properties.get(key));
            let matching = patterns.iter().filter(|(pattern, _)| self.matches(pattern, key));
            let matching: Vec<&Value> = matching.map(|(_, schema)| *schema).collect();
            let said: Vec<&Value> = own.into_iter().chain(matching).collect();
            match other {
                Some(Value::Bool(false)) if said.is_empty() => {
                    // the key is compared with each known key
                    if !self.pay(properties.map_or(0, Map::len) as u64) {
                        return;
                    }
                    self.push(unknown_key(&self.name(path), key, properties.unwrap_or(&none)));
                }
                Some(other) if said.is_empty() => self.check(other, value, &at),
                _ => said.into_iter().for_each(|schema| self.check(schema, value, &at)),
            }
        }
    }

    /// Compiles a pattern, which costs many steps.
    fn regex(&mut self, pattern: &str) -> Option<Pattern> {
        if self.pay(PATTERN_STEPS.into()) { pattern_of(pattern).ok() } else { None }
    }

    /// Matches a text. The cost is bounded by the product of pattern size and text length.
    fn matches(&mut self, pattern: &Pattern, text: &str) -> bool {
        self.pay(pattern.states * text.len() as u64 / STATES_PER_STEP) && pattern.regex.is_match(text)
    }

    /// Consumes steps; returns false if none are left, and the work must not be done.
    fn pay(&mut self, steps: u64) -> bool {
        self.left = u32::try_from(steps).map_or(0, |steps| self.left.saturating_sub(steps));
        self.left > 0
    }

    fn check_array(&mut self, schema: &'a Map<String, Value>, items: &[Value], path: &str) {
        self.bounds(schema, ["minItems", "maxItems"], items.len(), ["have", "item", "items"], path);
        // Before draft 2020-12, a list in `items` had the meaning of `prefixItems`.
        let old = schema.get("items").and_then(Value::as_array);
        let first = old.or_else(|| schema.get("prefixItems").and_then(Value::as_array));
        let first = first.map_or(&[][..], Vec::as_slice);
        let rest = schema.get(if old.is_some() { "additionalItems" } else { "items" });
        for (at, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(at).or(rest) {
                self.check(schema, item, &format!("{path}[{at}]"));
            }
        }
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
            self.check_unique(items, path);
        }
        if let Some(wanted) = schema.get("contains") {
            let name = self.name(path);
            let count = items.iter().filter(|item| self.tried(wanted, item, path).is_empty()).count() as u64;
            let bound = |key| schema.get(key).and_then(numbers::whole);
            let (least, most) = (bound("minContains").unwrap_or(1), bound("maxContains").unwrap_or(u64::MAX));
            if count < least || count > most {
                let wanted = cut(&self.text_of(wanted));
                let most = if most == u64::MAX { String::new() } else { format!(" and at most {most}") };
                self.push(format!("{name} must have at least {least}{most} that fit {wanted}, not {count}"));
            }
        }
    }

    fn check_unique(&mut self, items: &[Value], path: &str) {
        for (at, item) in items.iter().enumerate() {
            for (earlier, other) in items[..at].iter().enumerate() {
                self.left = self.left.saturating_sub(1);
                if self.left == 0 {
                    return;
                }
                if numbers::same(item, other) {
                    return self.push(format!("`{path}[{at}]` is the same as `{path}[{earlier}]`"));
                }
            }
        }
    }

    fn check_text(&mut self, schema: &Map<String, Value>, text: &str, path: &str) {
        let length = text.chars().count();
        self.bounds(
            schema,
            ["minLength", "maxLength"],
            length,
            ["be", "character long", "characters long"],
            path,
        );
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && let Some(wanted) = self.regex(pattern)
            && !self.matches(&wanted, text)
        {
            self.push(format!("{} must match {pattern}, not be \"{}\"", self.name(path), cut(text)));
        }
    }

    fn check_number(&mut self, schema: &Map<String, Value>, number: f64, path: &str) {
        type Breaks = fn(f64, f64) -> bool;
        let bounds: [(&str, &str, Breaks); 5] = [
            ("minimum", "at least", |number, bound| number < bound),
            ("maximum", "at most", |number, bound| number > bound),
            ("exclusiveMinimum", "more than", |number, bound| number <= bound),
            ("exclusiveMaximum", "less than", |number, bound| number >= bound),
            ("multipleOf", "a multiple of", |number, step| !numbers::is_multiple(number, step)),
        ];
        for (key, word, breaks) in bounds {
            if let Some(bound) = schema.get(key)
                && bound.as_f64().is_some_and(|bound| breaks(number, bound))
            {
                self.push(format!("{} must be {word} {bound}, not {number}", self.name(path)));
            }
        }
    }

    /// Checks that `count` is within bounds. `words`: the verb, and the noun in singular and plural.
    fn bounds(
        &mut self,
        schema: &Map<String, Value>,
        keys: [&str; 2],
        count: usize,
        words: [&str; 3],
        path: &str,
    ) {
        let [verb, one, many] = words;
        let counted = |bound| if bound == 1 { one } else { many };
        let count = count as u64;
        let [least, most] = keys.map(|key| schema.get(key).and_then(numbers::whole));
        if let Some(least) = least.filter(|least| count < *least) {
            let counted = counted(least);
            self.push(format!("{} must {verb} at least {least} {counted}, not {count}", self.name(path)));
        }
        if let Some(most) = most.filter(|most| count > *most) {
            self.push(format!(
                "{} must {verb} at most {most} {}, not {count}",
                self.name(path),
                counted(most)
            ));
        }
    }

    /// Returns a schema as text, which costs steps as well.
    fn text_of(&mut self, schema: &Value) -> String {
        let text = schema.to_string();
        self.pay((text.len() / BYTES_PER_STEP) as u64);
        text
    }

    fn push(&mut self, error: String) {
        self.pay((error.len() / BYTES_PER_STEP) as u64);
        if self.errors.len() < MAX_COUNTED_ERRORS {
            self.errors.push(match error.char_indices().nth(MAX_ERROR_CHARS) {
                Some((end, _)) => format!("{}…", &error[..end]),
                None => error,
            });
        }
    }

    fn name(&self, path: &str) -> String {
        if path.is_empty() { self.whole.to_owned() } else { format!("`{path}`") }
    }
}

fn list<'a>(schema: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn entries<'a>(
    schema: &'a Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    schema.get(key).and_then(Value::as_object).into_iter().flatten()
}

/// Returns the path of a key in an object. It precedes each error inside, so a long key is cut.
fn below(path: &str, key: &str) -> String {
    let key = cut(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests;
