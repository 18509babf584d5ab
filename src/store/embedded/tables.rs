//! The tables of key records and their ids, and the verbs on them inside one transaction.
//!
//! Invariant: each id in `IDS` names its current record; what else is in `RECORDS` was rotated out
//! and ends by itself.

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::secret::Digest;
use crate::store::{
    CreateKey, Denial, DenialKind, Event, KeyRecord, NewKey, RevokeKey, StoreError,
};

use super::{denials, log, rotation};

/// Digest → record, as JSON.
pub(super) const RECORDS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("records");
/// Key id → digest.
pub(super) const IDS: TableDefinition<'_, &str, &[u8; 32]> = TableDefinition::new("ids");
/// Facts about the file itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The layout of all tables. A file of another one is refused, never guessed at.
const SCHEMA: u64 = 1;

/// Makes the tables of a new file; refuses a file of another layout.
pub(super) fn check_schema(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(META)?;
    let found = meta.get("schema")?.map(|schema| schema.value());
    match found {
        Some(SCHEMA) => {}
        Some(other) => {
            return Err(StoreError::Corrupt(format!(
                "its layout is version {other}, this build reads version {SCHEMA}"
            )));
        }
        None => {
            meta.insert("schema", SCHEMA)?;
        }
    }
    transaction.open_table(RECORDS)?;
    transaction.open_table(IDS)?;
    Ok(())
}

pub(super) fn record(
    transaction: &ReadTransaction,
    digest: &Digest,
) -> Result<Option<KeyRecord>, StoreError> {
    let records = transaction.open_table(RECORDS)?;
    let found = records.get(digest.as_bytes())?;
    found.map(|json| parse(json.value())).transpose()
}

pub(super) fn record_of(
    transaction: &ReadTransaction,
    id: &KeyId,
) -> Result<Option<KeyRecord>, StoreError> {
    let ids = transaction.open_table(IDS)?;
    let Some(digest) = ids.get(id.as_str())? else {
        return Ok(None);
    };
    record(transaction, &Digest::from_bytes(*digest.value()))
}

pub(super) fn page(
    transaction: &ReadTransaction,
    after: Option<&KeyId>,
    limit: usize,
) -> Result<Vec<KeyRecord>, StoreError> {
    let ids = transaction.open_table(IDS)?;
    let records = transaction.open_table(RECORDS)?;
    let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_str()));
    let mut page = Vec::new();
    for entry in ids.range::<&str>((start, Bound::Unbounded))?.take(limit) {
        let (_, digest) = entry?;
        let json = records
            .get(digest.value())?
            .ok_or_else(|| StoreError::Corrupt("an id without its record".into()))?;
        page.push(parse(json.value())?);
    }
    Ok(page)
}

/// Every key with the digest of the secret in use.
pub(super) fn each_key(
    transaction: &ReadTransaction,
    mut take: impl FnMut(Digest, KeyRecord) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for entry in transaction.open_table(IDS)?.iter()? {
        let (_, digest) = entry?;
        let digest = Digest::from_bytes(*digest.value());
        let found = record(transaction, &digest)?;
        let without = || StoreError::Corrupt("an id without its record".into());
        take(digest, found.ok_or_else(without)?)?;
    }
    Ok(())
}

/// Writes a key that is known not to be there.
pub(super) fn insert(
    transaction: &WriteTransaction,
    digest: &Digest,
    record: &KeyRecord,
) -> Result<(), StoreError> {
    let mut records = transaction.open_table(RECORDS)?;
    records.insert(digest.as_bytes(), &*to_json(record)?)?;
    let mut ids = transaction.open_table(IDS)?;
    ids.insert(record.id.as_str(), digest.as_bytes())?;
    Ok(())
}

pub(super) fn records(
    transaction: &ReadTransaction,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Vec<(Digest, KeyRecord)>, StoreError> {
    let records = transaction.open_table(RECORDS)?;
    let start = after.map_or(Bound::Unbounded, |digest| {
        Bound::Excluded(digest.as_bytes())
    });
    records
        .range::<&[u8; 32]>((start, Bound::Unbounded))?
        .take(limit)
        .map(|entry| {
            let (digest, json) = entry?;
            Ok((Digest::from_bytes(*digest.value()), parse(json.value())?))
        })
        .collect()
}

pub(super) fn create(
    transaction: &WriteTransaction,
    key: &NewKey,
) -> Result<CreateKey, StoreError> {
    let mut records = transaction.open_table(RECORDS)?;
    let mut ids = transaction.open_table(IDS)?;
    let digest = key.digest.as_bytes();
    let id = key.record.id.as_str();
    if records.get(digest)?.is_some() || ids.get(id)?.is_some() {
        return Ok(CreateKey::Exists);
    }
    records.insert(digest, &*to_json(&key.record)?)?;
    ids.insert(id, digest)?;
    log::append(transaction, &Event::Publish(key.digest))?;
    Ok(CreateKey::Created)
}

pub(super) fn revoke(
    transaction: &WriteTransaction,
    id: &KeyId,
    at: Timestamp,
) -> Result<RevokeKey, StoreError> {
    let ids = transaction.open_table(IDS)?;
    let Some(digest) = ids.get(id.as_str())?.map(|digest| *digest.value()) else {
        return Ok(RevokeKey::Unknown);
    };
    let mut records = transaction.open_table(RECORDS)?;
    let found = records.get(&digest)?.map(|json| parse(json.value()));
    let mut record =
        found.ok_or_else(|| StoreError::Corrupt("an id without its record".into()))??;
    if record.revoked_at.is_some() {
        return Ok(RevokeKey::AlreadyRevoked(record));
    }
    record.revoked_at = Some(at);
    records.insert(&digest, &*to_json(&record)?)?;
    drop(records);
    rotation::revoke_previous(transaction, id, at)?;
    let denial = Denial {
        kind: DenialKind::Key,
        id: id.to_string(),
        at,
    };
    denials::deny(transaction, denial)?;
    Ok(RevokeKey::Revoked(record))
}

pub(super) fn parse(json: &[u8]) -> Result<KeyRecord, StoreError> {
    serde_json::from_slice(json).map_err(|error| StoreError::Corrupt(format!("a key: {error}")))
}

pub(super) fn to_json(record: &KeyRecord) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|error| StoreError::Unavailable(error.into()))
}
