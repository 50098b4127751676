//! Forwards calls that only the leader can answer, through the database, from the node that a
//! client is connected to. The answer takes the same way. A call that no leader accepts in time is
//! withdrawn, and then provably never happens.
use super::encoded::Encoded;
use crate::domain::{Control, human_duration};
use crate::protocol::{Code, RpcError, rights};
use crate::store::{
    CallAnswer, CallAnswers, FleetLead, ForwardedCall, MAX_ANSWERS, NodeLink, Posted, StoreError,
    UncertainError, Withdrawn,
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot, watch};
use uuid::Uuid;

/// Maximum length of forwarded parameters, in bytes.
const MAX_PARAMS_BYTES: usize = 256 << 10;
/// The same, of a configuration for the fleet.
const LONGEST_CONFIG: usize = 1 << 20;
/// So often answers are looked for where nothing rings.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long a fleet must be without a leader before callers are told so.
const NO_LEADER_AFTER: SignedDuration = SignedDuration::from_secs(8);
/// How long a leader has to accept a call before it is withdrawn.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an accepted call may take. Clients wait for 60 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(50);
/// How long a call that waits for something outside may take.
const OUTSIDE_CALL_TIMEOUT: Duration = Duration::from_secs(3600);
/// Methods that wait for something outside.
const OUTSIDE_METHODS: &[&str] = &["call_tool", "ask_archive", "list_mcp", "test_notification"];
/// How long a question that the records can answer as well waits for the leader.
pub(super) const QUESTION_TIMEOUT: Duration = Duration::from_millis(2500);
/// How long the name of a user is cached.
const USER_NAME_TTL: Duration = Duration::from_secs(60);
/// Methods with a `request_id` of their own.
const WITH_REQUEST_ID: &[&str] = &[
    "start_agent",
    "pause_agent",
    "resume_agent",
    "stop_agent",
    "skip_agent",
    "run_agent",
    "backfill_agent",
    "cancel_run",
];
/// Methods with at-most-once semantics: if a leader may have begun one, the next leader must not repeat it.
const AT_MOST_ONCE: &[&str] = &["call_tool", "ask_archive", "test_notification"];

/// Returns whether a call may be repeated: its `request_id` prevents a second execution, or it is idempotent.
pub(super) fn is_repeatable(method: &str) -> bool {
    !AT_MOST_ONCE.contains(&method)
}

/// How the leader schedules a call. Each kind has its own concurrency limit, so that none waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallKind {
    /// Waits for something outside, for as long as that takes.
    Outside,
    /// Changes nothing; its answer may be long.
    Question,
    /// Anything else; completes in moments.
    Change,
}

impl CallKind {
    pub(super) const ALL: [Self; 3] = [Self::Outside, Self::Question, Self::Change];

    pub(super) fn of(method: &str) -> Self {
        match rights::needed(method) {
            _ if OUTSIDE_METHODS.contains(&method) => Self::Outside,
            Control::None | Control::Read => Self::Question,
            Control::Run | Control::Full => Self::Change,
        }
    }
}

/// Orders the changes of one connection. While it is unknown whether one of them was forwarded, no
/// later one is, since it could overtake the earlier one. While one of them is with a leader, this
/// daemon makes no later ones, even if it leads by now.
#[derive(Debug, Clone, Default)]
pub(super) struct CallOrder {
    unsure: Arc<watch::Sender<usize>>,
    open: Arc<watch::Sender<usize>>,
}

/// Increments a counter for as long as it lives.
struct CountGuard(Arc<watch::Sender<usize>>);

impl CountGuard {
    fn by(counter: &Arc<watch::Sender<usize>>) -> Self {
        counter.send_modify(|count| *count += 1);
        Self(counter.clone())
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl CallOrder {
    fn is_unsure(&self) -> bool {
        *self.unsure.borrow() > 0
    }

    /// Returns when all forwarded changes are answered.
    pub(super) async fn settled(&self) {
        // the sender is held here, so this can't fail
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await.map(drop);
    }
}

/// An answer as stored in the database.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredAnswer {
    Result(Box<RawValue>),
    Error(RpcError),
}

/// Serializes an answer for the database.
pub(super) fn kept(answer: Encoded) -> String {
    let kept = match answer {
        Ok(result) => StoredAnswer::Result(result),
        Err(error) => StoredAnswer::Error(error),
    };
    serde_json::to_string(&kept).expect("answers serialize")
}

fn restored(text: &str) -> Encoded {
    match serde_json::from_str(text) {
        Ok(StoredAnswer::Result(result)) => Ok(result),
        Ok(StoredAnswer::Error(error)) => Err(error),
        Err(error) => {
            Err(RpcError::new(Code::Internal, format!("the answer of the leader can't be read: {error}")))
        }
    }
}

/// Forwards the calls of this node's clients.
pub(super) struct Forwarder {
    link: Arc<NodeLink>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Encoded>>>,
    /// Large answers being fetched.
    fetching: Mutex<BTreeSet<i64>>,
    more: Notify,
}

impl Forwarder {
    pub(super) fn new(link: Arc<NodeLink>) -> Arc<Self> {
        Arc::new(Self { link, waiting: Mutex::default(), fetching: Mutex::default(), more: Notify::new() })
    }

    /// Distributes answers as they arrive; never returns.
    pub(super) async fn run(self: Arc<Self>) {
        let mut bell = self.link.bell();
        loop {
            let is_waiting = !self.waiting().is_empty();
            tokio::select! {
                _ = bell.changed() => {}
                () = self.more.notified() => continue,
                () = tokio::time::sleep(POLL_INTERVAL), if is_waiting => {}
            }
            while !self.waiting().is_empty() {
                match self.take_answers().await {
                    Ok(count) if count < MAX_ANSWERS => break,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "answers of the leader could not be fetched");
                        break;
                    }
                }
            }
        }
    }

    /// Distributes the short answers that have arrived, and returns their number. Large ones are
    /// fetched concurrently.
    async fn take_answers(self: &Arc<Self>) -> Result<usize, StoreError> {
        let CallAnswers { short, large } = self.link.answers().await?;
        let mut done: Vec<i64> = short.iter().map(|answer| answer.id).collect();
        let count = done.len();
        for CallAnswer { key, text, .. } in short {
            self.deliver(&key, &text);
        }
        for (id, key) in large {
            if !self.waiting().contains_key(&key) {
                done.push(id);
            } else if self.fetching().insert(id) {
                tokio::spawn(self.clone().fetch(id, key));
            }
        }
        if !done.is_empty() {
            self.link.forget(done).await?;
        }
        Ok(count)
    }

    /// Fetches a large answer. If that fails, the next poll finds it again.
    async fn fetch(self: Arc<Self>, id: i64, key: String) {
        match self.link.large_answer(id).await {
            Ok(text) => {
                if let Some(text) = text {
                    self.deliver(&key, &text);
                }
                if let Err(error) = self.link.forget(vec![id]).await {
                    tracing::debug!(%error, "an answer could not be removed");
                }
            }
            Err(error) => tracing::debug!(%error, "a large answer could not be fetched"),
        }
        self.fetching().remove(&id);
    }

    fn deliver(&self, key: &str, text: &str) {
        if let Some(sender) = self.waiting().remove(key) {
            let _ = sender.send(restored(text));
        }
    }

    fn fetching(&self) -> std::sync::MutexGuard<'_, BTreeSet<i64>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Encoded>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the name under which the leader records a user of this node.
    pub(super) fn asker(&self, user: &str) -> String {
        format!("{user} at {}", self.link.name())
    }

    /// Forwards a call; when this returns, its place in the order of calls is fixed.
    ///
    /// # Errors
    /// The call is too long, too many calls wait, or the database can't be reached; the call was
    /// not forwarded.
    pub(super) async fn begin(
        self: &Arc<Self>,
        method: &str,
        mut params: Value,
        user: &str,
        order: &CallOrder,
    ) -> Result<Forwarding, RpcError> {
        let kind = CallKind::of(method);
        if kind == CallKind::Change && order.is_unsure() {
            let what = "nothing was asked of the leader: whether it was asked for an earlier change is not known yet";
            return Err(RpcError::new(Code::Refused, what).hint("ask again when the database can be reached"));
        }
        let key = Uuid::new_v4().to_string();
        if params.is_null() {
            params = Value::Object(Default::default());
        }
        let given = params.get("request_id").and_then(Value::as_str).map(str::to_owned);
        let request_id = given.unwrap_or_else(|| key.clone());
        if WITH_REQUEST_ID.contains(&method) && params.get("plan") != Some(&Value::Bool(true)) {
            params["request_id"] = Value::String(request_id.clone());
        }
        let params = params.to_string();
        let longest = if method == "apply_config" { LONGEST_CONFIG } else { MAX_PARAMS_BYTES };
        if params.len() > longest {
            let what =
                format!("`{method}` has parameters of {} bytes, and a node forwards {longest}", params.len());
            return Err(RpcError::new(Code::InvalidParams, what)
                .hint("run it where the leader runs: `bgagent nodes`"));
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(key.clone(), sender);
        self.more.notify_one();
        let call = ForwardedCall {
            key: key.clone(),
            asker: self.asker(user),
            method: method.to_owned(),
            params,
            request_id: Some(request_id.clone()),
        };
        let mut forwarding = Forwarding {
            forwarder: self.clone(),
            receiver,
            began: Instant::now(),
            within: if kind == CallKind::Outside { OUTSIDE_CALL_TIMEOUT } else { ANSWER_TIMEOUT },
            is_taken: false,
            failed: None,
            unsure: None,
            _open: (kind == CallKind::Change).then(|| CountGuard::by(&order.open)),
            key,
            request_id,
        };
        match self.link.post(call, kind == CallKind::Outside).await {
            Ok(Posted::Yes) => Ok(forwarding),
            Ok(Posted::Full) => Err(RpcError::new(Code::Refused, "too many calls wait for the leader")
                .hint("ask again later; `bgagent nodes` says who leads")),
            Err(UncertainError { error, may_be_done }) => {
                let what = format!("nothing was asked of the leader: {error}");
                let refused =
                    RpcError::new(Code::Refused, what).hint("ask again when the database can be reached");
                if !may_be_done {
                    return Err(refused);
                }
                forwarding.failed = Some(refused);
                forwarding.unsure = (kind == CallKind::Change).then(|| CountGuard::by(&order.unsure));
                Ok(forwarding)
            }
        }
    }
}

/// A forwarded call that waits for its answer.
pub(super) struct Forwarding {
    forwarder: Arc<Forwarder>,
    key: String,
    request_id: String,
    receiver: oneshot::Receiver<Encoded>,
    began: Instant,
    within: Duration,
    is_taken: bool,
    /// The error to return once it is certain that the call was not forwarded; set while that is unknown.
    failed: Option<RpcError>,
    /// Blocks later changes while that is unknown.
    unsure: Option<CountGuard>,
    /// Marks a change as open until it is answered.
    _open: Option<CountGuard>,
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.forwarder.waiting().remove(&self.key);
    }
}

impl Forwarding {
    /// Waits for the answer. Dropping this abandons the call.
    pub(super) async fn answer(&mut self) -> Encoded {
        loop {
            // a call that may not have been forwarded blocks later ones
            let pause = if self.unsure.is_some() { Duration::ZERO } else { POLL_INTERVAL };
            tokio::select! {
                biased;
                answer = &mut self.receiver => return answer.unwrap_or_else(|_| Err(self.unknown_outcome())),
                () = tokio::time::sleep(pause) => {}
            }
            let is_over = self.began.elapsed() >= self.within;
            // at the end also for accepted calls: a leader that shuts down gives back those that it
            // has not begun
            if (is_over || !self.is_taken)
                && let Some(why) = self.reason_to_withdraw().await
            {
                let (key, id) = (self.key.clone(), self.request_id.clone());
                let answer = kept(Err(why.clone()));
                match self.forwarder.link.withdraw(key, self.failed.is_none(), id, answer).await {
                    Ok(Withdrawn::Yes) => return self.receiver.try_recv().unwrap_or(Err(why)),
                    Ok(Withdrawn::Taken) => {
                        self.is_taken = true;
                        self.unsure = None;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a call could not be withdrawn");
                        tokio::time::sleep(POLL_INTERVAL).await;
                    }
                }
            }
            if is_over {
                return Err(self.unknown_outcome());
            }
        }
    }

    /// Removes a question that is no longer of interest.
    pub(super) fn give_up(self) {
        let (link, key) = (self.forwarder.link.clone(), self.key.clone());
        tokio::spawn(async move {
            if let Err(error) = link.drop_question(key).await {
                tracing::debug!(%error, "a question could not be removed");
            }
        });
    }

    /// Returns why waiting for the call is pointless; `None` if it is not.
    async fn reason_to_withdraw(&self) -> Option<RpcError> {
        if let Some(failed) = &self.failed {
            return Some(failed.clone());
        }
        let is_late = self.began.elapsed() >= ACCEPT_TIMEOUT;
        let lead = match self.forwarder.link.lead().await {
            Ok(lead) => lead,
            Err(error) if is_late => {
                let what = format!("the database could not be asked for an answer of the leader: {error}");
                return Some(RpcError::new(Code::NoLeader, what).hint("nothing was done; ask again later"));
            }
            Err(_) => return None,
        };
        let hint = "nothing was done, and nothing will be; questions to the records still work, and `bgagent nodes` says who is there";
        let what = match (&lead.leader, without_leader(&lead)) {
            (None, Some(span)) if is_late || span >= NO_LEADER_AFTER => {
                format!("no node has led for {}", human_duration(span))
            }
            (None, None) => "no node of this fleet has ever led".to_owned(),
            (Some(leader), _) if is_late => {
                format!("{leader} leads, and has not accepted this within {} s", ACCEPT_TIMEOUT.as_secs())
            }
            _ => return None,
        };
        Some(RpcError::new(Code::NoLeader, what).hint(hint))
    }

    /// Returns the error for a call that was, or may have been, accepted and is not answered.
    fn unknown_outcome(&self) -> RpcError {
        let what = match self.is_taken {
            true => {
                "the leader has accepted this but has not answered; it, or the next leader, may still do it"
            }
            false => "the database can't be asked whether the leader has accepted this",
        };
        let hint = "check the state once a node leads again, before you repeat it";
        RpcError::new(Code::Refused, what).hint(hint).pending()
    }
}

/// Returns how long no node has led.
fn without_leader(lead: &FleetLead) -> Option<SignedDuration> {
    lead.since.map(|since| lead.now.duration_since(since))
}

/// Returns the name of a user of this machine, cached for a minute.
pub(super) fn user_name(uid: u32) -> String {
    static KNOWN: Mutex<Option<HashMap<u32, (Instant, String)>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let Some((at, name)) = known.get(&uid)
        && at.elapsed() < USER_NAME_TTL
    {
        return name.clone();
    }
    let name = look_up(uid);
    known.insert(uid, (Instant::now(), name.clone()));
    name
}

fn look_up(uid: u32) -> String {
    let all = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = all.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("user {uid}"))
}

#[cfg(test)]
mod tests {
    //! Tests of the order of calls.
    use super::*;

    #[tokio::test]
    async fn what_was_forwarded_is_waited_for() {
        let order = CallOrder::default();
        order.settled().await;
        let open = CountGuard::by(&order.open);
        let again = order.clone();
        let waiting = tokio::spawn(async move { again.settled().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && !order.is_unsure());
        let unsure = CountGuard::by(&order.unsure);
        assert!(order.is_unsure());
        drop((open, unsure));
        waiting.await.unwrap();
        assert!(!order.is_unsure());
    }

    #[test]
    fn calls_are_of_the_kind_that_their_method_is() {
        for (method, kind) in [
            ("call_tool", CallKind::Outside),
            ("list_mcp", CallKind::Outside),
            ("list_agents", CallKind::Question),
            ("list_tools", CallKind::Question),
            ("pause_agent", CallKind::Change),
            ("trust_mcp", CallKind::Change),
            ("clear_memory", CallKind::Change),
            ("one that comes later", CallKind::Change),
        ] {
            assert_eq!(CallKind::of(method), kind, "{method}");
        }
    }
}
