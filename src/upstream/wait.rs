//! How long an exchange may take, and the timers for it.
//!
//! A timer that is made and dropped for each request goes into the runtime's wheel and out again
//! under its lock. [`Patience`] stays there from one request to the next: it is moved earlier at
//! once and later only when it fires, so a wait that ends in time costs no operation on the wheel.
//! Invariant: nothing is over before its end has passed, however often a timer fires before.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, timeout_at};

use super::body::BodyCourse;
use super::{RequestBodyFault, UpstreamError};

/// One exchange's wait for its answer's head. A large body on a slow line is no slow upstream:
/// each piece of it begins the wait anew. (What a client may take for its body is the edge's to
/// bound.)
#[derive(Debug)]
pub(super) struct Wait {
    started: Instant,
    timeout: Duration,
    /// The request's body, if there is one.
    course: Option<Rc<BodyCourse>>,
}

/// A timer for one wait after another. Costs nothing before the first.
#[derive(Debug, Default)]
pub(super) struct Patience {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// Begins now.
    pub(super) fn new(timeout: Duration, course: Option<Rc<BodyCourse>>) -> Wait {
        Wait {
            started: Instant::now(),
            timeout,
            course,
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// When it is over, as things stand.
    pub(super) fn end(&self) -> Instant {
        let moved = self.course.as_deref().and_then(BodyCourse::moved);
        moved.unwrap_or(self.started) + self.timeout
    }

    /// What went wrong with the request's body, if anything did.
    pub(super) fn fault(&self) -> Option<RequestBodyFault> {
        self.course.as_deref().and_then(BodyCourse::fault)
    }

    /// What comes of `work` before this is over.
    pub(super) async fn bound<T>(&self, work: impl Future<Output = T>) -> Result<T, UpstreamError> {
        let mut work = pin!(work);
        loop {
            let end = self.end();
            if let Ok(done) = timeout_at(end, work.as_mut()).await {
                return Ok(done);
            }
            if self.end() <= end {
                return Err(UpstreamError::Timeout);
            }
        }
    }
}

impl Patience {
    /// Ready once `end` has passed.
    pub(super) fn poll_until(&mut self, end: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if end < sleep.deadline() {
            sleep.as_mut().reset(end);
        }
        // Work that uses up the task's budget each time would keep the timer from being asked.
        if !tokio::task::coop::has_budget_remaining() && end <= Instant::now() {
            return Poll::Ready(());
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_at_its_own_end() {
        let start = Instant::now();
        let mut patience = Patience::default();
        for seconds in [5, 20, 21] {
            let end = start + Duration::from_secs(seconds);
            poll_fn(|cx| patience.poll_until(end, cx)).await;
            let late = Instant::now().duration_since(end);
            assert!(late < Duration::from_millis(2), "{seconds} s: {late:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_also_where_other_work_has_used_up_the_budget() {
        let end = Instant::now() + Duration::from_secs(1);
        let mut patience = Patience::default();
        poll_fn(|cx| {
            assert!(patience.poll_until(end, cx).is_pending());
            Poll::Ready(())
        })
        .await;
        tokio::time::advance(Duration::from_secs(2)).await;
        let ended = tokio::spawn(poll_fn(move |cx| {
            while tokio::task::coop::has_budget_remaining() {
                let _ = pin!(tokio::task::coop::consume_budget()).poll(cx);
            }
            Poll::Ready(patience.poll_until(end, cx).is_ready())
        }));
        assert!(ended.await.expect("no panic"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_ended_in_time_does_not_end_the_next() {
        let start = Instant::now();
        let mut patience = Patience::default();
        for (asked, awaited) in [(1, 9), (20, 10)] {
            let abandoned = start + Duration::from_secs(asked);
            poll_fn(|cx| {
                assert!(patience.poll_until(abandoned, cx).is_pending());
                Poll::Ready(())
            })
            .await;
            let end = start + Duration::from_secs(awaited);
            poll_fn(|cx| patience.poll_until(end, cx)).await;
            let late = Instant::now().duration_since(end);
            assert!(late < Duration::from_millis(2), "{awaited} s: {late:?}");
        }
    }
}
