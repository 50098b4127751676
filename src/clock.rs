//! The wall clock, for the modules that may read the time; and the one place where a test can move the clocks.
//!
//! `BGAGENT_TEST_CLOCK` names a file with two numbers of seconds: the offset of the wall clock, and how much more time has
//! passed. It is read on each access, and only if the variable is set: system timers can't be moved from outside of the
//! process, since they are raw system calls.
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

/// How far a test has moved the clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Offset of the wall clock.
    pub set: SignedDuration,
    /// Additional time that has passed, on all clocks.
    pub passed: SignedDuration,
}

/// Returns the wall clock in whole microseconds, like the store.
pub fn wall() -> Timestamp {
    wall_moved(moved().unwrap_or_default())
}

/// The same, moved by an offset that was just read.
pub fn wall_moved(moved: Moved) -> Timestamp {
    let now = Timestamp::now();
    let now = now.checked_add(moved.set.saturating_add(moved.passed)).unwrap_or(now);
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// Converts a span for timers of the standard library; a negative one is zero.
pub fn to_std(span: SignedDuration) -> Duration {
    Duration::try_from(span).unwrap_or(Duration::ZERO)
}

/// Returns the time since boot, including sleep (`CLOCK_BOOTTIME`, clock_gettime(2)). Tests don't move it.
pub fn boot() -> SignedDuration {
    #[cfg(target_os = "linux")]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    // includes sleep there (clock_gettime(3) of macOS)
    #[cfg(not(target_os = "linux"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(CLOCK);
    SignedDuration::new(time.tv_sec, i32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Returns how far a test has moved the clocks. `None`, without reading anything, outside of tests.
pub fn moved() -> Option<Moved> {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("BGAGENT_TEST_CLOCK").map(PathBuf::from));
    let text = std::fs::read_to_string(file.as_ref()?).unwrap_or_default();
    Some(parse(&text))
}

fn parse(text: &str) -> Moved {
    let mut spans = text.split_ascii_whitespace().map(|word| {
        let seconds = word.parse::<f64>().unwrap_or(0.0);
        SignedDuration::try_from_secs_f64(seconds).unwrap_or_default()
    });
    let mut next = || spans.next().unwrap_or_default();
    Moved { set: next(), passed: next() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_move_the_clocks() {
        let moved = |set, passed| Moved {
            set: SignedDuration::from_millis(set),
            passed: SignedDuration::from_millis(passed),
        };
        assert_eq!(parse("-172800 60.5\n"), moved(-172_800_000, 60_500));
        assert_eq!(parse("+1"), moved(1000, 0));
        assert_eq!(parse(""), Moved::default());
        assert_eq!(parse("soon nan"), Moved::default());
    }
}
