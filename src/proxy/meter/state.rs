//! The state shared by the parts of a meter: its key, its upstream, its statistics, and whether requests may still be sent.
use super::account::{Account, AnswerEnd, Settled};
use super::body::BodyMemory;
use super::limits::RunAccount;
use super::report::MeterReport;
use super::spec::{MeterSpec, Upstream};
use super::tool_server::ToolServer;
use crate::domain::{ErrorKind, RunError, Usage};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Maximum models and tools that are counted by name.
const MAX_COUNTED_NAMES: usize = 100;
/// Maximum lookups per attempt: they cost nothing, but no program needs more.
const MAX_LOOKUPS: u64 = 1000;

/// The state of a meter.
pub(in crate::proxy) struct MeterState {
    pub(super) spec: MeterSpec,
    pub(super) account: Arc<dyn Account>,
    pub(super) tools: Option<Arc<dyn ToolServer>>,
    pub(super) limits: RunAccount,
    /// Memory for the bodies of its requests.
    pub(super) bodies: BodyMemory,
    /// Permits to parse a long body.
    pub(super) reads: Arc<Semaphore>,
    key: Zeroizing<String>,
    upstream: Mutex<Upstream>,
    /// Cancelled: nothing more is sent.
    pub(super) stopped: CancellationToken,
    /// Cancelled: requests in flight are aborted as well.
    pub(super) ended: CancellationToken,
    /// Exchanges that are not settled yet.
    pub(super) exchanges: TaskTracker,
    seen: Mutex<Seen>,
}

struct Seen {
    used: Usage,
    by_model: BTreeMap<String, Usage>,
    in_flight: u64,
    lookups: u64,
    last: Option<AnswerEnd>,
    has_tools: bool,
    last_sign: Instant,
    odd: u64,
    no_room: u64,
    refused: u64,
    refusal: Option<RunError>,
    stop: Option<RunError>,
    trouble: Option<RunError>,
    taken_out: BTreeMap<String, u64>,
}

impl MeterState {
    pub(super) fn new(spec: MeterSpec, account: Arc<dyn Account>) -> Self {
        // 244 random bits
        let key = format!("bgagent-{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let seen = Seen {
            used: Usage::default(),
            by_model: BTreeMap::new(),
            in_flight: 0,
            lookups: 0,
            last: None,
            has_tools: false,
            last_sign: Instant::now(),
            odd: 0,
            no_room: 0,
            refused: 0,
            refusal: None,
            stop: None,
            trouble: None,
            taken_out: BTreeMap::new(),
        };
        Self {
            limits: RunAccount::new(spec.limits),
            bodies: BodyMemory::default(),
            reads: Arc::new(Semaphore::new(1)),
            upstream: Mutex::new(spec.upstream.clone()),
            spec,
            account,
            tools: None,
            key: Zeroizing::new(key),
            stopped: CancellationToken::new(),
            ended: CancellationToken::new(),
            exchanges: TaskTracker::new(),
            seen: Mutex::new(seen),
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Returns whether this is the run's key.
    pub(super) fn is_key(&self, said: &[u8]) -> bool {
        self.key.as_bytes().ct_eq(said).into()
    }

    pub(super) fn upstream(&self) -> Upstream {
        self.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn renew(&self, upstream: Upstream) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = upstream;
    }

    pub(super) fn refuse(&self, reason: RunError) {
        self.seen().stop.get_or_insert(reason);
        self.stopped.cancel();
    }

    /// Returns why nothing more is sent, if so.
    pub(super) fn stop(&self) -> Option<RunError> {
        if !self.stopped.is_cancelled() {
            return None;
        }
        let stop = self.seen().stop.clone();
        Some(stop.unwrap_or_else(|| RunError::new(ErrorKind::Interrupted, "the run is over")))
    }

    pub(super) fn end(&self) {
        self.stopped.cancel();
        self.ended.cancel();
        self.exchanges.close();
    }

    pub(super) async fn close(&self) {
        self.stopped.cancel();
        self.ended.cancel();
        self.exchanges.close();
        self.exchanges.wait().await;
    }

    /// Records that a byte of an answer arrived.
    pub(super) fn lives(&self) {
        self.seen().last_sign = Instant::now();
    }

    /// Counts a lookup, or refuses it.
    pub(super) fn looks_up(&self) -> Result<(), RunError> {
        let mut seen = self.seen();
        if seen.lookups >= MAX_LOOKUPS {
            let message = format!(
                "the program has asked {MAX_LOOKUPS} times for what costs nothing: lists of models, or counts of tokens"
            );
            return Err(RunError::new(ErrorKind::RequestLimit, message));
        }
        seen.lookups += 1;
        seen.last_sign = Instant::now();
        Ok(())
    }

    /// Records that a request is about to be held for and sent.
    pub(super) fn begins(&self, taken_out: &[String]) {
        let mut seen = self.seen();
        seen.last_sign = Instant::now();
        seen.in_flight += 1;
        for name in taken_out {
            if seen.taken_out.len() < MAX_COUNTED_NAMES || seen.taken_out.contains_key(name) {
                *seen.taken_out.entry(name.clone()).or_default() += 1;
            }
        }
    }

    /// Records that the hold was refused.
    pub(super) fn not_sent(&self) {
        let mut seen = self.seen();
        seen.in_flight = seen.in_flight.saturating_sub(1);
    }

    /// Records that a request has ended.
    pub(super) fn ends(&self, settled: &Settled, has_tools: bool) {
        let mut seen = self.seen();
        seen.in_flight = seen.in_flight.saturating_sub(1);
        seen.used.add(&settled.used);
        let is_known = seen.by_model.len() < MAX_COUNTED_NAMES || seen.by_model.contains_key(&settled.model);
        let name = if is_known { settled.model.as_str() } else { "others" };
        seen.by_model.entry(name.to_owned()).or_default().add(&settled.used);
        if has_tools || !seen.has_tools {
            seen.last = Some(settled.end.clone());
        }
        seen.has_tools |= has_tools;
        seen.trouble = match &settled.end {
            AnswerEnd::Failed(why) => Some(why.clone()),
            _ => None,
        };
    }

    /// Records a request that is not a model request, or lacks the run's key.
    pub(super) fn passed_over(&self) {
        self.seen().odd += 1;
    }

    /// Records that there was no memory for a request.
    pub(super) fn had_no_room(&self) {
        self.seen().no_room += 1;
    }

    /// Records a refusal; the first reason is kept, except that a limit replaces an invalid request: programs continue after
    /// the latter.
    pub(super) fn refused(&self, why: &RunError) {
        let is_form = |error: &RunError| error.kind == ErrorKind::Config;
        let mut seen = self.seen();
        seen.refused += 1;
        if seen.refusal.as_ref().is_none_or(|known| is_form(known) && !is_form(why)) {
            seen.refusal = Some(why.clone());
            drop(seen);
            let (run, table) = (self.spec.owner.run.map(|run| run.to_string()), &self.spec.table);
            tracing::debug!(run = run.as_deref().unwrap_or("?"), %table, why = %why.message, "a request to a model was refused");
        }
    }

    pub(super) fn report(&self) -> MeterReport {
        let seen = self.seen();
        MeterReport {
            used: seen.used,
            by_model: seen.by_model.clone(),
            in_flight: seen.in_flight,
            lookups: seen.lookups,
            last: seen.last.clone(),
            last_sign: seen.last_sign,
            odd: seen.odd,
            no_room: seen.no_room,
            refused: seen.refused,
            refusal: seen.refusal.clone(),
            trouble: seen.trouble.clone(),
            taken_out: seen.taken_out.clone(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // counters: a panic leaves no inconsistent state that matters
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MeterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeterState").field("table", &self.spec.table).finish_non_exhaustive()
    }
}
