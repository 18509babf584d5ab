//! Rotation and rehashing of keys, in the write order that survives a crash between two steps.
//!
//! Rotate: the new record, then the id's pointer to it, then the end of the old record, then the
//! events. Nobody knows the new secret before the answer. The new record says what it came from, so
//! a repetition runs the later steps again. Rehash: the copy, then the pointer, then the old record
//! goes. A revocation marks a record and then looks whether the pointer has moved; these verbs move
//! the pointer and then look whether the old record was marked: one of the two sees the other.

use std::collections::HashMap;

use ::redis::aio::MultiplexedConnection;
use ::redis::{cmd, pipe};

use crate::clock::Timestamp;
use crate::id::{KeyId, RequestId};
use crate::secret::Digest;
use crate::store::key::Verdict;
use crate::store::{KeyRecord, KeyRotated, KeyRotation, Rehash, RotateKey};

use super::fault::Fault;
use super::keys::{digest_of, parse_digest, publish, run};
use super::record::PREVIOUS;
use super::{layout, record};

/// The fields of a record that tell its rotation, beside [`PREVIOUS`].
const REQUEST: &str = "rq";
const AT: &str = "ra";
const PREVIOUS_ENDS_AT: &str = "re";

/// How long a secret that has ended is still told apart from one that never was.
const ENDED: u64 = 24 * 60 * 60 * 1000;

/// A key as it is stored now.
struct Stored {
    digest: Digest,
    record: KeyRecord,
    rotated: Option<KeyRotated>,
}

pub(super) async fn last(
    mut connection: MultiplexedConnection,
    id: KeyId,
) -> Result<Option<KeyRotated>, Fault> {
    let stored = stored(&mut connection, &id).await?;
    Ok(stored.and_then(|stored| stored.rotated))
}

pub(super) async fn rotate(
    mut connection: MultiplexedConnection,
    wish: KeyRotation,
) -> Result<RotateKey, Fault> {
    let connection = &mut connection;
    loop {
        let Some(stored) = stored(connection, &wish.id).await? else {
            return Ok(RotateKey::Unknown);
        };
        let ends_at = match wish.judge(&stored.record, stored.rotated.as_ref()) {
            Verdict::Answer(RotateKey::Repeated(rotated)) => {
                conclude(connection, &wish.id, &rotated, None, wish.at).await?;
                return Ok(RotateKey::Repeated(rotated));
            }
            Verdict::Answer(answer) => return Ok(answer),
            Verdict::Rotate { ends_at } => ends_at,
        };
        let rotated = KeyRotated {
            request: wish.request.clone(),
            at: wish.at,
            current: wish.digest,
            previous: stored.digest,
            previous_ends_at: ends_at,
        };
        if !write(connection, &wish.renewed(&stored.record), &rotated).await? {
            return Ok(RotateKey::DigestTaken);
        }
        if !point(connection, &wish.id, &stored.digest, &wish.digest).await? {
            // Another rotation or rehash was faster. Nobody knows this secret: it goes.
            forget(connection, &wish.digest).await?;
            continue;
        }
        let older = stored.rotated.map(|rotated| rotated.previous);
        let revoked = conclude(connection, &wish.id, &rotated, older, wish.at).await?;
        return Ok(match revoked {
            Some(()) => RotateKey::Revoked,
            None => RotateKey::Rotated(rotated),
        });
    }
}

/// Ends the old secrets and tells of it. `Some` if the key was revoked meanwhile: then the new
/// record says so too.
async fn conclude(
    connection: &mut MultiplexedConnection,
    id: &KeyId,
    rotated: &KeyRotated,
    older: impl IntoIterator<Item = Digest>,
    now: Timestamp,
) -> Result<Option<()>, Fault> {
    let mut revoked = None;
    let previous = [(rotated.previous, rotated.previous_ends_at)];
    let older = older.into_iter().map(|digest| (digest, now));
    let mut events = pipe();
    for (digest, end) in older.chain(previous) {
        let life = u64::try_from(end.since(now).as_millis()).unwrap_or(u64::MAX);
        let mark: Option<i64> = layout::RETIRE
            .script
            .key(layout::record(&digest))
            .arg(id.as_str())
            .arg(end.as_millis())
            .arg(life.saturating_add(ENDED))
            .invoke_async(connection)
            .await?;
        if let Some(at) = mark {
            mark_revoked(connection, &rotated.current, id, at).await?;
            revoked = Some(());
        }
        publish(&mut events, &digest);
    }
    publish(&mut events, &rotated.current);
    let _answers: Vec<::redis::Value> = run(&events, connection).await?;
    Ok(revoked)
}

async fn mark_revoked(
    connection: &mut MultiplexedConnection,
    digest: &Digest,
    id: &KeyId,
    at: i64,
) -> Result<(), Fault> {
    let mut invocation = layout::REVOKE.script.key(layout::record(digest));
    invocation.arg(id.as_str()).arg(at);
    let _marked: ::redis::Value = invocation.invoke_async(connection).await?;
    Ok(())
}

pub(super) async fn rehash(
    mut connection: MultiplexedConnection,
    id: KeyId,
    old: Digest,
    new: Digest,
) -> Result<Rehash, Fault> {
    let connection = &mut connection;
    let (fields, found) = fields(connection, &old).await?;
    if old == new || found.is_none_or(|record| record.id != id) {
        return Ok(Rehash::Unknown);
    }
    let flat: Vec<String> = fields.into_iter().flat_map(|(k, v)| [k, v]).collect();
    // A copy that is there already comes from a repetition.
    if !create(connection, &new, &flat).await?
        && self::fields(connection, &new)
            .await?
            .1
            .is_none_or(|record| record.id != id)
    {
        return Ok(Rehash::Unknown);
    }
    if !point(connection, &id, &old, &new).await? {
        repoint_previous(connection, &id, &old, &new).await?;
    }
    let mark: Option<i64> = layout::MOVE
        .script
        .key(layout::record(&old))
        .arg(id.as_str())
        .invoke_async(connection)
        .await?;
    if let Some(at) = mark {
        mark_revoked(connection, &new, &id, at).await?;
    }
    let mut events = pipe();
    publish(&mut events, &old);
    publish(&mut events, &new);
    let _answers: Vec<::redis::Value> = run(&events, connection).await?;
    Ok(Rehash::Rehashed)
}

/// The current record names the secret before it.
async fn repoint_previous(
    connection: &mut MultiplexedConnection,
    id: &KeyId,
    old: &Digest,
    new: &Digest,
) -> Result<(), Fault> {
    let Some(current) = digest_of(connection, id).await? else {
        return Ok(());
    };
    let mut invocation = layout::REPOINT.script.key(layout::record(&current));
    invocation
        .arg(PREVIOUS)
        .arg(old.to_text())
        .arg(new.to_text());
    let _done: ::redis::Value = invocation.invoke_async(connection).await?;
    Ok(())
}

async fn stored(
    connection: &mut MultiplexedConnection,
    id: &KeyId,
) -> Result<Option<Stored>, Fault> {
    let Some(digest) = digest_of(connection, id).await? else {
        return Ok(None);
    };
    let (fields, found) = fields(connection, &digest).await?;
    let Some(record) = found.filter(|record| record.id == *id) else {
        return Ok(None);
    };
    let rotated = rotated(&fields, digest)?;
    Ok(Some(Stored {
        digest,
        record,
        rotated,
    }))
}

async fn fields(
    connection: &mut MultiplexedConnection,
    digest: &Digest,
) -> Result<(HashMap<String, String>, Option<KeyRecord>), Fault> {
    let mut command = cmd("HGETALL");
    command.arg(layout::record(digest));
    let fields: HashMap<String, String> = command.query_async(connection).await?;
    let record = record::from_fields(fields.clone())?;
    Ok((fields, record))
}

fn rotated(fields: &HashMap<String, String>, current: Digest) -> Result<Option<KeyRotated>, Fault> {
    let Some(previous) = fields.get(PREVIOUS) else {
        return Ok(None);
    };
    let unreadable = || Fault::corrupt("a key's rotation");
    let time = |field| {
        let millis = fields.get(field).and_then(|text| text.parse().ok());
        millis.map(Timestamp::from_millis).ok_or_else(unreadable)
    };
    let request = fields
        .get(REQUEST)
        .and_then(|text| RequestId::parse(text).ok());
    Ok(Some(KeyRotated {
        request: request.ok_or_else(unreadable)?,
        at: time(AT)?,
        current,
        previous: parse_digest(previous)?,
        previous_ends_at: time(PREVIOUS_ENDS_AT)?,
    }))
}

/// Writes the new record; whether it was not there.
async fn write(
    connection: &mut MultiplexedConnection,
    record: &KeyRecord,
    rotated: &KeyRotated,
) -> Result<bool, Fault> {
    let mut fields = record::to_fields(record);
    let rotation = [
        (PREVIOUS, rotated.previous.to_text()),
        (REQUEST, rotated.request.to_string()),
        (AT, rotated.at.as_millis().to_string()),
        (
            PREVIOUS_ENDS_AT,
            rotated.previous_ends_at.as_millis().to_string(),
        ),
    ];
    fields.extend(rotation.into_iter().flat_map(|(k, v)| [k.to_owned(), v]));
    create(connection, &rotated.current, &fields).await
}

async fn create(
    connection: &mut MultiplexedConnection,
    digest: &Digest,
    fields: &[String],
) -> Result<bool, Fault> {
    let mut invocation = layout::CREATE.script.key(layout::record(digest));
    invocation.arg(fields);
    let owner: Option<String> = invocation.invoke_async(connection).await?;
    Ok(owner.is_none())
}

/// Moves the id from one digest to another; whether it was at the first.
async fn point(
    connection: &mut MultiplexedConnection,
    id: &KeyId,
    from: &Digest,
    to: &Digest,
) -> Result<bool, Fault> {
    let mut invocation = layout::SWAP.script.key(layout::id(id));
    invocation.arg(from.to_text()).arg(to.to_text()).arg(0);
    Ok(invocation.invoke_async(connection).await?)
}

async fn forget(connection: &mut MultiplexedConnection, digest: &Digest) -> Result<(), Fault> {
    let mut command = cmd("DEL");
    command.arg(layout::record(digest));
    Ok(command.exec_async(connection).await?)
}
