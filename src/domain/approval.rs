//! Questions about calls that need approval, and what an answer is bound to.
use super::agent::TellOn;
use super::ids::{AgentId, RunId};
use super::notice::Notice;
use super::talk::ApprovalWanted;
use super::tool_use::ApprovalRoute;
use super::{human_duration, is_unseen, one_line};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// Maximum length of a question, in bytes. Longer calls are decided where they can be shown in full.
const MAX_QUESTION_BYTES: usize = 32 << 10;

/// A question about a call, sent to a notification target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionRecord {
    /// One-time code that an answer must contain; spent once the call is decided.
    pub code: String,
    pub approval: String,
    /// Name of a `[notify.…]` table.
    pub target: String,
    /// [`call_hash`] of the call in question.
    pub call: String,
    pub asked_at: Timestamp,
}

/// Origin of a decision that answers a question, or was made on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredBy {
    /// Who decided, for people.
    pub who: String,
    /// [`call_hash`] of the call in question; `None`: any call that waits under that id.
    pub call: Option<String>,
}

/// Returns the hash that binds a question to a call: its tool and arguments.
pub fn call_hash(tool: &str, args: &str) -> String {
    // the length prefix makes different calls different texts
    let text = format!("{}:{tool}{args}", tool.len());
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ApprovalRoute {
    /// Returns the question about one call, for targets that can return answers.
    pub fn question(&self, agent: &AgentId, run: RunId, wanted: &ApprovalWanted) -> Notice {
        let ApprovalWanted { id, tool, args, .. } = wanted;
        let (named, run_id) = (tool, run.short());
        let tool = one_line(named, 100);
        let mut end = format!("Run {run_id}; at the machine: bgagent approve {id}, or bgagent deny {id}.");
        if let Some(wait) = self.wait {
            end = format!("{end} Without an answer it is denied after {}.", human_duration(wait));
        }
        let whole = format!("{tool}\n{}\n\n{end}", shown(args));
        let subject = format!("{agent}: may it call {tool}?");
        let is_whole = whole.len() <= MAX_QUESTION_BYTES && tool == *named;
        let body = match is_whole {
            true => whole,
            false => format!(
                "The call can't be shown whole, and so not be decided here; bgagent approvals shows all of it.\n\n{end}"
            ),
        };
        let notice = Notice::new(agent, TellOn::ApprovalRequested, subject, body).of_run(run);
        Notice { approval: is_whole.then(|| id.clone()), ..notice }
    }
}

/// Formats arguments for a person: in full, with invisible characters escaped.
fn shown(args: &str) -> String {
    let parsed = serde_json::from_str::<serde_json::Value>(args);
    let text = parsed.and_then(|value| serde_json::to_string_pretty(&value));
    // text that is not JSON is shown as a JSON string, on one line
    let text = text.unwrap_or_else(|_| serde_json::Value::from(args).to_string());
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | ' ' => out.push(c),
            c if c.is_whitespace() || c.is_control() || is_unseen(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    //! Tests of what people are asked.
    use super::*;
    use jiff::SignedDuration;

    fn question(args: &str) -> Notice {
        let wait = Some(SignedDuration::from_hours(12));
        let route = ApprovalRoute { via: vec!["me".into()], wait };
        let wanted =
            ApprovalWanted { id: "ab12-3-0".into(), call: 0, tool: "mail/send".into(), args: args.into() };
        route.question(&"news".parse().unwrap(), RunId::from_bytes([7; 16]), &wanted)
    }

    #[test]
    fn a_question_shows_the_whole_call() {
        let notice = question(r#"{"to": "a@b.c\u202e", "text": "two\nlines"}"#);
        assert_eq!(notice.subject, "news: may it call mail/send?");
        assert_eq!(
            notice.body,
            "mail/send\n{\n  \"text\": \"two\\nlines\",\n  \"to\": \"a@b.c\\u{202e}\"\n}\n\n\
             Run 07070707; at the machine: bgagent approve ab12-3-0, or bgagent deny ab12-3-0. Without an answer it is \
             denied after 12h."
        );
        assert_eq!(notice.approval.as_deref(), Some("ab12-3-0"));
        let long = question(&format!("{{\"text\": \"{}\"}}", "x".repeat(MAX_QUESTION_BYTES)));
        assert_eq!(long.approval, None, "what can't be shown can't be decided there");
        assert!(long.body.contains("bgagent approvals"), "{}", long.body);
    }

    #[test]
    fn nothing_in_a_question_can_be_taken_for_a_line_of_ours() {
        for unseen in
            "\u{85}\u{a0}\u{2003}\u{2028}\u{2029}\u{202e}\u{2800}\u{3000}\u{e000}\u{1d173}\u{f0000}".chars()
        {
            let body = question(&format!("{{\"text\": \"a{unseen}b\"}}")).body;
            assert!(body.contains(&format!("a{}b", unseen.escape_unicode())), "{body}");
        }
        let body = question("no JSON\n\nRun 00000000").body;
        assert!(body.starts_with("mail/send\n\"no JSON\\n\\nRun 00000000\"\n\n"), "{body}");
        let route = ApprovalRoute { via: vec!["me".into()], wait: None };
        for tool in ["mail\u{2028}send", "mail\nsend", "mail\u{200b}send", &"x".repeat(101)] {
            let wanted = ApprovalWanted { id: "x".into(), call: 0, tool: tool.into(), args: "{}".into() };
            let notice = route.question(&"news".parse().unwrap(), RunId::from_bytes([7; 16]), &wanted);
            assert_eq!(notice.approval, None, "{tool:?}");
        }
    }

    #[test]
    fn a_question_is_bound_to_its_call() {
        let hash = call_hash("shell", "{\"a\":1}");
        assert_eq!(hash, call_hash("shell", "{\"a\":1}"));
        for (tool, args) in [("shell", "{\"a\":2}"), ("shel", "l{\"a\":1}"), ("shell{", "\"a\":1}")] {
            assert_ne!(hash, call_hash(tool, args));
        }
    }
}
