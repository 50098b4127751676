//! Tests of schemas in the forms that providers take.
use super::*;

const ALL: [Wire; 4] = [Wire::OpenAi, Wire::LikeOpenAi, Wire::Anthropic, Wire::Gemini];

/// What each provider refuses ("Function calling" of OpenAI, "Tool use" of Anthropic, "Function calling" of Gemini).
fn is_taken(wire: Wire, schema: &Value) {
    assert_eq!(schema["type"], "object", "{schema}");
    assert!(schema["properties"].is_object(), "{schema}");
    for word in ["anyOf", "oneOf", "allOf", "not", "enum", "$schema", "$ref"] {
        assert!(schema.get(word).is_none(), "{wire:?} {word}: {schema}");
    }
    below(wire, schema, schema);
}

fn below(wire: Wire, root: &Value, schema: &Value) {
    let Some(map) = schema.as_object() else { return };
    if let Some(reference) = map.get("$ref") {
        assert!(target(root, reference.as_str().unwrap()).is_some(), "{reference} leads nowhere: {root}");
    }
    let types: Vec<&Value> = map
        .get("type")
        .into_iter()
        .flat_map(|kind| kind.as_array().map_or(vec![kind], |all| all.iter().collect()))
        .collect();
    for kind in types {
        let known = ["object", "array", "string", "integer", "number", "boolean", "null"];
        assert!(known.contains(&kind.as_str().unwrap()), "{kind}");
        assert!(kind != "array" || map.contains_key("items"), "{schema}");
    }
    assert!(map.get("required").is_none_or(Value::is_array), "{schema}");
    assert!(map.get("items").is_none_or(|items| !items.is_array()), "{schema}");
    for key in map.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
        assert!(is_legal(key), "{key}");
    }
    if wire == Wire::Gemini {
        assert!(map.keys().all(|key| GEMINI_KEYWORDS.contains(&key.as_str())), "{schema}");
    }
    let mut copy = map.clone();
    each_below(&mut copy, &mut |schema| below(wire, root, schema));
}

#[test]
fn each_schema_gets_a_form_that_each_provider_takes() {
    let endless = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
    let tree = json!({"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}},
        "$defs": {"T": {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/T"}}}}}});
    for schema in [
        json!({}),
        json!(null),
        json!(true),
        json!({"type": "object"}),
        json!({"type": "object", "properties": null, "required": null}),
        json!({"type": "object", "properties": []}),
        json!({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
        json!({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"x": {"type": "string"}}}}}),
        json!({"$ref": "https://example.org/schema.json"}),
        json!({"properties": {"a": {"$ref": "#/anyOf/0/properties/x"}}, "anyOf": [{"properties": {"x": {"type": "string"}}}]}),
        json!({"properties": {"a b$": {"type": "string"}, "": {}, "ä": {"type": "int"}}, "required": ["a b$"]}),
        json!({"properties": {"a": {"type": ["string", "null"]}, "b": {"type": "array"}, "c": {"type": "any"}, "d": {"type": "dict"}}}),
        json!({"properties": {"a": {"type": "string", "required": true}, "b": "string", "c": true, "d": null}}),
        json!({"properties": {"a": {"type": "array", "items": [{"type": "string"}, {"type": "number"}], "additionalItems": false}}}),
        json!({"properties": {"a": {"const": 1}, "b": {"oneOf": [{"type": "string"}, {"type": "integer"}]}, "c": {"allOf": [{"type": "string"}, {"minLength": 1}]}}}),
        json!({"if": {"properties": {"a": {}}}, "then": {"required": ["b"]}, "not": {"required": ["c"]}, "enum": [{}]}),
        endless,
        tree.clone(),
        old_words(&tree),
        json!({"properties": {"a": {"$ref": "#/definitions/A"}}, "$defs": {"A": {"type": "string"}},
            "definitions": {"A": {"properties": {"b": {"$ref": "#/definitions/A"}, "c": {"$ref": "#/$defs/A"}}}}}),
        json!({"properties": {"a": {"$ref": "#/patternProperties/x"}}, "patternProperties": {"x": {"items": {"$ref": "#/patternProperties/x"}}}}),
        json!({"properties": {"ä": {"items": {"$ref": "#/properties/ä"}}, "b": {"$ref": "#/properties/ä"}}}),
        json!({"properties": {"a": {"properties": {"n": {"$ref": "#/properties/a/definitions/N"}},
            "definitions": {"N": {"properties": {"n": {"$ref": "#/properties/a/definitions/N"}}}}}}}),
    ] {
        for wire in ALL {
            is_taken(wire, &of(wire, &schema));
        }
    }
}

/// In the words of draft 7.
fn old_words(schema: &Value) -> Value {
    serde_json::from_str(&schema.to_string().replace("$defs", "definitions")).unwrap()
}

#[test]
fn what_leads_back_to_itself_keeps_its_form_in_old_words_too() {
    let kid = json!({"type": "object", "properties": {"name": {"type": "string", "description": "x".repeat(400)},
        "kids": {"type": "array", "items": {"$ref": "#/$defs/T"}}}});
    let tree = json!({"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}}, "$defs": {"T": kid}});
    for wire in [Wire::Gemini, Wire::OpenAi, Wire::Anthropic] {
        assert_eq!(of(wire, &tree), tree, "{wire:?}");
        let old = old_words(&tree);
        assert_eq!(of(wire, &old), if wire == Wire::Gemini { tree.clone() } else { old }, "{wire:?}");
    }
    // both words, and the same name
    let both = json!({"properties": {"a": {"$ref": "#/definitions/A"}, "b": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"type": "string"}}, "definitions": {"A": {"type": "integer"}}});
    let shaped = of(Wire::Gemini, &both);
    assert_eq!(shaped["properties"], json!({"a": {"type": "integer"}, "b": {"type": "string"}}));
}

#[test]
fn what_is_made_to_grow_is_shaped_quickly() {
    let began = crate::testing::worked();
    let long = "x".repeat(30_000);
    let refers = |to: &str, count: usize| -> Map<String, Value> {
        (0..count).map(|n| (n.to_string(), json!({"$ref": to}))).collect()
    };
    let several = |to: &str, count: usize| vec![json!({"$ref": to}); count];
    let keys = |count: u32| -> Map<String, Value> {
        (0..count).map(|n| (char::from_u32(0x4e00 + n).unwrap().to_string(), json!({}))).collect()
    };
    let kinds: Vec<Value> = (0..3000).map(|n| json!({"properties": {"k": {"const": n}}})).collect();
    for schema in [
        json!({"properties": refers("#/$defs/L", 1500), "$defs": {"L": {"description": long}}}),
        json!({"properties": refers("#/anyOf/0/not", 1500), "anyOf": [{"not": {"description": long}}]}),
        json!({"anyOf": several("#/$defs/L", 1500), "$defs": {"L": {"properties": {"a": {"description": long}}}}}),
        json!({"allOf": several("#/$defs/L", 40), "$defs": {"L": {"allOf": several("#/$defs/M", 40), "title": long},
            "M": {"anyOf": several("#/$defs/L", 40), "title": long}}}),
        json!({"anyOf": kinds}),
        json!({"allOf": kinds}),
        json!({"properties": keys(5000)}),
        json!({"properties": {"a": {"properties": keys(5000)}}}),
    ] {
        for wire in ALL {
            let shaped = of(wire, &schema);
            is_taken(wire, &shaped);
            assert!(shaped.to_string().len() < 5 * schema.to_string().len(), "{wire:?}");
        }
    }
    let took = crate::testing::worked() - began;
    assert!(took < std::time::Duration::from_secs(30), "{took:?}");
}

#[test]
fn what_is_made_to_be_deep_stays_shallow() {
    let mut below = json!({"$ref": "#/$defs/D"});
    for _ in 0..60 {
        below = json!({"properties": {"a": below}});
    }
    let schema = json!({"properties": {"a": {"$ref": "#/$defs/D"}}, "$defs": {"D": below}, "title": "x".repeat(60_000)});
    for wire in ALL {
        let shaped = of(wire, &schema);
        is_taken(wire, &shaped);
        let (mut at, mut levels) = (&shaped, 0);
        while at["properties"]["a"].is_object() {
            (at, levels) = (&at["properties"]["a"], levels + 1);
        }
        assert!(levels <= MAX_LEVELS + 1, "{wire:?}: {levels}");
    }
}

#[test]
fn what_is_in_order_stays_as_it_is() {
    let schema = json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {
            "a": {"type": "string", "minLength": 1, "description": "x"},
            "b": {"type": "array", "items": {"type": "object", "properties": {"c": {"enum": [1, 2]}}}},
            "d": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null},
        },
    });
    for wire in ALL {
        assert_eq!(of(wire, &schema), schema, "{wire:?}");
    }
}

#[test]
fn alternatives_are_joined_and_told() {
    let one = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}]});
    let shaped = of(Wire::Anthropic, &one);
    assert_eq!(shaped["description"], "At least one of these is needed: a; or b.");
    assert_eq!(shaped["properties"], one["properties"]);
    let pure = json!({"oneOf": [
        {"type": "object", "properties": {"a": {"type": "string"}, "k": {"const": 1}}, "required": ["a", "k"]},
        {"type": "object", "properties": {"b": {"type": "integer"}, "k": {"const": 2}}, "required": ["b", "k"]},
    ]});
    let shaped = of(Wire::OpenAi, &pure);
    assert_eq!(shaped["required"], json!(["k"]));
    assert_eq!(shaped["properties"]["k"], json!({"anyOf": [{"const": 1}, {"const": 2}]}));
    assert_eq!(shaped["description"], "Exactly one of these is needed: a and k; or b and k.");
    let all = json!({"allOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}, "required": ["b"]}]});
    assert_eq!(of(Wire::OpenAi, &all)["required"], json!(["a", "b"]));
}

#[test]
fn older_dialects_are_said_anew() {
    let old = json!({"$schema": "http://json-schema.org/draft-04/schema#", "id": "x", "type": "object", "properties": {
        "n": {"type": "integer", "minimum": 0, "exclusiveMinimum": true, "maxLength": "5", "minLength": "x"},
        "s": {"type": "STRING", "nullable": true, "enum": ["a"], "required": true},
        "t": {"type": "array", "items": [{"type": "str"}], "additionalItems": false},
    }});
    let new = json!({"type": "object", "required": ["s"], "properties": {
        "n": {"type": "integer", "exclusiveMinimum": 0, "maxLength": 5},
        "s": {"type": ["string", "null"], "enum": ["a", null]},
        "t": {"type": "array", "prefixItems": [{"type": "string"}], "items": false},
    }});
    assert_eq!(of(Wire::Anthropic, &old), new);
}

#[test]
fn references_are_written_out_where_they_are_not_known() {
    let schema = json!({"type": "object", "properties": {"o": {"$ref": "#/$defs/O", "description": "d"}},
        "$defs": {"O": {"type": "object", "properties": {"z": {"type": "string"}}}}});
    assert_eq!(of(Wire::Anthropic, &schema), schema);
    let out = json!({"type": "object", "properties": {"o": {
        "type": "object", "properties": {"z": {"type": "string"}}, "description": "d"}}});
    assert_eq!(of(Wire::Gemini, &schema), out);
    assert_eq!(of(Wire::LikeOpenAi, &schema), out);
    // Written out, this would have 2^20 leaves.
    let mut defs = Map::new();
    for n in 0..20 {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        defs.insert(format!("d{n}"), json!({"type": "object", "properties": {"l": next, "r": next}}));
    }
    defs.insert("d20".into(), json!({"type": "string"}));
    let wide = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": defs});
    assert!(of(Wire::Gemini, &wide).to_string().len() < 4 * wide.to_string().len());
    let again = vec![json!({"$ref": "#"}); 50];
    let lost: Map<String, Value> = (0..50).map(|n| (n.to_string(), json!({"$ref": "#/anyOf/0"}))).collect();
    for endless in
        [json!({"anyOf": again}), json!({"allOf": again}), json!({"anyOf": [{"properties": lost}]})]
    {
        for wire in ALL {
            is_taken(wire, &of(wire, &endless));
        }
    }
}
