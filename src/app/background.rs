//! Work that may take its time: on a thread of its own, at a low priority.
//!
//! A reload compiles thousands of routes. On a machine whose cores are busy with requests that work
//! would otherwise take a core from a worker for a whole slice of the scheduler's time. Not here:
//! what must not wait, such as revocations. Invariant: no request waits for what runs here, except for a
//! lock of the metrics registry that a new route's first request may share with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

/// As nice(1) counts; ordinary threads have 0.
const NICE: i32 = 10;

/// The work did not end: a bug in it, or no thread for it.
#[derive(Debug, thiserror::Error)]
#[error("background work was lost")]
pub struct Lost;

/// Does some work in the background and waits for it.
pub(super) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Lost> {
    let (done, outcome) = oneshot::channel();
    std::thread::Builder::new()
        .name("background".into())
        .spawn(move || {
            give_way();
            // Whoever asked may have gone.
            let _ = done.send(work());
        })
        .map_err(|_| Lost)?;
    outcome.await.map_err(|_| Lost)
}

/// Lets go of something large a while later, when the workers have let go of it too: whoever is
/// the last frees it, and that shall be no worker.
pub(super) fn drop_after<T: Send + Sync + 'static>(delay: Duration, thing: Arc<T>) {
    drop(tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let _ = run(move || drop(thing)).await;
    }));
}

/// Lowers the calling thread's priority. Linux has one for each thread; where that cannot be, the
/// work is done all the same.
fn give_way() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICE) {
        tracing::debug!(%error, "background work keeps its ordinary priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_has_a_low_priority_and_gives_its_outcome() {
        let nice = || {
            let thread = rustix::thread::gettid();
            rustix::process::getpriority_process(Some(thread)).expect("readable")
        };
        let before = nice();
        assert_eq!(run(nice).await.expect("done"), before.max(NICE));
        assert_eq!(nice(), before);
    }

    #[tokio::test]
    async fn work_that_panics_is_lost() {
        assert!(run(|| panic!("a bug on purpose")).await.is_err());
    }
}
