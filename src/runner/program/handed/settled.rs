//! Calls of earlier attempts whose outcome the program can't have received: they are settled before it continues.
use super::making::{HandedLimits, made};
use super::uses::{self, GrantedUse};
use crate::conversation::{CallRules, HandedCall, HandedCalls};
use crate::domain::{ApprovalWanted, ToolReply};
use crate::runner::broken::Break;
use crate::runner::calling::ToolCaller;
use crate::runner::output::shorten;
use crate::runner::program::journal::{PastCall, ProgramJournal};
use std::time::Duration;

/// Maximum length of a call's arguments that its outcome repeats, in bytes.
const MAX_ARGS_BYTES: usize = 2000;

/// The outcome of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runner::program) struct HandedOutcome {
    pub(in crate::runner::program) tool: String,
    args: String,
    reply: String,
}

impl HandedOutcome {
    fn of(call: &PastCall, reply: String) -> Self {
        let request = &call.request;
        Self { tool: request.name.clone(), args: shorten(&request.arguments, MAX_ARGS_BYTES), reply }
    }

    #[cfg(test)]
    pub(in crate::runner::program) fn test(tool: &str) -> Self {
        Self { tool: tool.into(), args: "{}".into(), reply: "done".into() }
    }
}

/// Formats outcomes for the program.
pub(super) fn text_of(outcomes: &[HandedOutcome]) -> String {
    let of_one = |one: &HandedOutcome| format!("`{}` {}\n{}\n", one.tool, one.args, one.reply);
    outcomes.iter().map(of_one).collect::<Vec<_>>().join("\n")
}

/// What has to happen before a program continues.
pub(in crate::runner::program) enum SettledCalls {
    /// Nothing: it may continue, with these outcomes and granted uses of its own tools.
    All(Vec<HandedOutcome>, Vec<GrantedUse>),
    /// These wait for approval: it was requested, but the attempt ended for another reason.
    Waits(Vec<ApprovalWanted>),
}

/// Makes the calls that were approved, and answers the others.
pub(in crate::runner::program) async fn settled(
    rules: &CallRules,
    caller: &ToolCaller,
    journal: &ProgramJournal,
    past: &[PastCall],
    limits: HandedLimits,
) -> Result<SettledCalls, Break> {
    let calls = HandedCalls::new(rules.clone());
    let waits: Vec<ApprovalWanted> =
        past.iter().filter(|one| still_waits(&calls, one)).map(|one| journal.wanted_of(one)).collect();
    if !waits.is_empty() {
        return Ok(SettledCalls::Waits(waits));
    }
    let (mut outcomes, mut granted) = (Vec::with_capacity(past.len()), Vec::new());
    for one in past {
        let reply = match &one.reply {
            Some((reply, untrusted)) => HandedCalls::shown(&one.request, one.call, reply, *untrusted),
            None if uses::is_use(&one.request) => uses::settle(journal, one, &mut granted).await?,
            None => settle(&calls, caller, journal, one, limits.one_call).await?,
        };
        outcomes.push(HandedOutcome::of(one, reply.text));
    }
    Ok(SettledCalls::All(outcomes, granted))
}

/// Returns whether approval is still pending.
fn still_waits(calls: &HandedCalls, one: &PastCall) -> bool {
    let is_open = one.waits && one.decided.is_none() && one.begun.is_none() && one.reply.is_none();
    is_open && (uses::is_use(&one.request) || matches!(calls.judge(&one.request, None), HandedCall::Wait(_)))
}

async fn settle(
    calls: &HandedCalls,
    caller: &ToolCaller,
    journal: &ProgramJournal,
    past: &PastCall,
    one_call: Duration,
) -> Result<ToolReply, Break> {
    let PastCall { call: n, request, decided, begun, .. } = past;
    let decided = decided.as_ref().map(|(approved, reason)| (*approved, reason.as_deref()));
    let lost = begun.and_then(|effect| HandedCalls::lost(effect, request));
    let (call, reply) = match (calls.judge(request, decided), lost) {
        (HandedCall::Make(call) | HandedCall::Wait(call) | HandedCall::Answered(call, _), Some(lost)) => {
            (call, lost)
        }
        (HandedCall::Make(call), None) => return made(caller, journal, *n, &call, request, one_call).await,
        (HandedCall::Answered(call, reply), None) => (call, reply),
        (HandedCall::Wait(_), None) => return Err(Break::Stopped),
    };
    journal.called(*n, &call, reply.clone(), false, Duration::ZERO).await?;
    Ok(reply)
}
