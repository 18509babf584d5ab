//! Which worker serves a connection: the one with the fewest open, whoever accepted it.
//!
//! The kernel spreads connections over the workers' listeners by a hash of addresses and ports, so
//! that a few long-lived ones can all come to one worker. A worker that accepts one while another
//! has fewer hands the socket over before a byte of it is read.
//! Not here: moving a connection later; its TLS and HTTP are its worker's.
//! Invariants: a connection is counted on one worker from its acceptance to its end; while none
//! ends, no worker has two more than another; what cannot be handed over is served where it is.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::{IntGauge, IntGaugeVec};
use tokio::sync::mpsc;

use super::caps::Permit;

/// How many may be on their way to a worker before others keep what they accept.
const ON_THE_WAY: usize = 256;

/// All workers' loads, as one of them sees them.
#[derive(Debug)]
pub(super) struct Balance {
    own: usize,
    shares: Arc<[Share]>,
}

/// What one worker has, and how it is given more.
#[derive(Debug)]
struct Share {
    open: AtomicUsize,
    shown: IntGauge,
    door: mpsc::Sender<Newcomer>,
}

/// One connection on one worker's account.
#[derive(Debug)]
pub(super) struct Load {
    of: usize,
    shares: Arc<[Share]>,
}

/// A connection that another worker has accepted; nothing has been read from it.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) tcp: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) counted: Counted,
}

/// A permit, a worker's load and a place in the gauge, for as long as a connection lives.
#[derive(Debug)]
pub(super) struct Counted {
    _permit: Permit,
    pub(super) load: Load,
    gauge: IntGauge,
}

impl Counted {
    pub(super) fn new(permit: Permit, load: Load, gauge: &IntGauge) -> Counted {
        gauge.inc();
        Counted {
            _permit: permit,
            load,
            gauge: gauge.clone(),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// For each worker its view of all, and what the others hand to it.
pub(super) fn between(
    workers: usize,
    open: &IntGaugeVec,
) -> Vec<(Balance, mpsc::Receiver<Newcomer>)> {
    let (doors, arrivals): (Vec<_>, Vec<_>) =
        (0..workers).map(|_| mpsc::channel(ON_THE_WAY)).unzip();
    let share = |(worker, door): (usize, mpsc::Sender<Newcomer>)| Share {
        open: AtomicUsize::new(0),
        shown: open.with_label_values(&[&worker.to_string()]),
        door,
    };
    let shares: Arc<[Share]> = doors.into_iter().enumerate().map(share).collect();
    let view = |(own, arrivals)| {
        let shares = Arc::clone(&shares);
        (Balance { own, shares }, arrivals)
    };
    arrivals.into_iter().enumerate().map(view).collect()
}

impl Balance {
    /// Counts a connection on this worker.
    pub(super) fn own(&self) -> Load {
        self.shares[self.own].open.fetch_add(1, Ordering::Relaxed);
        self.counted(self.own)
    }

    /// Counts a connection on the worker that has the fewest; on this one if it is one of them.
    pub(super) fn lightest(&self) -> Load {
        loop {
            let (worker, open) = self.fewest();
            // Another worker may have seen the same: only one of both takes this place.
            let taken = self.shares[worker].open.compare_exchange_weak(
                open,
                open + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if taken.is_ok() {
                return self.counted(worker);
            }
        }
    }

    /// Whether it is this worker that a connection is counted on.
    pub(super) fn keeps(&self, load: &Load) -> bool {
        load.of == self.own
    }

    /// Gives a connection to the worker that it is counted on, or back: that worker has too many
    /// on the way, or has ended.
    pub(super) fn hand_over(&self, newcomer: Newcomer) -> Result<(), Box<Newcomer>> {
        let door = &self.shares[newcomer.counted.load.of].door;
        door.try_send(newcomer)
            .map_err(|refused| Box::new(refused.into_inner()))
    }

    fn fewest(&self) -> (usize, usize) {
        let open = |worker: usize| self.shares[worker].open.load(Ordering::Relaxed);
        let others = (0..self.shares.len()).map(|worker| (worker, open(worker)));
        others.fold((self.own, open(self.own)), |fewest, other| {
            if other.1 < fewest.1 { other } else { fewest }
        })
    }

    fn counted(&self, of: usize) -> Load {
        self.shares[of].shown.inc();
        let shares = Arc::clone(&self.shares);
        Load { of, shares }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let share = &self.shares[self.of];
        share.open.fetch_sub(1, Ordering::Relaxed);
        share.shown.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::caps::Caps;
    use crate::observe::Metrics;

    struct Crew {
        metrics: Metrics,
        caps: Arc<Caps>,
        views: Vec<(Balance, mpsc::Receiver<Newcomer>)>,
    }

    impl Crew {
        fn of(workers: usize) -> Crew {
            let metrics = Metrics::new();
            Crew {
                views: between(workers, &metrics.worker_connections),
                caps: Caps::new(10_000, 10_000),
                metrics,
            }
        }

        fn shown(&self) -> Vec<i64> {
            let shown = |worker: usize| {
                let worker = worker.to_string();
                let gauges = &self.metrics.worker_connections;
                gauges.with_label_values(&[&worker]).get()
            };
            (0..self.views.len()).map(shown).collect()
        }

        /// A connection on this load, over a socket of its own.
        fn newcomer(&self, load: Load) -> Newcomer {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("bound");
            let permit = self.caps.enter(address.ip()).expect("room");
            let gauge = self.metrics.connections.with_label_values(&["https"]);
            Newcomer {
                tcp: TcpStream::connect(address).expect("it listens"),
                address,
                counted: Counted::new(permit, load, &gauge),
            }
        }
    }

    #[test]
    fn a_worker_keeps_what_it_accepts_unless_another_has_fewer() {
        let crew = Crew::of(3);
        let view = &crew.views[1].0;
        let loads: Vec<Load> = (0..7).map(|_| view.lightest()).collect();
        let of: Vec<usize> = loads.iter().map(|load| load.of).collect();
        assert_eq!(of, [1, 0, 2, 1, 0, 2, 1]);
        assert!(view.keeps(&loads[0]) && !view.keeps(&loads[1]));
        drop(loads);
        assert_eq!(crew.shown(), [0, 0, 0]);
    }

    #[test]
    fn workers_that_accept_at_once_stay_within_one_of_each_other() {
        let crew = Crew::of(4);
        let loads: Vec<Load> = std::thread::scope(|scope| {
            let accept =
                |view: &'_ Balance| (0..1001).map(|_| view.lightest()).collect::<Vec<Load>>();
            let threads: Vec<_> = crew
                .views
                .iter()
                .map(|(view, _)| scope.spawn(move || accept(view)))
                .collect();
            let loads = threads.into_iter().map(|thread| thread.join());
            loads.flat_map(|loads| loads.expect("no panic")).collect()
        });
        assert_eq!(crew.shown(), [1001; 4]);
        drop(loads);
        assert_eq!(crew.shown(), [0; 4]);
    }

    #[test]
    fn what_a_worker_cannot_take_comes_back_whole() {
        let mut crew = Crew::of(2);
        let mut held = Vec::new();
        let mut hand_over = |crew: &Crew| {
            let view = &crew.views[0].0;
            held.push(view.own());
            view.hand_over(crew.newcomer(view.lightest()))
        };
        for _ in 0..ON_THE_WAY {
            assert!(hand_over(&crew).is_ok());
        }
        let full = hand_over(&crew).expect_err("nobody takes them");
        assert_eq!(full.counted.load.of, 1);
        drop(full);
        crew.views[1].1.close();
        let mut arrived = Vec::new();
        while let Ok(newcomer) = crew.views[1].1.try_recv() {
            arrived.push(newcomer);
        }
        assert_eq!(arrived.len(), ON_THE_WAY, "none of them is lost");
        let closed = hand_over(&crew).expect_err("that worker has ended");
        drop(closed);
        assert_eq!(crew.shown()[1], 256);
        drop(arrived);
        assert_eq!(crew.shown()[1], 0);
        let room = crew.metrics.connections.with_label_values(&["https"]);
        assert_eq!(room.get(), 0);
    }
}
