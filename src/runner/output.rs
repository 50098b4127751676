//! What a program prints: read in lines, bounded, handed on piece by piece.
//!
//! The first half of `max_output` is kept for good; of the rest, only the newest half is kept. A flood costs neither memory nor
//! much of the database: output that is superseded before it was handed on is only counted.
use super::report::{Brief, Report};
use crate::domain::{CapturedOutput, LengthUnit, OutputChunk, Stream, shortened};
use crate::secret::Redactor;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};

/// Maximum bytes per read.
const READ_BYTES: usize = 16 << 10;
/// Longer lines are handed on in parts.
const MAX_LINE_BYTES: usize = 64 << 10;
/// An unterminated line is handed on after this much silence.
const PARTIAL_LINE_TIMEOUT: Duration = Duration::from_millis(200);
/// Maximum pieces per attempt that are emitted as events.
const MAX_EMITTED_PIECES: u32 = 200;

/// Shortens a text for a message to at most this many bytes.
pub(super) fn shorten(text: &str, most: usize) -> String {
    shortened(text, LengthUnit::Bytes, most).into_owned()
}

/// A piece of output read from a pipe, sanitized.
pub(super) struct Piece {
    pub(super) stream: Stream,
    pub(super) text: String,
    /// Bytes that the program wrote for it: the text differs where they were invalid UTF-8, or a secret.
    pub(super) written: u64,
}

impl Piece {
    /// Creates a piece from a line that a built-in tool prints.
    pub(super) fn of_line(line: String) -> Self {
        let text = line + "\n";
        Self { stream: Stream::Stdout, written: text.len() as u64, text }
    }
}

/// Turns bytes into pieces, and redacts secrets even where one is split over two pieces.
struct Clean {
    stream: Stream,
    redactor: Redactor,
    /// Bytes written by the program that are not part of a piece yet.
    written: u64,
    pieces: mpsc::Sender<Piece>,
}

impl Clean {
    /// Sends what is complete. Returns false if the receiver is gone.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.written += bytes.len() as u64;
        let text = self.redactor.push(&String::from_utf8_lossy(bytes));
        if text.is_empty() {
            return true;
        }
        let written = std::mem::take(&mut self.written);
        self.pieces.send(Piece { stream: self.stream, text, written }).await.is_ok()
    }

    async fn finish(self) {
        let text = self.redactor.finish();
        if !text.is_empty() {
            let _ = self.pieces.send(Piece { stream: self.stream, text, written: self.written }).await;
        }
    }
}

/// Reads a pipe to its end, as pieces of whole lines where possible, with secrets redacted.
pub(super) async fn read(mut pipe: impl AsyncRead + Unpin, stream: Stream, pieces: mpsc::Sender<Piece>) {
    let mut held: Vec<u8> = Vec::with_capacity(READ_BYTES);
    let mut clean = Clean { stream, redactor: Redactor::new(), written: 0, pieces };
    loop {
        let mut fresh = [0; READ_BYTES];
        let read = pipe.read(&mut fresh);
        let count = if held.is_empty() {
            read.await.unwrap_or(0)
        } else {
            match tokio::time::timeout(PARTIAL_LINE_TIMEOUT, read).await {
                Ok(count) => count.unwrap_or(0),
                Err(_) => {
                    // a prompt, or progress: a whole number of characters
                    let whole = whole_characters(&held);
                    if whole > 0 && !clean.send(&take(&mut held, whole)).await {
                        return;
                    }
                    continue;
                }
            }
        };
        if count == 0 {
            break;
        }
        held.extend_from_slice(&fresh[..count]);
        let lines = held.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let ready = lines.or_else(|| (held.len() > MAX_LINE_BYTES).then(|| whole_characters(&held)));
        if let Some(ready) = ready.filter(|ready| *ready > 0)
            && !clean.send(&take(&mut held, ready)).await
        {
            return;
        }
    }
    if !held.is_empty() {
        let all = held.len();
        clean.send(&take(&mut held, all)).await;
    }
    clean.finish().await;
}

fn take(held: &mut Vec<u8>, count: usize) -> Vec<u8> {
    let rest = held.split_off(count);
    std::mem::replace(held, rest)
}

/// Returns how many bytes form whole characters; an incomplete character at the end is held back.
fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=3.min(bytes.len()) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            0x80..=0xBF => continue,
            _ => return bytes.len(),
        };
        return if length > back { bytes.len() - back } else { bytes.len() };
    }
    bytes.len()
}

/// The end of a text, limited to a number of bytes.
#[derive(Debug)]
pub(super) struct Tail {
    text: String,
    most: usize,
    is_cut: bool,
}

impl Tail {
    pub(super) fn new(most: usize) -> Self {
        Self { text: String::new(), most, is_cut: false }
    }

    /// Returns whether the beginning was dropped.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut || self.text.len() > self.most
    }

    fn add(&mut self, more: &str) {
        self.text.push_str(more);
        if self.text.len() > 2 * self.most {
            let from = self.text.ceil_char_boundary(self.text.len() - self.most);
            self.text.drain(..from);
            self.is_cut = true;
        }
    }

    /// Returns what is left of it, from the first line boundary if possible, else from the first sentence.
    pub(super) fn finish(self) -> String {
        if !self.is_cut() {
            return self.text;
        }
        let end = &self.text[self.text.ceil_char_boundary(self.text.len().saturating_sub(self.most))..];
        let after = |mark: &str| {
            let rest = end.find(mark).map(|at| &end[at + mark.len()..]);
            rest.filter(|rest| !rest.trim().is_empty())
        };
        after("\n").or_else(|| after(". ")).unwrap_or(end).to_owned()
    }
}

/// Output on its way to the store, with its end kept in memory.
pub(super) struct Output {
    pub(super) stdout: Tail,
    pub(super) stderr: Tail,
    /// `None`: nothing is handed on (gates and proofs).
    keeper: Option<Keeper>,
}

impl Output {
    pub(super) fn in_memory(most: usize) -> Self {
        Self { stdout: Tail::new(most), stderr: Tail::new(most), keeper: None }
    }

    pub(super) fn kept(brief: &Brief, reports: mpsc::Sender<Report>, tail: usize) -> Self {
        let half = usize::try_from(brief.agent.limits.max_output / 2).unwrap_or(usize::MAX);
        Self {
            stdout: Tail::new(tail),
            stderr: Tail::new(tail),
            keeper: Some(Keeper::new(brief, reports, half)),
        }
    }

    pub(super) fn add(&mut self, piece: Piece) {
        match piece.stream {
            Stream::Stdout => self.stdout.add(&piece.text),
            Stream::Stderr => self.stderr.add(&piece.text),
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.add(piece);
        }
    }

    /// Hands on pending output if the previous piece is durable. Returns true if some is still pending.
    pub(super) async fn flush(&mut self) -> bool {
        let Some(keeper) = &mut self.keeper else { return false };
        keeper.flush(false).await;
        !keeper.waiting.is_empty()
    }

    /// Hands on everything and waits until it is durable: as long as the store can't write, the end of the run could not be
    /// recorded either.
    pub(super) async fn finish(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            keeper.flush(true).await;
            keeper.settle().await;
            // once more, if dropped bytes are still to be counted
            keeper.flush(true).await;
            keeper.settle().await;
        }
    }
}

struct InTail {
    n: u64,
    size: usize,
    /// Bytes that the program wrote for it.
    written: u64,
}

/// Decides what is kept, and hands it on.
struct Keeper {
    brief: Brief,
    reports: mpsc::Sender<Report>,
    half: usize,
    next: u64,
    head_bytes: usize,
    keep_head: u64,
    tail: VecDeque<InTail>,
    tail_bytes: usize,
    drop_before: u64,
    /// Bytes that the program wrote and that were dropped.
    dropped: u64,
    reported_dropped: u64,
    /// Each with the bytes that the program wrote for it.
    waiting: VecDeque<(OutputChunk, u64)>,
    /// The piece that is not durable yet, and the bytes that the program wrote for it.
    in_flight: Option<(oneshot::Receiver<()>, u64)>,
    pieces: u32,
}

impl Keeper {
    fn new(brief: &Brief, reports: mpsc::Sender<Report>, half: usize) -> Self {
        Self {
            brief: brief.clone(),
            reports,
            half,
            next: 0,
            head_bytes: 0,
            keep_head: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            drop_before: 0,
            dropped: 0,
            reported_dropped: 0,
            waiting: VecDeque::new(),
            in_flight: None,
            pieces: 0,
        }
    }

    /// Accepts a piece, split if it is longer than each of the two kept halves.
    fn add(&mut self, Piece { stream, text, written }: Piece) {
        let (mut rest, mut left) = (text.as_str(), written);
        while rest.len() > self.half {
            let (part, after) = rest.split_at(rest.ceil_char_boundary(self.half.max(1)));
            let of_part = left.min(part.len() as u64);
            self.add_part(Piece { stream, text: part.to_owned(), written: of_part });
            (rest, left) = (after, left - of_part);
        }
        let text = if rest.len() == text.len() { text } else { rest.to_owned() };
        self.add_part(Piece { stream, text, written: left });
    }

    fn add_part(&mut self, Piece { stream, text, written }: Piece) {
        let (n, size) = (self.next, text.len());
        self.next += 1;
        let at = crate::clock::wall();
        let at = Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at);
        self.waiting.push_back((OutputChunk { n, stream, at, text }, written));
        if self.tail.is_empty() && self.head_bytes + size <= self.half {
            self.head_bytes += size;
            self.keep_head = n + 1;
            self.drop_before = n + 1;
            return;
        }
        self.tail.push_back(InTail { n, size, written });
        self.tail_bytes += size;
        while self.tail_bytes > self.half && self.tail.len() > 1 {
            let gone = self.tail.pop_front().expect("more than one");
            self.tail_bytes -= gone.size;
            self.dropped += gone.written;
            self.drop_before = gone.n + 1;
        }
        let (keep, from) = (self.keep_head, self.drop_before);
        while let Some(at) = self
            .waiting
            .iter()
            .position(|(chunk, _)| chunk.n >= keep)
            .filter(|at| self.waiting[*at].0.n < from)
        {
            self.waiting.remove(at);
        }
    }

    async fn flush(&mut self, all: bool) {
        if all {
            self.settle().await;
        } else if let Some((way, bytes)) = &mut self.in_flight {
            match way.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return,
                Err(oneshot::error::TryRecvError::Closed) => self.dropped += *bytes,
                Ok(()) => {}
            }
            self.in_flight = None;
        }
        if self.waiting.is_empty() && self.dropped == self.reported_dropped {
            return;
        }
        let (done, durable) = oneshot::channel();
        self.pieces += 1;
        let (chunks, written): (Vec<_>, Vec<_>) = self.waiting.drain(..).unzip();
        let output = CapturedOutput {
            run: self.brief.run,
            agent: self.brief.agent.id.clone(),
            attempt: self.brief.attempt,
            chunks,
            keep_head: self.keep_head,
            drop_before: self.drop_before,
            dropped_bytes: self.dropped,
            told: self.pieces <= MAX_EMITTED_PIECES,
        };
        let report = Report::Output { output: Box::new(output), done };
        self.reported_dropped = self.dropped;
        if self.reports.send(report).await.is_ok() {
            self.in_flight = Some((durable, written.iter().sum()));
        }
    }

    /// Waits until the piece in flight is durable or was given up: then it is counted as dropped.
    async fn settle(&mut self) {
        if let Some((way, bytes)) = self.in_flight.take()
            && way.await.is_err()
        {
            self.dropped += bytes;
        }
    }
}
