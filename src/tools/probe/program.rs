//! Checks by a program: any command, and `systemctl`.
use super::Measured;
use crate::child::{self, ChildError, Program};
use crate::domain::{Level, RunId};
use std::time::Duration;

/// Enough for a title.
const MAX_OUTPUT: usize = 16 << 10;

pub(super) async fn command(argv: &[String], bound: Duration, for_run: Option<RunId>) -> Measured {
    let keep = Some(&["PATH", "HOME", "LANG"][..]);
    let env: Vec<_> = for_run.iter().map(|run| (child::RUN_ID.to_owned(), run.to_string())).collect();
    let program = Program { argv, keep, env: &env, cwd: None, stdin: None, max_output: MAX_OUTPUT };
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
    let flags: &[&str] = if user { &["--user"] } else { &[] };
    let argv: Vec<String> = ["systemctl"]
        .iter()
        .chain(flags)
        .chain(&["is-active", "--", unit])
        .map(|word| (*word).to_owned())
        .collect();
    let program = Program {
        argv: &argv,
        keep: Some(&["PATH", "HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"]),
        env: &[("LC_ALL".to_owned(), "C".to_owned())],
        cwd: None,
        stdin: None,
        max_output: MAX_OUTPUT,
    };
    let finished = match child::run(program, bound).await {
        Ok(finished) => finished,
        Err(ChildError::Missing(_)) => {
            return Measured::failed(format!(
                "{unit} can't be checked: there is no `systemctl` on this machine"
            ));
        }
        Err(error) => return Measured::failed(format!("{unit} can't be checked: {error}")),
    };
    let state = child::first_line(&finished.stdout);
    if finished.status.success() {
        return Measured { level: Level::Ok, value: None, unit: None, title: format!("{unit} is {state}") };
    }
    if state.is_empty() {
        let said = child::first_line(&finished.stderr);
        let said = if said.is_empty() { child::how_it_ended(finished.status) } else { said };
        return Measured::failed(format!("{unit} can't be checked: {said}"));
    }
    Measured::failed(format!("{unit} is {state}"))
}
