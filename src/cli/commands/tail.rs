//! `bgagent tail`: past and new events.
use super::prelude::*;
use crate::cli::args::TailArgs;
use crate::cli::render::{event_line, event_types};
use crate::cli::when::{self, Side};
use crate::client::{Backoff, Follow, FollowItem, Note, Resume, StoredEvent, Timeouts};
use crate::domain::EventType;
use crate::protocol::StreamParams;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Default number of past events.
const DEFAULT_EVENT_COUNT: u64 = 10;

pub(in crate::cli) fn run(app: &mut App, args: &TailArgs) -> Result<Outcome, Failure> {
    let (now, zone) = (app.screen.now, app.screen.zone.clone());
    let since = args.since.as_deref().map(|time| when::past(time, now, &zone)).transpose()?;
    let until = args.until.as_deref().map(|time| parse_end(time, since, now, &zone)).transpose()?;
    let resume = match &args.cursor_file {
        Some(file) => read_cursor(file)?,
        None => None,
    };
    let params = StreamParams {
        agents: args.agents.clone(),
        types: types(&args.types)?,
        run_id: args.run.clone(),
        from: args.from,
        since,
        last: match (args.lines, since, args.from) {
            (Some(lines), _, _) => Some(lines),
            (None, None, None) => Some(DEFAULT_EVENT_COUNT),
            _ => None,
        },
        resume: false,
        until,
        follow: !args.no_follow && until.is_none_or(|until| until > now),
    };
    // the wall clock and an `Instant` diverge while the machine sleeps; reaching the end a little late does no harm
    let deadline = until
        .filter(|until| *until > now)
        .and_then(|until| Instant::now().checked_add(until.duration_since(now).unsigned_abs()));
    let mut follow = Follow::start(app.address()?, Timeouts::default(), Backoff::default(), params, resume)?;
    let brief = !args.verbose && args.types.is_empty();
    let mut tail = Tail { app, cursor: args.cursor_file.clone(), until, brief };
    let mut asked_beyond = false;
    loop {
        match follow.next(deadline)? {
            FollowItem::Event(event) => {
                if tail.is_past_end(&event) {
                    break;
                }
                tail.show(&event)?;
            }
            FollowItem::Live => {}
            FollowItem::Gap { from, to } => {
                tail.app.flush()?;
                let events = if from == to {
                    format!("event {from} was")
                } else {
                    format!("events {from} to {to} were")
                };
                tail.app.note(&format!("-- {events} removed by retention"));
            }
            FollowItem::Note(note) => {
                asked_beyond |= matches!(note, Note::Ahead { .. }) && args.from.is_some();
                tail.app.flush()?;
                tail.app.note(&words(&note));
            }
            FollowItem::End | FollowItem::Deadline => break,
        }
        if !follow.has_more() {
            tail.settle(follow.position())?;
        }
    }
    tail.settle(follow.position())?;
    // with `--no-follow`, an event beyond the newest one was requested
    Ok(if asked_beyond && args.no_follow { Outcome::Negative } else { Outcome::Done })
}

/// Expands the given event types.
fn types(given: &[String]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for text in given {
        all.extend(event_types(text).map_err(|near| {
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "use a word that `bgagent tail` shows (failed, output, incident), or a type as in --json"
                        .into()
                }
            };
            Failure::usage_hint(format!("there are no events of type `{text}`"), hint)
        })?);
    }
    Ok(all)
}

/// Parses the end of a range. A bare `HH:MM` is the last time that the clock showed it, unless that is before the
/// beginning.
fn parse_end(
    text: &str,
    since: Option<jiff::Timestamp>,
    now: jiff::Timestamp,
    zone: &jiff::tz::TimeZone,
) -> Result<jiff::Timestamp, Failure> {
    let until = when::past(text, now, zone)?;
    let Some(since) = since.filter(|since| *since > until) else { return Ok(until) };
    match when::instant(text, Side::Ahead, now, zone) {
        Ok(until) if until >= since => Ok(until),
        _ => Err(Failure::usage(format!("`--until {text}` is before `--since`"))),
    }
}

/// Describes a change of the connection.
pub(super) fn words(note: &Note) -> String {
    match note {
        Note::Gone { last: Some(last) } => format!("-- daemon gone; waiting (last seq {last})"),
        Note::Gone { last: None } => "-- daemon gone; waiting".into(),
        Note::Back => "-- reconnected, nothing missed".into(),
        Note::OtherDatabase => {
            "-- another database: its events are numbered from the start again; continuing with its first event".into()
        }
        Note::WentBack { last, shared } => format!(
            "-- an older copy of the database was put in place: events {} to {last} are not in it; going on after event {shared}",
            shared + 1
        ),
        Note::Ahead { from, newest, after } => {
            format!("-- there is no event {from} yet: the newest is {newest}; going on after event {after}")
        }
    }
}

struct Tail<'a> {
    app: &'a mut App,
    cursor: Option<PathBuf>,
    until: Option<jiff::Timestamp>,
    /// Events whose content the end of a run repeats are left out.
    brief: bool,
}

/// Returns whether the event that ends the run repeats this event's content.
fn is_repeated_at_end(kind: EventType) -> bool {
    matches!(
        kind,
        EventType::ModelRequest
            | EventType::ModelResponse
            | EventType::AgentThought
            | EventType::AgentMessage
            | EventType::FinalAnswer
    )
}

impl Tail<'_> {
    fn show(&mut self, event: &StoredEvent) -> Result<(), Failure> {
        if self.app.json {
            return self.app.print_json_text(&event.text);
        }
        if self.brief && event.decode().is_ok_and(|event| event.known().is_some_and(is_repeated_at_end)) {
            return Ok(());
        }
        // "today" changes while events arrive
        self.app.screen.now = crate::clock::wall();
        let line = event_line(event, &self.app.screen);
        self.app.print(&line)
    }

    fn is_past_end(&self, event: &StoredEvent) -> bool {
        let Some(until) = self.until else { return false };
        event.decode().is_ok_and(|event| event.ts > until)
    }

    /// Flushes what was printed, and only then writes the cursor. So a reader that resumes from the cursor sees each
    /// event at least once.
    fn settle(&mut self, position: Option<Resume>) -> Result<(), Failure> {
        self.app.flush()?;
        match (&self.cursor, position) {
            (Some(file), Some(position)) => write_cursor(file, &position),
            _ => Ok(()),
        }
    }
}

/// Reads a cursor file, `<database>:<seq>`; a missing file means that the flags say where to begin.
fn read_cursor(file: &Path) -> Result<Option<Resume>, Failure> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Failure::io("read", file, cause)),
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let cursor = text
        .trim()
        .rsplit_once(':')
        .and_then(|(database, seq)| Some(Resume { database: database.to_owned(), seq: seq.parse().ok()? }));
    cursor.map(Some).ok_or_else(|| {
        Failure::usage_hint(
            format!("{} holds no cursor", file.display()),
            "name a file that `bgagent tail --cursor-file` wrote, or a new one",
        )
    })
}

/// Replaces the file by rename, so that it always holds a complete cursor.
fn write_cursor(file: &Path, position: &Resume) -> Result<(), Failure> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(name);
    std::fs::write(&new, format!("{}:{}\n", position.database, position.seq))
        .and_then(|()| std::fs::rename(&new, file))
        .map_err(|cause| Failure::io("write", file, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_in_the_past_where_it_can() {
        let now: jiff::Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let check = |until: &str, since: Option<&str>, expected: Option<&str>| {
            let since = since.map(|since| since.parse().unwrap());
            let got = parse_end(until, since, now, &jiff::tz::TimeZone::UTC).ok();
            assert_eq!(got, expected.map(|at| at.parse().unwrap()), "{until} {since:?}");
        };
        check("09:00", None, Some("2026-11-24T09:00:00Z"));
        check("23:00:30", None, Some("2026-11-23T23:00:30Z"));
        check("11:00", Some("2026-11-24T09:00:00Z"), Some("2026-11-24T11:00:00Z"));
        check("2026-12-01T00:00:00Z", None, Some("2026-12-01T00:00:00Z"));
        check("20m", Some("2026-11-24T09:50:00Z"), None);
    }

    #[test]
    fn a_cursor_survives_and_nonsense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("seen");
        assert_eq!(read_cursor(&file).unwrap(), None);
        let position = Resume { database: "a:b".into(), seq: 4711 };
        write_cursor(&file, &position).unwrap();
        assert_eq!(read_cursor(&file).unwrap(), Some(position));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::write(&file, "hello").unwrap();
        assert_eq!(read_cursor(&file).unwrap_err().code(), 2);
    }
}
