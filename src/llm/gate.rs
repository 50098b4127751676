//! Rate limiting per model: concurrent requests, requests per minute, and the time for which the provider asked to wait. The
//! content of requests is not known here.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

const MINUTE: Duration = Duration::from_secs(60);

/// The configured limits at the time of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    pub(super) at_a_time: Option<u64>,
    pub(super) per_minute: Option<u64>,
    /// Wait while the gate is closed. Otherwise the request fails at once: a fallback can be asked.
    pub(super) waits_while_closed: bool,
}

/// The gate of one model. It survives reloads, so that a reload lifts no limit.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// FIFO: only the first one waits for the state to change.
    queue: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    in_flight: u64,
    /// When the requests of the last minute started, oldest first.
    started: VecDeque<Instant>,
    closed_until: Option<Instant>,
}

/// A request's slot; released on drop.
#[derive(Debug)]
pub(super) struct Place(Arc<Gate>);

/// Why there is no slot before the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// The provider asked to wait for this long.
    Closed(Duration),
    /// `requests_per_minute` allows another request after this time.
    Minute(Duration),
    /// `max_parallel_requests` are in flight, or others wait before this one.
    Crowd,
}

enum Answer {
    Enter,
    Wait(Instant, fn(Duration) -> NoPlace),
    WaitForOneToLeave,
}

impl Gate {
    /// Waits for a slot. Fails at once if it is certain that there is none before the deadline.
    pub(super) async fn enter(
        self: &Arc<Self>,
        allowed: Allowed,
        deadline: Instant,
    ) -> Result<Place, NoPlace> {
        let in_vain = |until: &Instant| *until > deadline || !allowed.waits_while_closed;
        let closed = |now: Instant| match self.state().closed(now).filter(in_vain) {
            Some(until) => Err(NoPlace::Closed(until - now)),
            None => Ok(()),
        };
        closed(Instant::now())?;
        let Ok(_first) = timeout_at(deadline, self.queue.lock()).await else {
            let now = Instant::now();
            return Err(self
                .state()
                .closed(now)
                .map_or(NoPlace::Crowd, |until| NoPlace::Closed(until - now)));
        };
        loop {
            let now = Instant::now();
            // The answer to the previous one may say to wait.
            closed(now)?;
            let answer = self.state().ask(allowed, now);
            match answer {
                Answer::Enter => return Ok(Place(self.clone())),
                Answer::Wait(until, why) if until > deadline => return Err(why(until - now)),
                Answer::Wait(until, _) => sleep_until(until).await,
                Answer::WaitForOneToLeave => {
                    if timeout_at(deadline, self.left.notified()).await.is_err() {
                        return Err(NoPlace::Crowd);
                    }
                }
            }
        }
    }

    /// Starts no request for this long.
    pub(super) fn close_for(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.state();
        state.closed_until = state.closed_until.max(Some(until));
    }

    /// Returns how long no request will be started.
    pub(super) fn closed_for(&self) -> Option<Duration> {
        let now = Instant::now();
        self.state().closed(now).map(|until| until - now)
    }

    /// Forgets that the provider asked to wait: the configuration names a different one now.
    pub(super) fn open(&self) {
        self.state().closed_until = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is one assignment: a panic leaves no inconsistent state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn closed(&self, now: Instant) -> Option<Instant> {
        self.closed_until.filter(|until| *until > now)
    }

    fn ask(&mut self, allowed: Allowed, now: Instant) -> Answer {
        if let Some(until) = self.closed(now) {
            return Answer::Wait(until, NoPlace::Closed);
        }
        if allowed.at_a_time.is_some_and(|most| self.in_flight >= most) {
            return Answer::WaitForOneToLeave;
        }
        while self.started.front().is_some_and(|start| *start + MINUTE <= now) {
            self.started.pop_front();
        }
        if let Some(most) = allowed.per_minute {
            let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
            // After a reload there may be more than are allowed now: all but `most - 1` must be older.
            if let Some(start) = self.started.len().checked_sub(most).and_then(|at| self.started.get(at)) {
                return Answer::Wait(*start + MINUTE, NoPlace::Minute);
            }
        }
        // Recorded even without a limit: a reload may introduce one.
        self.started.push_back(now);
        self.in_flight += 1;
        Answer::Enter
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        drop(state);
        self.0.left.notify_one();
    }
}

impl Place {
    /// Repeats the request in the same slot. It counts for the minute, but does not wait.
    pub(super) fn once_more(&self) {
        self.0.state().started.push_back(Instant::now());
    }

    /// Starts no request for this long, as the provider asked.
    pub(super) fn close_for(&self, time: Duration) {
        self.0.close_for(time);
    }
}
