//! Whole runs, from the command line to the report.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use portcullis::dev;

use crate::load::{Console, DONE, FAILED, USAGE, run};
use crate::server::{Manner, Server};

/// What a run left behind.
struct Ran {
    code: u8,
    out: String,
    err: String,
    html: String,
}

fn load_until(options: &[&str], stop: impl Future<Output = ()>) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("new/report.html");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        live: false,
    };
    let file = report.to_str().expect("UTF-8");
    let arguments = ["load", "--bench", "--report", file].into_iter();
    let code = run(arguments.chain(options.iter().copied()), stop, &mut console);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code,
        out: text(out),
        err: text(err),
        html: std::fs::read_to_string(report).unwrap_or_default(),
    }
}

fn load(options: &[&str]) -> Ran {
    load_until(options, pending())
}

/// With JSON, on the server.
fn load_server(server: &Server, options: &[&str], stop: impl Future<Output = ()>) -> Ran {
    let (ca, address) = (
        server.ca.to_str().expect("UTF-8"),
        server.address.to_string(),
    );
    let mut all = vec![
        "--url",
        "https://localhost/v1/domains",
        "--connect-to",
        &address,
    ];
    all.extend(["--ca", ca, "--format", "json"]);
    all.extend(options);
    load_until(&all, stop)
}

impl Ran {
    #[track_caller]
    fn summary(&self) -> Value {
        assert_eq!(self.code, DONE, "{}", self.err);
        serde_json::from_str(&self.out).expect("JSON")
    }

    #[track_caller]
    fn assert_hides(&self, secret: &str) {
        for text in [&self.out, &self.err, &self.html] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[track_caller]
    fn assert_fails(&self, code: u8, why: &str) {
        assert_eq!(self.code, code, "{}", self.err);
        assert!(self.err.contains(why), "{}", self.err);
    }
}

fn number(summary: &Value, pointer: &str) -> f64 {
    let value = summary.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("{pointer} in {summary}"))
}

/// Every answer was 200, and there were some.
#[track_caller]
fn assert_all_succeeded(summary: &Value) {
    let statuses = summary["statuses"].as_object().expect("statuses");
    assert_eq!(statuses.keys().collect::<Vec<_>>(), ["200"], "{summary}");
    assert_eq!(summary["statuses"]["200"], summary["answers"]);
    assert!(number(summary, "/answers") > 0.0);
    assert_eq!(summary["errors"], serde_json::json!({}));
}

#[test]
fn without_a_url_a_gateway_of_its_own_answers_and_the_report_has_the_figures() {
    let ran = load(&["--duration", "2s", "--connections", "4", "--format", "json"]);
    let summary = ran.summary();
    assert_all_succeeded(&summary);
    let seconds = summary["seconds"].as_array().expect("seconds");
    assert_eq!(seconds.len(), 2);
    let progress: Vec<_> = ran
        .err
        .lines()
        .filter(|line| line.contains("req/s"))
        .collect();
    assert_eq!(progress.len(), 2, "one line a second: {}", ran.err);

    let (p50, max) = (
        number(&summary, "/latency_us/p50"),
        number(&summary, "/latency_us/max"),
    );
    assert!(p50 > 0.0 && p50 <= max, "{summary}");
    let rate = number(&summary, "/throughput_per_second");
    let elapsed = number(&summary, "/elapsed_seconds");
    // Answers that came after the end are at most one a connection.
    let late = number(&summary, "/answers") - rate * elapsed;
    assert!((-0.5..=4.5).contains(&late), "{late} in {summary}");

    assert!(
        ran.html.contains(&crate::load::quantity::rate(rate)),
        "{}",
        ran.html
    );
    let row = format!(
        "<th scope=\"row\">200</th><td>{}</td>",
        shown(&summary, "answers")
    );
    assert!(ran.html.contains(&row), "{row} in {}", ran.html);
    for forbidden in ["<script", "src=", "href=", "url(", "@import", "osir_live_"] {
        assert!(!ran.html.contains(forbidden), "{forbidden}");
    }
}

fn shown(summary: &Value, field: &str) -> String {
    crate::load::quantity::count(summary[field].as_u64().expect("a count"))
}

#[test]
fn many_streams_of_http2_on_two_threads_succeed_at_a_rate() {
    let options = "--duration 1s --connections 3 --http2 --streams 4 --threads 2 --rate 150";
    let mut options: Vec<_> = options.split(' ').collect();
    options.extend(["--format", "json"]);
    let summary = load(&options).summary();
    assert_all_succeeded(&summary);
    // 75 turns a thread; on a busy machine not all find a free stream in time.
    let all = number(&summary, "/answers") + number(&summary, "/missed");
    assert_eq!(all, 150.0, "{summary}");
}

/// A gateway that the test starts, with its full key.
struct Gateway {
    dev: dev::Dev,
    address: String,
    ca: String,
    key: String,
    _folder: tempfile::TempDir,
}

impl Gateway {
    fn start() -> Gateway {
        let folder = tempfile::tempdir().expect("a folder");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = dev::Options {
            https: any,
            http: any,
            metrics: any,
            admin: any,
            state: folder.path().into(),
            program: "portcullis".into(),
        };
        let dev = dev::start(&options).expect("a gateway");
        let ready = serde_json::to_value(dev.ready()).expect("JSON");
        let text = |pointer| {
            let value = ready.pointer(pointer).and_then(Value::as_str);
            value.expect("it tells").to_owned()
        };
        Gateway {
            address: text("/https"),
            ca: text("/ca"),
            key: text("/keys/full/key"),
            dev,
            _folder: folder,
        }
    }

    fn load(&self, options: &[&str]) -> Ran {
        let url = format!("https://{}/v1/domains", self.address);
        let mut all = vec!["--url", &url, "--duration", "300ms", "--connections", "2"];
        all.extend(options);
        load(&all)
    }
}

#[test]
fn a_users_gateway_is_asked_with_the_key_in_either_form_and_the_key_is_shown_nowhere() {
    let gateway = Gateway::start();
    let with_key = ["--ca", &gateway.ca, "--key", &gateway.key];
    for form in ["x-api-key", "bearer"] {
        let ran = gateway.load(&[&with_key[..], &["--header-form", form]].concat());
        assert_eq!(ran.code, DONE, "{}", ran.err);
        assert!(ran.out.contains("statuses     200: "), "{}", ran.out);
        assert!(
            ran.html
                .contains("<title>Load report: GET https://127.0.0.1"),
            "{}",
            ran.html
        );
        ran.assert_hides(&gateway.key);
    }

    let wrong = gateway.load(&["--ca", &gateway.ca, "--key", "osir_live_wrong"]);
    wrong.assert_fails(FAILED, "answers were 401 (the credential is missing, wrong");
    wrong.assert_hides("osir_live_wrong");
    assert!(wrong.html.contains("<th scope=\"row\">401</th>"));
    let unsendable = gateway.load(&["--ca", &gateway.ca, "--key", "osir_live_\u{7}"]);
    unsendable.assert_fails(USAGE, "credential 1 ");
    unsendable.assert_hides("osir_live_");

    let public = gateway.load(&with_key[2..]);
    public.assert_fails(FAILED, "the certificate is not to be trusted (--ca");
    let unverified = gateway.load(&[&with_key[2..], &["--insecure"]].concat());
    assert_eq!(unverified.code, DONE, "{}", unverified.err);
    gateway.dev.stop();
}

#[test]
fn what_may_not_or_cannot_be_asked_is_refused_plainly() {
    let clear = load(&["--url", "http://localhost/", "--key", "k"]);
    clear.assert_fails(
        USAGE,
        "--url is not https: a key is never sent in clear text",
    );
    // 192.0.2.0/24 is nobody's (RFC 5737); it is not even tried.
    let far = [
        "--url",
        "https://localhost/",
        "--connect-to",
        "192.0.2.1:443",
        "--insecure",
    ];
    load(&far).assert_fails(
        USAGE,
        "--insecure is for a gateway on a loopback address only",
    );
    load(&["--insecure"]).assert_fails(USAGE, "--url");
    load(&["--streams", "2"]).assert_fails(USAGE, "--http2");

    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = port.local_addr().expect("bound").to_string();
    drop(port);
    let nobody = load(&["--url", &format!("https://{address}/")]);
    nobody.assert_fails(
        FAILED,
        &format!("{address}: no connection: Connection refused"),
    );

    let server = Server::start(|_| Manner::Answer);
    let http2 = load_server(&server, &["--http2"], pending());
    http2.assert_fails(FAILED, "the server does not offer HTTP/2");
}

#[test]
fn the_help_says_whose_gateways_may_be_loaded_and_that_ps_shows_a_key() {
    let help = load(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (DONE, ""));
    for part in [
        "Only load gateways that are yours",
        "`ps`",
        "PORTCULLIS_KEY",
    ] {
        assert!(help.out.contains(part), "{part} in {}", help.out);
    }
}

#[test]
fn credentials_of_a_file_take_turns_and_the_body_arrives() {
    let server = Server::start(|_| Manner::Answer);
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), "key-a\nkey-b\n\nkey-c\n").expect("writable");
    let file = keys.path().to_str().expect("UTF-8");
    let options = [
        "--key-file",
        file,
        "--body",
        "{\"a\":1}",
        "--connections",
        "2",
    ];
    let ran = load_server(&server, &options, server.asked_times(60));
    ran.summary();
    for key in ["key-a", "key-b", "key-c"] {
        ran.assert_hides(key);
    }
    let mut times = BTreeMap::new();
    for asked in server.asked() {
        assert_eq!(
            (asked.method.as_str(), asked.path.as_str()),
            ("POST", "/v1/domains")
        );
        assert_eq!(asked.body, "{\"a\":1}");
        *times.entry(asked.credential).or_insert(0_usize) += 1;
    }
    assert_eq!(
        times.keys().collect::<Vec<_>>(),
        ["key-a", "key-b", "key-c"]
    );
    let spread = times.values().max().zip(times.values().min());
    assert!(
        spread.is_some_and(|(most, least)| most - least <= 2),
        "{times:?}"
    );
}

#[test]
fn a_run_that_is_stopped_still_tells_what_it_found() {
    let server = Server::start(|_| Manner::Answer);
    let ran = load_server(&server, &["--duration", "1h"], server.asked_times(100));
    let summary = ran.summary();
    assert_all_succeeded(&summary);
    assert!(number(&summary, "/answers") >= 84.0, "{summary}");
    assert!(number(&summary, "/elapsed_seconds") < 600.0, "{summary}");
    assert!(ran.html.ends_with("</html>\n"));
}

#[test]
fn a_connection_that_the_server_ends_is_made_again_without_an_error() {
    let act = |number| match number % 5 {
        4 => Manner::AnswerAndClose,
        _ => Manner::Answer,
    };
    let server = Server::start(act);
    let options = ["--connections", "1"];
    let summary = load_server(&server, &options, server.asked_times(50)).summary();
    assert_all_succeeded(&summary);
    assert!(number(&summary, "/reconnected") >= 9.0, "{summary}");
}

#[test]
fn a_request_that_is_not_answered_in_time_is_an_error_and_no_answer() {
    let act = |number| match number {
        3.. => Manner::Stall(Duration::from_secs(3600)),
        _ => Manner::Answer,
    };
    let server = Server::start(act);
    let options = [
        "--connections",
        "1",
        "--timeout",
        "200ms",
        "--duration",
        "1s",
    ];
    let summary = load_server(&server, &options, pending()).summary();
    assert_eq!(summary["answers"], 3, "{summary}");
    assert!(number(&summary, "/errors/timed out") >= 1.0, "{summary}");
}

/// Coordinated omission: while the server stalls for half a second, a closed loop asks nothing and sees one
/// slow answer; to an open loop all that was due meanwhile is late.
#[test]
fn an_open_loop_counts_the_wait_for_a_server_that_stalls() {
    let act = |number| match number {
        20 => Manner::Stall(Duration::from_millis(500)),
        _ => Manner::Answer,
    };
    let options = ["--connections", "1", "--duration", "1s", "--rate", "100"];
    let server = Server::start(act);
    let open = load_server(&server, &options, pending()).summary();
    assert_eq!(
        number(&open, "/answers") + number(&open, "/missed"),
        100.0,
        "{open}"
    );
    // Some 40 of 100 were due more than 100 ms before the stall was over.
    assert!(number(&open, "/latency_us/p90") > 100_000.0, "{open}");
    assert!(number(&open, "/latency_us/max") >= 500_000.0, "{open}");

    let server = Server::start(act);
    let closed = load_server(&server, &options[..4], pending()).summary();
    assert!(number(&closed, "/latency_us/max") >= 500_000.0, "{closed}");
    assert!(number(&closed, "/latency_us/p90") < 100_000.0, "{closed}");
}
