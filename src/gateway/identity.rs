//! Telling the upstream who the caller is: plain headers, or one signed internal token.
//!
//! Invariants: what a client sends under these names never gets here (see [`super::hygiene`]); an
//! internal token's type and issuer are refused at the edge, so it cannot be replayed from inside
//! to outside (RFC 8725bis §3.12); its audience is one upstream.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Caller;
use crate::auth::{Bearer, CredentialKind, Principal, Supposed, Told};
use crate::clock::{Clock, Timestamp};
use crate::environment::Environment;
use crate::token::InternalTokenSigner;
use crate::upstream::{IdentityMode, UpstreamSettings};

const X_AUTH_ACCOUNT: HeaderName = HeaderName::from_static("x-auth-account");
const X_AUTH_CLIENT_ID: HeaderName = HeaderName::from_static("x-auth-client-id");
const X_AUTH_CREDENTIAL_ID: HeaderName = HeaderName::from_static("x-auth-credential-id");
const X_AUTH_ENV: HeaderName = HeaderName::from_static("x-auth-env");
const X_AUTH_METHOD: HeaderName = HeaderName::from_static("x-auth-method");
const X_AUTH_SCOPES: HeaderName = HeaderName::from_static("x-auth-scopes");
const X_AUTH_SUBJECT: HeaderName = HeaderName::from_static("x-auth-subject");
const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// How long an internal token is good for; it is used for half of that.
const TOKEN_LIFETIME: Duration = Duration::from_secs(120);
/// Tokens kept by one worker before it begins anew.
const MAX_TOKENS: usize = 10_000;

/// Sets the identity headers that an upstream is configured to get.
pub(super) fn tell(
    headers: &mut HeaderMap,
    settings: &UpstreamSettings,
    caller: &Caller,
    tokens: &InternalTokens,
) {
    let Caller::Known(principal) = caller else {
        return;
    };
    match settings.identity {
        IdentityMode::Headers => plain(headers, principal),
        IdentityMode::Jwt => {
            if let Some(token) = tokens.token(principal, &settings.name) {
                headers.insert(X_AUTH_TOKEN, token);
            }
        }
        IdentityMode::None => {}
    }
}

/// What an upstream would be told of a caller who is only thought of. A signed token is not made: its
/// field holds a word in its place.
pub fn told_of(settings: &UpstreamSettings, caller: &Supposed) -> HeaderMap {
    let mut headers = HeaderMap::new();
    match settings.identity {
        IdentityMode::Headers => plain(&mut headers, caller),
        IdentityMode::Jwt => {
            headers.insert(X_AUTH_TOKEN, HeaderValue::from_static("signed"));
        }
        IdentityMode::None => {}
    }
    headers
}

fn plain(headers: &mut HeaderMap, bearer: &impl Bearer) {
    headers.insert(
        X_AUTH_METHOD,
        HeaderValue::from_static(method(bearer.kind())),
    );
    headers.insert(
        X_AUTH_ENV,
        HeaderValue::from_static(match bearer.environment() {
            Environment::Live => "live",
            Environment::Test => "test",
        }),
    );
    let texts = [
        (X_AUTH_SUBJECT, Told::Subject),
        (X_AUTH_CREDENTIAL_ID, Told::CredentialId),
        (X_AUTH_SCOPES, Told::Scopes),
        (X_AUTH_ACCOUNT, Told::Account),
        (X_AUTH_CLIENT_ID, Told::ClientId),
    ];
    for (name, what) in texts {
        // A subject of another issuer may hold anything; what is no field value is left out.
        if let Some(text) = bearer.told(what)
            && let Ok(value) = HeaderValue::from_maybe_shared(text)
        {
            headers.insert(name, value);
        }
    }
}

/// The value of `X-Auth-Method` (identity.md §8).
const fn method(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::AccessToken => "jwt",
        CredentialKind::ApiKey => "api_key",
        CredentialKind::None => "none",
        CredentialKind::Session => "session",
    }
}

/// One worker's internal tokens: signed once per caller and upstream, used for half their life.
#[derive(Debug)]
pub(super) struct InternalTokens {
    signer: Arc<InternalTokenSigner>,
    clock: Clock,
    cache: RefCell<HashMap<(String, String), Cached>>,
}

#[derive(Debug)]
struct Cached {
    principal: Principal,
    token: HeaderValue,
    until: Timestamp,
}

/// The claims of an internal token.
#[derive(serde::Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    acct: Option<&'a str>,
    client_id: Option<&'a str>,
    cred: &'a str,
    method: &'a str,
    env: Environment,
    scope: String,
    iat: i64,
    exp: i64,
}

impl InternalTokens {
    pub(super) fn new(signer: Arc<InternalTokenSigner>, clock: Clock) -> InternalTokens {
        InternalTokens {
            signer,
            clock,
            cache: RefCell::default(),
        }
    }

    /// A token that says who the principal is, to one upstream. `None` only if signing fails,
    /// which it does not for a key that was good at start.
    fn token(&self, principal: &Principal, upstream: &str) -> Option<HeaderValue> {
        let now = self.clock.now();
        let key = (principal.credential_id().to_string(), upstream.to_owned());
        if let Some(cached) = self.cache.borrow().get(&key)
            && cached.principal.is_same(principal)
            && now < cached.until
        {
            return Some(cached.token.clone());
        }
        let token = self.sign(principal, upstream, now)?;
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= MAX_TOKENS {
            cache.clear();
        }
        let until = now.plus(TOKEN_LIFETIME / 2);
        cache.insert(
            key,
            Cached {
                principal: principal.clone(),
                token: token.clone(),
                until,
            },
        );
        Some(token)
    }

    fn sign(&self, principal: &Principal, upstream: &str, now: Timestamp) -> Option<HeaderValue> {
        let claims = Claims {
            iss: self.signer.issuer(),
            aud: upstream,
            sub: principal.subject(),
            acct: principal.account().map(|account| account.as_str()),
            client_id: principal.client_id(),
            cred: principal.credential_id().as_str(),
            method: method(principal.kind()),
            env: principal.environment(),
            scope: principal.scopes().to_string(),
            iat: now.as_secs(),
            exp: now.plus(TOKEN_LIFETIME).as_secs(),
        };
        let token = self.signer.sign(&claims)?;
        HeaderValue::try_from(token).ok()
    }
}
