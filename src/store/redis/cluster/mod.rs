//! A Redis Cluster: which server has a slot, and the servers' connections.
//!
//! ```text
//! command ─▶ slot of its key ─▶ server by the map ─▶ answer
//!                ▲                    │ MOVED: note it, learn the map anew; ASK: there, once
//!                └────────────────────┘ TRYAGAIN: a moment later
//! ```
//!
//! Written here and not taken from the crate, whose client takes its TLS from the system, retries on
//! its own clock, and refuses pipelines across slots: docs/decisions/0018-topologies.md. How a
//! pipeline is split is in [`view`].
//!
//! Invariants: a command is sent again only where a server said that it did not carry it out; a
//! server that is away is an error for its slots, never an absence, and costs the slots of the
//! others nothing; nothing is read from a replica.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use ::redis::aio::ConnectionLike as _;
use ::redis::cmd;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::fault::Fault;
use super::link::{Dialer, Link};
use super::node::{Node, Place};
use super::server::Part;
use super::settings::Address;

mod slots;
mod view;

pub(super) use slots::{OwnShare, is_whole};
use slots::{Shares, slot};
pub(super) use view::View;

/// Between two looks at the map: however many callers notice that it is old, the servers are asked
/// at most this often.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// All servers of one Cluster.
pub(super) struct Cluster {
    dialer: Arc<Dialer>,
    seeds: Vec<Address>,
    deadline: Duration,
    map: RwLock<Map>,
    /// Locked while the map is learnt: callers that have none wait for one look together.
    learning: tokio::sync::Mutex<()>,
    /// Whether a look in the background is under way.
    looking: AtomicBool,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
}

#[derive(Default)]
struct Map {
    shares: Shares,
    /// What servers said since that map was learnt.
    moved: HashMap<u16, Address>,
}

/// Why a slot has no server to ask.
#[derive(Debug, thiserror::Error)]
enum NoServer {
    #[error("no server of the Cluster has the slot of this key")]
    Slot,
    #[error("none of the servers of the Cluster told who has which slots")]
    Map(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}

impl Cluster {
    pub(super) fn new(
        dialer: Arc<Dialer>,
        seeds: Vec<Address>,
        deadline: Duration,
    ) -> Arc<Cluster> {
        Arc::new(Cluster {
            dialer,
            seeds,
            deadline,
            map: RwLock::default(),
            learning: tokio::sync::Mutex::default(),
            looking: AtomicBool::new(false),
            nodes: Mutex::default(),
        })
    }

    /// The Cluster, for one call that ends at `until`.
    pub(super) fn view(self: &Arc<Cluster>, until: Instant) -> View {
        View::new(Arc::clone(self), until)
    }

    /// The caller's own connection to the server that has a key, or a new one where that is none,
    /// has ended or leads elsewhere.
    pub(super) async fn link_to(
        self: &Arc<Cluster>,
        key: &[u8],
        link: Option<Link>,
        until: Instant,
    ) -> Result<Link, Fault> {
        let address = self.owner(slot(key), until).await?;
        match link.filter(|link| link.is_usable() && *link.address() == address) {
            Some(link) => Ok(link),
            None => self.dialer.connect(&address).await,
        }
    }

    /// The servers that have slots, as most of them say now.
    pub(super) async fn owners(&self, until: Instant) -> Result<BTreeSet<Address>, Fault> {
        let _one_at_a_time = self.learning.lock().await;
        self.learn(until).await?;
        Ok(self.map().shares.owners().cloned().collect())
    }

    /// Who has a slot, as far as is known.
    async fn owner(self: &Arc<Cluster>, slot: u16, until: Instant) -> Result<Address, Fault> {
        if let Some(owner) = self.known_owner(slot) {
            return Ok(owner);
        }
        let known = self.map().shares != Shares::default();
        if known {
            self.look_again();
        } else {
            let _one_at_a_time = self.learning.lock().await;
            if self.known_owner(slot).is_none() {
                self.learn(until).await?;
            }
        }
        self.known_owner(slot)
            .ok_or_else(|| Fault::away(NoServer::Slot))
    }

    fn known_owner(&self, slot: u16) -> Option<Address> {
        let map = self.map();
        map.moved
            .get(&slot)
            .or_else(|| map.shares.owner(slot))
            .cloned()
    }

    /// A server said so.
    fn note_moved(self: &Arc<Cluster>, slot: u16, owner: Address) {
        self.map_mut().moved.insert(slot, owner);
        self.look_again();
    }

    /// Learns the map anew in the background. Nobody waits for it.
    fn look_again(self: &Arc<Cluster>) {
        if self.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let cluster = Arc::clone(self);
        self.dialer.runtime().spawn(async move {
            let until = Instant::now() + cluster.deadline;
            if let Err(error) = timeout_at(until, cluster.learn(until))
                .await
                .unwrap_or(Ok(()))
            {
                tracing::debug!(?error, "the map of the Cluster was not learnt");
            }
            sleep(BETWEEN_LOOKS).await;
            cluster.looking.store(false, Ordering::Release);
        });
    }

    /// Asks every server that is known, and believes the map that most tell of those who answer
    /// before more than half have: one alone may be cut off from the others.
    async fn learn(&self, until: Instant) -> Result<(), Fault> {
        let known: HashSet<Address> = {
            let map = self.map();
            map.shares.owners().chain(&self.seeds).cloned().collect()
        };
        let all = known.len();
        let mut answers = JoinSet::new();
        for address in known {
            let node = self.node(&address);
            answers.spawn(async move { shares(&node, &address, until).await });
        }
        let (mut told, mut last_fault): (Vec<Shares>, _) = (Vec::new(), None);
        while let Some(answer) = answers.join_next().await {
            match answer {
                Ok(Ok(shares)) => told.push(shares),
                Ok(Err(fault)) => last_fault = Some(fault),
                Err(_) => {}
            }
            if told.len() * 2 > all {
                break;
            }
        }
        let votes = |shares: &Shares| told.iter().filter(|other| *other == shares).count();
        match told.iter().max_by_key(|shares| votes(shares)) {
            Some(shares) => {
                self.adopt(shares.clone());
                Ok(())
            }
            None => {
                let cause = match last_fault {
                    Some(Fault::Away(error)) => Some(error),
                    Some(other) => return Err(other),
                    None => None,
                };
                Err(Fault::away(NoServer::Map(cause)))
            }
        }
    }

    fn adopt(&self, shares: Shares) {
        let in_use: HashSet<Address> = shares.owners().chain(&self.seeds).cloned().collect();
        self.nodes().retain(|address, _| in_use.contains(address));
        *self.map_mut() = Map {
            shares,
            moved: HashMap::new(),
        };
    }

    pub(super) fn node(&self, address: &Address) -> Arc<Node> {
        let mut nodes = self.nodes();
        if let Some(node) = nodes.get(address) {
            return Arc::clone(node);
        }
        let place = Place::Fixed(address.clone());
        let node = Node::new(Arc::clone(&self.dialer), place, Part::OfCluster);
        let node = Arc::new(node);
        nodes.insert(address.clone(), Arc::clone(&node));
        node
    }

    fn all_nodes(&self) -> Vec<Arc<Node>> {
        self.nodes().values().cloned().collect()
    }

    // Each change of the two is one call that cannot be half done: a panic elsewhere broke neither.

    fn map(&self) -> std::sync::RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn map_mut(&self) -> std::sync::RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<Address, Arc<Node>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn shares(node: &Node, address: &Address, until: Instant) -> Result<Shares, Fault> {
    let mut command = cmd("CLUSTER");
    command.arg("SLOTS");
    let ask = async |mut connection: ::redis::aio::MultiplexedConnection| {
        let answer = connection.req_packed_command(&command).await?;
        Ok(answer.extract_error()?)
    };
    let answer = node.call(until, ask).await?;
    Shares::parse(answer, address).ok_or_else(|| Fault::corrupt("who has which slots"))
}
