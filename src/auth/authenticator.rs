//! One credential in, one principal or the reason why not out.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::clock::{Clock, Timestamp};
use crate::id::{AccountId, FamilyId, KeyId};
use crate::observe::Metrics;
use crate::secret::Peppers;
use crate::store::{DenialKind, Store};

use super::access_token::{AccessTokens, VerifiedToken};
use super::api_key::ApiKeys;
use super::cache::RecordCache;
use super::credential::{Credential, CredentialForm};
use super::csrf::CsrfKeys;
use super::follower::{Caches, Follower};
use super::look_ups::Source;
use super::repepper::Repepper;
use super::revocation::Revocation;
use super::session::Sessions;
use super::shown_secret::ShownSecret;
use super::sight::{Occasion, Witness};
use super::tally::Tally;
use super::usage::UsageBook;
use super::{CredentialSettings, Failure, IssuerRevocation, Principal, Refusal, Unavailable};

/// Verifies credentials of every kind. One per process, shared by its workers.
#[derive(Debug)]
pub struct Authenticator {
    form: CredentialForm,
    csrf: Arc<CsrfKeys>,
    api_keys: Arc<ApiKeys>,
    sessions: Arc<Sessions>,
    access_tokens: AccessTokens,
    revocation: Arc<Revocation>,
    tally: Arc<Tally>,
    usage: Arc<UsageBook>,
}

impl Authenticator {
    /// Also gives the follower that feeds it: until that runs, nothing is verified.
    ///
    /// The store is only ever called on `control`, so that a client that goes away aborts no
    /// load that others wait for, and the store's connections live on one runtime.
    pub fn new(
        settings: &CredentialSettings,
        access_tokens: AccessTokens,
        revocation: Arc<Revocation>,
        store: Arc<dyn Store>,
        control: Handle,
        clock: Clock,
        metrics: &Metrics,
    ) -> (Authenticator, Follower) {
        let cache = settings.cache;
        let usage = Arc::new(UsageBook::new(Arc::clone(&store), clock.clone(), metrics));
        let source = Source::new(Arc::clone(&store), Arc::clone(&usage), control.clone());
        let caches = Caches {
            keys: RecordCache::new(cache, source.clone(), metrics).into(),
            sessions: RecordCache::new(cache, source, metrics).into(),
        };
        let (witness, sights) = Witness::new(Arc::clone(&store));
        let peppers = &settings.peppers;
        let authenticator = Authenticator {
            form: CredentialForm::new(settings),
            csrf: CsrfKeys::new(peppers).into(),
            api_keys: Arc::new(ApiKeys {
                peppers: peppers.clone(),
                repepper: Repepper::new(Arc::clone(&store), control),
                cache: Arc::clone(&caches.keys),
                revocation: Arc::clone(&revocation),
                witness: witness.clone(),
                clock: clock.clone(),
            }),
            sessions: Arc::new(Sessions {
                peppers: peppers.clone(),
                cache: Arc::clone(&caches.sessions),
                revocation: Arc::clone(&revocation),
                witness,
                clock: clock.clone(),
            }),
            access_tokens,
            revocation: Arc::clone(&revocation),
            tally: Arc::new(Tally::new(metrics)),
            usage: Arc::clone(&usage),
        };
        let beside = (sights, usage);
        let follower = Follower::new(store, revocation, caches, beside, clock, metrics);
        (authenticator, follower)
    }

    /// The same with other issuers and peppers, as a reload brings them: what is cached of keys
    /// and known of revocations stays.
    pub fn renewed(&self, access_tokens: AccessTokens, peppers: &Peppers) -> Authenticator {
        Authenticator {
            form: self.form.clone(),
            csrf: CsrfKeys::new(peppers).into(),
            api_keys: Arc::new(self.api_keys.with_peppers(peppers.clone())),
            sessions: Arc::new(self.sessions.with_peppers(peppers.clone())),
            access_tokens,
            revocation: Arc::clone(&self.revocation),
            tally: Arc::clone(&self.tally),
            usage: Arc::clone(&self.usage),
        }
    }

    /// Reads the keys that the store has at hand into the cache: to be done once, when the revocation
    /// log was read.
    pub async fn warm_up(&self, store: &dyn Store) {
        self.api_keys.warm_up(store, &self.usage).await;
    }

    /// What credentials look like here, for [`Credential::extract`].
    pub fn form(&self) -> &CredentialForm {
        &self.form
    }

    /// What pages show besides their session cookie.
    pub fn csrf(&self) -> &CsrfKeys {
        &self.csrf
    }

    /// The issuers whose key set was never had: their tokens are 503.
    pub fn issuers_without_keys(&self) -> Vec<&str> {
        self.access_tokens.readiness()
    }

    /// The not-before list and its lease.
    pub fn revocation(&self) -> &Arc<Revocation> {
        &self.revocation
    }

    /// Whether all tokens of a grant are revoked, as far as this instance has seen.
    pub fn denies_family(&self, family: &FamilyId) -> bool {
        // Absolute: when it was issued does not count.
        let issued_at = Timestamp::from_secs(0);
        let mark = (DenialKind::Grant, family.as_str());
        self.revocation.denies(issued_at, [mark])
    }

    /// What keys are used for.
    pub fn usage(&self) -> &Arc<UsageBook> {
        &self.usage
    }

    /// Whose credential this is that a request from `client` shows, for a resource of ours, as `aud`
    /// names it; `None` is one that nothing is said of. Counted. Whether it may be used from there
    /// is for whoever asks to check; only if so is it a use that moves "last seen".
    pub async fn authenticate(
        &self,
        credential: Credential<'_>,
        client: IpAddr,
        resource: Option<&str>,
    ) -> Result<Principal, Failure> {
        let kind = credential.kind();
        let verdict = self.verify(credential, Occasion::Use(client)).await;
        let verdict = for_resource(verdict, resource);
        self.tally.count(kind, &verdict);
        verdict
    }

    /// The same verdict, neither counted nor a use that moves "last seen": for whoever only asks.
    pub async fn inspect(
        &self,
        credential: Credential<'_>,
        resource: Option<&str>,
    ) -> Result<Principal, Failure> {
        let verdict = self.verify(credential, Occasion::Inquiry).await;
        for_resource(verdict, resource)
    }

    async fn verify(
        &self,
        credential: Credential<'_>,
        occasion: Occasion,
    ) -> Result<Principal, Failure> {
        match credential {
            Credential::Absent => Err(Failure::Absent),
            Credential::AccessToken(token) => {
                let token = self.access_tokens.verify(token).await?;
                judge_token(&token, &self.revocation)
            }
            Credential::ApiKey(key) => self.api_keys.verify(key, occasion).await,
            Credential::Refused { refusal, .. } => Err(Failure::Refused(refusal)),
            Credential::Session(token) => {
                let tokens = &self.access_tokens;
                self.sessions.verify(token, tokens, occasion).await
            }
        }
    }

    /// What an access token says, be it revoked or not: for whoever revokes it.
    pub async fn read_access_token(&self, token: &str) -> Result<Arc<VerifiedToken>, Failure> {
        self.access_tokens.verify(token).await
    }

    /// The secret that a request shows, where it is an API key's: for what lives longer than a
    /// verdict ([`ShownSecret`]). What else gives sessions is denied by name.
    pub fn shown_secret(&self, credential: &Credential<'_>) -> Option<ShownSecret> {
        match credential {
            Credential::ApiKey(text) => Some(self.api_keys.shown_secret(text)),
            Credential::Absent
            | Credential::AccessToken(_)
            | Credential::Refused { .. }
            | Credential::Session(_) => None,
        }
    }

    /// Which API key was exposed, be it good or not: for the log and for `plaintext_credentials:
    /// revoke`. `None` is: no key of ours.
    pub async fn identify(&self, exposed: Credential<'_>) -> Result<Option<KeyId>, Unavailable> {
        match exposed {
            Credential::ApiKey(key) => self.api_keys.identify(key).await,
            Credential::Absent
            | Credential::AccessToken(_)
            | Credential::Refused { .. }
            | Credential::Session(_) => Ok(None),
        }
    }
}

/// RFC 8707 §2: a token of our own, and what it gave, is for one resource, and opens no other.
fn for_resource(
    verdict: Result<Principal, Failure>,
    resource: Option<&str>,
) -> Result<Principal, Failure> {
    match verdict {
        Ok(principal) if !principal.is_for(resource) => Err(Failure::Refused(Refusal::Audience)),
        verdict => verdict,
    }
}

/// A token that is good by itself: whether it was revoked. Asked on every use.
fn judge_token(token: &VerifiedToken, revocation: &Revocation) -> Result<Principal, Failure> {
    match token.revocation {
        // interface.md §7.1: these pass to their `exp`, whatever the lease says.
        IssuerRevocation::None => {}
        IssuerRevocation::Log => {
            revocation.require_fresh()?;
            if revocation.denies(token.identity.issued_at, marks(token)) {
                return Err(Failure::Refused(Refusal::Revoked));
            }
        }
    }
    Ok(Principal::new(Arc::clone(&token.identity)))
}

/// Everything by which a token can be denied.
fn marks(token: &VerifiedToken) -> impl Iterator<Item = (DenialKind, &str)> {
    let identity = &token.identity;
    let account = identity.account.as_ref().map(AccountId::as_str);
    [
        (DenialKind::Jti, identity.jti.as_deref()),
        (DenialKind::Grant, identity.grant.as_deref()),
        (DenialKind::Client, identity.client_id.as_deref()),
        (DenialKind::Subject, Some(identity.subject.as_str())),
        (DenialKind::Subject, token.own_subject.as_deref()),
        (DenialKind::Account, account),
        (DenialKind::Issuer, identity.issuer.as_deref()),
    ]
    .into_iter()
    .filter_map(|(kind, id)| Some((kind, id?)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use crate::auth::principal::{Holder, Identity};
    use crate::auth::{CacheSettings, CredentialKind};
    use crate::environment::Environment;
    use crate::id::CredentialId;
    use crate::scope::ScopeSet;
    use crate::store::Denial;

    use super::*;

    const ISSUED: Timestamp = Timestamp::from_secs(1_790_000_000);
    const REVOKED: Failure = Failure::Refused(Refusal::Revoked);

    fn token(revocation: IssuerRevocation) -> VerifiedToken {
        let identity = Identity {
            kind: CredentialKind::AccessToken,
            credential_id: CredentialId::parse("jti-1").expect("id"),
            subject: "https://idp.example|sub-1".into(),
            account: Some(AccountId::parse("acct_1").expect("id")),
            client_id: Some("client-1".into()),
            issuer: Some("https://idp.example".into()),
            resource: None,
            grant: Some("grant-1".into()),
            jti: Some("jti-1".into()),
            issued_at: ISSUED,
            scopes: ScopeSet::empty(),
            environment: Environment::Live,
            allowed_ips: Vec::new(),
            not_before: None,
            expires_at: None,
        };
        VerifiedToken {
            identity: Arc::new(Holder::from(identity)),
            own_subject: Some("usr_1".into()),
            revocation,
        }
    }

    fn revocation(denials: &[(DenialKind, &str, Timestamp)]) -> Revocation {
        let cache = CacheSettings {
            capacity: 1,
            fresh: Duration::from_secs(60),
            stale: Duration::from_secs(300),
            negative: Duration::from_secs(2),
        };
        let revocation = Revocation::new(&cache, &[]);
        let denials = denials.iter().map(|(kind, id, at)| Denial {
            kind: *kind,
            id: (*id).into(),
            at: *at,
        });
        revocation.deny(denials, ISSUED);
        revocation.confirm(Instant::now());
        revocation
    }

    #[tokio::test(start_paused = true)]
    async fn row_111_each_kind_of_denial_hits_the_tokens_that_it_names() {
        let token = token(IssuerRevocation::Log);
        for (kind, id) in [
            (DenialKind::Account, "acct_1"),
            (DenialKind::Client, "client-1"),
            (DenialKind::Grant, "grant-1"),
            (DenialKind::Issuer, "https://idp.example"),
            (DenialKind::Jti, "jti-1"),
            (DenialKind::Subject, "https://idp.example|sub-1"),
            (DenialKind::Subject, "usr_1"),
        ] {
            let verdict = judge_token(&token, &revocation(&[(kind, id, ISSUED)]));
            assert_eq!(verdict.err(), Some(REVOKED), "{kind:?}");
            let other = judge_token(&token, &revocation(&[(kind, "other", ISSUED)]));
            assert_eq!(other.err(), None, "{kind:?}");
        }
        // An id means something only with its kind.
        let confused = revocation(&[
            (DenialKind::Key, "jti-1", ISSUED),
            (DenialKind::Session, "jti-1", ISSUED),
            (DenialKind::Jti, "acct_1", ISSUED),
        ]);
        assert_eq!(judge_token(&token, &confused).err(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_lease_is_503_unless_the_issuer_is_outside_the_log() {
        let denied = revocation(&[(DenialKind::Jti, "jti-1", ISSUED)]);
        let open = revocation(&[]);
        advance(Duration::from_secs(301)).await;
        let inside = judge_token(&token(IssuerRevocation::Log), &open);
        let stale = Failure::Unavailable(Unavailable::Lease);
        assert_eq!(inside.err(), Some(stale));
        for revocation in [denied, open] {
            let outside = judge_token(&token(IssuerRevocation::None), &revocation);
            assert_eq!(outside.err(), None);
        }
    }
}
