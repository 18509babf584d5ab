//! Whose turn it is to ask, and since when.
//!
//! Closed loop: always, from now. Open loop: request k is due at start + k / rate, whether or not
//! anybody is free to send it; a latency that counts from there holds the wait for a gateway that
//! stalls, which a closed loop leaves out (Gil Tene's "coordinated omission"). One thread's lanes share a
//! `Pace`; nothing in it is locked.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::plan::Rate;

/// The turns of one thread's lanes.
pub(crate) struct Pace {
    schedule: Option<Schedule>,
    start: Cell<Option<Instant>>,
    /// The next turn to be taken.
    next: Cell<u64>,
    over: Cell<bool>,
    changed: Notify,
}

/// When each of one thread's requests is due; threads take turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) rate: Rate,
    pub(crate) thread: usize,
    pub(crate) threads: usize,
    /// From here on nothing is due.
    pub(crate) duration: Duration,
}

impl Schedule {
    /// How long after the start the turn is; none when the duration is over by then.
    fn due(self, turn: u64) -> Option<Duration> {
        let place = turn as f64 * self.threads as f64 + self.thread as f64;
        let due = Duration::try_from_secs_f64(place / self.rate.per_second());
        due.ok().filter(|due| *due < self.duration)
    }
}

impl Pace {
    pub(crate) fn new(schedule: Option<Schedule>) -> Pace {
        Pace {
            schedule,
            start: Cell::new(None),
            next: Cell::new(0),
            over: Cell::new(false),
            changed: Notify::new(),
        }
    }

    /// From now on there are turns.
    pub(crate) fn begin(&self, start: Instant) {
        self.start.set(Some(start));
        self.changed.notify_waiters();
    }

    /// From now on there are none.
    pub(crate) fn finish(&self) {
        self.over.set(true);
        self.changed.notify_waiters();
    }

    /// The next turn: the instant from which its latency counts. None when all is over.
    pub(crate) async fn turn(&self) -> Option<Instant> {
        loop {
            if self.over.get() {
                return None;
            }
            if let Some(due) = self.take(Instant::now()) {
                return Some(due);
            }
            self.changed.notified().await;
        }
    }

    /// The next turn if it is due by now.
    pub(crate) fn take(&self, now: Instant) -> Option<Instant> {
        let start = self.start.get()?;
        let Some(schedule) = self.schedule else {
            return Some(now);
        };
        let next = self.next.get();
        let due = start + schedule.due(next)?;
        if due > now {
            return None;
        }
        self.next.set(next + 1);
        Some(due)
    }

    /// Wakes a lane for each turn that becomes due; without a schedule there is nothing to do.
    pub(crate) async fn call(&self) -> std::io::Result<()> {
        let (Some(schedule), Some(start)) = (self.schedule, self.start.get()) else {
            return std::future::pending().await;
        };
        let alarm = Alarm::new()?;
        let mut called = 0;
        loop {
            called = self.next.get().max(called);
            let Some(due) = schedule.due(called) else {
                return std::future::pending().await;
            };
            alarm.ring_at(start + due).await?;
            let since = start.elapsed();
            while schedule.due(called).is_some_and(|due| due <= since) {
                called += 1;
                self.changed.notify_one();
            }
        }
    }

    /// Turns that came and that nobody took.
    pub(crate) fn missed(&self, end: Instant) -> u64 {
        let (Some(schedule), Some(start)) = (self.schedule, self.start.get()) else {
            return 0;
        };
        let elapsed = end.duration_since(start);
        let missed = (self.next.get()..)
            .take_while(|turn| schedule.due(*turn).is_some_and(|due| due < elapsed));
        missed.count() as u64
    }
}
