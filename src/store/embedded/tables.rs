//! The tables of records, ids and denials, and the verbs on them inside one transaction.
//!
//! Invariant: `IDS` and `RECORDS` name each other, one to one.

use std::ops::Bound;

use redb::{
    ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, TableDefinition,
    WriteTransaction,
};

use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::secret::Digest;
use crate::store::{
    CreateKey, Denial, DenialKind, Event, KeyRecord, NewKey, RevokeKey, StoreError,
};

use super::log;

/// Digest → record, as JSON.
const RECORDS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("records");
/// Key id → digest.
const IDS: TableDefinition<'_, &str, &[u8; 32]> = TableDefinition::new("ids");
/// [`Denial::member`] → milliseconds since the epoch.
const DENIALS: TableDefinition<'_, &str, i64> = TableDefinition::new("denials");
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
    transaction.open_table(DENIALS)?;
    Ok(())
}

/// Drops denials from before `horizon`.
pub(super) fn forget_denials(
    transaction: &WriteTransaction,
    horizon: Timestamp,
) -> Result<(), StoreError> {
    let mut denials = transaction.open_table(DENIALS)?;
    denials.retain(|_, at| at >= horizon.as_millis())?;
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
    let denial = Denial {
        kind: DenialKind::Key,
        id: id.to_string(),
        at,
    };
    deny(transaction, denial)?;
    Ok(RevokeKey::Revoked(record))
}

/// Puts a denial on the list, never earlier than it was there before, and into the log.
fn deny(transaction: &WriteTransaction, denial: Denial) -> Result<(), StoreError> {
    let mut denials = transaction.open_table(DENIALS)?;
    let member = denial.member();
    let before = denials.get(&*member)?.map(|at| at.value());
    let at = denial.at.as_millis().max(before.unwrap_or(i64::MIN));
    denials.insert(&*member, at)?;
    log::append(transaction, &Event::Deny(denial))
}

pub(super) fn denials(transaction: &ReadTransaction) -> Result<Vec<Denial>, StoreError> {
    let denials = transaction.open_table(DENIALS)?;
    let mut entries = Vec::with_capacity(usize::try_from(denials.len()?).unwrap_or(0));
    for entry in denials.iter()? {
        let (member, at) = entry?;
        let at = Timestamp::from_millis(at.value());
        entries.push(Denial::from_member(member.value(), at)?);
    }
    Ok(entries)
}

fn parse(json: &[u8]) -> Result<KeyRecord, StoreError> {
    serde_json::from_slice(json).map_err(|error| StoreError::Corrupt(format!("a key: {error}")))
}

fn to_json(record: &KeyRecord) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|error| StoreError::Unavailable(error.into()))
}
