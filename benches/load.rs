//! End-to-end load: TLS keep-alive connections that ask as fast as they are answered.
//!
//! `cargo bench --bench load` starts a gateway and upstreams of its own (`portcullis dev`) and asks
//! them. `-- --address 127.0.0.1:8443 --ca FILE --key KEY [--host api.osir.com] [--path /v1/domains]`
//! asks a gateway that runs; on loopback only, unless it is yours. `--connections`, `--duration`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::time::Instant;

#[derive(Clone)]
struct Target {
    address: SocketAddr,
    host: String,
    path: String,
    key: String,
    config: Arc<ClientConfig>,
}

#[derive(Default)]
struct Tally {
    latencies: Vec<u32>,
    statuses: std::collections::BTreeMap<u16, u64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number =
        |name: &str, default: u64| value(name).and_then(|n| n.parse().ok()).unwrap_or(default);
    let connections = number("--connections", 16);
    let duration = Duration::from_secs(number("--duration", 5));
    let folder = tempfile::tempdir().expect("a folder");
    let own = value("--address")
        .is_none()
        .then(|| start_own(folder.path()));
    let (address, ca, key) = match &own {
        Some((_, address, ca, key)) => (*address, ca.clone(), key.clone()),
        None => (
            value("--address")
                .and_then(|a| a.parse().ok())
                .expect("--address is host:port"),
            PathBuf::from(value("--ca").expect("--ca names the CA file")),
            value("--key").expect("--key is an API key"),
        ),
    };
    let target = Target {
        address,
        host: value("--host").unwrap_or_else(|| "api.osir.com".into()),
        path: value("--path").unwrap_or_else(|| "/v1/domains".into()),
        key,
        config: trust(&ca),
    };
    let started = Instant::now();
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let target = target.clone();
            std::thread::spawn(move || ask(&target, started + duration))
        })
        .collect();
    let mut all = Tally::default();
    for worker in workers {
        let tally = worker.join().expect("a worker");
        all.latencies.extend(tally.latencies);
        for (status, count) in tally.statuses {
            *all.statuses.entry(status).or_default() += count;
        }
    }
    report(&mut all, started.elapsed(), connections);
    if let Some((dev, ..)) = own {
        dev.stop();
    }
}

fn start_own(state: &std::path::Path) -> (portcullis::dev::Dev, SocketAddr, PathBuf, String) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = portcullis::dev::Options {
        https: any,
        http: any,
        metrics: any,
        admin: any,
        state: state.to_owned(),
    };
    let dev = portcullis::dev::start(&options).unwrap_or_else(|error| panic!("{error}"));
    let file = state.join("ready.json");
    dev.ready().write(&file).expect("writable");
    let ready: serde_json::Value =
        serde_json::from_slice(&std::fs::read(file).expect("readable")).expect("JSON");
    let text = |pointer: &str| {
        ready
            .pointer(pointer)
            .and_then(|v| v.as_str())
            .expect("there")
            .to_owned()
    };
    let address = text("/https").parse().expect("an address");
    (
        dev,
        address,
        PathBuf::from(text("/ca")),
        text("/keys/full/key"),
    )
}

fn trust(ca: &std::path::Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("a CA file") {
        roots.add(certificate.expect("PEM")).expect("a CA");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(
        config
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

fn ask(target: &Target, until: Instant) -> Tally {
    let tcp = TcpStream::connect(target.address).expect("the gateway listens");
    tcp.set_nodelay(true).expect("nodelay");
    let name = ServerName::try_from(target.host.clone()).expect("a name");
    let session = ClientConnection::new(Arc::clone(&target.config), name).expect("a session");
    let mut stream = StreamOwned::new(session, tcp);
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nx-api-key: {}\r\n\r\n",
        target.path, target.host, target.key
    );
    let mut tally = Tally::default();
    let mut buffer = vec![0; 64 * 1024];
    while Instant::now() < until {
        let asked = Instant::now();
        stream.write_all(request.as_bytes()).expect("sent");
        let status = read_answer(&mut stream, &mut buffer);
        let micros = asked.elapsed().as_micros();
        tally
            .latencies
            .push(u32::try_from(micros).unwrap_or(u32::MAX));
        *tally.statuses.entry(status).or_default() += 1;
    }
    tally
}

/// Reads one answer with a content length; gives its status.
fn read_answer(stream: &mut impl Read, buffer: &mut [u8]) -> u16 {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).expect("an answer");
        assert!(read > 0, "the gateway closed the connection");
        filled += read;
        let text = String::from_utf8_lossy(&buffer[..filled]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return head
                .get(9..12)
                .and_then(|status| status.parse().ok())
                .unwrap_or(0);
        }
    }
}

fn report(tally: &mut Tally, elapsed: Duration, connections: u64) {
    tally.latencies.sort_unstable();
    let count = tally.latencies.len();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in the list"
        )]
        let place = (count as f64 * share) as usize;
        tally
            .latencies
            .get(place.min(count.saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    };
    println!("{count} requests in {elapsed:.1?} over {connections} connections");
    println!(
        "throughput  {:.0} requests/s",
        count as f64 / elapsed.as_secs_f64()
    );
    println!(
        "latency     p50 {} us   p90 {} us   p99 {} us   max {} us",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    println!("statuses    {:?}", tally.statuses);
}
