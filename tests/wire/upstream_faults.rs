//! Rows 35, 38, 47 and 49: what a broken upstream sends is not passed on.

use crate::support::{Reply, Setup, Upstream};

fn answer_to(bytes: &'static [u8]) -> crate::support::Answer {
    let upstream = Upstream::scripted(move |_, _| Reply::BytesThenClose(bytes.to_vec()));
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    gateway.get(&format!("x-api-key: {key}\r\n"))
}

#[test]
fn rows_47_and_49_an_answer_that_reads_in_two_ways_is_502() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx: a\nset-cookie: injected=1\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad name: x\r\ncontent-length: 2\r\n\r\nok",
        b"",
        b"HTTP/1.1 2",
    ] {
        let answer = answer_to(bytes);
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!((answer.status, answer.body.as_str()), (502, r#"{"error":"bad_gateway","message":"The upstream failed"}"#), "{shown:?}");
        assert_eq!(answer.header("set-cookie"), None);
    }
}

#[test]
fn row_47_a_giant_head_is_502_and_many_interim_answers_are_one_answer() {
    let giant = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(4 << 20)).leak();
    assert_eq!(answer_to(giant.as_bytes()).status, 502);
    let interim = format!(
        "{}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(50)
    );
    let answer = answer_to(interim.leak().as_bytes());
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.header("link")),
        (200, "ok", None)
    );
}

#[test]
fn row_47_an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let upstream = Upstream::scripted(|_, _| {
        Reply::BytesThenClose(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec())
    });
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let mut client = gateway.tls.connect();
    client.send(format!(
        "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
    ));
    let rest = String::from_utf8(client.rest()).expect("ASCII");
    // What had come may have been sent or not; nothing makes it look whole.
    assert!(
        rest.is_empty() || (rest.contains("content-length: 100") && rest.ends_with("half")),
        "{rest}"
    );
}

#[test]
fn row_38_a_101_that_nobody_asked_for_is_502() {
    let answer = answer_to(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    );
    assert_eq!(answer.status, 502);
}

#[test]
fn row_35_a_connection_whose_request_was_not_read_to_its_end_is_not_used_again() {
    let upstream = Upstream::scripted(|received, _| {
        assert!(received.complete);
        Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())
    });
    let early = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = early.local_addr().expect("an address");
    let serving = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let mut connections = 0;
        for _ in 0..2 {
            let (mut tcp, _) = early.accept().expect("a connection");
            connections += 1;
            let _ = tcp.read(&mut [0; 1024]);
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .expect("sent");
            while tcp.read(&mut [0; 65536]).is_ok_and(|read| read > 0) {}
        }
        connections
    });
    drop(upstream);
    let gateway = Setup::before(address).start();
    let (_, key) = gateway.key(&["domains:read", "domains:write"]);
    let mut client = gateway.tls.connect();
    client.send(format!("POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\ncontent-length: 100000\r\n\r\nonly the beginning"));
    assert_eq!(client.answer().status, 200);
    drop(client);
    assert_eq!(gateway.get(&format!("x-api-key: {key}\r\n")).status, 200);
    gateway.stop();
    assert_eq!(serving.join().expect("served"), 2);
}
