//! Access tokens (RFC 9068) verified here, with the issuers' public keys and nothing else.
//!
//! Not here: the revocation log, whose verdict on a [`VerifiedToken`] is the authenticator's.
//! Invariants: a token is judged by the one issuer that its `iss` names, never tried with a
//! second; the cache holds only tokens that passed everything, under a hash of the whole token,
//! and each use checks `exp` and the issuer's key set again; an issuer without a key set is
//! [`Unavailable::Jwks`](super::Unavailable::Jwks), never a verdict.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::observe::Metrics;
use crate::token::jwt::{InvalidJwt, InvalidKeySet, MAX_LEN, UnverifiedJwt};

use super::failure::{Failure, Refusal};
use super::front::Booking;
use super::principal::Holder;
use super::{IssuerRevocation, IssuerSettings};
use cache::{Cached, Freshness, TokenCache, TokenHash};
use issuer::Issuer;

mod cache;
mod claims;
mod issuer;
mod jwks;

pub use jwks::{InvalidJwksUrl, OwnKeys};

/// How long the start waits for the first key sets.
const PREFETCH_DEADLINE: Duration = Duration::from_secs(5);

/// Verifies access tokens. One for all workers; made anew when the configuration changes.
pub struct AccessTokens {
    issuers: Vec<Issuer>,
    cache: TokenCache,
    clock: Clock,
    hits: IntCounter,
    misses: IntCounter,
}

/// What a verified token says. Whether it was revoked is still to be asked.
pub struct VerifiedToken {
    pub(super) identity: Arc<Holder>,
    /// `sub` as our own authorization server wrote it: users are denied by that name.
    pub(super) own_subject: Option<String>,
    pub(super) revocation: IssuerRevocation,
}

/// Why tokens of the configured issuers cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum AccessTokensError {
    /// A CA file that cannot be read or holds no certificate.
    #[error("the CA file {} cannot be used", .path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// The same `iss` twice: which entry's rules would count?
    #[error("the issuer {0} is configured twice")]
    DuplicateIssuer(String),
    /// The key set file cannot be read.
    #[error("the key set {} cannot be read", .path.display())]
    KeySetFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// The key set file holds no usable key set.
    #[error("the key set {} cannot be used", .path.display())]
    KeySet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: InvalidKeySet,
    },
    /// The key set's URL cannot be fetched from.
    #[error("the key set URL of the issuer {issuer} cannot be used")]
    Url {
        /// The issuer.
        issuer: String,
        /// What is wrong.
        #[source]
        source: InvalidJwksUrl,
    },
}

impl AccessTokens {
    /// Reads the key set files and starts fetching the others on the control runtime.
    pub fn new(
        issuers: &[IssuerSettings],
        clock: Clock,
        metrics: &Arc<Metrics>,
        control: &Handle,
        cache_capacity: u64,
    ) -> Result<AccessTokens, AccessTokensError> {
        let own = OwnKeys::default();
        AccessTokens::with_own_keys(issuers, &own, clock, metrics, control, cache_capacity)
    }

    /// Also accepts what the gateway's own authorization server signs.
    pub fn with_own_keys(
        issuers: &[IssuerSettings],
        own: &OwnKeys,
        clock: Clock,
        metrics: &Arc<Metrics>,
        control: &Handle,
        cache_capacity: u64,
    ) -> Result<AccessTokens, AccessTokensError> {
        let mut known: Vec<Issuer> = Vec::with_capacity(issuers.len());
        for settings in issuers {
            if known.iter().any(|other| other.name() == settings.issuer) {
                let name = settings.issuer.clone();
                return Err(AccessTokensError::DuplicateIssuer(name));
            }
            known.push(Issuer::new(settings, own, metrics, control)?);
        }
        let lookups = |outcome| {
            let family = &metrics.credential_cache;
            family.with_label_values(&["access_token", outcome])
        };
        Ok(AccessTokens {
            issuers: known,
            cache: TokenCache::new(cache_capacity),
            clock,
            hits: lookups("hit"),
            misses: lookups("miss"),
        })
    }

    /// Verifies a token, or finds that it was verified a moment ago.
    pub async fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, Failure> {
        // Before the hash: what cannot be a token costs nothing.
        if token.len() > MAX_LEN {
            return Err(Failure::Refused(Refusal::Malformed));
        }
        let hash = TokenHash::of(token);
        if let Some(cached) = self.known(&hash).await {
            self.hits.inc();
            return self.unless_ended(&cached);
        }
        self.misses.inc();
        // Boxed: rare, and large, since it may wait for a key set.
        Box::pin(self.examine(token, hash)).await
    }

    /// Waits until every fetched key set was tried once, at most 5 s. A failure is no reason not
    /// to start: that issuer's tokens are 503 until its keys are there.
    pub async fn prefetch(&self) {
        let all = async {
            for issuer in &self.issuers {
                issuer.keys().first_attempt().await;
            }
        };
        if timeout(PREFETCH_DEADLINE, all).await.is_err() {
            tracing::warn!("not every key set could be fetched before the start");
        }
    }

    /// Whether tokens of this issuer are accepted at all.
    pub(super) fn trusts(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|known| known.name() == issuer)
    }

    /// A qualified subject as our own authorization server wrote it: users are denied by that name.
    pub(super) fn own_subject<'a>(&self, subject: &'a str) -> Option<&'a str> {
        let mut own = self.issuers.iter().filter(|issuer| issuer.is_own());
        own.find_map(|issuer| subject.strip_prefix(issuer.name())?.strip_prefix('|'))
    }

    /// The issuers that have no key set now: their tokens are 503.
    pub fn readiness(&self) -> Vec<&str> {
        let without = |issuer: &&Issuer| issuer.keys().generation().is_none();
        self.issuers
            .iter()
            .filter(without)
            .map(Issuer::name)
            .collect()
    }

    /// A cached token whose issuer still has the key set that it was verified with.
    async fn known(&self, hash: &TokenHash) -> Option<Arc<Cached>> {
        let cached = self.cache.get(hash).await?;
        let issuer = self.issuers.get(cached.issuer)?;
        (issuer.keys().generation() == Some(cached.generation)).then_some(cached)
    }

    fn unless_ended(&self, cached: &Cached) -> Result<Arc<VerifiedToken>, Failure> {
        if self.clock.now() < cached.end {
            Ok(Arc::clone(&cached.token))
        } else {
            Err(Failure::Refused(Refusal::Expired))
        }
    }

    /// The whole examination, from the cheapest check to the dearest.
    async fn examine(&self, token: &str, hash: TokenHash) -> Result<Arc<VerifiedToken>, Failure> {
        let (jwt, position) = self.screen(token).map_err(Failure::Refused)?;
        let issuer = &self.issuers[position];
        let key = issuer.keys().find(jwt.key_id(), jwt.algorithm()).await?;
        let now = self.clock.now();
        let claims = jwt.verify(key.key()).map_err(Refusal::from);
        let verified = claims
            .and_then(|claims| issuer.judge(&claims, &hash, now))
            .map_err(Failure::Refused)?;
        let token = Arc::new(verified.token);
        let cached = Cached {
            hash,
            token: Arc::clone(&token),
            issuer: position,
            generation: key.generation(),
            end: verified.end,
            freshness: Freshness::until(verified.end, now),
            booking: Booking::default(),
        };
        self.cache.insert(cached).await;
        Ok(token)
    }

    /// What can be said without a key: the form, whose token it claims to be, and whether that
    /// issuer makes such tokens.
    fn screen<'a>(&self, token: &'a str) -> Result<(UnverifiedJwt<'a>, usize), Refusal> {
        let jwt = UnverifiedJwt::parse(token)?;
        let name = jwt.claimed_issuer();
        let mut issuers = self.issuers.iter();
        let position = issuers
            .position(|issuer| issuer.name() == name)
            .ok_or(Refusal::Issuer)?;
        self.issuers[position].screen(&jwt)?;
        Ok((jwt, position))
    }
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.issuers.iter().map(Issuer::name);
        f.debug_list().entries(names).finish()
    }
}

/// The public parts only: a subject is about a person.
impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("credential_id", &self.identity.credential_id)
            .field("issued_at", &self.identity.issued_at)
            .field("jti", &self.identity.jti)
            .field("grant", &self.identity.grant)
            .field("revocation", &self.revocation)
            .finish_non_exhaustive()
    }
}

impl From<InvalidJwt> for Refusal {
    fn from(invalid: InvalidJwt) -> Refusal {
        match invalid {
            InvalidJwt::Algorithm => Refusal::Algorithm,
            InvalidJwt::Issuer => Refusal::Claims,
            InvalidJwt::Malformed => Refusal::Malformed,
            InvalidJwt::Protected => Refusal::Protected,
            InvalidJwt::Signature => Refusal::Signature,
            InvalidJwt::TokenType => Refusal::TokenType,
        }
    }
}

#[cfg(test)]
mod tests;
