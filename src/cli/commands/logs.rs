//! `bgagent logs`: output of a run.
use super::prelude::*;
use super::tail::words;
use crate::cli::args::LogsArgs;
use crate::cli::render::{left_out, output};
use crate::cli::respondent::Respondent;
use crate::client::{Backoff, ClientError, Connection, Note, Timeouts};
use crate::domain::{RunId, RunStatus};
use crate::protocol::{Code, GetRunOutput, OutputParams, OutputView};
use std::time::Duration;

/// Polling interval with `--follow`.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

pub(in crate::cli) fn run(app: &mut App, args: &LogsArgs) -> Result<Outcome, Failure> {
    app.screen.raw = args.raw;
    // only a daemon produces new output to follow
    let mut connection = match args.follow {
        true => Respondent::Daemon(Box::new(app.connect()?)),
        false => app.reading()?,
    };
    let (mut view, mut params) = first(&mut connection, &args.target)?;
    if app.json && !args.follow {
        // one JSON document with all pages
        while let Some(more) = page(&mut connection, &mut params, &view)? {
            view.chunks.extend(more.chunks);
            view.position = more.position;
            view.status = more.status;
        }
        app.print_json(&view)?;
        return Ok(Outcome::Done);
    }
    let mut wrote = false;
    loop {
        wrote |= !view.chunks.is_empty();
        show(app, &view)?;
        let more = match page(&mut connection, &mut params, &view) {
            // reading has no side effects, so it resumes from the last position
            Err(error) if args.follow && error.is_passing() => {
                connection = reconnect(app)?;
                view.chunks.clear();
                continue;
            }
            more => more?,
        };
        match more {
            Some(more) => view = more,
            None if args.follow && view.status.is_some_and(|status| !status.is_final()) => {
                app.flush()?;
                std::thread::sleep(POLL_INTERVAL);
                match ask(&mut connection, &mut params, &view) {
                    Ok(status) => view = status,
                    Err(error) if error.is_passing() => {
                        connection = reconnect(app)?;
                        view.chunks.clear();
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            None => break,
        }
    }
    if view.dropped_bytes > 0 {
        app.flush()?;
        app.note(&format!("-- {}", left_out(view.dropped_bytes)));
    }
    if !wrote && !app.json {
        app.note(&no_output_reason(&view, &args.target));
    }
    Ok(Outcome::Done)
}

/// Explains why there is no output, and where to look instead.
fn no_output_reason(view: &OutputView, target: &str) -> String {
    match (view.run_id, view.status) {
        (None, _) => format!("no run of {} is on record", plain(target)),
        (Some(run), Some(status)) if !status.is_final() => {
            format!(
                "no program of run {0} has written anything yet; `bgagent show {0}` shows its course",
                run.short()
            )
        }
        (Some(run), _) => {
            format!(
                "no output of run {0} is on record: no program of it wrote anything, or it is older than `retention.output` \
                 keeps; `bgagent show {0}` shows its course",
                run.short()
            )
        }
    }
}

/// Reconnects as soon as a daemon is available.
fn reconnect(app: &mut App) -> Result<Respondent, Failure> {
    app.flush()?;
    app.note(&words(&Note::Gone { last: None }));
    let Backoff { first: mut delay, max } = Backoff::default();
    let address = app.address()?;
    loop {
        match Connection::open(&address, Timeouts::default()) {
            Ok(connection) => {
                app.note(&words(&Note::Back));
                return Ok(Respondent::Daemon(Box::new(connection)));
            }
            Err(error) if error.is_passing() => std::thread::sleep(delay),
            Err(error) => return Err(error.into()),
        }
        delay = (delay * 2).min(max);
    }
}

fn show(app: &mut App, view: &OutputView) -> Result<(), Failure> {
    if app.json {
        return view.chunks.iter().try_for_each(|chunk| app.print_json(chunk));
    }
    let text = output(view, &app.screen);
    app.print(&text)
}

/// Fetches the first page. A target that is not the name of an agent may be the end of a run's id.
fn first(connection: &mut Respondent, target: &str) -> Result<(OutputView, OutputParams), Failure> {
    let of_agent = OutputParams { agent_id: Some(target.to_owned()), ..OutputParams::default() };
    let of_run = OutputParams { run_id: Some(target.to_owned()), ..OutputParams::default() };
    if target.parse::<RunId>().is_ok() {
        return Ok((connection.call::<GetRunOutput>(&of_run)?, of_run));
    }
    match connection.call::<GetRunOutput>(&of_agent) {
        Ok(view) => {
            // by the time of the next page, the newest run of the agent may be a different one
            let params = match view.run_id {
                Some(run) => OutputParams { run_id: Some(run.to_string()), ..OutputParams::default() },
                None => of_agent,
            };
            Ok((view, params))
        }
        Err(ClientError::Refused(error))
            if error.kind() == Some(Code::NoSuchAgent) && is_like_run_id(target) =>
        {
            match connection.call::<GetRunOutput>(&of_run) {
                Ok(view) => Ok((view, of_run)),
                // of the two errors, the one about agents has the better suggestions
                Err(ClientError::Refused(other)) if other.kind() == Some(Code::NoSuchRun) => {
                    Err(error.into())
                }
                Err(other) => Err(other.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn is_like_run_id(text: &str) -> bool {
    (4..=36).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// Fetches the next page, if there is one yet. An empty page may still bring a new status.
fn page(
    connection: &mut Respondent,
    params: &mut OutputParams,
    view: &OutputView,
) -> Result<Option<OutputView>, ClientError> {
    if view.chunks.is_empty() {
        return Ok(None);
    }
    let more = ask(connection, params, view)?;
    let moved = more.status != view.status && more.status.is_some_and(RunStatus::is_final);
    Ok((!more.chunks.is_empty() || moved).then_some(more))
}

fn ask(
    connection: &mut Respondent,
    params: &mut OutputParams,
    view: &OutputView,
) -> Result<OutputView, ClientError> {
    params.after = Some(view.position);
    connection.call::<GetRunOutput>(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_the_end_of_a_run_id() {
        for (text, expected) in
            [("7f3a", true), ("7f3", false), ("news", false), ("beef", true), ("0198-ab", true)]
        {
            assert_eq!(is_like_run_id(text), expected, "{text}");
        }
    }
}
