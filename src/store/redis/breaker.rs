//! A circuit breaker: while Redis is known to be away, calls fail at once instead of each waiting
//! for its deadline, and one call at a time tries whether it is back.
//!
//! Not here: what counts as a failure. Invariant: while the circuit is open, at most one attempt
//! is under way, and the next one follows the last at the latest [`LONGEST_PAUSE`] after it ended.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::secret::random_bytes;

/// A single late answer may be chance; this many in a row are an outage.
const MISSES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Bounds how late a returned server is noticed (security.md row 110 asks for 5 s in all).
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Shared by everything that talks to one server.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// All calls pass.
    Closed { misses: u32 },
    /// No call passes before `until`; the first one after it does.
    Open { until: Instant, pauses: u32 },
    /// One call is out to try; all others fail.
    Probing { pauses: u32 },
}

impl Default for State {
    fn default() -> State {
        State::Closed { misses: 0 }
    }
}

/// Leave to call the server. Says how it went, or, dropped without a word (its caller went away),
/// lets the next call try.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Ordinary,
    Probe,
    Reported,
}

impl Breaker {
    /// Leave to call the server now; `None` when it is known to be away.
    pub(super) fn admit(&self) -> Option<Attempt<'_>> {
        let mut state = self.state();
        let role = match *state {
            State::Closed { .. } => Role::Ordinary,
            State::Open { until, pauses } if Instant::now() >= until => {
                *state = State::Probing { pauses };
                Role::Probe
            }
            State::Open { .. } | State::Probing { .. } => return None,
        };
        drop(state);
        Some(Attempt {
            breaker: self,
            role,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A state is one value, written whole: a panic elsewhere cannot have left half of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Whether the circuit is still as it was when this attempt was let through. An attempt that
    /// queued for a connection asks again before it makes one.
    pub(super) fn stands(&self) -> bool {
        self.role == Role::Probe || matches!(*self.breaker.state(), State::Closed { .. })
    }

    /// The server answered, whatever it said.
    pub(super) fn answered(mut self) {
        self.role = Role::Reported;
        *self.breaker.state() = State::default();
    }

    /// No answer within the deadline.
    pub(super) fn missed(self) {
        let mut state = self.breaker.state();
        if let State::Closed { misses } = &mut *state
            && *misses + 1 < MISSES
        {
            *misses += 1;
            return;
        }
        drop(state);
        self.failed();
    }

    /// The server is certainly not there: refused, reset, or not speaking the protocol.
    pub(super) fn failed(mut self) {
        let role = std::mem::replace(&mut self.role, Role::Reported);
        let mut state = self.breaker.state();
        *state = match *state {
            State::Closed { .. } => open(0),
            State::Probing { pauses } if role == Role::Probe => open(pauses.saturating_add(1)),
            // An ordinary attempt from before the circuit opened tells nothing new.
            unchanged => unchanged,
        };
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.role != Role::Probe {
            return;
        }
        let mut state = self.breaker.state();
        if let State::Probing { pauses } = *state {
            let until = Instant::now();
            *state = State::Open { until, pauses };
        }
    }
}

/// Half to all of an exponential pause: gateways that lost the same server do not all come back
/// to it in the same instant.
fn open(pauses: u32) -> State {
    let pause = FIRST_PAUSE
        .saturating_mul(1 << pauses.min(16))
        .min(LONGEST_PAUSE);
    let jitter = f64::from(u16::from_le_bytes(random_bytes())) / f64::from(u16::MAX);
    State::Open {
        until: Instant::now() + pause.mul_f64(0.5 + jitter / 2.0),
        pauses,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Breaker {
        let breaker = Breaker::default();
        breaker.admit().expect("closed at first").failed();
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_opens_it_and_one_call_at_a_time_tries_again() {
        let breaker = broken();
        assert!(breaker.admit().is_none());
        tokio::time::advance(FIRST_PAUSE).await;
        let probe = breaker.admit().expect("the pause is over");
        assert!(breaker.admit().is_none(), "a second probe");
        probe.answered();
        assert!(breaker.admit().is_some());
        assert!(breaker.admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn late_answers_open_it_only_in_a_row() {
        let breaker = Breaker::default();
        for _ in 1..MISSES {
            breaker.admit().expect("closed").missed();
        }
        breaker.admit().expect("closed").answered();
        for _ in 1..MISSES {
            breaker.admit().expect("closed").missed();
        }
        let last = breaker.admit().expect("closed");
        last.missed();
        assert!(breaker.admit().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound() {
        let breaker = broken();
        for _ in 0..40 {
            tokio::time::advance(LONGEST_PAUSE).await;
            breaker
                .admit()
                .expect("no pause is longer than the bound")
                .failed();
        }
        tokio::time::advance(LONGEST_PAUSE / 3).await;
        assert!(
            breaker.admit().is_none(),
            "a long pause after many failures"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_caller_went_away_makes_room_for_the_next() {
        let breaker = broken();
        tokio::time::advance(FIRST_PAUSE).await;
        drop(breaker.admit().expect("the pause is over"));
        assert!(breaker.admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_straggler_neither_prolongs_nor_hides_an_outage() {
        let breaker = Breaker::default();
        let straggler = breaker.admit().expect("closed");
        breaker.admit().expect("closed").failed();
        assert!(!straggler.stands());
        tokio::time::advance(FIRST_PAUSE).await;
        let probe = breaker.admit().expect("the pause is over");
        straggler.failed();
        assert!(probe.stands());
        probe.answered();
        assert!(breaker.admit().is_some());
    }
}
