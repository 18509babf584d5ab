//! One run: threads that ask, their counts put together second by second.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::dial::Dial;
use super::plan::Plan;
use super::progress::Progress;
use super::tally::Tally;
use super::worker::{Ending, Note, Signal, Worker};

/// What a run found.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Everything, answers after the end among it.
    pub(crate) total: Tally,
    /// Answers until the end, from which the throughput comes.
    pub(crate) in_time: u64,
    pub(crate) elapsed: Duration,
    pub(crate) points: Vec<Point>,
    /// Requests of an open loop that were due and never sent.
    pub(crate) missed: u64,
    /// Time on the processor of all threads.
    pub(crate) busy: Duration,
}

/// One second of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// Where it ends.
    pub(crate) at: Duration,
    /// Answers a second.
    pub(crate) throughput: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Answers of 4xx and 5xx.
    pub(crate) refused: u64,
    /// Requests without an answer.
    pub(crate) failed: u64,
}

/// A second that some threads have told of.
#[derive(Default)]
struct Second {
    told: usize,
    length: Duration,
    tally: Tally,
}

/// Carries the plan out until its time is over or `stop` resolves.
pub(crate) async fn measure(
    plan: &Arc<Plan>,
    dial: &Dial,
    stop: impl Future<Output = ()>,
    progress: &mut Progress<'_>,
) -> std::io::Result<Outcome> {
    let threads = plan.threads.get();
    let (signal, heard) = watch::channel(Signal::Open);
    let (notes, mut told) = mpsc::unbounded_channel();
    let mut workers = Vec::with_capacity(threads);
    for place in 0..threads {
        let worker = Worker {
            place,
            plan: Arc::clone(plan),
            dial: dial.clone(),
            signal: heard.clone(),
            notes: notes.clone(),
        };
        let name = format!("load-{place}");
        workers.push(
            std::thread::Builder::new()
                .name(name)
                .spawn(|| worker.run())?,
        );
    }
    drop(notes);
    let mut run = Run::new(threads);
    let mut stop = pin!(stop);
    let mut stopped = false;
    loop {
        tokio::select! {
            note = told.recv() => match note {
                Some(note) => run.hear(note, &signal, progress),
                None => break,
            },
            () = &mut stop, if !stopped => {
                stopped = true;
                signal.send_replace(Signal::Stop);
            }
        }
    }
    progress.end();
    for worker in workers {
        worker.join().expect("a worker does not panic")?;
    }
    Ok(run.outcome())
}

/// What is known while it runs.
struct Run {
    threads: usize,
    opened: usize,
    seconds: BTreeMap<usize, Second>,
    outcome: Outcome,
}

impl Run {
    fn new(threads: usize) -> Run {
        Run {
            threads,
            opened: 0,
            seconds: BTreeMap::new(),
            outcome: Outcome::default(),
        }
    }

    fn hear(&mut self, note: Note, signal: &watch::Sender<Signal>, progress: &mut Progress<'_>) {
        match note {
            Note::Opened => {
                self.opened += 1;
                if self.opened == self.threads && *signal.borrow() == Signal::Open {
                    let from = Instant::now();
                    signal.send_replace(Signal::Ask { from });
                }
            }
            Note::Second {
                second,
                length,
                tally,
            } => {
                let known = self.seconds.entry(second).or_default();
                known.told += 1;
                known.length = known.length.max(length);
                known.tally.merge(&tally);
                if known.told == self.threads {
                    self.close(second, progress);
                }
            }
            Note::Ended(Ending { late, missed, busy }) => {
                self.outcome.total.merge(&late);
                self.outcome.missed += missed;
                self.outcome.busy += busy;
            }
        }
    }

    /// All have told of this second.
    fn close(&mut self, second: usize, progress: &mut Progress<'_>) {
        let Some(Second { length, tally, .. }) = self.seconds.remove(&second) else {
            return;
        };
        let point = Point {
            at: self.outcome.elapsed + length,
            throughput: tally.answers() as f64 / length.as_secs_f64().max(f64::MIN_POSITIVE),
            p50: tally.latency.at(0.5),
            p99: tally.latency.at(0.99),
            refused: tally.answers() - tally.successes(),
            failed: tally.failed(),
        };
        self.outcome.elapsed = point.at;
        self.outcome.in_time += tally.answers();
        self.outcome.total.merge(&tally);
        progress.show(&point);
        self.outcome.points.push(point);
    }

    /// Threads that were stopped across a second's end left one that not all told of.
    fn outcome(mut self) -> Outcome {
        for second in std::mem::take(&mut self.seconds).into_values() {
            self.outcome.elapsed += second.length;
            self.outcome.in_time += second.tally.answers();
            self.outcome.total.merge(&second.tally);
        }
        self.outcome
    }
}
