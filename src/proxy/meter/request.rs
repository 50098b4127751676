//! A program's request as parsed by the meter: its model, its maximum tokens, and what is not forwarded. Everything else is
//! forwarded unchanged.
use super::conversation;
use super::hosted::{self, Changes};
use super::object::Object;
use super::weigh::Weight;
use super::wire::ModelWire;
use crate::domain::{Provider, frame_at_most};
use hyper::body::Bytes;

/// A request that may be sent once its hold is granted.
#[derive(Debug)]
pub(super) struct Readied {
    /// The body to forward.
    pub(super) body: Bytes,
    pub(super) model: String,
    /// Upper bounds of its input tokens, and of its answers' tokens.
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) has_tools: bool,
    pub(super) long_cache: bool,
    /// The provider's tools that were removed.
    pub(super) taken_out: Vec<String>,
}

/// How requests are parsed.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestReader {
    pub(super) wire: ModelWire,
    pub(super) provider: Provider,
    /// Maximum output tokens if the request has no limit.
    pub(super) max_output_tokens: u64,
    /// No answer is generated: only the tokens are counted.
    pub(super) counts_only: bool,
}

/// Maximum length of a model name, in bytes.
const MAX_MODEL_NAME_BYTES: usize = 200;

impl RequestReader {
    /// Parses a request. `model`: from the path, if it is there. `Err`: why it can't be sent, for a message that begins with
    /// "this request".
    pub(super) fn read(self, body: &[u8], model: Option<&str>) -> Result<Readied, String> {
        let text = std::str::from_utf8(body).map_err(|_| "is not UTF-8".to_owned())?;
        let mut request =
            Object::parse(text).map_err(|error| format!("is not the JSON that it should be: {error}"))?;
        let model = match model {
            Some(model) => model.to_owned(),
            None if self.counts_only => String::new(),
            None => request.text("model").ok_or("names no `model`")?,
        };
        if model.len() > MAX_MODEL_NAME_BYTES {
            return Err(format!("names a `model` of {} bytes: no model has so long a name", model.len()));
        }
        hosted::refuse(self.wire, &request)?;
        let mut changes = Changes::default();
        hosted::take_out(self.wire, &mut request, &mut changes)?;
        conversation::take_out(self.wire, &mut request, &mut changes)?;
        let output = match self.counts_only {
            true => 0,
            false => self.bound_output(&mut request, &mut changes)?,
        };
        if self.wire == ModelWire::Chat && request.is_true("stream") {
            request_usage(&mut request, &mut changes)?;
        }
        let weight = self.weigh(&request)?;
        let has_tools = request.get("tools").is_some() || changes.further_tools;
        let frame = frame_at_most(self.provider, has_tools);
        let body = match changes.any {
            true => Bytes::from(request.to_json()),
            false => Bytes::copy_from_slice(body),
        };
        Ok(Readied {
            body,
            model,
            input: weight.at_most().saturating_add(frame),
            output,
            has_tools,
            long_cache: weight.long_cache,
            taken_out: changes.taken_out,
        })
    }

    fn weigh(self, request: &Object<'_>) -> Result<Weight, String> {
        let mut weight = Weight::default();
        for (key, value) in request.iter() {
            weight.add(self.wire, key, value).map_err(|error| format!("can't be read: `{key}`: {error}"))?;
        }
        if let Some(what) = &weight.refers_to {
            return Err(format!(
                "refers to something that is not in it ({what}): nobody can say beforehand what it costs, and the \
                 provider would fetch it for the program; send the content itself"
            ));
        }
        if let Some(what) = &weight.unbounded {
            return Err(format!(
                "has something that nobody can say beforehand what it costs ({what}): text, pictures and PDF files are \
                 sent on"
            ));
        }
        Ok(weight)
    }

    /// Returns the maximum tokens of all its answers; adds a limit if it has none.
    fn bound_output(self, request: &mut Object<'_>, changes: &mut Changes) -> Result<u64, String> {
        let own = self.max_output_tokens;
        Ok(match self.wire {
            ModelWire::Messages => match whole(request, "max_tokens")? {
                // writes to the cache without an answer ("Pre-warming the cache" of its page on prompt caching)
                Some(0) => 0,
                _ => bound(request, &["max_tokens"], "max_tokens", own, changes)?,
            },
            ModelWire::Responses => {
                bound(request, &["max_output_tokens"], "max_output_tokens", own, changes)?
            }
            ModelWire::Chat => {
                // OpenAI itself has a newer name than compatible servers
                let word =
                    if self.provider == Provider::OpenAi { "max_completion_tokens" } else { "max_tokens" };
                let most = bound(request, &["max_completion_tokens", "max_tokens"], word, own, changes)?;
                // predicted tokens that are rejected are charged like output
                let predicted = request.get("prediction").map_or(0, str::len) as u64;
                // not all compatible servers support the newer name
                if self.provider != Provider::OpenAi && request.get("max_tokens").is_none() {
                    request.put("max_tokens", most.to_string());
                    changes.any = true;
                }
                one_answer(request, "n")?;
                one_answer(request, "best_of")?;
                most.saturating_add(predicted)
            }
            ModelWire::Gemini => {
                check_spelling(request, "generationConfig")?;
                let text = request.get("generationConfig").unwrap_or("{}").to_owned();
                let mut config = Object::parse(&text)
                    .map_err(|error| format!("has a `generationConfig` that can't be read: {error}"))?;
                let mut within = Changes::default();
                let most = bound(&mut config, &["maxOutputTokens"], "maxOutputTokens", own, &mut within)?;
                one_answer(&config, "candidateCount")?;
                hosted::says_text_only(&config, "responseModalities")?;
                if within.any {
                    let config = config.to_json();
                    request.put("generationConfig", config);
                    changes.any = true;
                }
                most
            }
        })
    }
}

/// Returns the largest of these limits; `own`, set as `word`, if there is none. For some providers, 0 means no limit.
fn bound(
    request: &mut Object<'_>,
    words: &[&str],
    word: &str,
    own: u64,
    changes: &mut Changes,
) -> Result<u64, String> {
    let mut most = None;
    for key in words {
        match whole(request, key)? {
            Some(0) => changes.any |= request.remove(key),
            bound => most = most.max(bound),
        }
    }
    if let Some(most) = most {
        return Ok(most);
    }
    request.put(word, own.to_string());
    changes.any = true;
    Ok(own)
}

/// Refuses several answers: usage can be reported when only the first has ended.
fn one_answer(request: &Object<'_>, key: &str) -> Result<(), String> {
    match whole(request, key)? {
        None | Some(0 | 1) => Ok(()),
        Some(count) => Err(format!("asks for {count} answers (`{key}`): one at a time is sent on")),
    }
}

/// Refuses a limit in a spelling that the provider would ignore.
fn check_spelling(request: &Object<'_>, key: &str) -> Result<(), String> {
    match request.is_odd(key) {
        true => Err(format!("spells `{key}` in a way that not all readers take: write it so")),
        false => Ok(()),
    }
}

/// Returns an integer of a request. Google's parser accepts strings for numbers.
fn whole(request: &Object<'_>, key: &str) -> Result<Option<u64>, String> {
    check_spelling(request, key)?;
    let Some(text) = request.get(key) else { return Ok(None) };
    let plain = text.trim_matches('"');
    let whole = plain.parse::<u64>().ok().or_else(|| {
        let number = plain.parse::<f64>().ok()?;
        (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64)
    });
    let short: String = text.chars().take(40).collect();
    whole.map(Some).ok_or_else(|| format!("has `{key}` = {short}, which must be a whole number, not below 0"))
}

/// Requests a usage report: a stream of Chat Completions contains one only on request.
fn request_usage(request: &mut Object<'_>, changes: &mut Changes) -> Result<(), String> {
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
