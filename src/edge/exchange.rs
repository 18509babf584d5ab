//! What one connection's parts know of each other: the guard below hyper, the service above it,
//! and the driver beside it.
//!
//! Invariant: every wait that a client can cause is written here while it lasts, so the driver's
//! one timer covers them all, and a request that is answered at once costs no timer operation.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::{ConnectionLimits, Malformed, TlsPeer};

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Set once the handshake is done; never for clear text.
    peer: OnceCell<Rc<TlsPeer>>,
    /// Requests handed to the handler.
    requests: Cell<u64>,
    /// Requests whose answer has not ended.
    in_flight: Cell<u32>,
    /// When the last answer ended.
    idle_since: Cell<Instant>,
    upkeep: Cell<Upkeep>,
    /// How long to wait for a request, when it is less than the limit.
    hurried: Cell<bool>,
    /// Since when it is being closed in good order.
    retired: Cell<Option<Instant>>,
    /// Since when the last bytes of a closed connection are awaited.
    lingering: Cell<Option<Instant>>,
    /// Since when the client takes no byte.
    stalled: Cell<Option<Instant>>,
    /// Since when hyper has not asked for more of an answer, by request. In HTTP/2 that is the
    /// client's doing: its window is shut, while the socket goes on.
    untaken: RefCell<BTreeMap<u64, Instant>>,
    /// The driver's task. HTTP/2 streams run in tasks of their own.
    driver: RefCell<Waker>,
    awaited: Cell<Awaited>,
    expired: Cell<bool>,
    /// Which request the guard has refused, counted from 0, and why.
    refused: Cell<Option<(u64, Malformed)>>,
}

/// What the guard waits for, until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// More of a body.
    Body {
        /// Since when.
        since: Instant,
        /// How long it may take.
        patience: Duration,
    },
    /// More of a head, whose first bytes came then.
    Head(Instant),
    /// Nothing, or a request that has not begun.
    Nothing,
}

/// Which wait has lasted too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing more is worth waiting for: drop the connection.
    Drop,
    /// No request: close in good order.
    Idle,
    /// No request for a while: keep no more than the stream.
    Rest,
    /// The guard is to say what was missing.
    Request,
}

/// What is kept of a connection between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// Everything.
    Awake,
    /// Everything, always: HTTP/2.
    AlwaysAwake,
    /// The stream.
    Resting,
}

/// How long a closed or retired connection is still listened to.
const LINGER: Duration = Duration::from_secs(1);

/// How long after an answer a connection rests. A client that asks more often than that has no
/// disadvantage; to come back from it costs some microseconds.
const REST_AFTER: Duration = Duration::from_millis(500);

impl Exchange {
    pub(super) fn new() -> Rc<Exchange> {
        Rc::new(Exchange {
            peer: OnceCell::new(),
            requests: Cell::new(0),
            in_flight: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            upkeep: Cell::new(Upkeep::AlwaysAwake),
            hurried: Cell::new(false),
            retired: Cell::new(None),
            lingering: Cell::new(None),
            stalled: Cell::new(None),
            untaken: RefCell::default(),
            driver: RefCell::new(Waker::noop().clone()),
            awaited: Cell::new(Awaited::Nothing),
            expired: Cell::new(false),
            refused: Cell::new(None),
        })
    }

    /// The handshake is done: bodies' faults are told to this peer.
    pub(super) fn secured(&self, peer: &Rc<TlsPeer>) {
        self.idle_since.set(Instant::now());
        let _ = self.peer.set(Rc::clone(peer));
    }

    /// A request begins; it ends when the guard that this returns is dropped. Gives why it was
    /// refused, if it was.
    pub(super) fn begin(self: &Rc<Exchange>) -> (InFlight, Option<Malformed>) {
        let ordinal = self.requests.get();
        self.requests.set(ordinal + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        if self.upkeep.get() == Upkeep::Resting {
            self.upkeep.set(Upkeep::Awake);
        }
        let refused = self.refused.get().filter(|(which, _)| *which == ordinal);
        let in_flight = InFlight {
            exchange: Rc::clone(self),
            ordinal,
        };
        (in_flight, refused.map(|(_, why)| why))
    }

    /// The guard has put a stand-in in the place of request `ordinal`.
    pub(super) fn refuse(&self, ordinal: u64, why: Malformed) {
        self.refused.set(Some((ordinal, why)));
    }

    /// The body that is being read is bad.
    pub(super) fn fault_body(&self, fault: Malformed) {
        if let Some(peer) = self.peer.get() {
            peer.set_body_fault(fault);
        }
    }

    pub(super) fn awaited(&self) -> Awaited {
        self.awaited.get()
    }

    pub(super) fn wait_for(&self, awaited: Awaited) {
        self.awaited.set(awaited);
    }

    /// The guard's own wait has lasted too long, says the driver; asked once.
    pub(super) fn take_expired(&self) -> bool {
        self.expired.replace(false)
    }

    /// The driver tells the guard that its wait has lasted too long.
    pub(super) fn expire(&self) {
        self.awaited.set(Awaited::Nothing);
        self.expired.set(true);
    }

    /// A write to the socket went on, or did not.
    pub(super) fn note_write(&self, is_blocked: bool) {
        match (is_blocked, self.stalled.get()) {
            (true, None) => self.stalled.set(Some(Instant::now())),
            (false, Some(_)) => self.stalled.set(None),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Everything is written and the write side is shut.
    pub(super) fn linger(&self) {
        self.lingering.set(Some(Instant::now()));
    }

    /// The connection closes in good order from now on.
    pub(super) fn retire(&self) {
        self.retired.set(Some(Instant::now()));
    }

    /// Only the stream is kept from now on, until a request begins.
    pub(super) fn rest(&self) {
        self.upkeep.set(Upkeep::Resting);
    }

    /// Whose timer covers the waits that are written here.
    pub(super) fn driven_by(&self, driver: &Waker) {
        self.driver.borrow_mut().clone_from(driver);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.get().is_some()
    }

    /// From now on, a request that has not begun is hardly waited for.
    pub(super) fn hurry(&self) {
        self.hurried.set(true);
        self.idle_since.set(Instant::now());
    }

    /// Whether closing in good order loses no request: one was asked before, and none has come
    /// in part.
    pub(super) fn may_retire(&self) -> bool {
        self.requests.get() > 0 && !matches!(self.awaited.get(), Awaited::Head(_))
    }

    /// The next moment at which a wait becomes too long.
    pub(super) fn due(&self, limits: &ConnectionLimits) -> Option<(Instant, Due)> {
        if let Some(since) = self.lingering.get() {
            return Some((since + LINGER, Due::Drop));
        }
        let untaken = self.untaken.borrow().values().min().copied();
        let stalled = self.stalled.get().into_iter().chain(untaken).min();
        let stalled = stalled.map(|since| (since + limits.body_idle, Due::Drop));
        match (stalled, self.request_due(limits)) {
            (Some(write), Some(read)) if read.0 < write.0 => Some(read),
            (Some(write), _) => Some(write),
            (None, read) => read,
        }
    }

    fn request_due(&self, limits: &ConnectionLimits) -> Option<(Instant, Due)> {
        match (self.awaited.get(), self.retired.get()) {
            (Awaited::Head(since), _) => Some((since + limits.header, Due::Request)),
            (Awaited::Body { since, patience }, _) => Some((since + patience, Due::Request)),
            (Awaited::Nothing, _) if self.in_flight.get() > 0 => None,
            (Awaited::Nothing, Some(since)) => {
                Some((since.max(self.idle_since.get()) + LINGER, Due::Drop))
            }
            (Awaited::Nothing, None) => Some(self.idle_due(limits)),
        }
    }

    fn idle_due(&self, limits: &ConnectionLimits) -> (Instant, Due) {
        let patience = self.patience_for_a_request(limits);
        match self.upkeep.get() {
            // A client that takes no byte of the last answer is waited for in another way.
            Upkeep::Awake if REST_AFTER < patience && self.stalled.get().is_none() => {
                (self.idle_since.get() + REST_AFTER, Due::Rest)
            }
            _ => (self.idle_since.get() + patience, Due::Idle),
        }
    }

    /// Whoever connects wants to ask something, so a first request is not waited for as long as
    /// a next one (row 106).
    fn patience_for_a_request(&self, limits: &ConnectionLimits) -> Duration {
        match (self.hurried.get(), self.requests.get()) {
            (true, _) => LINGER.min(limits.idle),
            (false, 0) => limits.header.min(limits.idle),
            (false, _) => limits.idle,
        }
    }
}

/// One request that is being answered, until its answer has ended or was dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    exchange: Rc<Exchange>,
    ordinal: u64,
}

impl InFlight {
    /// A piece of the answer has been handed over; it is the client's turn to take it.
    pub(super) fn handed_over(&self) {
        let mut untaken = self.exchange.untaken.borrow_mut();
        // Only the oldest wait matters to the timer, and any other here is older.
        if untaken.is_empty() {
            self.exchange.driver.borrow().wake_by_ref();
        }
        untaken.insert(self.ordinal, Instant::now());
    }

    /// The last piece was taken, and there is no next one yet.
    pub(super) fn taken(&self) {
        self.exchange.untaken.borrow_mut().remove(&self.ordinal);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.taken();
        let left = self.exchange.in_flight.get() - 1;
        self.exchange.in_flight.set(left);
        if left == 0 {
            self.exchange.idle_since.set(Instant::now());
        }
    }
}
