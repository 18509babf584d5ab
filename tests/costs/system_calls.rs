//! System calls of a request, in the shipped binary, counted by strace once it is warm.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::KeepAlive;
use crate::home::{Gateway, Home, portcullis, start_upstream};
use crate::multiplexed::Multiplexed;
use crate::table::hold;

const REQUESTS: u32 = 2_000;
const WARM_UP: u32 = 200;

/// strace at work on a process.
struct Trace {
    strace: Child,
    errors: BufReader<std::process::ChildStderr>,
}

/// How often each call was made, per request.
type PerRequest = BTreeMap<String, f64>;

#[test]
fn a_keep_alive_request_costs_two_reads_two_writes_and_two_waits() {
    let home = Home::build(start_upstream());
    let gateway = home.serve(portcullis());
    let mut client = KeepAlive::connect(&home, gateway.address);
    client.ask(WARM_UP);
    let trace = Trace::attach(&home, &gateway);
    client.ask(REQUESTS);
    let calls = trace.end(&home);
    hold("system calls, HTTP/1.1 keep-alive", 5.0, &regular(calls));
}

#[test]
fn ten_streams_of_one_http2_connection_share_their_calls() {
    let home = Home::build(start_upstream());
    let gateway = home.serve(portcullis());
    let mut client = Multiplexed::connect(&home, gateway.address);
    client.ask(WARM_UP);
    let trace = Trace::attach(&home, &gateway);
    client.ask(REQUESTS);
    let calls = trace.end(&home);
    hold(
        "system calls, HTTP/2 with 10 streams",
        25.0,
        &regular(calls),
    );
}

impl Trace {
    fn attach(home: &Home, gateway: &Gateway) -> Trace {
        let mut strace = Command::new("strace")
            .args(["-f", "-c", "-U", "calls,name", "-S", "calls", "-o"])
            .arg(home.path("calls"))
            .args(["-p", &gateway.child.id().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("strace does not start ({error}): apt-get install strace")
            });
        let mut errors = BufReader::new(strace.stderr.take().expect("piped"));
        let mut said = String::new();
        while !said.contains("attached") {
            let read = errors.read_line(&mut said).expect("text");
            assert!(
                !said.contains("not permitted"),
                "this machine does not let strace attach \
                (in a container: --cap-add SYS_PTRACE; else kernel.yama.ptrace_scope=0): {said}"
            );
            assert!(read > 0, "strace ended: {said}");
        }
        Trace { strace, errors }
    }

    fn end(mut self, home: &Home) -> PerRequest {
        let id = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), Signal::INT).expect("signalled");
        let mut said = String::new();
        while self.errors.read_line(&mut said).expect("text") > 0 {}
        self.strace.wait().expect("a child");
        let table = std::fs::read_to_string(home.path("calls")).expect("written");
        let row = |line: &str| {
            let (calls, name) = line.trim().split_once(' ')?;
            let calls: u32 = calls.parse().ok()?;
            Some((
                name.trim().to_owned(),
                f64::from(calls) / f64::from(REQUESTS),
            ))
        };
        table.lines().filter_map(row).collect()
    }
}

/// Calls that are made less often than every second request belong to no request.
const REGULAR: f64 = 0.5;

fn regular(mut calls: PerRequest) -> Vec<(String, f64)> {
    let all = calls.remove("total").expect("strace sums up");
    let mut figures: Vec<_> = calls
        .into_iter()
        .filter(|(_, calls)| *calls > REGULAR)
        .collect();
    figures.push(("all".into(), all));
    figures
}
