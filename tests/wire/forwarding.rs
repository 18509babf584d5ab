//! Pools, streaming, retries, HTTP/2 and TLS upstreams.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::support::{Reply, Setup, Upstream, eventually};

fn ok() -> Reply {
    Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())
}

#[test]
fn a_connection_to_the_upstream_serves_one_request_after_the_other() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let mut client = gateway.tls.connect();
    for _ in 0..20 {
        client.send(format!(
            "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
        ));
        assert_eq!(client.answer().body, "ok");
    }
    assert!(
        upstream
            .received()
            .iter()
            .all(|received| received.connection == 0)
    );
}

#[test]
fn a_connection_that_the_upstream_closed_is_not_used_again() {
    let upstream = Upstream::scripted(|_, _| {
        Reply::BytesThenClose(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())
    });
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read", "domains:write"]);
    let mut client = gateway.tls.connect();
    for number in 0..10 {
        client.send(format!("POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\ncontent-length: 2\r\n\r\nhi"));
        assert_eq!(client.answer().status, 200, "request {number}");
        eventually("the upstream has closed", || {
            (upstream.closed() > number).then_some(())
        });
    }
    assert_eq!(upstream.received().len(), 10, "none was sent twice");
}

#[test]
fn a_request_that_was_sent_is_not_sent_again() {
    let upstream = Upstream::scripted(|_, number| if number == 0 { ok() } else { Reply::Close });
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let mut client = gateway.tls.connect();
    let request =
        format!("GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n");
    client.send(&request);
    assert_eq!(client.answer().status, 200);
    client.send(&request);
    assert_eq!(client.answer().status, 502);
    assert_eq!(upstream.received().len(), 2);
}

#[test]
fn a_client_that_goes_away_takes_its_upstream_request_with_it() {
    let upstream = Upstream::scripted(|_, _| Reply::Silence);
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let mut client = gateway.tls.connect();
    client.send(format!(
        "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
    ));
    eventually("the request arrives", || {
        (upstream.received().len() == 1).then_some(())
    });
    drop(client);
    eventually("the upstream's connection ends", || {
        (upstream.closed() == 1).then_some(())
    });
}

#[test]
fn a_large_body_streams_both_ways() {
    let big = 12 * 1024 * 1024;
    let upstream = Upstream::scripted(move |received, _| {
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nx-got: {}\r\ncontent-length: {big}\r\n\r\n",
            received.body.len()
        );
        answer.push_str(&"d".repeat(big));
        Reply::Bytes(answer.into_bytes())
    });
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:write"]);
    let mut client = gateway.tls.connect();
    client.send(format!("PUT /v1/domains/x HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\ncontent-length: {big}\r\n\r\n"));
    client.send(vec![b'u'; big]);
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.header("x-got")),
        (200, Some(big.to_string().as_str()))
    );
    assert_eq!(answer.body.len(), big);
}

#[test]
fn a_chunked_answer_passes_with_its_trailers_to_a_client_that_wants_them() {
    let upstream = Upstream::scripted(|_, _| {
        Reply::Bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 0\r\n\r\n".to_vec())
    });
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let answer = gateway.get(&format!("x-api-key: {key}\r\nte: trailers\r\n"));
    assert_eq!(answer.body, "hello[trailers grpc-status: 0]");
}

/// A server of one connection: HTTP/2 by prior knowledge or over TLS.
fn http2_upstream(tls: Option<rustls::ServerConfig>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("non-blocking");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let acceptor =
                tls.map(|config| tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config)));
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => serve_http2(tcp).await,
                        Some(acceptor) => {
                            serve_http2(acceptor.accept(tcp).await.expect("a handshake")).await
                        }
                    }
                });
            }
        });
    });
    address
}

async fn serve_http2(
    io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
) {
    let mut connection = h2::server::handshake(io).await.expect("a preface");
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let text = format!(
            "{:?} {} subject={:?}",
            request.version(),
            request.uri(),
            request.headers().get("x-auth-subject")
        );
        let mut body = respond
            .send_response(http::Response::new(()), false)
            .expect("sent");
        body.send_data(text.into(), false).expect("sent");
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        body.send_trailers(trailers).expect("sent");
    }
}

#[test]
fn h2c_upstreams_are_spoken_to_by_prior_knowledge() {
    let address = http2_upstream(None);
    let yaml = format!("{{ endpoints: [\"h2c://{address}\"] }}");
    let gateway = Setup::before(address).upstream(&yaml).start();
    let (_, key) = gateway.key(&["domains:read"]);
    for _ in 0..3 {
        let answer = gateway.get(&format!("x-api-key: {key}\r\n"));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (
                200,
                r#"HTTP/2.0 http://api.osir.com/v1/domains subject=Some("acct_1")"#
            )
        );
    }
}

#[test]
fn tls_upstreams_are_verified_against_their_ca() {
    use rustls::pki_types::pem::PemObject as _;
    let folder = tempfile::tempdir().expect("a folder");
    let files = portcullis::dev::certificates::make(folder.path(), &["127.0.0.1".to_owned()])
        .expect("certificates");
    let chain = rustls::pki_types::CertificateDer::pem_file_iter(&files.cert)
        .expect("PEM")
        .map(|c| c.expect("PEM"))
        .collect();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(&files.key).expect("PEM");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = http2_upstream(Some(config));
    let trusted = format!(
        "{{ endpoints: [\"https://{address}\"], ca: {} }}",
        files.ca.display()
    );
    let gateway = Setup::before(address).upstream(&trusted).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let answer = gateway.get(&format!("x-api-key: {key}\r\n"));
    assert_eq!((answer.status, &answer.body[..8]), (200, "HTTP/2.0"));
    let untrusted = format!("{{ endpoints: [\"https://{address}\"] }}");
    let gateway = Setup::before(address).upstream(&untrusted).start();
    let (_, key) = gateway.key(&["domains:read"]);
    assert_eq!(gateway.get(&format!("x-api-key: {key}\r\n")).status, 502);
}

#[test]
fn an_answer_arrives_piece_by_piece() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let serving = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().expect("a connection");
        let _ = tcp.read(&mut [0; 4096]);
        tcp.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .expect("sent");
        wait.recv().expect("the client has the first piece");
        tcp.write_all(b"6\r\nsecond\r\n0\r\n\r\n").expect("sent");
    });
    let gateway = Setup::before(address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let mut client = gateway.tls.connect();
    client.send(format!(
        "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
    ));
    client.wait_for(b"first");
    go_on.send(()).expect("it waits");
    assert_eq!(client.answer().body, "firstsecond");
    serving.join().expect("served");
}

#[test]
fn a_slow_upload_is_no_slow_upstream() {
    let upstream = Upstream::start();
    let yaml = format!(
        "{{ endpoints: [http://{}], timeout: 400ms }}",
        upstream.address
    );
    let gateway = Setup::before(upstream.address).upstream(&yaml).start();
    let (_, key) = gateway.key(&["domains:write"]);
    let mut client = gateway.tls.connect();
    client.send(format!("PUT /v1/domains/x HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\ncontent-length: 8\r\n\r\n"));
    // The upload takes three times the time-out; the pace of the bytes is what is tested.
    for _ in 0..8 {
        std::thread::park_timeout(std::time::Duration::from_millis(150));
        client.send("x");
    }
    assert_eq!(client.answer().status, 200);
}
