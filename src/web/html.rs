//! Formats what pages show: times, money, untrusted text.
use crate::overview::Rank;
use crate::render::{Screen, plain, plain_lines, usd};
use askama::Template;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The time and the zone that a page is rendered for.
#[derive(Clone)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    screen: Screen,
}

/// An instant on a page; the script keeps its age up to date.
#[derive(Clone, Debug, Default, Template)]
#[template(
    source = "{% if !iso.is_empty() %}<time datetime=\"{{ iso }}\" title=\"{{ local }}\">{{ relative }}</time>{% endif %}",
    ext = "html"
)]
pub(super) struct When {
    /// As RFC 3339 in UTC; empty if there is none.
    pub(super) iso: String,
    /// `3 min ago`
    pub(super) relative: String,
    /// `22:43:45`, with the date if it is not today's.
    pub(super) local: String,
}

impl Moment {
    pub(super) fn new() -> Self {
        let (now, zone) = (crate::clock::wall(), TimeZone::system());
        Self { now, screen: Screen { width: None, color: false, now, zone, raw: false } }
    }

    pub(super) fn zone(&self) -> TimeZone {
        self.screen.zone.clone()
    }

    pub(super) fn when(&self, at: Timestamp) -> When {
        When {
            iso: format!("{at:.0}"),
            relative: self.screen.relative(at),
            local: self.screen.short_local(at),
        }
    }

    pub(super) fn maybe(&self, at: Option<Timestamp>) -> When {
        at.map(|at| self.when(at)).unwrap_or_default()
    }

    pub(super) fn schedule(&self, words: &str) -> String {
        self.screen.schedule(words)
    }
}

/// Returns the style class of a rank.
pub(super) fn class_of(rank: Rank) -> &'static str {
    match rank {
        Rank::Asks => "ask",
        Rank::Critical | Rank::CircuitOpen | Rank::Failing => "bad",
        Rank::Warning | Rank::Undelivered | Rank::NoBudget | Rank::Deaf | Rank::Silent => "warn",
        Rank::Busy => "busy",
        Rank::Well => "ok",
        Rank::NotYet | Rank::Paused | Rank::Stopped => "idle",
    }
}

/// Returns the style class and the mark of a run's status.
pub(super) fn class_of_run(status: crate::domain::RunStatus) -> (&'static str, &'static str) {
    use crate::domain::RunStatus as S;
    match status {
        S::Completed => ("ok", "✓"),
        S::WaitingApproval => ("ask", "?"),
        S::Cancelled => ("idle", "■"),
        status if status.is_failure() => ("bad", "✗"),
        _ => ("busy", "▶"),
    }
}

pub(super) fn money(sum: f64) -> String {
    usd(sum)
}

/// Cleans a line of untrusted text: no bidirectional overrides, no invisible characters. The template escapes the rest.
pub(super) fn line(text: &str) -> String {
    plain(text)
}

/// Cleans several lines of untrusted text; very long ones are cut in the middle.
pub(super) fn block(text: &str) -> String {
    const MAX_PART_BYTES: usize = 64 << 10;
    let clean = plain_lines(text);
    if clean.len() <= 2 * MAX_PART_BYTES {
        return clean;
    }
    let (mut head, mut tail) = (MAX_PART_BYTES, clean.len() - MAX_PART_BYTES);
    while !clean.is_char_boundary(head) {
        head -= 1;
    }
    while !clean.is_char_boundary(tail) {
        tail += 1;
    }
    let left_out = crate::render::bytes((tail - head) as u64);
    format!("{}\n… {left_out} left out …\n{}", &clean[..head], &clean[tail..])
}

/// Formats milliseconds for people.
pub(super) fn span(ms: i64) -> String {
    crate::render::millis(ms)
}

/// Quotes an untrusted word for a command line that a person copies.
pub(super) fn shell(word: &str) -> String {
    crate::domain::shell_word(&line(word))
}

/// Percent-encodes a text as part of an address.
pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Returns the anchor of an item on the page, in characters that an address may contain.
pub(super) fn anchor(agent: &str, key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    format!("i-{}", format!("{agent}-{key}").chars().map(plain).collect::<String>())
}
