//! `shell`: programs of an allow-list with typed parameters. No shell is involved: a parameter is one whole
//! argument, whatever it contains.
use super::contract::{About, Call, ToolOutput};
use super::{files, settings};
use crate::child::{self, Confinement, Inherit, Program};
use crate::domain::{
    Effect, ParameterKind, ProgramOwner, ReadsWhen, Sandbox, ShellArg, ShellArgs, ShellCommand,
    ShellSettings, TextOrSecret, ToolError, ToolKind, ToolSettings, size,
};
use crate::secret;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Maximum length of a parameter's value, in bytes.
const MAX_PARAMETER_BYTES: usize = 16 << 10;

/// Describes an instance; without settings, the strongest effect that one could have.
pub(super) fn about(settings: Option<&ShellSettings>) -> About {
    let read = settings.map(ShellSettings::reads).unwrap_or_default();
    let count = settings.map_or(0, |settings| settings.commands.len());
    let only_reads = count > 0 && read.len() == count;
    About {
        effect: if only_reads { Effect::Read } else { Effect::Effect },
        reads_when: (!read.is_empty() && !only_reads).then(|| ReadsWhen {
            key: "command".into(),
            values: read,
            by_default: false,
        }),
        untrusted: true,
    }
}

pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let ShellArgs { command: name, params } = call.arguments()?;
    let ToolSettings::Shell(Some(settings)) = &*call.settings else {
        return Err(settings::missing(ToolKind::Shell.as_str()));
    };
    let Some(command) = settings.commands.get(&name) else {
        return Err(settings::missing(ToolKind::Shell.as_str()));
    };
    let argv = argv(&call.tool, &name, command, &params)?;
    let bound = settings.timeout.unsigned_abs().min(call.bound);
    let mut env = environment(&settings.env, bound).await?;
    // So that it is found and ended if the daemon dies.
    env.extend(call.context.run.map(|run| (child::RUN_ID.to_owned(), run.to_string())));
    let traceparent =
        call.context.traceparent.iter().filter(|_| !settings.env.contains_key(child::TRACEPARENT));
    env.extend(traceparent.map(|trace| (child::TRACEPARENT.to_owned(), trace.to_string())));
    let named: Vec<String> = command.args.iter().filter_map(ShellArg::as_text).map(str::to_owned).collect();
    let sandbox = settings.sandbox.unless_off().map(|sandbox| sandbox_of(&sandbox, command));
    let owner = ProgramOwner {
        table: format!("tools.{}", call.tool),
        agent: call.context.agent.clone(),
        run: call.context.run,
    };
    let confinement =
        sandbox.as_ref().map(|sandbox| Confinement::new(sandbox, &owner, &named, settings.env.keys()));
    let program = Program {
        argv: &argv,
        inherit: Inherit::Basics,
        env: &env,
        cwd: Some(&settings.cwd),
        stdin: None,
        confinement,
        control: call.context.control,
        max_output: size(settings.max_output),
    };
    let finished = child::run(program, bound).await.map_err(|error| match error {
        child::ChildError::TimedOut { .. } | child::ChildError::OverMemory { .. } => {
            ToolError::Unsure(error.to_string())
        }
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
    if !finished.refused.is_empty() {
        result["sandbox"] = finished.refused.into();
    }
    Ok(ToolOutput::of(result))
}

/// Returns the sandbox of a command, in which the folders allowed for its paths can be read.
fn sandbox_of(sandbox: &Sandbox, command: &ShellCommand) -> Sandbox {
    let mut sandbox = sandbox.clone();
    sandbox.read.extend_from_slice(&command.under);
    sandbox
}

async fn environment(
    configured: &BTreeMap<String, TextOrSecret>,
    bound: Duration,
) -> Result<Vec<(String, String)>, ToolError> {
    let mut all = Vec::new();
    for (name, value) in configured {
        let value = secret::value_of(value, bound)
            .await
            .map_err(|error| ToolError::Failed(format!("no value for the variable `{name}`: {error}")))?;
        all.push((name.clone(), value.expose().to_owned()));
    }
    Ok(all)
}

/// Builds program and arguments, with each parameter in its place.
fn argv(
    tool: &str,
    name: &str,
    command: &ShellCommand,
    params: &BTreeMap<String, Value>,
) -> Result<Vec<String>, ToolError> {
    let refuse = |why: String| ToolError::Arguments(format!("tool `{tool}`: command `{name}`: {why}"));
    let mut argv = vec![command.exec.clone()];
    let mut known = Vec::new();
    for arg in &command.args {
        let (param, kind) = match arg {
            ShellArg::Text(text) => {
                argv.push(text.clone());
                continue;
            }
            ShellArg::Parameter { name, kind } => (name.as_str(), kind),
        };
        known.push(param);
        let value = params.get(param).ok_or_else(|| refuse(format!("the parameter `{param}` is missing")))?;
        let value = fitted(value, kind).and_then(|value| match kind {
            ParameterKind::Path => beneath(&value, &command.under),
            _ => Ok(value),
        });
        argv.push(value.map_err(|why| refuse(format!("the parameter `{param}` {why}")))?);
    }
    if let Some(odd) = params.keys().find(|key| !known.contains(&key.as_str())) {
        let has = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(refuse(format!("there is no parameter `{odd}`; it has {has}")));
    }
    Ok(argv)
}

/// Converts the value to one argument.
fn fitted(value: &Value, kind: &ParameterKind) -> Result<String, String> {
    if let Some((least, most)) = match kind {
        ParameterKind::Whole => Some((0, i64::MAX)),
        ParameterKind::Between { least, most } => Some((*least, *most)),
        _ => None,
    } {
        let whole: Option<i64> = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
        let whole = whole.ok_or("must be a whole number")?;
        return match (least..=most).contains(&whole) {
            true => Ok(whole.to_string()),
            false if most == i64::MAX => Err("must not be negative".into()),
            false => Err(format!("must be from {least} to {most}")),
        };
    }
    let text = value.as_str().ok_or("must be a text")?;
    if text.len() > MAX_PARAMETER_BYTES {
        return Err(format!("is longer than {MAX_PARAMETER_BYTES} bytes"));
    }
    if text.contains('\0') {
        return Err("has a NUL character".into());
    }
    match kind {
        ParameterKind::OneOf(words) if !words.iter().any(|word| word == text) => {
            Err(format!("must be one of {}", words.join(", ")))
        }
        ParameterKind::OneOf(_) => Ok(text.to_owned()),
        _ if text.starts_with('-') => Err("must not begin with `-`: it would be an option".into()),
        ParameterKind::Path if text.is_empty() => Err("must not be empty".into()),
        _ => Ok(text.to_owned()),
    }
}

/// Returns the path as it can be passed to a program: absolute, beneath one of the folders, and at this
/// moment not through a link. It need not exist, but its folder must.
fn beneath(path: &str, folders: &[PathBuf]) -> Result<String, String> {
    files::find_beneath(path, folders)
        .map(|path| path.display().to_string())
        .map_err(|why| format!("can't be used: {why}"))
}

#[cfg(test)]
mod tests {
    //! Tests of arguments, and of real programs.
    use super::*;
    use crate::domain::SandboxSetting;
    use std::sync::Arc;

    fn command(exec: &str, args: &[&str], read: bool) -> ShellCommand {
        let args = args.iter().map(|arg| ShellArg::parse(arg).unwrap()).collect();
        ShellCommand {
            exec: exec.into(),
            args,
            under: vec!["/usr".into(), "/etc".into()],
            read,
            description: None,
        }
    }

    fn settings(commands: &[(&str, ShellCommand)]) -> ShellSettings {
        ShellSettings {
            commands: commands.iter().map(|(name, command)| ((*name).to_owned(), command.clone())).collect(),
            cwd: "/".into(),
            default_cwd: false,
            env: [("MARK".to_owned(), TextOrSecret::Text("here".into()))].into(),
            timeout: ShellSettings::TIMEOUT,
            max_output: ShellSettings::MAX_OUTPUT,
            sandbox: SandboxSetting::Unset,
        }
    }

    fn ask(args: Value) -> impl Future<Output = Result<Value, ToolError>> {
        let settings = settings(&[
            ("say", command("/bin/echo", &["{text:string}", "{n:int(-9..9)}", "{level:low|high}"], true)),
            ("look", command("/bin/ls", &["--", "{path:path}"], true)),
            ("count", command("/bin/echo", &["{n:int}"], true)),
            ("mark", command("/usr/bin/env", &[], false)),
            ("hang", command("/bin/sleep", &["60"], false)),
            ("gone", command("/no/such/program", &[], false)),
        ]);
        let call = Call {
            tool: "sh".into(),
            args,
            settings: Arc::new(ToolSettings::Shell(Some(settings))),
            bound: Duration::from_secs(1),
            context: super::super::CallContext::default(),
        };
        async move { super::call(call).await.map(|output| output.result) }
    }

    fn say_of(n: i64) -> Value {
        json!({"command": "say", "params": {"text": "a", "n": n, "level": "low"}})
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
            (
                json!({"command": "look", "params": {"path": "/proc/self/environ"}}),
                "outside of what is allowed",
            ),
            (json!({"command": "look", "params": {"path": "/usr/../proc"}}), "outside of what is allowed"),
            (json!({"command": "look", "params": {"path": "../proc"}}), "outside of what is allowed"),
            (json!({"command": "look", "params": {"path": "/etc/mtab"}}), "leads through a link"),
            (json!({"command": "look", "params": {"path": "no/such/folder"}}), "there is no"),
            (json!({"command": "count", "params": {"n": -1}}), "must not be negative"),
            (json!({"command": "count", "params": {"n": "-1"}}), "must not be negative"),
            (say_of(10), "from -9 to 9"),
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
        let missing = ask(json!({"command": "look", "params": {"path": "no-such"}})).await.unwrap();
        assert_ne!(missing["exit_code"], 0);
        assert!(missing["stderr"].as_str().unwrap().contains("/usr/no-such"));
        let said = ask(say_of(-9)).await.unwrap();
        assert_eq!(said["stdout"], "a -9 low\n");
        assert!(matches!(ask(json!({"command": "hang"})).await, Err(ToolError::Unsure(_))));
        assert!(matches!(ask(json!({"command": "gone"})).await, Err(ToolError::Failed(_))));
    }

    #[test]
    fn an_instance_is_what_its_commands_are() {
        let df = command("/bin/df", &["{path:path}"], true);
        let reads = about(Some(&settings(&[("df", df.clone())])));
        assert_eq!((reads.effect, reads.reads_when), (Effect::Read, None));
        let both = about(Some(&settings(&[("df", df), ("rm", command("/bin/rm", &[], false))])));
        assert_eq!(both.effect, Effect::Effect);
        assert_eq!(both.reads_when.unwrap().values, ["df"]);
    }
}
