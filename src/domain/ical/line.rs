//! The lines of an iCalendar file (RFC 5545, 3.1): unfolded, and split into name, parameters and value.
use super::error::CalendarError;

/// A content line.
pub(super) struct Line {
    /// Number of its first line, from 1.
    pub(super) number: usize,
    pub(super) name: String,
    params: Vec<(String, String)>,
    pub(super) value: String,
}

impl Line {
    /// Returns the value of a parameter.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value as text: on one line, without its escapes (3.3.11).
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut chars = self.value.chars();
        while let Some(next) = chars.next() {
            match next {
                '\\' => match chars.next() {
                    Some('n' | 'N') => text.push(' '),
                    Some(other) => text.push(other),
                    None => {}
                },
                other if other.is_control() => text.push(' '),
                other => text.push(other),
            }
        }
        text.trim().chars().take(100).collect()
    }

    pub(super) fn error(&self, what: String) -> CalendarError {
        CalendarError { line: self.number, what }
    }
}

/// Returns all lines, unfolded: one that begins with a blank continues the previous one.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Result<Line, CalendarError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut whole: Vec<(usize, String)> = Vec::new();
    for (nth, part) in text.lines().enumerate() {
        match (part.strip_prefix([' ', '\t']), whole.last_mut()) {
            (Some(rest), Some((_, line))) => line.push_str(rest),
            _ => whole.push((nth + 1, part.to_owned())),
        }
    }
    whole.into_iter().filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| cut(number, &line))
}

fn cut(number: usize, line: &str) -> Result<Line, CalendarError> {
    let mut is_quoted = false;
    let mut cuts = Vec::new();
    let colon = line.char_indices().find_map(|(at, char)| {
        match char {
            '"' => is_quoted = !is_quoted,
            ';' if !is_quoted => cuts.push(at),
            ':' if !is_quoted => return Some(at),
            _ => {}
        }
        None
    });
    let Some(colon) = colon else {
        let shown: String = line.chars().take(40).collect();
        return Err(CalendarError {
            line: number,
            what: format!("`{shown}` is not a line of an iCalendar file (NAME:VALUE)"),
        });
    };
    cuts.push(colon);
    let name = line[..cuts[0]].trim().to_ascii_uppercase();
    let params = cuts.windows(2).filter_map(|pair| {
        let (name, value) = line[pair[0] + 1..pair[1]].split_once('=')?;
        Some((name.trim().to_ascii_uppercase(), value.trim_matches('"').to_owned()))
    });
    Ok(Line { number, name, params: params.collect(), value: line[colon + 1..].trim_end().to_owned() })
}
