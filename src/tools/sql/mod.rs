//! `sql`: one statement with bound parameters on an SQLite or PostgreSQL database. What is read only is
//! made so by the database itself: see `guard` for SQLite and `postgres`.
//!
//! A connection lives as long as its call. Parameters are bound, never spliced into the text.
use super::{Call, Effect, ToolError, ToolOutput, catalog::About, settings};
use crate::domain::{SecretRef, TextOrSecret};
use crate::secret;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) mod address;
mod decode;
mod encode;
mod functions;
mod guard;
pub(super) mod link;
mod names;
pub(super) mod postgres;
mod rows;
mod sqlite;

/// Time of a statement where the settings say none.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Rows of a result where the settings say nothing.
const MAX_ROWS: usize = 1000;
/// Longest statement, in bytes.
const MAX_SQL: usize = 100_000;

/// What the configuration says.
struct Settings {
    url: TextOrSecret,
    password: Option<SecretRef>,
    writes: bool,
    max_rows: usize,
    timeout: Duration,
    statements: BTreeMap<String, String>,
    /// SQLite: nothing but these is touched, if it is said.
    tables: Option<BTreeSet<String>>,
    ddl: bool,
}

/// What is to run.
struct Statement {
    text: String,
    params: Params,
}

/// Values for the parameters of a statement.
enum Params {
    /// By position.
    List(Vec<Value>),
    /// By name, without its `:`, `@` or `$`.
    Named(Map<String, Value>),
}

/// What an instance is.
pub(super) fn about(settings: &Value) -> About {
    let writes = settings::writes(settings);
    About {
        effect: if writes { Effect::Effect } else { Effect::Read },
        reads_when: None,
        untrusted: true,
        schema: schema(settings, writes),
    }
}

fn schema(settings: &Value, writes: bool) -> Value {
    let none = Map::new();
    let statements = settings.get("statements").and_then(Value::as_object).unwrap_or(&none);
    let named_only = writes && !statements.is_empty();
    let mut properties = Map::new();
    if !named_only {
        let mut text = "One SQL statement. Values belong into `params`: SQLite takes ?1 or :name, \
                        PostgreSQL $1 or :name."
            .to_owned();
        if settings.is_object() && !writes {
            text.push_str(" Only statements that read.");
        }
        if let Some(tables) = settings::texts(settings, "tables") {
            text.push_str(&format!(" Tables: {}.", tables.join(", ")));
        }
        properties.insert("sql".into(), json!({"type": "string", "description": text}));
    }
    if !statements.is_empty() {
        let names: Vec<&String> = statements.keys().collect();
        let list: Vec<String> = statements
            .iter()
            .map(|(name, text)| format!("{name}: {}", text.as_str().unwrap_or_default()))
            .collect();
        let text = format!("A statement that is defined already. {}", list.join("; "));
        properties.insert("statement".into(), json!({"enum": names, "description": text}));
    }
    properties.insert(
        "params".into(),
        json!({
            "type": ["array", "object"],
            "description": "Values of the parameters: a list by position, or an object by name. Bytes are {\"base64\": \"…\"}.",
        }),
    );
    let required: &[&str] = match (named_only, statements.is_empty()) {
        (true, _) => &["statement"],
        (false, true) => &["sql"],
        (false, false) => &[],
    };
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

/// Runs a statement.
pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let settings = Settings::of(&call.settings).ok_or_else(|| settings::missing("sql"))?;
    let statement = Statement::of(&call.args, &settings)?;
    let bound = settings.timeout.min(call.bound);
    let url =
        secret::value_of(&settings.url, bound).await.map_err(|error| ToolError::Failed(error.to_string()))?;
    let result = if let Some(path) = url.strip_prefix("sqlite:") {
        let path = sqlite_path(path)?;
        sqlite::run(path, settings, statement, bound).await
    } else {
        postgres::run(&url, &settings, statement, bound).await
    };
    Ok(ToolOutput::of(result?))
}

/// The file of a database. That of the daemon itself is the daemon's alone.
pub(super) fn sqlite_path(path: &str) -> Result<PathBuf, ToolError> {
    let path = Path::new(match path.strip_prefix("//") {
        Some(rest) => rest,
        None => path,
    });
    let failed = |why: &str| Err(ToolError::Failed(format!("{}: {why}", path.display())));
    if !path.is_absolute() {
        return failed("the path of a database that stands in a secret must be absolute");
    }
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real.file_name().is_some_and(|name| name.eq_ignore_ascii_case("bgagent.db")) {
        return failed("this is the daemon's own database; `bgagent runs` and `bgagent events` read it");
    }
    match std::fs::metadata(&real) {
        Ok(about) if about.is_file() => Ok(real),
        Ok(_) => failed("this is not a file, so it is no database"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            failed("there is no such database; it is never created, so check `url`")
        }
        Err(error) => failed(&format!("the database can't be opened: {error}")),
    }
}

impl Settings {
    fn of(value: &Value) -> Option<Self> {
        let statements = value.get("statements").and_then(Value::as_object);
        Some(Self {
            url: TextOrSecret::from_json(value.get("url")?)?,
            password: value.get("password").and_then(SecretRef::from_json),
            writes: settings::writes(value),
            max_rows: settings::whole(value, "max_rows").unwrap_or(MAX_ROWS),
            timeout: settings::span(value, "timeout").unwrap_or(TIMEOUT),
            statements: statements
                .into_iter()
                .flatten()
                .filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned())))
                .collect(),
            tables: settings::texts(value, "tables")
                .map(|tables| tables.iter().map(|table| table.to_lowercase()).collect()),
            ddl: settings::flag(value, "ddl"),
        })
    }
}

impl Statement {
    fn of(args: &Value, settings: &Settings) -> Result<Self, ToolError> {
        let refuse = |why: &str| Err(ToolError::Arguments(why.to_owned()));
        let text = match (settings::text(args, "sql"), settings::text(args, "statement")) {
            (Some(_), Some(_)) => return refuse("give either `sql` or `statement`, not both"),
            (None, None) => return refuse("`sql` is missing"),
            (Some(text), None) => text,
            (None, Some(name)) => match settings.statements.get(name) {
                Some(text) => text,
                None => return refuse("there is no such `statement`"),
            },
        };
        if text.len() > MAX_SQL {
            return refuse("the statement is longer than 100000 bytes: bind long values as `params`");
        }
        if text.contains('\0') {
            return refuse("the statement has a NUL byte");
        }
        let params = match args.get("params") {
            Some(Value::Array(list)) => Params::List(list.clone()),
            Some(Value::Object(map)) => Params::Named(map.clone()),
            _ => Params::List(Vec::new()),
        };
        Ok(Self { text: text.to_owned(), params })
    }
}

/// `{"base64": "…"}`: how bytes stand in JSON, both ways.
fn bytes_of(value: &Value) -> Option<Result<Vec<u8>, String>> {
    use base64::Engine;
    let map = value.as_object().filter(|map| map.len() == 1)?;
    let text = map.get("base64")?.as_str()?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    Some(decoded.map_err(|error| format!("its base64 can't be read: {error}")))
}

/// See [`bytes_of`].
fn bytes_json(bytes: &[u8]) -> Value {
    use base64::Engine;
    json!({"base64": base64::engine::general_purpose::STANDARD.encode(bytes)})
}

/// A number that JSON can't hold is a text.
fn float_json(number: f64) -> Value {
    if number.is_nan() {
        return "NaN".into();
    }
    match serde_json::Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None => (if number > 0.0 { "Infinity" } else { "-Infinity" }).into(),
    }
}

#[cfg(test)]
mod tests;
