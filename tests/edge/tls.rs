//! Rows 98 to 105: what TLS is spoken, and which certificate is shown.

use std::sync::Arc;

use portcullis::edge::CertificateFiles;
use rustls::client::Resumption;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};

use crate::client::{Client, Secure};
use crate::house::{self, GET, House, Setup};

/// The leaf that this server name was shown, as the index of its file.
fn shown(house: &House, server_name: Option<&str>) -> usize {
    let mut config = house.config(&house.files, &["http/1.1"]);
    config.enable_sni = server_name.is_some();
    let certificates = Arc::new(Untrusting);
    config.dangerous().set_certificate_verifier(certificates);
    let mut client = house.client_with(config, server_name.unwrap_or("unnamed.test"));
    handshake(&mut client);
    let leaf = client.stream.conn.peer_certificates().expect("one")[0].clone();
    let is = |files: &CertificateFiles| {
        use rustls::pki_types::pem::PemObject as _;
        rustls::pki_types::CertificateDer::from_pem_file(&files.cert).expect("PEM") == leaf
    };
    house.files.iter().position(is).expect("one of them")
}

fn handshake(client: &mut Secure) {
    client
        .stream
        .conn
        .complete_io(&mut client.stream.sock)
        .expect("a handshake");
}

#[test]
fn the_certificate_is_chosen_by_name_then_by_wildcard_then_the_first() {
    let house = Setup::new()
        .certificates(&[
            &["first.test"],
            &["*.wild.test"],
            &["exact.wild.test", "second.test", "127.0.0.1"],
        ])
        .start();
    for (name, certificate) in [
        (Some("first.test"), 0),
        (Some("a.wild.test"), 1),
        (Some("A.WILD.test"), 1),
        (Some("exact.wild.test"), 2),
        (Some("second.test"), 2),
        (Some("a.b.wild.test"), 0),
        (Some("wild.test"), 0),
        (Some("unknown.test"), 0),
        (None, 0),
    ] {
        assert_eq!(shown(&house, name), certificate, "{name:?}");
    }
}

#[test]
fn row_103_a_peer_is_covered_by_the_names_of_the_certificate_that_it_was_shown() {
    let house = Setup::new()
        .certificates(&[
            &["first.test", "127.0.0.1", "::1"],
            &["*.wild.test", "wild.test"],
        ])
        .start();
    for (server_name, host, covered) in [
        ("first.test", "first.test", "true"),
        ("first.test", "FIRST.test", "true"),
        ("first.test", "127.0.0.1", "true"),
        ("first.test", "[::1]", "true"),
        ("first.test", "a.wild.test", "false"),
        ("first.test", "127.0.0.2", "false"),
        ("a.wild.test", "b.wild.test", "true"),
        ("a.wild.test", "wild.test", "true"),
        ("a.wild.test", "a.b.wild.test", "false"),
        ("a.wild.test", "first.test", "false"),
        ("a.wild.test", ".wild.test", "false"),
    ] {
        let config = house.config(&house.files, &["http/1.1"]);
        let mut client = house.client_with(config, server_name);
        let answer = client.ask(format!(
            "GET /covers?{host} HTTP/1.1\r\nhost: first.test\r\n\r\n"
        ));
        assert_eq!(answer.body, covered, "{server_name} {host}");
    }
}

#[test]
fn row_103_a_session_is_resumed_under_its_own_name_only_and_not_past_its_certificates() {
    let house = Setup::new()
        .certificates(&[&["first.test"], &["second.test"]])
        .start();
    let mut config = house.config(&house.files, &["http/1.1"]);
    config.resumption = Resumption::in_memory_sessions(8);
    let store = Arc::new(OneTicket::default());
    config.resumption = Resumption::store(Arc::clone(&store) as _);
    let kind = |name: &str| {
        let mut client = house.client_with(config.clone(), name);
        let host = GET.replace("api.test", name);
        assert_eq!(client.ask(host).status, 200);
        client.stream.conn.handshake_kind().expect("done")
    };
    let full = |kind| {
        matches!(
            kind,
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest
        )
    };
    assert!(full(kind("first.test")));
    assert_eq!(kind("first.test"), HandshakeKind::Resumed);
    // The same ticket offered under another name.
    assert!(full(kind("second.test")));
    assert_eq!(kind("second.test"), HandshakeKind::Resumed);
    house
        .edge
        .reload_certificates(&house.files)
        .expect("the same ones");
    assert!(full(kind("second.test")), "a new set has a new ticket key");
}

#[test]
fn rows_98_and_102_only_aead_suites_of_tls_1_2_and_1_3_and_no_early_data() {
    let house = Setup::new().start();
    let config = house.config(&house.files, &["http/1.1"]);
    let mut client = house.client_with(config.clone(), "api.test");
    assert_eq!(client.ask(GET).status, 200);
    let session = &client.stream.conn;
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(
        session.negotiated_cipher_suite().expect("one").suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        "the server's order, whatever the client's"
    );
    assert_eq!(
        session.negotiated_key_exchange_group().expect("one").name(),
        NamedGroup::X25519MLKEM768
    );
    let mut early = config;
    early.enable_early_data = true;
    for _ in 0..2 {
        let mut client = house.client_with(early.clone(), "api.test");
        assert!(
            client.stream.conn.early_data().is_none(),
            "no ticket allows it"
        );
        assert_eq!(client.ask(GET).status, 200);
    }
    let series = r#"portcullis_tls_handshakes_total{outcome="ok",version="1.3"}"#;
    assert_eq!(house.metric(series).as_deref(), Some("3"));
}

/// A ClientHello of TLS 1.2 or before, without a record of what it can do beyond its suites.
fn client_hello(version: [u8; 2], suites: &[u16], alpn: &str) -> Vec<u8> {
    let vector16 = |bytes: &[u8]| {
        [
            &u16::try_from(bytes.len()).expect("short").to_be_bytes(),
            bytes,
        ]
        .concat()
    };
    let vector8 = |bytes: &[u8]| [&[u8::try_from(bytes.len()).expect("short")], bytes].concat();
    let extension = |kind: u8, bytes: &[u8]| [&[0, kind], &vector16(bytes)[..]].concat();
    let groups = extension(10, &vector16(&[0, 29, 0, 23]));
    let signatures = extension(13, &vector16(&[4, 3, 8, 4, 4, 1, 2, 1]));
    let alpn = match alpn {
        "" => Vec::new(),
        name => extension(16, &vector16(&vector8(name.as_bytes()))),
    };
    let suites: Vec<u8> = suites
        .iter()
        .flat_map(|suite| suite.to_be_bytes())
        .collect();
    let body = [
        &version[..],
        &[7; 32],
        &[0],
        &vector16(&suites),
        &[1, 0],
        &vector16(&[groups, signatures, alpn].concat()),
    ]
    .concat();
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    [&[0x16, 3, 1], &vector16(&message)[..]].concat()
}

/// The alert that a hello is answered with; `None` when the handshake goes on.
fn alert(house: &House, hello: &[u8]) -> Option<u8> {
    let mut client = Client::plain(house.https);
    client.send(hello);
    client
        .stream
        .shutdown(std::net::Shutdown::Write)
        .expect("open");
    let answer = client.rest();
    match answer.as_slice() {
        [0x15, 3, _, 0, 2, 2, description] => Some(*description),
        [0x16, ..] => None,
        other => panic!("neither an alert nor a hello: {other:?}"),
    }
}

#[test]
fn rows_98_and_104_old_versions_suites_and_unknown_protocols_get_an_alert() {
    const HANDSHAKE_FAILURE: u8 = 40;
    const PROTOCOL_VERSION: u8 = 70;
    const NO_APPLICATION_PROTOCOL: u8 = 120;
    let house = Setup::new().start();
    let good = [0xc02b, 0xc02f];
    assert_eq!(alert(&house, &client_hello([3, 3], &good, "")), None);
    assert_eq!(alert(&house, &client_hello([3, 3], &good, "h2")), None);
    for old in [[3, 0], [3, 1], [3, 2]] {
        let hello = client_hello(old, &good, "");
        assert_eq!(alert(&house, &hello), Some(PROTOCOL_VERSION), "{old:?}");
    }
    for (name, suite) in [
        ("ECDHE-ECDSA-AES128-SHA", 0xc009),
        ("ECDHE-ECDSA-AES128-SHA256", 0xc023),
        ("ECDHE-RSA-AES256-SHA", 0xc014),
        ("RSA-AES128-GCM", 0x009c),
        ("RSA-AES128-CBC", 0x002f),
        ("3DES", 0x000a),
        ("RC4", 0x0005),
        ("null", 0x0000),
        ("null-SHA", 0x0002),
        ("anonymous", 0x0034),
        ("export", 0x0003),
        ("ECDHE-ECDSA-null", 0xc006),
    ] {
        let hello = client_hello([3, 3], &[suite], "");
        assert_eq!(alert(&house, &hello), Some(HANDSHAKE_FAILURE), "{name}");
    }
    for protocol in ["spdy/3", "h2c", "http/1.0", "H2"] {
        let hello = client_hello([3, 3], &good, protocol);
        assert_eq!(
            alert(&house, &hello),
            Some(NO_APPLICATION_PROTOCOL),
            "{protocol}"
        );
    }
}

#[test]
fn row_100_hostile_hellos_end_in_a_close_and_harm_nobody() {
    let house = Setup::new().start();
    let good = client_hello([3, 3], &[0xc02b], "");
    let in_records_of_one_byte: Vec<u8> = good[5..]
        .iter()
        .flat_map(|byte| [0x16, 3, 1, 0, 1, *byte])
        .collect();
    let mut cut = good.clone();
    cut.truncate(40);
    let mut flipped = Vec::new();
    for at in 5..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        flipped.push(bytes);
    }
    let mut hellos = vec![
        in_records_of_one_byte,
        cut,
        [&good[..], &good[..]].concat(),
        b"\x16\x03\x01\xff\xff".to_vec(),
        b"\x16\x03\x01\x00\x00".repeat(5000),
        b"\x16\x03\x01\x00\x01\x01".to_vec(),
        b"\x16\x00\x00\x00\x00".to_vec(),
        [&[0x16, 3, 1, 0x40, 1][..], &[0; 0x4001]].concat(),
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff".to_vec(),
        b"\x16\x03\x03\x00\x01\x17".repeat(100),
        vec![0x16; 70_000],
    ];
    hellos.append(&mut flipped);
    for hello in hellos {
        let mut client = Client::plain(house.https);
        client.send(&hello);
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        let answer = client.rest();
        assert!(answer.len() < 8 * 1024, "{} bytes", answer.len());
    }
    assert_eq!(house.client().ask(GET).status, 200);
}

#[test]
fn alpn_decides_the_version_and_none_is_http_1() {
    let house = Setup::new().start();
    let mut client = house.client_with(house.config(&house.files, &[]), "api.test");
    assert_eq!(client.ask(GET).status, 200);
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], "h2"),
        (&["http/1.1", "h2"], "h2"),
        (&["http/1.1"], "http/1.1"),
    ] {
        let mut client = house.client_with(house.config(&house.files, offered), "api.test");
        handshake(&mut client);
        assert_eq!(
            client.stream.conn.alpn_protocol(),
            Some(chosen.as_bytes()),
            "{offered:?}"
        );
    }
}

#[test]
fn row_105_new_certificates_are_used_at_once_and_open_connections_go_on() {
    let house = Setup::new().start();
    let mut before = house.client();
    assert_eq!(before.ask(GET).status, 200);
    let files = house::certificates(&house.folder, "second", &[vec!["new.test".into()]]);
    house.edge.reload_certificates(&files).expect("good ones");
    let mut after = house.client_with(house.config(&files, &["http/1.1"]), "new.test");
    assert_eq!(after.ask(GET).status, 200);
    assert_eq!(before.ask(GET).status, 200);
    let shown = |prefix: &str| {
        let path = house.folder.path().join(format!("{prefix}-0.pem"));
        let label =
            format!("portcullis_tls_certificate_expiry_timestamp_seconds{{certificate={path:?}}}");
        house.metric(&label)
    };
    assert_eq!(shown("first"), None, "the set before is forgotten");
    assert_eq!(
        shown("second").as_deref(),
        Some("67090118400"),
        "rcgen ends in 4096"
    );
}

#[test]
fn row_112_a_bad_certificate_keeps_the_old_ones_and_says_which_file() {
    let house = Setup::new().start();
    let more = house::certificates(
        &house.folder,
        "more",
        &[vec!["a.test".into()], vec!["b.test".into()]],
    );
    let empty = house.folder.path().join("empty.pem");
    std::fs::write(&empty, "").expect("writable");
    let with = |cert: &std::path::Path, key: &std::path::Path| CertificateFiles {
        cert: cert.to_path_buf(),
        key: key.to_path_buf(),
    };
    let missing = house.folder.path().join("missing.pem");
    for (bad, named) in [
        (
            with(&more[0].cert, &more[1].key),
            "more-1.key does not belong to the certificate",
        ),
        (with(&missing, &more[0].key), "missing.pem cannot be used"),
        (with(&more[0].cert, &missing), "missing.pem cannot be used"),
        (with(&empty, &more[0].key), "empty.pem cannot be used"),
        (with(&more[0].cert, &empty), "empty.pem cannot be used"),
        (
            with(&more[0].key, &more[0].key),
            "more-0.key cannot be used",
        ),
    ] {
        let files = [more[0].clone(), bad];
        let error = house
            .edge
            .reload_certificates(&files)
            .expect_err(named)
            .to_string();
        assert!(error.contains(named), "{error}");
        assert_eq!(house.client().ask(GET).status, 200);
    }
    assert!(
        house.edge.reload_certificates(&[]).is_err(),
        "no certificate at all"
    );
}

/// Keeps the last ticket and offers it under every name.
#[derive(Debug, Default)]
struct OneTicket(std::sync::Mutex<Option<rustls::client::Tls13ClientSessionValue>>);

impl rustls::client::ClientSessionStore for OneTicket {
    fn set_kx_hint(&self, _: rustls::pki_types::ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &rustls::pki_types::ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        _: rustls::client::Tls12ClientSessionValue,
    ) {
    }

    fn tls12_session(
        &self,
        _: &rustls::pki_types::ServerName<'_>,
    ) -> Option<rustls::client::Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &rustls::pki_types::ServerName<'static>) {}

    fn insert_tls13_ticket(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        ticket: rustls::client::Tls13ClientSessionValue,
    ) {
        *self.0.lock().expect("no test panics in it") = Some(ticket);
    }

    fn take_tls13_ticket(
        &self,
        _: &rustls::pki_types::ServerName<'static>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.lock().expect("no test panics in it").take()
    }
}

/// Takes any certificate: the test looks at it itself.
#[derive(Debug)]
struct Untrusting;

impl rustls::client::danger::ServerCertVerifier for Untrusting {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
