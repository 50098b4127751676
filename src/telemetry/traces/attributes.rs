//! Span attributes, named by the semantic conventions of OpenTelemetry.
//!
//! Those of `gen_ai` are from release 1.41 ([`SCHEMA`]), where they are still in development and may be renamed later.
//! Those of `bgagent` are ours.
use crate::domain::{Ending, Provider};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

/// The release of the conventions.
pub(super) const SCHEMA: &str = "https://opentelemetry.io/schemas/1.41.0";

pub(super) const AGENT: &str = "bgagent.agent";
pub(super) const ATTEMPT: &str = "bgagent.attempt";
pub(super) const COST: &str = "bgagent.cost_usd";
pub(super) const EFFECT: &str = "bgagent.tool.effect";
pub(super) const MODEL: &str = "bgagent.model";
pub(super) const RUN: &str = "bgagent.run.id";
pub(super) const SLOT: &str = "bgagent.slot";
pub(super) const STATUS: &str = "bgagent.run.status";
pub(super) const TRIGGER: &str = "bgagent.trigger";

pub(super) const ERROR_TYPE: &str = "error.type";
pub(super) const EXIT_CODE: &str = "process.exit.code";
pub(super) const SERVICE_NAME: &str = "service.name";
pub(super) const SERVICE_VERSION: &str = "service.version";
pub(super) const SERVICE_INSTANCE: &str = "service.instance.id";

pub(super) const GEN_AI_AGENT: &str = "gen_ai.agent.name";
pub(super) const GEN_AI_CACHED: &str = "gen_ai.usage.cache_read.input_tokens";
pub(super) const GEN_AI_CONVERSATION: &str = "gen_ai.conversation.id";
pub(super) const GEN_AI_FINISH: &str = "gen_ai.response.finish_reasons";
pub(super) const GEN_AI_INPUT: &str = "gen_ai.usage.input_tokens";
pub(super) const GEN_AI_INPUT_MESSAGES: &str = "gen_ai.input.messages";
pub(super) const GEN_AI_MODEL: &str = "gen_ai.request.model";
pub(super) const GEN_AI_OPERATION: &str = "gen_ai.operation.name";
pub(super) const GEN_AI_OUTPUT: &str = "gen_ai.usage.output_tokens";
pub(super) const GEN_AI_OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
pub(super) const GEN_AI_PROVIDER: &str = "gen_ai.provider.name";
pub(super) const GEN_AI_TOOL: &str = "gen_ai.tool.name";
pub(super) const GEN_AI_TOOL_ARGUMENTS: &str = "gen_ai.tool.call.arguments";
pub(super) const GEN_AI_TOOL_RESULT: &str = "gen_ai.tool.call.result";
pub(super) const GEN_AI_TOOL_TYPE: &str = "gen_ai.tool.type";

/// Returns a string attribute.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    with(key, Value::StringValue(value.into()))
}

/// Returns an integer attribute.
pub(super) fn whole(key: &str, value: impl TryInto<i64>) -> KeyValue {
    with(key, Value::IntValue(value.try_into().unwrap_or(i64::MAX)))
}

/// Returns a floating-point attribute.
pub(super) fn number(key: &str, value: f64) -> KeyValue {
    with(key, Value::DoubleValue(value))
}

/// Returns an attribute that is a list with one string.
pub(super) fn list_of(key: &str, value: &str) -> KeyValue {
    let values = vec![AnyValue { value: Some(Value::StringValue(value.to_owned())) }];
    with(key, Value::ArrayValue(ArrayValue { values }))
}

/// Returns an attribute with one message, in the form of `gen_ai.input.messages`.
pub(super) fn message(key: &str, role: &str, said: &str, finish: Option<&str>) -> KeyValue {
    let mut message = serde_json::json!({"role": role, "parts": [{"type": "text", "content": said}]});
    if let Some(finish) = finish {
        message["finish_reason"] = finish.into();
    }
    text(key, serde_json::Value::Array(vec![message]).to_string())
}

fn with(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Returns the provider's name in the conventions. A compatible server counts as the provider whose API it implements.
pub(super) fn provider(provider: Provider) -> &'static str {
    match provider {
        Provider::OpenAi | Provider::OpenAiCompatible => "openai",
        Provider::Anthropic => "anthropic",
        Provider::Gemini => "gcp.gemini",
        Provider::Ollama => "ollama",
    }
}

/// Returns the finish reason in the conventions.
pub(super) fn finish(ending: Ending) -> &'static str {
    match ending {
        Ending::Stop => "stop",
        Ending::ToolCalls | Ending::UnreadableCall => "tool_call",
        Ending::Length => "length",
        Ending::Refusal => "content_filter",
        Ending::Error => "error",
    }
}
