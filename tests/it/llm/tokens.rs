//! The table of how many tokens are held for a text, and how many it is.
use bgagent::domain::text_at_most;
use serde_json::Value;
use std::fmt::Write;

/// In the order of the counts of a line.
const TOKENIZERS: [&str; 9] =
    ["o200k", "cl100k", "Claude", "Gemma", "DeepSeek 3", "Llama 3", "Llama 2", "Qwen 3", "Mistral 7B"];

fn table() -> String {
    let mut table = String::from(
        "kind of text                     held   least counted        most counted         held/most\n",
    );
    for line in include_str!("../../../src/domain/tokens/measured.jsonl").lines() {
        let text: Value = serde_json::from_str(line).expect("JSON");
        let counts: Vec<u64> =
            text["counts"].as_array().expect("counts").iter().filter_map(Value::as_u64).collect();
        let named = || counts.iter().zip(TOKENIZERS);
        let ((least, by_least), (most, by_most)) =
            (named().min().expect("counts"), named().max().expect("counts"));
        let held = text_at_most(text["text"].as_str().expect("text"));
        let kind = text["kind"].as_str().expect("a kind");
        let ratio = held as f64 / *most as f64;
        writeln!(
            table,
            "{kind:<31} {held:>5} {least:>6} {by_least:<13} {most:>6} {by_most:<13} {ratio:>8.2}"
        )
        .expect("a text");
    }
    table
}

/// `UPDATE=1` writes it anew.
#[test]
fn the_table_of_held_and_counted_tokens_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/domain/tokens/table.txt");
    let table = table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &table).expect("it can be written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("the table"), table, "UPDATE=1 writes it anew");
}
