//! Rows 33 to 45 and 99 to 106: a connection's life, in HTTP/1 and in clear text.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::client::{Client, connect};
use crate::house::{GET, Setup, eventually};

const SHORT: Duration = Duration::from_millis(200);

#[test]
fn rows_33_and_34_the_body_of_a_refused_request_is_never_a_request() {
    let house = Setup::new().start();
    let post = |length: usize| {
        format!("POST /unread HTTP/1.1\r\nhost: api.test\r\ncontent-length: {length}\r\n\r\n")
    };
    let hidden = "GET /hidden HTTP/1.1\r\nhost: api.test\r\n\r\n";
    // At once, more than any buffer holds, and after the answer.
    let mut at_once = house.client();
    at_once.send(format!("{}{hidden}{GET}", post(hidden.len())));
    assert_eq!(at_once.answer().expect("an answer").body, "unread");
    let mut large = house.client();
    large.send(post(10_000_000));
    large.send(hidden.repeat(4000));
    assert_eq!(
        large
            .answer()
            .expect("it can be read though much was sent")
            .body,
        "unread"
    );
    assert!(large.is_closed());
    let mut late = house.client();
    assert_eq!(late.ask(post(hidden.len())).body, "unread");
    late.send(hidden);
    assert!(late.is_closed());
    let chunked = "POST /unread HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut late = house.client();
    assert_eq!(late.ask(chunked).body, "unread");
    late.send(format!("0\r\n\r\n{hidden}"));
    assert!(late.is_closed());
    let hidden = house
        .requests()
        .iter()
        .filter(|line| line.contains("hidden"))
        .count();
    assert_eq!(hidden, 0);
}

#[test]
fn row_42_framing_cannot_be_named_away() {
    let house = Setup::new().start();
    let mut client = house.client();
    let answer = client.ask(format!(
        "POST /a HTTP/1.1\r\nhost: api.test\r\nconnection: content-length, transfer-encoding\r\ncontent-length: {}\r\n\r\n{GET}",
        GET.len()
    ));
    assert_eq!(answer.body, format!("POST /a [{GET}] 0"));
    assert_eq!(house.requests(), ["POST /a"]);
}

#[test]
fn row_43_only_who_reads_the_body_asks_for_it() {
    let house = Setup::new().start();
    let post = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: api.test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
        )
    };
    let mut refused = house.client();
    refused.send(post("/unread"));
    let rest = String::from_utf8(refused.rest()).expect("ASCII");
    assert!(
        rest.starts_with("HTTP/1.1 401 ") && !rest.contains("100 Continue"),
        "{rest}"
    );
    let mut read = house.client();
    read.send(post("/a"));
    let mut first = [0; 25];
    read.stream.read_exact(&mut first).expect("the invitation");
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(read.ask("abc").body, "POST /a [abc] 0");
}

#[test]
fn row_45_pipelined_requests_are_judged_alone_and_in_order() {
    let house = Setup::new().start();
    let mut client = house.client();
    let count = 1000;
    let all: String = (0..count)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nhost: api.test\r\n\r\n"))
        .collect();
    client.send(format!("{all}GET  /bad HTTP/1.1\r\n\r\n{GET}"));
    for n in 0..count {
        let answer = client.answer().expect("an answer");
        assert_eq!(
            (answer.status, answer.body),
            (200, format!("GET /{n} [] 0"))
        );
    }
    let bad = client.answer().expect("an answer");
    assert_eq!((bad.status, bad.body.as_str()), (400, "head request_line"));
    assert!(bad.closes() && client.is_closed());
    assert_eq!(house.requests().len(), count);
}

#[test]
fn row_106_a_head_that_stops_is_answered_at_the_limit_and_a_silent_client_is_closed() {
    let house = Setup::new().limits(|limits| limits.header = SHORT).start();
    for part in [
        "G",
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nhost: api.test\r\nx",
        "\r",
    ] {
        let mut slow = house.client();
        slow.send(part);
        match slow.answer() {
            Some(answer) => assert!(
                answer.closes() && answer.body.starts_with("head "),
                "{answer:?}"
            ),
            None => panic!("{part:?} is answered"),
        }
        assert!(slow.is_closed());
    }
    let mut silent = house.client();
    assert_eq!(
        silent
            .stream
            .conn
            .complete_io(&mut silent.stream.sock)
            .map(|_| ())
            .ok(),
        Some(())
    );
    assert!(silent.is_closed());
    // The limit is on the whole head: bytes now and then do not move it.
    let mut dribbler = house.client();
    let begun = tokio::time::Instant::now();
    dribbler.send("GET /");
    dribbler
        .stream
        .sock
        .set_read_timeout(Some(SHORT / 4))
        .expect("a timeout");
    let mut bytes = [0; 1024];
    loop {
        dribbler.send("x");
        match dribbler.stream.read(&mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            read => break assert!(read.expect("an answer") > 0),
        }
        assert!(begun.elapsed() < SHORT * 20, "it may go on for ever");
    }
}

#[test]
fn an_idle_connection_is_closed_in_silence_after_its_own_limit() {
    let house = Setup::new().limits(|limits| limits.idle = SHORT).start();
    let mut client = house.client();
    for _ in 0..3 {
        assert_eq!(client.ask(GET).status, 200);
    }
    assert!(client.is_closed());
}

#[test]
fn row_57_a_client_that_takes_nothing_is_dropped_at_the_limit() {
    let house = Setup::new()
        .limits(|limits| limits.body_idle = SHORT)
        .start();
    let mut client = house.client();
    client.send("GET /big HTTP/1.1\r\nhost: api.test\r\n\r\n");
    eventually("the connection is dropped", || {
        (house.metric(r#"portcullis_connections{listener="https"}"#)? == "0").then_some(())
    });
    let taken = client.rest().len();
    assert!(
        taken < 16 * 1024 * 1024,
        "{taken} bytes were taken after all"
    );
}

#[test]
fn row_99_clear_text_is_refused_on_both_ports_and_closed() {
    let house = Setup::new().start();
    for port in [house.https, house.http] {
        for (bytes, told) in [
            (GET, "plain GET /"),
            ("GET  / HTTP/1.1\r\n\r\n", "plain head request_line"),
            (
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                "plain head request_line",
            ),
            (
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc",
                "plain POST /",
            ),
        ] {
            let mut client = Client::plain(port);
            client.send(bytes);
            client.send(GET);
            let answer = client.answer().expect("an answer");
            assert_eq!((answer.status, answer.body.as_str()), (426, told));
            assert!(answer.closes(), "{answer:?}");
            assert!(client.is_closed(), "there is one answer");
        }
    }
    assert_eq!(house.requests(), [""; 0]);
    assert_eq!(house.metric("portcullis_tls_handshakes_total"), None);
}

#[test]
fn rows_99_and_106_clear_text_that_stops_is_closed_too() {
    let house = Setup::new().limits(|limits| limits.header = SHORT).start();
    for port in [house.https, house.http] {
        let mut client = Client::plain(port);
        client.send("GET / HT");
        assert_eq!(
            client.answer().expect("an answer").body,
            "plain head header_timeout"
        );
        assert!(client.is_closed());
    }
    assert!(Client::plain(house.http).is_closed(), "silence");
}

#[test]
fn what_is_neither_tls_nor_http_is_closed_without_a_word() {
    let house = Setup::new().start();
    for first in [0_u8, 0x15, 0x17, 0x80, b'\n', b' ', 0xff] {
        let mut client = Client::plain(house.https);
        client.send([first]);
        assert!(client.is_closed(), "{first:#x}");
    }
}

#[test]
fn more_connections_than_the_caps_are_closed_and_counted() {
    for (reason, connections, per_address) in [("address", 10, 2), ("total", 2, 10)] {
        let house = Setup::new()
            .limits(|limits| {
                limits.connections = connections;
                limits.connections_per_address = per_address;
            })
            .start();
        let mut open = [house.client(), house.client()];
        for client in &mut open {
            assert_eq!(client.ask(GET).status, 200);
        }
        for port in [house.https, house.http] {
            assert!(Client::plain(port).is_closed());
        }
        let series = format!("portcullis_connections_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(house.metric(&series).as_deref(), Some("2"));
        drop(open);
        eventually("the places are free", || {
            (house.metric(r#"portcullis_connections{listener="https"}"#)? == "0").then_some(())
        });
        assert_eq!(house.client().ask(GET).status, 200);
    }
}

#[test]
fn workers_share_the_ports_that_the_kernel_chose_and_all_of_them_drain() {
    let house = Setup::new().workers(3).start();
    let mut clients: Vec<_> = (0..30).map(|_| house.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(GET).status, 200);
    }
    house.begin_to_stop();
    for client in &mut clients {
        assert!(client.is_closed());
    }
    house.stop();
}

#[test]
fn a_panic_costs_its_connection_and_no_other() {
    let house = Setup::new().start();
    let mut other = house.client();
    assert_eq!(other.ask(GET).status, 200);
    let mut client = house.client();
    client.send("GET /panic HTTP/1.1\r\nhost: api.test\r\n\r\n");
    assert!(client.is_closed());
    assert_eq!(other.ask(GET).status, 200);
    assert_eq!(house.client().ask(GET).status, 200);
    eventually("its place is free", || {
        (house.metric(r#"portcullis_connections{listener="https"}"#)? != "3").then_some(())
    });
}

#[test]
fn a_drain_lets_the_request_in_flight_end_and_closes_the_idle_ones() {
    let house = Setup::new().start();
    let mut idle = house.client();
    assert_eq!(idle.ask(GET).status, 200);
    let mut busy = house.client();
    busy.send("GET /hold HTTP/1.1\r\nhost: api.test\r\n\r\n");
    house.wait_until_held();
    house.begin_to_stop();
    assert!(idle.is_closed());
    eventually("the listeners are closed", || {
        TcpStream::connect(house.https).err()
    });
    assert!(TcpStream::connect(house.http).is_err());
    house.told.releases.add_permits(1);
    let answer = busy.answer().expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "GET /hold"));
    assert!(answer.closes() && busy.is_closed());
    house.stop();
}

#[test]
fn a_drain_waits_for_a_head_that_has_begun_and_hardly_for_one_that_has_not() {
    let house = Setup::new().start();
    let mut begun = house.client();
    assert_eq!(begun.ask(GET).status, 200);
    begun.send("GET /last HTTP/1.1\r\nhost: ");
    let mut silent = house.client();
    silent
        .stream
        .conn
        .complete_io(&mut silent.stream.sock)
        .expect("a handshake");
    // The head's beginning has been read once a request behind it on another connection was.
    let mut later = house.client();
    assert_eq!(later.ask(GET).status, 200);
    house.begin_to_stop();
    assert!(later.is_closed());
    let answer = begun.ask("api.test\r\n\r\n");
    assert_eq!(answer.body, "GET /last [] 0");
    assert!(begun.is_closed());
    assert!(silent.is_closed());
    house.stop();
}

#[test]
fn a_drain_serves_those_whom_the_kernel_has_already_let_in() {
    let house = Setup::new().start();
    let mut busy = house.client();
    let gate = house.told.gate.lock().expect("no test panics in it");
    busy.send("GET /block HTTP/1.1\r\nhost: api.test\r\n\r\n");
    house.wait_until_held();
    // The worker is at a stand, so whoever connects now is in the listener's queue.
    let mut queued: Vec<_> = (0..20).map(|_| house.client()).collect();
    house.begin_to_stop();
    drop(gate);
    for client in &mut queued {
        assert_eq!(client.ask(GET).status, 200);
    }
    house.stop();
}

#[test]
fn row_101_a_silent_or_half_handshake_is_closed_at_its_limit() {
    let house = Setup::new()
        .limits(|limits| limits.handshake = SHORT)
        .start();
    for part in [
        &b""[..],
        b"\x16",
        b"\x16\x03\x01\x02\x00\x01",
        &[0x16, 3, 1, 0x40, 0],
    ] {
        let mut client = Client::over(connect(house.https));
        client.stream.write_all(part).expect("sent");
        client.rest();
    }
    let series = r#"portcullis_tls_handshakes_total{outcome="deadline",version="none"}"#;
    eventually("all four are counted", || {
        (house.metric(series)? == "4").then_some(())
    });
}
