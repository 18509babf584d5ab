//! Connections: what more of them cost a request, and what each costs in memory.

use crate::Effort;
use crate::figures::Curve;
use crate::gateway::{ONE_ROUTE, Site};
use crate::load::{Load, Requests};
use crate::process;
use crate::ring;
use crate::upstream;

const CPU: (&str, &str) = ("CPU of a request", "us");
const RATE: (&str, &str) = ("throughput", "requests/s");
const MEMORY: (&str, &str) = ("memory of a connection that was used", "KiB");

/// Requests under way at once, however many connections there are.
const UNDER_WAY: usize = 64;
/// With one request under way on each, the gateway has up to two sockets for each of them: within
/// the 20,000 files that a process may commonly open.
const MOST_AT_ONCE: usize = 4_000;

pub(crate) fn measure(effort: Effort) -> Curve {
    let mut curve = Curve::new("Keep-alive TLS connections, all in use", "connections");
    let sizes: &[usize] = effort.choose(&[64, 1_000, 4_000, 10_000], &[64, 500]);
    for _ in 0..effort.choose(3, 1) {
        for connections in sizes {
            one_round(&mut curve, effort, *connections);
        }
    }
    curve
}

fn one_round(curve: &mut Curve, effort: Effort, connections: usize) {
    let site = Site::prepare();
    let store = site.embedded();
    site.import(&store, 1);
    let gateway = site.serve(&store, ONE_ROUTE, &upstream::start(1));
    let before = process::resident(gateway.pid());
    let key = ring::key(0);
    let requests = Requests::new(move |_| ("/v1/any".into(), key.clone()));
    let load = Load::start(&gateway, connections, UNDER_WAY, requests);
    // Twice round, so that each connection has been used.
    load.await_answers(2 * connections as u64);
    let round = load.round(&gateway, effort.window());
    let grown = process::resident(gateway.pid()) - before;
    curve.add(CPU, "64 requests under way", connections, round.cpu_us);
    curve.add(RATE, "64 requests under way", connections, round.rate);
    curve.add(
        MEMORY,
        "64 requests under way",
        connections,
        grown / 1024.0 / connections as f64,
    );
    if connections > MOST_AT_ONCE {
        return;
    }
    load.allow(connections - UNDER_WAY);
    load.await_answers(2 * connections as u64);
    let round = load.round(&gateway, effort.window());
    let grown = process::resident(gateway.pid()) - before;
    curve.add(CPU, "one under way on each", connections, round.cpu_us);
    curve.add(RATE, "one under way on each", connections, round.rate);
    curve.add(
        MEMORY,
        "one under way on each",
        connections,
        grown / 1024.0 / connections as f64,
    );
}
