//! Tables of what may still be used.
use super::*;
use crate::domain::{ErrorKind, Price, Tokens, text_at_most, tokens_at_most};
use std::sync::Arc;

#[test]
fn limits_are_held_by_the_worst_case() {
    let mut talk = Talk::limited(|limits| limits.request_limit = 1);
    talk.want(&[("look", "")]).work();
    starts(&talk.failure(), "request_limit: request_limit = 1 is reached (requests sent: 1)");

    let mut talk = Talk::limited(|limits| limits.max_steps = 3);
    talk.want(&[("look", "{\"n\":1}"), ("look", "{\"n\":2}"), ("look", "{\"n\":3}")]);
    starts(
        &talk.failure(),
        "step_limit: max_steps = 3 does not leave room for the next tool calls (3 more; steps taken: 1)",
    );
    let mut talk = Talk::limited(|limits| limits.max_steps = 3);
    talk.want(&[("look", "{\"n\":1}"), ("look", "{\"n\":2}")]).work();
    starts(
        &talk.failure(),
        "step_limit: max_steps = 3 does not leave room for the next request (1 more; steps taken: 3)",
    );

    let size = tokens_at_most(&Talk::new(|_| {}).request());
    let asks = |limit| Talk::limited(|limits| limits.total_tokens_limit = limit);
    assert_eq!(asks(size + 1000).request().max_output_tokens, 1000);
    assert_eq!(asks(size + 999).request().max_output_tokens, 999);
    assert_eq!(asks(size + 256).request().max_output_tokens, 256);
    let error = asks(size + 255).failure();
    starts(&error, &format!("token_limit: total_tokens_limit = {} does not leave room", size + 255));
    assert!(error.contains("raise `total_tokens_limit`"), "{error}");
}

#[test]
fn dollars_are_held_by_the_worst_case() {
    let price = Price { input: 1.0, cached_input: 0.1, cache_write: 1.0, output: 1000.0 };
    let talk = |limit, price| {
        Talk::new(|brief| {
            brief.price = price;
            Arc::make_mut(&mut brief.limits).max_usd_per_run = Some(limit);
        })
    };
    let Next::Ask { worst, .. } = talk(2.0, Some(price)).live.next() else { panic!() };
    assert!(worst.usd > 1.0 && worst.usd < 1.1, "{worst:?}");
    assert!(matches!(talk(worst.usd, Some(price)).live.next(), Next::Ask { .. }));
    starts(
        &talk(1.0, Some(price)).failure(),
        "cost_limit: max_usd_per_run = 1 does not leave room for another",
    );
    starts(
        &talk(1.0, None).failure(),
        "cost_limit: max_usd_per_run = 1 can't be enforced: the model has no price",
    );
}

#[test]
fn what_the_provider_counted_counts_if_it_is_less() {
    let mut talk = Talk::new(|brief| brief.query = "x".repeat(20_000));
    let first = match talk.live.next() {
        Next::Ask { worst, .. } => worst.tokens,
        other => panic!("{other:?}"),
    };
    assert!(first > 10_000);
    let used = Usage { requests: 1, ..Usage::default() };
    for (input, least, most) in [(3000, 4030, 4150), (0, first, u64::MAX), (90_000, first, first + 500)] {
        let tokens = Some(Tokens { input, cached: 0, written: 0, output: 20 });
        let turn = calling(&[("look", &format!("{{\"n\":{input}}}"))]);
        let answer = ModelAnswer { turn, finish: Finish::Stop, tokens, asked_twice: false };
        talk.asked().step(Step::Answered { model: "main".into(), answer, used });
        talk.work();
        let Next::Ask { worst, .. } = talk.live.next() else { panic!() };
        assert!((least..=most).contains(&worst.tokens), "{input}: {worst:?}");
    }
}

#[test]
fn a_schema_may_be_new_to_the_provider() {
    // the second time without calls: only then some are told of the schema
    let worst_with = |text: &str| {
        let mut talk = Talk::new(|brief| {
            brief.output_schema = Some(serde_json::json!({"type": "object", "description": text}));
            brief.query = "x".repeat(20_000);
        });
        talk.want(&[("look", "{\"n\":1}")]).work();
        let tokens = Some(Tokens { input: 3000, cached: 0, written: 0, output: 20 });
        let turn = ModelTurn { text: "no JSON".into(), ..ModelTurn::default() };
        let answer = ModelAnswer { turn, finish: Finish::Stop, tokens, asked_twice: false };
        let used = Usage { requests: 1, ..Usage::default() };
        talk.asked().step(Step::Answered { model: "main".into(), answer, used });
        let Next::Ask { request, worst } = talk.live.next() else { panic!() };
        assert!(request.only_answer);
        worst.tokens
    };
    let text = "y".repeat(4000);
    let more = worst_with(&text) - worst_with("");
    assert!(more.abs_diff(text_at_most(&text)) <= 1, "{more}");
}

#[test]
fn what_one_model_counted_says_nothing_of_another() {
    let mut talk = Talk::new(|brief| brief.query = "x".repeat(20_000));
    let tokens = Some(Tokens { input: 3000, cached: 0, written: 0, output: 20 });
    let turn = calling(&[("look", "{}")]);
    let answer = ModelAnswer { turn, finish: Finish::Stop, tokens, asked_twice: false };
    let used = Usage { requests: 1, ..Usage::default() };
    talk.asked().step(Step::Answered { model: "main".into(), answer, used });
    talk.work();
    let held = |next: Next| match next {
        Next::Ask { worst, .. } => worst.tokens,
        other => panic!("{other:?}"),
    };
    let by_main = held(talk.live.next_by("main"));
    assert_eq!(by_main, held(talk.live.next()));
    assert!(by_main < 5000 && held(talk.live.next_by("other")) > 15_000);
}

#[test]
fn requests_without_an_answer() {
    let mut talk = Talk::new(|_| {});
    let Next::Ask { worst, .. } = talk.live.next() else { panic!() };
    talk.asked();
    let held = talk.live.usage();
    assert_eq!(held.input_tokens + held.output_tokens, worst.tokens);
    // A daemon ended here; the same request again.
    talk.asked();
    let usage = talk.live.usage();
    assert_eq!((usage.requests, usage.input_tokens + usage.output_tokens), (2, 2 * worst.tokens));
    let used = Usage { requests: 1, input_tokens: 7, ..Usage::default() };
    let error = RunError::new(ErrorKind::RateLimit, "slow down");
    talk.step(Step::Unanswered { model: "main".into(), error, used });
    assert_eq!(talk.live.usage().input_tokens + talk.live.usage().output_tokens, worst.tokens + 7);
    assert!(matches!(talk.live.next(), Next::Ask { .. }));
    talk.say("done");
    assert_eq!(talk.finished().usage.requests, 3);
}
