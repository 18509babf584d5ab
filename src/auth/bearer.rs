//! What checks and upstreams ask of whoever shows a credential, and someone who is only supposed to.
//!
//! A policy test and `diff` think of callers who have shown nothing. Invariant: a [`Supposed`] is no
//! [`Principal`] and gives none away, so nothing that is thought of can reach an upstream.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use ipnet::IpNet;

use super::principal::Identity;
use super::{CredentialKind, Principal, Told};
use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::{AccountId, CredentialId};
use crate::scope::ScopeSet;

/// What is asked of whoever shows a credential.
pub trait Bearer {
    /// The kind of credential.
    fn kind(&self) -> CredentialKind;
    /// Live or test.
    fn environment(&self) -> Environment;
    /// The granted scopes.
    fn scopes(&self) -> &ScopeSet;
    /// Whether it may be used from this address.
    fn allows_address(&self, address: IpAddr) -> bool;
    /// A text for upstreams.
    fn told(&self, what: Told) -> Option<Bytes>;
}

impl Bearer for Principal {
    fn kind(&self) -> CredentialKind {
        Principal::kind(self)
    }

    fn environment(&self) -> Environment {
        Principal::environment(self)
    }

    fn scopes(&self) -> &ScopeSet {
        Principal::scopes(self)
    }

    fn allows_address(&self, address: IpAddr) -> bool {
        Principal::allows_address(self, address)
    }

    fn told(&self, what: Told) -> Option<Bytes> {
        Principal::told(self, what)
    }
}

/// A caller who is only thought of.
#[derive(Clone, Debug)]
pub struct Supposed(Principal);

/// What is thought of a [`Supposed`] caller.
#[derive(Clone, Debug)]
pub struct SupposedIdentity {
    /// The kind of credential.
    pub kind: CredentialKind,
    /// The credential's public id.
    pub credential_id: CredentialId,
    /// Who it acts as.
    pub subject: String,
    /// The account, if it names one.
    pub account: Option<AccountId>,
    /// The OAuth client, if it names one.
    pub client_id: Option<String>,
    /// A token's issuer.
    pub issuer: Option<String>,
    /// The granted scopes.
    pub scopes: ScopeSet,
    /// Live or test.
    pub environment: Environment,
    /// Addresses it may be used from; empty is any.
    pub allowed_ips: Vec<IpNet>,
}

impl Supposed {
    /// Thinks of a caller.
    pub fn new(identity: SupposedIdentity) -> Supposed {
        let identity = Identity {
            kind: identity.kind,
            credential_id: identity.credential_id,
            subject: identity.subject,
            account: identity.account,
            client_id: identity.client_id,
            issuer: identity.issuer,
            resource: None,
            grant: None,
            jti: None,
            issued_at: Timestamp::from_secs(0),
            scopes: identity.scopes,
            environment: identity.environment,
            allowed_ips: identity.allowed_ips,
            not_before: None,
            expires_at: None,
        };
        Supposed(Principal::new(Arc::new(identity.into())))
    }

    /// A token's issuer.
    pub fn issuer(&self) -> Option<&str> {
        self.0.issuer()
    }
}

impl Bearer for Supposed {
    fn kind(&self) -> CredentialKind {
        self.0.kind()
    }

    fn environment(&self) -> Environment {
        self.0.environment()
    }

    fn scopes(&self) -> &ScopeSet {
        self.0.scopes()
    }

    fn allows_address(&self, address: IpAddr) -> bool {
        self.0.allows_address(address)
    }

    fn told(&self, what: Told) -> Option<Bytes> {
        self.0.told(what)
    }
}
