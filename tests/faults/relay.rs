//! A relay between a gateway and its Redis, which is where the network goes wrong.
//!
//! Invariant: bytes that get through come in their order and unchanged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Runs until it is dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    way: watch::Sender<Way>,
}

/// Where it leads, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    target: SocketAddr,
    traffic: Traffic,
    /// A connection that carries this in a request hears nothing from then on.
    fatal: Option<Arc<[u8]>>,
}

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// All pass.
    Open,
    /// Answers pass so much later.
    Late(Duration),
    /// Nothing passes, and nobody is told.
    Cut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Answers,
    Requests,
}

/// What is on its way, and since when.
type Bytes = (Instant, Vec<u8>);

impl Relay {
    pub(crate) async fn to(target: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let traffic = Traffic::Open;
        let way = Way {
            target,
            traffic,
            fatal: None,
        };
        let (way, follow) = watch::channel(way);
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            loop {
                let mut ended = follow.clone();
                tokio::select! {
                    accepted = listener.accept() => {
                        let (client, _) = accepted.expect("a connection");
                        tokio::spawn(carry(client, follow.clone()));
                    }
                    // The relay is dropped.
                    _ = ended.wait_for(|_| false) => return,
                }
            }
        });
        Relay { address, way }
    }

    pub(crate) fn set(&self, traffic: Traffic) {
        self.way.send_modify(|way| way.traffic = traffic);
    }

    /// All connections end, and the next ones lead there.
    pub(crate) fn turn_to(&self, target: SocketAddr) {
        let way = Way {
            target,
            traffic: Traffic::Open,
            fatal: None,
        };
        self.way.send_replace(way);
    }

    /// The request that has this gets through, and its answer is lost, as are all that come later
    /// on its connection.
    pub(crate) fn lose_the_answer_to(&self, part: &str) {
        let part = Some(part.as_bytes().into());
        self.way.send_modify(|way| way.fatal = part);
    }
}

/// One connection, until either side or the relay ends it.
async fn carry(client: TcpStream, mut way: watch::Receiver<Way>) {
    // Who connects to a place that is cut off waits too.
    let Some(Way { target, .. }) = passable(&mut way).await else {
        return;
    };
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("nodelay");
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let deaf = AtomicBool::new(false);
    let pump = |from, to, direction| pump(from, to, way.clone(), direction, &deaf);
    let requests = pump(from_client, to_server, Direction::Requests);
    let answers = pump(from_server, to_client, Direction::Answers);
    let mut way = way.clone();
    tokio::select! {
        () = requests => {}
        () = answers => {}
        () = async { let _ = way.wait_for(|way| way.target != target).await; } => {}
    }
}

/// Until it is not cut; `None` is the end of the relay.
async fn passable(way: &mut watch::Receiver<Way>) -> Option<Way> {
    let open = way.wait_for(|way| way.traffic != Traffic::Cut).await;
    open.ok().map(|way| way.clone())
}

async fn pump(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    way: watch::Receiver<Way>,
    direction: Direction,
    deaf: &AtomicBool,
) {
    let (put, take) = mpsc::unbounded_channel();
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let bytes = (Instant::now(), buffer[..count].to_vec());
            if put.send(bytes).is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write(to, take, way, direction, deaf) => {}
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut take: mpsc::UnboundedReceiver<Bytes>,
    mut way: watch::Receiver<Way>,
    direction: Direction,
    deaf: &AtomicBool,
) {
    while let Some((read_at, bytes)) = take.recv().await {
        let Some(Way { traffic, fatal, .. }) = passable(&mut way).await else {
            return;
        };
        let has = |part: &Arc<[u8]>| bytes.windows(part.len()).any(|window| *window == **part);
        match (traffic, direction) {
            (_, Direction::Requests) if fatal.as_ref().is_some_and(has) => {
                deaf.store(true, Ordering::SeqCst);
            }
            (_, Direction::Answers) if deaf.load(Ordering::SeqCst) => continue,
            (Traffic::Late(by), Direction::Answers) => sleep_until(read_at + by).await,
            _ => {}
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
