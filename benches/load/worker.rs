//! A thread that asks: its own runtime, its own connections, its own counts.
//!
//! It meets the others at the start and tells its counts once a second; between, it shares nothing.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::dial::Dial;
use super::lane::Shift;
use super::line::{Http2, Line};
use super::machine;
use super::pace::{Pace, Schedule};
use super::plan::{Plan, Protocol};
use super::tally::Tally;

/// Everything a thread is given.
pub(crate) struct Worker {
    pub(crate) place: usize,
    pub(crate) plan: Arc<Plan>,
    pub(crate) dial: Dial,
    pub(crate) signal: watch::Receiver<Signal>,
    pub(crate) notes: mpsc::UnboundedSender<Note>,
}

/// What all threads are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Open,
    Ask { from: Instant },
    Stop,
}

/// What a thread tells.
pub(crate) enum Note {
    /// Its connections are there.
    Opened,
    /// A second's counts; the last one may be shorter.
    Second {
        second: usize,
        length: Duration,
        tally: Tally,
    },
    /// It ended.
    Ended(Ending),
}

/// How a thread ended.
#[derive(Default)]
pub(crate) struct Ending {
    /// Answers that came after the end, and requests that were given up.
    pub(crate) late: Tally,
    /// Turns that nobody was free to take.
    pub(crate) missed: u64,
    /// Time on the processor while it asked.
    pub(crate) busy: Duration,
}

/// How long answers are waited for when the time is over.
const GRACE: Duration = Duration::from_secs(2);

impl Worker {
    /// Works until the plan's time is over or it is told to stop.
    pub(crate) fn run(self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())?;
        runtime.block_on(self.work())
    }

    async fn work(mut self) -> std::io::Result<()> {
        let shift = Rc::new(self.shift());
        let lanes = self.start_lanes(&shift);
        let stop = async { drop(self.signal.wait_for(|signal| *signal == Signal::Stop).await) };
        tokio::select! {
            () = shift.opened() => {}
            () = stop => {}
        }
        self.tell(Note::Opened);
        let Some(start) = self.start().await else {
            self.tell(Note::Ended(Ending::default()));
            return Ok(());
        };
        let busy_before = machine::thread_time();
        // What the first connections left behind is not the run's.
        drop(shift.take_tally());
        shift.pace.begin(start);
        let caller = Rc::clone(&shift);
        let caller = tokio::task::spawn_local(async move { caller.pace.call().await });
        let end = self.tell_seconds(&shift, start).await;
        let busy = machine::thread_time().saturating_sub(busy_before);
        shift.pace.finish();
        caller.abort();
        let missed = shift.pace.missed(end);
        shift.unfinished(give_up(lanes).await);
        self.tell(Note::Ended(Ending {
            late: shift.take_tally(),
            missed,
            busy,
        }));
        match caller.await {
            Ok(alarm) => alarm,
            Err(_aborted) => Ok(()),
        }
    }

    fn shift(&self) -> Shift {
        let plan = Arc::clone(&self.plan);
        let threads = plan.threads.get();
        let schedule = plan.rate.map(|rate| Schedule {
            rate,
            thread: self.place,
            threads,
            duration: plan.duration,
        });
        // Threads begin at different credentials, so that they do not go through them in step.
        let credential = self.place * (plan.credentials() / threads);
        Shift::new(plan, self.dial.clone(), Pace::new(schedule), credential)
    }

    /// This thread's share of the connections, with an asker for each request at a time.
    fn start_lanes(&self, shift: &Rc<Shift>) -> Vec<JoinHandle<()>> {
        let (all, threads) = (self.plan.connections.get(), self.plan.threads.get());
        let connections = all / threads + usize::from(self.place < all % threads);
        let mut lanes = Vec::new();
        for _ in 0..connections {
            match self.plan.protocol {
                Protocol::Http1 => lanes.push(shift.start_lane(Line::Http1(None))),
                Protocol::Http2 { streams } => {
                    let connection = Rc::new(Http2::default());
                    let lines = (0..streams.get()).map(|_| Line::Http2(Rc::clone(&connection)));
                    lanes.extend(lines.map(|line| shift.start_lane(line)));
                }
            }
        }
        lanes
    }

    /// When the clock starts; never if the run was stopped before.
    async fn start(&mut self) -> Option<Instant> {
        let signal = self.signal.wait_for(|signal| *signal != Signal::Open).await;
        match *signal.ok()? {
            Signal::Ask { from } => Some(from),
            Signal::Open | Signal::Stop => None,
        }
    }

    /// Tells each second's counts until the end, which it returns.
    async fn tell_seconds(&mut self, shift: &Shift, start: Instant) -> Instant {
        let last = start + self.plan.duration;
        let mut from = start;
        for second in 0.. {
            let until = last.min(from + Duration::from_secs(1));
            let stopped = tokio::select! {
                () = sleep_until(until) => false,
                _ = self.signal.wait_for(|signal| *signal == Signal::Stop) => true,
            };
            let now = Instant::now();
            self.tell(Note::Second {
                second,
                length: now.duration_since(from),
                tally: shift.take_tally(),
            });
            if stopped || until == last {
                return now;
            }
            from = until;
        }
        last
    }

    fn tell(&self, note: Note) {
        // Nobody listens only when the whole run was given up.
        let _ = self.notes.send(note);
    }
}

/// Waits a little for the answers that are under way; how many did not come.
async fn give_up(lanes: Vec<JoinHandle<()>>) -> u64 {
    let deadline = Instant::now() + GRACE;
    let mut unfinished = 0;
    for mut lane in lanes {
        if tokio::time::timeout_at(deadline, &mut lane).await.is_err() {
            lane.abort();
            unfinished += 1;
        }
    }
    unfinished
}
