//! Blocking calls that may never return: a file system whose server is gone does not respond. Only one call per such place is
//! in flight, so that a probe each minute does not exhaust the threads; the others wait, and give up after their own timeouts.
use crate::domain;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinError;

type Places = Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>;
static PLACES: LazyLock<Places> = LazyLock::new(Places::default);

/// Runs `call` on a blocking thread, while no other call for `place` is in flight. May never return: callers must add a
/// timeout.
pub async fn one_at_a_time<T: Send + 'static>(
    place: &str,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let turn = {
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        // Places that nobody waits for are removed.
        places.retain(|_, turn| Arc::strong_count(turn) > 1);
        places.entry(place.to_owned()).or_default().clone()
    };
    let turn = turn.lock_owned().await;
    let joined = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        call()
    });
    joined.await.map_err(panic_text)
}

/// The same, but with a timeout of `bound`; `None`: it timed out. A call that hangs keeps its one thread, and no other one is
/// started meanwhile.
pub async fn within<T: Send + 'static>(
    bound: Duration,
    place: &str,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<Result<T, String>> {
    tokio::time::timeout(bound, one_at_a_time(place, call)).await.ok()
}

/// Returns the message of a task that panicked.
pub fn panic_text(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => domain::panic_text(&*payload),
        Err(_) => "it was cancelled".into(),
    }
}
