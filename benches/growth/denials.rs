//! Denials: whether a revocation takes longer to apply where many were revoked before it.

use crate::Effort;
use crate::figures::Curve;
use crate::instances::{Fleet, Revoked, percentile};
use crate::redis_server::RedisServer;

const LAST: (&str, &str) = (
    "from the revocation's answer to one instance's refusal",
    "ms",
);

pub(crate) fn measure(effort: Effort) -> Curve {
    let mut curve = Curve::new("Revocation after many others", "keys revoked before");
    let each = effort.choose(50, 10);
    let sizes: &[usize] = effort.choose(&[100, 1_000, 10_000, 100_000], &[10, 1_000]);
    for before in sizes {
        let redis = RedisServer::start_measured();
        let fleet = Fleet::start(&redis.settings(), 1);
        let keys = fleet.write_keys(before + effort.rounds() * each);
        let (old, new) = keys.split_at(*before);
        fleet.revoke_quietly(old);
        fleet.warm(new);
        for round in new.chunks(each) {
            let revoked: Vec<Revoked> = round.iter().map(|key| fleet.revoke(key)).collect();
            let delay = percentile(&revoked, |it| it.refused_after, 50);
            curve.add(LAST, "p50", *before, delay);
        }
    }
    curve
}
