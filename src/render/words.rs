//! Small things in words.
pub(crate) use crate::domain::human_bytes as bytes;
use crate::domain::{LengthUnit, counted, is_misleading, shortened};
use crate::protocol::LimitView;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Escapes everything in a line that a terminal would act upon: control characters and marks that change the direction
/// of text. All text of agents and from outside is passed through here before it reaches a screen.
pub(crate) fn plain(text: &str) -> String {
    escaped(text, false)
}

/// Maximum length of a text in a line; `--json` and `show` have all of it.
const MAX_LINE_CHARS: usize = 160;

/// Returns the beginning of a line, escaped by [`plain`].
pub(crate) fn cut(text: &str) -> String {
    shortened(&plain(text), LengthUnit::Chars, MAX_LINE_CHARS).into_owned()
}

/// Escapes several lines as [`plain`] does, but keeps line ends and tabs.
pub(crate) fn plain_lines(text: &str) -> String {
    escaped(text, true)
}

fn escaped(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' if lines => out.push(c),
            '\r' if lines && chars.peek() == Some(&'\n') => {}
            '\n' => out.push_str("\\n"),
            '\t' => out.push(' '),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if is_misleading(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Escapes what a terminal would act upon in JSON without changing its meaning: DEL, the controls from 80 to 9f and
/// what [`is_misleading`]; the others are already escaped in JSON. They occur only in strings.
pub(crate) fn plain_json(text: &str) -> Cow<'_, str> {
    let acts = |c: char| c.is_control() || is_misleading(c);
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // white space between values is not part of a string
        if acts(c) && !matches!(c, '\n' | '\t' | '\r') {
            c.encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| write!(out, "\\u{unit:04x}").expect("a string"));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Truncates a text to this many columns, with `…` where it was cut.
pub(crate) fn cut_to(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut left = room.saturating_sub(1);
    let fits = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left -= if fits { width } else { left };
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Wraps a text into lines of at most this many columns, between words if possible.
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(2);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let bare = word.trim_end_matches(' ');
        if used > 0 && used + bare.width() > room {
            lines.push(String::new());
            used = 0;
        }
        for c in word.chars() {
            let width = c.width().unwrap_or(0);
            if used + width > room {
                // a space may end a line, but not begin one
                if c == ' ' {
                    continue;
                }
                lines.push(String::new());
                used = 0;
            }
            lines.last_mut().expect("there is one").push(c);
            used += width;
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Wraps lines that are longer than this many columns, between words; continuation lines are indented to where the text
/// begins. A word that is too long stays whole.
pub(crate) fn fold(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        if columns(line) > width {
            fold_line(line, width, &mut out)
        } else {
            out.push_str(line)
        }
        out.push_str(end);
    }
    out
}

fn fold_line(line: &str, width: usize, out: &mut String) {
    let below = text_column(line, width);
    let (mut used, mut begun) = (0, false);
    for piece in line.split_inclusive(' ') {
        let word = piece.trim_end_matches(' ');
        let wide = columns(word);
        if begun && wide > 0 && used > below && used + wide > width {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', below));
            used = below;
        }
        begun |= wide > 0;
        out.push_str(piece);
        used += columns(piece);
    }
}

/// Returns the column at which the text of a line begins: after the indentation, a list mark, or a key followed by spaces.
fn text_column(line: &str, width: usize) -> usize {
    let bare = anstream::adapter::strip_str(line).to_string();
    let indent = bare.len() - bare.trim_start_matches(' ').len();
    let rest = &bare[indent..];
    if rest.starts_with("= ") || rest.starts_with("- ") {
        return indent + 2;
    }
    let key = rest.find("  ").filter(|_| indent > 0).map(|at| {
        let value = rest[at..].trim_start_matches(' ');
        rest[..at].width() + (rest.len() - at - value.len())
    });
    let at = indent + key.unwrap_or(0);
    if at * 2 > width { indent.min(width / 2) } else { at }
}

/// Returns the width of a text without its escape sequences.
fn columns(text: &str) -> usize {
    anstream::adapter::strip_str(text).map(UnicodeWidthStr::width).sum()
}

/// Formats US dollars: `0.00`, `0.0130`, `12.30`. Small sums have more digits.
pub(crate) fn usd(sum: f64) -> String {
    if sum > 0.0 && sum < 0.1 { format!("${sum:.4}") } else { format!("${sum:.2}") }
}

/// Formats a limit: `usd_per_day: $0.12 of $0.50 used, $0.38 left`; what is held for requests in flight is shown separately.
pub(crate) fn limit_line(limit: &LimitView) -> String {
    let (spent, is_money) = ((limit.used - limit.held).max(0.0), limit.limit.starts_with("usd"));
    let amount = |of: f64| if is_money { usd(of) } else { format!("{of:.0}") };
    let (used, allowed) = (amount(spent), amount(limit.allowed));
    let held = match limit.held {
        held if held > 0.0 => format!("up to {} held for requests under way, ", amount(held)),
        _ => String::new(),
    };
    format!("{}: {used} of {allowed} used, {held}{} left", plain(&limit.limit), left(limit, spent))
}

/// Formats what is left of a limit, with the same precision as what was used: `$0.0045 of $1.00 used, $0.9955 left`.
pub(crate) fn left(limit: &LimitView, spent: f64) -> String {
    let is_small = |sum: f64| sum > 0.0 && sum < 0.1;
    match limit.limit.starts_with("usd") {
        true if is_small(spent) || is_small(limit.held) => format!("${:.4}", limit.left),
        true => usd(limit.left),
        false => format!("{:.0}", limit.left),
    }
}

/// A result, whole: what a probe, an archive or `system_metrics` gave is told in words, everything
/// else as it is.
pub(crate) fn result_text(result: &str) -> String {
    if serde_json::from_str::<Value>(result).is_ok_and(|value| value.is_object()) {
        return result_words(result);
    }
    plain_lines(result.trim_matches('\n').trim_end())
}

/// Formats a result in one line: those of a probe, an archive or `system_metrics` in words, everything else as it is.
pub(crate) fn result_words(result: &str) -> String {
    let value = serde_json::from_str(result).unwrap_or_default();
    let words = probe_words(&value).or_else(|| archive_words(&value)).or_else(|| machine_words(&value));
    words.map_or_else(|| plain(result.trim()), |words| plain(&words))
}

/// Describes a probe's result: `crit: / is 95 % full; warn: …`, or `ok: 3 checks`.
fn probe_words(value: &Value) -> Option<String> {
    let (status, checks) = (value["status"].as_str()?, value["checks"].as_array()?);
    let bad: Vec<String> = checks
        .iter()
        .filter_map(|check| Some((check["level"].as_str()?, check["title"].as_str()?)))
        .filter(|(level, _)| *level != "ok")
        .map(|(level, title)| format!("{level}: {title}"))
        .collect();
    Some(if bad.is_empty() {
        format!("{status}: {}", counted(checks.len(), "check"))
    } else {
        bad.join("; ")
    })
}

/// Describes an archive's result: `orders: 1519 rows moved to /archive; changed meanwhile, so left: 2`.
fn archive_words(value: &Value) -> Option<String> {
    let (table, to) = (value["table"].as_str()?, value["to"].as_str()?);
    let (moved, copied) = (value["moved"].as_u64()?, value["copied"].as_u64()?);
    let mut words = match moved {
        0 if copied > 0 => format!("{table}: {} copied to {to}, none moved", counted(copied, "row")),
        _ => format!("{table}: {} moved to {to}", counted(moved, "row")),
    };
    let count = |key: &str| value[key].as_u64().filter(|count| *count > 0);
    if let Some(changed) = count("changed") {
        write!(words, "; changed meanwhile, so left: {changed}").expect("a string");
    }
    if let Some(conflicts) = count("conflicts") {
        write!(words, "; their keys are taken there, so left: {conflicts}").expect("a string");
    }
    if value["more"] == true {
        words.push_str("; the next run goes on");
    }
    Some(words)
}

/// Describes a result of `system_metrics` by its main values: `cpu 12 %, memory 40.1 %, load 0.5, / 61 %`.
fn machine_words(value: &Value) -> Option<String> {
    let number = |value: &Value| value.as_f64();
    let (cpu, memory) = (number(&value["cpu"]["usage_percent"])?, number(&value["memory"]["used_percent"])?);
    let load = number(&value["load"]["1"])?;
    let disks = value["disks"].as_array().into_iter().flatten();
    let fullest = disks
        .filter_map(|disk| Some((disk["mount"].as_str()?, number(&disk["used_percent"])?)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b));
    let disk = fullest.map(|(mount, used)| format!(", {mount} {used} % full")).unwrap_or_default();
    Some(format!("cpu {cpu} %, memory {memory} %, load {load}{disk}"))
}
