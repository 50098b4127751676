//! Names that providers accept: of tools, and of calls. Which tools are offered is not decided here.
use crate::domain::{ChatMessage, ModelTurn, ToolDef};
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

/// An id for each call of each message, unique in the conversation. Those that the same model gave stay as
/// they are; what another one said has ids that every provider takes: nine letters and digits (Mistral wants
/// just these, OpenAI forty characters at the most). Replies are identified by their place.
pub(super) fn call_ids<'a>(
    messages: &'a [ChatMessage],
    is_own: impl Fn(&ModelTurn) -> bool,
) -> Vec<Vec<Cow<'a, str>>> {
    let mut seen: HashSet<Cow<'a, str>> = HashSet::new();
    let mut all: Vec<Vec<Cow<'a, str>>> = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        let ids = match message {
            ChatMessage::User { .. } => Vec::new(),
            ChatMessage::Model(turn) => {
                let own = is_own(turn);
                let calls = turn.calls.iter().enumerate();
                calls
                    .map(|(place, call)| {
                        let id = Cow::Borrowed(call.id.as_str());
                        let stays = own && is_good_id(&call.id) && seen.insert(id.clone());
                        if stays { id } else { new_id(at, place, &mut seen) }
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

/// The same for the same place, as long as nobody else has it.
fn new_id<'a>(at: usize, place: usize, seen: &mut HashSet<Cow<'a, str>>) -> Cow<'a, str> {
    for letter in ('g'..='z').chain('A'..='Z') {
        let id = Cow::Owned(format!("b{letter}{:05}{:02}", at % 100_000, place % 100));
        if seen.insert(Cow::clone(&id)) {
            return id;
        }
    }
    Cow::Owned(format!("b{at}x{place}"))
}

/// Gateways hide what they want back in ids, so that these can be long.
fn is_good_id(id: &str) -> bool {
    const LONGEST: usize = 16 << 10;
    !id.is_empty() && id.len() <= LONGEST && id.chars().all(|c| c.is_ascii_graphic())
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
        let ids = call_ids(&messages, |_| true);
        assert_eq!(ids[0], ["a", "bg0000001", "bg0000002"]);
        assert_eq!(ids[1], ids[0]);
        assert_eq!(ids[2], ["bg0000200", "b:1", "c"]);
        // to another model: as all take them, and the same each time
        let others = call_ids(&messages, |_| false);
        let taken = |id: &str| id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric());
        let unique: HashSet<&str> = [&others[0], &others[2]].into_iter().flatten().map(|id| &**id).collect();
        assert!(unique.len() == 6 && unique.iter().all(|id| taken(id)), "{others:?}");
        assert_eq!((&others[1], &others[3]), (&others[0], &others[2]));
        assert_eq!(others[0], ["bg0000000", "bg0000001", "bg0000002"]);
        assert_eq!(ids[3], ids[2]);
    }
}
