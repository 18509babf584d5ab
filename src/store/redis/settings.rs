//! How to reach Redis: what an operator may choose, and what a URL of it says.
//!
//! Not here: connecting. Invariant: no error from here repeats what it was given.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ::redis::{ConnectionAddr, IntoConnectionInfo as _};

use crate::secret::Secret;

/// How to reach Redis.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Which servers.
    pub servers: RedisServers,
    /// ACL user; `None` is Redis' `default`.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// PEM file of the CA that the servers' certificates must chain to; `None` is the public ones.
    pub ca: Option<PathBuf>,
    /// What we show to servers that ask for a certificate.
    pub certificate: Option<RedisCertificate>,
    /// The deadline of each command.
    pub timeout: Duration,
}

impl RedisSettings {
    /// One server, without a password, public CAs, and the deadline that the config defaults to.
    pub fn at(url: impl Into<String>) -> RedisSettings {
        RedisSettings {
            servers: RedisServers::One { url: url.into() },
            username: None,
            password: None,
            ca: None,
            certificate: None,
            timeout: Duration::from_millis(250),
        }
    }
}

/// Which servers. URLs are `redis://host:port` or `rediss://…`, without user and password.
#[derive(Clone, Debug)]
pub enum RedisServers {
    /// One server, or an address that always leads to the primary.
    One {
        /// May end in `/db`.
        url: String,
    },
    /// The primary is whichever the sentinels name.
    Sentinel(Box<RedisSentinels>),
    /// A Cluster.
    Cluster {
        /// Some of its servers; these tell of the others.
        urls: Vec<String>,
    },
}

/// The sentinels of one primary.
#[derive(Clone, Debug)]
pub struct RedisSentinels {
    /// All of them: the primary is what more than half of these say. Their scheme is also that of
    /// the servers that they watch.
    pub urls: Vec<String>,
    /// The name that they know the primary by.
    pub primary: String,
    /// ACL user at the sentinels.
    pub username: Option<String>,
    /// Password at the sentinels.
    pub password: Option<Secret>,
}

/// A certificate of ours and its key, both PEM files.
#[derive(Clone, Debug)]
pub struct RedisCertificate {
    /// The chain, leaf first.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why the settings cannot describe a server. Found before anything is contacted.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRedisSettings {
    /// The CA file cannot be read.
    #[error("the CA file of the Redis store cannot be read")]
    Ca(#[source] rustls_pki_types::pem::Error),
    /// The certificate or its key cannot be read.
    #[error("the client certificate of the Redis store or its key cannot be read")]
    Certificate(#[source] rustls_pki_types::pem::Error),
    /// The certificate and its key do not fit each other, or cannot be used.
    #[error("the client certificate of the Redis store cannot be used with its key")]
    CertificateUnusable(#[source] rustls::Error),
    /// The CA file holds no certificate that can be trusted.
    #[error("the CA file of the Redis store holds no usable certificate")]
    NoCa,
    /// A user or password in the URL would show in logs.
    #[error("user and password of the Redis store do not belong into its URL")]
    CredentialsInUrl,
    /// Some of several URLs ask for TLS and some do not, or one has a database.
    #[error("the URLs of the Redis store are not of one kind: {0}")]
    Mixed(&'static str),
    /// Opened outside of a Tokio runtime.
    #[error("the Redis store needs a Tokio runtime for its connections")]
    Runtime,
    /// Not `redis://` or `rediss://`, or without a host. The URL is not repeated: it may hold a
    /// password.
    #[error("the URL of the Redis store is not redis://host[:port][/db] or rediss://…")]
    Url,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Clear,
    Tls,
}

/// What a URL says.
pub(super) struct Location {
    pub(super) transport: Transport,
    pub(super) address: Address,
    pub(super) database: i64,
}

impl Location {
    pub(super) fn parse(url: &str) -> Result<Location, InvalidRedisSettings> {
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
        Ok(Location {
            transport,
            address: Address {
                host: host.clone(),
                port: *port,
            },
            database: redis.db(),
        })
    }

    /// Several servers that are reached in one way, without a database.
    pub(super) fn parse_all(
        urls: &[String],
    ) -> Result<(Transport, Vec<Address>), InvalidRedisSettings> {
        let mut addresses = Vec::with_capacity(urls.len());
        let mut common = None;
        for url in urls {
            let location = Location::parse(url)?;
            if *common.get_or_insert(location.transport) != location.transport {
                return Err(InvalidRedisSettings::Mixed("redis:// beside rediss://"));
            }
            if location.database != 0 {
                return Err(InvalidRedisSettings::Mixed("one names a database"));
            }
            addresses.push(location.address);
        }
        let transport = common.ok_or(InvalidRedisSettings::Url)?;
        Ok((transport, addresses))
    }
}
