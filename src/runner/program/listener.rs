//! Follows an agent program: its output becomes journal entries and lines of the run's output. Detects when it has been silent
//! for too long.
use super::handed::HandedServer;
use super::journal::ProgramJournal;
use crate::agent_program::{Decoder, HeardSoFar, ProgramEvent, is_session_id};
use crate::clock::to_std;
use crate::domain::{
    Effect, ErrorKind, RunError, RunnerSpec, Said, Step, Stream, ToolReply, counted, human_duration,
};
use crate::proxy::meter::Meter;
use crate::runner::command::{Audience, End};
use crate::runner::output::{Output, Piece, shorten};
use crate::secret;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum recorded bytes of a tool's result.
const MAX_RESULT_BYTES: usize = 64 << 10;
/// Maximum recorded bytes of one message or thought.
const MAX_TEXT_BYTES: usize = 256 << 10;
/// Maximum recorded bytes of a version.
const MAX_VERSION_BYTES: usize = 200;
/// Longer call ids are hashed, in bytes.
const MAX_CALL_ID_BYTES: usize = 200;
/// Maximum length of a call's arguments in events and lists.
const MAX_SHOWN_ARGS_BYTES: usize = 2000;
/// Maximum calls that are open at a time.
const MAX_OPEN_CALLS: usize = 256;
/// Limit of what is recorded per attempt, in bytes…
const MAX_JOURNALED_BYTES: usize = 32 << 20;
/// …and in entries.
const MAX_ENTRIES: usize = 10_000;

/// A tool call that has not ended.
struct OpenCall {
    /// Its number in the journal; `None`: there was no room to record it.
    call: Option<usize>,
    tool: String,
    args: String,
    began: Instant,
}

/// Returns the id of a call, or for a longer one its prefix with a hash, so that ids with the same prefix stay distinct.
fn bounded(id: String) -> String {
    if id.len() <= MAX_CALL_ID_BYTES {
        return id;
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    format!("{}-{:016x}", &id[..id.floor_char_boundary(MAX_CALL_ID_BYTES)], hasher.finish())
}

/// What was recorded of an attempt.
#[derive(Default)]
struct Journaled {
    bytes: usize,
    entries: usize,
    /// Entries that were left out.
    left_out: u64,
}

impl Journaled {
    /// Returns whether there is room for another entry of this size; counts it as left out if not.
    fn has_room(&mut self, bytes: usize) -> bool {
        if self.entries >= MAX_ENTRIES || self.bytes + bytes > MAX_JOURNALED_BYTES {
            self.left_out += 1;
            return false;
        }
        self.bytes += bytes;
        self.entries += 1;
        true
    }
}

/// Follows one attempt of a program.
pub(super) struct ProgramListener {
    decoder: Decoder,
    pub(super) heard: HeardSoFar,
    journal: Arc<ProgramJournal>,
    meter: Arc<Meter>,
    pub(super) output: Output,
    /// Entries that are to be recorded.
    waiting: Vec<Said>,
    journaled: Journaled,
    calls: HashMap<String, OpenCall>,
    handed: Option<Arc<HandedServer>>,
    first_event: Duration,
    idle: Duration,
    began: Instant,
    /// When it last reported progress.
    progress: Option<Instant>,
}

impl ProgramListener {
    pub(super) fn new(
        spec: &RunnerSpec,
        journal: Arc<ProgramJournal>,
        meter: Arc<Meter>,
        output: Output,
        handed: Option<Arc<HandedServer>>,
    ) -> Self {
        Self {
            decoder: Decoder::new(spec.protocol),
            heard: HeardSoFar::default(),
            journal,
            meter,
            output,
            waiting: Vec::new(),
            journaled: Journaled::default(),
            calls: HashMap::new(),
            handed,
            first_event: to_std(spec.first_event),
            idle: to_std(spec.idle),
            began: Instant::now(),
            progress: None,
        }
    }

    /// Finishes after the end of the output. Returns warnings about what was not understood or not recorded.
    pub(super) async fn finish(&mut self) -> Vec<String> {
        let last = self.decoder.finish();
        self.take(last);
        self.write().await;
        self.output.finish().await;
        let left_out = match self.journaled.left_out {
            0 => None,
            count => Some(format!(
                "the program said more than is written down of one attempt ({} MiB, or {MAX_ENTRIES} entries): {} of it left out",
                MAX_JOURNALED_BYTES >> 20,
                if count == 1 { "1 entry is".to_owned() } else { format!("{count} entries are") }
            )),
        };
        self.decoder.unread().into_iter().chain(left_out).collect()
    }

    fn take(&mut self, events: Vec<ProgramEvent>) {
        for event in events {
            if event.is_progress() {
                self.progress = Some(Instant::now());
            }
            if let ProgramEvent::Session { id, .. } = &event
                && !is_session_id(id)
            {
                self.complain(
                    "it names its session in a form that no session id has; that is ignored".into(),
                );
                continue;
            }
            // a secret may span several parts of the output, or contain escapes there
            let event = event.with_texts(|text| secret::redact(&text).into_owned());
            // some repeat it with each step
            let is_known =
                matches!(&event, ProgramEvent::Session { id, .. } if self.heard.session.as_ref() == Some(id));
            self.heard.hear(&event);
            if !is_known {
                self.note(event);
            }
        }
    }

    fn told(&mut self, text: String, thought: Option<String>) {
        let shortened = |text: String| shorten(&text, MAX_TEXT_BYTES);
        let (text, thought) = (shortened(text), thought.map(shortened));
        if self.journaled.has_room(text.len() + thought.as_ref().map_or(0, String::len)) {
            self.waiting.push(self.journal.entry(Step::Told { text, thought }));
        }
    }

    fn note(&mut self, event: ProgramEvent) {
        match event {
            ProgramEvent::Session { id, version } => {
                let version = version.map(|version| shorten(&version, MAX_VERSION_BYTES));
                if self.journaled.has_room(id.len() + version.as_ref().map_or(0, String::len)) {
                    self.waiting.push(self.journal.entry(Step::Session { id, version }));
                }
            }
            ProgramEvent::Text(text) => {
                self.output.add(Piece::of_line(text.trim_end().to_owned()));
                self.told(text, None);
            }
            ProgramEvent::Thought(text) => self.told(String::new(), Some(text)),
            // handed calls are recorded where they are made
            ProgramEvent::ToolBegan { tool, .. } if self.is_handed(&tool) => {}
            ProgramEvent::ToolBegan { id, tool, args } => self.began(id, &tool, &args),
            ProgramEvent::ToolEnded { id, text, is_error, .. } => {
                let id = bounded(id);
                let Some(OpenCall { call, tool, args, began }) = self.calls.remove(&id) else { return };
                let Some(call) = call else { return };
                // every recorded call gets an end
                let most = if self.journaled.has_room(text.len().min(MAX_RESULT_BYTES)) {
                    MAX_RESULT_BYTES
                } else {
                    0
                };
                let reply = ToolReply { id, name: tool.clone(), text: shorten(&text, most), is_error };
                let step = Step::Called { call, reply, untrusted: true };
                self.waiting.push(self.journal.of_call(step, tool, args, began.elapsed()));
            }
            ProgramEvent::Retry(why) => self.complain(format!("tries again: {why}")),
            ProgramEvent::Error(why) => self.complain(why),
            ProgramEvent::Usage(_) | ProgramEvent::Ended(_) => {}
        }
    }

    fn is_handed(&self, tool: &str) -> bool {
        self.handed.as_ref().is_some_and(|handed| handed.has(tool))
    }

    fn began(&mut self, id: String, tool: &str, args: &str) {
        let (id, tool) = (bounded(id), shorten(tool, MAX_SHOWN_ARGS_BYTES));
        let args = shorten(args, MAX_SHOWN_ARGS_BYTES);
        if self.calls.len() >= MAX_OPEN_CALLS {
            self.journaled.left_out += 1;
            return;
        }
        // an unrecorded call is in flight all the same: silence during it is not idleness
        let has_room = self.journaled.has_room(tool.len() + args.len());
        let call = has_room.then(|| self.journal.take_call());
        if let Some(call) = call {
            let step = Step::Calling { call, effect: Effect::Effect };
            self.waiting.push(self.journal.of_call(step, tool.clone(), args.clone(), Duration::ZERO));
        }
        self.calls.insert(id, OpenCall { call, tool, args, began: Instant::now() });
    }

    fn complain(&mut self, what: String) {
        self.output.add(Piece { stream: Stream::Stderr, ..Piece::of_line(what) });
    }

    async fn write(&mut self) {
        // a failed write ends the attempt soon, for the same reason
        let _ = self.journal.write(std::mem::take(&mut self.waiting)).await;
    }

    /// Returns when it last showed activity, and how long it may be silent after that.
    fn life(&self) -> (Instant, Duration) {
        let report = self.meter.report();
        // a build may be silent for long: what runs for the program is limited by `timeout`
        if report.in_flight > 0 || !self.calls.is_empty() {
            return (Instant::now(), self.idle);
        }
        let asked = report.used.requests + report.refused > 0;
        let asked = asked.then_some(report.last_sign);
        let served = self.handed.as_ref().and_then(|handed| handed.last_sign());
        match self.progress.max(asked).max(served) {
            Some(last) => (last, self.idle),
            None => (self.began, self.first_event),
        }
    }
}

impl Audience for ProgramListener {
    fn begins(&mut self) {
        self.began = Instant::now();
    }

    fn add(&mut self, piece: Piece) {
        match piece.stream {
            Stream::Stdout => {
                let events = self.decoder.push(&piece.text);
                self.take(events);
            }
            Stream::Stderr => self.output.add(piece),
        }
    }

    async fn flush(&mut self) -> bool {
        self.write().await;
        self.output.flush().await
    }

    fn look_at(&self) -> Option<Instant> {
        let (last, patience) = self.life();
        let for_a_person = self.handed.as_ref().and_then(|handed| handed.ends_at());
        for_a_person.or(Some(last + patience))
    }

    async fn must_be_looked_at(&self) {
        match &self.handed {
            Some(handed) => handed.waits().await,
            None => std::future::pending().await,
        }
    }

    fn lost_patience(&mut self) -> Option<RunError> {
        if let Some(ends_at) = self.handed.as_ref().and_then(|handed| handed.ends_at()) {
            let why = || RunError::new(ErrorKind::Interrupted, "a call of it waits for a person");
            return (ends_at <= Instant::now()).then(why);
        }
        let (last, patience) = self.life();
        if last + patience > Instant::now() {
            return None;
        }
        let for_so_long = human_duration(jiff::SignedDuration::try_from(patience).unwrap_or_default());
        let what = match self.heard.retries {
            0 if self.progress.is_none() => format!(
                "said nothing and asked nothing for {for_so_long} after its start (`first_event`); does it wait for \
                 somebody, or for the network?"
            ),
            0 => format!("said nothing and asked nothing for {for_so_long} (`idle`)"),
            retries => format!("only tried again for {for_so_long} (`idle`), {}", counted(retries, "time")),
        };
        Some(RunError::new(ErrorKind::RunnerStuck, format!("the program {what}")))
    }

    fn must_end(&mut self, end: &End) {
        if let Some(handed) = &self.handed {
            handed.close();
        }
        let why = match end {
            End::Stopped => "the run was stopped",
            _ => "the run is being ended",
        };
        self.meter.refuse(RunError::new(ErrorKind::Interrupted, why));
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the names of calls.
    use super::*;

    #[test]
    fn long_names_of_calls_are_bounded_and_stay_different() {
        let long = "é".repeat(5000);
        let (one, other) = (bounded(format!("{long}1")), bounded(format!("{long}2")));
        assert!(one != other && one.len() < MAX_CALL_ID_BYTES + 20 && other.len() < MAX_CALL_ID_BYTES + 20);
        assert_eq!(one, bounded(format!("{long}1")), "its end finds it");
        assert_eq!(bounded("toolu_1".into()), "toolu_1");
    }
}
