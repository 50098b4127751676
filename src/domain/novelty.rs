//! New items in the result of a gate: identification and deduplication.
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Returns the list of items: the result itself, its `items`, its `rows`, or its only list.
pub fn items(result: &mut Value) -> Option<&mut Vec<Value>> {
    if result.is_array() {
        return result.as_array_mut();
    }
    let fields = result.as_object_mut()?;
    let lists = || ["items", "rows"].into_iter();
    let name = lists().find(|name| fields.get(*name).is_some_and(Value::is_array)).map(str::to_owned);
    let name = name.or_else(|| {
        let mut lists = fields.iter().filter(|(_, value)| value.is_array());
        let only = lists.next().map(|(name, _)| name.clone());
        only.filter(|_| lists.next().is_none())
    })?;
    fields.get_mut(&name)?.as_array_mut()
}

/// Returns the identifying key of each item: a hash of the named fields; of its `id` if it has none of these
/// fields; of the whole item if it has no `id` either.
pub fn keys(items: &[Value], by: &[String]) -> Vec<String> {
    let key = |item: &Value| {
        let parts: Vec<Value> =
            by.iter().map(|field| at_path(item, field).cloned().unwrap_or_default()).collect();
        let text = match (parts.iter().all(Value::is_null), item.get("id")) {
            (false, _) => Value::Array(parts).to_string(),
            (true, Some(id)) if !id.is_null() => json!({"id": id}).to_string(),
            (true, _) => item.to_string(),
        };
        Sha256::digest(text.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    items.iter().map(key).collect()
}

/// Removes seen and duplicate items; returns the keys of the rest.
pub fn keep_new(items: &mut Vec<Value>, keys: Vec<String>, seen: &[bool]) -> Vec<String> {
    let mut new: Vec<String> = Vec::new();
    let mut at = 0;
    items.retain(|_| {
        let (key, seen) = (&keys[at], seen.get(at).copied().unwrap_or(false));
        at += 1;
        let keep = !seen && !new.contains(key);
        if keep {
            new.push(key.clone());
        }
        keep
    });
    new
}

/// Returns the value at a path of field names and list indexes.
pub fn at_path<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    //! Tests of what is new.
    use super::*;

    #[test]
    fn what_was_seen_is_left_out() {
        let mut result =
            json!({"items": [{"link": "a"}, {"link": "b"}, {"link": "a", "x": 1}, {"title": "t"}], "n": 3});
        let by = ["link".to_owned()];
        let list = items(&mut result).unwrap();
        let all = keys(list, &by);
        assert_eq!(all[0], all[2]);
        let new = keep_new(list, all.clone(), &[false, true, false, false]);
        assert_eq!(new, [all[0].clone(), all[3].clone()]);
        assert_eq!(result["items"], json!([{"link": "a"}, {"title": "t"}]));
        let edited = |title: &str| json!({"id": 7, "title": title});
        assert_eq!(keys(&[edited("a")], &by), keys(&[edited("b")], &by));
        assert_ne!(keys(&[json!({"title": "a"})], &by), keys(&[json!({"title": "b"})], &by));
        assert_eq!(items(&mut json!({"a": []})).map(|list| list.len()), Some(0));
        assert!(items(&mut json!({"a": [], "b": []})).is_none());
        assert!(items(&mut json!("x")).is_none());
    }
}
