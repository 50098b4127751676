//! `status AGENT`: the details of one agent.
use super::fleet::sandbox_lines;
use super::run::{error_words, took};
use super::screen::{Screen, Tone, millis, state_of_agent, status_word};
use super::words::{plain, usd};
use crate::domain::{Desired, RunStatus, Verdict, counted, human_duration};
use crate::protocol::{AgentDetail, LastRunView, RecentRun};
use jiff::Timestamp;
use std::fmt::Write as _;

/// Width of the key column.
const KEY_COLUMNS: usize = 10;

/// Formats the details of an agent.
pub(crate) fn agent_detail(detail: &AgentDetail, screen: &Screen) -> String {
    let mut page = Page { screen, text: String::new() };
    let agent = &detail.agent;
    let (state, tone) = state_of_agent(agent, screen.now);
    let mut head = format!(
        "{}   {}   {}",
        screen.agent(&agent.agent_id),
        screen.paint(tone, &state),
        plain(&agent.schedule)
    );
    if agent.health == crate::domain::Health::Failing && state != "failing" {
        let _ = write!(head, "   {}", screen.paint(Tone::Bad, "failing"));
    }
    page.text.push_str(&head);
    page.text.push('\n');
    if let Some(description) = &agent.description {
        page.text.push_str(&format!("  {}\n", plain(description)));
    }
    page.line("runs", &plain(&detail.runs));
    for line in sandbox_lines(&agent.sandbox) {
        page.line("programs", &plain(&line));
    }
    if let Some(why) = &agent.accept_risk {
        page.line("risk", &format!("accepted: {}", plain(why)));
    }
    if let Some(reason) = &agent.reason {
        page.line("because", &plain(reason));
    }
    if let Some(at) = agent.resume_at {
        page.line("resumes", &screen.full(at));
    }
    if let Some(at) = detail.agent.circuit_until {
        page.line("circuit", &format!("open; one run tries after {}", screen.full(at)));
    }
    if let Some(until) = agent.budget_used_up_until.filter(|until| *until > screen.now) {
        page.line("budget", &screen.paint(Tone::Warn, &format!("used up until {}", screen.full(until))));
    }
    if let Some(open) = &agent.backfill {
        page.line("backfill", &super::backfill::progress(open, screen));
    }
    for run in &detail.in_flight {
        let mut text = format!(
            "run {} {}",
            run.run_id.short(),
            screen.paint(Tone::of_run(run.status), status_word(run.status))
        );
        if let Some(slot) = run.slot {
            let _ = write!(text, ", slot {}", screen.short_local(slot));
        } else {
            let _ = write!(text, ", {}", run.trigger);
        }
        if run.attempt > 0 {
            let _ = write!(text, ", attempt {}", run.attempt);
        }
        if let Some(at) = run.started_at.filter(|_| run.status == RunStatus::Running) {
            let _ = write!(text, ", for {}", human_duration(screen.now.duration_since(at)));
        }
        if let Some(node) = &run.node {
            let _ = write!(text, ", at {}", plain(node));
        }
        if let Some(at) = run.not_before.filter(|at| *at > screen.now) {
            let _ = write!(text, ", goes on {}", screen.relative(at));
        }
        page.line("now", &text);
    }
    page.slots(detail);
    page.history(detail);
    if let Some(last) = &agent.last_run {
        page.line("last run", &ended(last, screen));
    }
    if let Some(at) = detail
        .last_success
        .filter(|_| agent.last_run.as_ref().is_none_or(|last| last.status != RunStatus::Completed))
    {
        page.line("last ok", &screen.full(at));
    }
    if let Some(last) = detail
        .last_error
        .as_ref()
        .filter(|last| agent.last_run.as_ref().is_none_or(|newest| newest.run_id != last.run_id))
    {
        page.line("last error", &ended(last, screen));
    }
    if !detail.slots_24h.is_empty() {
        let slots: Vec<String> = detail
            .slots_24h
            .iter()
            .map(|(verdict, count)| {
                let tone = if *verdict == Verdict::Ran { Tone::Good } else { Tone::Plain };
                format!("{count} {}", screen.paint(tone, verdict.as_str()))
            })
            .collect();
        page.line("slots 24h", &slots.join(", "));
    }
    if agent.cost_today_usd > 0.0 {
        page.line("today", &usd(agent.cost_today_usd));
    }
    for limit in &detail.limits {
        page.line("limit", &super::words::limit_line(limit));
    }
    for incident in &detail.incidents {
        let text = format!(
            "{} {}: {} (for {})",
            screen.paint(Tone::of_severity(incident.severity), incident.severity.as_str()),
            plain(&incident.key),
            plain(&incident.title),
            human_duration(screen.now.duration_since(incident.since)),
        );
        page.line("incident", &text);
    }
    let settings: Vec<String> = detail
        .settings
        .iter()
        .map(|(key, value)| format!("{} {}", plain(key).replace('_', " "), plain(value)))
        .collect();
    page.list("settings", &settings);
    page.line("config", &format!("{} ({})", short_hash(&detail.config_hash), plain(&detail.defined_at)));
    for note in &detail.notes {
        page.line("note", &screen.paint(Tone::Warn, &plain(note)));
    }
    screen.fold(&page.text)
}

fn short_hash(hash: &str) -> String {
    plain(hash).chars().take(8).collect()
}

fn ended(last: &LastRunView, screen: &Screen) -> String {
    let mut text = format!(
        "{} {}, took {} ({})",
        screen.paint(Tone::of_run(last.status), status_word(last.status)),
        screen.full(last.finished_at),
        took(last.status, last.duration_ms),
        last.run_id.map_or_else(|| "no record".into(), |run| format!("run {}", run.short())),
    );
    if let Some(error) = &last.error {
        let why = error_words(last.status, error);
        let _ = write!(text, "\n{:width$}{why}", "", width = KEY_COLUMNS + 4);
    }
    text
}

struct Page<'a> {
    screen: &'a Screen,
    text: String,
}

impl Page<'_> {
    fn line(&mut self, key: &str, value: &str) {
        let key = self.screen.paint(Tone::Dim, &format!("{key:<KEY_COLUMNS$}"));
        let _ = writeln!(self.text, "  {key}  {value}");
    }

    /// Writes the parts side by side, in as many lines as needed.
    fn list(&mut self, key: &str, parts: &[String]) {
        let room = self.screen.width.map_or(usize::MAX, |width| width.saturating_sub(KEY_COLUMNS + 4));
        let mut key = key;
        let mut line = String::new();
        for part in parts {
            if !line.is_empty() && line.chars().count() + 3 + part.chars().count() > room {
                self.line(key, &std::mem::take(&mut line));
                key = "";
            }
            if !line.is_empty() {
                line.push_str(" · ");
            }
            line.push_str(part);
        }
        if !line.is_empty() {
            self.line(key, &line);
        }
    }

    fn slots(&mut self, detail: &AgentDetail) {
        let screen = self.screen;
        // slots that pass while the agent is paused start nothing
        let agent = &detail.agent;
        let starts = |at: &Timestamp| {
            agent.state != Desired::Paused || agent.resume_at.is_some_and(|resume_at| *at > resume_at)
        };
        let slots: Vec<Timestamp> = detail.next_slots.iter().copied().filter(starts).collect();
        let mut next: Vec<String> = match (&slots[..], agent.next_run) {
            ([], None) => return,
            ([], Some(at)) => vec![screen.full(at)],
            ([first, rest @ ..], _) => {
                let rest = rest.iter().take(4).map(|at| screen.short_local(*at));
                std::iter::once(screen.full(*first)).chain(rest).collect()
            }
        };
        if let Some(last) = next.last_mut() {
            last.push_str(&screen.zone_beside(&agent.schedule));
        }
        let first = slots.first().copied().or(agent.next_run);
        if let (Some(until), Some(first)) = (agent.budget_used_up_until, first)
            && until > screen.now
            && first < until
        {
            let until = screen.short_local(until);
            next.insert(0, screen.paint(Tone::Warn, &format!("refused until {until}, for want of budget")));
        }
        self.list("next", &next);
    }

    fn history(&mut self, detail: &AgentDetail) {
        let screen = self.screen;
        let agent = &detail.agent;
        if let Some(well) = &detail.all_well {
            let checked = agent.last_run.as_ref().map_or(well.until, |last| last.finished_at);
            let times = match well.count {
                1 => "once".to_owned(),
                count => format!("{count} times"),
            };
            let text = format!(
                "checked {}, {times} since {}",
                screen.relative(checked),
                screen.short_local(well.since)
            );
            self.line("all well", &screen.paint(Tone::Good, &text));
        }
        if !detail.agent.recent.is_empty() {
            let room = screen.width.map_or(usize::MAX, |width| width.saturating_sub(KEY_COLUMNS + 4));
            let recent = &detail.agent.recent[detail.agent.recent.len().saturating_sub(room)..];
            self.line("recent", &strip(recent, screen));
            self.line("durations", &bars(recent, screen));
        }
        let mut counts = format!("{}, {} ok, ", counted(agent.run_count, "run"), agent.success_count);
        let failed = format!("{} failed", agent.error_count);
        counts.push_str(&screen.paint(if agent.error_count > 0 { Tone::Warn } else { Tone::Plain }, &failed));
        if agent.consecutive_errors > 0 {
            let _ = write!(counts, " ({} in a row)", agent.consecutive_errors);
        }
        if agent.skipped_count > 0 {
            let _ = write!(counts, ", {} without a run", counted(agent.skipped_count, "slot"));
        }
        self.line("count", &counts);
        if let (Some(p50), Some(p95)) = (detail.p50_ms, detail.p95_ms) {
            self.line("takes", &format!("{} (median), {} (95 %)", millis(p50), millis(p95)));
        }
    }
}

/// Formats runs as one sign each, oldest first.
pub(super) fn strip(runs: &[RecentRun], screen: &Screen) -> String {
    runs.iter().map(|run| screen.paint(Tone::of_run(run.status), sign(run.status))).collect()
}

fn sign(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Completed => "✓",
        RunStatus::Failed | RunStatus::Unverified => "✗",
        RunStatus::TimedOut => "t",
        RunStatus::Interrupted => "!",
        RunStatus::Cancelled => "-",
        RunStatus::Queued | RunStatus::Retrying | RunStatus::WaitingApproval => "·",
        RunStatus::Running => "»",
    }
}

/// Formats the durations of runs as bars, relative to the longest one.
pub(super) fn bars(runs: &[RecentRun], screen: &Screen) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let longest = runs.iter().map(|run| run.duration_ms).max().unwrap_or(0).max(1);
    let bars: String = runs
        .iter()
        .map(|run| BARS[usize::try_from(run.duration_ms.max(0) * 7 / longest).unwrap_or(7).min(7)])
        .collect();
    format!("{} up to {}", screen.paint(Tone::Dim, &bars), millis(longest))
}
