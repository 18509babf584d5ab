//! Entries into the server.
//!
//! Invariants: what is there stays; within a key the pointer and the list come first, then the
//! secret before, then the one in use, as in [`super::super::keys`]; a repetition completes whatever
//! a crash left undone, and tells of it.

use ::redis::{Pipeline, Value, pipe};

use crate::clock::Timestamp;
use crate::secret::Digest;
use crate::store::archive::{Entry, KeyEntry, Restored, RotationEntry, session_digest};
use crate::store::shelf::{Index, Member};
use crate::store::{Denial, StoreError, retention};

use super::super::fault::Fault;
use super::super::keys::{self, Claim, Written, outcomes, publish, run};
use super::super::lane::Lane;
use super::super::link::Connection;
use super::super::{layout, record, rotation, shelf};

/// Some entries, by what they are.
#[derive(Default)]
pub(super) struct Batch {
    denials: Vec<Denial>,
    listings: Vec<(String, Member)>,
    documents: Vec<(String, Option<Timestamp>, String)>,
    keys: Vec<KeyEntry>,
    /// Entries that had ended by now.
    ended: usize,
}

impl Batch {
    pub(super) fn sort(
        entries: impl Iterator<Item = Result<Entry, StoreError>>,
        now: Timestamp,
    ) -> Result<Batch, StoreError> {
        let mut batch = Batch::default();
        for entry in entries {
            match entry? {
                entry if entry.has_ended(now) => batch.ended += 1,
                Entry::Denial(denial) => batch.denials.push(denial),
                Entry::Document { place, until, text } => {
                    batch.documents.push((place, until, text));
                }
                Entry::Key(key) => batch.keys.push(*key),
                Entry::Listing { index, member } => {
                    let member = Member::from_text(member);
                    let corrupt = || StoreError::Corrupt("an entry of a list".into());
                    batch.listings.push((index, member.ok_or_else(corrupt)?));
                }
            }
        }
        Ok(batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.denials.is_empty()
            && self.listings.is_empty()
            && self.documents.is_empty()
            && self.keys.is_empty()
            && self.ended == 0
    }

    pub(super) async fn restore(
        self,
        lane: &Lane,
        at: Timestamp,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        lane.call(|c| deny(c, &self.denials)).await?;
        restored.denials += self.denials.len() as u64;
        lane.call(|c| list(c, &self.listings, at)).await?;
        let mut written = lane.call(|c| write_documents(c, &self.documents)).await?;
        let claims = lane
            .call(|c| keys::claim(c, self.keys.iter().map(|key| (&key.record.id, &key.digest))))
            .await?;
        let answers = lane.call(|c| write_keys(c, &self.keys, claims, at)).await?;
        lane.call(|c| conclude(c, &self.keys, &answers)).await?;
        for (key, answer) in self.keys.iter().zip(&answers) {
            // One that is there stays, but is revoked if this one is.
            if let (false, Some(revoked_at)) = (*answer == Written::Now, key.record.revoked_at) {
                let id = key.record.id.clone();
                let _marked = lane.call(|c| keys::revoke(c, id, revoked_at)).await?;
            }
        }
        written += answers
            .iter()
            .filter(|answer| **answer == Written::Now)
            .count();
        restored.written += written as u64;
        restored.existing += (self.documents.len() + self.keys.len() - written) as u64;
        Ok(())
    }
}

/// On the same connection, ahead of its uses: they cannot meet `NOSCRIPT`.
fn loading(lua: &layout::Lua) -> Pipeline {
    let mut pipeline = pipe();
    let load = pipeline.cmd("SCRIPT").arg("LOAD");
    load.arg(lua.source).ignore();
    pipeline
}

async fn deny(mut connection: Connection, denials: &[Denial]) -> Result<(), Fault> {
    if denials.is_empty() {
        return Ok(());
    }
    let mut writes = loading(&layout::DENY);
    for denial in denials {
        writes.cmd("EVALSHA").arg(layout::DENY.script.get_hash());
        writes.arg(2).arg(layout::DENIALS).arg(layout::LOG);
        writes.arg(retention::DENIALS.as_millis().to_string());
        writes.arg(retention::EVENTS);
        writes.arg(denial.member()).arg(denial.at.as_millis());
    }
    let _entries: Vec<Value> = run(&writes, &mut connection).await?;
    Ok(())
}

async fn list(
    mut connection: Connection,
    listings: &[(String, Member)],
    at: Timestamp,
) -> Result<(), Fault> {
    if listings.is_empty() {
        return Ok(());
    }
    let mut writes = loading(&layout::LIST);
    for (index, member) in listings {
        writes.cmd("EVALSHA").arg(layout::LIST.script.get_hash());
        writes.arg(1);
        writes.arg(layout::list(&Index::from_text(index.clone())));
        writes.arg(member.as_str());
        writes.arg(format!("({}", Member::floor(Some(at)).as_str()));
        writes.arg("").arg(shelf::life(member.until(), at));
    }
    let _answers: Vec<Value> = run(&writes, &mut connection).await?;
    Ok(())
}

/// How many of them were not there.
async fn write_documents(
    mut connection: Connection,
    documents: &[(String, Option<Timestamp>, String)],
) -> Result<usize, Fault> {
    let mut writes = pipe();
    for (place, until, text) in documents {
        writes.cmd("SET").arg(format!("pc:{place}")).arg(text);
        writes.arg("NX");
        if let Some(until) = until {
            writes.arg("PXAT").arg(until.as_millis());
        }
    }
    let answers: Vec<Option<String>> = run(&writes, &mut connection).await?;
    // Also of those that an attempt before may have written and not told of.
    let mut events = pipe();
    let sessions = documents.iter();
    for digest in sessions.filter_map(|(place, _, _)| session_digest(place)) {
        publish(&mut events, &digest);
    }
    let _entries: Vec<Value> = run(&events, &mut connection).await?;
    Ok(answers.iter().flatten().count())
}

async fn write_keys(
    mut connection: Connection,
    keys: &[KeyEntry],
    claims: Vec<Claim>,
    at: Timestamp,
) -> Result<Vec<Written>, Fault> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut writes = loading(&layout::CREATE);
    for (key, _) in keys
        .iter()
        .zip(&claims)
        .filter(|(_, claim)| **claim == Claim::Ours)
    {
        writes.zadd(layout::IDS, key.record.id.as_str(), 0).ignore();
        let mut fields = record::to_fields(&key.record);
        if let Some(rotation) = &key.rotation {
            write_before(&mut writes, rotation, at);
            fields.extend(rotation::to_fields(rotation));
        }
        create(&mut writes, &key.digest, &fields);
    }
    let owners: Vec<Option<String>> = run(&writes, &mut connection).await?;
    let ids = keys.iter().map(|key| &key.record.id);
    Ok(outcomes(ids, &claims, owners))
}

/// The record of the secret before, unless it is forgotten by now.
fn write_before(writes: &mut Pipeline, rotation: &RotationEntry, at: Timestamp) {
    let Some(life) = rotation::remembered(rotation, at) else {
        return;
    };
    let Some(before) = &rotation.record else {
        return;
    };
    create(writes, &rotation.previous, &record::to_fields(before));
    writes.ignore();
    writes
        .cmd("PEXPIRE")
        .arg(layout::record(&rotation.previous));
    writes.arg(life).ignore();
}

fn create(writes: &mut Pipeline, digest: &Digest, fields: &[String]) {
    writes.cmd("EVALSHA").arg(layout::CREATE.script.get_hash());
    writes.arg(1).arg(layout::record(digest)).arg(fields);
}

/// Tells of each, and takes claims back that led to nothing.
async fn conclude(
    mut connection: Connection,
    keys: &[KeyEntry],
    written: &[Written],
) -> Result<(), Fault> {
    let (mut first, mut then) = (pipe(), pipe());
    for (key, written) in keys.iter().zip(written) {
        match written {
            Written::Before | Written::Now => {
                publish(&mut first, &key.digest);
                if let Some(rotation) = &key.rotation {
                    publish(&mut first, &rotation.previous);
                }
            }
            Written::KeyTaken => {
                first.zrem(layout::IDS, key.record.id.as_str());
                keys::unclaim(&mut then, &key.record.id, &key.digest);
            }
            Written::IdTaken => {}
        }
    }
    let _answers: Vec<Value> = run(&first, &mut connection).await?;
    let _answers: Vec<Value> = run(&then, &mut connection).await?;
    Ok(())
}
