//! Rotation: a key gets another secret under the same id, and the old one goes on for a while.
//!
//! The new secret is a MAC of what was asked, under a key that only the pepper gives: asked again
//! under the same request id, the answer is the same while the pepper is known, and nothing secret
//! is stored for it.
//! Invariant: a rotation that leaves the old secret no time ends the key's sessions too, since
//! whoever has the old secret may have made some.

use std::time::Duration;

use super::{KeyDesk, KeyError, KeyProblem, tools};
use crate::auth::SessionError;
use crate::clock::Timestamp;
use crate::id::{KeyId, RequestId};
use crate::observe::{Actor, AuditAction};
use crate::secret::Secret;
use crate::store::{
    KeyRecord, KeyRotated, KeyRotation, RotateKey, SessionOwner, SessionParent, StoreError,
};
use crate::token::OpaqueKind;

/// A wish for another secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateKeyRequest {
    /// How long the old secret goes on working; zero ends it at once.
    pub overlap: Duration,
    /// Names the wish: asked again under the same name, the answer is the same.
    pub request: RequestId,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct RotatedKey {
    /// The key as it is now.
    pub record: KeyRecord,
    /// Its new secret.
    pub secret: Secret,
    /// When the old one stops working.
    pub previous_ends_at: Timestamp,
    /// Sessions that were ended with it.
    pub sessions_ended: usize,
}

/// How far a rotation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRotationStatus {
    /// When the key was rotated.
    pub rotated_at: Timestamp,
    /// When the new secret was last seen.
    pub last_seen: Option<Timestamp>,
    /// When the old secret was last seen.
    pub previous_last_seen: Option<Timestamp>,
    /// When the old secret stops working.
    pub previous_ends_at: Timestamp,
}

/// The longest time for which two secrets work.
const LONGEST_OVERLAP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl KeyDesk {
    /// Gives a key another secret. It is in this answer, and in that to the same wish.
    pub async fn rotate(
        &self,
        id: &KeyId,
        request: RotateKeyRequest,
        actor: Actor,
    ) -> Result<RotatedKey, KeyError> {
        if request.overlap > LONGEST_OVERLAP {
            return Err(KeyProblem::Overlap.into());
        }
        let environment = self.show(id).await?.environment;
        // No id holds a line end.
        let wish = format!("rotate key\n{id}\n{}", request.request);
        let mint = |bits: &[u8; 32]| self.format.mint_from(OpaqueKind::ApiKey(environment), bits);
        let peppers = self.peppers.load();
        let minted = mint(tools::answer(&peppers, &wish).as_bytes());
        let rotation = KeyRotation {
            id: id.clone(),
            digest: peppers.current().digest(minted.secret.expose()),
            hint: minted.hint,
            request: request.request,
            overlap: request.overlap,
            at: self.clock.now(),
        };
        let (rotated, is_new) = match self.store.rotate_key(rotation).await? {
            RotateKey::Rotated(rotated) => (rotated, true),
            RotateKey::Repeated(rotated) => (rotated, false),
            RotateKey::DigestTaken => {
                let text = "a new secret is another key's already".into();
                return Err(StoreError::Corrupt(text).into());
            }
            RotateKey::Expired => return Err(KeyProblem::KeyExpired.into()),
            RotateKey::Overlapping(until) => return Err(KeyProblem::Overlapping(until).into()),
            RotateKey::Revoked => return Err(KeyProblem::KeyRevoked.into()),
            RotateKey::Unknown => return Err(KeyError::Unknown(id.clone())),
        };
        // The pepper may have changed since; when the one of then is gone, so is the secret.
        let minted = tools::answer_again(&peppers, &wish, &rotated.current, mint)
            .ok_or(KeyProblem::AnswerLost)?;
        // Also when it is repeated: a crash may have come in between.
        let sessions_ended = self.end_sessions(id, &rotated, is_new, actor).await?;
        let record = self.show(id).await?;
        if is_new {
            self.tell(AuditAction::KeyRotate, actor, &record).await;
        }
        Ok(RotatedKey {
            record,
            secret: minted.secret,
            previous_ends_at: rotated.previous_ends_at,
            sessions_ended,
        })
    }

    /// How far the last rotation of a key has come; `None` where it never was rotated.
    pub async fn rotation(&self, id: &KeyId) -> Result<Option<KeyRotationStatus>, KeyError> {
        let Some(rotated) = self.store.key_rotation(id).await? else {
            return Ok(None);
        };
        let digests = vec![rotated.current, rotated.previous];
        let seen = self.store.last_seen(digests).await?;
        let seen = |place: usize| seen.get(place).copied().flatten();
        Ok(Some(KeyRotationStatus {
            rotated_at: rotated.at,
            last_seen: seen(0),
            previous_last_seen: seen(1),
            previous_ends_at: rotated.previous_ends_at,
        }))
    }

    async fn end_sessions(
        &self,
        id: &KeyId,
        rotated: &KeyRotated,
        is_new: bool,
        actor: Actor,
    ) -> Result<usize, KeyError> {
        if rotated.previous_ends_at > rotated.at {
            return Ok(0);
        }
        let owner = SessionOwner::Parent(SessionParent::Key(id.clone()));
        let ended = if is_new {
            self.sessions.end_all(&owner, actor).await
        } else {
            // Not those that the new secret gave since.
            let until = rotated.at;
            self.sessions.end_made_until(&owner, until, actor).await
        };
        match ended {
            Ok(ended) => Ok(ended.len()),
            Err(SessionError::Store(error)) => Err(error.into()),
            // Only a wish for one session can be a wrong one.
            Err(
                SessionError::ParentEnded | SessionError::Problem(_) | SessionError::Unknown(_),
            ) => Ok(0),
        }
    }
}
