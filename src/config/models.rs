//! `[models.…]`: the providers, and the parameters of each request. Their representation in a provider's
//! format is left to `llm`.
use super::keys;
use super::walk::{Item, Section};
use crate::config::prices::listed_price;
use crate::config::values::{refers, url, warn_if_unencrypted};
use crate::domain::{Effort, FallbackOn, Fleet, ModelSpec, Price, Provider, RequestSettings, TextOrSecret};
use serde_json::{Map, Value};

/// Default maximum length of a model's answer.
const DEFAULT_OUTPUT_TOKENS: u64 = 2048;
/// The default for a reasoning model, whose thoughts count as output.
const DEFAULT_REASONING_OUTPUT_TOKENS: u64 = 16_384;

pub(super) fn model(section: &Section<'_>) -> Option<ModelSpec> {
    let provider = section.word::<Provider>("provider");
    let name = section.text("model").map(str::to_owned);
    for (key, missing) in [("provider", provider.is_none()), ("model", name.is_none())] {
        if missing && section.own(key).is_none() {
            section.missing::<()>(&[key], format!("a model needs `{key}`"), None);
        }
    }
    if provider == Some(Provider::OpenAiCompatible) && section.own("base_url").is_none() {
        section.missing::<()>(
            &["base_url"],
            format!(
                "provider = \"{}\" needs `base_url`: it has no address of its own",
                Provider::OpenAiCompatible
            ),
            Some("for a server on this machine: base_url = \"http://127.0.0.1:8080/v1\"".into()),
        );
    }
    let settings = settings(section, provider?);
    let api_key = section.get("api_key").and_then(|item| item.secret());
    let headers = section.headers();
    if let Some(address) = section.get("base_url") {
        warn_if_unencrypted(address, api_key.is_some() || headers.values().any(TextOrSecret::is_secret));
    }
    let name = name?;
    let price = section.get("price").and_then(|item| price(&item, provider?, &name, &settings));
    let most = section.whole("max_output_tokens", 1);
    let by_default = if is_reasoning_model(&name, &settings) {
        DEFAULT_REASONING_OUTPUT_TOKENS
    } else {
        DEFAULT_OUTPUT_TOKENS
    };
    Some(ModelSpec {
        provider: provider?,
        base_url: section.get("base_url").and_then(url),
        api_key,
        headers,
        request_timeout: section.positive("request_timeout").unwrap_or(jiff::SignedDuration::from_secs(60)),
        max_output_tokens: most.unwrap_or(by_default),
        max_output_by_default: most.is_none(),
        temperature: section.number("temperature"),
        price,
        fallback: section.texts("fallback").unwrap_or_default(),
        fallback_on: fallback_on(section),
        max_parallel_requests: section.whole("max_parallel_requests", 1),
        requests_per_minute: section.whole("requests_per_minute", 1),
        settings,
        model: name,
    })
}

fn settings(section: &Section<'_>, provider: Provider) -> RequestSettings {
    let only = |key: &'static str, wanted: Provider, why: &str| {
        if let Some(item) = section.own(key).filter(|_| provider != wanted) {
            item.refuse_with::<()>(format!("`{key}` is for provider = \"{wanted}\""), why.to_owned());
        }
    };
    only(
        "num_ctx",
        Provider::Ollama,
        "other servers are told how long a context may be when they are started",
    );
    only(
        "cache",
        Provider::Anthropic,
        "others cache by themselves; what they read from it is charged as `cached_input`",
    );
    RequestSettings {
        top_p: section.number("top_p"),
        reasoning_effort: section.word("reasoning_effort"),
        num_ctx: section.whole("num_ctx", 1),
        cache: section.flag("cache").unwrap_or(false),
        params: section.get("params").and_then(|item| params(&item)).unwrap_or_default(),
    }
}

/// Parses additional parameters of requests. Those that would violate guarantees about requests are refused.
fn params(item: &Item<'_>) -> Option<Map<String, Value>> {
    item.table()?;
    let Value::Object(params) = item.json() else { return None };
    let instead = |path: &str| match path {
        "model" => Some("set `model`"),
        "messages" | "contents" | "system" | "systemInstruction" | "tools" => {
            Some("an agent's own keys say what is asked")
        }
        "stream" => Some("whole answers are read"),
        "n" | "best_of" | "generationConfig.candidateCount" => {
            Some("one answer is read, and its worst case is held")
        }
        "max_tokens"
        | "max_completion_tokens"
        | "max_output_tokens"
        | "generationConfig.maxOutputTokens"
        | "options.num_predict" => Some("set `max_output_tokens`: so much is held before a request is sent"),
        "options.num_ctx" => Some("set `num_ctx`"),
        _ => None,
    };
    for (key, value) in &params {
        let below = value.as_object().into_iter().flatten().map(|(inner, _)| format!("{key}.{inner}"));
        for path in std::iter::once(key.clone()).chain(below) {
            if let Some(hint) = instead(&path) {
                item.refuse_with::<()>(format!("`params` can't have `{path}`"), hint.into());
            }
        }
    }
    Some(params)
}

fn fallback_on(section: &Section<'_>) -> Vec<FallbackOn> {
    let Some(item) = section.get("fallback_on") else { return Vec::new() };
    if section.own("fallback_on").is_some() && section.get("fallback").is_none() {
        let hint = "name the models that are to be asked instead in `fallback`".to_owned();
        section.file.warn(item.span(), "`fallback_on` has no effect without `fallback`".into(), Some(hint));
    }
    let Some(items) = item.items() else { return Vec::new() };
    items.iter().filter_map(Item::word).collect()
}

/// Returns whether this is a reasoning model, judging by its name or its settings.
fn is_reasoning_model(model: &str, settings: &RequestSettings) -> bool {
    const BEGINNINGS: [&str; 5] = ["o1", "o3", "o4", "gpt-5", "gpt-oss"];
    const PARTS: [&str; 19] = [
        "think",
        "reason",
        "-r1",
        "r1-",
        "qwq",
        "qwen3",
        "magistral",
        "gemini-2.5",
        "gemini-3",
        "grok-3-mini",
        "grok-4",
        "kimi-k2",
        "glm-4.5",
        "glm-4.6",
        "glm-4.7",
        "glm-5",
        "minimax-m",
        "deepseek-v4",
        "nemotron",
    ];
    let name = model.to_lowercase();
    let own = name.rsplit('/').next().unwrap_or(&name);
    let by_settings = settings.reasoning_effort.is_some_and(|effort| effort != Effort::None)
        || ["thinking", "reasoning", "reasoning_effort"].iter().any(|key| settings.params.contains_key(*key));
    by_settings
        || BEGINNINGS.iter().any(|beginning| own.starts_with(beginning))
        || PARTS.iter().any(|part| own.contains(part))
}

pub(super) fn fallbacks(top: &Section<'_>, fleet: &Fleet) {
    let Some(table) = top.get("models").and_then(|item| item.table()) else { return };
    for (own, value) in table {
        let Some(list) = value.get_ref().as_table().and_then(|model| model.get("fallback")) else { continue };
        let item = Item { file: top.file, value: list, name: "fallback" };
        for name in item.items().unwrap_or_default() {
            if let Some(text) = name.text() {
                if text == own.get_ref() {
                    name.refuse::<()>(format!("model `{text}` is its own fallback"));
                }
                refers(name, text, "model", fleet.models.keys().map(String::as_str));
            }
        }
    }
}

/// Parses `"auto"`, or a price.
fn price(item: &Item<'_>, provider: Provider, model: &str, settings: &RequestSettings) -> Option<Price> {
    if item.value.get_ref().is_str() {
        let text = item.text()?;
        if text != "auto" {
            let hint = "write \"auto\", or { input = …, output = … } in US dollars per million tokens";
            item.file.error(
                Some(item.span()),
                format!("`price` is a table or \"auto\", not \"{text}\""),
                Some(hint.into()),
            );
            return None;
        }
        let listed = listed_price(provider, model);
        if listed.is_none() {
            item.file.warn(
                item.span(),
                format!("this release knows no price of `{model}`: what it costs is not counted, and no limit in dollars holds for it"),
                Some("write it down: price = { input = …, output = … }, in US dollars per million tokens".into()),
            );
        }
        return listed;
    }
    let table = item.section(keys::PRICE)?;
    let input = table.number("input").unwrap_or(0.0);
    // Anthropic's price of a cache entry that lives for five minutes.
    let written = if settings.cache { 1.25 * input } else { input };
    Some(Price {
        input,
        cached_input: table.number("cached_input").unwrap_or(input),
        cache_write: table.number("cache_write").unwrap_or(written),
        output: table.number("output").unwrap_or(0.0),
    })
}
