//! One set of listening sockets for each worker.
//!
//! Every worker has its own socket on the same address (`SO_REUSEPORT`), so the kernel spreads
//! connections and no lock is shared; [`super::balance`] evens out what that leaves uneven.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

use super::EdgeSettings;
use super::balance::{self, Balance, Newcomer};
use crate::observe::Metrics;

/// What one worker listens on.
#[derive(Debug)]
pub struct WorkerSockets {
    pub(super) https: std::net::TcpListener,
    pub(super) http: Option<std::net::TcpListener>,
    https_address: SocketAddr,
    http_address: Option<SocketAddr>,
    pub(super) balance: Balance,
    /// What other workers have accepted for this one.
    pub(super) arrivals: mpsc::Receiver<Newcomer>,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (listen.{key})")]
pub struct BindError {
    key: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// Connections that the kernel keeps until they are accepted.
pub(super) const BACKLOG: i32 = 4096;

/// Binds every worker's sockets. With port 0 the kernel chooses, once for all workers.
pub fn bind(
    settings: &EdgeSettings,
    workers: usize,
    metrics: &Metrics,
) -> Result<Vec<WorkerSockets>, BindError> {
    let (mut https, mut http) = (settings.https, settings.http);
    refuse_shared("https", https)?;
    if let Some(http) = http {
        refuse_shared("http", http)?;
    }
    let workers = workers.max(1);
    let mut all = Vec::with_capacity(workers);
    for part in balance::between(workers, &metrics.worker_connections) {
        let sockets = WorkerSockets::bind(https, http, part)?;
        (https, http) = (sockets.https_address, sockets.http_address);
        all.push(sockets);
    }
    Ok(all)
}

impl WorkerSockets {
    fn bind(
        https: SocketAddr,
        http: Option<SocketAddr>,
        (balance, arrivals): (Balance, mpsc::Receiver<Newcomer>),
    ) -> Result<WorkerSockets, BindError> {
        let (https, https_address) = listen("https", https)?;
        let (http, http_address) = match http {
            Some(address) => {
                listen("http", address).map(|(socket, at)| (Some(socket), Some(at)))?
            }
            None => (None, None),
        };
        Ok(WorkerSockets {
            https,
            http,
            https_address,
            http_address,
            balance,
            arrivals,
        })
    }

    /// Where the API is; the port is the real one.
    pub fn https(&self) -> SocketAddr {
        self.https_address
    }

    /// Where clear text is refused; the port is the real one.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http_address
    }
}

/// `SO_REUSEPORT` would let a second gateway of the same user take a part of the traffic without a
/// word, perhaps with another policy. A socket without it cannot be bound beside a listener.
fn refuse_shared(key: &'static str, address: SocketAddr) -> Result<(), BindError> {
    let probe = || {
        let kind = (
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        );
        let socket = Socket::new(kind.0, kind.1, kind.2)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())
    };
    match address.port() {
        0 => Ok(()),
        _ => probe().map_err(|source| BindError {
            key,
            address,
            source,
        }),
    }
}

fn listen(
    key: &'static str,
    address: SocketAddr,
) -> Result<(std::net::TcpListener, SocketAddr), BindError> {
    let open = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = std::net::TcpListener::from(socket);
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    open().map_err(|source| BindError {
        key,
        address,
        source,
    })
}
