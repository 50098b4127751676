//! Names that providers accept: of tools, and of calls. Which tools are offered is not decided here.
use crate::domain::{ChatMessage, ToolDef};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Longest name that every provider accepts.
const MAX_LEN: usize = 64;

/// The names of the tools of one request, as the provider sees them. The same tools in the same order
/// get the same names.
pub(super) struct Names<'a> {
    /// Ours to the provider's.
    out: HashMap<&'a str, Cow<'a, str>>,
    /// The provider's to ours.
    back: HashMap<String, &'a str>,
    /// Those that it is about, as they are to us.
    pub(super) tools: &'a [ToolDef],
}

impl<'a> Names<'a> {
    pub(super) fn of(tools: &'a [ToolDef]) -> Self {
        let mut names = Self { out: HashMap::new(), back: HashMap::new(), tools };
        // A name that is legal as it is stays, whatever the others become.
        for tool in tools.iter().filter(|tool| is_legal(&tool.name)) {
            names.out.insert(&tool.name, Cow::Borrowed(&tool.name));
            names.back.insert(tool.name.clone(), &tool.name);
        }
        for tool in tools.iter().filter(|tool| !is_legal(&tool.name)) {
            if names.out.contains_key(tool.name.as_str()) {
                continue;
            }
            let legal = legalized(&tool.name);
            let mut unique = legal.clone();
            let mut number = 1;
            while names.back.contains_key(&unique) {
                number += 1;
                let end = format!("_{number}");
                unique = format!("{}{end}", &legal[..legal.len().min(MAX_LEN - end.len())]);
            }
            names.back.insert(unique.clone(), &tool.name);
            names.out.insert(&tool.name, Cow::Owned(unique));
        }
        names
    }

    /// For the provider. A tool of an earlier turn need not be on offer any more.
    pub(super) fn out(&self, name: &'a str) -> Cow<'a, str> {
        match self.out.get(name) {
            Some(known) => known.clone(),
            None if is_legal(name) => Cow::Borrowed(name),
            None => Cow::Owned(legalized(name)),
        }
    }

    /// From the provider. A name that was made up stays as it is.
    pub(super) fn back(&self, name: &str) -> String {
        self.back.get(name).map_or(name, |ours| *ours).to_owned()
    }
}

/// Gemini is the strictest: the first one must be a letter or `_`.
fn is_legal(name: &str) -> bool {
    name.len() <= MAX_LEN
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(is_legal_char)
}

fn is_legal_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn legalized(name: &str) -> String {
    let mut legal = String::with_capacity(name.len() + 1);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        legal.push('_');
    }
    legal.extend(name.chars().map(|c| if is_legal_char(c) { c } else { '_' }));
    legal.truncate(MAX_LEN);
    legal
}

/// An id for each call of each message, unique in the conversation, as providers want it. Those that a
/// provider gave stay; replies are told apart by their place, so any other id does as well.
pub(super) fn call_ids(messages: &[ChatMessage]) -> Vec<Vec<Cow<'_, str>>> {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut all = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        let ids = match message {
            ChatMessage::User { .. } => Vec::new(),
            ChatMessage::Model(turn) => {
                let calls = turn.calls.iter().enumerate();
                calls
                    .map(|(place, call)| match is_good_id(&call.id) && seen.insert(&call.id) {
                        true => Cow::Borrowed(call.id.as_str()),
                        false => Cow::Owned(format!("bg_{at}_{place}")),
                    })
                    .collect()
            }
            ChatMessage::Tools { replies } => {
                let calls: &[Cow<'_, str>] = all.last().map_or(&[], Vec::as_slice);
                let replies = replies.iter().enumerate();
                replies
                    .map(|(place, reply)| calls.get(place).cloned().unwrap_or(Cow::Borrowed(&reply.id)))
                    .collect()
            }
        };
        all.push(ids);
    }
    all
}

fn is_good_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_LEN && id.chars().all(is_legal_char)
}

#[cfg(test)]
mod tests {
    //! Tests of names.
    use super::*;
    use crate::domain::{ModelTurn, ToolReply, ToolRequest};
    use serde_json::json;

    fn tools(names: &[&str]) -> Vec<ToolDef> {
        let tool = |name: &&str| ToolDef {
            name: (*name).into(),
            description: String::new(),
            schema: json!({"type": "object"}),
        };
        names.iter().map(tool).collect()
    }

    #[test]
    fn each_tool_has_its_own_legal_name_and_finds_back() {
        let long = format!("a/{}", "x".repeat(100));
        let longer = format!("a/{}y", "x".repeat(100));
        let all = ["git/hub", "git_hub", "git hub", "9lives", "", "ünï", &long, &longer, "git_hub_2"];
        let tools = tools(&all);
        let names = Names::of(&tools);
        let mut seen = HashSet::new();
        for name in all {
            let out = names.out(name).into_owned();
            assert!(is_legal(&out), "{name} {out}");
            assert_eq!(names.back(&out), name);
            assert!(seen.insert(out));
        }
        assert_eq!(names.out("git_hub"), "git_hub");
        assert_eq!(names.out("no longer/there"), "no_longer_there");
        assert_eq!(names.back("made_up"), "made_up");
    }

    #[test]
    fn ids_are_unique_and_replies_have_those_of_their_calls() {
        let call = |id: &str| ToolRequest { id: id.into(), name: "t".into(), arguments: String::new() };
        let turn = |ids: &[&str]| {
            ChatMessage::Model(ModelTurn {
                calls: ids.iter().map(|id| call(id)).collect(),
                ..ModelTurn::default()
            })
        };
        let replies = |ids: &[&str]| ChatMessage::Tools {
            replies: ids
                .iter()
                .map(|id| ToolReply {
                    id: (*id).into(),
                    name: "t".into(),
                    text: String::new(),
                    is_error: false,
                })
                .collect(),
        };
        let messages = [
            turn(&["a", "a", ""]),
            replies(&["a", "a", ""]),
            turn(&["a", "b:1", "c"]),
            replies(&["a", "b:1", "c"]),
        ];
        let ids = call_ids(&messages);
        assert_eq!(ids[0], ["a", "bg_0_1", "bg_0_2"]);
        assert_eq!(ids[1], ids[0]);
        assert_eq!(ids[2], ["bg_2_0", "bg_2_1", "c"]);
        assert_eq!(ids[3], ids[2]);
    }
}
