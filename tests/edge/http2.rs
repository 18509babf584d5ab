//! HTTP/2 behind the edge: limits, stalls and the orderly end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use crate::house::{GET, House, Setup};

const SHORT: Duration = Duration::from_millis(200);
/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(15);

type Sender = h2::client::SendRequest<Bytes>;

/// Connects; the second part ends when the connection does, and says how.
async fn connect(
    house: &House,
    builder: &h2::client::Builder,
) -> (Sender, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(house.config(&house.files, &["h2"])));
    let tcp = TcpStream::connect(house.https)
        .await
        .expect("the edge listens");
    tcp.set_nodelay(true).expect("nodelay");
    let name = ServerName::try_from("api.test").expect("a name");
    let tls = connector.connect(name, tcp).await.expect("a handshake");
    let (sender, connection) = builder.handshake(tls).await.expect("settings");
    (sender, tokio::spawn(connection))
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://api.test{path}"))
        .body(())
        .expect("a request")
}

/// Asks and gives the status and the whole body.
async fn ask(sender: &mut Sender, path: &str) -> Result<(u16, String), h2::Error> {
    let mut ready = sender.clone().ready().await?;
    let (response, _) = ready.send_request(get(path), true)?;
    let response = response.await?;
    let status = response.status().as_u16();
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(piece) = body.data().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok((status, String::from_utf8(bytes).expect("UTF-8")))
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"))
}

#[tokio::test]
async fn alpn_h2_is_served_by_the_same_handler() {
    let house = Setup::new().start();
    let (mut sender, _connection) = connect(&house, &h2::client::Builder::new()).await;
    for path in ["/a", "/b?c=d"] {
        let answer = in_time("an answer", ask(&mut sender, path))
            .await
            .expect("an answer");
        assert_eq!(answer, (200, format!("GET https://api.test{path} [] 0")));
    }
    let refused = in_time("an answer", ask(&mut sender, "/unread"))
        .await
        .expect("an answer");
    assert_eq!(refused.0, 401);
}

/// A POST whose answer comes while nothing of its body has: the body's end of it, and the answer's.
async fn refused_upload(sender: &Sender) -> h2::SendStream<Bytes> {
    let post = Request::post("https://api.test/unread");
    let post = post.body(()).expect("a request");
    let mut ready = sender.clone().ready().await.expect("room");
    let (answer, upload) = ready.send_request(post, false).expect("sent");
    let answer = in_time("an answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 401);
    let mut body = answer.into_body();
    while let Some(piece) = in_time("the answer's end", body.data()).await {
        piece.expect("a piece");
    }
    upload
}

/// Sends as much of a body as the other side takes, up to a length; gives how much that was.
async fn upload_all(upload: &mut h2::SendStream<Bytes>, length: usize) -> usize {
    let mut sent = 0;
    while sent < length {
        upload.reserve_capacity((length - sent).min(16 * 1024));
        let room = std::future::poll_fn(|cx| upload.poll_capacity(cx));
        let Some(Ok(room)) = in_time("room", room).await else {
            break;
        };
        let piece = room.min(length - sent);
        let sending = upload.send_data(Bytes::from(vec![b'x'; piece]), sent + piece == length);
        if sending.is_err() {
            break;
        }
        sent += piece;
    }
    sent
}

async fn reset_of(upload: &mut h2::SendStream<Bytes>) -> h2::Reason {
    let reset = std::future::poll_fn(|cx| upload.poll_reset(cx));
    in_time("a reset", reset).await.expect("of this stream")
}

#[tokio::test]
async fn a_refused_upload_is_not_reset_before_its_end() {
    // curl 7.88 takes a reset after the whole answer for no answer at all.
    const LENGTH: usize = 3 * 1024 * 1024;
    let house = Setup::new().limits(|limits| limits.h2_streams = 4).start();
    let (mut sender, _connection) = connect(&house, &h2::client::Builder::new()).await;
    for _ in 0..2 {
        let mut uploads = Vec::new();
        for _ in 0..3 {
            uploads.push(refused_upload(&sender).await);
        }
        // What the edge had to say of the first ones has come before this answer.
        let answer = in_time("an answer", ask(&mut sender, "/a")).await;
        assert_eq!(answer.expect("an answer").0, 200);
        for mut upload in uploads {
            // More than both windows: what is thrown away makes room for more.
            assert_eq!(upload_all(&mut upload, LENGTH).await, LENGTH);
        }
    }
    let answer = in_time("an answer", ask(&mut sender, "/a")).await;
    assert_eq!(answer.expect("their streams have ended").0, 200);
}

#[tokio::test]
async fn a_refused_upload_without_end_is_reset_at_a_bound() {
    const BOUND: usize = 4 * 1024 * 1024;
    const WINDOW: usize = 1024 * 1024;
    let house = Setup::new().start();
    let (mut sender, _connection) = connect(&house, &h2::client::Builder::new()).await;
    let mut upload = refused_upload(&sender).await;
    let taken = upload_all(&mut upload, 4 * BOUND).await;
    assert!((BOUND..=BOUND + WINDOW).contains(&taken), "{taken} bytes");
    assert_eq!(reset_of(&mut upload).await, h2::Reason::NO_ERROR);
    let answer = in_time("an answer", ask(&mut sender, "/a")).await;
    assert_eq!(answer.expect("an answer").0, 200, "a bystander");
}

#[tokio::test]
async fn a_refused_upload_that_does_not_come_is_reset_after_a_while() {
    let house = Setup::new()
        .limits(|limits| limits.body_idle = SHORT)
        .start();
    let (mut sender, _connection) = connect(&house, &h2::client::Builder::new()).await;
    let mut upload = refused_upload(&sender).await;
    assert_eq!(reset_of(&mut upload).await, h2::Reason::NO_ERROR);
    let answer = in_time("an answer", ask(&mut sender, "/a")).await;
    assert_eq!(answer.expect("an answer").0, 200, "a bystander");
}

#[tokio::test]
async fn row_63_extended_connect_is_not_offered() {
    let house = Setup::new().limits(|limits| limits.h2_streams = 7).start();
    let (mut sender, _connection) = connect(&house, &h2::client::Builder::new()).await;
    in_time("an answer", ask(&mut sender, "/"))
        .await
        .expect("an answer");
    assert!(!sender.is_extended_connect_protocol_enabled());
    assert_eq!(sender.current_max_send_streams(), 7);
}

#[tokio::test]
async fn row_57_an_answer_behind_a_shut_window_ends_its_connection() {
    let house = Setup::new()
        .limits(|limits| limits.body_idle = SHORT)
        .start();
    for window in [0, 1] {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        let (mut sender, connection) = connect(&house, &builder).await;
        let mut ready = sender.clone().ready().await.expect("open");
        let (response, _) = ready.send_request(get("/big"), true).expect("sent");
        let response = in_time("a head", response).await.expect("a head");
        // The body is kept, and nothing of it is taken.
        let _ = in_time("the end", connection).await.expect("no panic");
        drop(response);
        assert!(
            ask(&mut sender, "/").await.is_err(),
            "the connection is gone"
        );
    }
}

/// The preface, empty SETTINGS, and then one frame again and again.
fn flood(house: &House, frame: &[u8], count: usize) -> Vec<u8> {
    let mut client = house.client_with(house.config(&house.files, &["h2"]), "api.test");
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    // Nobody reads the answers, so the last pieces may not be taken any more.
    client.send(frame.repeat(count));
    client.rest()
}

#[tokio::test]
async fn row_55_frames_that_do_no_work_end_their_connection() {
    let house = Setup::new()
        .limits(|limits| limits.idle = SHORT * 5)
        .start();
    for (name, frame) in [
        ("SETTINGS", &b"\0\0\0\x04\0\0\0\0\0"[..]),
        ("PING", b"\0\0\x08\x06\0\0\0\0\0abcdefgh"),
        ("PRIORITY", b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\x03\x10"),
        ("WINDOW_UPDATE", b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01"),
        ("unknown", b"\0\0\0\xc8\0\0\0\0\0"),
    ] {
        let answered = flood(&house, frame, 100_000).len();
        assert!(answered < 100_000, "{name}: {answered} bytes");
        assert_eq!(
            house.client().ask(GET).status,
            200,
            "a bystander, after {name}"
        );
    }
}

#[tokio::test]
async fn what_a_busy_client_sends_is_no_flood() {
    let house = Setup::new().start();
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(16 * 1024)
        .initial_connection_window_size(64 * 1024);
    let (mut sender, _connection) = connect(&house, &builder).await;
    for _ in 0..3000 {
        let answer = in_time("an answer", ask(&mut sender, "/a"))
            .await
            .expect("an answer");
        assert_eq!(answer.0, 200);
    }
    let mut ready = sender.clone().ready().await.expect("open");
    let (response, _) = ready.send_request(get("/big"), true).expect("sent");
    let mut body = in_time("a head", response)
        .await
        .expect("a head")
        .into_body();
    let mut bytes = 0;
    while let Some(piece) = in_time("a piece", body.data()).await {
        let piece = piece.expect("a piece").len();
        body.flow_control().release_capacity(piece).expect("open");
        bytes += piece;
    }
    assert_eq!(bytes, 16 * 1024 * 1024);
}

#[tokio::test]
async fn an_answer_that_waits_for_the_handler_is_not_the_clients_stall() {
    let house = Setup::new()
        .limits(|limits| limits.body_idle = SHORT)
        .start();
    let (mut sender, _connection) = connect(&house, &h2::client::Builder::new()).await;
    let mut held = sender.clone();
    let held = tokio::spawn(async move { ask(&mut held, "/hold").await });
    let permit = in_time("it is held", house.told.holding.acquire()).await;
    permit.expect("never closed").forget();
    tokio::time::timeout(SHORT * 3, std::future::pending::<()>())
        .await
        .expect_err("time passes");
    house.told.releases.add_permits(1);
    let answer = in_time("an answer", held)
        .await
        .expect("no panic")
        .expect("an answer");
    assert_eq!(answer.0, 200);
    assert_eq!(
        in_time("an answer", ask(&mut sender, "/"))
            .await
            .expect("an answer")
            .0,
        200
    );
}

#[tokio::test]
async fn row_106_a_connection_without_a_request_is_closed() {
    let house = Setup::new()
        .limits(|limits| {
            limits.header = SHORT;
            limits.idle = SHORT * 2;
        })
        .start();
    let (_sender, silent) = connect(&house, &h2::client::Builder::new()).await;
    in_time("it is closed", silent)
        .await
        .expect("no panic")
        .expect("in good order");
    let (mut sender, idle) = connect(&house, &h2::client::Builder::new()).await;
    assert_eq!(
        in_time("an answer", ask(&mut sender, "/"))
            .await
            .expect("an answer")
            .0,
        200
    );
    in_time("it is closed", idle)
        .await
        .expect("no panic")
        .expect("in good order");
}

#[tokio::test]
async fn a_panic_costs_its_stream_and_no_other() {
    let house = Setup::new().start();
    let (mut sender, _connection) = connect(&house, &h2::client::Builder::new()).await;
    assert!(
        in_time("a reset", ask(&mut sender, "/panic"))
            .await
            .is_err()
    );
    assert_eq!(
        in_time("an answer", ask(&mut sender, "/"))
            .await
            .expect("an answer")
            .0,
        200
    );
}

#[tokio::test]
async fn a_drain_says_goaway_and_lets_streams_end() {
    let house = Setup::new().start();
    let (mut idle, idle_connection) = connect(&house, &h2::client::Builder::new()).await;
    in_time("an answer", ask(&mut idle, "/"))
        .await
        .expect("an answer");
    let (sender, connection) = connect(&house, &h2::client::Builder::new()).await;
    let mut held = sender.clone();
    let held = tokio::spawn(async move { ask(&mut held, "/hold").await });
    in_time("it is held", house.told.holding.acquire())
        .await
        .expect("never closed")
        .forget();
    house.begin_to_stop();
    in_time("the idle one ends", idle_connection)
        .await
        .expect("no panic")
        .expect("in good order");
    let refuses_more = async {
        let mut sender = sender.clone();
        while ask(&mut sender, "/").await.is_ok() {}
    };
    in_time("no new stream is taken", refuses_more).await;
    house.told.releases.add_permits(1);
    let answer = in_time("an answer", held)
        .await
        .expect("no panic")
        .expect("an answer");
    assert_eq!(answer, (200, "GET https://api.test/hold".into()));
    drop(sender);
    in_time("it ends", connection)
        .await
        .expect("no panic")
        .expect("in good order");
    in_time(
        "the workers end",
        tokio::task::spawn_blocking(|| house.stop()),
    )
    .await
    .expect("no panic");
}
