//! Schedules that don't mean what they seem to: times in the past, day fields of which either matches, and
//! local times that a clock change skips or repeats.
use super::super::environment::{is_zone, zone_hint};
use super::super::walk::Section;
use super::place::Place;
use crate::domain::{Calendar, ClockChange, CronSchedule, Schedule};
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// How far ahead clock changes are searched.
const CLOCK_CHANGE_HORIZON: SignedDuration = SignedDuration::from_hours(24 * 366);

/// Returns whether the zone of agents that set none is valid. Warns if TZ is not a valid zone.
pub(super) fn zone_is_known(top: &Section<'_>) -> bool {
    let daemon = top.table.get_key_value("daemon");
    let own = daemon.and_then(|(_, value)| value.get_ref().as_table()?.get("timezone"));
    if own.is_none()
        && let Some(name) = (top.file.context.env)("TZ").filter(|name| !is_zone(name))
    {
        top.file.warn_whole(
            format!(
                "the variable TZ is `{name}`, which is not a time zone: agents without `timezone` go by UTC"
            ),
            Some(format!("{}, or give [daemon] a `timezone`", zone_hint(&name).trim_end_matches('?'))),
        );
    }
    daemon.is_none_or(|(key, value)| !top.file.has_error_in(key.span(), value))
}

type Linted = BTreeMap<String, Option<(String, String)>>;

/// Warns of an unusual `cron` or `at`. `zone`: the fleet's is valid. `linted` caches results by expression
/// and zone.
pub(super) fn lint(at: &Place<'_>, zone: bool, linted: &mut Linted) {
    let now = at.file.context.now;
    let zoned = at.knows(&["timezone"]) && (zone || at.has("timezone"));
    let key_of = |own| if matches!(at.agent.schedule, Schedule::Any(_)) { "when" } else { own };
    for part in at.agent.schedule.parts() {
        match part {
            Schedule::At(when) if zoned && *when <= now => {
                at.file.warn(
                    at.of(key_of("at")),
                    format!("{when}: this time has passed; the agent will never start"),
                    None,
                );
            }
            Schedule::Cron(cron) => of_cron(at, key_of("cron"), cron, zoned, linted),
            _ => {}
        }
    }
    never_active(at, zoned);
}

fn of_cron(at: &Place<'_>, key: &'static str, cron: &CronSchedule, zoned: bool, linted: &mut Linted) {
    let now = at.file.context.now;
    let name = format!("{} {}", cron.expression(), cron.zone_name());
    let found = zoned.then(|| linted.entry(name).or_insert_with(|| clock_change(cron, now)).as_ref());
    if let Some((message, hint)) = found.flatten() {
        at.file.warn(at.of(key), message.clone(), Some(hint.clone()));
    }
    if cron.is_either_day() {
        at.file.warn(
            at.of(key),
            "it fires on each of the weekdays, and on the days of the month as well: where either fits"
                .into(),
            Some("put `+` before the weekday for where both fit, as in `0 0 13 * +FRI`".into()),
        );
    }
}

/// Warns if hours and calendars exclude all times of the schedule.
fn never_active(at: &Place<'_>, zoned: bool) {
    let agent = at.agent;
    let Some(times) = agent.active_times.as_deref().filter(|_| zoned) else { return };
    let now = at.file.context.now;
    for (key, calendars) in [("except", &times.except), ("only", &times.only)] {
        for calendar in calendars {
            let message = match calendar.periods.last() {
                None => format!("calendar `{}` has no events", calendar.name),
                Some(last) if last.until <= now => {
                    let day = last.until.to_zoned(times.zone.clone()).date();
                    format!("the last event of calendar `{}` ended on {day}", calendar.name)
                }
                Some(_) => continue,
            };
            at.file.warn(at.of(key), message, Some("export its file again".into()));
        }
    }
    let calendar = Calendar { schedule: &agent.schedule, anchor: now, first_run: agent.first_run };
    let Some(next) = calendar.next_after(now) else { return };
    if times.first_active(|after| calendar.next_after(after), next).is_none() {
        let key = ["active", "only", "except"].into_iter().find(|key| at.has(key)).unwrap_or("active");
        let cause = times.at(next).0.unwrap_or_default();
        at.file.warn(
            at.of(key),
            format!("none of its next times is one at which it may start ({cause})"),
            Some("compare its schedule with `active`, `except` and `only`".into()),
        );
    }
}

/// Describes the effect of a clock change on the schedule within the next year, with advice.
fn clock_change(cron: &CronSchedule, now: Timestamp) -> Option<(String, String)> {
    let change = cron.clock_change(now, now.checked_add(CLOCK_CHANGE_HORIZON).ok()?)?;
    let first = *change.times.first()?;
    let verb = match (change.skipped, change.times.len() > 1 || change.more) {
        (true, true) => "do not exist",
        (true, false) => "does not exist",
        (false, true) => "come twice",
        (false, false) => "comes twice",
    };
    let message = format!("{} {verb} on {} in {}", times(&change), first.date(), cron.zone_name());
    let hint = match (change.skipped, change.fixed) {
        (true, true) => {
            let then = shown(change.then);
            let day = if change.then.date() == first.date() {
                String::new()
            } else {
                format!(" of {}", change.then.date())
            };
            format!("that day it fires at {then}{day}, right after the clock was set forward")
        }
        (true, false) => {
            "that day they are left out: with a wildcard in minute or hour it follows the clock".into()
        }
        (false, true) => "that day it fires once, the first time".into(),
        (false, false) => {
            "that day it fires both times: with a wildcard in minute or hour it follows the clock".into()
        }
    };
    Some((message, hint))
}

/// Formats `02:00, 02:20 and 02:40`.
fn times(change: &ClockChange) -> String {
    let all: Vec<String> = change.times.iter().map(|time| shown(*time)).collect();
    match &all[..] {
        all if change.more => format!("{} and other times", all.join(", ")),
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        all => all.concat(),
    }
}

fn shown(time: DateTime) -> String {
    time.strftime(if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" }).to_string()
}
