//! Endpoints: what a larger upstream costs a request.

use crate::Effort;
use crate::figures::Curve;
use crate::gateway::{ONE_ROUTE, Site};
use crate::load::{Load, Requests};
use crate::ring;
use crate::upstream;

const CPU: (&str, &str) = ("CPU of a request", "us");
const OPEN: (&str, &str) = ("open upstream connections", "connections");

const CONNECTIONS: usize = 64;

pub(crate) fn measure(effort: Effort) -> Curve {
    let mut curve = Curve::new("Upstream endpoints, 64 client connections", "endpoints");
    let sizes: &[usize] = effort.choose(&[1, 10, 50, 200], &[1, 50]);
    let gateways = sizes.iter().map(|endpoints| {
        let site = Site::prepare();
        let store = site.embedded();
        site.import(&store, 1);
        site.serve(&store, ONE_ROUTE, &upstream::start(*endpoints))
    });
    let gateways: Vec<_> = gateways.collect();
    for _ in 0..effort.rounds() {
        for (gateway, endpoints) in gateways.iter().zip(sizes) {
            let key = ring::key(0);
            let requests = Requests::new(move |_| ("/v1/any".into(), key.clone()));
            let load = Load::start(gateway, CONNECTIONS, CONNECTIONS, requests);
            load.await_answers(effort.choose(10_000, 500));
            let round = load.round(gateway, effort.window());
            curve.add(CPU, "endpoints in turn", *endpoints, round.cpu_us);
            let open = gateway.metric("portcullis_upstream_connections", "");
            curve.add(OPEN, "at the end of a round", *endpoints, open);
        }
    }
    curve
}
