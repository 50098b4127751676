//! `[calendars.…]`: iCalendar files, read together with the configuration.
use super::walk::Section;
use crate::domain::{CalendarSpec, Events, hex};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Maximum size of a file.
const MAX_CALENDAR_BYTES: u64 = 4 << 20;
/// Number of years before and after the current one from which events are taken.
const EVENT_YEARS: (i16, i16) = (5, 20);

/// Reads the calendar of a table.
pub(super) fn calendar(section: &Section<'_>) -> Option<CalendarSpec> {
    let Some(item) = section.get("ics") else {
        let hint = "name an iCalendar file: ics = \"holidays.ics\"".to_owned();
        return section.missing(&["ics"], "a calendar needs `ics`".into(), Some(hint));
    };
    let path = section.file.expand(item.text()?, item.span());
    let shown = path.display();
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) => {
            let hint =
                "a calendar that can't be read would let agents start on days that it leaves out".to_owned();
            return item.refuse_with(format!("{shown} can't be read: {error}"), hint);
        }
    };
    match Events::parse(&text, years(section.file.context.now)) {
        Ok(events) => Some(CalendarSpec { digest: digest(&text), events }),
        Err(error) => item.refuse(format!("{shown}, {error}")),
    }
}

/// Returns the names in `except` or `only` that refer to existing calendars.
pub(super) fn names<'a>(section: &Section<'a>, key: &'a str, known: &[&str]) -> Vec<&'a str> {
    let Some(list) = section.get(key) else { return Vec::new() };
    let mut names = Vec::new();
    for item in list.items().unwrap_or_default() {
        let Some(name) = item.text() else { continue };
        if super::values::refers(item, name, "calendar", known.iter().copied()) {
            names.push(name);
        }
    }
    names
}

fn read(path: &Path) -> io::Result<String> {
    // Opening a pipe would block until there is a writer.
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    let refuse = |why: &str| Err(io::Error::other(why.to_owned()));
    if about.is_dir() {
        return refuse("it is a folder");
    }
    if !about.is_file() {
        return refuse("it is not a regular file");
    }
    let mut bytes = Vec::new();
    file.take(MAX_CALENDAR_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CALENDAR_BYTES {
        return refuse("it is larger than 4 MiB");
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

fn years(now: Timestamp) -> (Date, Date) {
    let year = now.to_zoned(TimeZone::UTC).year();
    let (before, after) = EVENT_YEARS;
    let day = |year: i16, month, day| Date::new(year, month, day).unwrap_or(Date::MAX);
    (day(year - before, 1, 1), day(year.saturating_add(after), 12, 31))
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text)[..16])
}
