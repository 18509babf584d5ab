//! One authenticated connection to a server, in clear text or TLS.
//!
//! Made by hand around [`MultiplexedConnection`] rather than by the crate's own client: the TLS is
//! the same rustls as everywhere else, and its certificates are not read anew on every connect. Not
//! here: when to connect, whereto, and how long to wait. Invariant: no error from here carries what
//! was sent to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::secret::Secret;

pub(super) use super::connection::Connection;
use super::fault::Fault;
use super::settings::{Address, InvalidRedisSettings, RedisSettings, Transport};
use super::tls;

/// How to introduce ourselves to the servers of one kind.
pub(super) struct Dialer {
    tls: Option<TlsConnector>,
    introduction: RedisConnectionInfo,
    runtime: Handle,
}

/// A certificate is for a name, and this is none.
#[derive(Debug, thiserror::Error)]
#[error("the server is at a name that no certificate can be for")]
struct NoServerName;

impl Dialer {
    pub(super) fn new(
        settings: &RedisSettings,
        transport: Transport,
        introduction: RedisConnectionInfo,
    ) -> Result<Arc<Dialer>, InvalidRedisSettings> {
        Ok(Arc::new(Dialer {
            tls: match transport {
                Transport::Clear => None,
                Transport::Tls => Some(tls::connector(settings)?),
            },
            introduction,
            runtime: Handle::try_current().map_err(|_| InvalidRedisSettings::Runtime)?,
        }))
    }

    /// Where connections live.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Connects and authenticates, on the runtime that the store was opened in: a connection must
    /// not end with the worker that happened to ask first.
    pub(super) async fn connect(self: &Arc<Dialer>, address: &Address) -> Result<Link, Fault> {
        let (dialer, address) = (Arc::clone(self), address.clone());
        let task = self
            .runtime
            .spawn(async move { dialer.dial(address).await });
        AbortOnDrop(task).join().await
    }

    async fn dial(&self, address: Address) -> Result<Link, Fault> {
        let stream = TcpStream::connect((&*address.host, address.port))
            .await
            .map_err(Fault::away)?;
        // Every command is one small write that someone waits for.
        stream.set_nodelay(true).map_err(Fault::away)?;
        match &self.tls {
            None => self.introduce(stream, address).await,
            Some(connector) => {
                let name = ServerName::try_from(address.host.clone())
                    .map_err(|_| Fault::away(NoServerName))?;
                let stream = connector.connect(name, stream).await;
                self.introduce(stream.map_err(Fault::away)?, address).await
            }
        }
    }

    async fn introduce<S>(&self, stream: S, address: Address) -> Result<Link, Fault>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        // The deadlines are ours (see `lane`), not the crate's 500 ms.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&self.introduction, stream, config)
                .await
                .map_err(Fault::introduction)?;
        Ok(Link {
            connection,
            line: Arc::new(Line {
                address,
                driver: AbortOnDrop(tokio::spawn(driver)),
                condemned: AtomicBool::new(false),
            }),
        })
    }
}

/// Whom we say we are, and which database we mean.
pub(super) fn introduction(
    username: Option<&String>,
    password: Option<&Secret>,
    database: i64,
) -> RedisConnectionInfo {
    let mut redis = RedisConnectionInfo::default()
        .set_db(database)
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    if let Some(username) = username {
        redis = redis.set_username(username);
    }
    if let Some(password) = password {
        redis = redis.set_password(password.expose());
    }
    redis
}

/// A connection, which closes with its last clone.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    line: Arc<Line>,
}

struct Line {
    address: Address,
    driver: AbortOnDrop<()>,
    condemned: AtomicBool,
}

impl Link {
    /// Whether it may be used: not condemned, and the other end has not closed it as far as is
    /// known.
    pub(super) fn is_usable(&self) -> bool {
        !self.line.condemned.load(Ordering::Relaxed) && !self.line.driver.0.is_finished()
    }

    /// Nothing new is to be sent on it. What others wait for on it may still arrive.
    pub(super) fn condemn(&self) {
        self.line.condemned.store(true, Ordering::Relaxed);
    }

    /// Where it leads.
    pub(super) fn address(&self) -> &Address {
        &self.line.address
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<Result<T, Fault>> {
    async fn join(mut self) -> Result<T, Fault> {
        match (&mut self.0).await {
            Ok(outcome) => outcome,
            Err(error) => Err(Fault::away(error)),
        }
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
