//! Tool calls by an agent program. No conversation on this side makes them, but the same rules apply: each is
//! judged like the call of a model that has read untrusted and private data, since what a program reads by itself
//! is unknown.
use super::brief::{CallRules, Next, PlannedCall};
use super::calls::Turn;
use super::guard::DataRead;
use super::reply::{lost_in_flight, shown};
use crate::domain::{Effect, ModelTurn, ToolReply, ToolRequest};

/// Judges the calls of one run.
#[derive(Clone, Debug)]
pub struct HandedCalls {
    rules: CallRules,
}

/// What to do about a call.
#[derive(Clone, Debug, PartialEq)]
pub enum HandedCall {
    /// Make it.
    Make(PlannedCall),
    /// Let a person decide.
    Wait(PlannedCall),
    /// Don't make it: the planned call, and the reply for the program.
    Answered(PlannedCall, ToolReply),
}

impl HandedCalls {
    /// Returns a judge with these rules.
    pub fn new(rules: CallRules) -> Self {
        Self { rules }
    }

    /// Returns the rules.
    pub fn rules(&self) -> &CallRules {
        &self.rules
    }

    /// Judges a call. `decided`: the decision of a person, and the reason.
    pub fn judge(&self, request: &ToolRequest, decided: Option<(bool, Option<&str>)>) -> HandedCall {
        let read = DataRead { untrusted: true, private: true };
        let said = ModelTurn { calls: vec![request.clone()], ..ModelTurn::default() };
        let mut turn = Turn::open(0, &said, &self.rules.tools, None);
        if let Some((approved, reason)) = decided {
            turn.decided(0, approved, reason);
        }
        let (planned, waits) = match turn.next(&self.rules, read) {
            Next::Approve(planned) => (planned, true),
            Next::Call(planned) => (planned, false),
            Next::Ask { .. } | Next::Finish(_) => (Vec::new(), false),
        };
        // a turn with one open call plans exactly that call
        let planned = planned.into_iter().next();
        let mut call =
            planned.unwrap_or_else(|| turn.planned(0, Some("this call can't be made".into()), false));
        match call.answered.take() {
            Some(reply) => HandedCall::Answered(call, reply),
            None if waits => HandedCall::Wait(call),
            None => HandedCall::Make(call),
        }
    }

    /// Returns the reply for a call that was in flight when its attempt ended; `None` if it may simply be repeated.
    pub fn lost(effect: Effect, request: &ToolRequest) -> Option<ToolReply> {
        (effect == Effect::Effect).then(|| ToolReply {
            id: request.id.clone(),
            name: request.name.clone(),
            text: lost_in_flight(),
            is_error: true,
        })
    }

    /// Returns a reply in the form that the program reads: bounded, and marked if it comes from outside. `place`
    /// distinguishes the calls of a run.
    pub fn shown(request: &ToolRequest, place: usize, reply: &ToolReply, untrusted: bool) -> ToolReply {
        shown(&request.id, &request.name, &place.to_string(), reply, untrusted)
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what a program may call.
    use super::*;
    use crate::domain::{Approval, Outward, ToolDef, ToolOffer};
    use serde_json::json;

    fn offer(name: &str, effect: Effect, outward: Outward) -> ToolOffer {
        ToolOffer {
            def: ToolDef {
                name: name.into(),
                description: "does it".into(),
                schema: json!({"type": "object", "properties": {"n": {"type": "integer"}}}),
            },
            effect,
            reads_when: None,
            untrusted: false,
            private: false,
            outward,
            server: None,
        }
    }

    fn request(name: &str, arguments: &str) -> ToolRequest {
        ToolRequest { id: "1".into(), name: name.into(), arguments: arguments.into() }
    }

    fn rules() -> CallRules {
        CallRules {
            agent: "a".into(),
            tools: vec![
                offer("look", Effect::Read, Outward::Nothing),
                offer("change", Effect::Effect, Outward::Nothing),
                offer("post", Effect::Effect, Outward::Nothing),
            ],
            sinks: vec!["post".into()],
            approve: vec!["post".into()],
            approval: Approval::Wait,
            named: Vec::new(),
        }
    }

    #[test]
    fn what_changes_something_needs_a_sink_whatever_the_program_has_read() {
        let calls = HandedCalls::new(rules());
        assert!(matches!(calls.judge(&request("look", "{}"), None), HandedCall::Make(call) if call.tainted));
        let HandedCall::Answered(_, reply) = calls.judge(&request("change", "{}"), None) else {
            panic!("it is refused")
        };
        assert!(reply.is_error && reply.text.contains("sinks = [\"post\", \"change\"]"), "{}", reply.text);
        for (name, arguments, says) in [
            ("lock", "{}", "did you mean `look`?"),
            ("look", "{", "not valid JSON"),
            ("look", "{\"n\": \"x\"}", "`n`"),
        ] {
            let HandedCall::Answered(_, reply) = calls.judge(&request(name, arguments), None) else {
                panic!("{name} {arguments} is refused")
            };
            assert!(reply.is_error && reply.text.contains(says), "{}", reply.text);
        }
    }

    #[test]
    fn a_call_waits_until_a_person_has_decided() {
        let calls = HandedCalls::new(rules());
        let post = request("post", "{\"n\": 1}");
        assert!(matches!(calls.judge(&post, None), HandedCall::Wait(call) if call.args == json!({"n": 1})));
        assert!(matches!(calls.judge(&post, Some((true, None))), HandedCall::Make(_)));
        let HandedCall::Answered(_, reply) = calls.judge(&post, Some((false, Some("not today")))) else {
            panic!("it is denied")
        };
        assert!(reply.text.starts_with("denied") && reply.text.ends_with("not today"), "{}", reply.text);
        let denies = HandedCalls::new(CallRules { approval: Approval::Deny, ..rules() });
        assert!(matches!(denies.judge(&post, None), HandedCall::Answered(..)));
    }
}
