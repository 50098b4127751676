//! `bgagent run`: starts a run manually; with `--wait` follows it to its end.
use super::prelude::*;
use crate::cli::args::RunArgs;
use crate::cli::render::{cut_result, event_words, outcome_line, result_text};
use crate::cli::when;
use crate::client::{Backoff, ClientError, Connection, Follow, FollowItem, Timeouts};
use crate::domain::{Event, ParamValues, Payload, RunStatus, SlotSkipped, Verdict};
use crate::protocol::{
    Code, GetRun, GetRunParams, RunAgent, RunDetail, RunParams, RunStarted, RunView, StreamParams,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

pub(in crate::cli) fn run(app: &mut App, args: &RunArgs) -> Result<Outcome, Failure> {
    let params = RunParams {
        agent_id: args.agent.clone(),
        query: args.query.clone(),
        params: params_of(&args.params)?,
        rehearse: args.rehearse,
        replay_of: None,
        model: None,
        request_id: None,
    };
    // a rehearsal is started for its outcome, so it is always followed
    start(app, &params, args.wait || args.rehearse, args.timeout.as_deref())
}

/// Parses repeated `NAME=VALUE` arguments. The daemon validates the values.
pub(super) fn params_of(given: &[String]) -> Result<ParamValues, Failure> {
    let mut values = ParamValues::new();
    for one in given {
        let Some((name, value)) = one.split_once('=') else {
            return Err(Failure::usage_hint(
                format!("--param {one}: there is no `=` in it"),
                "write it as --param NAME=VALUE",
            ));
        };
        if values.insert(name.to_owned(), value.into()).is_some() {
            return Err(Failure::usage(format!("--param {name} is given twice")));
        }
    }
    Ok(values)
}

/// Starts a run, and optionally follows it.
pub(super) fn start(
    app: &mut App,
    params: &RunParams,
    follow: bool,
    timeout: Option<&str>,
) -> Result<Outcome, Failure> {
    let span = timeout.map(when::duration).transpose()?;
    let deadline = span.and_then(|span| Instant::now().checked_add(span.unsigned_abs()));
    let started = app.connect()?.call::<RunAgent>(params)?;
    if let Some(note) = &started.note {
        app.note(&format!("{}: {}", started.agent_id, plain(note)));
    }
    if follow {
        announce_interrupt(&started);
    }
    if !(app.json && follow) {
        app.answer(&started, |started, _| format!("{}\n", started.run_id))?;
        app.flush()?;
    }
    if !follow {
        return Ok(Outcome::Done);
    }
    match wait(app, &started, deadline)? {
        End::Ended { run, wrote, cut } => {
            app.answer(&*run, |run, screen| {
                let result = run.result.as_deref().map(result_text).filter(|text| !text.is_empty());
                let mut text = outcome_line(run, screen);
                // the calls that a rehearsal did not make
                let would_have = run.warnings.iter().filter(|_| is_rehearsal(run));
                text.extend(would_have.map(|line| format!("{}\n", plain(line))));
                text + &result.map(|line| format!("{line}\n")).unwrap_or_default()
            })?;
            if !app.json {
                app.flush()?;
                if let Some(note) = cut {
                    app.note(&note);
                }
                for warning in run.warnings.iter().filter(|_| !is_rehearsal(&run)) {
                    app.note(&format!("warning: {}", plain(warning)));
                }
                if run.error.is_some() {
                    let look = if wrote { "logs" } else { "show" };
                    app.note(&format!("hint: bgagent {look} {}", run.run_id.short()));
                }
            }
            Ok(if run.status == RunStatus::Completed { Outcome::Done } else { Outcome::Negative })
        }
        End::GateClosed(cause) => {
            let view = serde_json::json!({"run_id": started.run_id, "agent_id": started.agent_id, "verdict": Verdict::SkippedGate, "cause": cause});
            app.answer(&view, |_, _| format!("{}: nothing to do: {}\n", started.agent_id, plain(&cause)))?;
            Ok(Outcome::Done)
        }
        End::Late => Err(Failure::TimedOut {
            what: format!(
                "run {} has not ended within {}",
                started.run_id.short(),
                timeout.unwrap_or("the timeout")
            ),
            hint: format!("it goes on: `bgagent show {0}`, `bgagent cancel {0}`", started.run_id.short()),
        }),
    }
}

fn is_rehearsal(run: &RunView) -> bool {
    run.mode.as_deref() == Some("rehearsal")
}

/// Notes on an interrupt that the run goes on: an interrupt ends only this command.
fn announce_interrupt(started: &RunStarted) {
    let run = started.run_id.short();
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let Ok(mut interrupts) = signal(SignalKind::interrupt()) else { return };
            let _ = ready.send(());
            interrupts.recv().await;
            let _ = writeln!(std::io::stderr(), "\nrun {run} goes on: bgagent cancel {run}");
            std::process::exit(130);
        });
    });
    // on an error the interrupt can't be handled, and has its default effect
    let _ = is_ready.recv();
}

enum End {
    Ended {
        run: Box<RunView>,
        /// One of its programs wrote output.
        wrote: bool,
        /// Why the result is not the complete output.
        cut: Option<String>,
    },
    GateClosed(String),
    Late,
}

/// Follows all events of the agent, not only those of the run: a run whose gate is closed is deleted, and the event
/// about that belongs to the agent.
fn wait(app: &mut App, started: &RunStarted, deadline: Option<Instant>) -> Result<End, Failure> {
    let params = StreamParams {
        agents: vec![started.agent_id.to_string()],
        from: Some(started.seq + 1),
        follow: true,
        ..StreamParams::default()
    };
    let mut follow = Follow::start(app.address()?, Timeouts::default(), Backoff::default(), params, None)?;
    let progress = Progress::begin(app, started);
    loop {
        match follow.next(deadline)? {
            FollowItem::Event(stored) => {
                let Some(event) = stored.decode().ok().and_then(|logged| logged.event()) else {
                    // an event of a newer daemon that this release does not know may still be the end
                    if let Some(end) = look(app, started)? {
                        return Ok(end);
                    }
                    continue;
                };
                let of_run = event.run_id == Some(started.run_id);
                if of_run && is_end(&event) {
                    return Ok(ended(get(&mut app.connect()?, started)?));
                }
                if let Some(cause) = gate_closed(&event).filter(|_| of_run || event.run_id.is_none())
                    && is_forgotten(app, started)?
                {
                    return Ok(End::GateClosed(cause));
                }
                if of_run {
                    progress.show(&event);
                }
            }
            FollowItem::Note(note) => progress.say(&super::tail::words(&note)),
            FollowItem::Deadline => return Ok(End::Late),
            FollowItem::Live | FollowItem::Gap { .. } => {
                // the run may have ended before the subscription started
                if let Some(end) = look(app, started)? {
                    return Ok(end);
                }
            }
            FollowItem::End => unreachable!("a subscription that follows has no end"),
        }
    }
}

fn is_end(event: &Event) -> bool {
    match &event.payload {
        Payload::TaskCompleted(_) => true,
        Payload::TaskError(ended) | Payload::TaskCancelled(ended) => !ended.will_retry,
        _ => false,
    }
}

fn gate_closed(event: &Event) -> Option<String> {
    match &event.payload {
        Payload::SlotSkipped(SlotSkipped { verdict: Verdict::SkippedGate, slot: None, cause, .. }) => {
            Some(cause.clone())
        }
        _ => None,
    }
}

fn get(connection: &mut Connection, started: &RunStarted) -> Result<RunDetail, ClientError> {
    let params = GetRunParams { run_id: started.run_id.to_string(), ..GetRunParams::default() };
    connection.call::<GetRun>(&params)
}

fn ended(detail: RunDetail) -> End {
    let cut = cut_result(&detail);
    End::Ended { wrote: !detail.output.chunks.is_empty(), cut, run: Box::new(detail.run) }
}

fn is_forgotten(app: &mut App, started: &RunStarted) -> Result<bool, Failure> {
    match get(&mut app.connect()?, started) {
        Err(ClientError::Refused(error)) if error.kind() == Some(Code::NoSuchRun) => Ok(true),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(false),
    }
}

fn look(app: &mut App, started: &RunStarted) -> Result<Option<End>, Failure> {
    match get(&mut app.connect()?, started) {
        Ok(detail) if detail.run.status.is_final() => Ok(Some(ended(detail))),
        Ok(_) => Ok(None),
        Err(ClientError::Refused(error)) if error.kind() == Some(Code::NoSuchRun) => {
            Ok(Some(End::GateClosed("the gate is closed".into())))
        }
        // the daemon may have gone away again; the subscription will notice
        Err(error) if error.is_passing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A progress line on standard error; hidden unless that is a terminal.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn begin(app: &App, started: &RunStarted) -> Self {
        let bar = if app.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(format!("{} {}", started.agent_id, started.run_id.short()));
        bar.set_message(started.status.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }

    fn show(&self, event: &Event) {
        self.bar.set_message(event_words(event));
    }

    fn say(&self, text: &str) {
        self.bar.println(text);
        if self.bar.is_hidden() {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
