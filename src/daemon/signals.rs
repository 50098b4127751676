//! Signals that control the daemon, and signals that it ignores.
use super::failure::Failure;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What a signal asks for.
pub(super) enum Signal {
    Reload,
    Meaningless(&'static str),
    Stop { again: bool },
}

/// The signals that the daemon listens for.
pub(super) struct ProcessSignals {
    hangup: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    /// Signals that would terminate the process by default, and are ignored.
    meaningless: mpsc::Receiver<&'static str>,
    stops: u32,
}

/// Signals whose default action is to terminate the process (signal(7)). Exceeded file size and CPU
/// time limits (`SIGXFSZ`, `SIGXCPU`) are handled as errors of the failing call; the others are not
/// meant for us. They are caught rather than ignored, since ignored signals are inherited by the
/// programs that we start. `SIGBUS` is not among them: the mapped memory is lost, and a restart is
/// right.
const MEANINGLESS: [(i32, &str); 7] = [
    (rustix::process::Signal::XFSZ.as_raw(), "SIGXFSZ"),
    (rustix::process::Signal::XCPU.as_raw(), "SIGXCPU"),
    (rustix::process::Signal::USR1.as_raw(), "SIGUSR1"),
    (rustix::process::Signal::USR2.as_raw(), "SIGUSR2"),
    (rustix::process::Signal::ALARM.as_raw(), "SIGALRM"),
    (rustix::process::Signal::VTALARM.as_raw(), "SIGVTALRM"),
    (rustix::process::Signal::PROF.as_raw(), "SIGPROF"),
];

/// Minimum interval between log lines about the same meaningless signal.
const LOG_INTERVAL: std::time::Duration = std::time::Duration::from_secs(3600);

impl ProcessSignals {
    /// Installs the signal handlers.
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|cause| Failure::Io { doing: "can't listen for signals".into(), cause })
        };
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            meaningless: meaningless(&listen)?,
            stops: 0,
        })
    }

    /// Returns the next signal. A second stop means to stop at once.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => return Signal::Reload,
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            Some(name) = self.meaningless.recv() => return Signal::Meaningless(name),
        }
        self.stops += 1;
        Signal::Stop { again: self.stops > 1 }
    }
}

/// Catches meaningless signals; their names are sent through the channel.
fn meaningless(
    listen: &impl Fn(SignalKind) -> Result<tokio::signal::unix::Signal, Failure>,
) -> Result<mpsc::Receiver<&'static str>, Failure> {
    let (sender, receiver) = mpsc::channel(1);
    for (number, name) in MEANINGLESS {
        let mut caught = listen(SignalKind::from_raw(number))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            let mut logged_at = None::<tokio::time::Instant>;
            while caught.recv().await.is_some() {
                // an exceeded limit signals at each write: log only the first
                if logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) && sender.try_send(name).is_ok() {
                    logged_at = Some(tokio::time::Instant::now());
                }
            }
        });
    }
    Ok(receiver)
}
