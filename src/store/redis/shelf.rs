//! Documents and lists: each document a string, each list a zset of a slot of its own.
//!
//! A change reads, decides, and swaps the document if it is still the one that was read; if not, it
//! decides anew. Each lost swap is another caller's won one, so of any number of callers one always
//! gets on. Invariant: the order of steps is the one that [`crate::store::shelf`] tells.

use std::time::Duration;

use ::redis::{Pipeline, cmd, pipe};

use crate::clock::Timestamp;
use crate::store::shelf::{Addition, Change, Changed, Cursor, Index, Listing, Member, Place, Plan};
use crate::store::{Denial, Shelf, StoreError};

use super::fault::Fault;
use super::keys::{publish, run};
use super::link::Connection;
use super::{RedisStore, denials, layout};

/// Lost swaps after which a change gives up: more callers of one document at a time than any use
/// has.
const ATTEMPTS: usize = 500;
/// Moments written per round trip.
const BATCH: usize = 500;

/// Many were faster.
#[derive(Debug, thiserror::Error)]
#[error("too many others changed the same record")]
struct Crowded;

impl Shelf for RedisStore {
    async fn fetch(&self, places: Vec<Place>) -> Result<Vec<Option<String>>, StoreError> {
        self.lane.call(|c| fetch(c, &places)).await
    }

    async fn members(
        &self,
        index: Index,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        self.lane
            .call(|c| members(c, &index, after.as_ref(), limit))
            .await
    }

    async fn change<T, F>(
        &self,
        place: Place,
        at: Timestamp,
        decide: F,
    ) -> Result<Changed<T>, StoreError>
    where
        T: Send + 'static,
        F: Fn(Option<&str>) -> Result<Plan<T>, StoreError> + Send + Sync + 'static,
    {
        for _ in 0..ATTEMPTS {
            let read = self.lane.call(|c| fetch(c, std::slice::from_ref(&place)));
            let found = read.await?.pop().flatten();
            let plan = decide(found.as_deref())?;
            match self.carry_out(&place, found.as_deref(), plan, at).await? {
                Attempt::Carried(answer) => return Ok(Changed::Done(answer)),
                Attempt::Full => return Ok(Changed::Full),
                Attempt::Late => {}
            }
        }
        Err(StoreError::Unavailable(Crowded.into()))
    }

    async fn raise(
        &self,
        moments: Vec<(Place, Timestamp, Option<Timestamp>)>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        for batch in moments.chunks(BATCH) {
            self.lane.call(|c| raise(c, batch, at)).await?;
        }
        Ok(())
    }

    async fn add(&self, additions: Vec<Addition>, at: Timestamp) -> Result<(), StoreError> {
        for batch in additions.chunks(BATCH) {
            self.lane.call(|c| add(c, batch, at)).await?;
        }
        Ok(())
    }
}

/// What became of one attempt.
enum Attempt<T> {
    Carried(T),
    Full,
    /// The document has changed.
    Late,
}

impl RedisStore {
    async fn carry_out<T>(
        &self,
        place: &Place,
        found: Option<&str>,
        plan: Plan<T>,
        at: Timestamp,
    ) -> Result<Attempt<T>, StoreError> {
        for listing in &plan.listings {
            if !self.lane.call(|c| list(c, listing, at)).await? {
                return Ok(Attempt::Full);
            }
        }
        if let Some(denial) = &plan.denial {
            self.lane.call(|c| deny(c, denial)).await?;
        }
        let swapped = match &plan.change {
            Change::Keep => true,
            change => {
                self.lane
                    .call(|c| swap(c, place, found, change, at))
                    .await?
            }
        };
        if !swapped {
            return Ok(Attempt::Late);
        }
        let mut rest = pipe();
        if let Some(digest) = &plan.publish {
            publish(&mut rest, digest);
        }
        for (index, member) in &plan.unlistings {
            rest.zrem(layout::list(index), member.as_str());
        }
        self.lane.call(|c| finish(c, &rest)).await?;
        if plan.denial.is_some() {
            self.witness.confirm(&self.lane).await;
        }
        Ok(Attempt::Carried(plan.answer))
    }
}

async fn finish(mut connection: Connection, rest: &Pipeline) -> Result<(), Fault> {
    let _answers: Vec<::redis::Value> = run(rest, &mut connection).await?;
    Ok(())
}

async fn fetch(mut connection: Connection, places: &[Place]) -> Result<Vec<Option<String>>, Fault> {
    let mut reads = pipe();
    for place in places {
        reads.get(layout::document(place));
    }
    run(&reads, &mut connection).await
}

async fn members(
    mut connection: Connection,
    index: &Index,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Vec<Member>, Fault> {
    let start = after.map_or("-".into(), |after| format!("({}", after.as_str()));
    let mut command = cmd("ZRANGE");
    command.arg(layout::list(index)).arg(start).arg("+");
    command.arg("BYLEX").arg("LIMIT").arg(0).arg(limit);
    let found: Vec<String> = command.query_async(&mut connection).await?;
    let members = found.into_iter().map(Member::from_text);
    let members = members.collect::<Option<_>>();
    members.ok_or_else(|| Fault::corrupt("an entry of a list"))
}

/// Whether it is on the list now.
async fn list(mut connection: Connection, listing: &Listing, at: Timestamp) -> Result<bool, Fault> {
    let mut invocation = layout::LIST.script.key(layout::list(&listing.index));
    invocation
        .arg(listing.member.as_str())
        .arg(format!("({}", Member::floor(Some(at)).as_str()))
        .arg(listing.cap.map_or(String::new(), |cap| cap.to_string()))
        .arg(life(listing.until, at));
    Ok(invocation.invoke_async(&mut connection).await?)
}

async fn deny(mut connection: Connection, denial: &Denial) -> Result<(), Fault> {
    denials::deny(&mut connection, denial).await
}

/// Whether the document was still `found`, and is what `change` says now.
async fn swap(
    mut connection: Connection,
    place: &Place,
    found: Option<&str>,
    change: &Change,
    at: Timestamp,
) -> Result<bool, Fault> {
    let (text, life) = match change {
        Change::Keep => return Ok(true),
        Change::Remove => ("", 0),
        Change::Write { text, until } => (text.as_str(), life(*until, at)),
    };
    // No document is empty, so the empty text stands for none.
    let mut invocation = layout::SWAP.script.key(layout::document(place));
    invocation
        .arg(found.unwrap_or_default())
        .arg(text)
        .arg(life);
    Ok(invocation.invoke_async(&mut connection).await?)
}

async fn raise(
    mut connection: Connection,
    moments: &[(Place, Timestamp, Option<Timestamp>)],
    at: Timestamp,
) -> Result<(), Fault> {
    let mut writes = pipe();
    // On the same connection, ahead of its uses: they cannot meet `NOSCRIPT`.
    let load = writes.cmd("SCRIPT").arg("LOAD");
    load.arg(layout::RAISE.source).ignore();
    for (place, moment, until) in moments {
        writes.cmd("EVALSHA").arg(layout::RAISE.script.get_hash());
        writes.arg(1).arg(layout::document(place));
        writes.arg(moment.as_millis()).arg(life(*until, at));
    }
    let _answers: Vec<::redis::Value> = writes.query_async(&mut connection).await?;
    Ok(())
}

async fn add(
    mut connection: Connection,
    additions: &[Addition],
    at: Timestamp,
) -> Result<(), Fault> {
    let mut writes = pipe();
    // As in `raise`.
    let load = writes.cmd("SCRIPT").arg("LOAD");
    load.arg(layout::ADD.source).ignore();
    for addition in additions {
        writes.cmd("EVALSHA").arg(layout::ADD.script.get_hash());
        writes.arg(1).arg(layout::document(&addition.place));
        writes.arg(life(addition.until, at));
        for (name, count) in &addition.counts {
            writes.arg(name).arg(*count);
        }
    }
    let _answers: Vec<::redis::Value> = writes.query_async(&mut connection).await?;
    Ok(())
}

/// How long from now, in milliseconds; 0 is for ever. A length and no moment: the server's clock
/// and ours may differ.
pub(super) fn life(until: Option<Timestamp>, at: Timestamp) -> u64 {
    let life = |until: Timestamp| until.since(at).max(Duration::from_millis(1));
    let millis = until.map_or(0, |until| life(until).as_millis());
    u64::try_from(millis).unwrap_or(u64::MAX)
}
