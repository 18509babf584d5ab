//! The names of all of our keys, server by server.
//!
//! `SCAN` meets whatever is there from its beginning to its end, on one run of one server. A cursor
//! that another run takes for its own, and a key that moves from a server that is still to be read to
//! one that was, leave names out without a sign. So each page comes with what its server says of
//! itself, which is compared with what it said at the beginning ([`Standing`]).
//!
//! Not here: what a name is of ([`super::read`]). Invariant: the end is told only where no name can
//! have been passed by; otherwise there is an error.

use ::redis::{FromRedisValue, Pipeline, Value, cmd, pipe};

use crate::store::StoreError;

use super::super::cluster::{OwnShare, is_whole};
use super::super::fault::Fault;
use super::super::lane::{Lane, Seat};
use super::super::link::Connection;
use super::super::server;
use super::BATCH;

/// Why a list of names would not be whole.
#[derive(Debug, thiserror::Error)]
enum Unrest {
    #[error(
        "a Redis server was started again, or another took its place, while its keys were listed: \
         repeat this when that is over"
    )]
    AnotherRun,
    #[error(
        "slots of the Cluster move between its servers, or moved while its keys were listed: repeat \
         this when that is over"
    )]
    SlotsMove,
    #[error(
        "there are slots of the Cluster that no server says it has, or that several do: repeat this \
         when each has one"
    )]
    NotWhole,
}

impl From<Unrest> for StoreError {
    fn from(unrest: Unrest) -> StoreError {
        StoreError::Unavailable(unrest.into())
    }
}

/// What a server says of itself. It stays the same while a scan can rely on it.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    /// Which run of it this is.
    run: String,
    /// Of a Cluster's: its slots.
    share: Option<OwnShare>,
}

/// A scan under way.
pub(super) struct Scan<'a> {
    lane: &'a Lane,
    /// The servers as they were when it began.
    begun: Vec<(Seat, Standing)>,
    /// Which of them is being read.
    at: usize,
    cursor: u64,
}

impl Scan<'_> {
    pub(super) async fn begin(lane: &Lane) -> Result<Scan<'_>, StoreError> {
        Ok(Scan {
            lane,
            begun: look(lane).await?,
            at: 0,
            cursor: 0,
        })
    }

    /// The next of them; `None` is the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<String>>, StoreError> {
        let Some((seat, begun)) = self.begun.get(self.at) else {
            return Ok(None);
        };
        let (cursor, of_cluster) = (self.cursor, seat.is_of_cluster());
        let page = seat.call(|c| page(c, cursor, of_cluster)).await?;
        same(begun, &page.standing)?;
        self.cursor = page.next;
        if page.next == 0 {
            self.at += 1;
        }
        if self.at == self.begun.len() {
            self.check_servers().await?;
        }
        Ok(Some(page.names))
    }

    /// That they are the same servers still: one that was replaced may not have heard of it.
    async fn check_servers(&self) -> Result<(), StoreError> {
        let now = look(self.lane).await?;
        if now.len() != self.begun.len() {
            return Err(Unrest::SlotsMove.into());
        }
        for ((seat, begun), (other, now)) in self.begun.iter().zip(&now) {
            if seat.address() != other.address() {
                return Err(Unrest::AnotherRun.into());
            }
            same(begun, now)?;
        }
        Ok(())
    }
}

fn same(begun: &Standing, now: &Standing) -> Result<(), Unrest> {
    if begun.run != now.run {
        return Err(Unrest::AnotherRun);
    }
    match begun.share == now.share {
        true => Ok(()),
        false => Err(Unrest::SlotsMove),
    }
}

/// Every server that has keys, in the order of their addresses.
async fn look(lane: &Lane) -> Result<Vec<(Seat, Standing)>, StoreError> {
    let mut servers = Vec::new();
    for seat in lane.seats().await? {
        let of_cluster = seat.is_of_cluster();
        let standing = seat.call(|c| standing(c, of_cluster)).await?;
        servers.push((seat, standing));
    }
    let shares = || servers.iter().filter_map(|(_, each)| each.share.as_ref());
    if shares().any(OwnShare::is_moving) {
        return Err(Unrest::SlotsMove.into());
    }
    let of_cluster = servers.iter().any(|(seat, _)| seat.is_of_cluster());
    match of_cluster && !is_whole(shares()) {
        true => Err(Unrest::NotWhole.into()),
        false => Ok(servers),
    }
}

/// A page of one server's names.
struct Page {
    /// Zero is the end.
    next: u64,
    names: Vec<String>,
    standing: Standing,
}

/// One connection carries all of it, so one run of the server answers all of it.
async fn page(mut connection: Connection, cursor: u64, of_cluster: bool) -> Result<Page, Fault> {
    let mut commands = pipe();
    let scan = commands.cmd("SCAN").arg(cursor);
    scan.arg("MATCH").arg("pc:*").arg("COUNT").arg(BATCH);
    // After the names: a key that had left by then did so under the mark of a move.
    ask(&mut commands, of_cluster);
    let answers: Vec<Value> = commands.query_async(&mut connection).await?;
    let mut answers = answers.into_iter();
    let (next, names) = take(&mut answers)?;
    let standing = read(&mut answers, of_cluster)?;
    Ok(Page {
        next,
        names,
        standing,
    })
}

async fn standing(mut connection: Connection, of_cluster: bool) -> Result<Standing, Fault> {
    let mut commands = pipe();
    ask(&mut commands, of_cluster);
    let answers: Vec<Value> = commands.query_async(&mut connection).await?;
    read(&mut answers.into_iter(), of_cluster)
}

fn ask(commands: &mut Pipeline, of_cluster: bool) {
    commands.add_command(server::run_and_role());
    if of_cluster {
        let mut nodes = cmd("CLUSTER");
        nodes.arg("NODES");
        commands.add_command(nodes);
    }
}

fn read(answers: &mut impl Iterator<Item = Value>, of_cluster: bool) -> Result<Standing, Fault> {
    let info: String = take(answers)?;
    let run = server::run_of_primary(&info)?.to_owned();
    let share = match of_cluster {
        false => None,
        true => {
            let nodes: String = take(answers)?;
            let share = OwnShare::parse(&nodes);
            Some(share.ok_or_else(|| Fault::corrupt("which slots a server has"))?)
        }
    };
    Ok(Standing { run, share })
}

fn take<T: FromRedisValue>(answers: &mut impl Iterator<Item = Value>) -> Result<T, Fault> {
    let answer = answers
        .next()
        .and_then(|answer| T::from_redis_value(answer).ok());
    answer.ok_or_else(|| Fault::corrupt("a page of the names of keys"))
}
