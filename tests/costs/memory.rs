//! The bound on memory under load that docs/performance.md states, on the shipped binary: bodies of
//! 10 MiB both ways, on many connections at once, through a slow end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use crate::client::{KeepAlive, PATIENCE};
use crate::home::{Gateway, Home, portcullis};

/// At once.
pub(crate) const CONNECTIONS: usize = 32;
pub(crate) const BODY: usize = 10 * 1024 * 1024;
/// How much the slow end takes at a time, in turn from each connection.
pub(crate) const SIP: usize = 16 * 1024;

/// KiB that an answer's body on its way may hold, and a request's.
const OF_AN_ANSWER: usize = 576;
const OF_AN_UPLOAD: usize = 960;
/// KiB of an open connection besides.
const OF_A_CONNECTION: usize = 16;

#[test]
fn large_answers_to_slow_clients_stay_within_the_stated_bound() {
    let home = Home::build(start_giving_upstream());
    let gateway = home.serve(portcullis());
    let base = peak_kib(&gateway);
    let request = format!(
        "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {}\r\n\r\n",
        home.key
    );
    let mut clients: Vec<KeepAlive> = (0..CONNECTIONS)
        .map(|_| KeepAlive::connect(&home, gateway.address))
        .collect();
    for client in &mut clients {
        client.stream.write_all(request.as_bytes()).expect("sent");
    }
    drain_in_turn(&mut clients);
    let bound = CONNECTIONS * (OF_AN_ANSWER + OF_A_CONNECTION);
    assert_within_bound(base, bound, &gateway);
}

#[test]
fn large_requests_to_a_slow_upstream_stay_within_the_stated_bound() {
    let (upstream, drained) = start_sipping_upstream();
    let home = Home::build(upstream);
    let gateway = home.serve(portcullis());
    let base = peak_kib(&gateway);
    let head = format!(
        "POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {}\r\ncontent-length: {BODY}\r\n\r\n",
        home.key
    );
    let senders: Vec<JoinHandle<()>> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = KeepAlive::connect(&home, gateway.address);
            let head = head.clone();
            std::thread::spawn(move || {
                client.stream.write_all(head.as_bytes()).expect("sent");
                client.stream.write_all(&vec![b'x'; BODY]).expect("sent");
                client.stream.flush().expect("sent");
                let mut answer = [0; 13];
                client.stream.read_exact(&mut answer).expect("an answer");
                assert_eq!(&answer, b"HTTP/1.1 200 ");
            })
        })
        .collect();
    for sender in senders {
        sender.join().expect("every upload is answered");
    }
    drained.join().expect("every upload was read");
    let bound = CONNECTIONS * (OF_AN_UPLOAD + OF_A_CONNECTION);
    assert_within_bound(base, bound, &gateway);
}

/// Fails if the gateway has grown by more than `bound` KiB over `base`.
pub(crate) fn assert_within_bound(base: usize, bound: usize, gateway: &Gateway) {
    let grown = peak_kib(gateway) - base;
    println!("peak memory grew by {grown} KiB; the bound is {bound} KiB");
    assert!(grown <= bound, "{grown} KiB, more than {bound} KiB");
    assert!(
        bound * 1024 < CONNECTIONS * BODY / 10,
        "the bound tells buffered from streamed"
    );
}

/// The most memory that the gateway has ever had, in KiB.
pub(crate) fn peak_kib(gateway: &Gateway) -> usize {
    let status = format!("/proc/{}/status", gateway.child.id());
    let status = std::fs::read_to_string(status).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|text| text.parse().ok()).expect("KiB")
}

/// Reads a sip of each until all have ended.
fn drain_in_turn(clients: &mut [KeepAlive]) {
    let mut sip = vec![0; SIP];
    let mut left = vec![BODY; clients.len()];
    while left.iter().any(|bytes| *bytes > 0) {
        for (client, left) in clients.iter_mut().zip(&mut left) {
            if *left > 0 {
                let read = client.stream.read(&mut sip).expect("more of it");
                assert!(read > 0, "it ended {left} bytes early");
                // Heads count too: one ends a little early, which does not matter here.
                *left = left.saturating_sub(read);
            }
        }
    }
}

/// Answers every request with 10 MiB, as fast as they are taken.
pub(crate) fn start_giving_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            std::thread::spawn(move || {
                read_head(&mut tcp);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n");
                // The client may go before the last byte.
                let _ = tcp
                    .write_all(head.as_bytes())
                    .and_then(|()| tcp.write_all(&vec![b'x'; BODY]));
            });
        }
    });
    address
}

/// Takes one upload on each of the connections, a sip of each in turn, and answers them at the end.
pub(crate) fn start_sipping_upstream() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let drained = std::thread::spawn(move || {
        let mut uploads: Vec<TcpStream> = listener
            .incoming()
            .flatten()
            .take(CONNECTIONS)
            .map(|tcp| {
                tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                tcp
            })
            .collect();
        let mut early = Vec::new();
        for tcp in &mut uploads {
            early.push(read_head(tcp));
        }
        let mut left: Vec<usize> = early.iter().map(|bytes| BODY - bytes).collect();
        let mut sip = vec![0; SIP];
        while left.iter().any(|bytes| *bytes > 0) {
            for (tcp, left) in uploads.iter_mut().zip(&mut left) {
                if *left > 0 {
                    *left -= tcp.read(&mut sip).expect("more of it");
                }
            }
        }
        for tcp in &mut uploads {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            tcp.write_all(answer).expect("answered");
        }
    });
    (address, drained)
}

/// Reads up to a head's end; how many bytes of the body came with it.
fn read_head(tcp: &mut TcpStream) -> usize {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            return head.len() - end - 4;
        }
        let read = tcp.read(&mut piece).expect("a head");
        assert!(read > 0, "the gateway closed within a head");
        head.extend_from_slice(&piece[..read]);
    }
}
