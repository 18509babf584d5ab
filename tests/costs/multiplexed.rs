//! A client that asks the same request again and again on one HTTP/2 connection.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use rustls::pki_types::ServerName;
use tokio::runtime::Runtime;

use crate::client::{PATIENCE, trusting};
use crate::home::{BODY, Home};

/// One TLS 1.3 HTTP/2 connection with a key, ten requests at a time.
pub(crate) struct Multiplexed {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    request: Request<()>,
}

/// Streams at a time.
pub(crate) const STREAMS: u32 = 10;

impl Multiplexed {
    pub(crate) fn connect(home: &Home, gateway: SocketAddr) -> Multiplexed {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let sender = runtime.block_on(open(home, gateway));
        let request = Request::get("https://api.osir.com/v1/domains/example.com?include=records")
            .header("user-agent", "osir-cli/2.4.1")
            .header("accept", "application/json")
            .header("accept-encoding", "gzip")
            .header("x-api-key", &home.key)
            .body(())
            .expect("a request");
        Multiplexed {
            runtime,
            sender,
            request,
        }
    }

    /// Asks so many times, ten at once; every answer must be the upstream's.
    pub(crate) fn ask(&mut self, times: u32) {
        assert_eq!(times % STREAMS, 0, "whole rounds");
        for _ in 0..times / STREAMS {
            let round = ask_at_once(&self.sender, &self.request);
            let in_time = async { tokio::time::timeout(PATIENCE, round).await };
            self.runtime.block_on(in_time).expect("in time");
        }
    }
}

/// A TLS connection whose frames are read in a task of the current runtime.
pub(crate) async fn open(home: &Home, gateway: SocketAddr) -> SendRequest<Bytes> {
    let config = Arc::new(trusting(&home.path("certs/ca.pem"), "h2"));
    let tcp = tokio::net::TcpStream::connect(gateway).await;
    let tcp = tcp.expect("the gateway listens");
    tcp.set_nodelay(true).expect("nodelay");
    let name = ServerName::try_from("api.osir.com").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(config);
    let tls = connector.connect(name, tcp).await.expect("a handshake");
    // Room for several streams that are not read at once.
    let (sender, connection) = h2::client::Builder::new()
        .initial_connection_window_size(1 << 20)
        .handshake(tls)
        .await
        .expect("settings");
    tokio::spawn(connection);
    sender
}

async fn ask_at_once(sender: &SendRequest<Bytes>, request: &Request<()>) {
    let mut answers = Vec::new();
    for _ in 0..STREAMS {
        let mut ready = sender.clone().ready().await.expect("room");
        let (answer, _) = ready.send_request(request.clone(), true).expect("sent");
        answers.push(answer);
    }
    for answer in answers {
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let (mut body, mut length) = (answer.into_body(), 0);
        while let Some(piece) = body.data().await {
            let piece = piece.expect("a piece").len();
            length += piece;
            body.flow_control().release_capacity(piece).expect("held");
        }
        assert_eq!(length, BODY);
    }
}
