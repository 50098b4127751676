//! Parts of a conversation that are more than text: tools added along the way, and items that refer to data that only the
//! provider has.
use super::hosted::{Changes, ToolGroup, own_tools, without_own};
use super::object::Object;
use super::wire::ModelWire;
use serde_json::value::RawValue;

/// Maximum length of an item's name in a message.
const MAX_NAME_CHARS: usize = 60;

/// Types of `input` items (OpenAI Responses) that cost no more than their content, with the keys that hold this content: an
/// item with an `id` and none of these keys refers to something that is stored at the provider.
const KNOWN_ITEMS: [(&str, &[&str]); 24] = [
    ("message", &["content"]),
    ("agent_message", &["content"]),
    ("reasoning", &["encrypted_content", "content"]),
    ("compaction", &["encrypted_content"]),
    ("compaction_summary", &["encrypted_content"]),
    ("context_compaction", &["encrypted_content"]),
    ("function_call", &["arguments"]),
    ("function_call_output", &["output"]),
    ("custom_tool_call", &["input"]),
    ("custom_tool_call_output", &["output"]),
    ("local_shell_call", &["action"]),
    ("local_shell_call_output", &["output"]),
    ("shell_call", &["action"]),
    ("shell_call_output", &["output"]),
    ("apply_patch_call", &["operation"]),
    ("apply_patch_call_output", &["call_id"]),
    ("computer_call", &["action", "actions"]),
    ("computer_call_output", &["output"]),
    ("tool_search_call", &["arguments"]),
    ("tool_search_output", &["tools"]),
    ("additional_tools", &["tools"]),
    ("web_search_call", &["action"]),
    ("image_generation_call", &["result"]),
    ("mcp_tool_call_output", &["output", "result"]),
];

/// Removes tools that the provider would run itself from a conversation, like those of the request's own `tools`.
///
/// # Errors
/// What can't be parsed, references to data that only the provider has, and items of unknown type; for a message that begins
/// with "this request".
pub(super) fn take_out(
    wire: ModelWire,
    request: &mut Object<'_>,
    changes: &mut Changes,
) -> Result<(), String> {
    type OfPart = fn(&str, &mut Changes) -> Result<PartFate, String>;
    let (key, one): (_, OfPart) = match wire {
        ModelWire::Responses => ("input", item),
        ModelWire::Messages => ("messages", message),
        ModelWire::Chat | ModelWire::Gemini => return Ok(()),
    };
    let Some(text) = request.get(key).filter(|text| text.starts_with('[')).map(str::to_owned) else {
        return Ok(());
    };
    if let Some(changed) = each(&text, key, changes, one)? {
        request.put(key, changed);
        changes.any = true;
    }
    Ok(())
}

/// What happens to a part of a list.
enum PartFate {
    Stays,
    Becomes(String),
    Goes,
}

/// Returns the list with its parts changed; `None`: all are kept.
fn each(
    list: &str,
    key: &str,
    changes: &mut Changes,
    mut one: impl FnMut(&str, &mut Changes) -> Result<PartFate, String>,
) -> Result<Option<String>, String> {
    let parts: Vec<&RawValue> =
        serde_json::from_str(list).map_err(|error| format!("has `{key}` that can't be read: {error}"))?;
    let mut fates = Vec::with_capacity(parts.len());
    for part in &parts {
        fates.push(one(part.get(), changes)?);
    }
    if fates.iter().all(|fate| matches!(fate, PartFate::Stays)) {
        return Ok(None);
    }
    let kept = parts.iter().zip(&fates).filter_map(|(part, fate)| match fate {
        PartFate::Stays => Some(part.get()),
        PartFate::Becomes(text) => Some(text.as_str()),
        PartFate::Goes => None,
    });
    Ok(Some(format!("[{}]", kept.collect::<Vec<_>>().join(","))))
}

/// Filters an item of `input`.
fn item(text: &str, changes: &mut Changes) -> Result<PartFate, String> {
    let mut parts =
        Object::parse(text).map_err(|error| format!("has an item of `input` that can't be read: {error}"))?;
    let is_kept_there = |what: &str| {
        Err(format!(
            "refers to something that is not in it ({what} of `input`): nobody can say beforehand what it costs; send \
             the content itself"
        ))
    };
    let kind = match (parts.text("type"), parts.get("role")) {
        (Some(kind), _) => kind,
        (None, Some(_)) => "message".to_owned(),
        (None, None) => return is_kept_there("an item without `type` and `role`"),
    };
    let shown: String = kind.chars().take(MAX_NAME_CHARS).collect();
    match kind.as_str() {
        "item_reference" => return is_kept_there("`type` = \"item_reference\""),
        "compaction_trigger" => {
            return Err("has a `compaction_trigger` in `input`: the provider would ask a model for that, and nobody can \
                        say beforehand what it costs; let the program do it"
                .into());
        }
        _ => {}
    }
    let Some((_, contents)) = KNOWN_ITEMS.iter().find(|(known, _)| *known == kind) else {
        return Err(format!(
            "has an item of `input` of a type that is not known ({shown:?}): nobody can say beforehand what it costs"
        ));
    };
    let is_there = |key: &&str| parts.get(key).is_some_and(|value| !is_empty_list(value));
    if parts.get("id").is_some() && !contents.iter().any(is_there) {
        return is_kept_there(&format!("{shown:?} with an `id` and without `{}`", contents.join("` or `")));
    }
    let Some(tools) = parts.get("tools").map(str::to_owned) else { return Ok(PartFate::Stays) };
    let before = changes.taken_out.len();
    let kept = own_tools(ModelWire::Responses, &tools, ToolGroup::None, changes)?;
    changes.further_tools |= !kept.is_empty();
    if changes.taken_out.len() == before {
        return Ok(PartFate::Stays);
    }
    parts.put("tools", format!("[{}]", kept.join(",")));
    Ok(PartFate::Becomes(parts.to_json()))
}

fn is_empty_list(value: &str) -> bool {
    let within = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    within.is_some_and(|within| within.trim().is_empty())
}

/// Filters a message of Anthropic's: its content can add tools ("Add or remove tools" of Anthropic's page on preserved
/// thinking).
fn message(text: &str, changes: &mut Changes) -> Result<PartFate, String> {
    let mut parts =
        Object::parse(text).map_err(|error| format!("has a message that can't be read: {error}"))?;
    let Some(content) = parts.get("content").filter(|text| text.starts_with('[')).map(str::to_owned) else {
        return Ok(PartFate::Stays);
    };
    Ok(match each(&content, "content", changes, block)? {
        None => PartFate::Stays,
        // a message needs some content
        Some(content) if is_empty_list(&content) => PartFate::Goes,
        Some(content) => {
            parts.put("content", content);
            PartFate::Becomes(parts.to_json())
        }
    })
}

fn block(text: &str, changes: &mut Changes) -> Result<PartFate, String> {
    let unreadable =
        |error: serde_json::Error| format!("has a block of `content` that can't be read: {error}");
    // a string in a list is left to the provider to refuse
    if !text.starts_with('{') {
        return Ok(PartFate::Stays);
    }
    let mut parts = Object::parse(text).map_err(unreadable)?;
    if parts.text("type").as_deref() != Some("tool_addition") {
        return Ok(PartFate::Stays);
    }
    let Some(tool) = parts.get("tool").map(str::to_owned) else { return Ok(PartFate::Stays) };
    let mut tool = Object::parse(&tool).map_err(unreadable)?;
    let definition = match tool.text("type").as_deref() {
        // refers to one of `tools`, which are filtered separately
        Some("tool_reference") => return Ok(PartFate::Stays),
        Some("tool_definition") => tool.get("definition").map(str::to_owned),
        other => {
            changes.take_out(other.unwrap_or("a tool without a `type`"));
            return Ok(PartFate::Goes);
        }
    };
    let Some(definition) = definition else { return Ok(PartFate::Stays) };
    let Some(own) = without_own(ModelWire::Messages, &definition, ToolGroup::None, changes)? else {
        return Ok(PartFate::Goes);
    };
    changes.further_tools = true;
    if own == definition {
        return Ok(PartFate::Stays);
    }
    tool.put("definition", own);
    let tool = tool.to_json();
    parts.put("tool", tool);
    Ok(PartFate::Becomes(parts.to_json()))
}
