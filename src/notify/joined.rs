//! Several messages that waited for the same receiver as one.
use super::message::Message;
use crate::domain::{TellOn, counted};

/// Longest body, in characters: what chats take without cutting it.
pub const LONGEST: usize = 3000;
/// Of each message within, in characters.
const EACH: usize = 400;
/// Names in a subject.
const NAMED: usize = 5;

/// How many of these messages, from the first on, go into one.
pub fn fitting(messages: &[Message]) -> usize {
    let mut left = LONGEST;
    let fits = messages.iter().take_while(|message| {
        let size = line(message).chars().count() + 1;
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    });
    fits.count().max(1)
}

/// One message that says what these say; they are kept within it. A single one stays as it is.
///
/// # Panics
/// If there is none.
pub fn join(mut messages: Vec<Message>) -> Message {
    if messages.len() == 1 {
        return messages.remove(0);
    }
    let (first, last) = (&messages[0], &messages[messages.len() - 1]);
    let lines: Vec<String> = messages.iter().map(line).collect();
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
    }
}

fn line(message: &Message) -> String {
    let body = message.body.split_whitespace().collect::<Vec<_>>().join(" ");
    let text =
        if body.is_empty() { message.subject.clone() } else { format!("{} ({body})", message.subject) };
    let text = format!("- {text}");
    match text.char_indices().nth(EACH) {
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
