//! The canonical form, and that it tells apart what differs.
use super::*;
use crate::domain::{Retention, TextOrSecret};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn form(value: &(impl Canonical + ?Sized)) -> String {
    let mut form = Form::default();
    value.write(&mut form);
    String::from_utf8(form.0).unwrap()
}

#[test]
fn the_form_is_as_its_description_says() {
    assert_eq!(
        form(&json!({"b": [1, -2, 1.5, true, null], "a": {"ü;": "x:1;"}})),
        "{1:a={3:ü;=4:x:1;}1:b=[1;-2;x3ff8000000000000;true;null;]}"
    );
    assert_eq!(
        form(&Retention::default()),
        "{runs=7776000000000000;events=7776000000000000;transcripts=2592000000000000;\
         output=2592000000000000;max_db_size=2147483648;}"
    );
    let env = BTreeMap::from([("A".to_owned(), TextOrSecret::Text(String::new()))]);
    assert_eq!(form(&env), "{1:A=0:}");
    assert_eq!(form(&jiff::tz::TimeZone::UTC), "3:UTC");
}

/// Values that differ have forms that differ: nothing can be put into a text that looks like the end of it.
#[test]
fn different_values_have_different_forms() {
    let values: [Value; 16] = [
        json!([]),
        json!([[]]),
        json!([[], []]),
        json!(["", ""]),
        json!([""]),
        json!(["1:"]),
        json!(["1;"]),
        json!([1]),
        json!(["1"]),
        json!([1.0]),
        json!([10.0]),
        json!([4_024_000_000_000_000_i64]),
        json!({}),
        json!({"a": 1}),
        json!({"a": "1"}),
        json!(["a=1;"]),
    ];
    let forms: std::collections::BTreeSet<String> = values.iter().map(form).collect();
    assert_eq!(forms.len(), values.len(), "{forms:?}");
}

#[test]
fn what_is_absent_is_left_out_and_what_is_empty_on_purpose_is_not() {
    let written = |value: Option<Vec<String>>| {
        let mut form = Form::default();
        form.field("allow", &value);
        String::from_utf8(form.0).unwrap()
    };
    assert_eq!([written(None), written(Some(Vec::new()))], ["", "allow=[]"]);
}
