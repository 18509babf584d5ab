//! The verbs on keys, in the write order that survives a crash between two of its steps.
//!
//! Create: claim the id and list it, then the record, then the event. Whatever is missing after a
//! crash, no key that works is unlisted, and a claim without its record is nobody's: look-ups and
//! lists compare the record's own id. Revoke: the record, then the denial with its event. A
//! repetition of either runs the later steps again.

use std::collections::HashMap;

use ::redis::{FromRedisValue, Pipeline, Value, cmd, pipe};

use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::secret::Digest;
use crate::store::{
    CreateKey, Denial, DenialKind, KeyRecord, NewKey, RevokeKey, StoreError, retention,
};

use super::fault::Fault;
use super::lane::Lane;
use super::link::Connection;
use super::{denials, layout, record};

/// Keys per round trip of a bulk verb.
const BATCH: usize = 500;

pub(super) async fn by_digest(
    mut connection: Connection,
    digest: Digest,
) -> Result<Option<KeyRecord>, Fault> {
    let fields = cmd("HGETALL")
        .arg(layout::record(&digest))
        .query_async(&mut connection)
        .await?;
    record::from_fields(fields)
}

pub(super) async fn by_id(
    mut connection: Connection,
    id: KeyId,
) -> Result<Option<KeyRecord>, Fault> {
    let Some(digest) = digest_of(&mut connection, &id).await? else {
        return Ok(None);
    };
    let found = by_digest(connection, digest).await?;
    Ok(found.filter(|record| record.id == id))
}

pub(super) async fn digest_of(
    connection: &mut Connection,
    id: &KeyId,
) -> Result<Option<Digest>, Fault> {
    let text: Option<String> = cmd("GET")
        .arg(layout::id(id))
        .query_async(connection)
        .await?;
    text.map(|text| parse_digest(&text)).transpose()
}

pub(super) fn parse_digest(text: &str) -> Result<Digest, Fault> {
    Digest::from_text(text).ok_or_else(|| Fault::corrupt("the digest of an id"))
}

pub(super) async fn page(
    lane: &Lane,
    after: Option<&KeyId>,
    limit: usize,
) -> Result<Vec<KeyRecord>, StoreError> {
    let mut page = Vec::new();
    let mut after = after.cloned();
    while page.len() < limit {
        let wanted = BATCH.min(limit - page.len());
        let from = after.clone();
        let ids = lane.call(|c| ids(c, from, wanted)).await?;
        let complete = ids.len() < wanted;
        after = ids.last().cloned();
        page.extend(lane.call(|c| records(c, ids)).await?);
        if complete {
            break;
        }
    }
    Ok(page)
}

async fn ids(
    mut connection: Connection,
    after: Option<KeyId>,
    limit: usize,
) -> Result<Vec<KeyId>, Fault> {
    let start = after.map_or("-".into(), |id| format!("({id}"));
    let mut command = cmd("ZRANGE");
    command.arg(layout::IDS).arg(start).arg("+").arg("BYLEX");
    command.arg("LIMIT").arg(0).arg(limit);
    let ids: Vec<String> = command.query_async(&mut connection).await?;
    ids.iter()
        .map(|id| KeyId::parse(id).map_err(|_| Fault::corrupt("a listed id")))
        .collect()
}

/// The records of listed ids, in their order; those of a creation that was not finished have none.
async fn records(mut connection: Connection, ids: Vec<KeyId>) -> Result<Vec<KeyRecord>, Fault> {
    let mut digests = pipe();
    for id in &ids {
        digests.get(layout::id(id));
    }
    let digests: Vec<Option<String>> = run(&digests, &mut connection).await?;
    let mut found = Vec::new();
    let mut fields = pipe();
    for (id, digest) in ids.into_iter().zip(digests) {
        if let Some(digest) = digest {
            fields.hgetall(layout::record(&parse_digest(&digest)?));
            found.push(id);
        }
    }
    let fields: Vec<HashMap<String, String>> = run(&fields, &mut connection).await?;
    let mut records = Vec::with_capacity(found.len());
    for (id, fields) in found.into_iter().zip(fields) {
        records.extend(record::from_fields(fields)?.filter(|record| record.id == id));
    }
    Ok(records)
}

/// The answers to all commands of a pipeline. None of them asks nothing, which the crate refuses.
pub(super) async fn run<T: FromRedisValue>(
    pipeline: &Pipeline,
    connection: &mut Connection,
) -> Result<Vec<T>, Fault> {
    if pipeline.is_empty() {
        return Ok(Vec::new());
    }
    Ok(pipeline.query_async(connection).await?)
}

pub(super) async fn create(lane: &Lane, keys: &[NewKey]) -> Result<Vec<CreateKey>, StoreError> {
    let mut answers = Vec::with_capacity(keys.len());
    for batch in keys.chunks(BATCH) {
        let claims = lane
            .call(|c| claim(c, batch.iter().map(|key| (&key.record.id, &key.digest))))
            .await?;
        let written = lane.call(|c| write(c, batch, claims)).await?;
        answers.extend(written.iter().map(|written| match written {
            Written::Now => CreateKey::Created,
            Written::Before | Written::IdTaken | Written::KeyTaken => CreateKey::Exists,
        }));
        lane.call(|c| conclude(c, batch, written)).await?;
    }
    Ok(answers)
}

/// Whether an id is this key's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    Ours,
    Taken,
}

/// Whose the record is after the attempt to write it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Written under this id, before.
    Before,
    /// Not written: the id is another key's.
    IdTaken,
    /// Not written: the key has another id.
    KeyTaken,
    /// Written under this id, by this call.
    Now,
}

/// Claims an id for each secret, in their order.
pub(super) async fn claim<'a>(
    mut connection: Connection,
    keys: impl Iterator<Item = (&'a KeyId, &'a Digest)> + Clone,
) -> Result<Vec<Claim>, Fault> {
    let mut claims = pipe();
    for (id, digest) in keys.clone() {
        let claim = claims.cmd("SET").arg(layout::id(id));
        claim.arg(digest.to_text()).arg("NX").arg("GET");
    }
    let holders: Vec<Option<String>> = run(&claims, &mut connection).await?;
    let answers = keys.zip(holders).map(|((_, digest), holder)| {
        let ours = holder.is_none_or(|holder| holder == digest.to_text());
        if ours { Claim::Ours } else { Claim::Taken }
    });
    Ok(answers.collect())
}

async fn write(
    mut connection: Connection,
    batch: &[NewKey],
    claims: Vec<Claim>,
) -> Result<Vec<Written>, Fault> {
    let claimed: Vec<&NewKey> = batch
        .iter()
        .zip(&claims)
        .filter_map(|(key, claim)| (*claim == Claim::Ours).then_some(key))
        .collect();
    let mut listings = pipe();
    for key in &claimed {
        listings.zadd(layout::IDS, key.record.id.as_str(), 0);
    }
    let _listed: Vec<Value> = run(&listings, &mut connection).await?;
    let mut writes = pipe();
    // On the same connection, ahead of its uses: they cannot meet `NOSCRIPT`.
    writes
        .cmd("SCRIPT")
        .arg("LOAD")
        .arg(layout::CREATE.source)
        .ignore();
    for key in claimed {
        writes.cmd("EVALSHA").arg(layout::CREATE.script.get_hash());
        writes
            .arg(1)
            .arg(layout::record(&key.digest))
            .arg(record::to_fields(&key.record));
    }
    let owners: Vec<Option<String>> = writes.query_async(&mut connection).await?;
    let ids = batch.iter().map(|key| &key.record.id);
    Ok(outcomes(ids, &claims, owners))
}

/// From whose the records are of the ids that were claimed.
pub(super) fn outcomes<'a>(
    ids: impl Iterator<Item = &'a KeyId>,
    claims: &[Claim],
    owners: Vec<Option<String>>,
) -> Vec<Written> {
    let mut owners = owners.into_iter();
    let outcomes = ids.zip(claims).map(|(id, claim)| match claim {
        Claim::Taken => Written::IdTaken,
        Claim::Ours => match owners.next().flatten() {
            None => Written::Now,
            Some(owner) if owner == id.as_str() => Written::Before,
            Some(_) => Written::KeyTaken,
        },
    });
    outcomes.collect()
}

/// Writes the events, also of records that a crash may have left without one; takes claims back
/// that led to nothing: first off the list, while the claim still keeps others from the id.
async fn conclude(
    mut connection: Connection,
    batch: &[NewKey],
    written: Vec<Written>,
) -> Result<(), Fault> {
    let (mut first, mut then) = (pipe(), pipe());
    for (key, written) in batch.iter().zip(written) {
        match written {
            Written::Before | Written::Now => publish(&mut first, &key.digest),
            Written::KeyTaken => {
                first.zrem(layout::IDS, key.record.id.as_str());
                unclaim(&mut then, &key.record.id, &key.digest);
            }
            Written::IdTaken => {}
        }
    }
    let _answers: Vec<Value> = run(&first, &mut connection).await?;
    let _answers: Vec<Value> = run(&then, &mut connection).await?;
    Ok(())
}

pub(super) fn publish(pipeline: &mut Pipeline, digest: &Digest) {
    pipeline.cmd("XADD").arg(layout::LOG);
    pipeline.arg("MAXLEN").arg("~").arg(retention::EVENTS);
    pipeline.arg("*").arg("publish").arg(digest.to_text());
}

pub(super) fn unclaim(pipeline: &mut Pipeline, id: &KeyId, digest: &Digest) {
    pipeline.cmd("EVAL").arg(layout::UNCLAIM.source).arg(1);
    pipeline.arg(layout::id(id)).arg(digest.to_text());
}

pub(super) async fn revoke(
    mut connection: Connection,
    id: KeyId,
    at: Timestamp,
) -> Result<RevokeKey, Fault> {
    let connection = &mut connection;
    let Some(mut digest) = digest_of(connection, &id).await? else {
        return Ok(RevokeKey::Unknown);
    };
    let mut first = false;
    let fields = loop {
        let marked = mark(connection, &digest, &id, at).await?;
        first |= matches!(marked, Some((true, _)));
        // A rotation or rehash may have moved the id on meanwhile.
        match (digest_of(connection, &id).await?, marked) {
            (Some(now), _) if now != digest => digest = now,
            (_, Some((_, fields))) => break fields,
            (_, None) => return Ok(RevokeKey::Unknown),
        }
    };
    // Before the record is read: whatever else is in it, the key is denied.
    let since = fields.get("rv").and_then(|text| text.parse().ok());
    let since = since.map_or(at, Timestamp::from_millis);
    let denial = Denial {
        kind: DenialKind::Key,
        id: id.to_string(),
        at: since,
    };
    denials::deny(connection, &denial).await?;
    mark_previous(connection, &digest, &id, since).await?;
    let record = record::from_fields(fields)?.ok_or_else(|| Fault::corrupt("a revoked key"))?;
    Ok(if first {
        RevokeKey::Revoked(record)
    } else {
        RevokeKey::AlreadyRevoked(record)
    })
}

/// Also the record of the secret before says that its key is revoked. A rehash may have moved it
/// while it was looked for.
async fn mark_previous(
    connection: &mut Connection,
    current: &Digest,
    id: &KeyId,
    at: Timestamp,
) -> Result<(), Fault> {
    let mut marked = None;
    loop {
        let mut command = cmd("HGET");
        command.arg(layout::record(current)).arg(record::PREVIOUS);
        let previous: Option<String> = command.query_async(connection).await?;
        match previous {
            Some(previous) if marked.as_ref() != Some(&previous) => {
                let digest = parse_digest(&previous)?;
                let _gone_or_marked = mark(connection, &digest, id, at).await?;
                marked = Some(previous);
            }
            _ => return Ok(()),
        }
    }
}

/// Marks one record of a key; whether this was the first time, and the record. `None` where it is
/// not there or not this key's.
async fn mark(
    connection: &mut Connection,
    digest: &Digest,
    id: &KeyId,
    at: Timestamp,
) -> Result<Option<(bool, HashMap<String, String>)>, Fault> {
    let mut invocation = layout::REVOKE.script.key(layout::record(digest));
    invocation.arg(id.as_str()).arg(at.as_millis());
    Ok(invocation.invoke_async(connection).await?)
}
