//! The event log: numbered entries, the oldest of which are dropped.
//!
//! A [`Position`] is `e{number}-{tag}`. The tag is a random value of that entry, so a position
//! from another file, or from this file before an older copy of it was restored, names an entry
//! that is not there. Invariant: the log is never empty, so there is always a position to name.

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::secret::{Digest, random_bytes};
use crate::store::{Denial, Event, Follow, Gap, Position, StoreError};

/// Number → [`Entry`], as JSON.
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

#[derive(serde::Serialize, serde::Deserialize)]
struct Entry {
    tag: u64,
    event: LoggedEvent,
}

/// An [`Event`] as it is kept. An unknown one is an error, not skipped: it may be a revocation by
/// a newer version.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum LoggedEvent {
    /// The first entry of a new file.
    Begin,
    Deny(Denial),
    /// [`Digest::to_text`].
    Publish(String),
}

/// Gives a new log its first entry.
pub(super) fn begin(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let empty = transaction.open_table(LOG)?.last()?.is_none();
    if empty {
        push(transaction, LoggedEvent::Begin)?;
    }
    Ok(())
}

pub(super) fn append(transaction: &WriteTransaction, event: &Event) -> Result<(), StoreError> {
    push(
        transaction,
        match event {
            Event::Deny(denial) => LoggedEvent::Deny(denial.clone()),
            Event::Publish(digest) => LoggedEvent::Publish(digest.to_text()),
        },
    )
}

fn push(transaction: &WriteTransaction, event: LoggedEvent) -> Result<(), StoreError> {
    let mut log = transaction.open_table(LOG)?;
    let number = log.last()?.map_or(0, |(number, _)| number.value() + 1);
    let entry = Entry {
        tag: u64::from_le_bytes(random_bytes()),
        event,
    };
    let json = serde_json::to_vec(&entry).map_err(|e| StoreError::Unavailable(e.into()))?;
    log.insert(number, &*json)?;
    Ok(())
}

/// Keeps the newest `events` entries.
pub(super) fn trim(transaction: &WriteTransaction, events: u64) -> Result<(), StoreError> {
    let mut log = transaction.open_table(LOG)?;
    let next = log.last()?.map_or(0, |(number, _)| number.value() + 1);
    log.retain_in(..next.saturating_sub(events), |_, _| false)?;
    Ok(())
}

/// The position after the newest entry.
pub(super) fn end(transaction: &ReadTransaction) -> Result<Position, StoreError> {
    let log = transaction.open_table(LOG)?;
    let (number, json) = log
        .last()?
        .ok_or_else(|| StoreError::Corrupt("a log without a beginning".into()))?;
    Ok(position(number.value(), parse(json.value())?.tag))
}

/// Whether the log has the entry that this names.
pub(super) fn holds(
    transaction: &ReadTransaction,
    position: &Position,
) -> Result<bool, StoreError> {
    let Some((number, tag)) = place(position) else {
        return Ok(false);
    };
    let log = transaction.open_table(LOG)?;
    let entry = log.get(number)?;
    let entry = entry.map(|json| parse(json.value())).transpose()?;
    Ok(entry.is_some_and(|entry| entry.tag == tag))
}

/// Whether `position` is `target` or comes after it. Only one process has the file, so two places are
/// of two logs only where they have one number and two tags.
pub(super) fn has_reached(position: &Position, target: &Position) -> bool {
    match (place(position), place(target)) {
        (Some((number, tag)), Some((wanted, wanted_tag))) => {
            number > wanted || (number == wanted && tag == wanted_tag)
        }
        _ => false,
    }
}

/// Every event after `position`.
pub(super) fn after(
    transaction: &ReadTransaction,
    position: &Position,
) -> Result<Follow, StoreError> {
    let Some((number, tag)) = place(position) else {
        return Ok(Follow::Gap(Gap::Another));
    };
    let log = transaction.open_table(LOG)?;
    let mut entries = log.range(number..)?;
    match entries.next().transpose()? {
        None => return Ok(Follow::Gap(Gap::Behind)),
        Some((first, _)) if first.value() > number => return Ok(Follow::Gap(Gap::Trimmed)),
        // An older copy that was written on, or another file: nothing tells the two apart.
        Some((_, json)) if parse(json.value())?.tag != tag => {
            return Ok(Follow::Gap(Gap::Another));
        }
        Some(_) => {}
    }
    let mut reached = position.clone();
    let mut events = Vec::new();
    for entry in entries {
        let (number, json) = entry?;
        let entry = parse(json.value())?;
        reached = self::position(number.value(), entry.tag);
        events.extend(event(entry.event)?);
    }
    Ok(Follow::Events {
        position: reached,
        events,
    })
}

fn event(logged: LoggedEvent) -> Result<Option<Event>, StoreError> {
    Ok(match logged {
        LoggedEvent::Begin => None,
        LoggedEvent::Deny(denial) => Some(Event::Deny(denial)),
        LoggedEvent::Publish(text) => Some(Event::Publish(
            Digest::from_text(&text)
                .ok_or_else(|| StoreError::Corrupt("a publish event's digest".into()))?,
        )),
    })
}

fn parse(json: &[u8]) -> Result<Entry, StoreError> {
    serde_json::from_slice(json)
        .map_err(|error| StoreError::Corrupt(format!("an entry of the log: {error}")))
}

fn position(number: u64, tag: u64) -> Position {
    Position::new(format!("e{number}-{tag:016x}"))
}

fn place(position: &Position) -> Option<(u64, u64)> {
    let (number, tag) = position.as_str().strip_prefix('e')?.split_once('-')?;
    Some((number.parse().ok()?, u64::from_str_radix(tag, 16).ok()?))
}
