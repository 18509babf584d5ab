use std::time::Duration;

use clap::Parser as _;
use http::Method;

use crate::load::arguments::Arguments;
use crate::load::plan::{Plan, Refusal};

fn plan(options: &[&str]) -> Result<Plan, Refusal> {
    let url = ["load", "--url", "https://localhost:8443/v1/domains"];
    let arguments = url.iter().chain(options);
    Plan::parse(&Arguments::try_parse_from(arguments).expect("clap takes it"))
}

#[test]
fn times_have_units_and_a_bare_number_is_seconds() {
    let read = |text| plan(&["--duration", text]).ok().map(|plan| plan.duration);
    assert_eq!(read("10s"), Some(Duration::from_secs(10)));
    assert_eq!(read("4"), Some(Duration::from_secs(4)));
    assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(read("1.5m"), Some(Duration::from_secs(90)));
    for wrong in ["", "s", "0s", "10 s", "10d", "nan", "inf", "9e99h"] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    for wrong in [
        ["--connections", "0"],
        ["--threads", "0"],
        ["--threads", "17"],
        ["--rate", "0"],
        ["--rate", "NaN"],
        ["--duration", "soon"],
        ["--method", "GE T"],
        ["--ca", "/nowhere.pem"],
        ["--key-file", "/nowhere"],
    ] {
        assert!(
            plan(&wrong)
                .and_then(|plan| Ok(plan.trust.tls(b"h2")?))
                .is_err(),
            "{wrong:?}"
        );
    }
}

#[test]
fn a_request_of_either_protocol_is_what_the_options_say() {
    let http1 = plan(&["--key", "osir_live_x", "--body", "{}"]).expect("a plan");
    let request = http1.request(0);
    assert_eq!(
        (request.method(), request.uri().to_string()),
        (&Method::POST, "/v1/domains".into())
    );
    assert_eq!(request.headers()["host"], "localhost:8443");
    assert_eq!(request.headers()["x-api-key"], "osir_live_x");
    assert_eq!(request.headers()["content-type"], "application/json");
    let bearer = [
        "--http2",
        "--key",
        "t",
        "--header-form",
        "bearer",
        "--method",
        "HEAD",
    ];
    let request = plan(&bearer).expect("a plan").request(0);
    assert_eq!(request.method(), Method::HEAD);
    assert_eq!(request.uri(), "https://localhost:8443/v1/domains");
    assert_eq!(request.headers()["authorization"], "Bearer t");
    assert_eq!(request.headers().len(), 1);
}

#[test]
fn nothing_that_is_shown_of_a_plan_holds_the_key() {
    let plan = plan(&["--key", "osir_live_secret", "--insecure"]).expect("a plan");
    let shown = format!("{plan:?} {:?}", plan.options());
    assert!(!shown.contains("osir_live_secret"), "{shown}");
}
