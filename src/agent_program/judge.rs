//! Decides whether a program has done its work. Its own report is considered last: programs report success after an answer that
//! was cut off, after a denied call, and without any answer.
use super::heard::HeardSoFar;
use crate::domain::{ErrorKind, Finish, RunError};

/// What the meter has seen of a program's requests.
#[derive(Clone, Debug, Default)]
pub struct Metered {
    /// Requests of this attempt that were forwarded.
    pub requests: u64,
    /// Why the meter refused a request; the first reason.
    pub refused: Option<RunError>,
    /// Why the newest request was not answered; `None`: it was.
    pub failed: Option<RunError>,
    /// How the newest answer ended.
    pub finish: Option<Finish>,
}

/// The end of a process that exited by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramEnd {
    /// Its exit code; `None`: killed by a signal.
    pub code: Option<i32>,
    /// A description, with the last line of its stderr if any.
    pub how: String,
}

/// Returns the answer of a program that has ended by itself, or why there is none.
///
/// # Errors
/// The first problem: what the meter refused or saw fail; an answer that was cut off or refused; a denied call; the program's
/// own error; its exit code; no answer.
pub fn judge(
    name: &str,
    heard: &HeardSoFar,
    metered: &Metered,
    end: &ProgramEnd,
) -> Result<String, RunError> {
    if let Some(error) = metered.refused.as_ref().or(metered.failed.as_ref()) {
        return Err(error.clone());
    }
    match &metered.finish {
        Some(Finish::Length) => {
            let why = "the last answer was cut off; raise `max_output_tokens` of the model, or ask for less";
            return Err(RunError::new(ErrorKind::BadResponse, why));
        }
        Some(Finish::Refusal(why)) => {
            let why = if why.trim().is_empty() { "it does not say why" } else { why.trim() };
            return Err(RunError::new(ErrorKind::Provider, format!("the model refused to answer: {why}")));
        }
        Some(Finish::Unreadable(why)) => {
            return Err(RunError::new(
                ErrorKind::BadResponse,
                format!("the last answer can't be read: {why}"),
            ));
        }
        Some(Finish::Stop) | None => {}
    }
    if !heard.denied.is_empty() {
        let tools = heard.denied.join(", ");
        let why = format!(
            "{name} was denied what it wanted to do ({tools}); allow it in `permissions` of the agent, or ask for something \
             that does without it"
        );
        return Err(RunError::new(ErrorKind::PermissionDenied, why));
    }
    let said = heard.result.as_ref().and_then(|result| result.error.as_deref());
    if let Some(why) = said {
        let kind = if end.code == Some(0) { ErrorKind::BadResponse } else { ErrorKind::ExitStatus };
        return Err(RunError::new(kind, format!("{name} failed: {why}")));
    }
    if end.code != Some(0) {
        let kind = if end.code.is_some() { ErrorKind::ExitStatus } else { ErrorKind::Signal };
        let said = heard.errors.last().map(|error| format!("; it said: {error}")).unwrap_or_default();
        return Err(RunError::new(kind, format!("{name} ended with {}{said}", end.how)));
    }
    let Some(answer) = heard.answer() else {
        let said = match heard.errors.last() {
            Some(error) => format!("; it said: {error}"),
            None if heard.session.is_none() => {
                ", and nothing else either; is it the right program?".to_owned()
            }
            None => String::new(),
        };
        return Err(RunError::new(ErrorKind::EmptyAnswer, format!("{name} ended without an answer{said}")));
    };
    if heard.result.is_none() {
        let why = format!("{name} ended in the middle of its work: it did not say that it was done");
        return Err(RunError::new(ErrorKind::BadResponse, why));
    }
    if metered.requests == 0 {
        let why = format!(
            "{name} answered without one request to its model: nothing of that answer is the model's"
        );
        return Err(RunError::new(ErrorKind::BadResponse, why));
    }
    Ok(answer.to_owned())
}
