//! Signals that steer the daemon, and those that mean nothing to it.
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
    /// Those that would end us without a word, and mean nothing to us.
    meaningless: mpsc::Receiver<&'static str>,
    stops: u32,
}

/// Signals whose default is to end the process (signal(7)). A file that grows over its limit and time that is
/// used up (`SIGXFSZ`, `SIGXCPU`) are errors of the call that meets them; the others are for others. They are
/// caught and not ignored: what is ignored is ignored by what we start, too. `SIGBUS` is not among them: the
/// memory that it speaks of is gone, and a new life is right.
const MEANINGLESS: [(i32, &str); 7] = [
    (rustix::process::Signal::XFSZ.as_raw(), "SIGXFSZ"),
    (rustix::process::Signal::XCPU.as_raw(), "SIGXCPU"),
    (rustix::process::Signal::USR1.as_raw(), "SIGUSR1"),
    (rustix::process::Signal::USR2.as_raw(), "SIGUSR2"),
    (rustix::process::Signal::ALARM.as_raw(), "SIGALRM"),
    (rustix::process::Signal::VTALARM.as_raw(), "SIGVTALRM"),
    (rustix::process::Signal::PROF.as_raw(), "SIGPROF"),
];

/// Of signals of one kind that mean nothing no more is said within this time.
const SAID_AGAIN: std::time::Duration = std::time::Duration::from_secs(3600);

impl ProcessSignals {
    /// From now on signals come here.
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

    /// The next one. A second stop is one at once.
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

/// Catches what means nothing; the name of each comes through the channel.
fn meaningless(
    listen: &impl Fn(SignalKind) -> Result<tokio::signal::unix::Signal, Failure>,
) -> Result<mpsc::Receiver<&'static str>, Failure> {
    let (tell, told) = mpsc::channel(1);
    for (number, name) in MEANINGLESS {
        let mut caught = listen(SignalKind::from_raw(number))?;
        let tell = tell.clone();
        tokio::spawn(async move {
            let mut told = None::<tokio::time::Instant>;
            while caught.recv().await.is_some() {
                // a limit that is reached is met by each write: the log is for what is new
                if told.is_none_or(|at| at.elapsed() >= SAID_AGAIN) && tell.try_send(name).is_ok() {
                    told = Some(tokio::time::Instant::now());
                }
            }
        });
    }
    Ok(told)
}
