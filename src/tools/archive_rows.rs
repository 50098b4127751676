//! `archive_rows`: moves rows that are old enough from a table to cheaper storage. The work is done by `crate::archive`.
use super::contract::{About, Call, CallContext, ToolOutput};
use crate::archive;
use crate::domain::{Effect, ToolError};

/// What an instance is. A database that refuses something says so in its own words.
pub(super) fn about() -> About {
    About { effect: Effect::Idempotent, reads_when: None, untrusted: true }
}

/// Archives what is old enough, as far as the time goes.
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
