//! Appearance: marks, colours, and substitutes for terminals that lack them. A mark and a word express the state of an
//! item; colour only repeats it, so nothing is lost without colours.
use crate::overview::{Rank, StandingSection};
use crate::render::{Tone, tone_of};
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

/// The capabilities of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// It supports colours.
    pub color: bool,
    /// It supports only ASCII.
    pub ascii: bool,
}

/// The mark at the start of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowMark {
    /// The mark of a rank.
    Of(Rank),
    Queued,
}

impl RowMark {
    /// Returns the character.
    pub(super) fn sign(self, ascii: bool) -> &'static str {
        match (self, ascii) {
            (Self::Of(rank), false) => rank.mark().symbol,
            (Self::Of(rank), true) => rank.mark().ascii,
            (Self::Queued, false) => "…",
            (Self::Queued, true) => "-",
        }
    }

    /// Returns the tone.
    pub(super) fn tone(self) -> Tone {
        match self {
            Self::Of(rank) => tone_of(rank),
            Self::Queued => Tone::Dim,
        }
    }

    /// Returns whether the mark says that a person is needed.
    pub(super) fn needs_someone(self) -> bool {
        matches!(self, Self::Of(rank) if rank.section() == StandingSection::NeedsYou)
    }
}

/// The outcome of slots or a run in a strip: the height of its sign expresses it, the colour repeats it. Of several in
/// one position, the last in this list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SlotOutcome {
    None,
    /// Skipped for a harmless reason.
    Skipped,
    /// It ran, found all well and left no record.
    AllWell,
    /// It ran and completed.
    Ran,
    /// It is running.
    Running,
    /// Refused by a budget or a circuit.
    Refused,
    /// Missed, since no daemon was running.
    Missed,
    /// It ran and failed.
    Failed,
}

impl SlotOutcome {
    /// Returns the character and its tone.
    pub(super) fn sign(self, ascii: bool) -> (&'static str, Tone) {
        let (sign, plain, tone) = match self {
            Self::None => (" ", " ", Tone::Plain),
            Self::Skipped => ("·", ".", Tone::Dim),
            Self::AllWell => ("▁", "_", Tone::Good),
            Self::Ran => ("▄", "o", Tone::Good),
            Self::Running => ("▶", ">", Tone::Busy),
            Self::Refused => ("▅", "r", Tone::Warn),
            Self::Missed => ("░", "m", Tone::Warn),
            Self::Failed => ("█", "X", Tone::Bad),
        };
        (if ascii { plain } else { sign }, tone)
    }

    /// Returns the word for counts.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Skipped => "skipped",
            Self::AllWell => "all well",
            Self::Ran => "ran",
            Self::Running => "running",
            Self::Refused => "refused",
            Self::Missed => "missed",
            Self::Failed => "failed",
        }
    }
}

/// Returns the style of a tone.
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
    /// Replaces everything in a drawn screen that the terminal can't show. This is the last step, so drawing code need
    /// not consider it.
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

    /// Replaces the characters of a text that the terminal can't show.
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

    /// Draws a bar of this width, filled to a share from 0 to 1.
    pub(super) fn bar(self, share: f64, columns: usize) -> String {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        let mut full = (share * columns as f64).round() as usize;
        // a share above zero fills at least one column
        if share > 0.0 && full == 0 {
            full = 1.min(columns);
        }
        let (on, off) = if self.ascii { ("#", "-") } else { ("█", "░") };
        on.repeat(full) + &off.repeat(columns.saturating_sub(full))
    }
}

/// Returns the closest ASCII sign.
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
