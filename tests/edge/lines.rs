//! Rows 19 to 32: what a line, a name, a target and a host look like.

use crate::framing::refused;
use crate::house::{GET, Setup};

fn with(line: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: api.test\r\n{line}\r\n\r\n")
}

fn on(request_line: &str) -> String {
    format!("{request_line}\r\nhost: api.test\r\n\r\n")
}

#[test]
fn rows_19_to_24_bad_values_folds_names_and_line_ends_are_refused() {
    let mut cases: Vec<(&str, String, &str)> = Vec::new();
    for control in (0..0x20_u8)
        .chain([0x7f])
        .filter(|byte| !b"\t\n\r".contains(byte))
    {
        cases.push((
            "19",
            with(&format!("x: a{}b", control as char)),
            "head field_value",
        ));
    }
    for bad in "()<>@,;\\\"/[]?={} \u{7f}\u{e4}".chars() {
        cases.push(("23", with(&format!("x{bad}y: z")), "head field_name"));
    }
    for (row, bytes, fault) in [
        ("19", with("x: a\rb"), "line_end"),
        ("19", with("x: a\r"), "line_end"),
        ("20", with("x: a\r\n b"), "folded_line"),
        ("20", with("x: a\r\n\tb"), "folded_line"),
        (
            "20",
            "GET / HTTP/1.1\r\n host: api.test\r\n\r\n".into(),
            "folded_line",
        ),
        ("21", with("x : y"), "field_name"),
        ("21", with("x\t: y"), "field_name"),
        (
            "21",
            "GET / HTTP/1.1\r\nhost : api.test\r\n\r\n".into(),
            "field_name",
        ),
        ("22", with(": y"), "field_name"),
        ("22", with(":"), "field_name"),
        ("23", with("x"), "field_name"),
        (
            "24",
            "GET / HTTP/1.1\nhost: api.test\n\n".into(),
            "line_end",
        ),
        ("24", with("x: y\nz: a"), "line_end"),
        (
            "24",
            "GET / HTTP/1.1\r\nhost: api.test\r\n\n".into(),
            "line_end",
        ),
        (
            "24",
            "\nGET / HTTP/1.1\r\nhost: api.test\r\n\r\n".into(),
            "line_end",
        ),
    ] {
        let fault: &str = match fault {
            "line_end" => "head line_end",
            "folded_line" => "head folded_line",
            _ => "head field_name",
        };
        cases.push((row, bytes, fault));
    }
    refused(&cases);
}

#[test]
fn rows_25_to_31_other_request_lines_targets_and_hosts_are_refused() {
    let lines = |row, fault, lines: &[&str]| -> Vec<_> {
        lines.iter().map(|line| (row, on(line), fault)).collect()
    };
    let mut cases = lines(
        "25",
        "head version",
        &[
            "GET / HTTP/0.9",
            "GET / HTTP/1.2",
            "GET / HTTP/2.0",
            "GET / HTTP/3.0",
        ],
    );
    cases.extend(lines(
        "25",
        "head request_line",
        &[
            "GET /",
            "GET / HTTP/1.10",
            "GET / HTTP/1",
            "GET / http/1.1",
            "GET / HTTP/1.1 x",
        ],
    ));
    cases.extend(lines(
        "26",
        "head request_line",
        &[
            "GET  / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET / x HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET  HTTP/1.1",
        ],
    ));
    cases.extend(lines(
        "26",
        "head target",
        &[
            "GET /\tHTTP/1.1",
            "GET /\u{b}x HTTP/1.1",
            "GET /\0 HTTP/1.1",
            "GET /\u{e4} HTTP/1.1",
        ],
    ));
    cases.extend(lines(
        "27",
        "head method",
        &[
            "get / HTTP/1.1",
            "Get / HTTP/1.1",
            "BREW / HTTP/1.1",
            "GETT / HTTP/1.1",
        ],
    ));
    cases.extend(lines(
        "28",
        "head target",
        &["CONNECT api.test:443 HTTP/1.1", "CONNECT / HTTP/1.1"],
    ));
    cases.push((
        "28",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
        "head request_line",
    ));
    cases.extend(lines(
        "29",
        "head target",
        &[
            "GET /#x HTTP/1.1",
            "GET /x?y#z HTTP/1.1",
            "GET /\\ HTTP/1.1",
            "GET * HTTP/1.1",
            "GET x HTTP/1.1",
        ],
    ));
    cases.extend(lines(
        "30",
        "head host",
        &[
            "GET https://other.test/ HTTP/1.1",
            "GET https://api.test:1/ HTTP/1.1",
        ],
    ));
    cases.extend(lines(
        "30",
        "head target",
        &[
            "GET https://u@api.test/ HTTP/1.1",
            "GET https://api.test:x/ HTTP/1.1",
            "GET https:///x HTTP/1.1",
            "GET ftp://api.test/ HTTP/1.1",
            "GET https://api.test:99999/ HTTP/1.1",
        ],
    ));
    for hosts in [
        "",
        "host: a\r\nhost: a\r\n",
        "host: a\r\nhost: b\r\n",
        "host: a, b\r\n",
        "host:\r\n",
        "host:  \r\n",
        "host: u@a\r\n",
        "host: a/b\r\n",
        "host: a:x\r\n",
        "host: a:99999\r\n",
        "host: a:\r\n",
        "host: a b\r\n",
        "host: [::1\r\n",
        "host: http://a\r\n",
        "host: a?b\r\n",
    ] {
        cases.push(("31", format!("GET / HTTP/1.1\r\n{hosts}\r\n"), "head host"));
        cases.push(("31", format!("GET / HTTP/1.0\r\n{hosts}\r\n"), "head host"));
    }
    refused(&cases);
}

#[test]
fn row_32_large_heads_are_refused_as_soon_as_they_are_too_large() {
    let field = format!("x: {}\r\n", "y".repeat(100 * 1024));
    let unfinished = format!(
        "GET / HTTP/1.1\r\nhost: api.test\r\nx: {}",
        "y".repeat(17 * 1024)
    );
    refused(&[
        ("32", with(field.trim_end()), "head headers_too_large"),
        (
            "32",
            with(&"x: y\r\n".repeat(20_000)),
            "head headers_too_large",
        ),
        (
            "32",
            with(&"xxxxxxxxxxxxxxxxxxxxxxxxxx:\r\n".repeat(101)),
            "head headers_too_large",
        ),
        ("32", unfinished, "head headers_too_large"),
        (
            "32",
            on(&format!("GET /{} HTTP/1.1", "a".repeat(5000))),
            "head uri_too_long",
        ),
        (
            "32",
            format!("GET /{}", "a".repeat(5000)),
            "head uri_too_long",
        ),
    ]);
}

#[test]
fn what_is_well_formed_passes_as_it_is_however_it_comes() {
    let house = Setup::new().start();
    let requests = [
        "GET /a?b[c]=d%20e HTTP/1.1\r\nHost: api.test:443\r\nx: \t a\u{e4} \t\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: API.test\r\n\r\n",
        "GET https://api.test/abs HTTP/1.1\r\nhost: api.test:443\r\n\r\n",
        "PUT /p HTTP/1.1\r\nhost: [::1]:8443\r\ncontent-length: 3\r\n\r\nabc",
        "POST /c HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ];
    let whole: String = requests.concat();
    let most = format!("{}\r\n", "x: y\r\n".repeat(99));
    let whole = format!("{whole}GET /most HTTP/1.1\r\nhost: api.test\r\n{most}");
    for step in [1, 7, whole.len()] {
        let mut client = house.client();
        for piece in whole.as_bytes().chunks(step) {
            client.send(piece);
        }
        for body in [
            "GET /a?b[c]=d%20e [] 0",
            "OPTIONS * [] 0",
            "GET https://api.test/abs [] 0",
            "PUT /p [abc] 0",
            "POST /c [abc] 0",
            "GET /most [] 0",
        ] {
            assert_eq!(
                client.answer().expect("an answer").body,
                body,
                "in pieces of {step}"
            );
        }
        assert_eq!(client.ask(GET).status, 200, "the connection goes on");
    }
}
