//! How a call of a handed tool is made.
use crate::conversation::{HandedCalls, PlannedCall};
use crate::domain::{ToolReply, ToolRequest};
use crate::runner::broken::Break;
use crate::runner::calling::ToolCaller;
use crate::runner::program::journal::ProgramJournal;
use std::time::Duration;
use tokio::time::Instant;

/// What bounds the calls of a program.
#[derive(Clone, Copy)]
pub(in crate::runner::program) struct HandedLimits {
    /// Longest time of a call.
    pub(in crate::runner::program) one_call: Duration,
    /// `max_steps`: calls of the run, those that were refused as well.
    pub(in crate::runner::program) calls: u64,
}

/// Makes a call, and writes it down before and after.
pub(super) async fn made(
    caller: &ToolCaller,
    journal: &ProgramJournal,
    n: usize,
    call: &PlannedCall,
    request: &ToolRequest,
    bound: Duration,
) -> Result<ToolReply, Break> {
    journal.calling(n, call).await?;
    let began = Instant::now();
    let (reply, untrusted) = caller.call(call, journal.key_of(n), bound).await;
    journal.called(n, call, reply.clone(), untrusted, began.elapsed()).await?;
    Ok(HandedCalls::shown(request, n, &reply, untrusted))
}
