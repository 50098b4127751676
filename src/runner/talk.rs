//! The journal of a conversation, and the tool calls that it requests: made for real, in a rehearsal, or replayed from an
//! earlier run.
use super::calling::ToolCaller;
use super::command::Attempt;
use super::report::{Brief, Report, Shared, StopOrder};
use crate::clock::to_std;
use crate::conversation::PlannedCall;
use crate::domain::{ApprovalWanted, Effect, RunError, RunMode, Said, Step, Talk, ToolReply, WorstCase};
use crate::runner::broken::Break;
use crate::secret;
use crate::store::StepRow;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Maximum length of a call's arguments in events and lists.
const MAX_SHOWN_ARGS_BYTES: usize = 2000;

/// Records the steps of one run, in order.
pub(super) struct Journal {
    reports: mpsc::Sender<Report>,
    template: Talk,
    next: u64,
    /// Position of the newest request.
    asked: u64,
    /// Position of the newest answer: it identifies the turn of its calls, also in a retry.
    answer: u64,
}

impl Journal {
    /// Continues after what was recorded so far.
    pub(super) fn after(brief: &Brief, shared: &Shared, rows: &[StepRow]) -> Self {
        let template = Talk {
            run: brief.run,
            agent: brief.agent.id.clone(),
            session: brief.agent.session(),
            attempt: brief.attempt,
            said: Said::Resumed,
        };
        let answered = rows.iter().rfind(|row| matches!(row.step, Step::Answered { .. }));
        Self {
            reports: shared.reports.clone(),
            template,
            next: rows.last().map_or(0, |last| last.n + 1),
            asked: 0,
            answer: answered.map_or(0, |row| row.n),
        }
    }

    fn take_place(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Records the first entry.
    pub(super) async fn begin(
        &mut self,
        query: String,
        untrusted: bool,
        seen: Vec<String>,
        gate: Option<String>,
    ) -> Result<(), Break> {
        let n = self.take_place();
        self.write(vec![Said::Query { n, text: query, untrusted, seen, gate }]).await
    }

    /// Sends entries. Returns when all of them are durable.
    pub(super) async fn write(&self, said: Vec<Said>) -> Result<(), Break> {
        let talks = said.into_iter().map(|said| Talk { said, ..self.template.clone() }).collect();
        let (done, durable) = oneshot::channel();
        self.reports.send(Report::Journal { talks, done }).await.map_err(|_| Break::Stopped)?;
        durable.await.map_err(|_| Break::Stopped)
    }

    /// Reserves the worst case of a request. When this returns, it is held and on record.
    pub(super) async fn reserve(&mut self, model: &str, worst: WorstCase) -> Result<Step, Break> {
        let n = self.take_place();
        self.asked = n;
        let (granted, answer) = oneshot::channel();
        let (run, attempt) = (self.template.run, self.template.attempt);
        let report = Report::Reserve { run, attempt, n, model: model.to_owned(), worst, granted };
        self.reports.send(report).await.map_err(|_| Break::Stopped)?;
        match answer.await {
            Ok(Ok(())) => Ok(Step::Asked { model: model.to_owned(), worst }),
            Ok(Err(RunError { kind: crate::domain::ErrorKind::Interrupted, .. })) | Err(_) => {
                Err(Break::Stopped)
            }
            Ok(Err(error)) => Err(Break::Failed(error, None)),
        }
    }

    /// Replaces the hold of a request by what it used.
    pub(super) async fn settle(&mut self, step: &Step, took: Duration) -> Result<(), Break> {
        let n = self.take_place();
        if matches!(step, Step::Answered { .. }) {
            self.answer = n;
        }
        let (go, durable) = oneshot::channel();
        let report = Report::Settle {
            run: self.template.run,
            n,
            asked: self.asked,
            step: Box::new(step.clone()),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            go,
        };
        self.reports.send(report).await.map_err(|_| Break::Stopped)?;
        durable.await.map_err(|_| Break::Stopped)
    }

    fn entry(&mut self, step: Step, call: &PlannedCall, took: Duration) -> Said {
        Said::Step {
            n: self.take_place(),
            step: Box::new(step),
            tool: call.name.clone(),
            args: match &call.args {
                Value::Null => shortened(&call.sent),
                args => shown(args),
            },
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Returns the question that a person is asked about a call.
    pub(super) fn wish(&self, call: &PlannedCall) -> ApprovalWanted {
        ApprovalWanted {
            id: format!("{}-{}-{}", self.template.run.short(), self.next, call.call),
            call: call.call,
            tool: call.name.clone(),
            args: secret::redact(&call.args.to_string()).into_owned(),
        }
    }

    fn key_of(&self, call: &PlannedCall) -> String {
        format!("{}-{}-{}", self.template.run, self.answer, call.call)
    }
}

fn shown(args: &Value) -> String {
    shortened(&args.to_string())
}

fn shortened(args: &str) -> String {
    super::output::shorten(&secret::redact(args), MAX_SHOWN_ARGS_BYTES)
}

/// Replies to calls by tool and arguments, in order, and whether each comes from outside.
type Recorded = HashMap<(String, String), VecDeque<(ToolReply, bool)>>;

/// How calls are answered.
pub(super) struct Calls {
    /// Replies of an earlier run.
    recorded: Option<Recorded>,
    rehearsal: bool,
    would_have: Vec<String>,
}

impl Calls {
    pub(super) async fn prepare(attempt: &Attempt<'_>) -> Result<Self, Break> {
        let recorded = match &attempt.brief.mode {
            RunMode::Replay { of, .. } => {
                let of = *of;
                Some(recorded(attempt.read(move |reader| reader.steps(of)).await?))
            }
            _ => None,
        };
        let rehearsal = attempt.brief.mode == RunMode::Rehearsal;
        Ok(Self { recorded, rehearsal, would_have: Vec::new() })
    }

    /// Takes what the calls of a rehearsal would have done.
    pub(super) fn would_have(&mut self) -> Vec<String> {
        std::mem::take(&mut self.would_have)
    }

    /// Makes the calls, and records each before and after. `steps` receives the steps that were taken, even if the calls are
    /// interrupted.
    pub(super) async fn make(
        &mut self,
        attempt: &mut Attempt<'_>,
        journal: &mut Journal,
        planned: Vec<PlannedCall>,
        steps: &mut Vec<Step>,
    ) -> Result<(), Break> {
        let (together, alone): (Vec<_>, Vec<_>) =
            planned.into_iter().partition(|call| call.parallel && call.answered.is_none());
        for call in alone {
            self.one(attempt, journal, call, steps).await?;
        }
        if !together.is_empty() {
            self.all(attempt, journal, together, steps).await?;
        }
        Ok(())
    }

    async fn one(
        &mut self,
        attempt: &mut Attempt<'_>,
        journal: &mut Journal,
        call: PlannedCall,
        steps: &mut Vec<Step>,
    ) -> Result<(), Break> {
        let known = call.answered.clone().map(|reply| (reply, false));
        let (reply, untrusted, took) = match known.or_else(|| self.without_a_call(&call)) {
            Some((reply, untrusted)) => (reply, untrusted, Duration::ZERO),
            None => {
                let calling = Step::Calling { call: call.call, effect: call.effect };
                let entry = journal.entry(calling.clone(), &call, Duration::ZERO);
                journal.write(vec![entry]).await?;
                steps.push(calling);
                let began = Instant::now();
                let (reply, untrusted) = real(attempt, journal.key_of(&call), &call).await?;
                (reply, untrusted, began.elapsed())
            }
        };
        let called = Step::Called { call: call.call, reply, untrusted };
        let entry = journal.entry(called.clone(), &call, took);
        journal.write(vec![entry]).await?;
        steps.push(called);
        Ok(())
    }

    /// Makes read-only calls concurrently.
    async fn all(
        &mut self,
        attempt: &mut Attempt<'_>,
        journal: &mut Journal,
        planned: Vec<PlannedCall>,
        steps: &mut Vec<Step>,
    ) -> Result<(), Break> {
        if self.recorded.is_some() || planned.len() == 1 {
            for call in planned {
                Box::pin(self.one(attempt, journal, call, steps)).await?;
            }
            return Ok(());
        }
        let mut entries = Vec::with_capacity(planned.len());
        for call in &planned {
            let calling = Step::Calling { call: call.call, effect: call.effect };
            entries.push(journal.entry(calling.clone(), call, Duration::ZERO));
            steps.push(calling);
        }
        journal.write(entries).await?;
        let began = Instant::now();
        let shared: &Attempt<'_> = attempt;
        let running = planned.iter().map(|call| {
            let key = journal.key_of(call);
            let orders = shared.orders.clone();
            async move {
                let reply = call_unless_stopped(shared, orders, key, call).await;
                (reply, began.elapsed())
            }
        });
        let replies = futures_util::future::join_all(running).await;
        let mut entries = Vec::with_capacity(planned.len());
        for (call, (reply, took)) in planned.iter().zip(replies) {
            let (reply, untrusted) = reply?;
            let called = Step::Called { call: call.call, reply, untrusted };
            entries.push(journal.entry(called.clone(), call, took));
            steps.push(called);
        }
        journal.write(entries).await
    }

    /// Returns the reply to a call that is not made for real, and whether it comes from outside.
    fn without_a_call(&mut self, call: &PlannedCall) -> Option<(ToolReply, bool)> {
        let reply = |text: String, is_error| {
            (ToolReply { id: call.id.clone(), name: call.name.clone(), text, is_error }, false)
        };
        if let Some(recorded) = &mut self.recorded {
            let key = (call.name.clone(), call.args.to_string());
            let known = recorded.get_mut(&key).and_then(|replies| match replies.len() {
                0 => None,
                1 => replies.front().cloned(), // asked again, it says the same again
                _ => replies.pop_front(),
            });
            return Some(known.map_or_else(
                || {
                    reply(
                        "this call was not made in the recorded run, so its result is not known".into(),
                        true,
                    )
                },
                |(known, untrusted)| (ToolReply { id: call.id.clone(), ..known }, untrusted),
            ));
        }
        if self.rehearsal && call.effect != Effect::Read {
            self.would_have.push(format!("would have called {} {}", call.name, shown(&call.args)));
            return Some(reply("rehearsal: accepted and recorded, not carried out".into(), false));
        }
        None
    }
}

/// Collects the replies of a recorded run.
fn recorded(rows: Vec<StepRow>) -> Recorded {
    let mut turn: Vec<(String, String)> = Vec::new();
    let mut all = Recorded::new();
    for row in rows {
        match row.step {
            Step::Answered { answer, .. } => {
                let args = |text: &str| {
                    if text.trim().is_empty() {
                        return "{}".to_owned();
                    }
                    serde_json::from_str::<Value>(text)
                        .map_or_else(|_| text.to_owned(), |args| args.to_string())
                };
                turn =
                    answer.turn.calls.iter().map(|call| (call.name.clone(), args(&call.arguments))).collect();
            }
            Step::Called { call, reply, untrusted } => {
                if let Some(key) = turn.get(call) {
                    all.entry(key.clone()).or_default().push_back((reply, untrusted));
                }
            }
            _ => {}
        }
    }
    all
}

async fn real(
    attempt: &mut Attempt<'_>,
    key: String,
    call: &PlannedCall,
) -> Result<(ToolReply, bool), Break> {
    let orders = attempt.orders.clone();
    call_unless_stopped(attempt, orders, key, call).await
}

/// Makes a call, unless the run is to be stopped or times out; also returns whether its reply comes from outside.
async fn call_unless_stopped(
    attempt: &Attempt<'_>,
    mut orders: tokio::sync::watch::Receiver<StopOrder>,
    key: String,
    call: &PlannedCall,
) -> Result<(ToolReply, bool), Break> {
    let bound = to_std(attempt.brief.agent.limits.tool_call_timeout).min(attempt.time_left());
    let caller = ToolCaller::of(attempt.brief, attempt.shared).with_skills(attempt.skills.clone());
    tokio::select! {
        given = caller.call(call, key, bound) => Ok(given),
        Ok(_) = orders.wait_for(|order| *order > StopOrder::None) => Err(Break::Stopped),
        () = tokio::time::sleep_until(attempt.deadline) => Err(attempt.out_of_time()),
    }
}
