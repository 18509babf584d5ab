//! What the server has, as entries.
//!
//! Invariant: a key's records are read again where they changed under the reading.

use std::collections::HashMap;

use ::redis::pipe;
use tokio::sync::mpsc;

use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::secret::Digest;
use crate::store::archive::{Entry, Fate, Gone, KeyEntry, RotationEntry, fate};
use crate::store::shelf::{Cursor, Index};
use crate::store::{KeyRecord, KeyRotated, Shelf as _, StoreError};

use super::super::fault::Fault;
use super::super::keys::{parse_digest, run};
use super::super::link::Connection;
use super::super::{RedisStore, layout, record, rotation};

/// Entries of a list read at once.
const PAGE: usize = 500;
/// How often a key is read that changes under the reading.
const READS: usize = 4;

pub(super) async fn send(
    to: &mpsc::Sender<Entry>,
    entries: impl IntoIterator<Item = Entry>,
) -> Result<(), StoreError> {
    for entry in entries {
        to.send(entry).await.map_err(|_| Gone)?;
    }
    Ok(())
}

/// What a name is of.
enum Named {
    /// A key's id.
    Key(KeyId),
    List(Index),
    /// A document that is carried; its place.
    Document(String),
    /// It is found by another name, or read in another way, or stays behind.
    Nothing,
}

fn named(name: &str) -> Result<Named, StoreError> {
    let Some(rest) = name.strip_prefix("pc:") else {
        return Ok(Named::Nothing);
    };
    if name == layout::IDS || rest.starts_with("k:") || rest.starts_with('{') {
        return Ok(Named::Nothing);
    }
    if let Some(id) = rest.strip_prefix("kid:") {
        let id = KeyId::parse(id);
        return id
            .map(Named::Key)
            .map_err(|_| StoreError::Corrupt("the id of a key".into()));
    }
    if let Some(index) = rest.strip_prefix("ix:") {
        return Ok(Named::List(Index::from_text(index.into())));
    }
    Ok(match fate(rest)? {
        Fate::Carried(_) => Named::Document(rest.into()),
        Fate::Left => Named::Nothing,
    })
}

pub(super) async fn send_named(
    store: &RedisStore,
    names: Vec<String>,
    to: &mpsc::Sender<Entry>,
) -> Result<(), StoreError> {
    let (mut ids, mut places) = (Vec::new(), Vec::new());
    for name in &names {
        match named(name)? {
            Named::Key(id) => ids.push(id),
            Named::List(index) => send_list(store, index, to).await?,
            Named::Document(place) => places.push(place),
            Named::Nothing => {}
        }
    }
    let documents = store.lane.call(|c| documents(c, places)).await?;
    send(to, documents).await?;
    send_keys(store, ids, to).await
}

async fn send_list(
    store: &RedisStore,
    index: Index,
    to: &mpsc::Sender<Entry>,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let members = store.members(index.clone(), after.clone(), PAGE).await?;
        let complete = members.len() < PAGE;
        after = members.last().map(|last| Cursor::new(last.as_str()));
        let entries = members.into_iter().map(|member| Entry::Listing {
            index: index.as_str().into(),
            member: member.as_str().into(),
        });
        send(to, entries).await?;
        if complete {
            return Ok(());
        }
    }
}

/// An id that a creation left without a record has none the next time either.
async fn send_keys(
    store: &RedisStore,
    ids: Vec<KeyId>,
    to: &mpsc::Sender<Entry>,
) -> Result<(), StoreError> {
    let mut rest = ids;
    for _ in 0..READS {
        let (found, missing) = store.lane.call(|c| read_keys(c, rest)).await?;
        let entries = found.into_iter().map(|key| Entry::Key(Box::new(key)));
        send(to, entries).await?;
        if missing.is_empty() {
            break;
        }
        rest = missing;
    }
    Ok(())
}

async fn documents(mut connection: Connection, places: Vec<String>) -> Result<Vec<Entry>, Fault> {
    // What it says first: an end that is read later is not too early for it.
    let (mut reads, mut ends) = (pipe(), pipe());
    for place in &places {
        let name = format!("pc:{place}");
        reads.get(&name);
        ends.cmd("PEXPIRETIME").arg(&name);
    }
    let texts: Vec<Option<String>> = run(&reads, &mut connection).await?;
    let ends: Vec<i64> = run(&ends, &mut connection).await?;
    let mut entries = Vec::with_capacity(places.len());
    for ((place, text), end) in places.into_iter().zip(texts).zip(ends) {
        // One that has gone since is no more.
        let Some(text) = text else { continue };
        let until = (end >= 0).then_some(Timestamp::from_millis(end));
        entries.push(Entry::Document { place, until, text });
    }
    Ok(entries)
}

/// A key as it is stored now.
struct Stored {
    digest: Digest,
    record: KeyRecord,
    rotated: Option<KeyRotated>,
}

/// Keys, and the ids of those that were not found whole.
async fn read_keys(
    mut connection: Connection,
    ids: Vec<KeyId>,
) -> Result<(Vec<KeyEntry>, Vec<KeyId>), Fault> {
    let connection = &mut connection;
    let (found, missing) = current(connection, ids).await?;
    let before = found.iter().filter_map(|stored| stored.rotated.as_ref());
    let before = before.map(|rotated| &rotated.previous);
    let mut before = hashes(connection, before).await?.into_iter();
    let mut keys = Vec::with_capacity(found.len());
    for stored in found {
        let rotation = match stored.rotated {
            None => None,
            Some(rotated) => {
                let before = record::from_fields(before.next().unwrap_or_default())?;
                Some(RotationEntry {
                    request: rotated.request,
                    at: rotated.at,
                    previous: rotated.previous,
                    previous_ends_at: rotated.previous_ends_at,
                    record: before.filter(|before| before.id == stored.record.id),
                })
            }
        };
        keys.push(KeyEntry {
            digest: stored.digest,
            record: stored.record,
            rotation,
        });
    }
    Ok((keys, missing))
}

/// The secrets in use, and the ids whose secret has moved meanwhile.
async fn current(
    connection: &mut Connection,
    ids: Vec<KeyId>,
) -> Result<(Vec<Stored>, Vec<KeyId>), Fault> {
    let mut pointers = pipe();
    for id in &ids {
        pointers.get(layout::id(id));
    }
    let pointers: Vec<Option<String>> = run(&pointers, connection).await?;
    let mut known = Vec::with_capacity(ids.len());
    for (id, pointer) in ids.into_iter().zip(pointers) {
        if let Some(pointer) = pointer {
            known.push((id, parse_digest(&pointer)?));
        }
    }
    let hashes = hashes(connection, known.iter().map(|(_, digest)| digest)).await?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for ((id, digest), fields) in known.into_iter().zip(hashes) {
        let rotated = rotation::rotated(&fields, digest)?;
        match record::from_fields(fields)?.filter(|record| record.id == id) {
            None => missing.push(id),
            Some(record) => found.push(Stored {
                digest,
                record,
                rotated,
            }),
        }
    }
    Ok((found, missing))
}

async fn hashes(
    connection: &mut Connection,
    digests: impl Iterator<Item = &Digest>,
) -> Result<Vec<HashMap<String, String>>, Fault> {
    let mut reads = pipe();
    for digest in digests {
        reads.hgetall(layout::record(digest));
    }
    run(&reads, connection).await
}
