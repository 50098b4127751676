//! Whether a program may use its own tools: it asks before each use, and is answered by its agent's `permissions` or by a
//! person. An approval is valid once, for exactly that use.
use crate::agent_program::mcp::is_of_server;
use crate::agent_program::permission::{Permit, is_same_use, permit};
use crate::conversation::PlannedCall;
use crate::domain::{
    Effect, Outward, PERMISSION, Permissions, Preset, ToolDef, ToolOffer, ToolReply, ToolRequest,
};
use crate::runner::broken::Break;
use crate::runner::output::shorten;
use crate::runner::program::journal::{PastCall, ProgramJournal};
use crate::secret;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Maximum length of a tool name or message id, in bytes.
pub(super) const NAME: usize = 64;

/// An approved use that has not happened yet.
#[derive(Clone)]
pub(in crate::runner::program) struct GrantedUse {
    /// Its number in the journal.
    n: usize,
    /// The use, as in the question.
    request: ToolRequest,
}

/// Judges the uses of one attempt.
pub(in crate::runner::program) struct Uses {
    permissions: Permissions,
    preset: &'static Preset,
    granted: Mutex<Vec<GrantedUse>>,
}

/// The verdict on a use.
pub(super) enum UseVerdict {
    /// It is answered.
    Said(ToolReply),
    /// The rules deny it: recorded here, since the program's own report of it is not reliable.
    Denied {
        call: Box<PlannedCall>,
        /// The reply to the program.
        reply: ToolReply,
        why: String,
    },
    /// It was approved: to be recorded first.
    Granted {
        /// Its number in the journal.
        n: usize,
        call: Box<PlannedCall>,
        /// The reply to the program.
        reply: ToolReply,
    },
    /// It needs approval.
    Wait {
        call: Box<PlannedCall>,
        /// The same use, as recorded.
        request: ToolRequest,
    },
}

impl Uses {
    /// Creates the judge from these permissions, for a program of this preset.
    pub(in crate::runner::program) fn new(
        permissions: Permissions,
        preset: &'static Preset,
        granted: Vec<GrantedUse>,
    ) -> Self {
        Self { permissions, preset, granted: Mutex::new(granted) }
    }

    pub(super) fn judge(&self, asked: &ToolRequest) -> UseVerdict {
        let told = |behavior: Value| UseVerdict::Said(reply_of(asked, behavior));
        let question: Value = serde_json::from_str(&asked.arguments).unwrap_or_default();
        let (Some(tool), Some(input)) = (question["tool_name"].as_str(), question.get("input")) else {
            return told(denied("a question names the tool and its input: `tool_name`, `input`"));
        };
        // the daemon's tools are judged when they are called
        if is_of_server(tool) {
            return told(allowed(input));
        }
        match permit(&self.permissions, self.preset, tool, input) {
            Permit::Allow => told(allowed(input)),
            Permit::Deny(why) => UseVerdict::Denied {
                call: Box::new(planned(&self.use_of(asked, tool, input), input.clone())),
                reply: reply_of(asked, denied(&why)),
                why,
            },
            Permit::Ask => {
                let request = self.use_of(asked, tool, input);
                let name = request.name.clone();
                let call = Box::new(planned(&request, input.clone()));
                match self.take(&name, input) {
                    Some(n) => UseVerdict::Granted {
                        n,
                        call,
                        reply: ToolReply {
                            id: asked.id.clone(),
                            name,
                            text: allowed(input).to_string(),
                            is_error: false,
                        },
                    },
                    None => UseVerdict::Wait { call, request },
                }
            }
        }
    }

    /// Returns the use that a question is about, as it is recorded.
    fn use_of(&self, asked: &ToolRequest, tool: &str, input: &Value) -> ToolRequest {
        let name = format!("{}:{}", self.preset.name, shorten(&secret::redact(tool), NAME));
        ToolRequest { id: asked.id.clone(), name, arguments: input.to_string() }
    }

    /// Consumes a grant: it is valid once.
    fn take(&self, name: &str, input: &Value) -> Option<usize> {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |one: &GrantedUse| {
            let known: Value = serde_json::from_str(&one.request.arguments).unwrap_or_default();
            one.request.name == name && is_same_use(&known, input)
        };
        let at = granted.iter().position(is_it)?;
        Some(granted.swap_remove(at).n)
    }
}

fn reply_of(asked: &ToolRequest, behavior: Value) -> ToolReply {
    ToolReply { id: asked.id.clone(), name: asked.name.clone(), text: behavior.to_string(), is_error: false }
}

/// Returns the tool through which a program asks.
pub(super) fn offer() -> ToolOffer {
    let about =
        "Says whether a tool may be used. The program asks it by itself; there is no need to call it.";
    let schema = json!({
        "type": "object",
        "properties": {"tool_name": {"type": "string"}, "input": {"type": "object"}, "tool_use_id": {"type": "string"}},
        "required": ["tool_name", "input"],
    });
    plain_offer(PERMISSION, about, schema)
}

/// Returns a tool without effect.
pub(super) fn plain_offer(name: &str, about: &str, schema: Value) -> ToolOffer {
    ToolOffer {
        def: ToolDef { name: name.to_owned(), description: about.to_owned(), schema },
        effect: Effect::Read,
        reads_when: None,
        untrusted: false,
        private: false,
        outward: Outward::Nothing,
        server: None,
    }
}

/// Returns whether the request was about a use of the program's own tools. No handed tool has such a name.
pub(super) fn is_use(request: &ToolRequest) -> bool {
    request.name.contains(':')
}

/// Records the reply to a use that was decided by a person. One that was allowed goes to `granted`: the program makes it
/// itself.
pub(super) async fn settle(
    journal: &ProgramJournal,
    past: &PastCall,
    granted: &mut Vec<GrantedUse>,
) -> Result<ToolReply, Break> {
    let PastCall { call: n, request, decided, .. } = past;
    let text = match decided {
        Some((true, _)) => {
            granted.push(GrantedUse { n: *n, request: request.clone() });
            "allowed, once: do it now, exactly like that".to_owned()
        }
        Some((false, Some(reason))) => format!("denied: this was not allowed: {reason}"),
        Some((false, None)) => "denied: this was not allowed".to_owned(),
        None => "denied: nobody was asked".to_owned(),
    };
    let is_error = !matches!(decided, Some((true, _)));
    let reply = ToolReply { id: request.id.clone(), name: request.name.clone(), text, is_error };
    if is_error {
        let input = serde_json::from_str(&request.arguments).unwrap_or_default();
        journal.called(*n, &planned(request, input), reply.clone(), false, Duration::ZERO).await?;
    }
    Ok(reply)
}

pub(super) fn planned(request: &ToolRequest, input: Value) -> PlannedCall {
    PlannedCall {
        call: 0,
        id: request.id.clone(),
        name: request.name.clone(),
        args: input,
        sent: request.arguments.clone(),
        effect: Effect::Effect,
        untrusted: false,
        tainted: true,
        answered: None,
        parallel: false,
    }
}

/// The format of Claude Code's `--permission-prompt-tool`.
fn allowed(input: &Value) -> Value {
    json!({"behavior": "allow", "updatedInput": input})
}

fn denied(why: &str) -> Value {
    json!({"behavior": "deny", "message": why})
}

#[cfg(test)]
mod tests {
    //! Tests of questions.
    use super::*;
    use crate::domain::{PermissionDefault, PermissionRule, RunnerPreset};

    fn uses(granted: Vec<GrantedUse>) -> Uses {
        let rules =
            |words: &[&str]| words.iter().map(|word| PermissionRule::parse(word).expect("a rule")).collect();
        let permissions = Permissions {
            default: PermissionDefault::Deny,
            allow: rules(&["execute:ls"]),
            ask: rules(&["execute:git push*"]),
        };
        Uses::new(permissions, Preset::of(RunnerPreset::Claude), granted)
    }

    fn question(tool: &str, input: Value) -> ToolRequest {
        let arguments = json!({"tool_name": tool, "input": input}).to_string();
        ToolRequest { id: "1".into(), name: PERMISSION.into(), arguments }
    }

    fn behavior(judged: UseVerdict) -> Value {
        match judged {
            UseVerdict::Said(reply) | UseVerdict::Denied { reply, .. } => {
                serde_json::from_str(&reply.text).expect("JSON")
            }
            _ => panic!("it is not answered at once"),
        }
    }

    #[test]
    fn a_question_is_answered_in_the_words_of_the_program() {
        let uses = uses(Vec::new());
        let may = |tool: &str, input| behavior(uses.judge(&question(tool, input)));
        let ls = json!({"command": "ls"});
        assert_eq!(may("Bash", ls.clone()), json!({"behavior": "allow", "updatedInput": ls}));
        assert_eq!(may("Bash", json!({"command": "rm x"}))["behavior"], "deny");
        assert_eq!(may("mcp__bgagent__report", json!({}))["behavior"], "allow");
        let UseVerdict::Denied { call, why, .. } =
            uses.judge(&question("Bash", json!({"command": "rm x", "k": "v"})))
        else {
            panic!("what the rules deny is to be written down")
        };
        assert_eq!((call.name.as_str(), why.contains("rm x")), ("claude:Bash", true), "{why}");
        let UseVerdict::Denied { call, .. } = uses.judge(&question(&"x".repeat(5_000_000), json!({}))) else {
            panic!("an unknown tool is denied")
        };
        assert!(call.name.len() < 200, "{}", call.name.len());
        let odd = ToolRequest { arguments: "[]".into(), ..question("Bash", Value::Null) };
        assert_eq!(behavior(uses.judge(&odd))["behavior"], "deny");
    }

    #[test]
    fn what_a_person_has_allowed_is_allowed_once_and_to_the_letter() {
        let push = json!({"command": "git push"});
        let request = ToolRequest { id: "9".into(), name: "claude:Bash".into(), arguments: push.to_string() };
        let uses = uses(vec![GrantedUse { n: 4, request }]);
        let other = uses.judge(&question("Bash", json!({"command": "git push --force"})));
        assert!(matches!(other, UseVerdict::Wait { request, .. } if request.name == "claude:Bash"));
        let UseVerdict::Granted { n, reply, .. } = uses.judge(&question("Bash", push.clone())) else {
            panic!("it was allowed")
        };
        assert_eq!((n, reply.text.contains("allow")), (4, true));
        assert!(matches!(uses.judge(&question("Bash", push)), UseVerdict::Wait { .. }), "once");
    }
}
