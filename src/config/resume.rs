//! `resume`: whether a program goes on with its own session, in a further attempt or in the next run.
use super::walk::Section;
use crate::domain::{Overlap, ResumePolicy, RunnerSpec, Workspace};

/// Why the program's session can't go on from run to run, and what to write; `None`: it can.
fn not_always(
    section: &Section<'_>,
    name: &str,
    runner: &RunnerSpec,
    workspace: Option<&Workspace>,
) -> Option<(String, &'static str)> {
    let use_crash = "use \"crash\": a further attempt of a run continues its session";
    if runner.preset().is_none_or(|preset| preset.sessions.is_empty()) {
        let why = "it is not known where it keeps its sessions";
        return Some((
            format!("the program of [runners.{name}] can't continue a session in the next run: {why}"),
            use_crash,
        ));
    }
    if !matches!(workspace, Some(Workspace::Folder(_)) | None) {
        let what = "resume = \"always\" needs a `dir`: a session is about the files of its folder, and that of each run is a new one";
        return Some((what.into(), "write workspace = { dir = \"~/notes\" }, or resume = \"crash\""));
    }
    if section.get("overlap").and_then(|item| item.word()) == Some(Overlap::Parallel) {
        let what =
            "runs at the same time can't continue one session, and this agent has overlap = \"parallel\"";
        return Some((what.into(), "leave `overlap` out, or write resume = \"crash\""));
    }
    None
}

/// `resume` of an agent with a `runner`.
pub(super) fn resume(
    section: &Section<'_>,
    name: &str,
    runner: Option<&RunnerSpec>,
    workspace: Option<&Workspace>,
) -> ResumePolicy {
    let can = runner.is_none_or(RunnerSpec::can_resume);
    let Some(item) = section.get("resume") else {
        return if can { ResumePolicy::Crash } else { ResumePolicy::Never };
    };
    match item.word() {
        Some(ResumePolicy::Always) => {
            let refused = runner.and_then(|runner| not_always(section, name, runner, workspace));
            let Some((what, hint)) = refused else { return ResumePolicy::Always };
            item.refuse_with::<()>(what, hint.into());
        }
        Some(ResumePolicy::Crash) if !can => {
            item.refuse_with::<()>(
                format!("the program of [runners.{name}] can't continue a session"),
                "write resume = \"never\": each attempt starts over".into(),
            );
        }
        other => return other.unwrap_or(ResumePolicy::Crash),
    }
    ResumePolicy::Crash
}
