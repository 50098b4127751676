//! Tests of what fits, and of what can be checked.
use super::*;
use serde_json::json;

#[test]
fn says_what_would_be_right() {
    let schema = json!({
        "type": "object",
        "required": ["checks"],
        "additionalProperties": false,
        "properties": {
            "top": {"type": "integer", "minimum": 0, "maximum": 50},
            "checks": {"type": "array", "minItems": 1, "items": {
                "type": "object", "required": ["type"],
                "properties": {
                    "type": {"enum": ["disk", "memory"]},
                    "for": {"type": ["number", "string"]},
                    "deep": {"type": "object", "properties": {}, "additionalProperties": false},
                },
            }},
        },
    });
    let good = [
        json!({"checks": [{"type": "disk"}]}),
        json!({"checks": [{"type": "disk", "for": "5m"}, {"type": "memory", "for": 5.5}], "top": 50}),
        json!({"checks": [{"type": "disk", "unheard": 1, "deep": {}}], "top": 0.0}),
    ];
    for value in good {
        assert_eq!(fits_schema("the arguments", &schema, &value), Ok(()), "{value}");
    }
    let bad = [
        (json!(null), "the arguments must be an object, not null"),
        (json!([]), "the arguments must be an object, not a list"),
        (json!({}), "`checks` is missing"),
        (json!({"checks": []}), "`checks` must have at least 1 item, not 0"),
        (json!({"checks": {}}), "`checks` must be a list, not an object"),
        (json!({"checks": [7]}), "`checks[0]` must be an object, not 7"),
        (json!({"checks": [{}]}), "`checks[0].type` is missing"),
        (
            json!({"checks": [{"type": "disk"}, {"type": "dsk"}]}),
            "`checks[1].type` must be one of disk, memory, not the text \"dsk\" (did you mean `disk`?)",
        ),
        (json!({"checks": [{"type": 1}]}), "`checks[0].type` must be one of disk, memory, not 1"),
        (
            json!({"checks": [{"type": "disk", "for": true}]}),
            "`checks[0].for` must be a number or a text, not true",
        ),
        (
            json!({"checks": [{"type": "disk", "deep": {"a": 1}}]}),
            "`checks[0].deep` can't have `a`: nothing can be set there",
        ),
        (json!({"checks": [{"type": "disk"}], "top": 51}), "`top` must be at most 50, not 51"),
        (json!({"checks": [{"type": "disk"}], "top": -1}), "`top` must be at least 0, not -1"),
        (json!({"checks": [{"type": "disk"}], "top": 1.5}), "`top` must be a whole number, not 1.5"),
        (
            json!({"checks": [{"type": "disk"}], "tpo": 1}),
            "the arguments can't have `tpo`; did you mean `top`?",
        ),
        (
            json!({"check_list": [], "xyzzy": 1}),
            "`checks` is missing; the arguments can't have `check_list`; it can have checks, top; \
             the arguments can't have `xyzzy`; it can have checks, top",
        ),
    ];
    for (value, says) in bad {
        assert_eq!(fits_schema("the arguments", &schema, &value).unwrap_err(), says, "{value}");
    }
}

#[test]
fn bounds_of_texts_and_lists() {
    let schema = json!({"type": "object", "properties": {
        "text": {"type": "string", "minLength": 2, "maxLength": 3},
        "list": {"maxItems": 1},
        "version": {"const": 1},
    }});
    assert_eq!(fits_schema("x", &schema, &json!({"text": "äöü", "list": [1], "version": 1})), Ok(()));
    let bad = [
        (json!({"text": "a"}), "`text` must be at least 2 characters long, not 1"),
        (json!({"text": "abcd"}), "`text` must be at most 3 characters long, not 4"),
        (json!({"list": [1, 2]}), "`list` must have at most 1 item, not 2"),
        (json!({"version": 2}), "`version` must be 1, not 2"),
        (json!(1), "the answer must be an object, not 1"),
    ];
    for (value, says) in bad {
        assert_eq!(fits_schema("the answer", &schema, &value).unwrap_err(), says, "{value}");
    }
}

#[test]
fn many_errors_are_cut() {
    let schema = json!({"items": {"type": "string"}});
    let text = fits_schema("x", &schema, &json!([1, 2, 3, 4, 5, 6, 7])).unwrap_err();
    assert!(text.ends_with("`[4]` must be a text, not 5; and 2 more"), "{text}");
    let long = json!("x".repeat(1000));
    assert!(fits_schema("x", &json!({"type": "number"}), &long).unwrap_err().len() < 120);
    let words: Vec<String> = (0..10_000).map(|number| format!("word{number}")).collect();
    let schema = json!({"items": {"anyOf": [{"enum": words}, {"const": "x".repeat(9000)}]}});
    assert!(fits_schema("x", &schema, &json!(vec![1; 1000])).unwrap_err().len() < 5 * 1100);
}

#[track_caller]
fn holds(schema: &Value, good: &[Value], bad: &[(Value, &str)]) {
    assert_eq!(check_schema(schema), Ok(()), "{schema}");
    for value in good {
        assert_eq!(fits_schema("x", schema, value), Ok(()), "{schema} {value}");
    }
    for (value, says) in bad {
        assert_eq!(fits_schema("x", schema, value).unwrap_err(), *says, "{schema}");
    }
}

#[test]
fn forms_and_conditions() {
    let text_or_none = json!({"anyOf": [{"type": "string"}, {"type": "null"}]});
    let says = "x fits none of its forms (x must be a text, not 1, or x must be null, not 1)";
    holds(&text_or_none, &[json!("a"), json!(null)], &[(json!(1), says)]);
    let one = json!({"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]});
    let both = "x must fit one form only, but fits 2";
    let none =
        "x fits none of its forms (x must be a multiple of 2, not 5, or x must be a multiple of 3, not 5)";
    holds(&one, &[json!(2), json!(9)], &[(json!(6), both), (json!(5), none)]);
    let all = json!({"allOf": [{"minimum": 1}, {"exclusiveMaximum": 3}], "not": {"const": 2}});
    let bad = [
        (json!(0), "x must be at least 1, not 0"),
        (json!(3), "x must be less than 3, not 3"),
        (json!(2.0), "x must not fit {\"const\":2}"),
    ];
    holds(&all, &[json!(1), json!(2.5)], &bad);
    let depends = json!({
        "if": {"properties": {"kind": {"const": "file"}}, "required": ["kind"]},
        "then": {"required": ["path"]}, "else": {"required": ["url"]},
        "dependentRequired": {"user": ["password"]},
        "dependentSchemas": {"port": {"properties": {"port": {"minimum": 1}}}},
    });
    let good =
        [json!({"kind": "file", "path": "a"}), json!({"url": "b", "user": 1, "password": 2, "port": 3})];
    let bad = [
        (json!({"kind": "file", "url": "b"}), "`path` is missing"),
        (json!({}), "`url` is missing"),
        (json!({"url": "", "user": 1}), "`password` is missing, which `user` needs beside it"),
        (json!({"url": "", "port": 0}), "`port` must be at least 1, not 0"),
    ];
    holds(&depends, &good, &bad);
    holds(
        &json!({"properties": {"a": false, "b": true}}),
        &[json!({"b": 1})],
        &[(json!({"a": 1}), "`a` can't be there at all")],
    );
}

#[test]
fn keys_items_and_patterns() {
    let keys = json!({
        "type": "object", "properties": {"id": {"pattern": r"^[a-z]+\d$"}},
        "patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": {"type": "integer"},
        "propertyNames": {"maxLength": 5}, "minProperties": 1, "maxProperties": 2,
    });
    let bad = [
        (json!({}), "x must have at least 1 key, not 0"),
        (json!({"a": 1, "b": 2, "c": 3}), "x must have at most 2 keys, not 3"),
        (json!({"id": "A1"}), "`id` must match ^[a-z]+\\d$, not be \"A1\""),
        (json!({"x-a": 1}), "`x-a` must be a text, not 1"),
        (json!({"a": "b"}), "`a` must be a whole number, not the text \"b\""),
        (json!({"abcdef": 1}), "the key `abcdef` must be at most 5 characters long, not 6"),
    ];
    holds(&keys, &[json!({"id": "ab1", "x-a": "b"}), json!({"a": 1})], &bad);
    let closed = json!({"patternProperties": {"^x-": {}}, "additionalProperties": false});
    holds(&closed, &[json!({"x-": 1})], &[(json!({"y": 1}), "x can't have `y`: nothing can be set there")]);
    let items = json!({
        "prefixItems": [{"type": "string"}], "items": {"type": "integer"}, "uniqueItems": true,
        "contains": {"const": 7}, "maxContains": 1,
    });
    let bad = [
        (json!([7]), "`[0]` must be a text, not 7"),
        (json!(["a", "b", 7]), "`[1]` must be a whole number, not the text \"b\""),
        (json!(["a", 1, 7, 1.0]), "`[3]` is the same as `[1]`"),
        (json!(["a", 1]), "x must have at least 1 and at most 1 that fit {\"const\":7}, not 0"),
    ];
    holds(&items, &[json!(["a", 7, 8])], &bad);
    let old = json!({"items": [{"type": "string"}], "additionalItems": false});
    holds(&old, &[json!(["a"])], &[(json!(["a", 1]), "`[1]` can't be there at all")]);
    holds(
        &json!({"multipleOf": 0.1}),
        &[json!(0.3), json!(1.1)],
        &[(json!(0.35), "x must be a multiple of 0.1, not 0.35")],
    );
}

#[test]
fn references_lead_on_but_not_for_ever() {
    let tree = json!({
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"}, "children": {"items": {"$ref": "#/$defs/node"}},
        }}},
    });
    let good = json!({"name": "a", "children": [{"name": "b", "children": []}]});
    let bad = json!({"name": "a", "children": [{"name": "b", "children": [{}]}]});
    holds(&tree, &[good], &[(bad, "`children[0].children[0].name` is missing")]);
    for endless in [
        json!({"$ref": "#"}),
        json!({"properties": {"a": {"$ref": "#/properties/b"}, "b": {"anyOf": [{"$ref": "#/properties/a"}]}}}),
        json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}),
    ] {
        assert!(check_schema(&endless).unwrap_err().contains("leads back to itself"), "{endless}");
        let value = json!({"a": 1});
        let error = fits_schema("the arguments", &endless, &value).unwrap_err();
        assert_eq!(error, "the arguments can't be checked: the schema is too deep, or takes too long");
    }
    // each step has two more, twenty times
    let mut defs = json!({"d20": {"type": "integer"}});
    for at in 0..20 {
        let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
        defs[format!("d{at}")] = json!({"allOf": [next.clone(), next]});
    }
    let wide = json!({"$defs": defs, "$ref": "#/$defs/d0"});
    assert_eq!(check_schema(&wide), Ok(()));
    assert!(fits_schema("x", &wide, &json!(1)).unwrap_err().contains("takes too long"));
}

#[test]
fn what_nobody_would_look_at_is_refused() {
    for fine in [
        json!(true),
        json!({}),
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "t", "format": "email"}),
        json!({"properties": {"requird": {"x-unit": "ms"}}}),
        json!({"items": {"type": ["string", "null"]}, "minItems": 1.0}),
    ] {
        assert_eq!(check_schema(&fine), Ok(()), "{fine}");
    }
    let bad = [
        (json!("object"), "a schema is a table, or true or false, not \"object\""),
        (json!({"type": "strng"}), "`type` must be one of object, array,"),
        (json!({"type": []}), "`type` must be one of"),
        (json!({"requird": ["a"]}), "`requird` is not a keyword of JSON Schema; did you mean `required`?"),
        (json!({"required": "a"}), "`required` must be a list of keys, not \"a\""),
        (json!({"properties": {"a": {"minimum": "1"}}}), "`properties.a.minimum` must be a number"),
        (json!({"items": {"minItems": -1}}), "`items.minItems` must be a whole number from 0"),
        (json!({"anyOf": {}}), "`anyOf` must be a list of schemas"),
        (json!({"anyOf": [{"not": 1}]}), "`anyOf[0].not`: a schema is a table"),
        (json!({"pattern": "(?=a)"}), "`pattern`: the pattern (?=a) can't be used here"),
        (json!({"patternProperties": {"[": {}}}), "`patternProperties`: the pattern [ can't be used here"),
        (json!({"pattern": "(a{1000}){1000}"}), "`pattern`: the pattern"),
        (json!({"$ref": "https://example.org/s.json"}), "`$ref` must be \"#\", or \"#/\" and a path"),
        (json!({"$ref": "#/$defs/none"}), "`$ref` must be"),
        (json!({"unevaluatedProperties": false}), "`unevaluatedProperties` is not checked here"),
        (json!({"exclusiveMinimum": true}), "`exclusiveMinimum` must be a number"),
        (json!({"multipleOf": 0}), "`multipleOf` must be a number above 0"),
    ];
    for (schema, says) in bad {
        let error = check_schema(&schema).unwrap_err();
        assert!(error.starts_with(says), "{schema}: {error}");
    }
}

#[test]
fn as_deep_as_a_value_can_be() {
    let schema =
        json!({"anyOf": [{"type": "null"}, {"properties": {"a": {"$ref": "#"}}, "maxProperties": 1}]});
    let mut value = json!(null);
    for _ in 0..60 {
        value = json!({"a": value});
    }
    assert_eq!(fits_schema("x", &schema, &value), Ok(()));
    for _ in 60..120 {
        value = json!({"a": value});
    }
    assert!(fits_schema("x", &schema, &value).unwrap_err().contains("too deep"));
}

#[test]
fn a_schema_that_would_take_minutes_is_given_up() {
    let text = json!("a".repeat(1 << 20));
    for pattern in ["^(a{0,40}){0,40}b", "((a?){0,30}){0,30}b", "(a|a?){0,200}b"] {
        let error = fits_schema("it", &json!({"pattern": pattern}), &text).expect_err(pattern);
        assert!(error.contains("takes too long"), "{error}");
        let keys = json!({"patternProperties": {pattern: true}});
        assert!(fits_schema("it", &keys, &json!({"a".repeat(1 << 20): 1})).is_err(), "{pattern}");
    }
    assert_eq!(fits_schema("it", &json!({"pattern": "^[a-z]+$"}), &json!("a".repeat(100_000))), Ok(()));
    let many: Vec<_> = (0..100_000).map(|n| json!(format!("v{n}"))).collect();
    let items: Vec<_> = (0..20_000).map(|n| json!(format!("v{}", 99_999 - n % 5))).collect();
    assert!(fits_schema("it", &json!({"items": {"enum": many}}), &json!(items)).is_err());
    let objects = vec![json!({}); 1000];
    assert!(fits_schema("it", &json!({"items": {"required": many}}), &json!(objects)).is_err());
    assert_eq!(fits_schema("it", &json!({"items": {"enum": &many[..1000]}}), &json!(&many[..1000])), Ok(()));
}

#[test]
fn what_is_wrong_a_thousand_times_is_said_in_time() {
    let keys = |count: usize, start: &str| -> Map<String, Value> {
        (0..count).map(|n| (format!("{start}{n:05}"), json!(1))).collect()
    };
    let long = "x".repeat(60_000);
    let given_up = "the schema is too deep, or takes too long";
    let deep = json!({long.repeat(20): vec![1; 30_000]});
    for (schema, value, says) in [
        (
            json!({"properties": keys(5000, "known"), "additionalProperties": false}),
            Value::Object(keys(5000, "other")),
            given_up,
        ),
        (json!({"items": {"const": long}}), json!(vec![1; 30_000]), given_up),
        (json!({"items": {"not": {"title": long}}}), json!(vec![1; 30_000]), given_up),
        (
            json!({"items": {"enum": (0..5000).map(|n| format!("word{n}")).collect::<Vec<_>>()}}),
            json!(vec!["wort"; 10_000]),
            given_up,
        ),
        (json!({"additionalProperties": {"items": {"type": "string"}}}), deep, "x…[0]` must be a text"),
    ] {
        let error = fits_schema("it", &schema, &value).unwrap_err();
        assert!(error.contains(says) && error.len() < 10_000, "{}", &error[..error.floor_char_boundary(500)]);
    }
}
