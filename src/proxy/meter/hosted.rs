//! What of a request a provider would do beside answering it: tools that it runs itself, and what makes a request dearer than
//! its table says. Judged by what is known to cost nothing more: all else is taken out and named, or the request is refused.
use super::fields::is_known;
use super::object::Object;
use super::wire::ModelWire;
use serde_json::value::RawValue;

/// Maximum length of a removed item's name.
const MAX_NAME_CHARS: usize = 60;

/// What was changed in a request.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) any: bool,
    pub(super) taken_out: Vec<String>,
    /// There are tools besides those of the request's own `tools`.
    pub(super) further_tools: bool,
}

impl Changes {
    pub(super) fn take_out(&mut self, what: &str) {
        self.any = true;
        self.taken_out.push(what.chars().take(MAX_NAME_CHARS).collect());
    }
}

/// Keys of a request that make the provider search, fetch or compute.
fn hosted_keys(wire: ModelWire) -> &'static [&'static str] {
    match wire {
        ModelWire::Messages => &["mcp_servers", "container"],
        ModelWire::Responses | ModelWire::Chat => &[
            "web_search_options",
            "search_parameters",
            "search_options",
            "enable_search",
            "web_search",
            "plugins",
        ],
        ModelWire::Gemini => &[],
    }
}

/// Keys of a request, in any wire, that let the provider query further models, or the same one again.
const ASKS_AGAIN: [&str; 3] = ["fallbacks", "fallback_credit_token", "multi_agent"];

/// Output limits by other names, which some servers prefer to the usual one.
const OTHER_BOUNDS: [&str; 4] = ["n_predict", "num_predict", "max_new_tokens", "max_length"];

/// Keys that choose how a request is served, and the values that cost what a table says.
const SERVICE_KEYS: [(&str, &[&str]); 3] = [
    ("speed", &["standard"]),
    ("service_tier", &["auto", "default", "standard", "standard_only", "flex", "on_demand"]),
    ("inference_geo", &["global", "not_available"]),
];

/// Removes what the provider would do on its own.
///
/// # Errors
/// Tools that can't be parsed.
pub(super) fn take_out(
    wire: ModelWire,
    request: &mut Object<'_>,
    changes: &mut Changes,
) -> Result<(), String> {
    let other_bounds = if wire == ModelWire::Chat { &OTHER_BOUNDS[..] } else { &[] };
    for key in hosted_keys(wire).iter().chain(&ASKS_AGAIN).chain(other_bounds) {
        if request.get(key).is_some() {
            request.remove(key);
            changes.take_out(key);
        }
    }
    for (key, usual) in SERVICE_KEYS {
        let is_usual =
            || request.text(key).is_some_and(|how| usual.contains(&how.to_ascii_lowercase().as_str()));
        if request.get(key).is_some() && !is_usual() {
            request.remove(key);
            changes.take_out(key);
        }
    }
    let unknown = request.keep_only(|key| is_known(wire, key));
    unknown.iter().for_each(|key| changes.take_out(key));
    let Some(text) = request.get("tools").map(str::to_owned) else { return Ok(()) };
    let before = changes.taken_out.len();
    let kept = own_tools(wire, &text, ToolGroup::None, changes)?;
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
    // a choice of tools that were removed would be an error
    let choice = request.get("tool_choice").map(str::to_owned).unwrap_or_default();
    let names_one = Object::parse(&choice).ok().and_then(|choice| choice.text("type"));
    if kept.is_empty() || names_one.is_some_and(|kind| changes.taken_out.contains(&kind)) {
        request.remove("tool_choice");
    }
    Ok(())
}

/// Whether tools are inside a group of tools (`namespace`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ToolGroup {
    None,
    Namespace,
}

/// Returns the tools of a list without those that the provider would run itself. What is removed is noted in `changes`.
///
/// # Errors
/// Tools that can't be parsed, or nested groups: no provider supports them, and each level would cost a full copy.
pub(super) fn own_tools(
    wire: ModelWire,
    list: &str,
    group: ToolGroup,
    changes: &mut Changes,
) -> Result<Vec<String>, String> {
    let tools: Vec<&RawValue> =
        serde_json::from_str(list).map_err(|error| format!("has `tools` that can't be read: {error}"))?;
    let mut kept = Vec::with_capacity(tools.len());
    for tool in tools {
        kept.extend(without_own(wire, tool.get(), group, changes)?);
    }
    Ok(kept)
}

/// Returns a tool without what the provider would run itself; `None` if nothing is left.
pub(super) fn without_own(
    wire: ModelWire,
    tool: &str,
    group: ToolGroup,
    changes: &mut Changes,
) -> Result<Option<String>, String> {
    let unreadable = |error: serde_json::Error| format!("has a tool that can't be read: {error}");
    let mut parts = Object::parse(tool).map_err(unreadable)?;
    if wire == ModelWire::Gemini {
        let others = parts.keep_only(is_declaration);
        others.iter().for_each(|key| changes.take_out(key));
        return Ok(match others.is_empty() {
            true => Some(tool.to_owned()),
            false => (!parts.is_empty()).then(|| parts.to_json()),
        });
    }
    let kind = parts.text("type");
    if !is_run_by_program(wire, kind.as_deref(), &parts) {
        changes.take_out(kind.as_deref().unwrap_or("a tool without a `type`"));
        return Ok(None);
    }
    if kind.as_deref() != Some("namespace") {
        return Ok(Some(tool.to_owned()));
    }
    // Codex puts tools into groups
    if group == ToolGroup::Namespace {
        return Err("has a `namespace` of tools within another one; put its tools into one group".into());
    }
    let Some(within) = parts.get("tools").map(str::to_owned) else { return Ok(Some(tool.to_owned())) };
    let before = changes.taken_out.len();
    let kept = own_tools(wire, &within, ToolGroup::Namespace, changes)?;
    if changes.taken_out.len() == before {
        return Ok(Some(tool.to_owned()));
    }
    parts.put("tools", format!("[{}]", kept.join(",")));
    Ok((!kept.is_empty()).then(|| parts.to_json()))
}

fn is_declaration(key: &str) -> bool {
    matches!(key, "functionDeclarations" | "function_declarations")
}

/// Returns whether a tool is run by the program, and costs only the tokens of its text.
fn is_run_by_program(wire: ModelWire, kind: Option<&str>, tool: &Object<'_>) -> bool {
    let Some(kind) = kind else {
        // the wire's usual form, whose type may be omitted; any other value there has another meaning
        let is_left_out = tool.get("type").is_none();
        return is_left_out && (tool.get("input_schema").is_some() || tool.get("function").is_some());
    };
    let is_local = |key: &str| {
        let place = tool.get(key).and_then(|place| Object::parse(place).ok()?.text("type"));
        place.as_deref() == Some("local")
    };
    match wire {
        ModelWire::Messages => kind == "custom" || ANTHROPIC_TOOLS.iter().any(|tool| is_release(kind, tool)),
        ModelWire::Responses => match kind {
            "shell" => is_local("environment"),
            "tool_search" => tool.text("execution").as_deref() == Some("client"),
            _ => matches!(kind, "function" | "custom" | "namespace" | "local_shell" | "apply_patch"),
        },
        ModelWire::Chat => matches!(kind, "function" | "custom"),
        ModelWire::Gemini => false,
    }
}

/// Tools that are defined by Anthropic and run by the program.
const ANTHROPIC_TOOLS: [&str; 4] = ["bash", "text_editor", "computer", "memory"];

/// Returns whether it is the name with a release date: `bash_20250124`.
fn is_release(kind: &str, name: &str) -> bool {
    let date = kind.strip_prefix(name).and_then(|rest| rest.strip_prefix('_'));
    date.is_some_and(|date| date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Keys of a request that refer to something that only the provider has.
const REFERENCE_KEYS: [&str; 4] = ["previous_response_id", "conversation", "prompt", "cachedContent"];

/// Refuses what has no upper bound, or a price that no table has.
///
/// # Errors
/// The field, for a message that begins with "this request".
pub(super) fn refuse(wire: ModelWire, request: &Object<'_>) -> Result<(), String> {
    let is_open = matches!(wire, ModelWire::Responses | ModelWire::Chat);
    let is_kept = |key: &&&str| match (wire, **key) {
        (ModelWire::Responses, key) => key != "cachedContent" && request.get(key).is_some(),
        (ModelWire::Gemini, key) => key == "cachedContent" && request.get(key).is_some(),
        _ => false,
    };
    if let Some(key) = REFERENCE_KEYS.iter().find(is_kept) {
        return Err(format!(
            "has `{key}`, which stands for something that the provider has kept: nobody can say beforehand what it \
             costs; send all of the conversation"
        ));
    }
    if let Some(key) = ["background", "deferred"].iter().find(|key| is_open && request.is_true(key)) {
        return Err(format!(
            "has `{key}`: its answer would come when nobody counts any more; leave that out"
        ));
    }
    if is_open && request.get("models").is_some() {
        return Err("names further `models`, whose prices may be others; name one model".into());
    }
    if is_open {
        says_text_only(request, "modalities")?;
    }
    managed_context(wire, request)
}

/// Refuses images and speech, which have other prices.
pub(super) fn says_text_only(request: &Object<'_>, key: &str) -> Result<(), String> {
    let Some(text) = request.get(key) else { return Ok(()) };
    let all: Vec<String> =
        serde_json::from_str(text).map_err(|error| format!("has `{key}` that can't be read: {error}"))?;
    match all.iter().find(|one| !one.eq_ignore_ascii_case("text")) {
        None => Ok(()),
        Some(other) => {
            let short: String = other.chars().take(MAX_NAME_CHARS).collect();
            Err(format!("has `{key}` with {short:?}, which has a price of its own; ask for text"))
        }
    }
}

/// Checks context management: a provider that summarizes the conversation queries a model again, any number of times. Only
/// dropping parts of it costs nothing ("Context editing" of Anthropic's documentation).
fn managed_context(wire: ModelWire, request: &Object<'_>) -> Result<(), String> {
    let Some(text) = request.get("context_management").filter(|text| *text != "[]") else { return Ok(()) };
    let refused = |what: &str| {
        Err(format!(
            "has `context_management` with {what}: the provider would ask a model for that, and nobody can say \
             beforehand how often; let the program do it"
        ))
    };
    if wire != ModelWire::Messages {
        return refused("edits of its own");
    }
    let unreadable =
        |error: serde_json::Error| format!("has `context_management` that can't be read: {error}");
    let managed = Object::parse(text).map_err(unreadable)?;
    let edits: Vec<&RawValue> =
        serde_json::from_str(managed.get("edits").unwrap_or("[]")).map_err(unreadable)?;
    for edit in edits {
        let kind = Object::parse(edit.get()).map_err(unreadable)?.text("type").unwrap_or_default();
        if !["clear_tool_uses", "clear_thinking"].iter().any(|known| is_release(&kind, known)) {
            let short: String = kind.chars().take(MAX_NAME_CHARS).collect();
            return refused(&format!("`type` = {short:?}"));
        }
    }
    Ok(())
}
