//! The daemon's tools that a program is handed: each call is judged, written down before and after, and made here. A call that
//! needs a person ends the program; when it was decided, it is made before the program goes on, which is told what came of it.
use super::journal::{PastCall, ProgramJournal};
use crate::agent_program::mcp::{self, McpMessage};
use crate::conversation::{CallRules, HandedCall, HandedCalls, PlannedCall};
use crate::domain::{ApprovalWanted, ToolReply, ToolRequest};
use crate::proxy::meter::ToolServer;
use crate::runner::broken::Break;
use crate::runner::calling::Caller;
use crate::runner::output::shorten;
use crate::secret;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Calls of one program that are made at a time. Further ones wait.
const AT_A_TIME: usize = 8;
/// After a call that waits for a person, others that the program makes with it are waited for.
const WITH_IT: Duration = Duration::from_secs(1);
/// Most of the arguments of a call that events and lists show.
const ARGS_SHOWN: usize = 2000;

/// What bounds the calls of one attempt.
pub(super) struct HandedLimits {
    /// Longest time of a call.
    pub(super) one_call: Duration,
    /// `max_steps`: calls of the attempt, those that were refused as well.
    pub(super) calls: u64,
    /// When the attempt must be over.
    pub(super) deadline: Instant,
}

/// The tools of one attempt.
pub(super) struct HandedServer {
    calls: HandedCalls,
    caller: Caller,
    journal: Arc<ProgramJournal>,
    limits: HandedLimits,
    /// The program has ended.
    over: CancellationToken,
    places: Semaphore,
    tasks: TaskTracker,
    state: Mutex<State>,
    /// A call waits for a person.
    waits: Notify,
}

#[derive(Default)]
struct State {
    /// Calls of the attempt.
    made: u64,
    /// Calls that are being made.
    in_flight: usize,
    wanted: Vec<ApprovalWanted>,
    /// Since when one waits for a person.
    since: Option<Instant>,
}

impl HandedServer {
    /// For a program that is about to start.
    pub(super) fn new(
        rules: CallRules,
        caller: Caller,
        journal: Arc<ProgramJournal>,
        limits: HandedLimits,
        over: CancellationToken,
    ) -> Self {
        Self {
            calls: HandedCalls::new(rules),
            caller,
            journal,
            limits,
            over,
            places: Semaphore::new(AT_A_TIME),
            tasks: TaskTracker::new(),
            state: Mutex::default(),
            waits: Notify::new(),
        }
    }

    /// Is a call being made?
    pub(super) fn is_busy(&self) -> bool {
        self.state().in_flight > 0
    }

    /// When the program is to be ended, since a call waits for a person.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.state().since.map(|since| since + WITH_IT)
    }

    /// Returns when a call begins to wait for a person.
    pub(super) async fn waits(&self) {
        self.waits.notified().await;
    }

    /// The program has ended, and nothing is called any more. Returns the calls that wait for a person.
    pub(super) async fn finish(&self) -> Vec<ApprovalWanted> {
        self.over.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        std::mem::take(&mut self.state().wanted)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // counters and a list: a panic leaves nothing half done that matters
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn called(&self, request: ToolRequest) -> ToolReply {
        let refused = |why: String| ToolReply {
            id: request.id.clone(),
            name: request.name.clone(),
            text: why,
            is_error: true,
        };
        if !self.may_call() {
            return refused(format!(
                "refused: {} calls of these tools were made, which is `max_steps` of the agent. Go on without them",
                self.limits.calls
            ));
        }
        let Ok(_place) = self.places.acquire().await else { return refused("the run is over".into()) };
        let _busy = Busy::begin(self);
        match self.judged(&request).await {
            Ok(reply) => reply,
            Err(_) => refused("the run is over: the daemon is going down, or the run was stopped".into()),
        }
    }

    /// Counts a call. False: it is one too many.
    fn may_call(&self) -> bool {
        let mut state = self.state();
        if state.made >= self.limits.calls {
            return false;
        }
        state.made += 1;
        true
    }

    async fn judged(&self, request: &ToolRequest) -> Result<ToolReply, Break> {
        let n = self.journal.take_call();
        match self.calls.judge(request, None) {
            HandedCall::Answered(call, reply) => {
                self.journal.called(n, &call, reply.clone(), false, Duration::ZERO).await?;
                Ok(reply)
            }
            HandedCall::Wait(call) => {
                let wanted = self.journal.wanted(n, &call, request).await?;
                {
                    let mut state = self.state();
                    state.wanted.push(wanted);
                    state.since.get_or_insert_with(Instant::now);
                }
                self.waits.notify_one();
                self.over.cancelled().await;
                Err(Break::Stopped)
            }
            HandedCall::Make(call) => {
                let left = self.limits.deadline.saturating_duration_since(Instant::now());
                let making =
                    made(&self.caller, &self.journal, n, &call, request, self.limits.one_call.min(left));
                let reply = self.over.run_until_cancelled(making).await.ok_or(Break::Stopped)??;
                Ok(reply)
            }
        }
    }
}

impl ToolServer for HandedServer {
    fn answer(self: Arc<Self>, message: Vec<u8>) -> BoxFuture<'static, Option<String>> {
        Box::pin(async move {
            match mcp::read(&message, &self.calls.rules().tools, env!("CARGO_PKG_VERSION")) {
                McpMessage::Answered(answer) => Some(answer),
                McpMessage::Notice => None,
                McpMessage::Call { id, name, arguments } => {
                    let request =
                        ToolRequest { id: id_text(&id), name, arguments: without_secrets(arguments) };
                    // a call goes on, whoever waits for it no more
                    let tools = self.clone();
                    let calling = self.tasks.spawn(async move { tools.called(request).await });
                    let reply = calling.await.ok()?;
                    Some(mcp::called(&id, &reply))
                }
            }
        })
    }
}

/// Counts a call as being made, as long as it lives.
struct Busy<'t>(&'t HandedServer);

impl<'t> Busy<'t> {
    fn begin(tools: &'t HandedServer) -> Self {
        tools.state().in_flight += 1;
        Self(tools)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state().in_flight -= 1;
    }
}

/// Makes a call, and writes it down before and after.
async fn made(
    caller: &Caller,
    journal: &ProgramJournal,
    n: usize,
    call: &PlannedCall,
    request: &ToolRequest,
    bound: Duration,
) -> Result<ToolReply, Break> {
    journal.calling(n, call).await?;
    let began = Instant::now();
    let (reply, untrusted) = caller.call(call, journal.key_of(n), bound).await;
    journal.called(n, call, reply.clone(), untrusted, began.elapsed()).await?;
    Ok(HandedCalls::shown(request, n, &reply, untrusted))
}

/// What came of a call that a person has decided about.
pub(super) struct DecidedCall {
    /// The call, for the program.
    pub(super) call: String,
    /// What it is told.
    pub(super) reply: String,
}

/// Makes the calls that a person has allowed, and answers the others: what the program, which was ended for that, is to be told.
pub(super) async fn settled(
    rules: &CallRules,
    caller: &Caller,
    journal: &ProgramJournal,
    past: &[PastCall],
    one_call: Duration,
) -> Result<Vec<DecidedCall>, Break> {
    let calls = HandedCalls::new(rules.clone());
    let mut all = Vec::with_capacity(past.len());
    for one in past {
        let reply = match &one.reply {
            Some((reply, untrusted)) => HandedCalls::shown(&one.request, one.call, reply, *untrusted),
            None => settle(&calls, caller, journal, one, one_call).await?,
        };
        let call = format!("`{}` {}", one.request.name, shorten(&one.request.arguments, ARGS_SHOWN));
        all.push(DecidedCall { call, reply: reply.text });
    }
    Ok(all)
}

async fn settle(
    calls: &HandedCalls,
    caller: &Caller,
    journal: &ProgramJournal,
    past: &PastCall,
    one_call: Duration,
) -> Result<ToolReply, Break> {
    let PastCall { call: n, request, decided, begun, .. } = past;
    let lost = begun.and_then(|effect| HandedCalls::lost(effect, request));
    // a run that begins anew has withdrawn what it asked
    let decided = decided
        .as_ref()
        .map_or((false, Some("nobody has decided")), |(approved, reason)| (*approved, reason.as_deref()));
    match (calls.judge(request, Some(decided)), lost) {
        (HandedCall::Make(call) | HandedCall::Wait(call) | HandedCall::Answered(call, _), Some(lost)) => {
            journal.called(*n, &call, lost.clone(), false, Duration::ZERO).await?;
            Ok(lost)
        }
        (HandedCall::Make(call), None) => made(caller, journal, *n, &call, request, one_call).await,
        (HandedCall::Answered(call, reply), None) => {
            journal.called(*n, &call, reply.clone(), false, Duration::ZERO).await?;
            Ok(reply)
        }
        // it was decided
        (HandedCall::Wait(_), None) => Err(Break::Stopped),
    }
}

/// Whatever a program says, and however it came to know it: no secret is written down or handed to a tool.
fn without_secrets(arguments: String) -> String {
    let Ok(before) = serde_json::from_str::<Value>(&arguments) else {
        return secret::redact(&arguments).into_owned();
    };
    let mut after = before.clone();
    secret::redact_json(&mut after);
    if after == before { arguments } else { after.to_string() }
}

fn id_text(id: &Value) -> String {
    match id {
        Value::String(text) => shorten(text, 200),
        other => other.to_string(),
    }
}
