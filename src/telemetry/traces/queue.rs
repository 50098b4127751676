//! Spans that wait to be sent, bounded in bytes, and how sending goes, for those who are asked.
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Bytes that wait, at the most; what comes when they are there is dropped.
const MOST_BYTES: usize = 16 << 20;
/// Spans of one request.
const AT_ONCE: usize = 512;
/// Bytes of one request, about.
const BYTES_AT_ONCE: usize = 1 << 20;

/// How sending goes. Shared; each look is a whole one.
#[derive(Debug, Default)]
pub struct TraceProgress(Mutex<Option<TraceStanding>>);

/// How sending stood at one moment. Counts are those of this life of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceStanding {
    /// Where traces go.
    pub url: String,
    /// Spans that were taken.
    pub sent: u64,
    /// Spans that were given up: too many waited, or they were refused.
    pub dropped: u64,
    /// Spans that wait.
    pub waiting: u64,
    /// Why they do.
    pub problem: Option<String>,
}

impl TraceProgress {
    /// How it stands; `None`: nothing was ever to be sent.
    pub fn now(&self) -> Option<TraceStanding> {
        self.lock().clone()
    }

    /// It goes there from now on; what waited is given up.
    pub fn begins(&self, url: &str) {
        let mut all = self.lock();
        let before = all.take().unwrap_or_default();
        let dropped = before.dropped + before.waiting;
        *all = Some(TraceStanding { url: url.to_owned(), sent: before.sent, dropped, ..Default::default() });
    }

    /// Nothing is sent any more.
    pub fn ends(&self) {
        if let Some(standing) = self.lock().as_mut() {
            standing.url.clear();
            standing.dropped += std::mem::take(&mut standing.waiting);
            standing.problem = None;
        }
    }

    /// Changes what is known of it.
    pub(super) fn note(&self, change: impl FnOnce(&mut TraceStanding)) {
        if let Some(standing) = self.lock().as_mut() {
            change(standing);
        }
    }

    /// True: that is news.
    pub(super) fn has_problem(&self, problem: &str) -> bool {
        let mut all = self.lock();
        let Some(standing) = all.as_mut() else { return false };
        let is_news = standing.problem.as_deref() != Some(problem);
        standing.problem = Some(problem.to_owned());
        is_news
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<TraceStanding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spans that wait.
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
    /// Adds spans; how many have no place.
    pub(super) fn add(&self, spans: Vec<Span>) -> usize {
        let mut waiting = self.lock();
        let mut left_out = 0;
        for span in spans {
            let bytes = span.encoded_len();
            if waiting.bytes + bytes > MOST_BYTES {
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

    /// No more come.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    /// Takes as many as one request has; waits for the first. `None`: no more come.
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
    /// `None`: there may come some; `Some(None)`: none come any more.
    fn take(&mut self) -> Option<Option<Vec<Span>>> {
        let (mut taken, mut size) = (Vec::new(), 0);
        while taken.len() < AT_ONCE
            && let Some((span, bytes)) =
                self.spans.pop_front_if(|(_, bytes)| size == 0 || size + *bytes <= BYTES_AT_ONCE)
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
        assert_eq!(queue.take().await.map(|taken| taken.len()), Some(AT_ONCE));
        assert_eq!(queue.take().await.map(|taken| taken.len()), Some(1000 - AT_ONCE));
    }
}
