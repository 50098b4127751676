//! Token usage as reported by providers: each has its own field names, gateways mix them, and cached tokens are
//! included in the input or counted separately.
use super::chat::Tokens;
use serde_json::Value;

/// Paths of the usage object.
const USAGE_PATHS: [&str; 8] = [
    "/usage",
    "/usageMetadata",
    "/usage_metadata",
    "/x_groq/usage",
    "/choices/0/usage",
    "/response/usage",
    "/meta/tokens",
    "/timings",
];
const INPUT_KEYS: [&str; 9] = [
    "prompt_tokens",
    "promptTokenCount",
    "prompt_token_count",
    "input_tokens",
    "inputTokens",
    "inputTokenCount",
    "prompt_eval_count",
    "tokens_evaluated",
    "prompt_n",
];
const OUTPUT_KEYS: [&str; 9] = [
    "completion_tokens",
    "candidatesTokenCount",
    "candidates_token_count",
    "output_tokens",
    "outputTokens",
    "outputTokenCount",
    "eval_count",
    "tokens_predicted",
    "predicted_n",
];
const TOTAL_KEYS: [&str; 4] = ["total_tokens", "totalTokenCount", "total_token_count", "totalTokens"];
const CACHED_PATHS: [&str; 9] = [
    "/prompt_tokens_details/cached_tokens",
    "/input_tokens_details/cached_tokens",
    "/prompt_cache_hit_tokens",
    "/cached_tokens",
    "/num_cached_tokens",
    "/cachedContentTokenCount",
    "/cached_content_token_count",
    "/cache_read_input_tokens",
    "/cacheReadInputTokens",
];
const WRITTEN_PATHS: [&str; 4] = [
    "/cache_creation_input_tokens",
    "/cacheWriteInputTokens",
    "/prompt_tokens_details/cache_write_tokens",
    "/prompt_tokens_details/cache_creation_tokens",
];

/// Returns the reported usage; `None` if it is missing or implausible.
pub fn tokens_said(answer: &Value) -> Option<Tokens> {
    let places = USAGE_PATHS.iter().filter_map(|place| answer.pointer(place));
    places.filter(|usage| usage.is_object()).chain([answer]).find_map(parse_usage)
}

/// Parses a token count. `None` if it is not a valid count: a wrong number is no better than none.
fn count(at: &Value, key: &str) -> Option<u64> {
    let value = at.get(key)?;
    // some write integers as 12.0
    let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0).then_some(number as u64);
    value.as_u64().or_else(|| whole(value.as_f64()?))
}

fn parse_usage(usage: &Value) -> Option<Tokens> {
    let (input_word, mut input) = INPUT_KEYS.iter().find_map(|word| Some((*word, count(usage, word)?)))?;
    let first = |places: &[&str]| {
        let found = places.iter().filter_map(|place| {
            let (at, key) = place.rsplit_once('/')?;
            count(usage.pointer(at)?, key)
        });
        found.filter(|count| *count > 0).max().unwrap_or(0)
    };
    let (cached, written) = (first(&CACHED_PATHS), first(&WRITTEN_PATHS));
    // with these names, cached tokens are counted separately from the input
    let beside = ["cache_read_input_tokens", "cache_creation_input_tokens", "cacheReadInputTokens"];
    if matches!(input_word, "input_tokens" | "inputTokens")
        && beside.iter().any(|key| usage.get(key).is_some())
    {
        input = input.saturating_add(cached).saturating_add(written);
    }
    input = input.saturating_add(count(usage, "toolUsePromptTokenCount").unwrap_or(0));
    let said = OUTPUT_KEYS.iter().find_map(|word| usage.get(word).map(|_| count(usage, word)));
    let thoughts = count(usage, "thoughtsTokenCount").or_else(|| count(usage, "thoughts_token_count"));
    let total = TOTAL_KEYS.iter().find_map(|word| count(usage, word));
    let output = match (said, thoughts) {
        (Some(None), _) => return None,
        (Some(Some(said)), thoughts) => said.saturating_add(thoughts.unwrap_or(0)),
        (None, Some(thoughts)) => thoughts,
        // a prompt that was blocked has no answer; only its total is reported
        (None, None) if total.is_some() || input_word == "promptTokenCount" => 0,
        (None, None) => return None,
    };
    // some exclude thoughts from the output, but not from the total
    let output = output.max(total.map_or(0, |total| total.saturating_sub(input)));
    let cached = cached.min(input);
    Some(Tokens { input, cached, written: written.min(input - cached), output })
}

#[cfg(test)]
mod tests {
    //! Usage in the words of many.
    use super::*;
    use serde_json::json;

    #[test]
    fn each_providers_words_are_understood() {
        let tokens = |input, cached, written, output| Some(Tokens { input, cached, written, output });
        for (answer, expected) in [
            (json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5}}), tokens(10, 0, 0, 5)),
            (json!({"usage": {"prompt_tokens": 10.0, "completion_tokens": 5}}), tokens(10, 0, 0, 5)),
            // thoughts that `completion_tokens` leaves out
            (
                json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40}}),
                tokens(10, 0, 0, 30),
            ),
            (
                json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}}),
                tokens(10, 8, 0, 5),
            ),
            (
                json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2}}),
                tokens(10, 8, 0, 5),
            ),
            (
                json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 8}}),
                tokens(10, 8, 0, 5),
            ),
            (
                json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "num_cached_tokens": null}}),
                tokens(10, 0, 0, 5),
            ),
            // a gateway before Anthropic: the sum, and its parts
            (
                json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3}}),
                tokens(10, 4, 3, 5),
            ),
            (
                json!({"usage": {"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3}}),
                tokens(10, 4, 3, 5),
            ),
            (
                json!({"usage": {"input_tokens": 10, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4}}}),
                tokens(10, 4, 0, 5),
            ),
            (
                json!({"usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 15}}),
                tokens(10, 0, 0, 5),
            ),
            (json!({"usageMetadata": {"promptTokenCount": 10}}), tokens(10, 0, 0, 0)),
            (
                json!({"usage_metadata": {"prompt_token_count": 10, "candidates_token_count": 5}}),
                tokens(10, 0, 0, 5),
            ),
            (
                json!({"usage": null, "x_groq": {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}}),
                tokens(10, 0, 0, 5),
            ),
            (
                json!({"choices": [{"usage": {"prompt_tokens": 10, "completion_tokens": 5}}]}),
                tokens(10, 0, 0, 5),
            ),
            (json!({"prompt_eval_count": 10, "eval_count": 5}), tokens(10, 0, 0, 5)),
            (json!({"timings": {"prompt_n": 10, "predicted_n": 5}}), tokens(10, 0, 0, 5)),
            (json!({"usage": {"prompt_tokens": 10, "total_tokens": 10}}), tokens(10, 0, 0, 0)),
            // no numbers of tokens
            (json!({"usage": {"prompt_tokens": -4, "completion_tokens": 1.5}}), None),
            (json!({"usage": {"prompt_tokens": 4, "completion_tokens": 1.5}}), None),
            (json!({"usage": {"prompt_tokens": 4}}), None),
            (json!({"usage": {}}), None),
            (json!({"usage": "many"}), None),
            (json!({}), None),
        ] {
            assert_eq!(tokens_said(&answer), expected, "{answer}");
        }
    }
}
