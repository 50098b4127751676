//! Joins several messages that waited for the same target.
use super::message::Message;
use crate::domain::template::places;
use crate::domain::{NotifyTarget, NotifyTargetKind, TellOn, counted};

/// Maximum length of a body in characters, which chats accept without cutting it. Services have their own.
pub(super) const LONGEST: usize = 3000;
/// Maximum characters of each joined message: the largest of these with which all of them fit.
const MAX_CHARS_PER_MESSAGE: &[usize] = &[400, 200, 120, 72];
/// Key prefixes of problems of an agent itself, which the subject names.
const AGENT_KEY_PREFIXES: &[&str] = &["agent:", "circuit:", "late:", "slow:"];
/// Maximum number of names in a subject.
const MAX_NAME_COUNT: usize = 5;

/// Returns whether a target can handle one message for several problems. It can't if its `body` identifies the problem
/// by its key: it would never learn that the others are resolved.
pub fn may_join(target: Option<&NotifyTarget>) -> bool {
    match target.map(|target| &target.kind) {
        Some(NotifyTargetKind::Webhook(spec)) => {
            !spec.body.as_deref().is_some_and(|body| places(body).any(|place| place == "key"))
        }
        _ => true,
    }
}

/// Returns how many of these messages, from the first, go into one that `fits`, and the maximum length of each.
pub fn fitting(messages: &[Message], fits: impl Fn(&Message) -> bool) -> (usize, usize) {
    let together = |count: usize, each| fits(&join(messages[..count].to_vec(), each));
    let least = MAX_CHARS_PER_MESSAGE[MAX_CHARS_PER_MESSAGE.len() - 1];
    if let Some(each) = MAX_CHARS_PER_MESSAGE.iter().find(|each| together(messages.len(), **each)) {
        return (messages.len(), *each);
    }
    let (mut known, mut too_many) = (1, messages.len());
    while too_many - known > 1 {
        let count = known + (too_many - known) / 2;
        if together(count, least) { known = count } else { too_many = count }
    }
    (known, least)
}

/// Joins messages into one, with a line of at most `each` characters per message; the originals are kept in it. A
/// single one is returned unchanged.
///
/// # Panics
/// If there are no messages.
pub fn join(mut messages: Vec<Message>, each: usize) -> Message {
    if messages.len() == 1 {
        return messages.remove(0);
    }
    let (first, last) = (&messages[0], &messages[messages.len() - 1]);
    let lines: Vec<String> = messages.iter().map(|message| line(message, each)).collect();
    Message {
        id: first.id,
        agent: first.agent.clone(),
        about: worst(&messages),
        urgency: messages.iter().map(|message| message.urgency).max().unwrap_or(first.urgency),
        key: None,
        run: None,
        at: last.at,
        subject: format!("{}: {}", kinds(&messages), names(&messages)),
        body: lines.join("\n"),
        reached: first.reached.clone(),
        joined: messages,
        question: None,
    }
}

fn line(message: &Message, each: usize) -> String {
    let body = message.body.split_whitespace().collect::<Vec<_>>().join(" ");
    // a problem that the subject does not name is identified by its key
    let of_engine = |key: &&str| AGENT_KEY_PREFIXES.iter().any(|start| key.starts_with(start));
    let key = message.key.as_deref().filter(|key| !of_engine(key) && !message.subject.contains(key));
    let name = key.map(|key| format!("{key}: ")).unwrap_or_default();
    let more = if body.is_empty() { String::new() } else { format!(" ({body})") };
    let text = format!("- {name}{}{more}", message.subject);
    match text.char_indices().nth(each) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Formats counts by kind: "12 incidents opened, 2 resolved".
fn kinds(messages: &[Message]) -> String {
    let mut all: Vec<(TellOn, u64)> = Vec::new();
    for message in messages {
        match all.iter_mut().find(|(about, _)| *about == message.about) {
            Some((_, count)) => *count += 1,
            None => all.push((message.about, 1)),
        }
    }
    let one = |(about, count): (TellOn, u64)| match about {
        TellOn::Failed => counted(count, "failure"),
        TellOn::Recovered => format!("{count} recovered"),
        TellOn::CircuitOpened => format!("{} opened", counted(count, "circuit")),
        TellOn::BudgetExhausted => format!("{} of a used up budget", counted(count, "message")),
        TellOn::Missed => format!("{} of missed runs", counted(count, "message")),
        TellOn::IncidentOpened => format!("{} opened", counted(count, "incident")),
        TellOn::IncidentResolved => format!("{} resolved", counted(count, "incident")),
        TellOn::ApprovalRequested => format!("{} wanted", counted(count, "approval")),
        TellOn::Completed => counted(count, "result"),
        TellOn::Late => format!("{count} late"),
        TellOn::Slow => counted(count, "slow run"),
    };
    all.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Lists the subjects, as far as there is room.
fn names(messages: &[Message]) -> String {
    let short = |message: &Message| -> String {
        let text: String = message.subject.chars().take(60).collect();
        if text.len() < message.subject.len() { format!("{text}…") } else { text }
    };
    let mut names: Vec<String> = messages.iter().take(MAX_NAME_COUNT).map(short).collect();
    if messages.len() > MAX_NAME_COUNT {
        names.push(format!("and {} more", messages.len() - MAX_NAME_COUNT));
    }
    names.join("; ")
}

/// Returns the kind for targets that expect only one: that of the most urgent message.
fn worst(messages: &[Message]) -> TellOn {
    let worst = messages.iter().map(|message| message.urgency).max();
    messages.iter().find(|message| Some(message.urgency) == worst).unwrap_or(&messages[0]).about
}
