//! The events that report a conversation with a model.
use super::payload::*;
use crate::domain::{
    Finish, LengthUnit, ModelAnswer, RunError, Said, Step, Talk, ToolReply, Usage, shortened,
};

/// Maximum length of a text in an event, in bytes. The full text is in the journal of the run.
const EXCERPT_BYTES: usize = 4096;

impl Talk {
    /// Returns the payloads of its events, in order.
    pub(super) fn told(&self) -> Vec<Payload> {
        match &self.said {
            Said::Query { text, .. } => vec![Payload::UserMessage(Told { text: excerpt(text) })],
            Said::Held { n, model, worst, .. } => vec![Payload::ModelRequest(RequestSent {
                step: *n,
                model: model.clone(),
                tokens_at_most: worst.tokens,
                usd_at_most: worst.usd,
            })],
            Said::Settled { n, step, took_ms, .. } => match &**step {
                Step::Answered { model, answer, used } => answered(*n, model, answer, used, *took_ms),
                Step::Unanswered { model, error, used } => {
                    vec![unanswered(*n, model, error, used, *took_ms)]
                }
                _ => Vec::new(),
            },
            Said::Charged { .. } => Vec::new(),
            Said::Step { n, step, tool, args, took_ms } => match &**step {
                Step::Calling { call, effect } => vec![Payload::ToolCallStarted(ToolCallStarted {
                    step: *n,
                    call: *call as u64,
                    tool: tool.clone(),
                    args: args.clone(),
                    effect: *effect,
                })],
                Step::Called { call, reply, .. } => {
                    vec![called(*n, *call as u64, tool, args, reply, *took_ms)]
                }
                Step::Told { text, thought } => said(*n, text, thought.as_deref()),
                _ => Vec::new(),
            },
            Said::Final { text } => vec![Payload::FinalAnswer(Told { text: excerpt(text) })],
            Said::Resumed => vec![Payload::TaskResumed(TaskResumed { attempt: self.attempt })],
            Said::Waits { wanted } => wanted
                .iter()
                .map(|one| {
                    Payload::ApprovalRequested(ApprovalRequested {
                        approval_id: one.id.clone(),
                        tool: one.tool.clone(),
                        args: excerpt(&one.args),
                        call: one.call as u64,
                    })
                })
                .collect(),
            Said::Decided { id, call, tool, approved, reason, by } => {
                vec![Payload::ApprovalDecided(ApprovalDecided {
                    approval_id: id.clone(),
                    call: *call as u64,
                    tool: tool.clone(),
                    approved: *approved,
                    reason: reason.clone(),
                    by: by.clone(),
                })]
            }
        }
    }
}

fn answered(step: u64, model: &str, answer: &ModelAnswer, used: &Usage, took_ms: u64) -> Vec<Payload> {
    let turn = &answer.turn;
    let finish = match &answer.finish {
        Finish::Stop if turn.calls.is_empty() => Ending::Stop,
        Finish::Stop => Ending::ToolCalls,
        Finish::Length => Ending::Length,
        Finish::Refusal(_) => Ending::Refusal,
        Finish::Unreadable(_) => Ending::UnreadableCall,
    };
    let mut told = vec![Payload::ModelResponse(ResponseCame {
        step,
        model: model.to_owned(),
        finish,
        calls: Some(turn.calls.len() as u64),
        kind: None,
        error: None,
        usage: *used,
        usage_reported: Some(answer.tokens.is_some()),
        duration_ms: took_ms,
    })];
    told.extend(said(step, &turn.text, turn.thought.as_deref()));
    told
}

fn said(step: u64, text: &str, thought: Option<&str>) -> Vec<Payload> {
    let mut told = Vec::new();
    if let Some(thought) = thought.filter(|text| !text.trim().is_empty()) {
        told.push(Payload::AgentThought(SaidInStep { step, text: excerpt(thought) }));
    }
    if !text.trim().is_empty() {
        told.push(Payload::AgentMessage(SaidInStep { step, text: excerpt(text) }));
    }
    told
}

fn unanswered(step: u64, model: &str, error: &RunError, used: &Usage, took_ms: u64) -> Payload {
    Payload::ModelResponse(ResponseCame {
        step,
        model: model.to_owned(),
        finish: Ending::Error,
        calls: None,
        kind: Some(error.kind),
        error: Some(error.message.clone()),
        usage: *used,
        usage_reported: None,
        duration_ms: took_ms,
    })
}

fn called(step: u64, call: u64, tool: &str, args: &str, reply: &ToolReply, duration_ms: u64) -> Payload {
    let (tool, text) = (tool.to_owned(), excerpt(&reply.text));
    if reply.is_error {
        let args = args.to_owned();
        return Payload::ToolCallError(ToolCallError { step, call, tool, args, error: text, duration_ms });
    }
    let bytes = reply.text.len() as u64;
    Payload::ToolCallResult(ToolCallResult { step, call, tool, result: text, bytes, duration_ms })
}

fn excerpt(text: &str) -> String {
    shortened(text, LengthUnit::Bytes, EXCERPT_BYTES).into_owned()
}
