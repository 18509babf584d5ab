//! One asker: it has at most one request under way, over a line of its own or a shared one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::dial::Dial;
use super::failure::{Failure, Kind};
use super::line::{Answer, Line, Made};
use super::pace::Pace;
use super::plan::Plan;
use super::tally::Tally;

/// What the lanes of one thread share; nothing in it is locked.
pub(crate) struct Shift {
    pub(crate) plan: Arc<Plan>,
    pub(crate) dial: Dial,
    pub(crate) pace: Pace,
    tally: RefCell<Tally>,
    next_credential: Cell<usize>,
    /// Lanes that have not tried their first connection yet.
    closed: Cell<usize>,
    all_open: Notify,
    openings: Semaphore,
}

/// First connections under way at a time: a burst of all at once would overrun the backlog of a
/// listener and measure that.
const OPENINGS: usize = 64;
/// Between attempts of a lane whose connection cannot be made.
const PAUSE: Duration = Duration::from_millis(100);

impl Shift {
    pub(crate) fn new(plan: Arc<Plan>, dial: Dial, pace: Pace, credential: usize) -> Shift {
        Shift {
            plan,
            dial,
            pace,
            tally: RefCell::default(),
            next_credential: Cell::new(credential),
            closed: Cell::new(0),
            all_open: Notify::new(),
            openings: Semaphore::new(OPENINGS),
        }
    }

    /// Puts a lane on this thread; ends with the pace.
    pub(crate) fn start_lane(self: &Rc<Shift>, line: Line) -> tokio::task::JoinHandle<()> {
        self.closed.set(self.closed.get() + 1);
        tokio::task::spawn_local(Rc::clone(self).ask_in_turn(line))
    }

    /// Waits until every lane has tried to connect.
    pub(crate) async fn opened(&self) {
        while self.closed.get() > 0 {
            self.all_open.notified().await;
        }
    }

    /// What was counted since the last time.
    pub(crate) fn take_tally(&self) -> Tally {
        self.tally.take()
    }

    async fn ask_in_turn(self: Rc<Shift>, mut line: Line) {
        self.connect_first(&mut line).await;
        while let Some(due) = self.pace.turn().await {
            let asking = tokio::time::timeout(self.plan.timeout, self.ask(&mut line));
            match asking.await.unwrap_or(Err(Failure::Timeout)) {
                Ok(answer) => self.tally.borrow_mut().answer(answer, due.elapsed()),
                Err(failure) => self.failed(&failure).await,
            }
        }
    }

    async fn connect_first(&self, line: &mut Line) {
        let permit = self.openings.acquire().await;
        // A failure is counted when the lane's turn comes and it fails again.
        let _ = line.ready(&self.dial).await;
        drop(permit);
        self.closed.set(self.closed.get() - 1);
        if self.closed.get() == 0 {
            self.all_open.notify_one();
        }
    }

    async fn ask(&self, line: &mut Line) -> Result<Answer, Failure> {
        if line.ready(&self.dial).await? == Made::Now {
            self.tally.borrow_mut().reconnected += 1;
        }
        let turn = self.next_credential.get();
        self.next_credential.set(turn.wrapping_add(1));
        line.ask(self.plan.request(turn)).await
    }

    async fn failed(&self, failure: &Failure) {
        self.tally.borrow_mut().fail(failure.kind(), 1);
        let no_connection = !matches!(failure, Failure::Exchange(_) | Failure::Timeout);
        if no_connection {
            tokio::time::sleep_until(Instant::now() + PAUSE).await;
        }
    }

    /// Requests that were given up at the end.
    pub(crate) fn unfinished(&self, count: u64) {
        self.tally.borrow_mut().fail(Kind::Unfinished, count);
    }
}
