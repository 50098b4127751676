//! Notifies systemd of the daemon's state (sd_notify(3)). Does nothing without systemd.
use crate::daemon::inbox::Handle;
use crate::store::Store;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[cfg(target_os = "linux")]
fn tell(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be notified");
    }
}

/// Reports that the daemon is up.
pub(super) fn ready(agents: usize) {
    #[cfg(target_os = "linux")]
    tell(&[
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status(&crate::domain::counted(agents, "agent")),
    ]);
    let _ = agents;
}

/// Reports that the daemon waits for something external, and extends the start timeout.
pub(super) fn waiting(what: &str) {
    #[cfg(target_os = "linux")]
    tell(&[sd_notify::NotifyState::Status(what), sd_notify::NotifyState::ExtendTimeoutUsec(30_000_000)]);
    let _ = what;
}

/// Reports that the daemon is up as a standby.
pub(super) fn standing_by(leader: &str) {
    #[cfg(target_os = "linux")]
    tell(&[
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status(&format!("standing by for {leader}")),
    ]);
    let _ = leader;
}

/// How often the watchdog is pinged during startup. The unit's timeout is 20 s.
pub(super) const WATCHDOG_INTERVAL: Duration = Duration::from_secs(5);

/// Pings the watchdog until [`watchdog`] does.
pub(super) async fn keep_alive() {
    loop {
        alive();
        tokio::time::sleep(WATCHDOG_INTERVAL).await;
    }
}

/// Pings the watchdog, if there is one.
pub(super) fn alive() {
    #[cfg(target_os = "linux")]
    tell(&[sd_notify::NotifyState::Watchdog]);
}

/// Reports that the daemon shuts down, and how long that may take.
pub(super) fn stopping(grace: Duration) {
    #[cfg(target_os = "linux")]
    {
        let usec = u32::try_from((grace + Duration::from_secs(20)).as_micros()).unwrap_or(u32::MAX);
        tell(&[sd_notify::NotifyState::Stopping, sd_notify::NotifyState::ExtendTimeoutUsec(usec)]);
    }
    let _ = grace;
}

/// Pings the watchdog, but only after a round trip through the loop and one through the writer: a
/// daemon whose scheduling or storage hangs is restarted, unless it is a server that hangs.
pub(super) async fn watchdog(handle: Handle, store: Store, down: CancellationToken) {
    #[cfg(target_os = "linux")]
    {
        let Some(limit) = sd_notify::watchdog_enabled() else { return };
        let mut every = tokio::time::interval(limit / 3);
        loop {
            tokio::select! {
                () = down.cancelled() => return,
                _ = every.tick() => {}
            }
            // writes to a server have timeouts of their own
            let writes = store.epoch().is_some() || store.ping().await.is_ok();
            if handle.ask(|_, _| ()).await.is_some() && writes {
                tell(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (handle, store, down);
}
