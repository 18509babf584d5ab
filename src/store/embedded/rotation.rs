//! Rotation and rehashing of keys.
//!
//! Invariant: a rotated-out secret's record has the key's id and an end.

use std::time::Duration;

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::clock::Timestamp;
use crate::id::{KeyId, RequestId};
use crate::secret::Digest;
use crate::store::archive::RotationEntry;
use crate::store::key::Verdict;
use crate::store::{
    Event, KeyRecord, KeyRotated, KeyRotation, Rehash, RotateKey, StoreError, digest_text,
};

use super::tables::{IDS, RECORDS, parse, to_json};
use super::{log, shelf};

/// Key id → [`Rotation`], as JSON.
const ROTATIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rotations");

/// How long a secret that has ended is still told apart from one that never was.
const ENDED: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(serde::Serialize, serde::Deserialize)]
struct Rotation {
    request: RequestId,
    at: Timestamp,
    #[serde(with = "digest_text")]
    previous: Digest,
    previous_ends_at: Timestamp,
}

impl Rotation {
    fn rotated(self, current: Digest) -> KeyRotated {
        KeyRotated {
            request: self.request,
            at: self.at,
            current,
            previous: self.previous,
            previous_ends_at: self.previous_ends_at,
        }
    }
}

/// Makes the table of a new file.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(ROTATIONS)?;
    Ok(())
}

pub(super) fn last(
    transaction: &ReadTransaction,
    id: &KeyId,
) -> Result<Option<KeyRotated>, StoreError> {
    let ids = transaction.open_table(IDS)?;
    let Some(current) = ids.get(id.as_str())? else {
        return Ok(None);
    };
    let current = Digest::from_bytes(*current.value());
    let rotations = transaction.open_table(ROTATIONS)?;
    let rotation = rotations.get(id.as_str())?.map(|json| read(json.value()));
    Ok(rotation
        .transpose()?
        .map(|rotation| rotation.rotated(current)))
}

pub(super) fn rotate(
    transaction: &WriteTransaction,
    wish: &KeyRotation,
) -> Result<RotateKey, StoreError> {
    let Some(current) = current(transaction, &wish.id)? else {
        return Ok(RotateKey::Unknown);
    };
    let record = record(transaction, &current)?
        .ok_or_else(|| StoreError::Corrupt("an id without its record".into()))?;
    let last = stored(transaction, &wish.id)?.map(|rotation| rotation.rotated(current));
    let ends_at = match wish.judge(&record, last.as_ref()) {
        Verdict::Answer(answer) => return Ok(answer),
        Verdict::Rotate { ends_at } => ends_at,
    };
    if self::record(transaction, &wish.digest)?.is_some() {
        return Ok(RotateKey::DigestTaken);
    }
    if let Some(older) = last.as_ref() {
        retire(transaction, &older.previous, &wish.id, wish.at)?;
    }
    put(transaction, &wish.digest, &wish.renewed(&record))?;
    transaction
        .open_table(IDS)?
        .insert(wish.id.as_str(), wish.digest.as_bytes())?;
    retire(transaction, &current, &wish.id, ends_at)?;
    let rotation = Rotation {
        request: wish.request.clone(),
        at: wish.at,
        previous: current,
        previous_ends_at: ends_at,
    };
    store(transaction, &wish.id, &rotation)?;
    log::append(transaction, &Event::Publish(wish.digest))?;
    Ok(RotateKey::Rotated(rotation.rotated(wish.digest)))
}

/// Ends a secret at `end`, or before where it would end before. It is forgotten later.
fn retire(
    transaction: &WriteTransaction,
    digest: &Digest,
    id: &KeyId,
    end: Timestamp,
) -> Result<(), StoreError> {
    let Some(mut record) = record(transaction, digest)?.filter(|record| record.id == *id) else {
        return Ok(());
    };
    let end = record.expires_at.map_or(end, |earlier| earlier.min(end));
    record.expires_at = Some(end);
    put(transaction, digest, &record)?;
    shelf::end_key(transaction, digest, end.plus(ENDED))?;
    log::append(transaction, &Event::Publish(*digest))
}

pub(super) fn rehash(
    transaction: &WriteTransaction,
    id: &KeyId,
    old: &Digest,
    new: &Digest,
) -> Result<Rehash, StoreError> {
    let Some(found) = record(transaction, old)?.filter(|record| record.id == *id) else {
        return Ok(Rehash::Unknown);
    };
    if old == new || record(transaction, new)?.is_some() {
        return Ok(Rehash::Unknown);
    }
    put(transaction, new, &found)?;
    transaction.open_table(RECORDS)?.remove(old.as_bytes())?;
    if current(transaction, id)? == Some(*old) {
        let mut ids = transaction.open_table(IDS)?;
        ids.insert(id.as_str(), new.as_bytes())?;
    }
    if let Some(mut rotation) = stored(transaction, id)?
        && rotation.previous == *old
    {
        rotation.previous = *new;
        store(transaction, id, &rotation)?;
        let end = rotation.previous_ends_at.plus(ENDED);
        shelf::end_key(transaction, new, end)?;
    }
    // The new one first: whoever hears of one alone still finds the secret.
    log::append(transaction, &Event::Publish(*new))?;
    log::append(transaction, &Event::Publish(*old))?;
    Ok(Rehash::Rehashed)
}

/// Also the secret before the current one says that the key is revoked.
pub(super) fn revoke_previous(
    transaction: &WriteTransaction,
    id: &KeyId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let Some(rotation) = stored(transaction, id)? else {
        return Ok(());
    };
    let found = record(transaction, &rotation.previous)?;
    let Some(mut record) = found.filter(|record| record.id == *id) else {
        return Ok(());
    };
    record.revoked_at = Some(at);
    put(transaction, &rotation.previous, &record)
}

/// Takes over the last rotation of a key that has none here, and the secret before unless it is
/// forgotten by now.
pub(super) fn restore(
    transaction: &WriteTransaction,
    id: &KeyId,
    entry: &RotationEntry,
    now: Timestamp,
) -> Result<(), StoreError> {
    let rotation = Rotation {
        request: entry.request.clone(),
        at: entry.at,
        previous: entry.previous,
        previous_ends_at: entry.previous_ends_at,
    };
    store(transaction, id, &rotation)?;
    let forgotten_at = entry.previous_ends_at.plus(ENDED);
    let Some(before) = entry.record.as_ref().filter(|_| forgotten_at > now) else {
        return Ok(());
    };
    if record(transaction, &entry.previous)?.is_none() {
        put(transaction, &entry.previous, before)?;
        shelf::end_key(transaction, &entry.previous, forgotten_at)?;
    }
    Ok(())
}

pub(super) fn current(
    transaction: &WriteTransaction,
    id: &KeyId,
) -> Result<Option<Digest>, StoreError> {
    let ids = transaction.open_table(IDS)?;
    let found = ids.get(id.as_str())?;
    Ok(found.map(|digest| Digest::from_bytes(*digest.value())))
}

pub(super) fn record(
    transaction: &WriteTransaction,
    digest: &Digest,
) -> Result<Option<KeyRecord>, StoreError> {
    let records = transaction.open_table(RECORDS)?;
    let found = records.get(digest.as_bytes())?;
    found.map(|json| parse(json.value())).transpose()
}

fn put(
    transaction: &WriteTransaction,
    digest: &Digest,
    record: &KeyRecord,
) -> Result<(), StoreError> {
    let mut records = transaction.open_table(RECORDS)?;
    records.insert(digest.as_bytes(), &*to_json(record)?)?;
    Ok(())
}

fn stored(transaction: &WriteTransaction, id: &KeyId) -> Result<Option<Rotation>, StoreError> {
    let rotations = transaction.open_table(ROTATIONS)?;
    let found = rotations.get(id.as_str())?;
    found.map(|json| read(json.value())).transpose()
}

fn store(
    transaction: &WriteTransaction,
    id: &KeyId,
    rotation: &Rotation,
) -> Result<(), StoreError> {
    let json = serde_json::to_vec(rotation).map_err(|e| StoreError::Unavailable(e.into()))?;
    let mut rotations = transaction.open_table(ROTATIONS)?;
    rotations.insert(id.as_str(), &*json)?;
    Ok(())
}

fn read(json: &[u8]) -> Result<Rotation, StoreError> {
    serde_json::from_slice(json)
        .map_err(|error| StoreError::Corrupt(format!("a rotation: {error}")))
}

/// Forgets a secret that has ended, unless it is its key's current one.
pub(super) fn forget(transaction: &WriteTransaction, digest: &Digest) -> Result<(), StoreError> {
    let Some(record) = record(transaction, digest)? else {
        return Ok(());
    };
    if current(transaction, &record.id)? != Some(*digest) {
        transaction.open_table(RECORDS)?.remove(digest.as_bytes())?;
    }
    Ok(())
}
