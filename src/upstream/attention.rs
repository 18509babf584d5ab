//! Whether the task that has a connection is to be woken for it.
//!
//! The parts of a hyper connection wake each other, through the task, for every step of an
//! exchange. Here one task polls them all, one after the other, so these calls would only have it
//! polled once more for nothing; and the task that had the connection before would be woken for
//! the next one's request. Invariant: a call that comes while the task is not polling the
//! connection, but waits for it, wakes it; one that comes meanwhile is seen before the poll ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use atomic_waker::AtomicWaker;

/// What a connection is polled with, whichever task does it.
#[derive(Debug)]
pub(super) struct Attention {
    calls: Arc<Calls>,
    waker: Waker,
}

#[derive(Debug)]
struct Calls {
    task: AtomicWaker,
    /// Whether a task waits for the connection and does not poll it right now.
    awaited: AtomicBool,
    called: AtomicBool,
}

impl Attention {
    pub(super) fn new() -> Attention {
        let calls = Arc::new(Calls {
            task: AtomicWaker::new(),
            awaited: AtomicBool::new(false),
            called: AtomicBool::new(false),
        });
        Attention {
            waker: Waker::from(Arc::clone(&calls)),
            calls,
        }
    }

    /// For whatever else of the connection is waited for after a poll.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// No task has the connection any more; nothing of the last one is held.
    pub(super) fn let_go(&self) {
        self.calls.awaited.store(false, Ordering::SeqCst);
        drop(self.calls.task.take());
    }

    /// Polls again as long as that makes calls; then the task of `cx` waits for the next one.
    pub(super) fn poll<T>(
        &self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.calls.awaited.store(false, Ordering::SeqCst);
        self.calls.task.register(cx.waker());
        loop {
            self.calls.called.store(false, Ordering::SeqCst);
            let polled = poll(&mut Context::from_waker(&self.waker));
            if polled.is_ready() {
                return polled;
            }
            // In this order, and the other way round in `wake`: no call falls between.
            self.calls.awaited.store(true, Ordering::SeqCst);
            if !self.calls.called.load(Ordering::SeqCst) {
                return Poll::Pending;
            }
            self.calls.awaited.store(false, Ordering::SeqCst);
        }
    }
}

impl Wake for Calls {
    fn wake(self: Arc<Calls>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Calls>) {
        self.called.store(true, Ordering::SeqCst);
        if self.awaited.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Task>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_call_during_the_poll_is_seen_by_it_and_wakes_nobody() {
        let (task, attention) = (Arc::new(Task::default()), Attention::new());
        let waker = Waker::from(Arc::clone(&task));
        let mut polls = 0;
        let polled: Poll<()> = attention.poll(&Context::from_waker(&waker), |cx| {
            polls += 1;
            if polls < 3 {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((polls, task.0.load(Ordering::SeqCst)), (3, 0));
    }

    #[test]
    fn a_call_after_it_wakes_the_task_that_polled_last() {
        let attention = Attention::new();
        let tasks = [Arc::new(Task::default()), Arc::new(Task::default())];
        let mut inner = None;
        for task in &tasks {
            let waker = Waker::from(Arc::clone(task));
            let polled: Poll<()> = attention.poll(&Context::from_waker(&waker), |cx| {
                inner = Some(cx.waker().clone());
                Poll::Pending
            });
            assert!(polled.is_pending());
        }
        inner.expect("it was polled").wake();
        let woken = tasks.map(|task| task.0.load(Ordering::SeqCst));
        assert_eq!(woken, [0, 1]);
    }

    #[test]
    fn a_task_that_has_let_go_is_neither_woken_nor_held() {
        let (task, attention) = (Arc::new(Task::default()), Attention::new());
        let waker = Waker::from(Arc::clone(&task));
        let polled: Poll<()> = attention.poll(&Context::from_waker(&waker), |_| Poll::Pending);
        assert!(polled.is_pending());
        drop(waker);
        attention.let_go();
        attention.waker().wake_by_ref();
        assert_eq!(task.0.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&task), 1);
    }

    #[test]
    fn nobody_is_woken_for_a_connection_that_nobody_waits_for() {
        let (task, attention) = (Arc::new(Task::default()), Attention::new());
        let waker = Waker::from(Arc::clone(&task));
        let mut inner = None;
        let polled = attention.poll(&Context::from_waker(&waker), |cx| {
            inner = Some(cx.waker().clone());
            Poll::Ready(())
        });
        assert!(polled.is_ready());
        inner.expect("it was polled").wake();
        assert_eq!(task.0.load(Ordering::SeqCst), 0);
    }
}
