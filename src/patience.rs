//! A timer for one wait after another.
//!
//! One that is made and dropped for each wait goes into the runtime's wheel and out again under its
//! lock. This one stays there: it is moved earlier at once and later only when it fires, so a wait
//! that ends in time costs no operation on the wheel. Not here: what is waited for. Invariant: no
//! wait is over before its end has passed, however often the timer fires before, and none goes on
//! after it because other work has used up the task's budget.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// The timer. Costs nothing before the first wait.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Ready once `end` has passed.
    pub(crate) fn poll_until(&mut self, end: Instant, cx: &mut Context<'_>) -> Poll<()> {
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
    use std::pin::pin;
    use std::time::Duration;

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
