//! The bound on memory under load, over HTTP/2: bodies of 10 MiB both ways, on several streams of
//! several connections at once, through a slow end.

use std::process::Command;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::Request;
use http::header::CONTENT_LENGTH;
use tokio::runtime::Runtime;

use crate::home::{Home, portcullis};
use crate::memory::{
    BODY, CONNECTIONS as BODIES, SIP, assert_within_bound, peak_kib, start_giving_upstream,
    start_sipping_upstream,
};
use crate::multiplexed::open;

const CONNECTIONS: usize = 8;
const STREAMS: usize = BODIES / CONNECTIONS;

/// KiB of a connection that uploads, of each upload on it, and of an answer on its way.
const OF_AN_UPLOADING_CONNECTION: usize = 1024;
const OF_AN_UPLOAD: usize = 576;
/// The same, of what the gateway holds; the rest is what the allocator has not given back yet.
const HELD_OF_AN_UPLOAD: usize = 320;
const OF_AN_ANSWER: usize = 576;
const OF_A_CONNECTION: usize = 16;

#[test]
fn large_answers_on_slow_streams_stay_within_the_stated_bound() {
    let home = Home::build(start_giving_upstream());
    let gateway = home.serve(portcullis());
    let base = peak_kib(&gateway);
    runtime().block_on(async {
        let mut answers = Vec::new();
        for _ in 0..CONNECTIONS {
            let sender = open(&home, gateway.address).await;
            for _ in 0..STREAMS {
                answers.push(ask(&sender, &home).await);
            }
        }
        drain_in_turn(answers).await;
    });
    let bound = BODIES * OF_AN_ANSWER + CONNECTIONS * OF_A_CONNECTION;
    assert_within_bound(base, bound, &gateway);
}

#[test]
fn large_requests_on_many_streams_stay_within_the_stated_bound() {
    uploads_stay_within(OF_AN_UPLOAD, portcullis());
}

#[test]
fn what_is_held_of_large_requests_on_many_streams_is_less() {
    let mut portcullis = portcullis();
    // What is freed goes back to the kernel at once.
    portcullis.env("MIMALLOC_PURGE_DELAY", "0");
    uploads_stay_within(HELD_OF_AN_UPLOAD, portcullis);
}

fn uploads_stay_within(of_an_upload: usize, portcullis: Command) {
    let (upstream, drained) = start_sipping_upstream();
    let home = Home::build(upstream);
    let gateway = home.serve(portcullis);
    let base = peak_kib(&gateway);
    runtime().block_on(async {
        let mut uploads = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let sender = open(&home, gateway.address).await;
            for _ in 0..STREAMS {
                let mut upload = request("POST", &home);
                upload.headers_mut().insert(CONTENT_LENGTH, BODY.into());
                let ready = sender.clone().ready().await;
                let (answer, body) = ready
                    .expect("room")
                    .send_request(upload, false)
                    .expect("sent");
                uploads.spawn(async move {
                    give(body).await;
                    assert_eq!(answer.await.expect("an answer").status(), 200);
                });
            }
        }
        uploads.join_all().await;
    });
    drained.join().expect("every upload was read");
    let of_connections = CONNECTIONS * (OF_AN_UPLOADING_CONNECTION + OF_A_CONNECTION);
    let bound = of_connections + BODIES * of_an_upload;
    assert_within_bound(base, bound, &gateway);
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn request(method: &str, home: &Home) -> Request<()> {
    Request::builder()
        .method(method)
        .uri("https://api.osir.com/v1/domains")
        .header("x-api-key", &home.key)
        .body(())
        .expect("a request")
}

async fn ask(sender: &SendRequest<Bytes>, home: &Home) -> RecvStream {
    let mut ready = sender.clone().ready().await.expect("room");
    let (answer, _) = ready
        .send_request(request("GET", home), true)
        .expect("sent");
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

/// Reads a sip of each until all have ended. What is not yet released holds the gateway back.
async fn drain_in_turn(answers: Vec<RecvStream>) {
    let mut left: Vec<(RecvStream, usize)> = answers.into_iter().map(|body| (body, BODY)).collect();
    while !left.is_empty() {
        for (body, left) in &mut left {
            let mut sip = SIP.min(*left);
            while sip > 0 {
                let piece = body
                    .data()
                    .await
                    .expect("more of it")
                    .expect("a piece")
                    .len();
                body.flow_control().release_capacity(piece).expect("held");
                *left -= piece;
                sip = sip.saturating_sub(piece);
            }
        }
        left.retain(|(_, left)| *left > 0);
    }
}

/// Sends the body as fast as it is taken.
async fn give(mut body: SendStream<Bytes>) {
    let mut left = BODY;
    while left > 0 {
        body.reserve_capacity(left.min(SIP));
        let room = std::future::poll_fn(|context| body.poll_capacity(context)).await;
        let piece = room.expect("the stream is open").expect("room").min(left);
        left -= piece;
        let piece = Bytes::from(vec![b'x'; piece]);
        body.send_data(piece, left == 0).expect("sent");
    }
}
