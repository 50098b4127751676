//! Reads the clocks and waits for them. The only source of time in this room.
use crate::clock::{Moved, moved, wall_moved};
use crate::domain::Now;
use crate::engine::Wake;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Maximum interval between reads of the wall clock where no timer reports that it was set.
const MAX_RECHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Polling interval of clocks that a test moves.
const TEST_CLOCK_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Returns the current time of all three clocks; the wall clock in whole microseconds, as the store keeps it.
pub(super) fn now() -> Now {
    read_all(moved().unwrap_or_default())
}

fn read_all(moved: Moved) -> Now {
    Now { wall: wall_moved(moved), boot: crate::clock::boot() + moved.passed, mono: mono() + moved.passed }
}

/// Sleeps for `span` of the monotonic clock, which stops during suspend and which a test may move.
pub(super) async fn sleep(span: Duration) {
    if moved().is_none() {
        return tokio::time::sleep(span).await;
    }
    let until = now().mono + SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    while now().mono < until {
        tokio::time::sleep(TEST_CLOCK_POLL_INTERVAL).await;
    }
}

fn read(clock: rustix::time::ClockId) -> SignedDuration {
    let time = rustix::time::clock_gettime(clock);
    SignedDuration::new(time.tv_sec, i32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Reads the clock that stops during suspend, as tokio's timers do.
#[cfg(target_os = "linux")]
fn mono() -> SignedDuration {
    read(rustix::time::ClockId::Monotonic)
}

/// Reads std's monotonic clock, which stops during suspend on macOS.
#[cfg(not(target_os = "linux"))]
fn mono() -> SignedDuration {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let began = FIRST.get_or_init(std::time::Instant::now);
    SignedDuration::try_from(began.elapsed()).unwrap_or(SignedDuration::MAX)
}

/// Waits for wall-clock time and elapsed time at once.
pub(super) struct Alarm {
    /// The offset set by a test when the clocks were last read.
    seen: Option<Moved>,
    #[cfg(target_os = "linux")]
    wall: Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>,
}

impl Alarm {
    /// Creates an alarm; must be called inside the runtime.
    pub(super) fn new() -> Self {
        #[cfg(target_os = "linux")]
        {
            use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
            let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC);
            #[expect(
                deprecated,
                reason = "its replacement is unsafe; this owns its descriptor and never gives it away"
            )]
            let wall = fd.ok().and_then(|fd| tokio::io::unix::AsyncFd::new(fd).ok());
            Self { seen: None, wall }
        }
        #[cfg(not(target_os = "linux"))]
        Self { seen: None }
    }

    /// Returns at `wake` or earlier. On Linux a wall-clock timer also expires when the clock is set
    /// and when the machine resumes (timerfd_create(2), `TFD_TIMER_CANCEL_ON_SET`).
    pub(super) async fn until(&mut self, wake: Wake) {
        if moved().is_some() {
            return self.until_moved(wake).await;
        }
        let elapsed = wake.mono.map(|at| crate::clock::to_std(at - mono()));
        let wall = wake.wall.map(|at| crate::clock::to_std(at.duration_since(crate::clock::wall())));
        tokio::select! {
            () = sleep_or_never(elapsed) => {}
            () = self.wall(wake.wall, wall) => {}
        }
    }

    /// Returns at `wake`, or when a test has moved the clocks.
    async fn until_moved(&mut self, wake: Wake) {
        loop {
            let moved = moved();
            let now = read_all(moved.unwrap_or_default());
            let due =
                wake.wall.is_some_and(|at| at <= now.wall) || wake.mono.is_some_and(|at| at <= now.mono);
            if due || std::mem::replace(&mut self.seen, moved) != moved {
                return;
            }
            tokio::time::sleep(TEST_CLOCK_POLL_INTERVAL).await;
        }
    }

    #[cfg(target_os = "linux")]
    async fn wall(&mut self, at: Option<Timestamp>, left: Option<Duration>) {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let Some(fd) = &self.wall else {
            return sleep_or_never(left.map(|left| left.min(MAX_RECHECK_INTERVAL))).await;
        };
        // without a deadline, the far future: then only a change of the clock ends the wait
        let at = at.unwrap_or(Timestamp::MAX).max(Timestamp::UNIX_EPOCH);
        let value = Timespec { tv_sec: at.as_second(), tv_nsec: i64::from(at.subsec_nanosecond()).max(1) };
        let timer = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        if timerfd_settime(fd.get_ref(), flags, &timer).is_err() {
            return sleep_or_never(left.map(|left| left.min(MAX_RECHECK_INTERVAL))).await;
        }
        if let Ok(mut ready) = fd.readable().await {
            // the count of expirations, or ECANCELED when the clock was set: either way, check again
            let _ = rustix::io::read(fd.get_ref(), &mut [0u8; 8]);
            ready.clear_ready();
        }
    }

    #[cfg(not(target_os = "linux"))]
    async fn wall(&mut self, _: Option<Timestamp>, left: Option<Duration>) {
        sleep_or_never(left.map(|left| left.min(MAX_RECHECK_INTERVAL))).await;
    }
}

async fn sleep_or_never(left: Option<Duration>) {
    match left {
        Some(left) => tokio::time::sleep(left).await,
        None => std::future::pending().await,
    }
}
