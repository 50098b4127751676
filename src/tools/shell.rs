//! `shell`: programs of an allow-list with typed parameters. No shell ever sees them: a parameter is one
//! whole argument, whatever is in it.
use super::contract::{About, Call, ToolError, ToolOutput};
use super::settings;
use crate::child::{self, Program};
use crate::domain::{Effect, ReadsWhen, TextOrSecret};
use crate::secret;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::Duration;

/// Time of a program where the settings say none.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Kept of each output where the settings say nothing, and at the most.
const MAX_OUTPUT: (usize, usize) = (64 << 10, 128 << 10);
/// Longest value of a parameter, in bytes.
const LONGEST: usize = 16 << 10;
/// Of our own environment, a program gets these.
const KEEP: &[&str] = &["PATH", "HOME", "USER", "LANG", "LC_*", "TZ", "TMPDIR", "XDG_RUNTIME_DIR"];

/// A parameter, by what may stand in its place.
enum Kind<'a> {
    Text,
    Whole,
    Path,
    OneOf(Vec<&'a str>),
}

/// What an instance is.
pub(super) fn about(settings: &Value) -> About {
    let none = Map::new();
    let commands = settings.get("commands").and_then(Value::as_object).unwrap_or(&none);
    let read: Vec<String> = commands
        .iter()
        .filter(|(_, command)| settings::flag(command, "read"))
        .map(|(name, _)| name.clone())
        .collect();
    let names: Vec<&String> = commands.keys().collect();
    let told: Vec<String> = commands.iter().map(|(name, command)| told(name, command)).collect();
    let only_reads = !names.is_empty() && read.len() == names.len();
    About {
        effect: if only_reads { Effect::Read } else { Effect::Effect },
        reads_when: (!read.is_empty() && !only_reads).then(|| ReadsWhen {
            key: "command".into(),
            values: read,
            by_default: false,
        }),
        untrusted: true,
        schema: json!({
            "type": "object",
            "properties": {
                "command": {"type": "string", "enum": names, "description": told.join("; ")},
                "params": {"type": "object", "description": "Values of the command's parameters, by name."},
            },
            "required": ["command"],
            "additionalProperties": false,
        }),
    }
}

/// `df(path: path): free space`
fn told(name: &str, command: &Value) -> String {
    let args = settings::texts(command, "args").unwrap_or_default();
    let params: Vec<String> = args
        .iter()
        .filter_map(|arg| parameter(arg))
        .map(|(name, kind)| match kind {
            Kind::Text => name.to_owned(),
            Kind::Whole => format!("{name}: whole number"),
            Kind::Path => format!("{name}: path"),
            Kind::OneOf(words) => format!("{name}: {}", words.join(" or ")),
        })
        .collect();
    let what = settings::text(command, "description").map(|text| format!(": {text}")).unwrap_or_default();
    format!("{name}({}){what}", params.join(", "))
}

pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let name = call.args["command"].as_str().unwrap_or_default();
    let Some(command) = call.settings.json().get("commands").and_then(|commands| commands.get(name)) else {
        return Err(settings::missing("shell"));
    };
    let params = call.args.get("params").and_then(Value::as_object).cloned().unwrap_or_default();
    let argv = argv(&call.tool, name, command, &params)?;
    let bound = settings::span(call.settings.json(), "timeout").unwrap_or(TIMEOUT).min(call.bound);
    let mut env = environment(call.settings.json(), bound).await?;
    // so that it is found and ended if the daemon dies
    env.extend(call.context.run.map(|run| (child::RUN_ID.to_owned(), run.to_string())));
    let max_output =
        settings::whole(call.settings.json(), "max_output").unwrap_or(MAX_OUTPUT.0).min(MAX_OUTPUT.1);
    let program = Program {
        argv: &argv,
        keep: Some(KEEP),
        env: &env,
        cwd: settings::text(call.settings.json(), "cwd").map(Path::new),
        stdin: None,
        max_output,
    };
    let finished = child::run(program, bound).await.map_err(|error| match error {
        child::ChildError::TimedOut { .. } => ToolError::Unsure(error.to_string()),
        other => ToolError::Failed(other.to_string()),
    })?;
    let mut result = json!({
        "exit_code": finished.status.code(),
        "stdout": String::from_utf8_lossy(&finished.stdout),
        "stderr": String::from_utf8_lossy(&finished.stderr),
    });
    if finished.status.code().is_none() {
        result["ended_by"] = child::how_it_ended(finished.status).into();
    }
    if finished.stdout_cut {
        result["truncated"] = true.into();
    }
    Ok(ToolOutput::of(result))
}

async fn environment(settings: &Value, bound: Duration) -> Result<Vec<(String, String)>, ToolError> {
    let mut all = Vec::new();
    for (name, value) in settings.get("env").and_then(Value::as_object).into_iter().flatten() {
        let value = TextOrSecret::from_json(value)
            .ok_or_else(|| ToolError::Failed(format!("the variable `{name}` has no value")))?;
        let value = secret::value_of(&value, bound)
            .await
            .map_err(|error| ToolError::Failed(format!("no value for the variable `{name}`: {error}")))?;
        all.push((name.clone(), value.expose().to_owned()));
    }
    Ok(all)
}

/// Program and arguments, each parameter in its place.
fn argv(
    tool: &str,
    name: &str,
    command: &Value,
    params: &Map<String, Value>,
) -> Result<Vec<String>, ToolError> {
    let refuse = |why: String| ToolError::Arguments(format!("tool `{tool}`: command `{name}`: {why}"));
    let args = settings::texts(command, "args").unwrap_or_default();
    let mut argv = vec![settings::text(command, "exec").unwrap_or_default().to_owned()];
    let mut known = Vec::new();
    for arg in &args {
        let Some((param, kind)) = parameter(arg) else {
            argv.push(arg.clone());
            continue;
        };
        known.push(param);
        let value = params.get(param).ok_or_else(|| refuse(format!("the parameter `{param}` is missing")))?;
        argv.push(fitted(value, &kind).map_err(|why| refuse(format!("the parameter `{param}` {why}")))?);
    }
    if let Some(odd) = params.keys().find(|key| !known.contains(&key.as_str())) {
        let has = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(refuse(format!("there is no parameter `{odd}`; it has {has}")));
    }
    Ok(argv)
}

/// The value as one argument.
fn fitted(value: &Value, kind: &Kind<'_>) -> Result<String, String> {
    if let Kind::Whole = kind {
        let whole = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
        return whole.map(|whole| whole.to_string()).ok_or_else(|| "must be a whole number".to_owned());
    }
    let text = value.as_str().ok_or("must be a text")?;
    if text.len() > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes"));
    }
    if text.contains('\0') {
        return Err("has a NUL character".into());
    }
    match kind {
        Kind::OneOf(words) if !words.contains(&text) => Err(format!("must be one of {}", words.join(", "))),
        Kind::OneOf(_) => Ok(text.to_owned()),
        _ if text.starts_with('-') => Err("must not begin with `-`: it would be an option".into()),
        Kind::Path if text.is_empty() => Err("must not be empty".into()),
        _ => Ok(text.to_owned()),
    }
}

/// `{name:kind}`; the configuration has made sure that the kind is known.
fn parameter(arg: &str) -> Option<(&str, Kind<'_>)> {
    let inside = arg.strip_prefix('{')?.strip_suffix('}')?;
    let (name, kind) = inside.split_once(':').unwrap_or((inside, "string"));
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| {
        let kind = match kind {
            "int" => Kind::Whole,
            "path" => Kind::Path,
            words if words.contains('|') => Kind::OneOf(words.split('|').collect()),
            _ => Kind::Text,
        };
        (name, kind)
    })
}

#[cfg(test)]
mod tests {
    //! Tests of what becomes an argument, and of real programs.
    use super::*;
    use crate::domain::ToolSettings;
    use std::sync::Arc;

    fn ask(args: Value) -> impl Future<Output = Result<Value, ToolError>> {
        let settings = json!({
            "cwd": "/",
            "env": {"MARK": "here"},
            "commands": {
                "say": {"exec": "/bin/echo", "args": ["{text:string}", "{n:int}", "{level:low|high}"], "read": true},
                "look": {"exec": "/bin/ls", "args": ["--", "{path:path}"], "read": true},
                "mark": {"exec": "/usr/bin/env", "args": []},
                "hang": {"exec": "/bin/sleep", "args": ["60"]},
                "gone": {"exec": "/no/such/program", "args": []},
            },
        });
        let call = Call {
            tool: "sh".into(),
            args,
            settings: Arc::new(ToolSettings::Json(settings)),
            bound: Duration::from_secs(1),
            context: super::super::CallContext::default(),
        };
        async move { super::call(call).await.map(|output| output.result) }
    }

    fn say(text: &str) -> Value {
        json!({"command": "say", "params": {"text": text, "n": 3, "level": "low"}})
    }

    #[tokio::test]
    async fn no_text_is_anything_but_one_argument() {
        let mut tricks: Vec<String> = Vec::new();
        for inner in
            ["id", "touch /tmp/x", "cat /etc/passwd", "rm -rf /", "sh -c id", "reboot", "env", "$HOME"]
        {
            for form in [
                "; {}",
                "&& {}",
                "| {}",
                "|| {}",
                "& {}",
                "`{}`",
                "$({})",
                "\n{}",
                "' ; {}",
                "\" ; {}",
                "> {}",
                "< {}",
                "x; {} #",
                "\\; {}",
                "%0a{}",
                "${{IFS}}{}",
            ] {
                tricks.push(form.replace("{}", inner));
            }
        }
        assert!(tricks.len() >= 100);
        for trick in tricks {
            let said = ask(say(&trick)).await.unwrap();
            assert_eq!(said["stdout"], format!("{trick} 3 low\n"), "{trick}");
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused() {
        for (args, says) in [
            (say("-n"), "must not begin with `-`"),
            (say("a\0b"), "NUL"),
            (
                json!({"command": "say", "params": {"text": "a", "n": "x; id", "level": "low"}}),
                "whole number",
            ),
            (json!({"command": "say", "params": {"text": "a", "n": 1, "level": "mid"}}), "one of low, high"),
            (json!({"command": "say", "params": {"text": "a", "n": 1}}), "`level` is missing"),
            (json!({"command": "say", "params": {"text": ["a"], "n": 1, "level": "low"}}), "must be a text"),
            (json!({"command": "mark", "params": {"x": 1}}), "no parameter `x`; it has none"),
            (json!({"command": "look", "params": {"path": ""}}), "must not be empty"),
        ] {
            let error = ask(args).await.unwrap_err();
            assert!(matches!(&error, ToolError::Arguments(text) if text.contains(says)), "{says}: {error}");
        }
        assert!(matches!(ask(json!({"command": "no"})).await, Err(ToolError::Failed(_))));
    }

    #[tokio::test]
    async fn programs_run_in_a_cleared_environment_and_in_time() {
        let env = ask(json!({"command": "mark"})).await.unwrap();
        let text = env["stdout"].as_str().unwrap();
        assert!(text.contains("MARK=here") && !text.contains("CARGO"), "{text}");
        let missing = ask(json!({"command": "look", "params": {"path": "/no/such"}})).await.unwrap();
        assert_ne!(missing["exit_code"], 0);
        assert!(missing["stderr"].as_str().unwrap().contains("/no/such"));
        assert!(matches!(ask(json!({"command": "hang"})).await, Err(ToolError::Unsure(_))));
        assert!(matches!(ask(json!({"command": "gone"})).await, Err(ToolError::Failed(_))));
    }

    #[test]
    fn an_instance_is_what_its_commands_are() {
        let reads =
            about(&json!({"commands": {"df": {"exec": "/bin/df", "args": ["{path:path}"], "read": true}}}));
        assert_eq!((reads.effect, reads.reads_when), (Effect::Read, None));
        assert!(
            reads.schema["properties"]["command"]["description"].as_str().unwrap().contains("df(path: path)")
        );
        let both =
            about(&json!({"commands": {"df": {"exec": "/bin/df", "read": true}, "rm": {"exec": "/bin/rm"}}}));
        assert_eq!(both.effect, Effect::Effect);
        assert_eq!(both.reads_when.unwrap().values, ["df"]);
    }
}
