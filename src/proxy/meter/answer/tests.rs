//! Tests of what is read of an answer: each wire, each end, in whatever pieces it comes.
use super::*;
use proptest::prelude::*;
use serde_json::json;

const STREAM: &str = "text/event-stream; charset=utf-8";

fn event(name: &str, mut data: Value) -> String {
    data["type"] = name.into();
    format!("event: {name}\ndata: {data}\n\n")
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// A stream of Messages that says `text` and stops for `reason`.
fn messages(text: &str, reason: &str) -> String {
    [
        event("message_start", json!({"message": {"usage": {"input_tokens": 1000, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 300, "output_tokens": 1}}})),
        event("content_block_start", json!({"content_block": {"type": "text", "text": ""}})),
        event("ping", json!({})),
        event("content_block_delta", json!({"delta": {"type": "thinking_delta", "thinking": "hm"}})),
        event("content_block_delta", json!({"delta": {"type": "text_delta", "text": text}})),
        event("content_block_stop", json!({})),
        event("message_delta", json!({"delta": {"stop_reason": reason}, "usage": {"output_tokens": 50}})),
        event("message_stop", json!({})),
    ]
    .concat()
}

fn responses(text: &str, status: &str, reason: Value) -> String {
    let usage = json!({"input_tokens": 1500, "input_tokens_details": {"cached_tokens": 300}, "output_tokens": 50, "total_tokens": 1550});
    [
        event("response.created", json!({"response": {"status": "in_progress", "usage": null}})),
        event("response.output_text.delta", json!({"delta": text})),
        event("response.output_item.done", json!({"item": {"type": "message", "content": [{"type": "output_text", "text": text}]}})),
        event(&format!("response.{status}"), json!({"response": {"status": status, "incomplete_details": reason, "usage": usage, "error": {"code": "server_error", "message": "it broke"}}})),
    ]
    .concat()
}

fn chat(text: &str, reason: &str) -> String {
    let usage = json!({"prompt_tokens": 1500, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 300}});
    [
        data(&json!({"choices": [{"delta": {"role": "assistant", "content": ""}}], "usage": null})),
        data(&json!({"choices": [{"delta": {"content": text}, "finish_reason": null}], "usage": null})),
        data(&json!({"choices": [{"delta": {}, "finish_reason": reason}], "usage": null})),
        data(&json!({"choices": [], "usage": usage})),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat()
}

fn gemini(text: &str, reason: &str) -> String {
    let usage = json!({"promptTokenCount": 1500, "candidatesTokenCount": 40, "thoughtsTokenCount": 10, "totalTokenCount": 1550, "cachedContentTokenCount": 300});
    [
        json!({"candidates": [{"content": {"parts": [{"text": "hm", "thought": true}, {"text": text}]}}], "usageMetadata": {"promptTokenCount": 1500}}),
        json!({"candidates": [{"content": {"parts": []}, "finishReason": reason}], "usageMetadata": usage}),
    ]
    .map(|value| format!("data: {value}\r\n\r\n"))
    .concat()
}

fn read_in(wire: ModelWire, content_type: &str, text: &[u8], cuts: &[usize], whole: bool) -> HeardAnswer {
    let mut reading = AnswerReading::new(wire, content_type);
    let mut rest = text;
    for cut in cuts {
        let (piece, more) = rest.split_at((*cut).min(rest.len()));
        reading.push(piece);
        rest = more;
    }
    reading.push(rest);
    reading.end(whole)
}

fn read(wire: ModelWire, text: &str) -> HeardAnswer {
    read_in(wire, STREAM, text.as_bytes(), &[], true)
}

fn refused(why: &str) -> AnswerEnd {
    AnswerEnd::Refused(why.to_owned())
}

#[test]
fn each_wire_says_what_it_used_and_how_it_ended() {
    let cached = |cached, written| Tokens { input: 1500, cached, written, output: 50 };
    let filter = "a filter of the provider cut the answer";
    for (wire, text, tokens, end) in [
        (ModelWire::Messages, messages("hello", "end_turn"), cached(300, 200), AnswerEnd::Complete),
        (ModelWire::Messages, messages("hello", "max_tokens"), cached(300, 200), AnswerEnd::CutOff),
        (ModelWire::Messages, messages("hello", "refusal"), cached(300, 200), refused("the model refuses")),
        (ModelWire::Messages, messages("hello", "pause_turn"), cached(300, 200), AnswerEnd::Complete),
        (
            ModelWire::Responses,
            responses("hello", "completed", Value::Null),
            cached(300, 0),
            AnswerEnd::Complete,
        ),
        (
            ModelWire::Responses,
            responses("hello", "incomplete", json!({"reason": "max_output_tokens"})),
            cached(300, 0),
            AnswerEnd::CutOff,
        ),
        (
            ModelWire::Responses,
            responses("hello", "incomplete", json!({"reason": "content_filter"})),
            cached(300, 0),
            refused(filter),
        ),
        (ModelWire::Chat, chat("hello", "stop"), cached(300, 0), AnswerEnd::Complete),
        (ModelWire::Chat, chat("hello", "length"), cached(300, 0), AnswerEnd::CutOff),
        (ModelWire::Chat, chat("hello", "content_filter"), cached(300, 0), refused(filter)),
        (ModelWire::Gemini, gemini("hello", "STOP"), cached(300, 0), AnswerEnd::Complete),
        (ModelWire::Gemini, gemini("hello", "MAX_TOKENS"), cached(300, 0), AnswerEnd::CutOff),
        (
            ModelWire::Gemini,
            gemini("hello", "SAFETY"),
            cached(300, 0),
            refused("a filter of the provider held the answer back (SAFETY)"),
        ),
    ] {
        let read = read(wire, &text);
        assert_eq!((read.tokens, &read.end, read.text.as_str()), (Some(tokens), &end, "hello"), "{text}");
        assert!(read.is_final, "{text}");
        assert_eq!(&read.kept[..], text.as_bytes());
        for (text, end) in
            [(text.replace("hello", " "), AnswerEnd::Empty), (text.replace("hello", ""), AnswerEnd::Empty)]
        {
            if end == AnswerEnd::Empty && read.end == AnswerEnd::Complete {
                assert_eq!(self::read(wire, &text).end, end, "{text}");
            }
        }
    }
}

#[test]
fn an_answer_that_is_no_stream_is_read_as_well() {
    let usage = json!({"input_tokens": 10, "output_tokens": 5});
    for (wire, body, calls) in [
        (
            ModelWire::Messages,
            json!({"type": "message", "content": [{"type": "text", "text": "hi"}, {"type": "tool_use", "name": "Bash"}], "stop_reason": "tool_use", "usage": usage}),
            1,
        ),
        (
            ModelWire::Responses,
            json!({"object": "response", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}, {"type": "function_call", "name": "sh"}], "usage": usage}),
            1,
        ),
        (
            ModelWire::Chat,
            json!({"choices": [{"message": {"content": "hi", "tool_calls": [{"function": {"name": "bash"}}]}, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}),
            1,
        ),
        (
            ModelWire::Gemini,
            json!([{"candidates": [{"content": {"parts": [{"text": "hi"}, {"functionCall": {"name": "x"}}]}}]}, {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5}}]),
            1,
        ),
        (
            ModelWire::Gemini,
            json!({"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5}}),
            0,
        ),
    ] {
        let read = read_in(wire, "application/json", body.to_string().as_bytes(), &[3, 50], true);
        assert_eq!(
            (read.end, read.text.as_str(), read.calls.len(), read.is_final),
            (AnswerEnd::Complete, "hi", calls, true),
            "{body}"
        );
        assert_eq!(read.tokens, Some(Tokens { input: 10, output: 5, ..Tokens::default() }), "{body}");
    }
}

#[test]
fn a_call_of_a_tool_is_an_answer_without_words() {
    let messages = messages("", "tool_use").replace(
        r#""content_block":{"text":"","type":"text"}"#,
        r#""content_block":{"type":"tool_use","name":"Bash"}"#,
    );
    let responses = responses("", "completed", Value::Null)
        .replace(r#""type":"message""#, r#""type":"custom_tool_call","name":"apply_patch""#);
    let chat = chat("", "tool_calls").replace(
        r#""content":"","role":"assistant""#,
        r#""tool_calls":[{"function":{"name":"bash","arguments":"{"}}]"#,
    );
    let gemini =
        gemini("", "STOP").replace(r#"{"text":""}"#, r#"{"functionCall":{"name":"shell","args":{}}}"#);
    for (wire, text, name) in [
        (ModelWire::Messages, messages, "Bash"),
        (ModelWire::Responses, responses, "apply_patch"),
        (ModelWire::Chat, chat, "bash"),
        (ModelWire::Gemini, gemini, "shell"),
    ] {
        let read = read(wire, &text);
        assert_eq!((read.end, read.calls), (AnswerEnd::Complete, vec![name.to_owned()]), "{text}");
    }
}

#[test]
fn a_stream_that_breaks_says_less_than_all() {
    for (wire, text) in [
        (ModelWire::Messages, messages("hello", "end_turn")),
        (ModelWire::Responses, responses("hello", "completed", Value::Null)),
        (ModelWire::Chat, chat("hello", "stop")),
        (ModelWire::Gemini, gemini("hello", "STOP")),
    ] {
        let half = &text.as_bytes()[..text.len() / 2];
        let broken = read_in(wire, STREAM, half, &[], false);
        assert!(!broken.is_final, "{wire:?}");
        assert!(
            matches!(&broken.end, AnswerEnd::Failed(why) if why.kind == ErrorKind::Network),
            "{:?}",
            broken.end
        );
        let short = read_in(wire, STREAM, half, &[], true);
        assert!(
            matches!(&short.end, AnswerEnd::Failed(why) if why.kind == ErrorKind::BadResponse),
            "{:?}",
            short.end
        );
        let empty = read(wire, "");
        assert_eq!((empty.end, empty.tokens, empty.is_final), (AnswerEnd::Empty, None, false));
        let garbage = read(wire, "event: x\ndata: {not json\n\n");
        assert!(matches!(garbage.end, AnswerEnd::Failed(_)));
    }
    let begun =
        read_in(ModelWire::Messages, STREAM, &messages("hello", "end_turn").as_bytes()[..300], &[], false);
    assert_eq!(begun.tokens.map(|tokens| (tokens.input, tokens.output)), Some((1500, 1)), "what came so far");
}

#[test]
fn an_error_within_a_stream_stays_one() {
    for (wire, text, kind) in [
        (
            ModelWire::Messages,
            event("error", json!({"error": {"type": "overloaded_error", "message": "Overloaded"}})),
            ErrorKind::Provider,
        ),
        (
            ModelWire::Messages,
            event("error", json!({"error": {"type": "rate_limit_error", "message": "slow"}})),
            ErrorKind::RateLimit,
        ),
        (ModelWire::Responses, responses("hello", "failed", Value::Null), ErrorKind::Provider),
        (
            ModelWire::Responses,
            event("error", json!({"code": "insufficient_quota", "message": "no money"})),
            ErrorKind::Auth,
        ),
        (ModelWire::Chat, data(&json!({"error": {"message": "it broke"}})), ErrorKind::Provider),
        (
            ModelWire::Gemini,
            data(&json!({"error": {"code": 503, "message": "it broke", "status": "UNAVAILABLE"}})),
            ErrorKind::Provider,
        ),
        (ModelWire::Gemini, gemini("", "MALFORMED_FUNCTION_CALL"), ErrorKind::BadResponse),
    ] {
        let read = read(wire, &text);
        assert!(matches!(&read.end, AnswerEnd::Failed(why) if why.kind == kind), "{text}: {:?}", read.end);
    }
    let after = chat("hello", "stop") + &data(&json!({"error": {"message": "late"}}));
    assert!(matches!(read(ModelWire::Chat, &after).end, AnswerEnd::Failed(_)));
    let blocked =
        data(&json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}));
    assert!(matches!(read(ModelWire::Gemini, &blocked).end, AnswerEnd::Refused(_)));
}

#[test]
fn numbers_that_can_not_be_are_bounded() {
    let huge =
        chat("hello", "stop").replace(":1500", ":99999999999999999").replace(":50", ":18446744073709551615");
    let tokens = read(ModelWire::Chat, &huge).tokens.unwrap();
    assert_eq!((tokens.input, tokens.output), (1_000_000_000, 1_000_000_000));
    for lie in ["-5", "0.5", "\"many\"", "null", "{}"] {
        let text =
            chat("hello", "stop").replace(":1500", &format!(":{lie}")).replace(":50", &format!(":{lie}"));
        assert_eq!(read(ModelWire::Chat, &text).tokens, None, "{lie}: then the worst case counts");
    }
    let none = chat("hello", "stop").replace(":1500", ":0").replace(":50", ":0").replace(":300", ":0");
    assert_eq!(read(ModelWire::Chat, &none).tokens, None, "a request can't have used nothing");
}

#[test]
fn what_is_too_long_is_passed_over_and_counted_as_unread() {
    let mut reading = AnswerReading::new(ModelWire::Chat, "application/json");
    for _ in 0..17 {
        reading.push(&[b' '; 1 << 20]);
    }
    let read = reading.end(true);
    assert_eq!((read.kept.len(), read.left_out), (MOST_KEPT, 16 << 20));
    assert!(matches!(read.end, AnswerEnd::Failed(why) if why.message.contains("can't be read")));
    let mut reading = AnswerReading::new(ModelWire::Chat, STREAM);
    reading.push(b"data: ");
    for _ in 0..17 {
        reading.push(&[b'x'; 1 << 20]);
    }
    reading.push(b"\n\n");
    reading.push(chat("hello", "stop").as_bytes());
    let read = reading.end(true);
    assert_eq!((read.end, read.is_final), (AnswerEnd::Complete, true), "the next event is read again");
}

proptest! {
    #[test]
    fn pieces_make_no_difference(cuts in proptest::collection::vec(0_usize..40, 0..200), lines in 0..3) {
        for (wire, text) in [
            (ModelWire::Messages, messages("h\u{e9}llo \u{1f600}", "end_turn")),
            (ModelWire::Responses, responses("h\u{e9}llo", "completed", Value::Null)),
            (ModelWire::Chat, chat("h\u{e9}llo", "length")),
            (ModelWire::Gemini, gemini("h\u{e9}llo", "STOP")),
        ] {
            let text = match lines {
                0 => text,
                1 => text.replace("\r\n", "\n").replace('\n', "\r\n"),
                _ => text.replace("\r\n", "\n").replace('\n', "\r"),
            };
            let whole = read(wire, &text);
            let pieces = read_in(wire, STREAM, text.as_bytes(), &cuts, true);
            prop_assert_eq!(&pieces.end, &whole.end);
            prop_assert_eq!((pieces.tokens, pieces.text, pieces.is_final), (whole.tokens, whole.text, true));
            prop_assert_eq!(&pieces.kept[..], text.as_bytes());
        }
    }
}

#[test]
fn each_time_that_a_model_was_asked_for_one_request_counts() {
    let iterations = json!([
        {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500},
        {"type": "message", "input_tokens": 23_000, "cache_read_input_tokens": 7000, "output_tokens": 1000},
    ]);
    let said = messages("hello", "end_turn").replace(
        "\"usage\":{\"output_tokens\":50}",
        &format!("\"usage\":{{\"output_tokens\":1000,\"iterations\":{iterations}}}"),
    );
    assert!(said.contains("compaction"), "{said}");
    let mut reading = AnswerReading::new(ModelWire::Messages, STREAM);
    reading.push(said.as_bytes());
    let heard = reading.end(true);
    assert_eq!(heard.tokens, Some(Tokens { input: 210_000, cached: 7000, written: 0, output: 4500 }));
    assert!(heard.is_final);
}
