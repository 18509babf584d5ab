//! An alarm that rings to some 50 microseconds. Tokio's timers count in milliseconds, which would
//! be added to every latency of an open loop.

use tokio::time::Instant;

#[cfg(target_os = "linux")]
pub(crate) use precise::Alarm;

#[cfg(target_os = "linux")]
mod precise {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::Instant;

    /// A timer of the kernel's that the runtime waits for as it does for sockets.
    pub(crate) struct Alarm(AsyncFd<OwnedFd>);

    impl Alarm {
        pub(crate) fn new() -> io::Result<Alarm> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            #[expect(
                deprecated,
                reason = "its successor is unsafe for types that may change their descriptor; OwnedFd cannot"
            )]
            let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
            Ok(Alarm(timer))
        }

        /// Waits until then; not at all if that has been.
        pub(crate) async fn ring_at(&self, at: Instant) -> io::Result<()> {
            let wait = at.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Ok(());
            }
            let never = Timespec::default();
            let it_value = Timespec::try_from(wait).map_err(io::Error::other)?;
            let once = Itimerspec {
                it_interval: never,
                it_value,
            };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            let read = |timer: &OwnedFd| Ok(rustix::io::read(timer, &mut [0_u8; 8])?);
            self.0.async_io(Interest::READABLE, read).await?;
            Ok(())
        }
    }
}

/// Elsewhere, tokio's timer with its millisecond.
#[cfg(not(target_os = "linux"))]
pub(crate) struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(crate) fn new() -> std::io::Result<Alarm> {
        Ok(Alarm)
    }

    pub(crate) async fn ring_at(&self, at: Instant) -> std::io::Result<()> {
        tokio::time::sleep_until(at).await;
        Ok(())
    }
}
