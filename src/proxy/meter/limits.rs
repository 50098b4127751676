//! What a run may still use under its own limits: the worst case is held before a request is sent, and settled afterwards. A
//! request that would fit without the holds of those in flight waits for one of them; one that exceeds the limit anyway is
//! refused. Daily and monthly budgets are left to the account.
use super::spec::MeterLimits;
use crate::domain::{ErrorKind, RunError, Usage, WorstCase};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Tolerance for floating-point sums: a limit that is reached to the cent is not exceeded.
const TOLERANCE: f64 = 1.0 + 1e-9;

/// What a run has used and holds.
#[derive(Debug)]
pub(super) struct RunAccount {
    limits: MeterLimits,
    /// FIFO: only the first one waits for a change.
    queue: tokio::sync::Mutex<()>,
    state: Mutex<Sums>,
    settled: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    used: Usage,
    held: Usage,
}

/// Why a request may not be sent now.
enum NoRoom {
    /// Requests in flight hold what it needs.
    Wait,
    Refused(RunError),
}

impl RunAccount {
    pub(super) fn new(limits: MeterLimits) -> Self {
        let state = Sums { used: limits.before, held: Usage::default() };
        Self {
            limits,
            queue: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
            settled: Notify::new(),
        }
    }

    /// Holds a worst case; waits while others hold what it needs. Nothing is held if the future is dropped.
    ///
    /// # Errors
    /// The limit that it would exceed.
    pub(super) async fn hold(&self, worst: &WorstCase) -> Result<(), RunError> {
        let _first = self.queue.lock().await;
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            match self.try_hold(worst) {
                Ok(()) => return Ok(()),
                Err(NoRoom::Refused(why)) => return Err(why),
                Err(NoRoom::Wait) => settled.await,
            }
        }
    }

    fn try_hold(&self, worst: &WorstCase) -> Result<(), NoRoom> {
        let mut sums = self.state();
        if let Some(why) = self.over(&sums.used, worst) {
            return Err(NoRoom::Refused(why));
        }
        let mut with_held = sums.used;
        with_held.add(&sums.held);
        if self.over(&with_held, worst).is_some() {
            return Err(NoRoom::Wait);
        }
        sums.held.add(&worst.usage());
        Ok(())
    }

    /// Returns the limit that a request would exceed, given what is used.
    fn over(&self, used: &Usage, worst: &WorstCase) -> Option<RunError> {
        let limits = &self.limits;
        if let Some(limit) = limits.requests.filter(|limit| used.requests >= *limit) {
            let sent = used.requests;
            let message = format!(
                "request_limit = {limit} is reached (requests sent: {sent}), and the program asks for more; raise \
                 `request_limit` of the agent"
            );
            return Some(RunError::new(ErrorKind::RequestLimit, message));
        }
        let tokens = used.tokens();
        if let Some(limit) = limits.tokens.filter(|limit| tokens.saturating_add(worst.tokens) > *limit) {
            let message = format!(
                "total_tokens_limit = {limit} does not leave room for another request: {tokens} tokens are used, the \
                 request may be {}, and its answer up to {}; raise `total_tokens_limit` of the agent",
                worst.tokens.saturating_sub(worst.output),
                worst.output
            );
            return Some(RunError::new(ErrorKind::TokenLimit, message));
        }
        let usd = used.usd;
        if let Some(limit) = limits.usd.filter(|limit| usd + worst.usd > limit * TOLERANCE) {
            let message = format!(
                "max_usd_per_run = {limit} does not leave room for another request: {usd:.6} USD are used, and it may \
                 cost {:.6}; raise `max_usd_per_run` of the agent, or let the program ask for shorter answers",
                worst.usd
            );
            return Some(RunError::new(ErrorKind::CostLimit, message));
        }
        None
    }

    /// Replaces what was held for a request by what it used.
    pub(super) fn settle(&self, worst: &WorstCase, used: &Usage) {
        {
            let mut sums = self.state();
            let held = worst.usage();
            sums.held.requests = sums.held.requests.saturating_sub(held.requests);
            sums.held.input_tokens = sums.held.input_tokens.saturating_sub(held.input_tokens);
            sums.held.output_tokens = sums.held.output_tokens.saturating_sub(held.output_tokens);
            sums.held.usd = if sums.held.requests == 0 { 0.0 } else { (sums.held.usd - held.usd).max(0.0) };
            sums.used.add(used);
        }
        self.settled.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, Sums> {
        // changes consist of sums that can't panic
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what is held and what waits.
    use super::*;
    use std::sync::Arc;

    fn worst(usd: f64) -> WorstCase {
        WorstCase { tokens: 100, output: 40, usd }
    }

    fn account(limits: MeterLimits) -> Arc<RunAccount> {
        Arc::new(RunAccount::new(limits))
    }

    #[tokio::test]
    async fn what_fits_only_if_others_cost_less_waits_for_them() {
        let account = account(MeterLimits { usd: Some(1.0), ..MeterLimits::default() });
        account.hold(&worst(0.7)).await.unwrap();
        let waiting = tokio::spawn({
            let account = account.clone();
            async move { account.hold(&worst(0.5)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        account.settle(&worst(0.7), &Usage { requests: 1, usd: 0.2, ..Usage::default() });
        waiting.await.unwrap().unwrap();
        let refused = account.hold(&worst(0.9)).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::CostLimit);
        assert!(refused.message.contains("0.200000 USD are used"), "{}", refused.message);
    }

    #[tokio::test]
    async fn each_limit_has_its_kind_and_counts_what_was_used_before() {
        let before =
            Usage { requests: 2, input_tokens: 150, output_tokens: 50, usd: 0.5, ..Usage::default() };
        for (limits, kind) in [
            (MeterLimits { requests: Some(2), ..MeterLimits::default() }, ErrorKind::RequestLimit),
            (MeterLimits { tokens: Some(299), ..MeterLimits::default() }, ErrorKind::TokenLimit),
            (MeterLimits { usd: Some(0.59), ..MeterLimits::default() }, ErrorKind::CostLimit),
        ] {
            let refused = account(MeterLimits { before, ..limits }).hold(&worst(0.1)).await.unwrap_err();
            assert_eq!(refused.kind, kind);
        }
        let limits =
            MeterLimits { requests: Some(3), tokens: Some(300), usd: Some(0.6), dollars: true, before };
        account(limits).hold(&worst(0.1)).await.unwrap();
    }
}
