//! `bgagent doctor`: tests by real escape attempts which parts of the sandbox work on this machine, and checks the configuration, the
//! external sources of agents, and whether notification targets accept messages.
mod sources;

use super::prelude::*;
use crate::child::run_folders::{WorkspaceSums, workspaces_in};
use crate::cli::args::DoctorArgs;
use crate::cli::service;
use crate::doctor::{self, GroupSupport, Tried};
use crate::domain::{counted, human_bytes as bytes};
use serde_json::json;
use std::process::{Command, Stdio};

pub(in crate::cli) fn run(app: &mut App, args: &DoctorArgs) -> Result<Outcome, Failure> {
    if args.as_service {
        return as_service(app);
    }
    let around = sources::look(app);
    let lines = around.lines(&app.screen);
    let problems = lines.iter().filter(|(is_problem, _)| *is_problem).count();
    if !app.json {
        for (_, line) in &lines {
            app.note(&plain(line));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let found = runtime.block_on(doctor::tried()).map_err(|error| {
        negative(
            format!("there is no sandbox on this machine: {error}"),
            "programs with a sandbox are not started here; `sandbox = false` lets a program run without one",
        )
    })?;
    let doctor::DoctorReport { tried, no_network } = found;
    let through = tried.iter().filter(|one| one.refused.is_none()).count();
    let (gaps, groups) = (doctor::gaps(&tried), doctor::control_groups());
    let workspaces = app.paths().map(|paths| workspaces_in(&paths.state_dir).sums()).unwrap_or_default();
    if app.json {
        app.print_json(&json!({
            "escapes": tried, "got_through": through, "not_confined": gaps, "no_network": no_network,
            "control_groups": groups, "configuration": around.configuration, "sources": around.sources,
            "targets": around.targets, "workspaces": workspaces,
        }))?;
    } else {
        let text = table(&tried, &app.screen);
        app.print(&text)?;
        app.flush()?;
        for gap in &gaps {
            app.note(&format!("not confined on this kernel: {gap}"));
        }
        if let Some(why) = &no_network {
            app.note(&format!("programs whose sandbox has `net` are not started on this machine: {why}"));
        }
        for line in group_lines(&groups) {
            app.note(&line);
        }
        if let Some(line) = workspaces_line(&workspaces) {
            app.note(&line);
        }
        app.note(&match through {
            0 => format!("{} escapes tried, none got through", tried.len()),
            some => format!("{} escapes tried, {some} GOT THROUGH", tried.len()),
        });
    }
    Ok(if through == 0 && problems == 0 { Outcome::Done } else { Outcome::Negative })
}

/// What the folders of runs take; `None`: there are none.
fn workspaces_line(sums: &WorkspaceSums) -> Option<String> {
    if (sums.runs, sums.kept_folders, sums.sessions) == (0, 0, 0) {
        return None;
    }
    let least = if sums.is_cut { "at least " } else { "" };
    let mut line = format!(
        "the folders of {} take {least}{} in the state folder",
        counted(sums.runs, "run"),
        bytes(sums.of_runs)
    );
    if sums.sessions > 0 {
        line += &format!("; sessions that continue in the next run {}", bytes(sums.sessions));
    }
    if sums.kept_folders > 0 {
        line += &format!(
            "; {} that could not be brought back {}, in its folder `kept`",
            counted(sums.kept_folders, "piece of work"),
            bytes(sums.kept)
        );
    }
    Some(line)
}

/// What is to be had of control groups.
fn group_lines(groups: &GroupSupport) -> Vec<String> {
    if let Some(why) = &groups.none_because {
        let none = "a daemon that is started here gives programs no control groups, and limits no memory and no processes";
        return vec![format!("{none}: {why}")];
    }
    let limits = [("memory", &groups.no_memory_because), ("processes", &groups.no_processes_because)];
    let unheld = limits.into_iter().filter_map(|(limit, why)| {
        Some(format!(
            "`limits.{limit}` of a sandbox can't be enforced by a daemon that is started here: {}",
            why.as_ref()?
        ))
    });
    let first = "a daemon that is started here gives each program a control group".to_owned();
    std::iter::once(first).chain(unheld).collect()
}

fn table(tried: &[Tried], screen: &Screen) -> String {
    let mut table = Table::new().column("ESCAPE").column("RESULT");
    for one in tried {
        let result = match &one.refused {
            Some(why) => why.clone().into(),
            None => Cell::toned(Tone::Bad, "got through"),
        };
        table.row(vec![one.escape.into(), result]);
    }
    table.render(screen)
}

/// Returns the failure of an attempt that did not work.
fn negative(what: String, hint: &str) -> Failure {
    Failure::Negative { what, hint: hint.to_owned() }
}

/// Runs the same checks within a unit that is confined like the service's.
fn as_service(app: &mut App) -> Result<Outcome, Failure> {
    let own = std::env::current_exe().map_err(|cause| Failure::io("find", "bgagent".as_ref(), cause))?;
    let mut command = Command::new("systemd-run");
    let unit = format!("bgagent-doctor-{}.service", std::process::id());
    command.args(["--user", "--wait", "--collect", "--pipe", "--quiet", "--unit", &unit]);
    command.args(["-p", &service::delegated(&unit)]);
    for property in service::confinement() {
        command.args(["-p", &property]);
    }
    command.arg("--").arg(own).arg("doctor").stdin(Stdio::null());
    if app.json {
        command.arg("--json");
    }
    let status = command.status().map_err(|error| {
        negative(
            format!("`systemd-run` can't be started: {error}"),
            "the service needs systemd; without it, `bgagent doctor` tries the same outside of a unit",
        )
    })?;
    match status.code() {
        Some(0) => Ok(Outcome::Done),
        Some(1) => Ok(Outcome::Negative),
        _ => Err(negative(
            format!("the unit could not be run: `systemd-run` ended with {status}"),
            "is there a service manager of the user? `systemctl --user status` says so",
        )),
    }
}
