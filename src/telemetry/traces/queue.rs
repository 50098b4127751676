//! The queue of spans to be sent, bounded in bytes, and the state of sending.
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Maximum size of the queue; further spans are dropped.
const MAX_QUEUE_BYTES: usize = 16 << 20;
/// Maximum number of spans per request.
const MAX_REQUEST_SPANS: usize = 512;
/// Approximate maximum size of a request.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// The state of sending, shared; each read returns a consistent snapshot.
#[derive(Debug, Default)]
pub struct TraceProgress(Mutex<Option<TraceStatus>>);

/// The state of sending at one moment. Counts are since the start of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceStatus {
    /// Where traces are sent.
    pub url: String,
    /// Spans that the collector accepted.
    pub sent: u64,
    /// Spans that were dropped: the queue was full, or they were rejected.
    pub dropped: u64,
    pub waiting: u64,
    /// Why they can't be sent.
    pub problem: Option<String>,
}

impl TraceProgress {
    /// Returns the state; `None`: traces were never configured.
    pub fn now(&self) -> Option<TraceStatus> {
        self.lock().clone()
    }

    /// Starts sending to this URL; what was queued is dropped.
    pub fn begins(&self, url: &str) {
        let mut all = self.lock();
        let before = all.take().unwrap_or_default();
        let dropped = before.dropped + before.waiting;
        *all = Some(TraceStatus { url: url.to_owned(), sent: before.sent, dropped, ..Default::default() });
    }

    /// Records that sending has been turned off.
    pub fn ends(&self) {
        if let Some(standing) = self.lock().as_mut() {
            standing.url.clear();
            standing.dropped += std::mem::take(&mut standing.waiting);
            standing.problem = None;
        }
    }

    /// Updates the state.
    pub(super) fn note(&self, change: impl FnOnce(&mut TraceStatus)) {
        if let Some(standing) = self.lock().as_mut() {
            change(standing);
        }
    }

    /// Records a problem. Returns true if it has changed.
    pub(super) fn has_problem(&self, problem: &str) -> bool {
        let mut all = self.lock();
        let Some(standing) = all.as_mut() else { return false };
        let is_news = standing.problem.as_deref() != Some(problem);
        standing.problem = Some(problem.to_owned());
        is_news
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<TraceStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue of spans.
#[derive(Default)]
pub(super) struct SpanQueue {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    spans: VecDeque<(Span, usize)>,
    bytes: usize,
    is_closed: bool,
}

impl SpanQueue {
    /// Adds spans. Returns how many were dropped.
    pub(super) fn add(&self, spans: Vec<Span>) -> usize {
        let mut waiting = self.lock();
        let mut left_out = 0;
        for span in spans {
            let bytes = span.encoded_len();
            if waiting.bytes + bytes > MAX_QUEUE_BYTES {
                left_out += 1;
                continue;
            }
            waiting.bytes += bytes;
            waiting.spans.push_back((span, bytes));
        }
        drop(waiting);
        self.news.notify_one();
        left_out
    }

    /// Closes the queue for further spans.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    /// Takes the spans of one request; waits for the first. `None`: closed and empty.
    pub(super) async fn take(&self) -> Option<Vec<Span>> {
        loop {
            if let Some(taken) = self.lock().take() {
                return taken;
            }
            self.news.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// `None`: empty for now; `Some(None)`: closed and empty.
    fn take(&mut self) -> Option<Option<Vec<Span>>> {
        let (mut taken, mut size) = (Vec::new(), 0);
        while taken.len() < MAX_REQUEST_SPANS
            && let Some((span, bytes)) =
                self.spans.pop_front_if(|(_, bytes)| size == 0 || size + *bytes <= MAX_REQUEST_BYTES)
        {
            size += bytes;
            taken.push(span);
        }
        self.bytes -= size;
        match (taken.is_empty(), self.is_closed) {
            (false, _) => Some(Some(taken)),
            (true, true) => Some(None),
            (true, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(bytes: usize) -> Span {
        Span { name: "x".repeat(bytes), ..Span::default() }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_goes_in_pieces() {
        let queue = SpanQueue::default();
        let many = || (0..20).map(|_| span(1 << 20)).collect::<Vec<_>>();
        assert_eq!((queue.add(many()), queue.add(vec![span(1 << 20)])), (5, 1));
        let mut pieces = 0;
        queue.close();
        while let Some(taken) = queue.take().await {
            assert_eq!(taken.len(), 1);
            pieces += 1;
        }
        assert_eq!(pieces, 15);
        let queue = SpanQueue::default();
        assert_eq!(queue.add((0..1000).map(|_| span(10)).collect()), 0);
        assert_eq!(queue.take().await.map(|taken| taken.len()), Some(MAX_REQUEST_SPANS));
        assert_eq!(queue.take().await.map(|taken| taken.len()), Some(1000 - MAX_REQUEST_SPANS));
    }
}
