//! Makes the calls of handed tools.
use crate::conversation::{HandedCalls, PlannedCall};
use crate::domain::{ToolReply, ToolRequest};
use crate::runner::broken::Break;
use crate::runner::calling::ToolCaller;
use crate::runner::program::journal::ProgramJournal;
use std::time::Duration;
use tokio::time::Instant;

/// The limits on a program's calls.
#[derive(Clone, Copy)]
pub(in crate::runner::program) struct HandedLimits {
    /// Timeout of one call.
    pub(in crate::runner::program) one_call: Duration,
    /// `max_steps`: calls of the run, including refused ones.
    pub(in crate::runner::program) calls: u64,
}

/// Makes a call, and records it before and after.
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
