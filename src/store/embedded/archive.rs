//! All of the file: out in one snapshot, in in one transaction.
//!
//! Not here: what is carried ([`crate::store::archive`]). A snapshot that is read for long holds
//! on to the pages that were changed since: the file grows meanwhile, and uses them again later.

use redb::{ReadTransaction, WriteTransaction};
use tokio::sync::mpsc;

use crate::clock::Timestamp;
use crate::secret::Digest;
use crate::store::archive::{
    ArchiveStore, Entries, Entry, Fate, Gone, KeyEntry, Restored, RotationEntry, fate,
    session_digest, taken,
};
use crate::store::shelf::{Index, Listing, Member, Place};
use crate::store::{Event, KeyRecord, StoreError};

use super::{EmbeddedStore, denials, log, rotation, shelf, tables};

#[async_trait::async_trait]
impl ArchiveStore for EmbeddedStore {
    async fn archive(&self, to: mpsc::Sender<Entry>) -> Result<(), StoreError> {
        self.read(move |transaction| {
            let send = |entry| to.blocking_send(entry).map_err(|_| Gone.into());
            send_all(transaction, &send)
        })
        .await
    }

    async fn restore(&self, entries: Entries, at: Timestamp) -> Result<Restored, StoreError> {
        self.write(move |transaction| {
            let mut restored = Restored::default();
            for entry in entries {
                let entry = taken(entry)?;
                if !entry.has_ended(at) {
                    restore(transaction, entry, at, &mut restored)?;
                }
            }
            Ok(restored)
        })
        .await
    }

    fn backend(&self) -> &'static str {
        "embedded"
    }
}

fn send_all(
    transaction: &ReadTransaction,
    send: &dyn Fn(Entry) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for denial in denials::all(transaction)? {
        send(Entry::Denial(denial))?;
    }
    shelf::each_listing(transaction, |index, member| {
        let (index, member) = (index.to_owned(), member.to_owned());
        send(Entry::Listing { index, member })
    })?;
    shelf::each_document(transaction, |place, until, text| match fate(place)? {
        Fate::Left => Ok(()),
        Fate::Carried(_) => send(Entry::Document {
            place: place.to_owned(),
            until,
            text: text.to_owned(),
        }),
    })?;
    tables::each_key(transaction, |digest, record| {
        send(Entry::Key(Box::new(key(transaction, digest, record)?)))
    })
}

fn key(
    transaction: &ReadTransaction,
    digest: Digest,
    record: KeyRecord,
) -> Result<KeyEntry, StoreError> {
    let rotation = rotation::last(transaction, &record.id)?;
    let rotation = rotation.map(|rotated| {
        let before = tables::record(transaction, &rotated.previous)?;
        Ok::<_, StoreError>(RotationEntry {
            request: rotated.request,
            at: rotated.at,
            previous: rotated.previous,
            previous_ends_at: rotated.previous_ends_at,
            record: before.filter(|before| before.id == record.id),
        })
    });
    Ok(KeyEntry {
        digest,
        rotation: rotation.transpose()?,
        record,
    })
}

fn restore(
    transaction: &WriteTransaction,
    entry: Entry,
    at: Timestamp,
    restored: &mut Restored,
) -> Result<(), StoreError> {
    let written = match entry {
        Entry::Denial(denial) => {
            restored.denials += 1;
            return denials::deny(transaction, denial);
        }
        Entry::Listing { index, member } => return list(transaction, index, member),
        Entry::Key(key) => restore_key(transaction, &key, at)?,
        Entry::Document { place, until, text } => {
            let digest = session_digest(&place);
            let place = Place::from_text(place);
            let absent = shelf::document(transaction, &place)?.is_none();
            if absent {
                shelf::write(transaction, &place, &text, until)?;
                digest.map_or(Ok(()), |digest| publish(transaction, digest))?;
            }
            absent
        }
    };
    match written {
        true => restored.written += 1,
        false => restored.existing += 1,
    }
    Ok(())
}

fn list(transaction: &WriteTransaction, index: String, member: String) -> Result<(), StoreError> {
    let member = Member::from_text(member);
    let member = member.ok_or_else(|| StoreError::Corrupt("an entry of a list".into()))?;
    let listing = Listing {
        index: Index::from_text(index),
        until: member.until(),
        member,
        cap: None,
    };
    shelf::list(transaction, &listing)
}

/// Whether it was written. One that is there stays, but is revoked if this one is.
fn restore_key(
    transaction: &WriteTransaction,
    key: &KeyEntry,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let id = key.record.id.clone();
    if rotation::current(transaction, &id)?.is_some() {
        if let Some(revoked_at) = key.record.revoked_at {
            let _marked = tables::revoke(transaction, &id, revoked_at)?;
        }
        return Ok(false);
    }
    if rotation::record(transaction, &key.digest)?.is_some() {
        return Ok(false);
    }
    tables::insert(transaction, &key.digest, &key.record)?;
    if let Some(rotated) = &key.rotation {
        rotation::restore(transaction, &id, rotated, at)?;
        publish(transaction, rotated.previous)?;
    }
    publish(transaction, key.digest)?;
    Ok(true)
}

fn publish(transaction: &WriteTransaction, digest: Digest) -> Result<(), StoreError> {
    log::append(transaction, &Event::Publish(digest))
}
