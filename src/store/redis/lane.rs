//! The way to the servers: one deadline over every call, whichever topology they have.
//!
//! Not here: what is asked; connections and breakers of a single server ([`super::node`]).
//! Invariant: no call waits longer than the deadline, and none for a server that is known to be
//! away.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::store::StoreError;

use super::cluster::Cluster;
use super::fault::Fault;
use super::layout;
use super::link::{Connection, Dialer, Link, introduction};
use super::node::{Node, Place};
use super::sentinel::Sentinels;
use super::server::Part;
use super::settings::{
    Address, InvalidRedisSettings, Location, RedisSentinels, RedisServers, RedisSettings,
};

/// Between two looks at the log where its server cannot be waited on, because its slot is moving.
const GLANCE: Duration = Duration::from_millis(100);

/// Shared by all callers of one store.
pub(super) struct Lane {
    deadline: Duration,
    servers: Servers,
}

enum Servers {
    Primary(Arc<Node>),
    Cluster(Arc<Cluster>),
}

/// One of the servers that have the keys, to be asked for its own.
pub(super) struct Seat {
    node: Arc<Node>,
    /// Of a Cluster's.
    address: Option<Address>,
    deadline: Duration,
}

impl Seat {
    pub(super) fn is_of_cluster(&self) -> bool {
        self.address.is_some()
    }

    /// Where it is; `None` where there is one only.
    pub(super) fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// As [`Lane::call`], of this server, whatever has the slot.
    pub(super) async fn call<T, F>(
        &self,
        work: impl FnOnce(Connection) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let until = Instant::now() + self.deadline;
        let outcome = self.node.call(until, |c| work(Connection::Server(c))).await;
        outcome.map_err(|fault| fault.told(self.deadline))
    }
}

impl Lane {
    pub(super) fn new(settings: &RedisSettings) -> Result<Lane, InvalidRedisSettings> {
        let servers = match &settings.servers {
            RedisServers::One { url } => Servers::Primary(Arc::new(one(settings, url)?)),
            RedisServers::Sentinel(sentinels) => {
                Servers::Primary(Arc::new(watched(settings, sentinels)?))
            }
            RedisServers::Cluster { urls } => {
                let (transport, seeds) = Location::parse_all(urls)?;
                let dialer = Dialer::new(settings, transport, ours(settings, 0))?;
                Servers::Cluster(Cluster::new(dialer, seeds, settings.timeout))
            }
        };
        Ok(Lane {
            deadline: settings.timeout,
            servers,
        })
    }

    /// The deadline of each call.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Runs `work` on the shared connection. It must not block there: others wait behind it.
    pub(super) async fn call<T, F>(
        &self,
        work: impl FnOnce(Connection) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let until = Instant::now() + self.deadline;
        let outcome = match &self.servers {
            Servers::Primary(node) => node.call(until, |c| work(Connection::Server(c))).await,
            Servers::Cluster(cluster) => {
                let connection = Connection::Cluster(cluster.view(until));
                let worked = timeout_at(until, work(connection)).await;
                worked.unwrap_or(Err(Fault::Late))
            }
        };
        outcome.map_err(|fault| fault.told(self.deadline))
    }

    /// Runs `work` on the caller's own connection, or on a new one where that is none or has
    /// ended, and gives it back. After any failure it is closed. It leads to where the log is; of a
    /// Cluster, only the wait is on it ([`Lane::wait_on`]).
    pub(super) async fn call_on<T, F>(
        &self,
        link: Option<Link>,
        work: impl FnOnce(Connection) -> F + Send,
    ) -> Result<(Link, T), StoreError>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let until = Instant::now() + self.deadline;
        let outcome = match &self.servers {
            Servers::Primary(node) => {
                node.call_on(link, until, |c| work(Connection::Server(c)))
                    .await
            }
            Servers::Cluster(cluster) => {
                let worked = timeout_at(until, async {
                    let answer = work(Connection::Cluster(cluster.view(until))).await?;
                    let link = cluster.link_to(layout::LOG.as_bytes(), link, until).await?;
                    Ok((link, answer))
                });
                worked.await.unwrap_or(Err(Fault::Late))
            }
        };
        outcome.map_err(|fault| fault.told(self.deadline))
    }

    /// All servers that have keys, as most of a Cluster's say now, in the order of their addresses.
    pub(super) async fn seats(&self) -> Result<Vec<Seat>, StoreError> {
        let seat = |node, address| Seat {
            node,
            address,
            deadline: self.deadline,
        };
        let cluster = match &self.servers {
            Servers::Primary(node) => return Ok(vec![seat(Arc::clone(node), None)]),
            Servers::Cluster(cluster) => cluster,
        };
        let until = Instant::now() + self.deadline;
        let owners = timeout_at(until, cluster.owners(until)).await;
        let owners = owners.unwrap_or(Err(Fault::Late));
        let owners = owners.map_err(|fault| fault.told(self.deadline))?;
        let seats = owners.into_iter();
        Ok(seats
            .map(|address| seat(cluster.node(&address), Some(address)))
            .collect())
    }

    /// The caller's own connection to where the log is, or a new one where that is none, has ended
    /// or leads elsewhere.
    pub(super) async fn own_link(&self, link: Option<Link>) -> Result<Link, StoreError> {
        let (link, ()) = match &self.servers {
            Servers::Primary(_) => self.call_on(link, async |_| Ok(())).await?,
            Servers::Cluster(cluster) => {
                let until = Instant::now() + self.deadline;
                let link = timeout_at(until, cluster.link_to(layout::LOG.as_bytes(), link, until));
                let link = link.await.unwrap_or(Err(Fault::Late));
                (link.map_err(|fault| fault.told(self.deadline))?, ())
            }
        };
        Ok(link)
    }

    /// Waits for a command that is silent on purpose, for `rest` and the deadline at most. Not
    /// under a breaker. Only that it ended is of interest.
    pub(super) async fn wait_on(
        &self,
        link: &Link,
        command: &::redis::Cmd,
        rest: Duration,
    ) -> Result<(), StoreError> {
        let deadline = rest + self.deadline;
        let mut connection = link.connection.clone();
        let woken = timeout(
            deadline,
            command.query_async::<::redis::Value>(&mut connection),
        );
        match woken.await.map(|woken| woken.map_err(Fault::from)) {
            Ok(Ok(_)) => Ok(()),
            // The slot is moving, or has moved: the next look goes where it is now.
            Ok(Err(Fault::Refused(_))) if matches!(self.servers, Servers::Cluster(_)) => {
                link.condemn();
                sleep(rest.min(GLANCE)).await;
                Ok(())
            }
            Ok(Err(fault)) => Err(fault.told(self.deadline)),
            Err(_) => Err(StoreError::Deadline(deadline)),
        }
    }
}

fn ours(settings: &RedisSettings, database: i64) -> ::redis::RedisConnectionInfo {
    introduction(
        settings.username.as_ref(),
        settings.password.as_ref(),
        database,
    )
}

fn one(settings: &RedisSettings, url: &str) -> Result<Node, InvalidRedisSettings> {
    let location = Location::parse(url)?;
    let introduction = ours(settings, location.database);
    let dialer = Dialer::new(settings, location.transport, introduction)?;
    Ok(Node::new(
        dialer,
        Place::Fixed(location.address),
        Part::Primary,
    ))
}

fn watched(
    settings: &RedisSettings,
    sentinels: &RedisSentinels,
) -> Result<Node, InvalidRedisSettings> {
    let (transport, addresses) = Location::parse_all(&sentinels.urls)?;
    let theirs = introduction(sentinels.username.as_ref(), sentinels.password.as_ref(), 0);
    let to_sentinels = Dialer::new(settings, transport, theirs)?;
    let to_primary = Dialer::new(settings, transport, ours(settings, 0))?;
    let sentinels = Sentinels::new(to_sentinels, addresses, &sentinels.primary);
    Ok(Node::new(
        to_primary,
        Place::Watched(sentinels),
        Part::Primary,
    ))
}
