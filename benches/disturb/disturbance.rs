//! What goes wrong, one thing at a time.

use std::time::Duration;

use tokio::time::Instant;

use crate::gateway::Gateway;
use crate::load::Client;
use crate::upstream::SLOW;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// Nothing: what the others are compared with.
    None,
    /// One client reads a large answer slowly, another sends a head byte by byte.
    SlowClients,
    /// A second upstream takes five seconds for each of many requests.
    SlowUpstream,
    /// Another configuration of many routes, once.
    Reload,
    /// The same, again and again.
    Reloads,
    /// Redis stands still (SIGSTOP): connections stay, nothing answers.
    StoreHangs,
    /// Redis is gone (SIGKILL): connections are refused; it comes back at the end.
    StoreDies,
    /// Nothing once more: the machine's noise.
    NoneAgain,
}

/// Clients that are connected before the clock runs, so that handshakes are no part of the trouble.
pub(crate) struct Prepared {
    clients: Vec<Client>,
}

/// Requests that wait for the slow upstream at once.
const WAITING: usize = 100;
const RELOADS_EVERY: Duration = Duration::from_millis(200);
/// 1 KiB each: 10 KiB a second.
const BYTES_EVERY: Duration = Duration::from_millis(100);

impl Disturbance {
    pub(crate) const ALL: [Disturbance; 8] = [
        Disturbance::None,
        Disturbance::SlowClients,
        Disturbance::SlowUpstream,
        Disturbance::Reload,
        Disturbance::Reloads,
        Disturbance::StoreHangs,
        Disturbance::StoreDies,
        Disturbance::NoneAgain,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Disturbance::None => "nothing",
            Disturbance::SlowClients => "slow clients",
            Disturbance::SlowUpstream => "slow upstream",
            Disturbance::Reload => "one reload",
            Disturbance::Reloads => "reloads",
            Disturbance::StoreHangs => "store hangs",
            Disturbance::StoreDies => "store dies",
            Disturbance::NoneAgain => "nothing again",
        }
    }

    pub(crate) fn prepare(self, gateway: &Gateway) -> Prepared {
        let (count, receive_buffer) = match self {
            Disturbance::SlowClients => (2, Some(16 * 1024)),
            Disturbance::SlowUpstream => (WAITING, None),
            _ => (0, None),
        };
        let key = &gateway.keys[0];
        let client = |_| Client::connect(gateway, key, receive_buffer);
        Prepared {
            clients: (0..count).map(client).collect(),
        }
    }

    pub(crate) fn disturb(
        self,
        prepared: Prepared,
        gateway: &mut Gateway,
        from: Instant,
        until: Instant,
    ) {
        sleep_until(from);
        match self {
            Disturbance::None | Disturbance::NoneAgain => {}
            Disturbance::SlowClients => slow_clients(prepared.clients, until),
            Disturbance::SlowUpstream => slow_upstream(prepared.clients, from, until),
            Disturbance::Reload => gateway.reload(),
            Disturbance::Reloads => {
                while Instant::now() < until {
                    gateway.reload();
                    std::thread::sleep(RELOADS_EVERY);
                }
            }
            Disturbance::StoreHangs => {
                gateway.store.pause();
                sleep_until(until);
                gateway.store.resume();
            }
            Disturbance::StoreDies => {
                gateway.store.kill();
                sleep_until(until);
                gateway.store.launch();
            }
        }
    }
}

fn sleep_until(time: Instant) {
    std::thread::sleep(time.saturating_duration_since(Instant::now()));
}

fn slow_clients(mut clients: Vec<Client>, until: Instant) {
    let mut reader = clients.pop().expect("two were made");
    let mut dribbler = clients.pop().expect("two were made");
    let request = reader.request("/large");
    reader.send(&request);
    let mut head = request.chars();
    while Instant::now() < until {
        let taken = reader.take(1024);
        assert!(taken.is_some(), "a slow reader is served");
        if let Some(next) = head.next() {
            dribbler.send(next.encode_utf8(&mut [0; 4]));
        }
        std::thread::sleep(BYTES_EVERY);
    }
}

/// They do not all come at once: it is their waiting that is to be felt, not a burst.
fn slow_upstream(clients: Vec<Client>, from: Instant, until: Instant) {
    let gap = SLOW / u32::try_from(WAITING).expect("not that many");
    std::thread::scope(|scope| {
        for (at, mut client) in (0..).zip(clients) {
            // One by one: a hundred threads at once would hold up those that measure.
            sleep_until(from + gap * at);
            scope.spawn(move || {
                while Instant::now() + SLOW <= until {
                    assert!(client.ask("/slow"), "slow is no fault");
                }
            });
        }
    });
}
