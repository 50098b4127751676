//! How things look: marks, colours, and what becomes of both where a terminal lacks them. A mark and a word say the
//! state of a thing; colour only repeats it, so nothing is lost without colours.
use crate::render::Tone;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// It takes colours.
    pub color: bool,
    /// It shows ASCII only.
    pub ascii: bool,
}

/// The sign before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowMark {
    /// Waits for a decision.
    Decide,
    /// Does not work.
    Bad,
    /// Should be looked at.
    Warn,
    /// Is under way.
    Busy,
    /// Waits for its turn.
    Queued,
    /// All is well.
    Well,
    /// Nothing happened yet.
    None,
    /// Paused.
    Paused,
    /// Stopped.
    Stopped,
}

impl RowMark {
    /// The character for it.
    pub(super) fn sign(self, ascii: bool) -> &'static str {
        match (self, ascii) {
            (Self::Decide, _) => "?",
            (Self::Bad, false) => "✗",
            (Self::Bad, true) => "X",
            (Self::Warn, _) => "!",
            (Self::Busy, false) => "▶",
            (Self::Busy, true) => ">",
            (Self::Queued, false) => "…",
            (Self::Queued, true) => "-",
            (Self::Well, false) => "✓",
            (Self::Well, true) => "v",
            (Self::None, false) => "·",
            (Self::None, true) => ".",
            (Self::Paused, false) => "‖",
            (Self::Paused, true) => "=",
            (Self::Stopped, false) => "■",
            (Self::Stopped, true) => "#",
        }
    }
}

/// The style of a tone.
pub(super) fn style(tone: Tone) -> Style {
    let style = Style::new();
    match tone {
        Tone::Plain => style,
        Tone::Good => style.fg(Color::Green),
        Tone::Bad => style.fg(Color::Red).add_modifier(Modifier::BOLD),
        Tone::Warn => style.fg(Color::Yellow),
        Tone::Busy => style.fg(Color::Cyan),
        Tone::Dim => style.add_modifier(Modifier::DIM),
        Tone::Strong => style.add_modifier(Modifier::BOLD),
    }
}

impl Theme {
    /// Takes out of a drawn screen what the terminal can't show. The last thing that happens to it: so nothing that is
    /// drawn has to think of it.
    pub(super) fn finish(self, buffer: &mut Buffer) {
        if self.color && !self.ascii {
            return;
        }
        for cell in &mut buffer.content {
            if !self.color {
                cell.fg = Color::Reset;
                cell.bg = Color::Reset;
            }
            if self.ascii && !cell.symbol().is_ascii() {
                let plain = in_ascii(cell.symbol());
                cell.set_symbol(plain);
            }
        }
    }

    /// The same for a text.
    pub(super) fn text(self, text: &str) -> String {
        if !self.ascii || text.is_ascii() {
            return text.to_owned();
        }
        let mut buffer = [0; 4];
        text.chars()
            .map(|c| {
                if c.is_ascii() {
                    c
                } else {
                    in_ascii(c.encode_utf8(&mut buffer)).chars().next().unwrap_or('?')
                }
            })
            .collect()
    }

    /// A bar of so many columns, filled to a share from 0 to 1.
    pub(super) fn bar(self, share: f64, columns: usize) -> String {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        let mut full = (share * columns as f64).round() as usize;
        // something is never nothing, and almost all is not all
        if share > 0.0 && full == 0 {
            full = 1.min(columns);
        }
        let (on, off) = if self.ascii { ("#", "-") } else { ("█", "░") };
        on.repeat(full) + &off.repeat(columns.saturating_sub(full))
    }
}

/// The nearest sign of ASCII.
fn in_ascii(symbol: &str) -> &'static str {
    match symbol {
        "✗" => "X",
        "✓" => "v",
        "▶" | "›" | "»" => ">",
        "…" => "~",
        "·" | "•" => ".",
        "—" | "–" | "─" | "░" => "-",
        "│" => "|",
        "×" => "x",
        "↑" => "^",
        "↓" => "v",
        "→" => ">",
        "█" => "#",
        "‖" => "=",
        "■" => "#",
        symbol if symbol.width() == 0 => " ",
        _ => "?",
    }
}
