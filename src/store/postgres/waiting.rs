//! Bridges blocking threads and the asynchronous driver: one process-wide runtime carries all
//! connections of the store, from whichever thread they are used.
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use tokio::runtime::Runtime;

/// Wakes a parked thread.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn runtime() -> &'static Runtime {
    static ONE: OnceLock<Runtime> = OnceLock::new();
    ONE.get_or_init(|| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("postgres").enable_all().build();
        runtime.expect("a thread can be started")
    })
}

/// Blocks this thread until `work` completes. Its connections and timers live on the store's
/// runtime. Unlike `Handle::block_on`, it may be called inside another runtime, as tests do.
pub(super) fn wait<T>(work: impl Future<Output = T>) -> T {
    let _here = runtime().enter();
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Waiting within a runtime.
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn one_can_wait_within_a_runtime() {
        let late = wait(async {
            tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err()
        });
        assert!(late);
        assert_eq!(wait(async { tokio::spawn(async { 7 }).await.unwrap() }), 7);
    }
}
