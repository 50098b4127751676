//! Reads the settings of an instance, as `config` leaves them: paths absolute, times in seconds, sizes in
//! bytes, secrets as references.
use super::ToolError;
use serde_json::Value;
use std::time::Duration;

pub(super) fn text<'a>(settings: &'a Value, key: &str) -> Option<&'a str> {
    settings.get(key)?.as_str()
}

pub(super) fn texts(settings: &Value, key: &str) -> Option<Vec<String>> {
    let list = settings.get(key)?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

pub(super) fn whole(settings: &Value, key: &str) -> Option<usize> {
    usize::try_from(settings.get(key)?.as_u64()?).ok()
}

pub(super) fn flag(settings: &Value, key: &str) -> bool {
    settings.get(key).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn span(settings: &Value, key: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(settings.get(key)?.as_f64()?).ok()
}

/// May this instance change anything? Without settings: what it might do at the worst.
pub(super) fn writes(settings: &Value) -> bool {
    text(settings, "mode") != Some("read_only")
}

/// What is missing when a tool that does nothing without settings is called by its own name.
pub(super) fn missing(kind: &str) -> ToolError {
    ToolError::Failed(format!(
        "tool `{kind}` does nothing without settings: define a table such as [tools.my_{kind}] with \
         type = \"{kind}\", and call that"
    ))
}
