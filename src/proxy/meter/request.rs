//! A request of a program as the meter reads it: which model, how much it may come to, and what of it does not go on.
//! What is not named here goes on as it came.
use super::object::Object;
use super::weigh::Weight;
use super::wire::ModelWire;
use crate::domain::{Provider, frame_at_most};
use hyper::body::Bytes;
use serde_json::value::RawValue;

/// A request that may be sent once it is held for.
#[derive(Debug)]
pub(super) struct Readied {
    /// As it goes on.
    pub(super) body: Bytes,
    pub(super) model: String,
    /// Tokens that it may be sent as, and that its answers may have.
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) has_tools: bool,
    pub(super) long_cache: bool,
    /// Tools of the provider that do not go on.
    pub(super) taken_out: Vec<String>,
}

/// How requests are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestReader {
    pub(super) wire: ModelWire,
    pub(super) provider: Provider,
    /// How many tokens an answer may have where a request does not say it.
    pub(super) max_output_tokens: u64,
    /// Nothing is answered by a model: it is only counted how much it would be.
    pub(super) counts_only: bool,
}

/// Longest name of a model, in bytes.
const LONGEST_NAME: usize = 200;

/// Keys of a request that name something which only the provider has.
const KEPT_THERE: [&str; 4] = ["previous_response_id", "conversation", "prompt", "cachedContent"];

impl RequestReader {
    /// `model`: where the path names it. `Err`: why it can't be sent, for a message that begins with "this request".
    pub(super) fn read(self, body: &[u8], model: Option<&str>) -> Result<Readied, String> {
        let text = std::str::from_utf8(body).map_err(|_| "is not UTF-8".to_owned())?;
        let mut request =
            Object::parse(text).map_err(|error| format!("is not the JSON that it should be: {error}"))?;
        let model = match model {
            Some(model) => model.to_owned(),
            None if self.counts_only => String::new(),
            None => request.text("model").ok_or("names no `model`")?,
        };
        if model.len() > LONGEST_NAME {
            return Err(format!("names a `model` of {} bytes: no model has so long a name", model.len()));
        }
        self.refuse(&request)?;
        let mut changes = Changes::default();
        self.take_tools_out(&mut request, &mut changes)?;
        let output = match self.counts_only {
            true => 0,
            false => self.bound_output(&mut request, &mut changes)?,
        };
        if self.wire == ModelWire::Chat && request.is_true("stream") {
            with_usage(&mut request, &mut changes)?;
        }
        let mut weight = Weight::default();
        for (key, value) in request.iter() {
            weight.add(self.wire, key, value).map_err(|error| format!("can't be read: `{key}`: {error}"))?;
        }
        if let Some(what) = weight.refers_to {
            return Err(format!(
                "refers to something that is not in it ({what}): nobody can say beforehand what it costs, and the \
                 provider would fetch it for the program; send the content itself"
            ));
        }
        let has_tools = request.get("tools").is_some();
        let frame = frame_at_most(self.provider, has_tools);
        let body = match changes.any {
            true => Bytes::from(request.to_json()),
            false => Bytes::copy_from_slice(body),
        };
        Ok(Readied {
            body,
            model,
            input: weight.tokens.saturating_add(frame),
            output,
            has_tools,
            long_cache: weight.long_cache,
            taken_out: changes.taken_out,
        })
    }

    /// What has no bound that can be known beforehand.
    fn refuse(self, request: &Object<'_>) -> Result<(), String> {
        let is_kept = |key: &&&str| match (self.wire, **key) {
            (ModelWire::Responses, key) => key != "cachedContent" && request.get(key).is_some(),
            (ModelWire::Gemini, key) => key == "cachedContent" && request.get(key).is_some(),
            _ => false,
        };
        if let Some(key) = KEPT_THERE.iter().find(is_kept) {
            return Err(format!(
                "has `{key}`, which stands for something that the provider has kept: nobody can say beforehand what it \
                 costs; send all of the conversation"
            ));
        }
        if self.wire == ModelWire::Responses && request.is_true("background") {
            return Err(
                "has `background`: its answer would come when nobody counts any more; leave that out".into(),
            );
        }
        if matches!(self.wire, ModelWire::Chat | ModelWire::Responses) && request.get("models").is_some() {
            return Err("names further `models`, whose prices may be others; name one".into());
        }
        Ok(())
    }

    /// The most tokens of all its answers; a bound is added where it has none.
    fn bound_output(self, request: &mut Object<'_>, changes: &mut Changes) -> Result<u64, String> {
        let own = self.max_output_tokens;
        let (output, times) = match self.wire {
            ModelWire::Messages => (bound(request, &["max_tokens"], "max_tokens", own, changes)?, 1),
            ModelWire::Responses => {
                (bound(request, &["max_output_tokens"], "max_output_tokens", own, changes)?, 1)
            }
            ModelWire::Chat => {
                // OpenAI itself has a newer word than those who imitate it
                let word =
                    if self.provider == Provider::OpenAi { "max_completion_tokens" } else { "max_tokens" };
                let most = bound(request, &["max_completion_tokens", "max_tokens"], word, own, changes)?;
                // what was predicted and is not so is paid for like an answer
                let predicted = request.get("prediction").map_or(0, str::len) as u64;
                (most.saturating_add(predicted), whole(request, "n")?.unwrap_or(1))
            }
            ModelWire::Gemini => {
                spelled(request, "generationConfig")?;
                let text = request.get("generationConfig").unwrap_or("{}").to_owned();
                let mut config = Object::parse(&text)
                    .map_err(|error| format!("has a `generationConfig` that can't be read: {error}"))?;
                let mut within = Changes::default();
                let most = bound(&mut config, &["maxOutputTokens"], "maxOutputTokens", own, &mut within)?;
                let times = whole(&config, "candidateCount")?.unwrap_or(1);
                if within.any {
                    let config = config.to_json();
                    request.put("generationConfig", config);
                    changes.any = true;
                }
                (most, times)
            }
        };
        Ok(output.saturating_mul(times.max(1)))
    }

    /// Tools that the provider runs itself: they reach what the sandbox keeps the program from, and cost what nobody
    /// counts.
    fn take_tools_out(self, request: &mut Object<'_>, changes: &mut Changes) -> Result<(), String> {
        let searches: &[&str] = match self.wire {
            ModelWire::Messages => &["mcp_servers"],
            ModelWire::Responses | ModelWire::Chat => &["web_search_options", "search_parameters", "plugins"],
            ModelWire::Gemini => &[],
        };
        for key in searches {
            if request.get(key).is_some() {
                request.remove(key);
                changes.take_out(key);
            }
        }
        // the price of a table is that of the usual speed
        for key in ["speed", "service_tier"] {
            if request.text(key).is_some_and(|how| matches!(how.as_str(), "fast" | "priority")) {
                request.remove(key);
                changes.take_out(key);
            }
        }
        let Some(text) = request.get("tools") else { return Ok(()) };
        let text = text.to_owned();
        let tools: Vec<&RawValue> = serde_json::from_str(&text)
            .map_err(|error| format!("has `tools` that can't be read: {error}"))?;
        let before = changes.taken_out.len();
        let mut kept = Vec::with_capacity(tools.len());
        for tool in tools {
            kept.extend(self.without_own(tool.get(), changes)?);
        }
        if changes.taken_out.len() == before {
            return Ok(());
        }
        match kept.is_empty() {
            true => request.remove("tools"),
            false => {
                request.put("tools", format!("[{}]", kept.join(",")));
                false
            }
        };
        // a choice of what is not there any more would be an error
        let choice = request.get("tool_choice").map(str::to_owned).unwrap_or_default();
        let names_one = Object::parse(&choice).ok().and_then(|choice| choice.text("type"));
        if kept.is_empty() || names_one.is_some_and(|kind| changes.taken_out.contains(&kind)) {
            request.remove("tool_choice");
        }
        Ok(())
    }

    /// A tool without what the provider would run itself; `None` if nothing is left.
    fn without_own(self, tool: &str, changes: &mut Changes) -> Result<Option<String>, String> {
        let unreadable = |error: serde_json::Error| format!("has a tool that can't be read: {error}");
        let mut parts = Object::parse(tool).map_err(unreadable)?;
        if self.wire == ModelWire::Gemini {
            let before = changes.taken_out.len();
            for key in GEMINI {
                if parts.remove(key) {
                    changes.take_out(key);
                }
            }
            return Ok(match changes.taken_out.len() == before {
                true => Some(tool.to_owned()),
                false => (!parts.is_empty()).then(|| parts.to_json()),
            });
        }
        let kind = parts.text("type").unwrap_or_default();
        let is_own = match self.wire {
            ModelWire::Messages => MESSAGES.iter().any(|own| kind.starts_with(own)),
            _ => {
                let place = parts.get("environment").map(|place| Object::parse(place).ok()?.text("type"));
                let hosted = place.is_some_and(|place| place.as_deref() != Some("local"));
                OPENAI.iter().any(|own| kind.starts_with(own)) || kind == "mcp" || (kind == "shell" && hosted)
            }
        };
        if is_own {
            changes.take_out(&kind);
            return Ok(None);
        }
        // Codex puts tools into groups
        if kind == "namespace"
            && let Some(within) = parts.get("tools").map(str::to_owned)
        {
            let within: Vec<&RawValue> = serde_json::from_str(&within).map_err(unreadable)?;
            let before = changes.taken_out.len();
            let mut kept = Vec::with_capacity(within.len());
            for tool in within {
                kept.extend(self.without_own(tool.get(), changes)?);
            }
            if changes.taken_out.len() > before {
                parts.put("tools", format!("[{}]", kept.join(",")));
                return Ok((!kept.is_empty()).then(|| parts.to_json()));
            }
        }
        Ok(Some(tool.to_owned()))
    }
}

/// How the types of tools begin that Anthropic runs. Those that a program runs (`bash_…`, `text_editor_…`) stay.
const MESSAGES: [&str; 5] = ["web_search", "web_fetch", "code_execution", "mcp_toolset", "advisor"];
/// The same of OpenAI and of those who route to others.
const OPENAI: [&str; 6] =
    ["web_search", "file_search", "code_interpreter", "computer_use", "image_generation", "openrouter:"];
/// Keys of a tool that Google runs.
const GEMINI: [&str; 7] = [
    "googleSearch",
    "googleSearchRetrieval",
    "enterpriseWebSearch",
    "googleMaps",
    "urlContext",
    "codeExecution",
    "fileSearch",
];

/// What of a request does not go on as it came.
#[derive(Debug, Default)]
struct Changes {
    any: bool,
    taken_out: Vec<String>,
}

impl Changes {
    fn take_out(&mut self, what: &str) {
        self.any = true;
        self.taken_out.push(what.chars().take(60).collect());
    }
}

/// The largest of these bounds; `own`, under the name `word`, where there is none.
fn bound(
    request: &mut Object<'_>,
    words: &[&str],
    word: &str,
    own: u64,
    changes: &mut Changes,
) -> Result<u64, String> {
    let mut most = None;
    for key in words {
        most = most.max(whole(request, key)?);
    }
    if let Some(most) = most {
        return Ok(most);
    }
    request.put(word, own.to_string());
    changes.any = true;
    Ok(own)
}

/// A bound that a reader passes over would be none.
fn spelled(request: &Object<'_>, key: &str) -> Result<(), String> {
    match request.is_odd(key) {
        true => Err(format!("spells `{key}` in a way that not all readers take: write it so")),
        false => Ok(()),
    }
}

/// A whole number of a request. Google's reader takes texts for numbers.
fn whole(request: &Object<'_>, key: &str) -> Result<Option<u64>, String> {
    spelled(request, key)?;
    let Some(text) = request.get(key) else { return Ok(None) };
    let plain = text.trim_matches('"');
    let whole = plain.parse::<u64>().ok().or_else(|| {
        let number = plain.parse::<f64>().ok()?;
        (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64)
    });
    let short: String = text.chars().take(40).collect();
    whole.map(Some).ok_or_else(|| format!("has `{key}` = {short}, which is no number of them"))
}

/// A stream of Chat Completions says what it used only where that is asked for.
fn with_usage(request: &mut Object<'_>, changes: &mut Changes) -> Result<(), String> {
    let text = request.get("stream_options").unwrap_or("{}").to_owned();
    let mut options =
        Object::parse(&text).map_err(|error| format!("has `stream_options` that can't be read: {error}"))?;
    if !options.is_true("include_usage") {
        options.put("include_usage", "true".into());
        request.put("stream_options", options.to_json());
        changes.any = true;
    }
    Ok(())
}

#[cfg(test)]
#[path = "request/tests.rs"]
mod tests;
