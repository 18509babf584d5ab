//! Where hyper's HTTP/2 spawns: onto the worker's own thread.
//!
//! Invariant: what it spawns never leaves the thread that it was spawned on.

/// hyper's executor of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
