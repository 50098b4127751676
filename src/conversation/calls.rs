//! The calls of one turn: which are valid, which are allowed, in which order they run, and their state.
use super::brief::{CallRules, Next, PlannedCall};
use super::guard::{self, DataRead, Valid};
use super::reply::{OUTCOME_UNKNOWN, lost_in_flight, short, shown};
use crate::domain::{
    Approval, ChatMessage, Effect, ErrorKind, ModelTurn, RunError, ToolOffer, ToolReply, ToolRequest,
    fits_schema, glob, nearest,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Maximum number of calls of a turn that are considered.
const MAX_CALLS: usize = 32;

/// Consecutive turns without a valid call that end the run.
pub(super) const BAD_TURNS: u32 = 3;

/// Consecutive equal calls that end the run.
const MAX_EQUAL_CALLS: u32 = 3;

/// A turn of the model with calls that are not all done.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    /// Index among the turns with calls.
    number: u64,
    said: ModelTurn,
    calls: Vec<Call>,
    /// Number of calls the model sent, if too many.
    too_many: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Call {
    checked: Result<Valid, String>,
    /// It equals an earlier call of its turn.
    repeats: bool,
    /// Effect of a call that was begun.
    begun: Option<Effect>,
    decided: Option<Decided>,
    reply: Option<ToolReply>,
}

#[derive(Clone, Debug, PartialEq)]
struct Decided {
    approved: bool,
    reason: Option<String>,
}

/// The policy for an open call.
enum Policy {
    Make,
    Wait,
    Answer(String),
}

/// Returns a key that is equal for equal calls.
fn key_of(request: &ToolRequest, valid: &Valid) -> String {
    format!("{} {}", request.name, canonical_json(&valid.args))
}

/// Rejects duplicate calls within a turn, which small models tend to send: the first one is made.
fn reject_duplicates(requests: &[ToolRequest], calls: &mut [Call]) {
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for (at, (request, call)) in requests.iter().zip(calls).enumerate() {
        let Ok(valid) = &call.checked else { continue };
        let earlier = *first.entry(key_of(request, valid)).or_insert(at);
        if earlier < at {
            call.repeats = true;
            call.checked = Err(format!(
                "the same call as call {} of this answer: it is made once, see its result",
                earlier + 1
            ));
        }
    }
}

/// The newest run of equal calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Repeats {
    last: String,
    times: u32,
}

impl Turn {
    /// Opens a turn as the model sent it. `cut_off`: its token limit, if it was cut off there.
    pub(super) fn open(number: u64, turn: &ModelTurn, tools: &[ToolOffer], cut_off: Option<u64>) -> Self {
        let all = turn.calls.len();
        let kept = &turn.calls[..all.min(MAX_CALLS)];
        let calls = kept.iter().enumerate().map(|(at, request)| {
            let cut_off = cut_off.filter(|_| at + 1 == all);
            let checked = check(request, tools, cut_off);
            Call { checked, repeats: false, begun: None, decided: None, reply: None }
        });
        let mut calls: Vec<Call> = calls.collect();
        reject_duplicates(kept, &mut calls);
        let said = ModelTurn { calls: kept.to_vec(), ..turn.clone() };
        Self { number, said, calls, too_many: (all > MAX_CALLS).then_some(all) }
    }

    pub(super) fn has_valid_call(&self) -> bool {
        self.calls.iter().any(|call| call.checked.is_ok())
    }

    /// Returns the error for a model that does not produce a valid call.
    pub(super) fn bad_calls_error(&self) -> RunError {
        let why = self.calls.iter().find_map(|call| call.checked.as_ref().err());
        let why = short(why.map_or("", String::as_str), 300);
        let message =
            format!("bad tool calls: {BAD_TURNS} answers in a row without one valid call; at last: {why}");
        RunError::new(ErrorKind::Tool, message)
    }

    /// Counts consecutive equal calls; returns the error if there are too many. Invalid calls are counted by turn.
    pub(super) fn check_for_loop(&self, repeats: &mut Repeats) -> Option<RunError> {
        for (request, call) in self.said.calls.iter().zip(&self.calls) {
            if call.repeats {
                continue;
            }
            let Ok(valid) = &call.checked else {
                *repeats = Repeats::default();
                continue;
            };
            let key = key_of(request, valid);
            repeats.times = if repeats.last == key { repeats.times + 1 } else { 1 };
            repeats.last = key;
            if repeats.times == MAX_EQUAL_CALLS {
                let message = format!(
                    "tool_loop: {MAX_EQUAL_CALLS} calls in a row of `{}` with the same arguments {}",
                    request.name,
                    short(&valid.args.to_string(), 200)
                );
                return Some(RunError::new(ErrorKind::StepLimit, message));
            }
        }
        None
    }

    /// Returns what to do about the open calls. If all only read, they run together; otherwise one by one in the
    /// model's order, since each may affect those after it.
    pub(super) fn next(&self, rules: &CallRules, read: DataRead) -> Next {
        let (mut plan, mut open) = (Vec::new(), Vec::new());
        for (at, call) in self.calls.iter().enumerate().filter(|(_, call)| call.reply.is_none()) {
            match self.policy(at, call, rules, read) {
                Policy::Answer(text) => plan.push(self.planned(at, Some(text), false)),
                Policy::Make => open.push((at, true)),
                Policy::Wait => open.push((at, false)),
            }
        }
        let parallel = open.iter().all(|(at, _)| self.effect(*at) == Effect::Read);
        let made: Vec<usize> = if parallel {
            open.iter().filter(|(_, make)| *make).map(|(at, _)| *at).collect()
        } else {
            open.iter().take(1).filter(|(_, make)| *make).map(|(at, _)| *at).collect()
        };
        if plan.is_empty() && made.is_empty() {
            let waiting = open.iter().take_while(|(_, make)| !make);
            return Next::Approve(waiting.map(|(at, _)| self.planned(*at, None, false)).collect());
        }
        let tainted = read.untrusted || rules.is_described_by_others();
        plan.extend(made.into_iter().map(|at| PlannedCall { tainted, ..self.planned(at, None, parallel) }));
        plan.sort_by_key(|call| call.call);
        Next::Call(plan)
    }

    /// Returns how many of these calls are made for the first time.
    pub(super) fn new_steps(&self, plan: &[PlannedCall]) -> u64 {
        let made = plan.iter().filter(|call| call.answered.is_none());
        made.filter(|call| self.calls[call.call].begun.is_none()).count() as u64
    }

    /// Records the start of a call; returns whether it is the first.
    pub(super) fn calling(&mut self, at: usize, effect: Effect) -> bool {
        match self.calls.get_mut(at).filter(|call| call.reply.is_none()) {
            Some(call) => call.begun.replace(effect).is_none(),
            None => false,
        }
    }

    pub(super) fn decided(&mut self, at: usize, approved: bool, reason: Option<&str>) {
        if let Some(call) = self.calls.get_mut(at).filter(|call| call.decided.is_none()) {
            call.decided = Some(Decided { approved, reason: reason.map(str::to_owned) });
        }
    }

    /// Records the result of a call. Returns `None` if it was recorded before or does not exist; otherwise the
    /// call's name if its outcome is unknown.
    pub(super) fn called(&mut self, at: usize, reply: &ToolReply, untrusted: bool) -> Option<Option<String>> {
        let call = self.calls.get(at).filter(|call| call.reply.is_none())?;
        let lost = call.begun.is_some_and(|effect| effect == Effect::Effect)
            && reply.is_error
            && reply.text.starts_with(OUTCOME_UNKNOWN);
        let unknown = lost.then(|| self.named(at));
        let request = &self.said.calls[at];
        let place = format!("{}.{at}", self.number);
        let reply = shown(&request.id, &request.name, &place, reply, untrusted);
        self.calls[at].reply = Some(reply);
        Some(unknown)
    }

    /// Returns whether this call returned private data. A call that policy answered did not.
    pub(super) fn gave_private(&self, at: usize) -> bool {
        self.calls.get(at).is_some_and(|call| {
            let is_private = call.checked.as_ref().is_ok_and(|valid| valid.private);
            is_private && (call.begun.is_some() || call.reply.as_ref().is_some_and(|reply| !reply.is_error))
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.calls.iter().all(|call| call.reply.is_some())
    }

    /// Returns the calls that were begun, must not be repeated, and have no reply.
    pub(super) fn outcomes_unknown(&self) -> impl Iterator<Item = String> {
        let open = self.calls.iter().enumerate().filter(|(_, call)| call.reply.is_none());
        open.filter(|(_, call)| call.begun == Some(Effect::Effect)).map(|(at, _)| self.named(at))
    }

    /// Returns the messages to send back: the turn and its replies.
    pub(super) fn close(self) -> [ChatMessage; 2] {
        let mut replies: Vec<ToolReply> = self.calls.into_iter().filter_map(|call| call.reply).collect();
        if let (Some(all), Some(last)) = (self.too_many, replies.last_mut()) {
            let note = format!(
                "\n[too many calls in one answer ({all}); {MAX_CALLS} are the most: the others were not made]"
            );
            last.text.push_str(&note);
        }
        [ChatMessage::Model(self.said), ChatMessage::Tools { replies }]
    }

    fn effect(&self, at: usize) -> Effect {
        self.calls[at].checked.as_ref().map_or(Effect::Read, |valid| valid.effect)
    }

    fn named(&self, at: usize) -> String {
        let request = &self.said.calls[at];
        format!("{} {}", request.name, short(&request.arguments, 200)).trim_end().to_owned()
    }

    pub(super) fn planned(&self, at: usize, answered: Option<String>, parallel: bool) -> PlannedCall {
        let request = &self.said.calls[at];
        let valid = self.calls[at].checked.as_ref().ok();
        let reply =
            |text| ToolReply { id: request.id.clone(), name: request.name.clone(), text, is_error: true };
        PlannedCall {
            call: at,
            id: request.id.clone(),
            name: request.name.clone(),
            args: valid.map_or(Value::Null, |valid| valid.args.clone()),
            sent: request.arguments.clone(),
            effect: self.effect(at),
            untrusted: valid.is_some_and(|valid| valid.untrusted),
            tainted: false,
            answered: answered.map(reply),
            parallel,
        }
    }

    fn policy(&self, at: usize, call: &Call, rules: &CallRules, read: DataRead) -> Policy {
        if call.begun == Some(Effect::Effect) {
            return Policy::Answer(lost_in_flight());
        }
        let valid = match &call.checked {
            Ok(valid) => valid,
            Err(error) => return Policy::Answer(error.clone()),
        };
        let name = &self.said.calls[at].name;
        if let Some(why) = guard::refusal(rules, name, valid, read) {
            return Policy::Answer(why);
        }
        if !matches(&rules.approve, name) {
            return Policy::Make;
        }
        match (&call.decided, rules.approval) {
            (Some(Decided { approved: true, .. }), _) => Policy::Make,
            (Some(Decided { approved: false, reason }), _) => Policy::Answer(match reason {
                Some(reason) => format!("denied: this call of `{name}` was not allowed: {reason}"),
                None => format!("denied: this call of `{name}` was not allowed"),
            }),
            (None, Approval::Wait) => Policy::Wait,
            (None, Approval::Deny) => Policy::Answer(format!(
                "denied: a call of `{name}` needs a person, and nobody is asked here (`approval = \"deny\"`). Go \
                 on without it; say in your answer what you would have done."
            )),
        }
    }
}

/// Validates a call as far as possible. An error text is for the model.
fn check(request: &ToolRequest, tools: &[ToolOffer], cut_off: Option<u64>) -> Result<Valid, String> {
    let Some(tool) = tools.iter().find(|tool| tool.def.name == request.name) else {
        return Err(no_such_tool(&request.name, tools));
    };
    // Arguments that are complete JSON may still be truncated: some providers close what was cut off.
    if let Some(most) = cut_off {
        return Err(format!(
            "not called: your answer was cut off at {most} tokens, and this call may not be all that you wanted to \
             say. Call it again, in a shorter answer."
        ));
    }
    let text = request.arguments.trim();
    let args = match serde_json::from_str(text) {
        _ if text.is_empty() => Value::Object(Map::new()),
        Ok(Value::Null) => Value::Object(Map::new()),
        Ok(args) => args,
        Err(error) => return Err(format!("arguments are not valid JSON: {error}")),
    };
    fits_schema("the arguments", &tool.def.schema, &args)?;
    Ok(Valid {
        effect: tool.effect_of(&args),
        untrusted: tool.untrusted,
        private: tool.private,
        leaving: tool.outward.of(&args),
        server: tool.server.clone(),
        args,
    })
}

fn no_such_tool(name: &str, tools: &[ToolOffer]) -> String {
    let name = short(name, 64);
    let names = || tools.iter().map(|tool| tool.def.name.as_str());
    let near = nearest(&name, names()).map(|near| format!("; did you mean `{near}`?"));
    let all: Vec<&str> = names().collect();
    let all = if all.is_empty() {
        "there are no tools".into()
    } else {
        format!("the tools are {}", all.join(", "))
    };
    format!("there is no tool `{name}`{} {all}", near.unwrap_or_else(|| ";".into()))
}

fn matches(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| glob(pattern, name))
}

/// Returns JSON with sorted keys, so that equal arguments give equal texts.
fn canonical_json(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries = entries
                .iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical_json(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(canonical_json).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
