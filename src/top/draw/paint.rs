//! Helpers for building lines.
use crate::render::{Tone, cut_to, wrap};
use crate::top::theme::style;
use jiff::Timestamp;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

/// A line built from columns that never exceeds its width.
pub(super) struct RowColumns {
    spans: Vec<Span<'static>>,
    room: usize,
}

impl RowColumns {
    /// Creates an empty line of this width.
    pub(super) fn new(room: usize) -> Self {
        Self { spans: Vec::new(), room }
    }

    /// Returns the remaining width.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Appends a text in this many columns, truncated or padded on the right.
    pub(super) fn left(&mut self, text: &str, columns: usize, tone: Tone) -> &mut Self {
        let columns = columns.min(self.room);
        let text = cut_to(text, columns);
        let blanks = columns.saturating_sub(text.width());
        self.push(text + &" ".repeat(blanks), tone)
    }

    /// Appends a text in this many columns, truncated or padded on the left.
    pub(super) fn right(&mut self, text: &str, columns: usize, tone: Tone) -> &mut Self {
        let columns = columns.min(self.room);
        let text = cut_to(text, columns);
        let blanks = columns.saturating_sub(text.width());
        self.push(" ".repeat(blanks) + &text, tone)
    }

    /// Appends a text, truncated to the remaining width.
    pub(super) fn text(&mut self, text: &str, tone: Tone) -> &mut Self {
        let text = cut_to(text, self.room);
        self.push(text, tone)
    }

    /// Appends this many spaces.
    pub(super) fn gap(&mut self, columns: usize) -> &mut Self {
        self.left("", columns, Tone::Plain)
    }

    /// Appends spans as they are, truncated to the remaining width.
    pub(super) fn spans(&mut self, spans: Vec<Span<'static>>) {
        for span in spans {
            let text = cut_to(&span.content, self.room);
            if text.width() <= self.room {
                self.room -= text.width();
                self.spans.push(Span::styled(text, span.style));
            }
        }
    }

    fn push(&mut self, text: String, tone: Tone) -> &mut Self {
        // if no room is left, even the ellipsis is too wide
        if text.width() <= self.room {
            self.room -= text.width();
            self.spans.push(Span::styled(text, style(tone)));
        }
        self
    }

    /// Returns the line.
    pub(super) fn line(self) -> Line<'static> {
        Line::from(self.spans)
    }
}

/// Returns a line in one tone.
pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Line<'static> {
    Line::styled(text.into(), style(tone))
}

/// Wraps a text into lines of this width, each with this indent.
pub(super) fn paragraph(text: &str, indent: usize, width: usize, tone: Tone) -> Vec<Line<'static>> {
    let room = width.saturating_sub(indent).max(2);
    let lines = text.lines().flat_map(|line| wrap(line, room));
    lines.map(|line| toned(" ".repeat(indent) + &line, tone)).collect()
}

/// Formats how long ago or how far ahead a time is, in one unit: `12s`, `3m`, `5h`, `2d`.
pub(super) fn distance(at: Timestamp, now: Timestamp) -> String {
    let secs = at.duration_since(now).unsigned_abs().as_secs();
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m", secs / 60),
        3600..172_800 => format!("{}h", secs / 3600),
        secs => format!("{}d", secs / 86_400),
    }
}

/// Converts lines that `render` coloured with escape sequences into lines of the screen.
pub(super) fn from_ansi(text: &str, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut spans = Vec::new();
        let mut style = Style::new();
        for (at, piece) in line.split("\u{1b}[").enumerate() {
            let shown = match piece.split_once('m').filter(|_| at > 0) {
                Some((codes, rest)) => {
                    style = codes.split(';').fold(style, sgr);
                    rest
                }
                None => piece,
            };
            if !shown.is_empty() {
                spans.push(Span::styled(shown.replace('\t', "    "), style));
            }
        }
        fold(spans, width, &mut lines);
    }
    lines
}

/// Applies an SGR code (ECMA-48, 8.3.117), of those that `render` uses.
fn sgr(style: Style, code: &str) -> Style {
    let colours = [
        Color::Black,
        Color::Red,
        Color::Green,
        Color::Yellow,
        Color::Blue,
        Color::Magenta,
        Color::Cyan,
        Color::Gray,
    ];
    match code.parse::<usize>() {
        Ok(1) => style.add_modifier(Modifier::BOLD),
        Ok(2) => style.add_modifier(Modifier::DIM),
        Ok(code @ 30..=37) => style.fg(colours[code - 30]),
        Ok(code @ 90..=97) => style.fg(colours[code - 90]),
        _ => Style::new(),
    }
}

/// Breaks a line that is too wide into several, at any character, since output has its own layout.
fn fold(spans: Vec<Span<'static>>, width: usize, lines: &mut Vec<Line<'static>>) {
    let total: usize = spans.iter().map(|span| span.content.width()).sum();
    if total <= width {
        lines.push(Line::from(spans));
        return;
    }
    let (mut line, mut used) = (Vec::new(), 0);
    for span in spans {
        let mut text = String::new();
        for c in span.content.chars() {
            let wide = unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
            if used + wide > width && used > 0 {
                line.push(Span::styled(std::mem::take(&mut text), span.style));
                lines.push(Line::from(std::mem::take(&mut line)));
                used = 0;
            }
            used += wide;
            text.push(c);
        }
        line.push(Span::styled(text, span.style));
    }
    lines.push(Line::from(line));
}
