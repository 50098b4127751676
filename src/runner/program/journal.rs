//! The journal of a run that is carried out by an agent program: positions are allocated on demand, since requests and events
//! arrive concurrently.
use crate::conversation::PlannedCall;
use crate::domain::{
    ApprovalWanted, Effect, OUTCOMES, Said, Step, Talk, ToolReply, ToolRequest, Usage, WorstCase,
};
use crate::runner::broken::Break;
use crate::runner::output::shorten;
use crate::runner::report::{Brief, Report, Shared};
use crate::secret;
use crate::store::StepRow;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Maximum length of a call's arguments in events and lists.
const MAX_SHOWN_ARGS_BYTES: usize = 2000;

/// Records what happens in one run, at positions of one journal.
pub(super) struct ProgramJournal {
    reports: mpsc::Sender<Report>,
    template: Talk,
    next: AtomicU64,
    /// Number of tool calls so far, the program's own and handed ones.
    calls: AtomicUsize,
    /// Calls of handed tools in earlier attempts.
    handed: u64,
    /// The program's own tools that it was denied in earlier attempts.
    denied: Vec<String>,
}

impl ProgramJournal {
    /// Continues after what was recorded so far.
    pub(super) fn after(brief: &Brief, shared: &Shared, rows: &[StepRow]) -> Self {
        let template = Talk {
            run: brief.run,
            agent: brief.agent.id.clone(),
            session: brief.agent.session(),
            attempt: brief.attempt,
            said: Said::Resumed,
        };
        let next = AtomicU64::new(rows.last().map_or(0, |last| last.n + 1));
        let handed = rows.iter().filter(|row| matches!(row.step, Step::Handed { .. })).count() as u64;
        Self {
            reports: shared.reports.clone(),
            template,
            next,
            calls: AtomicUsize::new(calls_of(rows)),
            handed,
            denied: denied_of(rows),
        }
    }

    /// Returns the program's own tools that the rules, not a person, denied in earlier attempts.
    pub(super) fn denied_uses(&self) -> &[String] {
        &self.denied
    }

    /// Returns a unique number for a call.
    pub(super) fn take_call(&self) -> usize {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Records that a call is about to be made. Returns when that is durable.
    pub(super) async fn calling(&self, n: usize, call: &PlannedCall) -> Result<(), Break> {
        let step = Step::Calling { call: n, effect: call.effect };
        self.write(vec![self.of_call(step, call.name.clone(), args_shown(call), Duration::ZERO)]).await
    }

    /// Records that a call was made, or answered without being made.
    pub(super) async fn called(
        &self,
        n: usize,
        call: &PlannedCall,
        reply: ToolReply,
        untrusted: bool,
        took: Duration,
    ) -> Result<(), Break> {
        let step = Step::Called { call: n, reply, untrusted };
        self.write(vec![self.of_call(step, call.name.clone(), args_shown(call), took)]).await
    }

    /// Records that a call of a handed tool arrived.
    pub(super) async fn handed(
        &self,
        n: usize,
        call: &PlannedCall,
        request: &ToolRequest,
        waits: bool,
    ) -> Result<u64, Break> {
        let step = Step::Handed { call: n, request: request.clone(), waits };
        let entry = self.of_call(step, call.name.clone(), args_shown(call), Duration::ZERO);
        let Said::Step { n: place, .. } = entry else { return Err(Break::Stopped) };
        self.write(vec![entry]).await?;
        Ok(place)
    }

    /// Records that a call needs approval; returns the question.
    pub(super) async fn wanted(
        &self,
        n: usize,
        call: &PlannedCall,
        request: &ToolRequest,
    ) -> Result<ApprovalWanted, Break> {
        let place = self.handed(n, call, request, true).await?;
        Ok(self.question(place, n, &call.name, &call.args.to_string()))
    }

    /// Returns the same question for a call that has waited since an earlier attempt.
    pub(super) fn wanted_of(&self, past: &PastCall) -> ApprovalWanted {
        self.question(past.place, past.call, &past.request.name, &past.request.arguments)
    }

    fn question(&self, place: u64, n: usize, tool: &str, args: &str) -> ApprovalWanted {
        ApprovalWanted {
            id: format!("{}-{place}-{n}", self.template.run.short()),
            call: n,
            tool: tool.to_owned(),
            args: secret::redact(args).into_owned(),
        }
    }

    /// Returns the number of handed calls in earlier attempts.
    pub(super) fn handed_calls(&self) -> u64 {
        self.handed
    }

    /// Returns an idempotency key: equal in each try of a call, unique per call.
    pub(super) fn key_of(&self, n: usize) -> String {
        format!("{}-call-{n}", self.template.run)
    }

    /// Returns a unique position.
    pub(super) fn take_place(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends entries. Returns when all of them are durable.
    pub(super) async fn write(&self, said: Vec<Said>) -> Result<(), Break> {
        if said.is_empty() {
            return Ok(());
        }
        let talks = said.into_iter().map(|said| Talk { said, ..self.template.clone() }).collect();
        let (done, durable) = oneshot::channel();
        self.reports.send(Report::Journal { talks, done }).await.map_err(|_| Break::Stopped)?;
        durable.await.map_err(|_| Break::Stopped)
    }

    /// Returns an entry that concerns no tool.
    pub(super) fn entry(&self, step: Step) -> Said {
        self.of_call(step, String::new(), String::new(), Duration::ZERO)
    }

    /// Returns an entry about a tool call.
    pub(super) fn of_call(&self, step: Step, tool: String, args: String, took: Duration) -> Said {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Said::Step { n: self.take_place(), step: Box::new(step), tool, args, took_ms }
    }

    pub(super) fn run(&self) -> crate::domain::RunId {
        self.template.run
    }

    pub(super) fn attempt(&self) -> u32 {
        self.template.attempt
    }
}

/// What earlier attempts of a run have left in its journal.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The query; `None`: no attempt has recorded one yet.
    pub(super) query: Option<String>,
    pub(super) untrusted: bool,
    pub(super) seen: Vec<String>,
    pub(super) gate: Option<String>,
    pub(super) session: Option<String>,
    /// The usage that is charged.
    pub(super) used: Usage,
    /// Tool calls without a recorded end.
    pub(super) open_calls: Vec<String>,
    /// Calls of handed tools whose end the program can't have received.
    pub(super) handed: Vec<PastCall>,
}

/// A call of a handed tool.
#[derive(Debug)]
pub(super) struct PastCall {
    /// Its position in the journal.
    pub(super) place: u64,
    /// It was to wait for approval.
    pub(super) waits: bool,
    /// Its number in the journal.
    pub(super) call: usize,
    pub(super) request: ToolRequest,
    /// Whether it may be made, and the person's comment.
    pub(super) decided: Option<(bool, Option<String>)>,
    /// Set if it began: its effect.
    pub(super) begun: Option<Effect>,
    /// Its reply, and whether that comes from outside.
    pub(super) reply: Option<(ToolReply, bool)>,
}

/// Formats the arguments of a call for events and lists.
fn args_shown(call: &PlannedCall) -> String {
    let args = match &call.args {
        Value::Null => call.sent.clone(),
        args => args.to_string(),
    };
    shorten(&secret::redact(&args), MAX_SHOWN_ARGS_BYTES)
}

/// Returns the program's own tools that the rules have denied: uses that a person was asked about are preceded by a call.
fn denied_of(rows: &[StepRow]) -> Vec<String> {
    let mut asked = BTreeSet::new();
    let mut denied: Vec<String> = Vec::new();
    for row in rows {
        match &row.step {
            Step::Handed { call, .. } => {
                asked.insert(*call);
            }
            Step::Called { call, reply, .. }
                if reply.is_error
                    && reply.name.contains(':')
                    && !asked.contains(call)
                    && !denied.contains(&reply.name) =>
            {
                denied.push(reply.name.clone());
            }
            _ => {}
        }
    }
    denied
}

/// Returns the number of tool calls in a journal.
fn calls_of(rows: &[StepRow]) -> usize {
    let numbers = rows.iter().filter_map(|row| match &row.step {
        Step::Handed { call, .. } | Step::Calling { call, .. } | Step::Called { call, .. } => Some(call + 1),
        _ => None,
    });
    numbers.max().unwrap_or(0)
}

impl Past {
    pub(super) fn of(rows: &[StepRow]) -> Self {
        let mut past = Self::default();
        let mut asked: Vec<WorstCase> = Vec::new();
        let mut ended = 0;
        let mut open: Vec<(usize, String)> = Vec::new();
        for row in rows {
            let handed = |past: &Self, call: &usize| past.handed.iter().position(|one| one.call == *call);
            match &row.step {
                Step::Begun { query, untrusted, seen, gate } => {
                    past.query = Some(query.clone());
                    (past.untrusted, past.seen, past.gate) = (*untrusted, seen.clone(), gate.clone());
                }
                Step::Session { id, .. } => past.session = Some(id.clone()),
                Step::Asked { worst, .. } => {
                    asked.push(*worst);
                    // a program that sent its model a request has read the replies to its calls; it asks for those of calls
                    // that waited
                    past.handed.retain(|one| one.reply.is_none() || one.waits);
                }
                Step::Answered { used, .. } | Step::Unanswered { used, .. } => {
                    ended += 1;
                    past.used.add(used);
                }
                Step::Calling { call, effect } => {
                    if let Some(at) = handed(&past, call) {
                        past.handed[at].begun = Some(*effect);
                        continue;
                    }
                    let what = [row.tool.as_deref(), row.args.as_deref()];
                    let what: Vec<&str> = what.into_iter().flatten().collect();
                    open.push((*call, what.join(" ")));
                }
                Step::Called { reply, .. } if reply.name == OUTCOMES => {
                    past.handed.retain(|one| one.reply.is_none());
                }
                Step::Called { call, reply, untrusted } => {
                    if let Some(at) = handed(&past, call) {
                        past.handed[at].reply = Some((reply.clone(), *untrusted));
                    }
                    open.retain(|(open, _)| open != call);
                }
                Step::Handed { call, request, waits } => past.handed.push(PastCall {
                    place: row.n,
                    waits: *waits,
                    call: *call,
                    request: request.clone(),
                    decided: None,
                    begun: None,
                    reply: None,
                }),
                Step::Decided { call, approved, reason } => {
                    if let Some(at) = handed(&past, call) {
                        past.handed[at].decided = Some((*approved, reason.clone()));
                    }
                }
                Step::Told { .. } | Step::Kept { .. } => {}
            }
        }
        // it is unknown which requests have no end: assume the most expensive ones
        asked.sort_by(|a, b| b.usd.total_cmp(&a.usd).then(b.tokens.cmp(&a.tokens)));
        let lost = asked.len().saturating_sub(ended);
        asked.iter().take(lost).for_each(|worst| past.used.add(&worst.usage()));
        past.open_calls = open.into_iter().map(|(_, what)| what).collect();
        past
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what an attempt finds of those before it.
    use super::*;
    use crate::domain::{Effect, ModelAnswer, ModelTurn, ToolReply};

    fn rows(steps: Vec<(Step, Option<&str>)>) -> Vec<StepRow> {
        let row = |(n, (step, tool)): (usize, (Step, Option<&str>))| StepRow {
            n: n as u64,
            at: jiff::Timestamp::UNIX_EPOCH,
            tool: tool.map(str::to_owned),
            args: tool.map(|_| "{\"command\":\"make\"}".to_owned()),
            took_ms: 0,
            step,
        };
        steps.into_iter().enumerate().map(row).collect()
    }

    #[test]
    fn what_the_rules_have_denied_is_known_to_a_further_attempt() {
        let reply = |name: &str, is_error| ToolReply {
            id: "t".into(),
            name: name.into(),
            text: String::new(),
            is_error,
        };
        let called = |call, name: &str, is_error| {
            (Step::Called { call, reply: reply(name, is_error), untrusted: false }, None)
        };
        let request = ToolRequest { id: "t".into(), name: "claude:Edit".into(), arguments: "{}".into() };
        let rows = rows(vec![
            called(0, "claude:Bash", true),
            called(1, "claude:Bash", true),
            // a person has denied this one, and these are other tools
            (Step::Handed { call: 2, request, waits: true }, None),
            called(2, "claude:Edit", true),
            called(3, "claude:Read", false),
            called(4, "shell", true),
        ]);
        assert_eq!(denied_of(&rows), ["claude:Bash"]);
    }

    #[test]
    fn what_nobody_saw_the_end_of_is_known_and_charged() {
        let asked = |tokens, usd| {
            let worst = WorstCase { tokens, output: tokens / 2, usd };
            (Step::Asked { model: "m".into(), worst }, None)
        };
        let used = Usage { requests: 1, input_tokens: 7, output_tokens: 3, usd: 0.1, ..Usage::default() };
        let finish = crate::domain::Finish::Stop;
        let answer = ModelAnswer { turn: ModelTurn::default(), finish, tokens: None, asked_twice: false };
        let calling = |call| (Step::Calling { call, effect: Effect::Effect }, Some("shell"));
        let reply = ToolReply { id: "t".into(), name: "shell".into(), text: String::new(), is_error: false };
        let rows = rows(vec![
            (
                Step::Begun { query: "do it".into(), untrusted: true, seen: vec!["k".into()], gate: None },
                None,
            ),
            (Step::Session { id: "s-1".into(), version: None }, None),
            asked(100, 1.0),
            asked(50, 0.5),
            (Step::Answered { model: "m".into(), answer, used }, None),
            calling(0),
            (Step::Called { call: 0, reply, untrusted: true }, Some("shell")),
            calling(1),
        ]);
        let past = Past::of(&rows);
        assert_eq!((past.query.as_deref(), past.session.as_deref()), (Some("do it"), Some("s-1")));
        assert_eq!((calls_of(&rows), past.open_calls), (2, vec!["shell {\"command\":\"make\"}".to_owned()]));
        // one of the two requests has no end: the dearer one may be it
        assert_eq!((past.used.requests, past.used.tokens()), (2, 110));
        assert!((past.used.usd - 1.1).abs() < 1e-9);
        let none = Past::of(&[]);
        assert!(none.query.is_none() && none.session.is_none() && none.used == Usage::default());
    }

    #[test]
    fn a_handed_call_is_told_until_the_program_can_have_heard_of_it() {
        let request = ToolRequest { id: "1".into(), name: "post".into(), arguments: "{}".into() };
        let handed = |call, waits| (Step::Handed { call, request: request.clone(), waits }, Some("post"));
        let called = |call, name: &str| {
            let reply = ToolReply { id: "1".into(), name: name.into(), text: "done".into(), is_error: false };
            (Step::Called { call, reply, untrusted: false }, Some("post"))
        };
        let calling = |call| (Step::Calling { call, effect: Effect::Effect }, Some("post"));
        let decided = |call, approved| (Step::Decided { call, approved, reason: Some("why".into()) }, None);
        let asked =
            || (Step::Asked { model: "m".into(), worst: WorstCase { tokens: 1, output: 1, usd: 0.0 } }, None);
        let open =
            |steps| -> Vec<usize> { Past::of(&rows(steps)).handed.iter().map(|one| one.call).collect() };
        // answered, and the program has died before it asked its model with the answer
        assert_eq!(open(vec![handed(0, false), calling(0), called(0, "post")]), [0]);
        assert!(open(vec![handed(0, false), calling(0), called(0, "post"), asked()]).is_empty());
        // of one that waited it asks
        let waited = || vec![handed(0, true), decided(0, true), calling(0), called(0, "post"), asked()];
        assert_eq!(open(waited()), [0]);
        assert!(open(waited().into_iter().chain([called(1, OUTCOMES)]).collect()).is_empty());
        let past = Past::of(&rows(vec![handed(0, true), decided(0, false), handed(1, false), calling(1)]));
        assert_eq!(past.handed[0].decided, Some((false, Some("why".into()))));
        assert_eq!((past.handed[1].begun, past.open_calls.len()), (Some(Effect::Effect), 0));
    }
}
