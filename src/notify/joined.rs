//! Several messages that waited for the same receiver as one.
use super::message::Message;
use crate::domain::template::places;
use crate::domain::{NotifyTarget, NotifyTargetKind, TellOn, counted};

/// Longest body, in characters: what chats take without cutting it. Services have their own.
pub(super) const LONGEST: usize = 3000;
/// How much of each message within is shown, in characters: as much as lets all of them go together.
const EACH: &[usize] = &[400, 200, 120, 72];
/// How keys begin of problems that an agent itself is: its subject names it.
const OF_AGENTS: &[&str] = &["agent:", "circuit:", "late:", "slow:"];
/// Names in a subject.
const NAMED: usize = 5;

/// Can a receiver do with one message for several problems? Not one whose `body` says by its key which problem it is: it
/// would never hear that the others are over.
pub fn may_join(target: Option<&NotifyTarget>) -> bool {
    match target.map(|target| &target.kind) {
        Some(NotifyTargetKind::Webhook(spec)) => {
            !spec.body.as_deref().is_some_and(|body| places(body).any(|place| place == "key"))
        }
        _ => true,
    }
}

/// How many of these messages, from the first on, go into one that `fits`, and how much of each is shown in it.
pub fn fitting(messages: &[Message], fits: impl Fn(&Message) -> bool) -> (usize, usize) {
    let together = |count: usize, each| fits(&join(messages[..count].to_vec(), each));
    let least = EACH[EACH.len() - 1];
    if let Some(each) = EACH.iter().find(|each| together(messages.len(), **each)) {
        return (messages.len(), *each);
    }
    let (mut known, mut too_many) = (1, messages.len());
    while too_many - known > 1 {
        let count = known + (too_many - known) / 2;
        if together(count, least) { known = count } else { too_many = count }
    }
    (known, least)
}

/// One message that says what these say, in a line of `each` characters for each; they are kept within it. A single one
/// stays as it is.
///
/// # Panics
/// If there is none.
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
    // a problem that its subject does not name is told apart by its key
    let of_engine = |key: &&str| OF_AGENTS.iter().any(|start| key.starts_with(start));
    let key = message.key.as_deref().filter(|key| !of_engine(key) && !message.subject.contains(key));
    let name = key.map(|key| format!("{key}: ")).unwrap_or_default();
    let more = if body.is_empty() { String::new() } else { format!(" ({body})") };
    let text = format!("- {name}{}{more}", message.subject);
    match text.char_indices().nth(each) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// "12 incidents opened, 2 resolved".
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

/// The subjects, as far as there is room for them.
fn names(messages: &[Message]) -> String {
    let short = |message: &Message| -> String {
        let text: String = message.subject.chars().take(60).collect();
        if text.len() < message.subject.len() { format!("{text}…") } else { text }
    };
    let mut names: Vec<String> = messages.iter().take(NAMED).map(short).collect();
    if messages.len() > NAMED {
        names.push(format!("and {} more", messages.len() - NAMED));
    }
    names.join("; ")
}

/// What a receiver goes by that looks at one kind only: the most urgent one.
fn worst(messages: &[Message]) -> TellOn {
    let worst = messages.iter().map(|message| message.urgency).max();
    messages.iter().find(|message| Some(message.urgency) == worst).unwrap_or(&messages[0]).about
}
