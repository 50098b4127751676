//! Listens to an agent program: what it prints becomes entries of the journal and lines of the run's output. Knows when it
//! has been silent for too long.
use super::handed::HandedServer;
use super::journal::ProgramJournal;
use crate::agent_program::{Decoder, HeardSoFar, ProgramEvent, is_session_id};
use crate::domain::{
    Effect, ErrorKind, RunError, RunnerSpec, Said, Step, Stream, ToolReply, counted, human_duration,
};
use crate::proxy::meter::Meter;
use crate::runner::broken::to_std;
use crate::runner::command::{Audience, End};
use crate::runner::output::{Output, Piece, shorten};
use crate::secret;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most of what a tool gave that is written down.
const RESULT: usize = 64 << 10;
/// Most of one thing that it said or thought that is written down.
const TOLD: usize = 256 << 10;
/// Most of a version that is written down.
const VERSION: usize = 200;
/// Longest name of a call that is kept as it is, in bytes.
const CALL_NAME: usize = 200;
/// Most of the arguments of a call that events and lists show.
const ARGS_SHOWN: usize = 2000;
/// Most calls that are open at a time.
const OPEN_CALLS: usize = 256;
/// Most of one attempt that is written down, in bytes…
const JOURNALED: usize = 32 << 20;
/// …and in entries.
const ENTRIES: usize = 10_000;

/// A call of a tool that has no end yet.
struct OpenCall {
    /// Its number in the journal; `None`: there was no room to write it down.
    call: Option<usize>,
    tool: String,
    args: String,
    began: Instant,
}

/// The name of a call, or of a longer one its beginning with a hash: names that begin alike stay different.
fn bounded(id: String) -> String {
    if id.len() <= CALL_NAME {
        return id;
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    format!("{}-{:016x}", &id[..id.floor_char_boundary(CALL_NAME)], hasher.finish())
}

/// How much of an attempt was written down.
#[derive(Default)]
struct Journaled {
    bytes: usize,
    entries: usize,
    /// Entries that were not.
    left_out: u64,
}

impl Journaled {
    /// Is there room for a further entry of this size? One that is left out is counted.
    fn has_room(&mut self, bytes: usize) -> bool {
        if self.entries >= ENTRIES || self.bytes + bytes > JOURNALED {
            self.left_out += 1;
            return false;
        }
        self.bytes += bytes;
        self.entries += 1;
        true
    }
}

/// Listens to one attempt of a program.
pub(super) struct ProgramListener {
    decoder: Decoder,
    pub(super) heard: HeardSoFar,
    journal: Arc<ProgramJournal>,
    meter: Arc<Meter>,
    pub(super) output: Output,
    /// What is to be written down.
    waiting: Vec<Said>,
    journaled: Journaled,
    calls: HashMap<String, OpenCall>,
    /// The tools that the program is handed.
    handed: Option<Arc<HandedServer>>,
    first_event: Duration,
    idle: Duration,
    /// Since when it runs.
    began: Instant,
    /// When it last got on, by its own word.
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

    /// Nothing more comes. Returns what is to be said of what was not understood, and of what was not written down.
    pub(super) async fn finish(&mut self) -> Vec<String> {
        let last = self.decoder.finish();
        self.take(last);
        self.write().await;
        self.output.finish().await;
        let left_out = match self.journaled.left_out {
            0 => None,
            count => Some(format!(
                "the program said more than is written down of one attempt ({} MiB, or {ENTRIES} entries): {} of it left out",
                JOURNALED >> 20,
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
            // a secret can stand in several parts of what it printed, or be written with escapes there
            let event = event.with_texts(|text| secret::redact(&text).into_owned());
            // some say it again with each step
            let is_known =
                matches!(&event, ProgramEvent::Session { id, .. } if self.heard.session.as_ref() == Some(id));
            self.heard.hear(&event);
            if !is_known {
                self.note(event);
            }
        }
    }

    fn told(&mut self, text: String, thought: Option<String>) {
        let shortened = |text: String| shorten(&text, TOLD);
        let (text, thought) = (shortened(text), thought.map(shortened));
        if self.journaled.has_room(text.len() + thought.as_ref().map_or(0, String::len)) {
            self.waiting.push(self.journal.entry(Step::Told { text, thought }));
        }
    }

    fn note(&mut self, event: ProgramEvent) {
        match event {
            ProgramEvent::Session { id, version } => {
                let version = version.map(|version| shorten(&version, VERSION));
                if self.journaled.has_room(id.len() + version.as_ref().map_or(0, String::len)) {
                    self.waiting.push(self.journal.entry(Step::Session { id, version }));
                }
            }
            ProgramEvent::Text(text) => {
                self.output.add(Piece::of_line(text.trim_end().to_owned()));
                self.told(text, None);
            }
            ProgramEvent::Thought(text) => self.told(String::new(), Some(text)),
            // those that it is handed are written down where they are made
            ProgramEvent::ToolBegan { tool, .. } if self.is_handed(&tool) => {}
            ProgramEvent::ToolBegan { id, tool, args } => self.began(id, &tool, &args),
            ProgramEvent::ToolEnded { id, text, is_error, .. } => {
                let id = bounded(id);
                let Some(OpenCall { call, tool, args, began }) = self.calls.remove(&id) else { return };
                let Some(call) = call else { return };
                // a call that was written down has an end
                let most = if self.journaled.has_room(text.len().min(RESULT)) { RESULT } else { 0 };
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
        let (id, tool) = (bounded(id), shorten(tool, ARGS_SHOWN));
        let args = shorten(args, ARGS_SHOWN);
        if self.calls.len() >= OPEN_CALLS {
            self.journaled.left_out += 1;
            return;
        }
        // one that is not written down is under way all the same: its silence is no idleness
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
        // who can't write down ends soon, for the same reason
        let _ = self.journal.write(std::mem::take(&mut self.waiting)).await;
    }

    /// When it last showed a sign of life, and how long it may be silent from then on.
    fn life(&self) -> (Instant, Duration) {
        let report = self.meter.report();
        // a build may be silent for long: what runs for the program is bounded by `timeout`
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
        assert!(one != other && one.len() < CALL_NAME + 20 && other.len() < CALL_NAME + 20);
        assert_eq!(one, bounded(format!("{long}1")), "its end finds it");
        assert_eq!(bounded("toolu_1".into()), "toolu_1");
    }
}
