//! The events that tell of a conversation with a model (section 8 of the contract).
use super::{ErrorKind, EventType, Finish, ModelAnswer, RunError, Said, Step, Talk, ToolReply, Usage};
use serde_json::{Value, json};

/// Most of a text that an event carries. The whole is in the journal of the run.
const EXCERPT: usize = 4096;

impl Talk {
    /// What is told of it, in order.
    pub(super) fn events(&self) -> Vec<(EventType, Value)> {
        match &self.said {
            Said::Query { text, .. } => vec![(EventType::UserMessage, json!({"text": excerpt(text)}))],
            Said::Held { n, model, worst, .. } => vec![(
                EventType::ModelRequest,
                json!({"step": n, "model": model, "tokens_at_most": worst.tokens, "usd_at_most": worst.usd}),
            )],
            Said::Settled { n, step, took_ms, .. } => match &**step {
                Step::Answered { model, answer, used } => answered(*n, model, answer, used, *took_ms),
                Step::Unanswered { model, error, used } => unanswered(*n, model, error, used, *took_ms),
                _ => Vec::new(),
            },
            Said::Charged { .. } => Vec::new(),
            Said::Step { n, step, tool, args, took_ms } => match &**step {
                Step::Calling { call, effect } => vec![(
                    EventType::ToolCallStarted,
                    json!({"step": n, "call": call, "tool": tool, "args": args, "effect": effect}),
                )],
                Step::Called { call, reply, .. } => vec![called(*n, *call, tool, args, reply, *took_ms)],
                _ => Vec::new(),
            },
            Said::Final { text } => vec![(EventType::FinalAnswer, json!({"text": excerpt(text)}))],
            Said::Resumed => vec![(EventType::TaskResumed, json!({"attempt": self.attempt}))],
            Said::Waits { wanted } => wanted
                .iter()
                .map(|one| {
                    let payload =
                        json!({"approval_id": one.id, "tool": one.tool, "args": excerpt(&one.args), "call": one.call});
                    (EventType::ApprovalRequested, payload)
                })
                .collect(),
            Said::Decided { id, call, tool, approved, reason } => vec![(
                EventType::ApprovalDecided,
                json!({"approval_id": id, "call": call, "tool": tool, "approved": approved, "reason": reason}),
            )],
        }
    }
}

fn answered(
    n: u64,
    model: &str,
    answer: &ModelAnswer,
    used: &Usage,
    took_ms: u64,
) -> Vec<(EventType, Value)> {
    let turn = &answer.turn;
    let finish = match &answer.finish {
        Finish::Stop if turn.calls.is_empty() => "stop",
        Finish::Stop => "tool_calls",
        Finish::Length => "length",
        Finish::Refusal(_) => "refusal",
        Finish::Unreadable(_) => "unreadable_call",
    };
    let mut told = vec![(
        EventType::ModelResponse,
        json!({
            "step": n, "model": model, "finish": finish, "calls": turn.calls.len(), "usage": used,
            "usage_reported": answer.tokens.is_some(), "duration_ms": took_ms,
        }),
    )];
    if let Some(thought) = turn.thought.as_deref().filter(|text| !text.trim().is_empty()) {
        told.push((EventType::AgentThought, json!({"step": n, "text": excerpt(thought)})));
    }
    if !turn.text.trim().is_empty() {
        told.push((EventType::AgentMessage, json!({"step": n, "text": excerpt(&turn.text)})));
    }
    told
}

fn unanswered(n: u64, model: &str, error: &RunError, used: &Usage, took_ms: u64) -> Vec<(EventType, Value)> {
    let kind: ErrorKind = error.kind;
    vec![(
        EventType::ModelResponse,
        json!({
            "step": n, "model": model, "finish": "error", "kind": kind, "error": error.message, "usage": used,
            "duration_ms": took_ms,
        }),
    )]
}

fn called(
    n: u64,
    call: usize,
    tool: &str,
    args: &str,
    reply: &ToolReply,
    took_ms: u64,
) -> (EventType, Value) {
    if reply.is_error {
        let payload = json!({
            "step": n, "call": call, "tool": tool, "args": args, "error": excerpt(&reply.text), "duration_ms": took_ms,
        });
        return (EventType::ToolCallError, payload);
    }
    let payload = json!({
        "step": n, "call": call, "tool": tool, "result": excerpt(&reply.text), "bytes": reply.text.len(),
        "duration_ms": took_ms,
    });
    (EventType::ToolCallResult, payload)
}

fn excerpt(text: &str) -> String {
    if text.len() <= EXCERPT {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(EXCERPT)])
}
