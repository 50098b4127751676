//! `archive_rows`: moves rows that are old enough from a table to cheaper storage. The work is done by `crate::archive`.
use super::contract::{About, Call, CallContext, ToolOutput};
use crate::archive;
use crate::domain::{Effect, ToolError};

/// Describes an instance. Its errors may contain messages of the database.
pub(super) fn about() -> About {
    About { effect: Effect::Idempotent, reads_when: None, untrusted: true }
}

/// Archives rows that are old enough, within the time bound.
pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let settings = archive::settings(&call.tool, &call.settings, &call.args)?;
    let CallContext { progress, store, .. } = call.context;
    let tell = |line: &str| {
        if let Some(progress) = &progress {
            progress.say(line);
        }
    };
    archive::run(settings, call.bound, &tell, store).await.map(ToolOutput::of)
}
