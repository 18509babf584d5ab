//! Revoking what is shown: an operator holds a credential that got out, and not its name.
//!
//! What it is follows from its shape, as with requests. Not here: how each kind is revoked, which
//! the desks do that know them, each with its own audit line. Invariants: the text goes no further
//! than its digest, and into no error, log or answer; an access token is revoked only if its issuer
//! made it: nobody has others' tokens revoked by a forgery that they hand to an operator.

use std::sync::Arc;

use super::{KeyDesk, KeyError};
use crate::auth::{
    Credential, Failure, Refusal, RevokeTokens, RevokedTokens, SessionError, TokenError, TokenName,
    TokenSelection, VerifiedToken,
};
use crate::clock::Timestamp;
use crate::id::GrantId;
use crate::observe::Actor;
use crate::secret::Secret;
use crate::store::{KeyRecord, RevokeKey, StoreError};
use crate::token::RefreshTokens;

/// What a shown credential was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownKind {
    /// One access token, by its `jti`.
    AccessToken,
    /// An API key, by any secret of it that works: the key is revoked.
    ApiKey,
    /// A code: its grant is ended.
    AuthorizationCode,
    /// A refresh token of any age: its grant is ended.
    RefreshToken,
    /// A session: it is ended.
    Session,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedShown {
    /// What it was.
    pub kind: ShownKind,
    /// The name of what was revoked: a `jti`, or the id of a key, a grant or a session.
    pub id: String,
    /// Since when it is refused.
    pub at: Timestamp,
    /// Grants that were ended by this.
    pub grants: Vec<GrantId>,
}

/// Why nothing was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShownProblem {
    /// Whose it is cannot be told from it.
    #[error(
        "it is a client's secret, which does not say whose: `client rotate-secret ID --overlap 0s` \
         ends it"
    )]
    ClientSecret,
    /// Mistyped or cut off.
    #[error("it is damaged: a character is wrong or missing")]
    Damaged,
    /// Nobody takes it any more.
    #[error("the access token has expired: nobody takes it any more")]
    Expired,
    /// No denial could name it.
    #[error("the access token has no `jti` that could be denied: revoke its subject or its client")]
    Nameless,
    /// Its issuer did not make it, or not for here.
    #[error("no issuer of `access_tokens` stands for this access token ({0}): nobody takes it")]
    NotAccepted(&'static str),
    /// There is nothing of the kind.
    #[error("nothing here is known by it")]
    Unknown,
    /// The keys of its issuer are not at hand.
    #[error(
        "whether the issuer made this access token cannot be known now ({0}): try again, or revoke \
         it by `--jti`"
    )]
    Unverified(&'static str),
}

/// Why the desk could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ShownError {
    /// As the key desk says it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Nothing was revoked.
    #[error(transparent)]
    Problem(#[from] ShownProblem),
    /// As the session desk says it.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The store did not take part; whether a change was written is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// As the token desk says it.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl KeyDesk {
    /// Whether a text has the shape of an access token: then it is to be verified first, for
    /// [`KeyDesk::revoke_access_token`].
    pub fn is_access_token(&self, shown: &Secret) -> bool {
        matches!(
            Credential::read(shown.expose(), &self.form),
            Credential::AccessToken(_)
        )
    }

    /// Revokes an access token, given what its verification came to.
    pub async fn revoke_access_token(
        &self,
        verified: Result<Arc<VerifiedToken>, Failure>,
        actor: Actor,
    ) -> Result<RevokedShown, ShownError> {
        let token = verified.map_err(|failure| match failure {
            Failure::Absent => ShownProblem::Unknown,
            Failure::Refused(Refusal::Expired) => ShownProblem::Expired,
            Failure::Refused(refusal) => ShownProblem::NotAccepted(refusal.label()),
            Failure::Unavailable(why) => ShownProblem::Unverified(why.label()),
        })?;
        let identity = &token.identity;
        let name = identity.jti.as_deref().map(TokenName::parse);
        let Some(Ok(name)) = name else {
            return Err(ShownProblem::Nameless.into());
        };
        let id = name.as_str().to_owned();
        let wish = RevokeTokens {
            tokens: TokenSelection::Jti(name),
            issuer: identity.issuer.clone(),
        };
        let revoked = self.tokens.revoke(&wish, actor).await?;
        Ok(RevokedShown::new(ShownKind::AccessToken, id, revoked))
    }

    /// Revokes what a credential of any other kind stands for.
    pub async fn revoke_shown(
        &self,
        shown: &Secret,
        actor: Actor,
    ) -> Result<RevokedShown, ShownError> {
        let text = shown.expose();
        match Credential::read(text, &self.form) {
            Credential::ApiKey(text) => self.revoke_shown_key(text, actor).await,
            Credential::Session(text) => self.end_shown_session(text, actor).await,
            Credential::Refused { refusal, .. } => match refusal {
                Refusal::Checksum => Err(ShownProblem::Damaged.into()),
                Refusal::Foreign => self.end_shown_grant(text, actor).await,
                _ => Err(ShownProblem::Unknown.into()),
            },
            Credential::Absent | Credential::AccessToken(_) => Err(ShownProblem::Unknown.into()),
        }
    }

    async fn revoke_shown_key(&self, text: &str, actor: Actor) -> Result<RevokedShown, ShownError> {
        let record = self.key_of(text).await?.ok_or(ShownProblem::Unknown)?;
        let (RevokeKey::Revoked(revoked) | RevokeKey::AlreadyRevoked(revoked)) =
            self.revoke(&record.id, actor).await?
        else {
            return Err(ShownProblem::Unknown.into());
        };
        Ok(RevokedShown {
            kind: ShownKind::ApiKey,
            id: revoked.id.to_string(),
            at: revoked.revoked_at.unwrap_or_else(|| self.now()),
            grants: Vec::new(),
        })
    }

    async fn key_of(&self, text: &str) -> Result<Option<KeyRecord>, StoreError> {
        for digest in self.peppers.load().digests(text).all() {
            if let Some(record) = self.store.key_by_digest(&digest).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    async fn end_shown_session(
        &self,
        text: &str,
        actor: Actor,
    ) -> Result<RevokedShown, ShownError> {
        let mut found = None;
        for digest in self.peppers.load().digests(text).all() {
            found = found.or(self.store.session_by_digest(&digest).await?);
        }
        let session = found.ok_or(ShownProblem::Unknown)?;
        let ended = self.sessions.end(&session.id, actor).await?;
        Ok(RevokedShown {
            kind: ShownKind::Session,
            id: ended.id.to_string(),
            at: ended.ended_at.unwrap_or_else(|| self.now()),
            grants: Vec::new(),
        })
    }

    /// Of a refresh token, be it the newest or an older one, or of a code, used or not.
    async fn end_shown_grant(&self, text: &str, actor: Actor) -> Result<RevokedShown, ShownError> {
        let peppers = self.peppers.load();
        let refresh_tokens = RefreshTokens::new(self.format.clone(), &peppers);
        let (kind, id) = if let Some(token) = refresh_tokens.read(text) {
            (ShownKind::RefreshToken, token.grant)
        } else if let Some(id) = self.format.grant_of_code(text) {
            let grant = self.store.grant(&id).await?;
            let digests = peppers.digests(text);
            if !grant.is_some_and(|grant| digests.contains(&grant.code.digest)) {
                return Err(ShownProblem::Unknown.into());
            }
            (ShownKind::AuthorizationCode, id)
        } else if self.format.is_client_secret(text) {
            return Err(ShownProblem::ClientSecret.into());
        } else {
            return Err(ShownProblem::Damaged.into());
        };
        let wish = RevokeTokens {
            tokens: TokenSelection::Grant(id),
            issuer: None,
        };
        match self.tokens.revoke(&wish, actor).await {
            Ok(revoked) => Ok(RevokedShown::new(kind, id.to_string(), revoked)),
            Err(TokenError::UnknownGrant(_)) => Err(ShownProblem::Unknown.into()),
            Err(error) => Err(error.into()),
        }
    }
}

impl RevokedShown {
    fn new(kind: ShownKind, id: String, revoked: RevokedTokens) -> RevokedShown {
        RevokedShown {
            kind,
            id,
            at: revoked.at,
            grants: revoked.grants,
        }
    }
}
