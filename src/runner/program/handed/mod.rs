//! The daemon's tools that are handed to a program: each call is authorized, recorded before and after, and made here. A call
//! that needs approval ends the program; after the decision, the call is made before the program resumes.
//! The outcomes of calls that the program can't have received are available through the tool [`OUTCOMES`] (`settled`). If the
//! agent has `permissions` that are judged per use, the program asks here whether it may use one of its own tools (`uses`).
mod making;
mod settled;
mod uses;

pub(super) use making::HandedLimits;
pub(super) use settled::{HandedOutcome, SettledCalls, settled};
pub(super) use uses::{GrantedUse, Uses};

use super::journal::ProgramJournal;
use crate::agent_program::mcp::{self, McpMessage};
use crate::conversation::{CallRules, HandedCall, HandedCalls, PlannedCall};
use crate::domain::{ApprovalWanted, Effect, OUTCOMES, PERMISSION, ToolOffer, ToolReply, ToolRequest};
use crate::proxy::meter::ToolServer;
use crate::runner::broken::Break;
use crate::runner::calling::ToolCaller;
use crate::runner::output::shorten;
use crate::secret;
use futures_util::future::BoxFuture;
use making::made;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uses::NAME;

/// Maximum number of concurrent calls of one program. Further ones wait.
const MAX_CONCURRENT_CALLS: usize = 8;
/// Grace period after a call that waits for approval, for further calls that the program makes along with it.
const FURTHER_CALLS_GRACE: Duration = Duration::from_secs(1);
/// Maximum recorded length of the reason why a use is denied, in bytes.
const MAX_REASON_BYTES: usize = 2000;
/// Maximum recorded denials per attempt; all of them count.
const MAX_RECORDED_DENIALS: usize = 256;

/// The handed tools of one attempt.
pub(super) struct HandedServer {
    calls: HandedCalls,
    /// Decides about the program's own tools; `None`: the program does not ask.
    uses: Option<Uses>,
    /// Outcomes of earlier calls that the program is to be informed of.
    outcomes: Vec<HandedOutcome>,
    /// The tools that are offered to the program.
    shown: Vec<ToolOffer>,
    caller: ToolCaller,
    journal: Arc<ProgramJournal>,
    limits: HandedLimits,
    /// Cancelled: no further call is accepted, and none keeps waiting.
    closed: CancellationToken,
    /// Cancelled: calls in flight are abandoned.
    cut: CancellationToken,
    places: Semaphore,
    tasks: TaskTracker,
    state: Mutex<State>,
    /// Notified when a call waits for approval.
    waits: Notify,
}

struct State {
    /// Calls of the run so far.
    made: u64,
    in_flight: usize,
    /// When the last call in flight ended.
    last: Option<Instant>,
    /// Calls with side effects that have not ended.
    open: BTreeMap<usize, String>,
    wanted: Vec<ApprovalWanted>,
    /// When the first call began to wait for approval.
    since: Option<Instant>,
    /// The program's own tools that it was denied, in this attempt and earlier ones.
    denied: Vec<String>,
    /// Denials recorded in this attempt.
    noted: usize,
}

/// What remains after a program has ended.
#[derive(Default)]
pub(super) struct HandedEnd {
    /// Calls that wait for approval.
    pub(super) waits: Vec<ApprovalWanted>,
    /// Calls whose outcome is unknown.
    pub(super) unknown: Vec<String>,
    /// Whether any call was made or requested.
    pub(super) was_called: bool,
    /// The program's own tools that the rules denied in this run.
    pub(super) denied: Vec<String>,
}

impl HandedServer {
    /// Creates the server for a program that is about to start.
    pub(super) fn new(
        rules: CallRules,
        uses: Option<Uses>,
        outcomes: Vec<HandedOutcome>,
        caller: ToolCaller,
        journal: Arc<ProgramJournal>,
        limits: HandedLimits,
    ) -> Self {
        let told = (!outcomes.is_empty()).then(offer_of_outcomes);
        let asks = uses.as_ref().map(|_| uses::offer());
        let shown = rules.tools.iter().cloned().chain(told).chain(asks).collect();
        let state = State {
            made: journal.handed_calls(),
            in_flight: 0,
            last: None,
            open: BTreeMap::new(),
            wanted: Vec::new(),
            since: None,
            denied: journal.denied_uses().to_vec(),
            noted: 0,
        };
        Self {
            calls: HandedCalls::new(rules),
            uses,
            outcomes,
            shown,
            caller,
            journal,
            limits,
            closed: CancellationToken::new(),
            cut: CancellationToken::new(),
            places: Semaphore::new(MAX_CONCURRENT_CALLS),
            tasks: TaskTracker::new(),
            state: Mutex::new(state),
            waits: Notify::new(),
        }
    }

    /// Returns whether this is a handed tool, by the name that the program uses.
    pub(super) fn has(&self, tool: &str) -> bool {
        mcp::is_handed(tool, &self.shown)
    }

    /// Returns when a call last showed activity; `None`: there was none.
    pub(super) fn last_sign(&self) -> Option<Instant> {
        let state = self.state();
        if state.in_flight > 0 { Some(Instant::now()) } else { state.last }
    }

    /// Returns when the program is to be terminated because a call waits for approval.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.state().since.map(|since| since + FURTHER_CALLS_GRACE)
    }

    /// Resolves when a call begins to wait for approval.
    pub(super) async fn waits(&self) {
        self.waits.notified().await;
    }

    /// Stops accepting calls: the program is being terminated.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Called after the program has ended. Waits for the calls in flight, or abandons them if `cut`.
    pub(super) async fn finish(&self, cut: bool) -> HandedEnd {
        self.closed.cancel();
        if cut {
            self.cut.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
        let mut state = self.state();
        HandedEnd {
            waits: std::mem::take(&mut state.wanted),
            unknown: std::mem::take(&mut state.open).into_values().collect(),
            was_called: state.made > self.journal.handed_calls(),
            denied: std::mem::take(&mut state.denied),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // counters and lists: a panic leaves no inconsistent state that matters
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn called(&self, request: ToolRequest) -> ToolReply {
        let said = |text: String, is_error| ToolReply {
            id: request.id.clone(),
            name: request.name.clone(),
            text,
            is_error,
        };
        let over = || said("refused: this attempt of the run is over".to_owned(), true);
        if request.name == OUTCOMES && !self.outcomes.is_empty() {
            let n = self.journal.take_call();
            let told = said(settled::text_of(&self.outcomes), false);
            let noted = said(format!("{} outcomes", self.outcomes.len()), false);
            let call = uses::planned(&request, Value::Null);
            return self
                .journal
                .called(n, &call, noted, false, Duration::ZERO)
                .await
                .map_or_else(|_| over(), |()| told);
        }
        if let Some(uses) = self.uses.as_ref().filter(|_| request.name == PERMISSION) {
            return self.answer_use(uses, &request).await.unwrap_or_else(|_| over());
        }
        if !self.may_call() {
            let why = format!(
                "refused: the limit of {} tool calls of a run (`max_steps`) is reached. Go on without them",
                self.limits.calls
            );
            return said(why, true);
        }
        self.judged(&request).await.unwrap_or_else(|_| over())
    }

    /// Counts a call. Returns false if the limit is exceeded.
    fn may_call(&self) -> bool {
        let mut state = self.state();
        let may = state.made < self.limits.calls;
        state.made += u64::from(may);
        may
    }

    /// Counts a use that the rules deny. Returns false if the limit of recorded denials is reached.
    fn counts_as_denied(&self, tool: &str) -> bool {
        let mut state = self.state();
        if state.denied.len() < MAX_RECORDED_DENIALS && !state.denied.iter().any(|known| known == tool) {
            state.denied.push(tool.to_owned());
        }
        state.noted += 1;
        state.noted <= MAX_RECORDED_DENIALS
    }

    async fn judged(&self, request: &ToolRequest) -> Result<ToolReply, Break> {
        let n = self.journal.take_call();
        match self.calls.judge(request, None) {
            HandedCall::Answered(call, reply) => {
                self.journal.handed(n, &call, request, false).await?;
                self.journal.called(n, &call, reply.clone(), false, Duration::ZERO).await?;
                Ok(reply)
            }
            HandedCall::Wait(call) => self.wait(n, &call, request).await,
            HandedCall::Make(call) => {
                let place = self.closed.run_until_cancelled(self.places.acquire()).await;
                let Some(Ok(_place)) = place else { return Err(Break::Stopped) };
                let _busy = Busy::begin(self, n, &call);
                let making = async {
                    self.journal.handed(n, &call, request, false).await?;
                    made(&self.caller, &self.journal, n, &call, request, self.limits.one_call).await
                };
                let reply = self.cut.run_until_cancelled(making).await.ok_or(Break::Stopped)??;
                self.state().open.remove(&n);
                Ok(reply)
            }
        }
    }

    /// Requests approval of a call: the program is terminated and never receives the reply here.
    async fn wait(&self, n: usize, call: &PlannedCall, request: &ToolRequest) -> Result<ToolReply, Break> {
        let wanted = self.journal.wanted(n, call, request).await?;
        {
            let mut state = self.state();
            state.wanted.push(wanted);
            state.since.get_or_insert_with(Instant::now);
        }
        self.waits.notify_one();
        self.closed.cancelled().await;
        Err(Break::Stopped)
    }

    /// Answers the program's question whether it may use one of its own tools.
    async fn answer_use(&self, uses: &Uses, asked: &ToolRequest) -> Result<ToolReply, Break> {
        match uses.judge(asked) {
            uses::UseVerdict::Said(reply) => Ok(reply),
            uses::UseVerdict::Denied { call, reply, why } => {
                if self.counts_as_denied(&call.name) {
                    let text = shorten(&format!("denied: {why}"), MAX_REASON_BYTES);
                    let noted =
                        ToolReply { id: reply.id.clone(), name: call.name.clone(), text, is_error: true };
                    let n = self.journal.take_call();
                    self.journal.called(n, &call, noted, false, Duration::ZERO).await?;
                }
                Ok(reply)
            }
            uses::UseVerdict::Granted { n, call, reply } => {
                let noted = ToolReply { text: "allowed, and begun".into(), ..reply.clone() };
                self.journal.called(n, &call, noted, false, Duration::ZERO).await?;
                Ok(reply)
            }
            uses::UseVerdict::Wait { call, request } => {
                self.wait(self.journal.take_call(), &call, &request).await
            }
        }
    }
}

impl ToolServer for HandedServer {
    fn answer(self: Arc<Self>, message: Vec<u8>) -> BoxFuture<'static, Option<String>> {
        Box::pin(async move {
            match mcp::read(&message, &self.shown, env!("CARGO_PKG_VERSION")) {
                McpMessage::Answered(answer) => Some(answer),
                McpMessage::Notification => None,
                McpMessage::Call { id, name, arguments } => {
                    let name = if self.shown.iter().any(|tool| tool.def.name == name) {
                        name
                    } else {
                        shorten(&secret::redact(&name), NAME)
                    };
                    let request = ToolRequest { id: id_text(&id), name, arguments: redacted(arguments) };
                    // a call continues even if nobody waits for it any more; the token is taken before the check, so that no
                    // call is missed
                    let tracked = self.tasks.token();
                    if self.closed.is_cancelled() {
                        return None;
                    }
                    let tools = self.clone();
                    let calling = tokio::spawn(async move {
                        let _tracked = tracked;
                        tools.called(request).await
                    });
                    let reply = calling.await.ok()?;
                    Some(mcp::called(&id, &reply))
                }
            }
        })
    }
}

/// Counts a call as in flight while it lives.
struct Busy<'t>(&'t HandedServer);

impl<'t> Busy<'t> {
    fn begin(tools: &'t HandedServer, n: usize, call: &PlannedCall) -> Self {
        let mut state = tools.state();
        state.in_flight += 1;
        if call.effect == Effect::Effect {
            state.open.insert(n, format!("{} {}", call.name, shorten(&secret::redact(&call.sent), 200)));
        }
        drop(state);
        Self(tools)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight -= 1;
        state.last = Some(Instant::now());
    }
}

fn offer_of_outcomes() -> ToolOffer {
    let about =
        "Says what came of tool calls of yours that were settled while you did not run. Call it first.";
    uses::plain_offer(OUTCOMES, about, json!({"type": "object", "properties": {}}))
}

/// Redacts secrets from the arguments, wherever the program got them: none is recorded or passed to a tool.
fn redacted(arguments: String) -> String {
    let Ok(before) = serde_json::from_str::<Value>(&arguments) else {
        return secret::redact(&arguments).into_owned();
    };
    let mut after = before.clone();
    secret::redact_json(&mut after);
    if after == before { arguments } else { after.to_string() }
}

fn id_text(id: &Value) -> String {
    match id {
        Value::String(text) => shorten(&secret::redact(text), NAME),
        other => other.to_string(),
    }
}
