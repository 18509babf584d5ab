//! One authenticated connection to the server, in clear text or TLS.
//!
//! Made by hand around [`MultiplexedConnection`] rather than by the crate's own client: the TLS is
//! the same rustls as everywhere else, and its certificates are not read anew on every connect. Not here: when to connect,
//! and how long to wait. Invariant: no error from here carries what was sent to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) use ::redis::aio::MultiplexedConnection as Connection;
use ::redis::{
    AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion,
    RedisConnectionInfo,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::store::RedisSettings;

use super::fault::Fault;

/// Why the settings cannot describe a server. Found before anything is contacted.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRedisSettings {
    /// The CA file cannot be read.
    #[error("the CA file of the Redis store cannot be read")]
    Ca(#[source] rustls_pki_types::pem::Error),
    /// The CA file holds no certificate that can be trusted.
    #[error("the CA file of the Redis store holds no usable certificate")]
    NoCa,
    /// A user or password in the URL would show in logs.
    #[error("user and password of the Redis store do not belong into its URL")]
    CredentialsInUrl,
    /// Opened outside of a Tokio runtime.
    #[error("the Redis store needs a Tokio runtime for its connections")]
    Runtime,
    /// Not `redis://` or `rediss://`, or without a host. The URL is not repeated: it may hold a
    /// password.
    #[error("the URL of the Redis store is not redis://host[:port][/db] or rediss://…")]
    Url,
}

/// Where the server is and how to introduce ourselves.
pub(super) struct Endpoint {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    introduction: RedisConnectionInfo,
    runtime: Handle,
}

impl Endpoint {
    pub(super) fn new(settings: &RedisSettings) -> Result<Endpoint, InvalidRedisSettings> {
        let address = Address::parse(&settings.url)?;
        let tls = match address.transport {
            Transport::Clear => None,
            Transport::Tls => Some(tls(settings, &address.host)?),
        };
        Ok(Endpoint {
            introduction: introduction(address.database, settings),
            host: address.host,
            port: address.port,
            tls,
            runtime: Handle::try_current().map_err(|_| InvalidRedisSettings::Runtime)?,
        })
    }

    /// Connects and authenticates, on the runtime that the store was opened in: a connection must
    /// not end with the worker that happened to ask first.
    pub(super) async fn connect(self: &Arc<Endpoint>) -> Result<Link, Fault> {
        let endpoint = Arc::clone(self);
        let task = self.runtime.spawn(async move { endpoint.dial().await });
        AbortOnDrop(task).join().await
    }

    async fn dial(&self) -> Result<Link, Fault> {
        let stream = TcpStream::connect((&*self.host, self.port))
            .await
            .map_err(Fault::away)?;
        // Every command is one small write that someone waits for.
        stream.set_nodelay(true).map_err(Fault::away)?;
        match &self.tls {
            None => self.introduce(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                self.introduce(stream.map_err(Fault::away)?).await
            }
        }
    }

    async fn introduce<S>(&self, stream: S) -> Result<Link, Fault>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        // The deadlines are ours (see `lane`), not the crate's 500 ms.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None);
        let (connection, driver) = Connection::new_with_config(&self.introduction, stream, config)
            .await
            .map_err(Fault::introduction)?;
        Ok(Link {
            connection,
            line: Arc::new(Line {
                driver: AbortOnDrop(tokio::spawn(driver)),
                condemned: AtomicBool::new(false),
            }),
        })
    }
}

/// A connection, which closes with its last clone.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: Connection,
    line: Arc<Line>,
}

struct Line {
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

/// What the URL says.
struct Address {
    transport: Transport,
    host: String,
    port: u16,
    database: i64,
}

enum Transport {
    Clear,
    Tls,
}

impl Address {
    fn parse(url: &str) -> Result<Address, InvalidRedisSettings> {
        let (transport, rest) = if let Some(rest) = url.strip_prefix("rediss://") {
            (Transport::Tls, rest)
        } else if let Some(rest) = url.strip_prefix("redis://") {
            (Transport::Clear, rest)
        } else {
            return Err(InvalidRedisSettings::Url);
        };
        // The crate knows `#insecure` and `?protocol=`. Neither is ours to offer.
        if rest.contains(['#', '?']) {
            return Err(InvalidRedisSettings::Url);
        }
        // The crate's error is dropped on purpose: it may quote the URL. TLS is not its matter.
        let info = format!("redis://{rest}")
            .into_connection_info()
            .map_err(|_| InvalidRedisSettings::Url)?;
        let redis = info.redis_settings();
        if redis.username().is_some() || redis.password().is_some() {
            return Err(InvalidRedisSettings::CredentialsInUrl);
        }
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(InvalidRedisSettings::Url);
        };
        Ok(Address {
            transport,
            host: host.clone(),
            port: *port,
            database: redis.db(),
        })
    }
}

fn introduction(database: i64, settings: &RedisSettings) -> RedisConnectionInfo {
    let mut redis = RedisConnectionInfo::default()
        .set_db(database)
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        redis = redis.set_username(username);
    }
    if let Some(password) = &settings.password {
        redis = redis.set_password(password.expose());
    }
    redis
}

fn tls(
    settings: &RedisSettings,
    host: &str,
) -> Result<(TlsConnector, ServerName<'static>), InvalidRedisSettings> {
    let mut roots = rustls::RootCertStore::empty();
    match &settings.ca {
        None => {
            roots.add_parsable_certificates(
                webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned(),
            );
        }
        Some(path) => {
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(InvalidRedisSettings::Ca)?
            {
                let certificate = certificate.map_err(InvalidRedisSettings::Ca)?;
                roots
                    .add(certificate)
                    .map_err(|_| InvalidRedisSettings::NoCa)?;
            }
        }
    }
    if roots.is_empty() {
        return Err(InvalidRedisSettings::NoCa);
    }
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| InvalidRedisSettings::Url)?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}
