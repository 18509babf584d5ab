//! A client's secrets: at most two work at a time.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{ClientId, RequestId};
use crate::secret::Digest;
use crate::store::shelf::Plan;
use crate::store::{Rehash, StoreError, digest_text};

use super::{ClientKind, ClientRecord};

/// One secret of a client.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSecret {
    /// The digest of the whole secret.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// Enough of it to recognise it by.
    pub hint: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working; `None` is never.
    pub ends_at: Option<Timestamp>,
}

/// A wish to give a client another secret: as [`KeyRotation`](crate::store::KeyRotation).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRotation {
    /// Which client.
    pub id: ClientId,
    /// The new secret's digest.
    pub digest: Digest,
    /// The new secret's hint.
    pub hint: String,
    /// Names the wish.
    pub request: RequestId,
    /// How long the old secret goes on working; zero ends every old one at once.
    pub overlap: Duration,
    /// Now.
    pub at: Timestamp,
}

/// What became of a [`ClientRotation`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum RotateClientSecret {
    /// The client is disabled. Nothing changed.
    Disabled,
    /// Two secrets work already, the older until then. Nothing changed.
    Overlapping(Timestamp),
    /// A public client has no secret. Nothing changed.
    Public,
    /// This wish was carried out before.
    Repeated(ClientRecord),
    /// Carried out now. The newest secret is the first.
    Rotated(ClientRecord),
    /// There is no such client.
    Unknown,
}

pub(super) fn rotate(
    found: Option<ClientRecord>,
    wish: &ClientRotation,
) -> Result<Plan<RotateClientSecret>, StoreError> {
    let refused = |answer| Ok(Plan::keep(answer));
    let Some(mut record) = found else {
        return refused(RotateClientSecret::Unknown);
    };
    if record.disabled_at.is_some() {
        return refused(RotateClientSecret::Disabled);
    }
    if record.kind == ClientKind::Public {
        return refused(RotateClientSecret::Public);
    }
    if record.rotation.as_ref() == Some(&wish.request) {
        return refused(RotateClientSecret::Repeated(record));
    }
    let ending = record
        .live_secrets(wish.at)
        .filter_map(|secret| secret.ends_at);
    if let Some(end) = ending.max()
        && !wish.overlap.is_zero()
    {
        return refused(RotateClientSecret::Overlapping(end));
    }
    add_secret(&mut record, wish);
    Plan::write(RotateClientSecret::Rotated(record.clone()), &record, None)
}

/// The one that worked without end gets one; what has ended is forgotten.
fn add_secret(record: &mut ClientRecord, wish: &ClientRotation) {
    let end = wish.at.plus(wish.overlap);
    for secret in &mut record.secrets {
        secret.ends_at = Some(secret.ends_at.map_or(end, |earlier| earlier.min(end)));
    }
    record
        .secrets
        .retain(|secret| secret.ends_at.is_some_and(|end| end > wish.at));
    let newest = ClientSecret {
        digest: wish.digest,
        hint: wish.hint.clone(),
        created_at: wish.at,
        ends_at: None,
    };
    record.secrets.insert(0, newest);
    record.rotation = Some(wish.request.clone());
}

pub(super) fn rehash(
    found: Option<ClientRecord>,
    old: &Digest,
    new: Digest,
) -> Result<Plan<Rehash>, StoreError> {
    let Some(mut record) = found else {
        return Ok(Plan::keep(Rehash::Unknown));
    };
    let Some(secret) = record.secrets.iter_mut().find(|s| s.digest == *old) else {
        return Ok(Plan::keep(Rehash::Unknown));
    };
    secret.digest = new;
    Plan::write(Rehash::Rehashed, &record, None)
}
