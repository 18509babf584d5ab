//! The guard's own tests: what it decides does not depend on how the bytes come, and what it lets
//! through is what another parser reads.

use proptest::prelude::*;

use super::*;

fn limits() -> HeadLimits {
    HeadLimits {
        header_bytes: 8 * 1024,
        header_count: 50,
        uri_bytes: 1024,
    }
}

/// Feeds the bytes in pieces; gives what passed and how it ended.
fn feed(bytes: &[u8], pieces: &[usize]) -> (Vec<u8>, Option<Rest>) {
    let mut guard = Guard::new(limits());
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let size = (*pieces.next().unwrap_or(&1)).clamp(1, rest.len());
        let (piece, after) = rest.split_at(size);
        rest = after;
        held.extend_from_slice(piece);
        let scan = guard.scan(&held);
        passed.extend(held.drain(..scan.pass));
        if scan.rest != Rest::Keep {
            return (passed, Some(scan.rest));
        }
    }
    (passed, None)
}

fn verdict(bytes: &str) -> Option<Rest> {
    feed(bytes.as_bytes(), &[usize::MAX]).1
}

const GOOD: &[&str] = &[
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET /a?b=c HTTP/1.0\r\nHost: a:1\r\nx: \t y \r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
    "POST /a HTTP/1.1\r\nhost: [::1]:80\r\ntransfer-encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n",
    "PUT http://a/b HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
];

#[test]
fn rows_1_to_31_each_fault_has_its_name() {
    let head = |lines: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
    for (bytes, fault) in [
        (
            head("content-length: 1\r\ntransfer-encoding: chunked\r\n"),
            Malformed::ContentLengthWithTransferEncoding,
        ),
        (
            head("content-length: 1\r\ncontent-length: 1\r\n"),
            Malformed::ContentLength,
        ),
        (
            head("content-length: 99999999999999999999\r\n"),
            Malformed::ContentLength,
        ),
        (
            head("content-length: 9223372036854775808\r\n"),
            Malformed::ContentLengthTooLarge,
        ),
        (
            head("transfer-encoding: gzip, chunked\r\n"),
            Malformed::TransferEncodingUnknown,
        ),
        (
            head("transfer-encoding: identity\r\n"),
            Malformed::TransferEncoding,
        ),
        (
            head("transfer-encoding\t: chunked\r\n"),
            Malformed::FieldName,
        ),
        (head("x: \0\r\n"), Malformed::FieldValue),
        (head(" folded: y\r\n"), Malformed::FoldedLine),
        (head("host: b\r\n"), Malformed::Host),
        ("GET / HTTP/1.1\nhost: a\n\n".into(), Malformed::LineEnd),
        (
            "get / HTTP/1.1\r\nhost: a\r\n\r\n".into(),
            Malformed::Method,
        ),
        (
            "GET / / HTTP/1.1\r\nhost: a\r\n\r\n".into(),
            Malformed::RequestLine,
        ),
        (
            "GET /# HTTP/1.1\r\nhost: a\r\n\r\n".into(),
            Malformed::Target,
        ),
        (
            "GET / HTTP/1.3\r\nhost: a\r\n\r\n".into(),
            Malformed::Version,
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(2000)),
            Malformed::UriTooLong,
        ),
        (
            head(&format!("x: {}\r\n", "y".repeat(9000))),
            Malformed::HeadersTooLarge,
        ),
        (head(&"x: y\r\n".repeat(51)), Malformed::HeadersTooLarge),
    ] {
        assert_eq!(verdict(&bytes), Some(Rest::BadHead(fault)), "{bytes:?}");
    }
    let body = |body: &str| {
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}")
    };
    for (bytes, fault) in [
        (body("5\nhello"), Malformed::Chunk),
        (body("x\r\n"), Malformed::Chunk),
        (body("5\r\nhelloX\r\n"), Malformed::Chunk),
        (body("0\r\nbad name: x\r\n\r\n"), Malformed::Trailer),
        (body("0\r\ncontent-length: 1\r\n\r\n"), Malformed::Trailer),
    ] {
        assert_eq!(verdict(&bytes), Some(Rest::BadBody(fault)), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn the_way_the_bytes_come_changes_nothing(
        picks in prop::collection::vec(0..GOOD.len(), 1..6),
        pieces in prop::collection::vec(1usize..40, 1..8),
    ) {
        let bytes: String = picks.iter().map(|pick| GOOD[*pick]).collect();
        prop_assert_eq!(feed(bytes.as_bytes(), &pieces), (bytes.into_bytes(), None));
    }

    #[test]
    fn one_changed_byte_is_the_same_verdict_in_any_pieces(
        pick in 0..GOOD.len(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        pieces in prop::collection::vec(1usize..40, 1..8),
    ) {
        let mut bytes = GOOD[pick].as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let (whole, split) = (feed(&bytes, &[usize::MAX]), feed(&bytes, &pieces));
        prop_assert_eq!(&whole.0, &split.0);
        // In pieces, a fault in an unfinished line may still wait for that line's end.
        prop_assert!(split.1.is_none() || whole.1 == split.1, "{:?} {:?}", whole.1, split.1);
    }

    /// Differential: a head that passes is one that httparse reads too, with the same parts.
    #[test]
    fn what_passes_is_what_another_parser_reads(
        pick in 0..GOOD.len(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = GOOD[pick].as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let (passed, _) = feed(&bytes, &[usize::MAX]);
        if passed.is_empty() {
            return Ok(());
        }
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(&passed);
        prop_assert!(matches!(parsed, Ok(httparse::Status::Complete(_))), "{:?}", parsed);
        let named = |name: &str| request.headers.iter().filter(|f| f.name.eq_ignore_ascii_case(name)).count();
        prop_assert_eq!(named("host"), 1);
        prop_assert!(named("content-length") + named("transfer-encoding") <= 1);
    }

    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_its_limits(
        bytes in prop::collection::vec(any::<u8>(), 0..4096),
        pieces in prop::collection::vec(1usize..512, 1..8),
    ) {
        let _ = feed(&bytes, &pieces);
    }
}
