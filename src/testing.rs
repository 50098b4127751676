//! How tests judge time, so that they pass on a machine that is busy or slow.
use std::time::Duration;

/// What happens without waiting for something that takes ten minutes has happened by then, on any machine.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// The time that this thread has worked by now (`CLOCK_THREAD_CPUTIME_ID`): it stands still while others
/// work, as the time of the clock does not. What is to take a second and would take minutes is judged by it.
pub(crate) fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}
