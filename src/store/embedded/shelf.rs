//! Documents and lists. A change is one transaction: what it decides, lists, denies, writes and
//! publishes is on disk together or not at all.
//!
//! Invariant: whatever may go by itself is in `ENDS`, and each change takes some of it away.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::clock::Timestamp;
use crate::secret::Digest;
use crate::store::shelf::{
    Addition, Change, Changed, Cursor, Index, Listing, Member, Place, Plan, parse,
};
use crate::store::{Event, Shelf, StoreError};

use super::{EmbeddedStore, denials, log, rotation};

/// Place → when it may go (ms; the greatest number is never), and the document.
const DOCUMENTS: TableDefinition<'_, &str, (i64, &str)> = TableDefinition::new("documents");
/// `index NUL member`.
const LISTS: TableDefinition<'_, &str, ()> = TableDefinition::new("lists");
/// When (ms), and what: `d` and a place, `k` and the digest of a key's secret, or `l` and a key of
/// `LISTS`.
const ENDS: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("ends");

const NEVER: i64 = i64::MAX;
/// How much a change sweeps: more than it can add, so nothing piles up.
const SWEEP: usize = 32;

/// Makes the tables of a new file.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(DOCUMENTS)?;
    transaction.open_table(LISTS)?;
    transaction.open_table(ENDS)?;
    Ok(())
}

impl Shelf for EmbeddedStore {
    async fn fetch(&self, places: Vec<Place>) -> Result<Vec<Option<String>>, StoreError> {
        self.read(move |transaction| {
            let documents = transaction.open_table(DOCUMENTS)?;
            let document = |place: &Place| {
                let found = documents.get(place.as_str())?;
                Ok(found.map(|document| document.value().1.to_owned()))
            };
            places.iter().map(document).collect()
        })
        .await
    }

    async fn members(
        &self,
        index: Index,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        self.read(move |transaction| members(transaction, &index, after.as_ref(), limit))
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
        self.write(move |transaction| {
            sweep(transaction, at, SWEEP)?;
            let plan = decide(document(transaction, &place)?.as_deref())?;
            if !has_room(transaction, &plan.listings, at)? {
                return Ok(Changed::Full);
            }
            carry_out(transaction, &place, plan).map(Changed::Done)
        })
        .await
    }

    async fn raise(
        &self,
        moments: Vec<(Place, Timestamp, Option<Timestamp>)>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            for (place, moment, until) in &moments {
                let before = document(transaction, place)?.and_then(|text| text.parse().ok());
                if before.is_none_or(|before: i64| before < moment.as_millis()) {
                    let text = moment.as_millis().to_string();
                    write(transaction, place, &text, *until)?;
                }
            }
            sweep(transaction, at, moments.len())
        })
        .await
    }

    async fn add(&self, additions: Vec<Addition>, at: Timestamp) -> Result<(), StoreError> {
        self.write(move |transaction| {
            for addition in &additions {
                add(transaction, addition)?;
            }
            sweep(transaction, at, additions.len())
        })
        .await
    }
}

fn add(transaction: &WriteTransaction, addition: &Addition) -> Result<(), StoreError> {
    let before = document(transaction, &addition.place)?;
    let mut sums: BTreeMap<String, u64> = parse(before.as_deref())?.unwrap_or_default();
    for (name, count) in &addition.counts {
        let sum = sums.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*count);
    }
    let text = serde_json::to_string(&sums);
    let text = text.map_err(|error| StoreError::Unavailable(error.into()))?;
    write(transaction, &addition.place, &text, addition.until)
}

pub(super) fn document(
    transaction: &WriteTransaction,
    place: &Place,
) -> Result<Option<String>, StoreError> {
    let documents = transaction.open_table(DOCUMENTS)?;
    let found = documents.get(place.as_str())?;
    Ok(found.map(|document| document.value().1.to_owned()))
}

fn carry_out<T>(
    transaction: &WriteTransaction,
    place: &Place,
    plan: Plan<T>,
) -> Result<T, StoreError> {
    for listing in &plan.listings {
        list(transaction, listing)?;
    }
    if let Some(denial) = plan.denial {
        denials::deny(transaction, denial)?;
    }
    match plan.change {
        Change::Keep => {}
        Change::Remove => {
            transaction.open_table(DOCUMENTS)?.remove(place.as_str())?;
        }
        Change::Write { text, until } => write(transaction, place, &text, until)?,
    }
    if let Some(digest) = plan.publish {
        log::append(transaction, &Event::Publish(digest))?;
    }
    let mut lists = transaction.open_table(LISTS)?;
    for (index, member) in &plan.unlistings {
        lists.remove(&*entry(index, member.as_str()))?;
    }
    Ok(plan.answer)
}

pub(super) fn write(
    transaction: &WriteTransaction,
    place: &Place,
    text: &str,
    until: Option<Timestamp>,
) -> Result<(), StoreError> {
    let end = until.map_or(NEVER, Timestamp::as_millis);
    let mut documents = transaction.open_table(DOCUMENTS)?;
    documents.insert(place.as_str(), (end, text))?;
    if end != NEVER {
        let mut ends = transaction.open_table(ENDS)?;
        ends.insert((end, &*format!("d{}", place.as_str())), ())?;
    }
    Ok(())
}

/// Has the record of a rotated-out secret go at `end`.
pub(super) fn end_key(
    transaction: &WriteTransaction,
    digest: &Digest,
    end: Timestamp,
) -> Result<(), StoreError> {
    let mut ends = transaction.open_table(ENDS)?;
    ends.insert((end.as_millis(), &*format!("k{}", digest.to_text())), ())?;
    Ok(())
}

pub(super) fn list(transaction: &WriteTransaction, listing: &Listing) -> Result<(), StoreError> {
    let entry = entry(&listing.index, listing.member.as_str());
    transaction.open_table(LISTS)?.insert(&*entry, ())?;
    if let Some(until) = listing.until {
        let mut ends = transaction.open_table(ENDS)?;
        ends.insert((until.as_millis(), &*format!("l{entry}")), ())?;
    }
    Ok(())
}

/// Whether each list has room for its new entry. What has ended takes none.
fn has_room(
    transaction: &WriteTransaction,
    listings: &[Listing],
    at: Timestamp,
) -> Result<bool, StoreError> {
    let lists = transaction.open_table(LISTS)?;
    for listing in listings {
        let Some(cap) = listing.cap else { continue };
        let index = &listing.index;
        let from = entry(index, Member::floor(Some(at)).as_str());
        let end = end_of(index);
        let live = lists.range::<&str>(&*from..&*end)?.take(cap).count();
        let known = lists.get(&*entry(index, listing.member.as_str()))?;
        if live >= cap && known.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn members(
    transaction: &ReadTransaction,
    index: &Index,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Vec<Member>, StoreError> {
    let lists = transaction.open_table(LISTS)?;
    // The least text that comes after an entry is the entry with a NUL behind it.
    let from = after.map_or(String::new(), |after| format!("{}\0", after.as_str()));
    let (from, end) = (entry(index, &from), end_of(index));
    let found = lists.range::<&str>(&*from..&*end)?.take(limit);
    let member = |entry: &str| {
        let (_, member) = entry.split_once('\0')?;
        Member::from_text(member.to_owned())
    };
    found
        .map(|entry| {
            let corrupt = || StoreError::Corrupt("an entry of a list".into());
            member(entry?.0.value()).ok_or_else(corrupt)
        })
        .collect()
}

/// Every entry of every list.
pub(super) fn each_listing(
    transaction: &ReadTransaction,
    mut take: impl FnMut(&str, &str) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for entry in transaction.open_table(LISTS)?.iter()? {
        let (entry, ()) = entry.map(|(entry, _)| (entry, ()))?;
        let corrupt = || StoreError::Corrupt("an entry of a list".into());
        let (index, member) = entry.value().split_once('\0').ok_or_else(corrupt)?;
        take(index, member)?;
    }
    Ok(())
}

/// Every document, and when it may go.
pub(super) fn each_document(
    transaction: &ReadTransaction,
    mut take: impl FnMut(&str, Option<Timestamp>, &str) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for document in transaction.open_table(DOCUMENTS)?.iter()? {
        let (place, document) = document?;
        let (end, text) = document.value();
        let until = (end != NEVER).then_some(Timestamp::from_millis(end));
        take(place.value(), until, text)?;
    }
    Ok(())
}

fn entry(index: &Index, member: &str) -> String {
    format!("{}\0{member}", index.as_str())
}

/// After every entry of a list: members begin with a digit.
fn end_of(index: &Index) -> String {
    format!("{}\u{1}", index.as_str())
}

/// Takes away up to `most` of what has ended.
pub(super) fn sweep(
    transaction: &WriteTransaction,
    now: Timestamp,
    most: usize,
) -> Result<(), StoreError> {
    let mut ends = transaction.open_table(ENDS)?;
    let mut ended = Vec::new();
    for entry in ends.range(..=(now.as_millis(), "\u{10ffff}"))?.take(most) {
        let (key, ()) = entry.map(|(key, _)| (key, ()))?;
        let (end, what) = key.value();
        ended.push((end, what.to_owned()));
    }
    let mut documents = transaction.open_table(DOCUMENTS)?;
    let mut lists = transaction.open_table(LISTS)?;
    for (end, what) in ended {
        ends.remove((end, &*what))?;
        if let Some(entry) = what.strip_prefix('l') {
            lists.remove(entry)?;
        } else if let Some(digest) = what.strip_prefix('k').and_then(Digest::from_text) {
            rotation::forget(transaction, &digest)?;
        } else if let Some(place) = what.strip_prefix('d') {
            // It may have been written anew since, with a later end.
            let current = documents.get(place)?.map(|document| document.value().0);
            if current.is_some_and(|current| current <= now.as_millis()) {
                documents.remove(place)?;
            }
        }
    }
    Ok(())
}
