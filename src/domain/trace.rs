//! Trace ids of runs. They are derived from the run's id: so the context that an attempt propagates and the spans
//! exported later belong to one trace, even across restarts, and the trace of a run can be found by its id.
use super::hex::hex;
use super::ids::{RunId, Seq};
use sha2::{Digest, Sha256};

/// Identity of a span, unique within the trace of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// Returns the span of the run itself.
    pub fn of_run(run: RunId) -> Self {
        Self::of(run, "run", 0)
    }

    /// Returns the span of one of its attempts, from 1.
    pub fn of_attempt(run: RunId, attempt: u32) -> Self {
        Self::of(run, "attempt", attempt.into())
    }

    /// Returns the span that this event ends: a request or a call.
    pub fn of_event(run: RunId, seq: Seq) -> Self {
        Self::of(run, "event", seq.0)
    }

    fn of(run: RunId, what: &str, n: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(run.as_bytes());
        hash.update(what);
        hash.update(n.to_be_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash.finalize()[..8]);
        bytes[7] |= 1; // an all-zero id is invalid
        Self(bytes)
    }

    /// Returns the 8 bytes that are sent.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// Returns the `traceparent` for processes of an attempt (W3C Trace Context, level 1, section 3.2): the parent is
/// the attempt, and the trace is sampled.
pub fn traceparent(run: RunId, attempt: u32) -> String {
    format!("00-{}-{}-01", hex(run.as_bytes()), hex(SpanId::of_attempt(run, attempt).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_named_by_its_run() {
        let run: RunId = "0198f2a4-7c1e-7000-8000-0123456789ab".parse().unwrap();
        let first = traceparent(run, 1);
        assert!(first.starts_with("00-0198f2a47c1e700080000123456789ab-"), "{first}");
        let parts: Vec<usize> = first.split('-').map(str::len).collect();
        assert_eq!((parts, first.ends_with("-01")), (vec![2, 32, 16, 2], true), "{first}");
        assert_eq!(first, traceparent(run, 1));
        assert_ne!(first, traceparent(run, 2));
        let ids = [SpanId::of_run(run), SpanId::of_attempt(run, 0), SpanId::of_event(run, Seq(0))];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }
}
