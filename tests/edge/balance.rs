//! Connections are spread over the workers, whatever the kernel makes of their ports.

use crate::house::{GET, House, Setup, eventually};

/// Open connections of each worker.
fn spread(house: &House, workers: usize) -> Vec<usize> {
    let open = |worker: usize| {
        let series = format!("portcullis_worker_connections{{worker=\"{worker}\"}}");
        let shown = house.metric(&series).expect("each worker has one");
        shown.parse().expect("a count")
    };
    (0..workers).map(open).collect()
}

#[test]
fn long_lived_connections_are_spread_evenly_over_the_workers() {
    for (workers, connections) in [(1, 5), (2, 16), (2, 65), (3, 31)] {
        let house = Setup::new().workers(workers).start();
        let mut clients: Vec<_> = (0..connections).map(|_| house.client()).collect();
        for client in &mut clients {
            assert_eq!(client.ask(GET).status, 200);
        }
        let spread = spread(&house, workers);
        assert_eq!(spread.iter().sum::<usize>(), connections);
        let (most, least) = (spread.iter().max(), spread.iter().min());
        assert!(
            most.zip(least)
                .is_some_and(|(most, least)| most - least <= 1),
            "{spread:?}"
        );
        house.stop();
    }
}

#[test]
fn a_connection_that_ends_in_a_bug_weighs_no_longer() {
    let house = Setup::new().workers(2).start();
    let mut clients: Vec<_> = (0..8).map(|_| house.client()).collect();
    for client in &mut clients {
        client.send("GET /panic HTTP/1.1\r\nhost: api.test\r\n\r\n");
        assert!(client.is_closed());
    }
    eventually("no worker has one", || {
        (spread(&house, 2) == [0, 0]).then_some(())
    });
    assert_eq!(house.client().ask(GET).status, 200);
}

#[test]
fn what_was_handed_over_to_a_worker_is_served_although_it_drains() {
    let house = Setup::new().workers(2).start();
    let mut busy = house.client();
    let gate = house.told.gate.lock().expect("no test panics in it");
    busy.send("GET /block HTTP/1.1\r\nhost: api.test\r\n\r\n");
    house.wait_until_held();
    let blocked = spread(&house, 2)
        .iter()
        .position(|open| *open == 1)
        .expect("it is served");
    let mut others: Vec<_> = (0..80).map(|_| house.client()).collect();
    // That worker is at a stand: only the other can have put these on its account.
    eventually("some are handed over", || {
        (spread(&house, 2)[blocked] > 3).then_some(())
    });
    house.begin_to_stop();
    drop(gate);
    for client in &mut others {
        assert_eq!(client.ask(GET).status, 200);
    }
    house.stop();
}
