//! Rows 1 to 18: where a request ends.

use crate::house::{GET, Setup};

/// Each head is refused under this name, on a connection that then closes, and is nobody's
/// request.
pub(crate) fn refused(cases: &[(&str, String, &str)]) {
    let house = Setup::new().start();
    for (row, bytes, fault) in cases {
        let mut client = house.client();
        client.send(bytes);
        client.send(GET);
        let answer = client
            .answer()
            .unwrap_or_else(|| panic!("{row}: {bytes:?}"));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (400, *fault),
            "{row}: {bytes:?}"
        );
        assert!(answer.closes() && client.is_closed(), "{row}: {bytes:?}");
    }
    assert_eq!(house.requests(), [""; 0]);
}

fn head(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: api.test\r\n{fields}\r\n")
}

#[test]
fn rows_1_to_8_two_framings_or_an_unclear_one_are_refused() {
    let cases = [
        (
            "1",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "content_length_with_transfer_encoding",
        ),
        (
            "1",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "content_length_with_transfer_encoding",
        ),
        (
            "1",
            "transfer-encoding: x\r\ncontent-length: x\r\n",
            "content_length_with_transfer_encoding",
        ),
        (
            "2",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer_encoding",
        ),
        (
            "2",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
            "transfer_encoding",
        ),
        (
            "2",
            "transfer-encoding: identity, chunked\r\n",
            "transfer_encoding",
        ),
        (
            "2",
            "transfer-encoding: chunked, chunked\r\n",
            "transfer_encoding",
        ),
        (
            "3",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer_encoding_unknown",
        ),
        (
            "3",
            "transfer-encoding: chunked, gzip\r\n",
            "transfer_encoding",
        ),
        ("3", "transfer-encoding: gzip\r\n", "transfer_encoding"),
        ("3", "transfer-encoding:\r\n", "transfer_encoding"),
        (
            "3",
            "transfer-encoding: chunked;q=1\r\n",
            "transfer_encoding",
        ),
        (
            "3",
            "transfer-encoding: \"chunked\"\r\n",
            "transfer_encoding",
        ),
        ("6", "content-length: +5\r\n", "content_length"),
        ("6", "content-length: -5\r\n", "content_length"),
        ("6", "content-length: 0x5\r\n", "content_length"),
        ("6", "content-length: 5,0\r\n", "content_length"),
        ("6", "content-length: 5, 5\r\n", "content_length"),
        ("6", "content-length: 5 5\r\n", "content_length"),
        ("6", "content-length: 5.0\r\n", "content_length"),
        ("6", "content-length:\r\n", "content_length"),
        (
            "6",
            "content-length: 18446744073709551616\r\n",
            "content_length",
        ),
        (
            "7",
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content_length",
        ),
        (
            "7",
            "content-length: 5\r\ncontent-length: 5\r\n",
            "content_length",
        ),
        (
            "8",
            "content-length: 9223372036854775813\r\n",
            "content_length_too_large",
        ),
    ];
    let mut cases: Vec<_> = cases
        .iter()
        .map(|(row, fields, fault)| (*row, head(fields), format!("head {fault}")))
        .collect();
    let old = "POST / HTTP/1.0\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    cases.push(("4", old.into(), "head transfer_encoding".into()));
    let cases: Vec<_> = cases
        .iter()
        .map(|(row, bytes, fault)| (*row, bytes.clone(), fault.as_str()))
        .collect();
    refused(&cases);
}

#[test]
fn row_5_no_disguise_of_a_transfer_encoding_passes() {
    let house = Setup::new().start();
    let lines = [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "\tTransfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding:\x0cchunked",
        "Transfer-Encoding: \x00chunked",
        "Transfer-Encoding: chunked\x00",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding\r\n: chunked",
        "Transfer-Encoding:\n chunked",
        "Transfer-Encoding: chunked\rX: y",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Transfer.Encoding: chunked",
        "Transfer~Encoding: chunked",
        "TransferEncoding: chunked",
        "Transfer Encoding: chunked",
        "-Transfer-Encoding: chunked",
        "Transfer-Encoding-: chunked",
        "\"Transfer-Encoding\": chunked",
        "Transfer-Encoding\x00: chunked",
        "Transfer-Encoding\x7f: chunked",
        "\x00Transfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked, x",
        "Transfer-Encoding: x, chunked",
        "Transfer-Encoding: c\u{212a}unked",
        "Transfer-Encoding: chunk\u{e9}d",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: cow",
        "Content-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    ];
    for line in lines {
        for beside in ["content-length: 5\r\n", ""] {
            let mut client = house.client();
            client.send(format!(
                "POST / HTTP/1.1\r\nhost: api.test\r\n{beside}{line}\r\n\r\n0\r\n\r\n{GET}"
            ));
            let answer = client.answer().unwrap_or_else(|| panic!("{line:?}"));
            assert!(
                answer.status == 400 && answer.body.starts_with("head "),
                "{line:?}: {answer:?}"
            );
            assert!(answer.closes() && client.is_closed(), "{line:?}");
        }
    }
    assert_eq!(house.requests(), [""; 0]);
}

#[test]
fn row_9_a_get_with_a_body_is_one_request_and_the_next_one_is_the_next() {
    let house = Setup::new().start();
    let mut client = house.client();
    let answer = client.ask(
        "GET /a HTTP/1.1\r\nhost: api.test\r\ncontent-length: 18\r\n\r\nGET /x HTTP/1.1\r\n\r",
    );
    assert_eq!(answer.body, "GET /a [GET /x HTTP/1.1\r\n\r] 0");
    let chunked = "GET /b HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: cHUNKED\r\n\r\n";
    let answer = client.ask(format!(
        "{chunked}3;a=b\r\nabc\r\n000A\r\n0123456789\r\n0\r\nx: y\r\n\r\n"
    ));
    assert_eq!(answer.body, "GET /b [abc0123456789] 1");
    assert_eq!(client.ask(GET).body, "GET / [] 0");
    assert_eq!(house.requests(), ["GET /a", "GET /b", "GET /"]);
}

#[test]
fn rows_10_to_17_a_bad_chunk_extension_or_trailer_ends_the_body_in_the_clients_fault() {
    let house = Setup::new().start();
    let long_extension = format!("5;{}\r\nhello\r\n", "x".repeat(16 * 1024));
    let many_extensions = "1;xxxxxxxxxxxxxxx\r\na\r\n".repeat(100);
    let large_trailer = format!("0\r\nx: {}\r\n\r\n", "y".repeat(1024 * 1024));
    let longer_trailer = format!("0\r\nx: {}\r\n\r\n", "y".repeat(9 * 1024));
    let many_trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    let sizes = [
        "0x5",
        "+5",
        "-5",
        " 5",
        "5 ",
        "\x0b5",
        "5\x00",
        "5_0",
        "_5",
        "",
        "g",
        "5,",
        "5\t",
        "\r5",
        "\u{665}",
        "10000000000000000",
        "ffffffffffffffffff",
        "8000000000000000",
        "00000000000000005",
    ];
    let mut cases: Vec<(&str, String, &str)> = sizes
        .iter()
        .map(|size| ("10, 11", format!("{size}\r\nhello\r\n0\r\n\r\n"), "chunk"))
        .collect();
    for (row, body, fault) in [
        ("12", "5\nhello\r\n0\r\n\r\n", "chunk"),
        ("12", "5\r\nhello\n0\r\n\r\n", "chunk"),
        ("12", "5\rhello\r\n0\r\n\r\n", "chunk"),
        ("12", "0\n\n", "chunk"),
        ("12", "0\r\n\n", "trailer"),
        ("13", "5;a\nhello\r\n0\r\n\r\n", "chunk"),
        ("13", "5;a\rb\r\nhello\r\n0\r\n\r\n", "chunk"),
        ("13", "5;a=\x00\r\nhello\r\n0\r\n\r\n", "chunk"),
        ("14", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", "chunk"),
        ("14", "5;a=\"b\r\n\"\r\nhello\r\n0\r\n\r\n", "chunk"),
        ("15", "5\r\nhello0\r\n\r\n", "chunk"),
        ("15", "5\r\nhelloXX0\r\n\r\n", "chunk"),
        ("16", &long_extension, "chunk"),
        ("16", &many_extensions, "chunk"),
        ("17", "0\r\ncontent-length: 5\r\n\r\n", "trailer"),
        ("17", "0\r\ntransfer-encoding: chunked\r\n\r\n", "trailer"),
        ("17", "0\r\nhost: x\r\n\r\n", "trailer"),
        ("17", "0\r\nauthorization: x\r\n\r\n", "trailer"),
        ("17", "0\r\nx-api-key: x\r\n\r\n", "trailer"),
        ("17", "0\r\njunk\r\n\r\n", "trailer"),
        ("17", "0\r\n: x\r\n\r\n", "trailer"),
        ("17", "0\r\nx: y\n\r\n", "trailer"),
        ("17", "0\r\n x: y\r\n\r\n", "trailer"),
        ("17", &large_trailer, "headers_too_large"),
        ("17", &longer_trailer, "headers_too_large"),
        ("17", &many_trailers, "headers_too_large"),
    ] {
        cases.push((row, body.into(), fault));
    }
    for (row, body, fault) in cases {
        let mut client = house.client();
        client.send(head("transfer-encoding: chunked\r\n"));
        client.send(&body);
        client.send(GET);
        let shown = &body[..body.len().min(60)];
        let answer = client
            .answer()
            .unwrap_or_else(|| panic!("{row}: {shown:?}"));
        let expected = format!("body {fault}");
        assert_eq!(
            (answer.status, answer.body),
            (400, expected),
            "{row}: {shown:?}"
        );
        assert!(client.is_closed(), "{row}: {shown:?}");
    }
    assert!(
        house.requests().iter().all(|line| line == "POST /"),
        "nothing behind a bad body"
    );
}

#[test]
fn row_17_trailers_within_the_limits_reach_the_handler() {
    let house = Setup::new().start();
    for (trailers, count) in [
        ("x: y\r\n".repeat(100), 100),
        (format!("x: {}\r\n", "y".repeat(8000)), 1),
    ] {
        let mut client = house.client();
        let body = format!(
            "{}0\r\n{trailers}\r\n",
            head("transfer-encoding: chunked\r\n")
        );
        assert!(
            client.ask(body).body.starts_with("POST / [] "),
            "{count} trailers"
        );
        assert_eq!(client.ask(GET).status, 200);
    }
}

#[test]
fn rows_18_and_107_a_body_that_stops_or_dribbles_is_a_fault_at_the_limit() {
    let limit = std::time::Duration::from_millis(200);
    let house = Setup::new()
        .limits(|limits| limits.body_idle = limit)
        .start();
    for (framing, part) in [
        ("content-length: 10\r\n", "half"),
        ("transfer-encoding: chunked\r\n", "5\r\nhe"),
        ("transfer-encoding: chunked\r\n", "5"),
        ("transfer-encoding: chunked\r\n", ""),
    ] {
        let mut client = house.client();
        let answer = client.ask(format!("{}{part}", head(framing)));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (400, "body body_timeout"),
            "{framing:?}"
        );
        assert!(client.is_closed());
    }
    // One byte each time just before the idle limit: it has to be paid for with bytes.
    let mut dribbler = house.client();
    dribbler.send(head("content-length: 1000\r\n"));
    let begun = tokio::time::Instant::now();
    dribbler
        .stream
        .sock
        .set_read_timeout(Some(limit / 2))
        .expect("a timeout");
    let mut bytes = [0; 1024];
    let read = loop {
        dribbler.send("x");
        match std::io::Read::read(&mut dribbler.stream, &mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            read => break read.expect("an answer"),
        }
        assert!(begun.elapsed() < limit * 20, "it may go on for ever");
    };
    let answer = String::from_utf8_lossy(&bytes[..read]).into_owned();
    assert!(answer.ends_with("body body_timeout"), "{answer}");
}
