//! What the meter's report and the end of the process mean for the outcome of an attempt.
use crate::agent_program::{Metered, ProgramEnd};
use crate::domain::{ErrorKind, Finish, RunError, counted};
use crate::proxy::meter::{AnswerEnd, MeterReport};
use crate::runner::command::{End, Ran};
use crate::runner::output::shorten;

/// Returns a warning about tools and fields that were removed from requests.
pub(super) fn taken_out(report: &MeterReport) -> Option<String> {
    let tools: Vec<String> = report
        .taken_out
        .iter()
        .map(|(tool, times)| {
            format!("{tool} ({})", counted(usize::try_from(*times).unwrap_or(usize::MAX), "request"))
        })
        .collect();
    (!tools.is_empty()).then(|| {
        format!(
            "what the provider would have done by itself, or at another price, was taken out of requests: {}",
            tools.join(", ")
        )
    })
}

/// Returns a warning about requests that waited for memory for too long.
pub(super) fn without_room(report: &MeterReport) -> Option<String> {
    let count = usize::try_from(report.no_room).unwrap_or(usize::MAX);
    (count > 0).then(|| {
        format!(
            "{} of the program had to be put off, since the requests of all runs took all the memory that there is for \
             them",
            counted(count, "request")
        )
    })
}

/// Returns the part of the meter's report that counts for the outcome. Requests refused because of the end are not a cause.
pub(super) fn metered(report: &MeterReport) -> Metered {
    let counts = |error: &RunError| error.kind != ErrorKind::Interrupted;
    let mut metered = Metered {
        requests: report.used.requests,
        refused: report.refusal.clone().filter(counts),
        failed: report.trouble.clone().filter(counts),
        finish: None,
    };
    match &report.last {
        Some(AnswerEnd::CutOff) => metered.finish = Some(Finish::Length),
        Some(AnswerEnd::Refused(why)) => metered.finish = Some(Finish::Refusal(why.clone())),
        Some(AnswerEnd::Complete) => metered.finish = Some(Finish::Stop),
        Some(AnswerEnd::Empty) => {
            let why = "the model's last answer had neither text nor a tool call";
            metered.failed.get_or_insert_with(|| RunError::new(ErrorKind::EmptyAnswer, why));
        }
        // a request that was in flight when the program ended
        Some(AnswerEnd::Failed(error)) if !counts(error) => {}
        Some(AnswerEnd::Failed(error)) => {
            metered.failed.get_or_insert_with(|| error.clone());
        }
        None => {}
    }
    metered
}

/// Converts how the process ended into the type that `judge` takes.
pub(super) fn end_of(ran: &Ran) -> ProgramEnd {
    let last = ran.stderr.lines().rfind(|line| !line.trim().is_empty()).map(str::trim);
    let said = last.map_or(String::new(), |line| format!(": {}", shorten(line, 300)));
    match ran.end {
        End::Exited(code) => ProgramEnd { code: Some(code), how: format!("exit status {code}{said}") },
        End::Signalled(signal) => ProgramEnd { code: None, how: format!("signal {signal}{said}") },
        _ => ProgramEnd { code: None, how: "no exit status".into() },
    }
}
