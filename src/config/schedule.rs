//! When an agent is due, and at which times it starts by itself.
use super::at::at;
use super::walk::{Item, Section};
use super::{calendars, files, keys, mcp_events, webhooks};
use crate::config::values::zone;
use crate::domain::*;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;

/// Maximum number of schedules of one agent.
const MAX_SCHEDULES: usize = 32;

/// Identifies active times: zone, hours, `except`, `only`.
type TimesKey = (String, Option<(Time, Time)>, Vec<String>, Vec<String>);

/// Creates schedules. Equal parts are shared, so that many agents need little memory.
pub(super) struct Schedules<'f> {
    fleet: &'f Fleet,
    crons: HashMap<(String, String), Arc<CronSchedule>>,
    periods: HashMap<(String, String), Arc<NamedPeriods>>,
    times: HashMap<TimesKey, Arc<ActiveTimes>>,
}

impl<'f> Schedules<'f> {
    /// Creates it for the agents of a fleet whose other tables are known.
    pub(super) fn of(fleet: &'f Fleet) -> Self {
        Self { fleet, crons: HashMap::new(), periods: HashMap::new(), times: HashMap::new() }
    }

    /// Parses the schedule of an agent.
    pub(super) fn schedule(&mut self, section: &Section<'_>) -> Option<Schedule> {
        let given: Vec<Item<'_>> = ["interval", "after", "cron", "at", "on", "when"]
            .into_iter()
            .filter_map(|name| section.own(name))
            .collect();
        if let [first, second, ..] = given[..] {
            return second.refuse_with(
                format!("an agent has one schedule, this one has `{}` and `{}`", first.name, second.name),
                "keep one of them, or list several: when = [{ cron = \"…\" }, { interval = \"…\" }]".into(),
            );
        }
        let zone = self.zone(section);
        let Some(item) = given.first().copied() else { return Some(Schedule::Manual) };
        match item.name {
            "interval" => section.positive("interval").map(Schedule::Every),
            "after" => section.positive("after").map(Schedule::After),
            "cron" => self.cron(item, zone).map(Schedule::Cron),
            "at" => at(section, item, &zone).map(Schedule::At),
            "when" => self.several(item, &zone),
            _ => on(item, self.fleet),
        }
    }

    /// Returns the agent's zone; UTC if that is invalid, so that its schedule is checked nevertheless.
    pub(super) fn zone(&self, section: &Section<'_>) -> TimeZone {
        let own = section.get("timezone");
        own.map_or_else(|| Some(self.fleet.daemon.timezone.clone()), zone).unwrap_or(TimeZone::UTC)
    }

    fn several(&mut self, list: Item<'_>, zone_of_agent: &TimeZone) -> Option<Schedule> {
        let items = list.items()?;
        if items.is_empty() || items.len() > MAX_SCHEDULES {
            return list.refuse(format!("`when` lists between 1 and {MAX_SCHEDULES} schedules"));
        }
        let mut parts = Vec::new();
        for item in items {
            let Some(section) = item.section(keys::WHEN) else { continue };
            let given: Vec<Item<'_>> =
                ["interval", "cron", "at"].into_iter().filter_map(|name| section.own(name)).collect();
            let [one] = given[..] else {
                let hint = "`after` and `on` follow what happens, and stand alone".to_owned();
                item.refuse_with::<()>(
                    "each schedule of `when` has one of `cron`, `interval` and `at`".into(),
                    hint,
                );
                continue;
            };
            let zone = section.own("timezone").and_then(zone).unwrap_or_else(|| zone_of_agent.clone());
            let part = match one.name {
                "interval" => section.positive("interval").map(Schedule::Every),
                "cron" => self.cron(one, zone).map(Schedule::Cron),
                _ => at(&section, one, &zone).map(Schedule::At),
            };
            let Some(part) = part else { continue };
            if is_too_frequent(&part) {
                let hint = "alone, a schedule can be as often as you like".to_owned();
                one.refuse_with::<()>(
                    "a schedule of `when` names moments that are at least a minute apart".into(),
                    hint,
                );
                continue;
            }
            let is_interval = |part: &Schedule| matches!(part, Schedule::Every(_));
            if is_interval(&part) && parts.iter().any(is_interval) {
                let hint = "both would begin at the same moment: use `cron` for one of them".to_owned();
                one.refuse_with::<()>("`when` has at most one `interval`".into(), hint);
            } else if parts.contains(&part) {
                one.refuse::<()>("this schedule is listed twice".into());
            } else {
                parts.push(part);
            }
        }
        match <[Schedule; 1]>::try_from(parts) {
            Ok([one]) => Some(one),
            Err(parts) => Some(Schedule::Any(parts.into())),
        }
    }

    fn cron(&mut self, item: Item<'_>, zone: TimeZone) -> Option<Arc<CronSchedule>> {
        let text = item.text()?;
        let key = (text.to_owned(), zone.iana_name().unwrap_or("").to_owned());
        if let Some(known) = self.crons.get(&key) {
            return Some(known.clone());
        }
        match CronSchedule::parse(text, zone) {
            Ok(cron) => {
                let cron = Arc::new(cron);
                self.crons.insert(key, cron.clone());
                Some(cron)
            }
            Err(CronError::Never) => {
                item.refuse_with(format!("`{text}` never fires"), "no day of the calendar fits it".into())
            }
            Err(CronError::Foreign { what, instead }) => item.refuse_with(what, instead),
            Err(error @ CronError::MisleadingStep { instead, .. }) => {
                item.refuse_with(error.to_string(), format!("write {instead}"))
            }
            Err(error) => item.refuse_with(
                error.to_string(),
                "for example \"0 9 * * MON-FRI\", \"*/10 * * * *\" or \"@daily\"".into(),
            ),
        }
    }

    /// Returns the times at which the agent starts by itself; `None`: at any time.
    pub(super) fn active_times(&mut self, section: &Section<'_>) -> Option<Arc<ActiveTimes>> {
        let known: Vec<&str> = self.fleet.calendars.keys().map(String::as_str).collect();
        let except = calendars::names(section, "except", &known);
        let only = calendars::names(section, "only", &known);
        // Without `active`, the whole day is active; it is written to override [defaults].
        let hours = section.get("active").and_then(hours).filter(|hours| hours.from != hours.until);
        if except.is_empty() && only.is_empty() && hours.is_none() {
            return None;
        }
        let zone = self.zone(section);
        let name_of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let key = (
            zone.iana_name().unwrap_or("").to_owned(),
            hours.map(|hours| (hours.from, hours.until)),
            name_of(&except),
            name_of(&only),
        );
        if let Some(known) = self.times.get(&key) {
            return Some(known.clone());
        }
        let mut periods =
            |names: &[&str]| names.iter().filter_map(|name| self.periods(name, &zone)).collect();
        let times = Arc::new(ActiveTimes {
            except: periods(&except),
            only: periods(&only),
            hours,
            zone: zone.clone(),
        });
        self.times.insert(key, times.clone());
        Some(times)
    }

    fn periods(&mut self, name: &str, zone: &TimeZone) -> Option<Arc<NamedPeriods>> {
        // An invalid calendar has been reported.
        let calendar = self.fleet.calendars.get(name)?;
        let key = (name.to_owned(), zone.iana_name().unwrap_or("").to_owned());
        let made = self.periods.entry(key).or_insert_with(|| {
            let (name, digest) = (name.into(), calendar.digest.clone());
            Arc::new(NamedPeriods { name, digest, periods: calendar.events.periods(zone) })
        });
        Some(made.clone())
    }
}

/// Returns whether its times are less than a minute apart: several such schedules together would be expensive
/// to count.
fn is_too_frequent(part: &Schedule) -> bool {
    let Schedule::Cron(cron) = part else {
        return part.interval().is_some_and(|period| period < SignedDuration::from_mins(1));
    };
    let start = Timestamp::UNIX_EPOCH;
    let moments: Vec<Timestamp> =
        std::iter::successors(cron.next_after(start), |at| cron.next_after(*at)).take(3).collect();
    moments.windows(2).any(|pair| pair[1].duration_since(pair[0]) < SignedDuration::from_mins(1))
}

/// Parses `07:00-22:00`; `24:00` is the end of the day.
fn hours(item: Item<'_>) -> Option<Hours> {
    const HOURS_HINT: &str = "write it as \"07:00-22:00\", or over midnight as \"22:00-06:00\"";
    let text = item.text()?;
    let time = |text: &str| match text.trim() {
        "24:00" => Some(Time::midnight()),
        text => Time::strptime("%H:%M", text).ok(),
    };
    let Some((from, until)) = text.split_once('-').and_then(|(from, until)| time(from).zip(time(until)))
    else {
        return item.refuse_with(format!("`{text}` names no hours of the day"), HOURS_HINT.into());
    };
    let is_whole_day = text.trim().ends_with("24:00");
    if from == until && !is_whole_day {
        let hint = "for the whole day, write \"00:00-24:00\"".to_owned();
        return item.refuse_with(format!("`{text}` begins where it ends"), hint);
    }
    Some(Hours { from, until })
}

fn on(item: Item<'_>, fleet: &Fleet) -> Option<Schedule> {
    if item.value.get_ref().is_str() {
        let event = item.word_among(EventType::TRIGGERS)?;
        return Some(Schedule::On(EventTrigger { event, agent: None, untrusted: false }));
    }
    let section = item.section(keys::ON)?;
    if let Some(after) = section.get("after") {
        return join(&section, after).map(|join| Schedule::Join(Arc::new(join)));
    }
    if let Some(server) = section.get("mcp") {
        return mcp_events::trigger(&section, server, fleet).map(|mcp| Schedule::Mcp(Arc::new(mcp)));
    }
    if let Some(webhook) = section.get("webhook") {
        return webhooks::trigger(&section, webhook, fleet).map(Schedule::Webhook);
    }
    if let Some(file) = section.get("file") {
        return files::trigger(&section, file).map(|file| Schedule::File(Arc::new(file)));
    }
    if let Some(key) = section.get("settle") {
        key.refuse::<()>("`settle` goes with `file`".into());
    }
    for key in ["args", "every"].into_iter().filter_map(|key| section.get(key)) {
        key.refuse::<()>(format!("`{}` goes with `mcp`", key.name));
    }
    for key in ["status", "within"].into_iter().filter_map(|key| section.get(key)) {
        key.refuse::<()>(format!("`{}` goes with `after`, not with `event`", key.name));
    }
    let Some(event) = section.get("event").map(|event| event.word_among(EventType::TRIGGERS)) else {
        return section.missing(
            &["event", "after", "file", "webhook", "mcp"],
            "`on` needs `event`, `after`, `file`, `webhook` or `mcp`".into(),
            Some(format!("one of {}", keys::EVENTS.join(", "))),
        );
    };
    let agent = match section.get("agent") {
        None => None,
        Some(item) => Some(agent_named(item)?),
    };
    let untrusted = section.flag("untrusted").unwrap_or(false);
    Some(Schedule::On(EventTrigger { event: event?, agent, untrusted }))
}

/// Parses a join of several agents. Whether those exist is checked when all are known.
fn join(section: &Section<'_>, after: Item<'_>) -> Option<Join> {
    section.refuse_other_keys("after", &["after", "status", "within"], keys::ON);
    let mut names: Vec<AgentId> = Vec::new();
    for item in after.items()? {
        let name = agent_named(item)?;
        if names.contains(&name) {
            return item.refuse(format!("`{name}` is listed twice"));
        }
        names.push(name);
    }
    if names.is_empty() {
        return after.refuse("`after` lists at least one agent".into());
    }
    Some(Join {
        after: names,
        status: section.word("status").unwrap_or(JoinStatus::Completed),
        within: section.positive("within").unwrap_or(Join::WITHIN),
    })
}

fn agent_named(item: Item<'_>) -> Option<AgentId> {
    match item.text()?.parse::<AgentId>() {
        Ok(id) => Some(id),
        Err(error) => item.refuse(error.to_string()),
    }
}
