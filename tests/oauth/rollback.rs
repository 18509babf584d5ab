//! The store was restored from an older copy (interface.md §7.3).

use crate::house::{House, SECRET, basic, error, json, text};
use crate::support::{Answer, eventually};

/// The first answer after the outage.
fn first(ask: impl Fn() -> Answer) -> Answer {
    eventually("the store is back", || {
        let answer = ask();
        (answer.status != 503).then_some(answer)
    })
}

fn is_invalid_grant(answer: &Answer) {
    assert_eq!(
        (answer.status, error(answer).as_str()),
        (400, "invalid_grant"),
        "{answer:?}"
    );
}

#[test]
fn a_restored_store_ends_no_honest_family_and_revives_no_revoked_one() {
    let mut house = House::on_redis();
    let (honest, ended) = (house.tokens(), house.tokens());
    let (in_copy, revoked) = (
        text(&honest, "refresh_token"),
        text(&ended, "refresh_token"),
    );
    let copy = house.redis.as_ref().expect("Redis").copy();
    let newer = text(&json(&house.refresh(&in_copy)), "refresh_token");
    let form = format!("token={revoked}");
    let answer = house.post("/oauth/revoke", &basic("client_conf", SECRET), &form);
    assert_eq!(answer.status, 200);
    house.is_refused(&text(&ended, "access_token"));

    house.redis.as_mut().expect("Redis").restore(&copy);
    // From the first answer on, also before the store has been told of the revocation again.
    is_invalid_grant(&first(|| house.refresh(&revoked)));
    is_invalid_grant(&house.refresh(&newer));
    assert_eq!(house.call(&text(&ended, "access_token")), 401);
    // Whoever has the token of the copy goes on: the family lives.
    let again = house.refresh(&in_copy);
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(house.call(&text(&json(&again), "access_token")), 200);

    // In the store the grant is revoked again: so it is for a gateway that never saw it.
    let page = || house.gateway.vitals("/metrics").body;
    eventually("the store is told", || {
        let page = page();
        let count = page.lines().find_map(|line| {
            let count = line.strip_prefix("portcullis_revocations_restored_total ")?;
            count.parse::<f64>().ok()
        });
        (count? >= 1.0).then_some(())
    });
    let beside = house.beside();
    is_invalid_grant(&beside.refresh(&revoked));
}
