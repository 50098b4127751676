//! Builds the spans of a trace from the events of an ended run: the run contains its attempts, each attempt its
//! requests and calls. Everything is read from the log, so nothing is kept while a run is in flight, and a run across
//! restarts is one trace.
use super::attributes::*;
use crate::domain::{
    AttemptEnded, Event, LoggedEvent, ModelSpec, Payload, ResponseCame, RunId, RunStatus, SpanId, Usage,
};
use jiff::{SignedDuration, Timestamp};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use std::collections::BTreeMap;

/// Maximum number of requests and calls per run; further ones are left out.
pub(super) const MAX_SPANS: usize = 2000;

/// What traces contain, and how it is named.
#[derive(Clone, Copy)]
pub(super) struct TraceOptions<'a> {
    /// The `[models.…]` tables, for the providers' names of models.
    pub(super) models: &'a BTreeMap<String, ModelSpec>,
    /// Include content: queries, answers, and results of tools.
    pub(super) content: bool,
}

/// Returns the spans of a run, the run itself first, and how many were left out.
pub(super) fn spans(run: RunId, events: &[LoggedEvent], telling: TraceOptions<'_>) -> (Vec<Span>, usize) {
    let mut trace = Trace::of(run, telling);
    for event in events.iter().filter_map(LoggedEvent::event) {
        trace.take(&event);
    }
    trace.finish()
}

/// An attempt that has not ended.
struct OpenAttempt {
    attempt: u32,
    began: Timestamp,
}

/// A trace under construction.
struct Trace<'a> {
    run: RunId,
    telling: TraceOptions<'a>,
    began: Option<Timestamp>,
    newest: Option<Timestamp>,
    open: Option<OpenAttempt>,
    /// Attributes of the run, and its status.
    about: Vec<KeyValue>,
    status: Option<Status>,
    has_ended: bool,
    has_session: bool,
    spans: Vec<Span>,
    left_out: usize,
    /// The latest answer: its step, and the index of its span.
    answer: Option<(u64, usize)>,
    /// Calls in progress: arguments and effect by index.
    calls: BTreeMap<u64, (String, &'static str)>,
}

impl<'a> Trace<'a> {
    fn of(run: RunId, telling: TraceOptions<'a>) -> Self {
        Self {
            run,
            telling,
            began: None,
            newest: None,
            open: None,
            about: vec![text(RUN, run.to_string())],
            status: None,
            has_ended: false,
            has_session: false,
            spans: Vec::new(),
            left_out: 0,
            answer: None,
            calls: BTreeMap::new(),
        }
    }

    fn take(&mut self, event: &Event) {
        let at = event.ts;
        self.introduce(event);
        self.newest = Some(at);
        match &event.payload {
            Payload::TaskStarted(started) => {
                if self.began.is_none() {
                    self.about.push(text(TRIGGER, started.trigger.as_str()));
                    self.about.extend(started.slot.map(|slot| text(SLOT, slot.to_string())));
                }
                self.began.get_or_insert(at);
                if self.open.as_ref().is_none_or(|open| open.attempt != started.attempt) {
                    self.close(at, None);
                    self.open = Some(OpenAttempt { attempt: started.attempt, began: at });
                }
            }
            Payload::UserMessage(asked) if self.telling.content => {
                self.about.push(message(GEN_AI_INPUT_MESSAGES, "user", &asked.text, None));
            }
            Payload::FinalAnswer(said) if self.telling.content => {
                self.about.push(message(GEN_AI_OUTPUT_MESSAGES, "assistant", &said.text, Some("stop")));
            }
            Payload::ModelResponse(came) => self.requested(event, came),
            Payload::AgentMessage(said) if self.telling.content => self.said(said.step, &said.text),
            Payload::ToolCallStarted(call) => {
                self.calls.insert(call.call, (call.args.clone(), call.effect.as_str()));
            }
            Payload::ToolCallResult(call) => {
                let (tool, took) = (call.tool.as_str(), call.duration_ms);
                self.called(event, (call.call, tool, took), &call.result, None);
            }
            Payload::ToolCallError(call) => {
                let (tool, took) = (call.tool.as_str(), call.duration_ms);
                self.called(event, (call.call, tool, took), &call.error, Some("tool_error"));
            }
            Payload::TaskCompleted(done) => {
                self.close(at, None);
                self.ended(at, RunStatus::Completed, done.duration_ms, &done.usage, done.exit_code);
            }
            Payload::TaskError(ended) | Payload::TaskCancelled(ended) => self.attempt_ended(at, ended),
            _ => {}
        }
    }

    /// Records the agent and the session of the run, once an event contains them.
    fn introduce(&mut self, event: &Event) {
        let Some(agent) = &event.agent_id else { return };
        if self.newest.is_none() {
            self.about.push(text(AGENT, agent.as_str()));
        }
        if let Some(session) = event.session_id.as_ref().filter(|_| !self.has_session) {
            self.has_session = true;
            self.about.push(text(GEN_AI_OPERATION, "invoke_agent"));
            self.about.push(text(GEN_AI_AGENT, agent.as_str()));
            self.about.push(text(GEN_AI_CONVERSATION, session.as_str()));
        }
    }

    fn attempt_ended(&mut self, at: Timestamp, ended: &AttemptEnded) {
        let failure = ended.kind.map(|kind| (kind.as_str(), self.failed(kind.as_str(), &ended.error)));
        self.close(at, failure.clone());
        if let Some(end) = &ended.end {
            self.ended(at, end.status, end.duration_ms, &end.usage, end.exit_code);
            self.about.extend(failure.as_ref().map(|(kind, _)| text(ERROR_TYPE, *kind)));
            self.status = failure.map(|(_, status)| status);
        }
    }

    /// An error message may quote anything: without content, only the kind is included.
    fn failed(&self, kind: &str, error: &str) -> Status {
        let message = if self.telling.content { error } else { kind };
        Status { message: message.to_owned(), code: StatusCode::Error.into() }
    }

    fn ended(
        &mut self,
        at: Timestamp,
        status: RunStatus,
        duration_ms: i64,
        usage: &Usage,
        exit_code: Option<i32>,
    ) {
        self.has_ended = true;
        // if the events of its start were removed by retention, its duration is still known
        let began = at.checked_sub(SignedDuration::from_millis(duration_ms.max(0))).unwrap_or(at);
        self.began.get_or_insert(began);
        self.about.push(text(STATUS, status.as_str()));
        self.about.extend(exit_code.map(|code| whole(EXIT_CODE, code)));
        if usage.requests > 0 {
            self.about.extend(used(usage));
        }
    }

    /// Closes the open attempt, with the kind of failure if it failed.
    fn close(&mut self, at: Timestamp, failure: Option<(&'static str, Status)>) {
        self.calls.clear();
        let Some(open) = self.open.take() else { return };
        let mut attributes = vec![whole(ATTEMPT, open.attempt)];
        attributes.extend(failure.as_ref().map(|(kind, _)| text(ERROR_TYPE, *kind)));
        let status = failure.map(|(_, status)| status);
        let id = SpanId::of_attempt(self.run, open.attempt);
        let parent = SpanId::of_run(self.run);
        let span =
            Span { attributes, status, ..self.span("bgagent.attempt", id, Some(parent), (open.began, at)) };
        self.spans.push(span);
    }

    /// Adds the span of a request to a model.
    fn requested(&mut self, event: &Event, came: &ResponseCame) {
        let spec = self.telling.models.get(&came.model);
        let model = spec.map_or(came.model.as_str(), |spec| &spec.model);
        let mut attributes =
            vec![text(GEN_AI_OPERATION, "chat"), text(GEN_AI_MODEL, model), text(MODEL, came.model.as_str())];
        attributes.extend(spec.map(|spec| text(GEN_AI_PROVIDER, provider(spec.provider))));
        attributes.extend(used(&came.usage));
        let status = came.kind.map(|kind| {
            attributes.push(text(ERROR_TYPE, kind.as_str()));
            self.failed(kind.as_str(), came.error.as_deref().unwrap_or_default())
        });
        if status.is_none() {
            attributes.push(list_of(GEN_AI_FINISH, finish(came.finish)));
        }
        let name = format!("chat {model}");
        let span = self.span_of(event, &name, came.duration_ms);
        self.answer = Some((came.step, self.spans.len()));
        self.add(Span { kind: SpanKind::Client.into(), attributes, status, ..span });
    }

    /// Adds what the model said in the answer of this step.
    fn said(&mut self, step: u64, said: &str) {
        let newest = self.answer.filter(|(answered, _)| *answered == step);
        if let Some(chat) = newest.and_then(|(_, place)| self.spans.get_mut(place)) {
            chat.attributes.push(message(GEN_AI_OUTPUT_MESSAGES, "assistant", said, None));
        }
    }

    /// Adds the span of a tool call.
    fn called(
        &mut self,
        event: &Event,
        (call, tool, took): (u64, &str, u64),
        gave: &str,
        error: Option<&str>,
    ) {
        let mut attributes = vec![
            text(GEN_AI_OPERATION, "execute_tool"),
            text(GEN_AI_TOOL, tool),
            text(GEN_AI_TOOL_TYPE, "function"),
        ];
        if let Some((args, effect)) = self.calls.remove(&call) {
            attributes.push(text(EFFECT, effect));
            if self.telling.content {
                attributes.push(text(GEN_AI_TOOL_ARGUMENTS, args));
            }
        }
        if self.telling.content {
            attributes.push(text(GEN_AI_TOOL_RESULT, gave));
        }
        attributes.extend(error.map(|kind| text(ERROR_TYPE, kind)));
        let status = error.map(|kind| self.failed(kind, gave));
        let span = self.span_of(event, &format!("execute_tool {tool}"), took);
        self.add(Span { attributes, status, ..span });
    }

    /// Returns a span that ends with this event, within the open attempt.
    fn span_of(&self, event: &Event, name: &str, took_ms: u64) -> Span {
        let parent = match &self.open {
            Some(open) => SpanId::of_attempt(self.run, open.attempt),
            None => SpanId::of_run(self.run),
        };
        let took = SignedDuration::from_millis(i64::try_from(took_ms).unwrap_or(i64::MAX));
        let began = event.ts.checked_sub(took).unwrap_or(event.ts);
        self.span(name, SpanId::of_event(self.run, event.seq), Some(parent), (began, event.ts))
    }

    fn span(
        &self,
        name: &str,
        id: SpanId,
        parent: Option<SpanId>,
        (from, to): (Timestamp, Timestamp),
    ) -> Span {
        Span {
            trace_id: self.run.as_bytes().to_vec(),
            span_id: id.as_bytes().to_vec(),
            parent_span_id: parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
            name: name.to_owned(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: nanos(from),
            // the clock may have been set back meanwhile
            end_time_unix_nano: nanos(to.max(from)),
            ..Span::default()
        }
    }

    fn add(&mut self, span: Span) {
        if self.spans.len() < MAX_SPANS {
            self.spans.push(span);
        } else {
            self.left_out += 1;
        }
    }

    fn finish(mut self) -> (Vec<Span>, usize) {
        let Some(newest) = self.newest.filter(|_| self.has_ended) else { return (Vec::new(), 0) };
        self.close(newest, None);
        let began = self.began.unwrap_or(newest);
        let run = self.span("bgagent.run", SpanId::of_run(self.run), None, (began, newest));
        let attributes = std::mem::take(&mut self.about);
        let run = Span { attributes, status: self.status.take(), ..run };
        self.spans.insert(0, run);
        (self.spans, self.left_out)
    }
}

fn used(usage: &Usage) -> Vec<KeyValue> {
    vec![
        whole(GEN_AI_INPUT, usage.input_tokens),
        whole(GEN_AI_CACHED, usage.cached_tokens),
        whole(GEN_AI_OUTPUT, usage.output_tokens),
        number(COST, usage.usd),
    ]
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Seq;
    use serde_json::{Value, json};

    fn run() -> RunId {
        "0198f2a4-7c1e-7000-8000-0123456789ab".parse().unwrap()
    }

    /// Events of a run, at these seconds.
    fn told(events: &[(i64, &str, Value)]) -> Vec<LoggedEvent> {
        let event = |(seq, (second, kind, payload)): (usize, &(i64, &str, Value))| LoggedEvent {
            seq: Seq(seq as u64 + 1),
            ts: Timestamp::from_second(1_800_000_000 + second).unwrap(),
            kind: (*kind).to_owned(),
            agent_id: Some("a".parse().unwrap()),
            run_id: Some(run()),
            session_id: None,
            payload: payload.clone(),
        };
        events.iter().enumerate().map(event).collect()
    }

    fn started(attempt: u32) -> Value {
        json!({"run_count": 1, "attempt": attempt, "trigger": "schedule", "slot": null, "pid": null})
    }

    fn failed(attempt: u32, will_retry: bool) -> Value {
        let mut ended = json!({"error": "it says the secret", "kind": "exit_status", "error_count": 1,
            "will_retry": will_retry, "retry_at": null, "attempt": attempt});
        if !will_retry {
            let usage =
                json!({"requests": 0, "input_tokens": 0, "cached_tokens": 0, "output_tokens": 0, "usd": 0.0});
            ended["status"] = "failed".into();
            ended["exit_code"] = 3.into();
            ended["duration_ms"] = 9_000.into();
            ended["usage"] = usage;
        }
        ended
    }

    fn of(events: &[(i64, &str, Value)], content: bool) -> (Vec<Span>, usize) {
        spans(run(), &told(events), TraceOptions { models: &BTreeMap::new(), content })
    }

    /// Name, seconds from and to, and what the status says.
    fn shown(spans: &[Span]) -> Vec<(String, u64, u64, String)> {
        let second = |nanos: u64| nanos / 1_000_000_000 - 1_800_000_000;
        let show = |span: &Span| {
            let status = span.status.as_ref().map(|status| status.message.clone()).unwrap_or_default();
            (span.name.clone(), second(span.start_time_unix_nano), second(span.end_time_unix_nano), status)
        };
        spans.iter().map(show).collect()
    }

    #[test]
    fn attempts_are_within_their_run_and_errors_say_their_kind() {
        let events = [
            (0, "background_task_started", started(1)),
            (2, "background_task_error", failed(1, true)),
            (5, "background_task_started", started(2)),
            (9, "background_task_error", failed(2, false)),
        ];
        let (spans, _) = of(&events, false);
        let row = |name: &str, from, to| (name.to_owned(), from, to, "exit_status".to_owned());
        assert_eq!(
            shown(&spans),
            [row("bgagent.run", 0, 9), row("bgagent.attempt", 0, 2), row("bgagent.attempt", 5, 9)]
        );
        assert!(spans[1..].iter().all(|span| span.parent_span_id == spans[0].span_id));
        let (spans, _) = of(&events, true);
        assert!(spans.iter().all(|span| span.status.as_ref().unwrap().message == "it says the secret"));
    }

    #[test]
    fn a_run_whose_beginning_was_removed_is_told_by_how_long_it_took() {
        let (spans, _) = of(&[(9, "background_task_error", failed(2, false))], false);
        assert_eq!(shown(&spans), [("bgagent.run".to_owned(), 0, 9, "exit_status".to_owned())]);
        // a run in flight has no trace yet
        assert!(of(&[(0, "background_task_started", started(1))], false).0.is_empty());
    }

    #[test]
    fn spans_of_a_run_are_bounded() {
        let call = json!({"step": 1, "call": 0, "tool": "t", "result": "r", "bytes": 1, "duration_ms": 1000});
        let mut events = vec![(0, "background_task_started", started(1))];
        events.extend((0..MAX_SPANS + 5).map(|_| (1, "tool_call_result", call.clone())));
        events.push((9, "background_task_error", failed(1, false)));
        let (spans, left_out) = of(&events, false);
        assert_eq!((spans.len(), left_out), (MAX_SPANS + 2, 5));
    }
}
