//! One issuer: its keys, and its rules for tokens in the order in which they are checked.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::auth::principal::{Holder, Identity};
use crate::auth::{CredentialKind, IssuerSettings, JwksSource, TokenType};
use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::CredentialId;
use crate::observe::Metrics;
use crate::token::jwt::{Members, UnverifiedJwt};

use super::cache::TokenHash;
use super::claims::Claims;
use super::jwks::{Keys, OwnKeys};
use super::{AccessTokensError, Refusal, VerifiedToken};

/// The `typ` of an access token, without `application/` (RFC 9068 §2.1).
const ACCESS_TOKEN: &str = "at+jwt";
/// The end of every explicit type (RFC 8725 §3.11).
const EXPLICIT: &str = "+jwt";

pub(super) struct Issuer {
    settings: IssuerSettings,
    keys: Keys,
}

/// A token that passed every rule, and the instant from which on it is expired.
pub(super) struct Judged {
    pub(super) token: VerifiedToken,
    pub(super) end: Timestamp,
}

impl Issuer {
    pub(super) fn new(
        settings: &IssuerSettings,
        own: &OwnKeys,
        metrics: &Arc<Metrics>,
        control: &Handle,
    ) -> Result<Issuer, AccessTokensError> {
        Ok(Issuer {
            keys: Keys::new(settings, own, metrics, control)?,
            settings: settings.clone(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.issuer
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether this issuer makes tokens with such a header.
    pub(super) fn screen(&self, jwt: &UnverifiedJwt<'_>) -> Result<(), Refusal> {
        if !self.accepts_type(jwt.token_type()) {
            return Err(Refusal::TokenType);
        }
        if !self.settings.algorithms.contains(&jwt.algorithm()) {
            return Err(Refusal::Algorithm);
        }
        Ok(())
    }

    /// Applies every rule to claims whose signature was checked.
    pub(super) fn judge(
        &self,
        claims: &Members,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<Judged, Refusal> {
        self.refuse_other_tokens(claims)?;
        let claims = Claims::read(claims)?;
        if self.settings.token_type == TokenType::AccessToken && claims.issued_at.is_none() {
            return Err(Refusal::Claims);
        }
        let audience = claims.audience_among(&self.settings.audiences);
        let audience = audience.ok_or(Refusal::Audience)?;
        self.check_times(&claims, now)?;
        // RFC 7800 §3.1: whoever cannot check the proof must not take the token.
        if claims.is_bound() {
            return Err(Refusal::ProofRequired);
        }
        Ok(Judged {
            token: self.verified(&claims, audience, hash),
            end: claims.expires_at.plus(self.settings.clock_skew),
        })
    }

    /// RFC 9068 §4 for the strict kind. For the other, an explicit type still counts: a token
    /// that says what it is, and is no access token, is none.
    fn accepts_type(&self, name: Option<&str>) -> bool {
        match self.settings.token_type {
            TokenType::AccessToken => name == Some(ACCESS_TOKEN),
            TokenType::Any => {
                name.is_none_or(|name| name == ACCESS_TOKEN || !name.ends_with(EXPLICIT))
            }
        }
    }

    /// RFC 8725 §3.12: without a type, a claim must tell an access token from an ID token.
    fn refuse_other_tokens(&self, claims: &Members) -> Result<(), Refusal> {
        let has_one_of = |names: &[&str]| names.iter().any(|name| claims.contains(name));
        let by_claims = self.settings.token_type == TokenType::Any;
        if by_claims
            && (!has_one_of(&["client_id", "azp", "scope", "scp"])
                // OpenID Connect Core §3.3.2.11: only ID tokens have these.
                || has_one_of(&["at_hash", "c_hash"]))
        {
            return Err(Refusal::TokenType);
        }
        Ok(())
    }

    fn check_times(&self, claims: &Claims<'_>, now: Timestamp) -> Result<(), Refusal> {
        let skew = self.settings.clock_skew;
        // RFC 7519 §4.1.4: not "on or after" the expiration time.
        if claims.expires_at <= now.minus(skew) {
            return Err(Refusal::Expired);
        }
        let latest = now.plus(skew);
        if [claims.not_before, claims.issued_at]
            .into_iter()
            .flatten()
            .any(|from| from > latest)
        {
            return Err(Refusal::NotYetValid);
        }
        let begin = claims.issued_at.unwrap_or(now);
        if claims.expires_at.since(begin) > self.settings.max_lifetime {
            return Err(Refusal::Lifetime);
        }
        Ok(())
    }

    /// Whether it is our own authorization server.
    pub(super) fn is_own(&self) -> bool {
        match self.settings.jwks {
            JwksSource::Builtin => true,
            JwksSource::File(_) | JwksSource::Url { .. } => false,
        }
    }

    fn verified(&self, claims: &Claims<'_>, audience: &str, hash: &TokenHash) -> VerifiedToken {
        let earliest = claims.expires_at.minus(self.settings.max_lifetime);
        let issued_at = claims.issued_at.unwrap_or(earliest);
        let own_id = claims.id.and_then(|id| CredentialId::parse(id).ok());
        let identity = Identity {
            kind: CredentialKind::AccessToken,
            credential_id: own_id.unwrap_or_else(|| short_id(hash)),
            // Qualified, so that no issuer can name a subject of another, or one of our accounts.
            subject: format!("{}|{}", self.settings.issuer, claims.subject),
            account: match self.settings.token_type {
                TokenType::AccessToken => claims.account.clone(),
                // A token that cannot even say that it is an access token names no account.
                TokenType::Any => None,
            },
            client_id: claims.client.map(str::to_owned),
            issuer: Some(self.settings.issuer.clone()),
            // Our audiences are our resources; those of others are names, any of which is enough.
            resource: self.is_own().then(|| audience.into()),
            grant: claims.grant.map(str::to_owned),
            jti: claims.id.map(str::to_owned),
            issued_at,
            scopes: claims.scopes.clone(),
            environment: Environment::Live,
            allowed_ips: Vec::new(),
            not_before: claims.not_before,
            expires_at: Some(claims.expires_at),
        };
        VerifiedToken {
            identity: Arc::new(Holder::from(identity)),
            own_subject: self.is_own().then(|| claims.subject.to_owned()),
            revocation: self.settings.revocation,
        }
    }
}

fn short_id(hash: &TokenHash) -> CredentialId {
    CredentialId::parse(&hash.short_id()).expect("20 characters of the base64url alphabet")
}
