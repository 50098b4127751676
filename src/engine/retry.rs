//! Retry policy: whether a failed attempt is repeated, and when (section 5).
use crate::domain::*;
use jiff::SignedDuration;

/// Maximum delay that a provider can ask for.
const MAX_RETRY_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Returns the longest retry delay of this agent.
pub(super) fn longest(spec: &AgentSpec) -> SignedDuration {
    spec.retry.initial.max(spec.retry.max_delay).max(MAX_RETRY_AFTER)
}

/// Returns the delay before the next attempt; `None`: there is none.
///
/// `elapsed` is the time since the first attempt began, without time in suspend; `asked` is what the provider asks
/// for (`Retry-After`).
pub(super) fn delay(
    spec: &AgentSpec,
    run: &RunRecord,
    kind: ErrorKind,
    elapsed: SignedDuration,
    asked: Option<SignedDuration>,
) -> Option<SignedDuration> {
    let rule = spec.retry;
    // a catch-up run is not retried
    if run.trigger == Trigger::CatchUp || run.attempt > rule.max || !may_repeat(spec, kind) {
        return None;
    }
    let ceiling = match rule.backoff {
        Backoff::Fixed => rule.initial,
        Backoff::Exponential => {
            let doublings = run.attempt.saturating_sub(1).min(30);
            rule.initial.checked_mul(1 << doublings).unwrap_or(rule.max_delay)
        }
    };
    // full jitter: anywhere between zero and the ceiling, deterministic for an attempt
    let seed = run.queued_at + SignedDuration::from_micros(i64::from(run.attempt));
    let mut delay = jitter_of(&spec.id, seed, ceiling.min(rule.max_delay));
    if let Some(asked) = asked {
        delay = delay.max(asked.min(MAX_RETRY_AFTER));
    }
    let fits = spec.limits.total_timeout.is_none_or(|total| elapsed + delay < total);
    fits.then_some(delay)
}

fn may_repeat(spec: &AgentSpec, kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Timeout
        | ErrorKind::RateLimit
        | ErrorKind::Provider
        | ErrorKind::Network
        | ErrorKind::Memory
        | ErrorKind::Interrupted
        | ErrorKind::RunnerStuck => true,
        ErrorKind::ExitStatus => spec.retry.explicit && matches!(spec.body, Body::Command(_)),
        ErrorKind::Auth
        | ErrorKind::BadResponse
        | ErrorKind::CallAsText
        | ErrorKind::EmptyAnswer
        | ErrorKind::RequestLimit
        | ErrorKind::TokenLimit
        | ErrorKind::StepLimit
        | ErrorKind::CostLimit
        | ErrorKind::Budget
        | ErrorKind::Tool
        | ErrorKind::Signal
        | ErrorKind::PermissionDenied
        | ErrorKind::Spawn
        | ErrorKind::Unverified
        | ErrorKind::Untrusted
        | ErrorKind::Config => false,
    }
}
