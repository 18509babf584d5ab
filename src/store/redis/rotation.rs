//! Rotation and rehashing of keys, in the write order that survives a crash between two steps.
//!
//! Rotate: the new record, then the id's pointer to it, then the end of the old record, then the
//! events. Nobody knows the new secret before the answer. The new record says what it came from, so
//! a repetition runs the later steps again. An attempt that finds the pointer moved takes its record
//! back, if it is neither in use by now nor another attempt's of the same wish. Rehash: the copy,
//! then the pointer, then the old record goes. A revocation marks a record and then looks whether the pointer has moved; these verbs move
//! the pointer and then look whether the old record was marked: one of the two sees the other.

use std::collections::HashMap;
use std::time::Duration;

use ::redis::{cmd, pipe};

use crate::clock::Timestamp;
use crate::id::{KeyId, RequestId};
use crate::secret::{Digest, random_bytes};
use crate::store::archive::RotationEntry;
use crate::store::key::Verdict;
use crate::store::{KeyRecord, KeyRotated, KeyRotation, Rehash, RotateKey};

use super::fault::Fault;
use super::keys::{digest_of, parse_digest, publish, run};
use super::link::Connection;
use super::record::PREVIOUS;
use super::{layout, record};

/// The fields of a record that tell its rotation, beside [`PREVIOUS`].
const REQUEST: &str = "rq";
const AT: &str = "ra";
const PREVIOUS_ENDS_AT: &str = "re";
const ATTEMPT: &str = "rn";

/// How long a secret that has ended is still told apart from one that never was.
const ENDED: u64 = 24 * 60 * 60 * 1000;

/// A key as it is stored now.
struct Stored {
    digest: Digest,
    record: KeyRecord,
    rotated: Option<KeyRotated>,
}

pub(super) async fn last(
    mut connection: Connection,
    id: KeyId,
) -> Result<Option<KeyRotated>, Fault> {
    let stored = stored(&mut connection, &id).await?;
    Ok(stored.and_then(|stored| stored.rotated))
}

pub(super) async fn rotate(
    mut connection: Connection,
    wish: KeyRotation,
) -> Result<RotateKey, Fault> {
    let connection = &mut connection;
    loop {
        let Some(stored) = stored(connection, &wish.id).await? else {
            return Ok(RotateKey::Unknown);
        };
        let ends_at = match wish.judge(&stored.record, stored.rotated.as_ref()) {
            Verdict::Answer(RotateKey::Repeated(rotated)) => {
                return conclude(connection, &wish, rotated, RotateKey::Repeated).await;
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
        let attempt = Digest::from_bytes(random_bytes()).to_text();
        if !propose(
            connection,
            &wish.renewed(&stored.record),
            &rotated,
            &attempt,
        )
        .await?
        {
            return Ok(RotateKey::DigestTaken);
        }
        if let Some(older) = stored.rotated {
            retire(connection, &wish, &older.previous, wish.at).await?;
        }
        if point(connection, &wish.id, &stored.digest, &wish.digest).await? {
            return conclude(connection, &wish, rotated, RotateKey::Rotated).await;
        }
        retract(connection, &wish, &attempt).await?;
    }
}

/// Ends the old secret and tells of it. If the key was revoked meanwhile, the new record says so
/// too.
async fn conclude(
    connection: &mut Connection,
    wish: &KeyRotation,
    rotated: KeyRotated,
    answer: fn(KeyRotated) -> RotateKey,
) -> Result<RotateKey, Fault> {
    let (previous, end) = (rotated.previous, rotated.previous_ends_at);
    let revoked = retire(connection, wish, &previous, end).await?;
    if let Some(at) = revoked {
        mark_revoked(connection, &rotated.current, &wish.id, at).await?;
    }
    let mut event = pipe();
    publish(&mut event, &rotated.current);
    let _answers: Vec<::redis::Value> = run(&event, connection).await?;
    Ok(match revoked {
        Some(_) => RotateKey::Revoked,
        None => answer(rotated),
    })
}

/// Ends a secret and tells of it; when its key was revoked, if it was.
async fn retire(
    connection: &mut Connection,
    wish: &KeyRotation,
    digest: &Digest,
    end: Timestamp,
) -> Result<Option<i64>, Fault> {
    let life = u64::try_from(end.since(wish.at).as_millis()).unwrap_or(u64::MAX);
    let mut invocation = layout::RETIRE.script.key(layout::record(digest));
    invocation.arg(wish.id.as_str()).arg(end.as_millis());
    invocation.arg(life.saturating_add(ENDED));
    let revoked = invocation.invoke_async(connection).await?;
    let mut event = pipe();
    publish(&mut event, digest);
    let _answers: Vec<::redis::Value> = run(&event, connection).await?;
    Ok(revoked)
}

/// Takes back what an attempt proposed, unless the key uses it by now: another attempt of the same
/// wish may have been faster.
async fn retract(
    connection: &mut Connection,
    wish: &KeyRotation,
    attempt: &str,
) -> Result<(), Fault> {
    let stored = stored(connection, &wish.id).await?;
    let in_use = stored.is_some_and(|stored| {
        let previous = stored.rotated.map(|rotated| rotated.previous);
        [Some(stored.digest), previous].contains(&Some(wish.digest))
    });
    if in_use {
        return Ok(());
    }
    let mut invocation = layout::RETRACT.script.key(layout::record(&wish.digest));
    invocation.arg(attempt);
    let _none: ::redis::Value = invocation.invoke_async(connection).await?;
    Ok(())
}

async fn mark_revoked(
    connection: &mut Connection,
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
    mut connection: Connection,
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
    let mut invocation = layout::MOVE.script.key(layout::record(&old));
    invocation.arg(id.as_str());
    let (mark, left): (Option<i64>, i64) = invocation.invoke_async(connection).await?;
    if let Some(at) = mark {
        mark_revoked(connection, &new, &id, at).await?;
    }
    if left >= 0 {
        let mut command = cmd("PEXPIRE");
        command.arg(layout::record(&new)).arg(left);
        command.exec_async(connection).await?;
    }
    // The new one first: whoever hears of one alone still finds the secret.
    let mut events = pipe();
    publish(&mut events, &new);
    publish(&mut events, &old);
    let _answers: Vec<::redis::Value> = run(&events, connection).await?;
    Ok(Rehash::Rehashed)
}

/// The current record names the secret before it.
async fn repoint_previous(
    connection: &mut Connection,
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

async fn stored(connection: &mut Connection, id: &KeyId) -> Result<Option<Stored>, Fault> {
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
    connection: &mut Connection,
    digest: &Digest,
) -> Result<(HashMap<String, String>, Option<KeyRecord>), Fault> {
    let mut command = cmd("HGETALL");
    command.arg(layout::record(digest));
    let fields: HashMap<String, String> = command.query_async(connection).await?;
    let record = record::from_fields(fields.clone())?;
    Ok((fields, record))
}

/// What an entry says of a rotation, as the fields of the record that came from it.
pub(super) fn to_fields(entry: &RotationEntry) -> Vec<String> {
    let fields = [
        (PREVIOUS, entry.previous.to_text()),
        (REQUEST, entry.request.to_string()),
        (AT, entry.at.as_millis().to_string()),
        (
            PREVIOUS_ENDS_AT,
            entry.previous_ends_at.as_millis().to_string(),
        ),
    ];
    let pairs = fields.into_iter();
    pairs.flat_map(|(k, v)| [k.to_owned(), v]).collect()
}

/// For how long (ms) the secret before is still told apart from one that never was.
pub(super) fn remembered(entry: &RotationEntry, now: Timestamp) -> Option<u64> {
    let forgotten_at = entry.previous_ends_at.plus(Duration::from_millis(ENDED));
    let life = forgotten_at.since(now).as_millis();
    u64::try_from(life).ok().filter(|life| *life > 0)
}

pub(super) fn rotated(
    fields: &HashMap<String, String>,
    current: Digest,
) -> Result<Option<KeyRotated>, Fault> {
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

/// Writes the new record; whether its place was free.
async fn propose(
    connection: &mut Connection,
    record: &KeyRecord,
    rotated: &KeyRotated,
    attempt: &str,
) -> Result<bool, Fault> {
    let rotation = [
        (PREVIOUS, rotated.previous.to_text()),
        (REQUEST, rotated.request.to_string()),
        (AT, rotated.at.as_millis().to_string()),
        (
            PREVIOUS_ENDS_AT,
            rotated.previous_ends_at.as_millis().to_string(),
        ),
        (ATTEMPT, attempt.to_owned()),
    ];
    let mut fields = record::to_fields(record);
    fields.extend(rotation.into_iter().flat_map(|(k, v)| [k.to_owned(), v]));
    let mut invocation = layout::PROPOSE.script.key(layout::record(&rotated.current));
    invocation.arg(record.id.as_str());
    invocation.arg(rotated.request.as_str()).arg(fields);
    Ok(invocation.invoke_async(connection).await?)
}

async fn create(
    connection: &mut Connection,
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
    connection: &mut Connection,
    id: &KeyId,
    from: &Digest,
    to: &Digest,
) -> Result<bool, Fault> {
    let mut invocation = layout::SWAP.script.key(layout::id(id));
    invocation.arg(from.to_text()).arg(to.to_text()).arg(0);
    Ok(invocation.invoke_async(connection).await?)
}
