//! How things look: marks, colours, and what becomes of both where a terminal lacks them. A mark and a word say the
//! state of a thing; colour only repeats it, so nothing is lost without colours.
use crate::overview::{Rank, StandingSection};
use crate::render::{Tone, tone_of};
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
    /// That of a rank.
    Of(Rank),
    /// It waits for its turn.
    Queued,
}

impl RowMark {
    /// The character for it.
    pub(super) fn sign(self, ascii: bool) -> &'static str {
        match (self, ascii) {
            (Self::Of(rank), false) => rank.mark().symbol,
            (Self::Of(rank), true) => rank.mark().ascii,
            (Self::Queued, false) => "…",
            (Self::Queued, true) => "-",
        }
    }

    /// How it stands out.
    pub(super) fn tone(self) -> Tone {
        match self {
            Self::Of(rank) => tone_of(rank),
            Self::Queued => Tone::Dim,
        }
    }

    /// Does it say that something needs a person?
    pub(super) fn needs_someone(self) -> bool {
        matches!(self, Self::Of(rank) if rank.section() == StandingSection::NeedsYou)
    }
}

/// What became of slots or of a run, in a strip: the height of its sign says it, the colour repeats it. Of several in one
/// place the last of this list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Beat {
    /// There was none.
    None,
    /// It was left out, for a reason that is no trouble.
    Skipped,
    /// It ran, found all well and left no record.
    AllWell,
    /// It ran and did its work.
    Ran,
    /// It is under way.
    Running,
    /// A budget or a circuit refused it.
    Refused,
    /// Nobody was there to run it.
    Missed,
    /// It ran and failed.
    Failed,
}

impl Beat {
    /// The character for it, and its tone.
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

    /// What it counts as, in words.
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
