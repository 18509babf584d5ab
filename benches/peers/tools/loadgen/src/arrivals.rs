//! The times at which requests are due, from a kernel timer: tokio's own has steps of a millisecond.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

pub struct Arrivals {
    timer: AsyncFd<OwnedFd>,
    first: Instant,
    every: Duration,
    /// How many have been given out.
    given: u64,
    /// How many have come due beyond those.
    due: u64,
}

impl Arrivals {
    /// The first after `delay`, then one `every` so often.
    pub fn new(delay: Duration, every: Duration) -> io::Result<Self> {
        let first = Instant::now() + delay;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let times = Itimerspec {
            it_interval: timespec(every),
            it_value: timespec(delay),
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an OwnedFd cannot do what it is deprecated for: change"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self {
            timer,
            first,
            every,
            given: 0,
            due: 0,
        })
    }

    /// Waits for the next, and tells when it was due: earlier than now where the caller is late.
    pub async fn next(&mut self) -> io::Result<Instant> {
        if self.due == 0 {
            self.due = self.expired().await?;
        }
        let due = self.first + self.every.mul_f64(self.given as f64);
        self.due -= 1;
        self.given += 1;
        Ok(due)
    }

    async fn expired(&self) -> io::Result<u64> {
        let mut count = [0; 8];
        let read = |timer: &OwnedFd| Ok(rustix::io::read(timer, &mut count)?);
        self.timer.async_io(Interest::READABLE, read).await?;
        Ok(u64::from_ne_bytes(count))
    }
}

/// Never zero, which would mean no timer at all.
fn timespec(duration: Duration) -> Timespec {
    let nanoseconds = duration.max(Duration::from_nanos(1)).as_nanos();
    Timespec {
        tv_sec: i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: (nanoseconds % 1_000_000_000) as i64,
    }
}
