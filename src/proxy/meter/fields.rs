//! The fields of a request, in each wire, that cost nothing but tokens. Providers and the gateways before them have fields of their
//! own that choose other models, search, compute and try again, and get more each month: so what is not named here does not go on.
use super::object::folded;
use super::wire::ModelWire;

/// Does a field of this name go on?
pub(super) fn is_known(wire: ModelWire, key: &str) -> bool {
    let lists: &[&[&str]] = match wire {
        ModelWire::Messages => &[OF_MESSAGES],
        ModelWire::Responses => &[OF_RESPONSES, DRAWN],
        ModelWire::Chat => &[OF_CHAT, DRAWN, SHAPED, FURTHER],
        // it reads each of them in two spellings
        ModelWire::Gemini => return OF_GEMINI.iter().any(|known| folded(known) == folded(key)),
    };
    // one that is spelled in another way is for others to refuse
    lists.iter().any(|list| list.contains(&key.to_ascii_lowercase().as_str()))
}

/// Anthropic's Messages, and `count_tokens`.
const OF_MESSAGES: &[&str] = &[
    "cache_control",
    "context_management",
    "inference_geo",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

/// OpenAI's Responses, and what Codex adds.
const OF_RESPONSES: &[&str] = &[
    "background",
    "client_metadata",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// Google's `generateContent`, and `countTokens`.
const OF_GEMINI: &[&str] = &[
    "contents",
    "generateContentRequest",
    "generationConfig",
    "labels",
    "model",
    "safetySettings",
    "serviceTier",
    "store",
    "systemInstruction",
    "toolConfig",
    "tools",
];

/// Chat Completions, as OpenAI has them.
const OF_CHAT: &[&str] = &[
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];

/// How tokens are drawn.
const DRAWN: &[&str] = &[
    "best_of",
    "dynatemp_range",
    "length_penalty",
    "min_p",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "random_seed",
    "repeat_last_n",
    "repeat_penalty",
    "repetition_penalty",
    "top_a",
    "top_k",
    "typical_p",
];

/// What an answer may look like, and how much is thought before it.
const SHAPED: &[&str] = &[
    "chat_template_kwargs",
    "enable_thinking",
    "grammar",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "include_reasoning",
    "reasoning",
    "reasoning_format",
    "reasoning_split",
    "safe_prompt",
    "speed",
    "thinking",
];

/// What else does no more than it says.
const FURTHER: &[&str] = &["cache_control", "cache_prompt", "inference_geo", "usage"];
