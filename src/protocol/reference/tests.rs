//! The document is whole, and its examples are what the types say.
use super::*;
use crate::protocol::methods::Request;

#[test]
fn each_method_has_an_example_and_each_example_is_what_its_types_say() {
    let (groups, examples) = (described_methods(), examples());
    let methods: Vec<&MethodDescription> = groups.iter().flat_map(|group| &group.methods).collect();
    assert_eq!(methods.iter().map(|method| method.name).collect::<Vec<_>>(), Request::NAMES);
    for method in &methods {
        let of = || examples.iter().filter(|example| example.method == method.name);
        assert!(of().count() > 0, "no example of {}", method.name);
        for example in of() {
            let (params, result) = (method.rewritten)(&example.params, &example.result).expect(method.name);
            // a default that is written out is no difference
            let given = example.params.as_object().expect("an object");
            assert!(given.iter().all(|(key, value)| params[key] == *value), "{}: {params}", method.name);
            assert!(says_the_same(&result, &example.result), "{}: {result}", method.name);
        }
    }
    assert!(examples.iter().all(|example| Request::NAMES.contains(&example.method.as_str())));
}

/// What is null on the wire may be left out by the types; nothing else differs.
fn says_the_same(typed: &Value, wire: &Value) -> bool {
    match (typed, wire) {
        (Value::Object(typed), Value::Object(wire)) => {
            typed.keys().all(|key| wire.contains_key(key))
                && wire.iter().all(|(key, wire)| match typed.get(key) {
                    Some(typed) => says_the_same(typed, wire),
                    None => wire.is_null(),
                })
        }
        (Value::Array(typed), Value::Array(wire)) => {
            typed.len() == wire.len()
                && typed.iter().zip(wire).all(|(typed, wire)| says_the_same(typed, wire))
        }
        (typed, wire) => typed == wire,
    }
}

#[test]
fn events_within_examples_are_known() {
    let mut found = 0;
    for example in examples() {
        let events = example.result["events"].as_array().cloned().unwrap_or_default();
        for event in events.into_iter().chain([example.result["last"].clone()]).filter(Value::is_object) {
            let logged: LoggedEvent = serde_json::from_value(event).expect("an event");
            assert!(logged.event().is_some(), "{logged:?}");
            found += 1;
        }
    }
    assert!(found > 1, "{found}");
}

/// Doc comments are written for two readers.
#[test]
fn the_document_speaks_of_nothing_that_only_the_code_has() {
    for line in markdown().lines() {
        for word in ["::", "`None`", "`Some", "(section ", "{max_line}", "{protocols}", "As in [", "See ["] {
            assert!(!line.contains(word), "{word}: {line}");
        }
    }
}

#[test]
fn every_link_has_a_heading_and_every_field_a_meaning() {
    let text = markdown();
    let mut in_code = false;
    let prose: Vec<&str> = text
        .lines()
        .filter(|line| {
            in_code ^= line.starts_with("```");
            !in_code
        })
        .collect();
    let headings: Vec<String> = prose
        .iter()
        .filter(|line| line.starts_with("##"))
        .map(|line| link("", line.trim_start_matches('#').trim()))
        .collect();
    let mut anchors: Vec<&String> = headings.iter().collect();
    anchors.sort();
    anchors.dedup();
    assert_eq!(anchors.len(), headings.len(), "two headings are alike");
    for line in &prose {
        for part in line.split("](#").skip(1) {
            let anchor = format!("[](#{})", part.split(')').next().unwrap_or_default());
            assert!(headings.contains(&anchor), "{anchor} leads nowhere: {line}");
        }
        let cells: Vec<&str> = line.split(" | ").collect();
        let last = cells.last().map_or("", |cell| cell.trim_end_matches('|').trim());
        assert!(!line.starts_with("| `") || last.len() > 3, "no meaning: {line}");
    }
}

#[test]
fn json_is_broken_where_it_is_long() {
    let short = serde_json::json!({"b": [1, 2], "a": {}, "type": "x"});
    assert_eq!(shown(&short, 0), r#"{"type": "x", "a": {}, "b": [1, 2]}"#);
    let long = serde_json::json!({"method": "m", "params": {"text": "x".repeat(100), "more": []}});
    assert_eq!(
        shown(&long, 4),
        format!(
            "{{\n      \"method\": \"m\",\n      \"params\": {{\n        \"more\": [],\n        \"text\": \"{}\"\n      }}\n    }}",
            "x".repeat(100)
        )
    );
}

#[test]
fn the_head_of_a_message_stays_on_its_line() {
    let answer = serde_json::json!({"jsonrpc": "2.0", "id": 1, "result": ["x".repeat(100)]});
    let expected =
        format!("{{\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": [\n      \"{}\"\n    ]}}", "x".repeat(100));
    assert_eq!(shown(&answer, 4), expected);
}

#[test]
fn names_of_items_become_words() {
    assert_eq!(
        clean("As in [`Step::Begun`], see [x](#y) (section 3 of it)."),
        "As in [`Begun`], see [x](#y)."
    );
    assert_eq!(each_name("[`A`] and [`B`", |name| name.to_lowercase()), "a and [`B`");
}
