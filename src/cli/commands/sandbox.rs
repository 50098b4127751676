//! `bgagent sandbox try`: runs a program within the sandbox of an agent, and reports what was denied.
use super::prelude::*;
use crate::cli::args::SandboxCommand;
use crate::config::Context;
use crate::doctor;
use crate::domain::{Body, Fleet, NotifyTargetKind, ProgramOwner, Sandbox, ToolSettings, nearest};
use std::path::PathBuf;
use std::sync::Arc;

pub(in crate::cli) fn run(app: &mut App, command: &SandboxCommand) -> Result<Outcome, Failure> {
    let SandboxCommand::Try(args) = command;
    let paths = app.paths()?.clone();
    let loaded = crate::config::load(&paths.config, &Context::system(app.screen.now))
        .map_err(|rejected| Failure::rejected(&rejected, app.stderr_color))?;
    let target = find_target(&loaded.fleet, &args.target)?;
    let sandbox = without_limits_of_groups(app, &target.sandbox);
    doctor::keep_apart(&paths.state_dir, &paths.config);
    let table = match args.target.split_once('.') {
        Some(_) => args.target.clone(),
        None => format!("agents.{}", args.target),
    };
    let owner = ProgramOwner { table, ..ProgramOwner::default() };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let tried = runtime.block_on(doctor::run_within(&sandbox, &owner, &args.program, &target.cwd));
    let within = tried.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::usage(error.to_string()),
        _ => negative(error.to_string(), "`bgagent doctor` says what this machine can confine"),
    })?;
    for path in &within.refused {
        app.note(&format!(
            "`{path}` is not within the sandbox of {}: `read` or `write` would name it, or a folder above it",
            args.target
        ));
    }
    for told in &within.not_connected {
        app.note(told);
    }
    match within.failure {
        None => Ok(Outcome::Done),
        Some(how) => {
            app.note(&format!("`{}` ended with {how}", args.program[0]));
            Ok(Outcome::Negative)
        }
    }
}

/// Removes limits that need a control group: the daemon enforces those, and a shell has no group to divide.
fn without_limits_of_groups(app: &mut App, sandbox: &Sandbox) -> Sandbox {
    let mut sandbox = sandbox.clone();
    let limits = [("memory", sandbox.limits.memory.take()), ("processes", sandbox.limits.processes.take())];
    for (limit, _) in limits.iter().filter(|(_, value)| value.is_some()) {
        app.note(&format!("`limits.{limit}` is not tried: a control group of the daemon holds it"));
    }
    sandbox
}

/// Returns the failure of an attempt that did not work.
fn negative(what: String, hint: &str) -> Failure {
    Failure::Negative { what, hint: hint.to_owned() }
}

/// A sandbox, and the working folder of the program.
struct TrialTarget {
    sandbox: Arc<Sandbox>,
    cwd: PathBuf,
}

/// Finds the sandbox of an agent, or of `mcp.NAME`, `runners.NAME`, `tools.NAME` or `notify.NAME`.
fn find_target(fleet: &Fleet, target: &str) -> Result<TrialTarget, Failure> {
    let folder = fleet.path.parent().map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let (found, cwd) = match target.split_once('.') {
        Some(("mcp", name)) => {
            let server = fleet.mcp.get(name).ok_or_else(|| unknown(fleet, target))?;
            (server.sandbox.unless_off(), server.cwd.clone().unwrap_or(folder))
        }
        Some(("tools", name)) => match fleet.tools.get(name).map(|spec| &spec.settings) {
            Some(ToolSettings::Shell(Some(settings))) => {
                (settings.sandbox.unless_off(), settings.cwd.clone())
            }
            _ => return Err(unknown(fleet, target)),
        },
        Some(("runners", name)) => {
            let runner = fleet.runners.get(name).ok_or_else(|| unknown(fleet, target))?;
            (runner.sandbox.unless_off(), folder)
        }
        Some(("notify", name)) => match fleet.notify.get(name).map(|to| &to.kind) {
            Some(NotifyTargetKind::Command(spec)) => (spec.sandbox.clone(), spec.cwd.clone()),
            _ => return Err(unknown(fleet, target)),
        },
        _ => match fleet.agent(target).map(|agent| &agent.body) {
            Some(Body::Command(spec)) => (spec.sandbox.clone(), spec.cwd.clone()),
            Some(_) => {
                return Err(Failure::usage_hint(
                    format!("agent `{target}` runs no program of its own"),
                    "its tools and its runner have their own sandboxes: name mcp.SERVER, tools.NAME or runners.NAME",
                ));
            }
            None => return Err(unknown(fleet, target)),
        },
    };
    let sandbox = found.ok_or_else(|| {
        Failure::usage_hint(
            format!("the sandbox of {target} is off: a program there can do whatever you can"),
            "write sandbox = true, or sandbox = { read = [\"…\"] }, into its table",
        )
    })?;
    Ok(TrialTarget { sandbox, cwd })
}

fn unknown(fleet: &Fleet, target: &str) -> Failure {
    let near = nearest(target, fleet.agents.iter().map(|agent| agent.id.as_str()));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            "name an agent, or mcp.NAME, runners.NAME, tools.NAME or notify.NAME with a program".to_owned()
        }
    };
    Failure::usage_hint(format!("there is no `{target}` with a program"), hint)
}
