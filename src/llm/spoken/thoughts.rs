//! Thoughts in the text of an answer, in the tags of various models.
use super::quoted::is_quoted;

/// Maximum thoughts that are searched for: the text may be large and crafted to be slow to parse.
const MAX_THOUGHTS: usize = 100;
/// Maximum opening tags that are examined: for each, all preceding text is read.
const MAX_OPENING_TAGS: usize = 300;

/// Opening and closing tags of thoughts.
const MARKS: [(&str, &str); 10] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel>thought", "<channel|>"),
];

/// Closing tags whose opening tag may already be part of the prompt template.
const ENDS: [&str; 6] =
    ["</think>", "</thinking>", "</seed:think>", "[/THINK]", "◁/think▷", "<|END_THINKING|>"];

/// Tags that some models put around the answer after thoughts.
const ANSWER_TAGS: [(&str, &str); 5] = [
    ("<answer>", "</answer>"),
    ("<response>", "</response>"),
    ("<|begin_of_box|>", "<|end_of_box|>"),
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ("<|begin_of_solution|>", "<|end_of_solution|>"),
];

/// Separates the answer from the thoughts; `None` if there are no thoughts.
pub(super) fn split(text: &str) -> Option<(String, String)> {
    if text.contains("<|message|>") && text.contains("<|channel|>") {
        return Some(channels(text));
    }
    let (mut answer, mut thoughts) = (String::new(), Vec::new());
    let mut rest = text;
    if let Some((end, mark)) = end_alone(text) {
        thoughts.push(&text[..end]);
        rest = &text[end + mark.len()..];
    }
    let mut places = MAX_OPENING_TAGS;
    while let Some((from, open, close)) =
        beginning(&answer, rest, &mut places).filter(|_| thoughts.len() < MAX_THOUGHTS)
    {
        answer.push_str(&rest[..from]);
        let inside = &rest[from + open.len()..];
        let end = end_of(inside, open, close);
        thoughts.push(&inside[..end.unwrap_or(inside.len())]);
        rest = end.map_or("", |end| &inside[end + close.len()..]);
    }
    if thoughts.is_empty() {
        return None;
    }
    answer.push_str(rest);
    let thoughts = thoughts.iter().map(|thought| thought.trim()).filter(|thought| !thought.is_empty());
    let thought = thoughts.collect::<Vec<_>>().join("\n");
    Some((inside_of(answer.trim()).to_owned(), thought))
}

/// Finds the next thoughts: at the start of a line, or anywhere if they are closed; not in a quotation.
fn beginning<'m>(answer: &str, rest: &str, left: &mut usize) -> Option<(usize, &'m str, &'m str)> {
    let lower = rest.to_ascii_lowercase();
    let mut places: Vec<(usize, &str, &str)> = Vec::new();
    for (open, close) in MARKS {
        let mark = open.to_ascii_lowercase();
        places.extend(lower.match_indices(&mark).map(|(at, _)| (at, open, close)));
    }
    places.sort_unstable();
    places.into_iter().take(MAX_THOUGHTS.min(*left)).find(|(at, _, close)| {
        *left -= 1;
        let before = format!("{answer}{}", &rest[..*at]);
        let begins_line = before.rsplit('\n').next().is_none_or(|line| line.trim().is_empty());
        let ends = lower[*at..].contains(&close.to_ascii_lowercase());
        (begins_line || ends) && !is_quoted(&before, before.len())
    })
}

/// Finds the end of thoughts, which may contain nested tags.
fn end_of(inside: &str, open: &str, close: &str) -> Option<usize> {
    let lower = inside.to_ascii_lowercase();
    let (open, close) = (open.to_ascii_lowercase(), close.to_ascii_lowercase());
    let (mut depth, mut at) = (1, 0);
    for _ in 0..MAX_THOUGHTS {
        let end = at + lower[at..].find(&close)?;
        depth += lower[at..end].matches(&open).count();
        depth -= 1;
        if depth == 0 || !lower[end + close.len()..].contains(&close) {
            return Some(end);
        }
        at = end + close.len();
    }
    None
}

/// Finds a closing tag that begins or ends a line, before any opening one.
fn end_alone(text: &str) -> Option<(usize, &'static str)> {
    let lower = text.to_ascii_lowercase();
    let ends = ENDS.iter().filter_map(|mark| Some((lower.find(&mark.to_ascii_lowercase())?, *mark)));
    let (at, mark) = ends.min_by_key(|(at, _)| *at)?;
    let before = text[..at].rsplit('\n').next().unwrap_or_default();
    let after = text[at + mark.len()..].split('\n').next().unwrap_or_default();
    let begun = MARKS.iter().any(|(open, _)| lower[..at].contains(&open.to_ascii_lowercase()));
    let stands_out = before.trim().is_empty() || after.trim().is_empty();
    (!begun && stands_out && !is_quoted(text, at)).then_some((at, mark))
}

fn inside_of(answer: &str) -> &str {
    let inside = |(open, close): &(&str, &str)| Some(answer.strip_prefix(open)?.strip_suffix(close)?.trim());
    ANSWER_TAGS.iter().find_map(inside).unwrap_or(answer)
}

/// Separates the channels of OpenAI's open-weight models. Calls stay in the text, with their channel.
fn channels(text: &str) -> (String, String) {
    const ENDS: [&str; 5] = ["<|end|>", "<|return|>", "<|call|>", "<|start|>", "<|channel|>"];
    let (mut answer, mut thoughts) = (String::new(), Vec::new());
    let (head, rest) = text.split_once("<|channel|>").unwrap_or((text, ""));
    answer.push_str(head.strip_suffix("<|start|>assistant").unwrap_or(head));
    for part in rest.split("<|channel|>") {
        let Some((channel, said)) = part.split_once("<|message|>") else { continue };
        let end = ENDS.iter().filter_map(|end| said.find(end)).min().unwrap_or(said.len());
        let said = &said[..end];
        if channel.contains("to=") {
            answer.push_str(&format!("\n<|channel|>{channel}<|message|>{said}<|call|>"));
        } else if channel.trim().starts_with("analysis") {
            thoughts.push(said.trim());
        } else {
            answer.push_str(said);
        }
    }
    (answer.trim().to_owned(), thoughts.join("\n"))
}
