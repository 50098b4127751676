//! The screen that views are formatted for: its width, colours and times; and words that all views share.
use super::words::{fold, plain};
use crate::domain::{Activity, AgentId, Desired, ErrorKind, Health, RunStatus, Severity, human_duration};
use crate::protocol::AgentView;
use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The properties of standard output, and the current time.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    /// Width of the terminal in columns; none: not a terminal, and nothing is cut.
    pub(crate) width: Option<usize>,
    pub(crate) color: bool,
    /// The reference of relative times.
    pub(crate) now: Timestamp,
    /// Time zone for display.
    pub(crate) zone: TimeZone,
    /// Output of programs and models is not escaped.
    pub(crate) raw: bool,
}

/// Returns the width of the terminal on standard output.
pub(crate) fn terminal_width() -> usize {
    let asked = comfy_table::Table::new().width().map(usize::from);
    asked.filter(|width| *width > 0).unwrap_or(80).max(20)
}

/// The tones in which text can be emphasized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// All is well.
    Good,
    /// A person should look.
    Bad,
    /// Something is unusual.
    Warn,
    /// Something is in progress.
    Busy,
    Dim,
    /// A heading or a name.
    Strong,
}

impl Tone {
    pub(super) fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Busy => AnsiColor::Cyan.on_default(),
            Self::Dim => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }

    /// Returns the tone of a run's status.
    pub(crate) fn of_run(status: RunStatus) -> Self {
        match status {
            RunStatus::Completed => Self::Good,
            RunStatus::Cancelled => Self::Warn,
            status if status.is_failure() => Self::Bad,
            _ => Self::Busy,
        }
    }

    /// Returns the tone of a severity.
    pub(crate) fn of_severity(severity: Severity) -> Self {
        match severity {
            Severity::Warning => Self::Warn,
            Severity::Critical => Self::Bad,
        }
    }
}

impl Screen {
    /// Styles a text in a tone.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        self.styled(tone.style(), text)
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.color && style != Style::new() && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// Wraps lines to the width, between words.
    pub(crate) fn fold(&self, text: &str) -> String {
        self.width.map_or_else(|| text.to_owned(), |width| fold(text, width))
    }

    /// Formats the name of an agent in its own colour, which is the same everywhere.
    pub(crate) fn agent(&self, agent: &AgentId) -> String {
        self.styled(colour_of(agent.as_str()), agent.as_str())
    }

    /// Formats a time relative to now: `in 12 s`, `3 min ago`, `now`.
    pub(crate) fn relative(&self, at: Timestamp) -> String {
        relative(at.duration_since(self.now))
    }

    /// Formats a schedule in words, without its zone if that is the display zone.
    pub(crate) fn schedule(&self, words: &str) -> String {
        let zone = self.zone.iana_name().map(|name| format!(" ({name})")).unwrap_or_default();
        plain(words.strip_suffix(zone.as_str()).unwrap_or(words))
    }

    /// Returns the display zone, ` (Europe/Berlin)`, if the schedule has a different one; else nothing.
    pub(crate) fn zone_beside(&self, schedule: &str) -> String {
        let own = self.zone.iana_name().unwrap_or("local time");
        match schedule.strip_suffix(')').and_then(|text| text.rsplit_once('(')) {
            Some((_, zone)) if zone != own && schedule.starts_with("cron ") => format!(" ({own})"),
            _ => String::new(),
        }
    }

    /// Formats local date and time: `Tue 2026-11-24 09:00:00`.
    pub(crate) fn local(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S").to_string()
    }

    /// Formats local date and time with the zone: `Tue 2026-11-24 09:00:00 (Europe/Berlin)`.
    pub(crate) fn with_zone(&self, at: Timestamp) -> String {
        let zone = self
            .zone
            .iana_name()
            .map_or_else(|| at.to_zoned(self.zone.clone()).strftime("%:z").to_string(), str::to_owned);
        format!("{} ({zone})", self.local(at))
    }

    /// Formats local time; with the date only if it is not today's.
    pub(crate) fn short_local(&self, at: Timestamp) -> String {
        let at = at.to_zoned(self.zone.clone());
        let today = self.now.to_zoned(self.zone.clone()).date();
        let form = if at.date() == today { "%H:%M:%S" } else { "%a %Y-%m-%d %H:%M:%S" };
        at.strftime(form).to_string()
    }

    /// Formats local and relative time: `Tue 2026-11-24 09:00:00 (in 3 min)`.
    pub(crate) fn full(&self, at: Timestamp) -> String {
        format!("{} ({})", self.local(at), self.relative(at))
    }
}

/// Formats a distance in time, in one unit.
pub(super) fn relative(distance: SignedDuration) -> String {
    let ahead = distance.is_positive();
    let ms = distance.unsigned_abs().as_millis();
    // times ahead are rounded up, so that a countdown ends with 1, not 0
    let secs = if ahead { ms.div_ceil(1000) } else { ms / 1000 };
    let (number, unit) = match secs {
        0 => return "now".into(),
        1..60 => (secs, "s"),
        60..3600 => (secs / 60, "min"),
        3600..172_800 => (secs / 3600, "h"),
        _ => (secs / 86_400, "d"),
    };
    if ahead { format!("in {number} {unit}") } else { format!("{number} {unit} ago") }
}

/// Formats milliseconds for people.
pub(crate) fn millis(ms: i64) -> String {
    human_duration(SignedDuration::from_millis(ms))
}

/// Returns one word for the state of an agent: first what needs attention.
pub(crate) fn state_of(state: Desired, activity: Activity, health: Health) -> (String, Tone) {
    let word = match (state, activity, health) {
        (Desired::Paused, Activity::Idle, _) => ("paused", Tone::Warn),
        (Desired::Stopped, Activity::Idle, _) => ("stopped", Tone::Dim),
        (Desired::Active, Activity::Idle, Health::CircuitOpen) => ("circuit open", Tone::Bad),
        (Desired::Active, Activity::Idle, Health::Failing) => ("failing", Tone::Bad),
        (Desired::Active, Activity::Idle, Health::Ok) => ("active", Tone::Good),
        (Desired::Active, Activity::WaitingApproval, _) => ("waits for you", Tone::Warn),
        (Desired::Active, Activity::Retrying, _) => ("retrying", Tone::Warn),
        (Desired::Active, activity, _) => (activity.as_str(), Tone::Busy),
        (state, activity, _) => return (format!("{state}, {activity}"), Tone::Warn),
    };
    (word.0.to_owned(), word.1)
}

/// Returns the state of an agent, including an exhausted budget.
pub(crate) fn state_of_agent(agent: &AgentView, now: Timestamp) -> (String, Tone) {
    let (word, tone) = state_of(agent.state, agent.activity, agent.health);
    let is = |until: Option<Timestamp>| word == "active" && until.is_some_and(|until| until > now);
    let error = agent.last_run.as_ref().and_then(|last| last.error.as_ref());
    let was_refused = word == "failing" && error.is_some_and(|error| error.kind == ErrorKind::Budget);
    if is(agent.budget_used_up_until)
        || (was_refused && agent.budget_used_up_until.is_some_and(|until| until > now))
    {
        ("no budget".into(), Tone::Warn)
    } else if word == "active" && agent.source_problem.is_some() {
        ("hears nothing".into(), Tone::Warn)
    } else if is(agent.silent_until) {
        ("silent".into(), Tone::Warn)
    } else if agent.waits_for_node.is_some() {
        ("no node".into(), Tone::Warn)
    } else {
        (word, tone)
    }
}

/// Returns a run's status in a word or two.
pub(crate) fn status_word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Completed => "ok",
        RunStatus::TimedOut => "timed out",
        RunStatus::WaitingApproval => "waits for you",
        other => other.as_str(),
    }
}

/// Returns a colour derived from the name (FNV-1a).
fn colour_of(name: &str) -> Style {
    const COLOURS: [AnsiColor; 8] = [
        AnsiColor::Cyan,
        AnsiColor::Magenta,
        AnsiColor::Blue,
        AnsiColor::Green,
        AnsiColor::BrightCyan,
        AnsiColor::BrightMagenta,
        AnsiColor::BrightBlue,
        AnsiColor::BrightGreen,
    ];
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    COLOURS[(hash >> 33) as usize % COLOURS.len()].on_default()
}
