//! `bgagent runner test`: tests whether a runner's program works within its sandbox, and which limits can't be enforced.
use super::prelude::*;
use crate::cli::args::RunnerCommand;
use crate::config::Context;
use crate::doctor;
use crate::domain::{Fleet, RunnerSpec, Sandbox, nearest};
use crate::runner::trial::{Trial, try_runner};
use serde_json::json;

pub(in crate::cli) fn run(app: &mut App, command: &RunnerCommand) -> Result<Outcome, Failure> {
    let RunnerCommand::Test(args) = command;
    let paths = app.paths()?.clone();
    let loaded = crate::config::load(&paths.config, &Context::system(app.screen.now))
        .map_err(|rejected| Failure::rejected(&rejected, app.stderr_color))?;
    let spec = find_runner(&loaded.fleet, &args.runner)?;
    doctor::keep_apart(&paths.state_dir, &paths.config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let trial = runtime.block_on(try_runner(&loaded.fleet, &args.runner)).map_err(|why| {
        Failure::Negative { what: why, hint: "`bgagent doctor` says what this machine can confine".into() }
    })?;
    let limits = spec
        .preset()
        .map_or(&["a program without a preset: nothing is known of it"][..], |preset| preset.limits);
    if app.json {
        app.print_json(&as_json(spec, &trial, limits))?;
    } else {
        let text = text(spec, &trial, limits);
        app.print(&text)?;
    }
    Ok(if trial.answer.is_ok() { Outcome::Done } else { Outcome::Negative })
}

fn find_runner<'f>(fleet: &'f Fleet, name: &str) -> Result<&'f RunnerSpec, Failure> {
    fleet.runners.get(name).ok_or_else(|| {
        let hint = match nearest(name, fleet.runners.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if fleet.runners.is_empty() => "the configuration has no [runners.NAME] table".to_owned(),
            None => format!("there are {}", fleet.runners.keys().cloned().collect::<Vec<_>>().join(", ")),
        };
        Failure::usage_hint(format!("there is no runner `{name}`"), &hint)
    })
}

fn as_json(spec: &RunnerSpec, trial: &Trial, limits: &[&str]) -> serde_json::Value {
    json!({
        "command": spec.command,
        "preset": spec.preset,
        "protocol": spec.protocol,
        "version": trial.version.as_ref().ok(),
        "version_error": trial.version.as_ref().err(),
        "version_tried": spec.preset().map(|preset| preset.seen),
        "session": trial.session,
        "answer": trial.answer.as_ref().ok(),
        "error": trial.answer.as_ref().err(),
        "requests": trial.used.requests,
        "duration_ms": u64::try_from(trial.took.as_millis()).unwrap_or(u64::MAX),
        "warnings": trial.warnings,
        "reaches": list_reachable(spec),
        "limits": limits,
    })
}

fn text(spec: &RunnerSpec, trial: &Trial, limits: &[&str]) -> String {
    let mut lines = vec![format!("program   {}", spec.command.join(" "))];
    let tried = spec.preset().map(|preset| format!(" (tried with {})", preset.seen)).unwrap_or_default();
    lines.push(match &trial.version {
        Ok(version) => format!("version   {version}{tried}"),
        Err(why) => format!("version   not known: {why}"),
    });
    lines.push(format!("protocol  {}", spec.protocol));
    if let Some(session) = &trial.session {
        lines.push(format!("session   {session}"));
    }
    lines.push(match &trial.answer {
        Ok(answer) => format!(
            "works     yes: it asked {} times, took {:.1} s, and answered: {}",
            trial.used.requests,
            trial.took.as_secs_f64(),
            answer.lines().next().unwrap_or_default()
        ),
        Err(error) => format!("works     no ({}): {}", error.kind, error.message),
    });
    lines.extend(trial.warnings.iter().map(|warning| format!("warning   {warning}")));
    lines.extend(list_reachable(spec).into_iter().map(|place| format!("reaches   {place}")));
    lines.extend(limits.iter().map(|limit| format!("limit     {limit}")));
    lines.iter().map(|line| format!("{}\n", crate::cli::render::plain(line))).collect()
}

/// Lists what the program can reach, besides the system's programs and its own folders.
fn list_reachable(spec: &RunnerSpec) -> Vec<String> {
    let Some(sandbox) = spec.sandbox.unless_off() else {
        return vec!["everything that you can: its sandbox is off".to_owned()];
    };
    let Sandbox { read, write, net, unix, .. } = &*sandbox;
    let meter = format!("the model of [models.{}], by the meter", spec.meter);
    let paths = [("reads", read), ("writes", write), ("connects to", unix)];
    let paths = paths
        .into_iter()
        .flat_map(|(does, all)| all.iter().map(move |path| format!("{does} {}", path.display())));
    std::iter::once(meter)
        .chain(paths)
        .chain(net.iter().map(|target| format!("connects to {target}")))
        .collect()
}
