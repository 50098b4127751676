//! Checks by a program: any command, and `systemctl`.
use super::measured::Measured;
use crate::child::{self, ChildError, Confinement, Finished, Inherit, Program};
use crate::domain::{Level, ProgramOwner, Sandbox};
use std::time::Duration;

/// Sufficient for a title.
const MAX_OUTPUT_BYTES: usize = 16 << 10;

pub(super) async fn command(
    argv: &[String],
    sandbox: Option<&Sandbox>,
    bound: Duration,
    owner: &ProgramOwner,
) -> Measured {
    let confinement =
        sandbox.map(|sandbox| Confinement::new(sandbox, owner, argv, std::iter::empty::<&str>()));
    let env: Vec<_> = owner.run.iter().map(|run| (child::RUN_ID.to_owned(), run.to_string())).collect();
    let program = Program {
        argv,
        inherit: Inherit::Basics,
        env: &env,
        cwd: None,
        stdin: None,
        confinement,
        control: None,
        max_output: MAX_OUTPUT_BYTES,
    };
    let name = argv.first().map_or("", String::as_str);
    let finished = match child::run(program, bound).await {
        Ok(finished) => finished,
        Err(error) => return Measured::failed(error.to_string()),
    };
    let code = finished.status.code();
    let level = match code {
        Some(0) => Level::Ok,
        Some(1) => Level::Warn,
        _ => Level::Crit,
    };
    let mut title = child::first_line(&finished.stdout);
    if title.is_empty() && level != Level::Ok {
        title = child::first_line(&finished.stderr);
    }
    if title.is_empty() {
        title = format!("`{name}` ended with {}", child::how_it_ended(finished.status));
    }
    Measured { level, value: code.map(f64::from), unit: code.map(|_| "exit status"), title }
}

pub(super) async fn systemd(unit: &str, user: bool, bound: Duration) -> Measured {
    let finished = match systemctl(user, &["is-active", "--", unit], bound).await {
        Ok(finished) => finished,
        Err(ChildError::Missing(_)) => {
            return Measured::failed(format!(
                "{unit} can't be checked: there is no `systemctl` on this machine"
            ));
        }
        Err(error) => return Measured::failed(format!("{unit} can't be checked: {error}")),
    };
    let state = child::first_line(&finished.stdout);
    let well = |title: String| Measured { level: Level::Ok, value: None, unit: None, title };
    if finished.status.success() {
        return well(format!("{unit} is {state}"));
    }
    if state.is_empty() {
        let said = child::first_line(&finished.stderr);
        let said = if said.is_empty() { child::how_it_ended(finished.status) } else { said };
        return Measured::failed(format!("{unit} can't be checked: {said}"));
    }
    let shown = systemctl(user, &["show", "--property", PROPERTIES, "--", unit], bound).await;
    let properties =
        shown.map(|shown| String::from_utf8_lossy(&shown.stdout).into_owned()).unwrap_or_default();
    match healthy_while_inactive(&state, &properties) {
        Some(how) => well(format!("{unit} {how}")),
        None if properties.lines().any(|line| line == "LoadState=not-found") => {
            Measured::failed(format!("{unit} is {state}: there is no such unit"))
        }
        None => Measured::failed(format!("{unit} is {state}")),
    }
}

const PROPERTIES: &str = "LoadState,ActiveState,SubState,Type,Result,TriggeredBy";

/// Returns why an inactive unit is healthy: if it does its work and exits.
fn healthy_while_inactive(state: &str, properties: &str) -> Option<&'static str> {
    let value = |name: &str| {
        let line = properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim()
    };
    let by_timer = value("TriggeredBy").split_whitespace().any(|unit| unit.ends_with(".timer"));
    let ends = value("Type") == "oneshot" || by_timer;
    if value("LoadState") != "loaded" || !ends || value("Result") != "success" {
        return None;
    }
    match state {
        "inactive" => Some("has done its work"),
        "activating" | "deactivating" if value("SubState") != "auto-restart" => Some("is at work"),
        _ => None,
    }
}

async fn systemctl(user: bool, args: &[&str], bound: Duration) -> Result<Finished, ChildError> {
    let flags: &[&str] = if user { &["--user"] } else { &[] };
    let argv: Vec<String> =
        ["systemctl"].iter().chain(flags).chain(args).map(|word| (*word).to_owned()).collect();
    let program = Program {
        argv: &argv,
        inherit: Inherit::Session,
        env: &[("LC_ALL".to_owned(), "C".to_owned())],
        cwd: None,
        stdin: None,
        confinement: None,
        control: None,
        max_output: MAX_OUTPUT_BYTES,
    };
    child::run(program, bound).await
}

#[cfg(test)]
mod tests {
    //! Tests of inactive units.
    use super::*;

    #[test]
    fn a_unit_that_has_done_its_work_is_well() {
        let with = |kind: &str, result: &str, sub: &str, by: &str| {
            format!(
                "LoadState=loaded\nActiveState=x\nSubState={sub}\nType={kind}\nResult={result}\nTriggeredBy={by}\n"
            )
        };
        for (state, properties, how) in [
            ("inactive", with("oneshot", "success", "dead", ""), Some("has done its work")),
            ("activating", with("oneshot", "success", "start", ""), Some("is at work")),
            ("inactive", with("simple", "success", "dead", "backup.timer"), Some("has done its work")),
            ("inactive", with("simple", "success", "dead", "x.socket"), None),
            ("inactive", with("simple", "success", "dead", ""), None),
            ("inactive", with("oneshot", "exit-code", "dead", ""), None),
            ("failed", with("oneshot", "exit-code", "failed", ""), None),
            ("activating", with("oneshot", "success", "auto-restart", ""), None),
            ("inactive", "LoadState=not-found\nResult=success\nType=oneshot\n".into(), None),
            ("inactive", String::new(), None),
        ] {
            assert_eq!(healthy_while_inactive(state, &properties), how, "{state} {properties}");
        }
    }
}
