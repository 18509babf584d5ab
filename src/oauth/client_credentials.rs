//! `grant_type=client_credentials` (RFC 6749 §4.4): a client as itself. No refresh token.

use super::AuthorizationServer;
use super::form::Form;
use super::issue::{Issuance, Issued};
use super::login_desk::CLIENT_SUBJECT;
use super::problem::{Problem, ScopeFault};
use super::token::{resource, scope_fault, scopes};
use crate::scope::ScopeSet;
use crate::store::{ClientKind, ClientRecord};

/// Issues a token to a client.
pub(super) fn issue(
    server: &AuthorizationServer,
    form: &Form,
    client: &ClientRecord,
) -> Result<Issued, Problem> {
    // RFC 6749 §4.4: confidential clients only.
    if client.kind == ClientKind::Public {
        return Err(Problem::UnauthorizedClient);
    }
    let allowed = &client.settings.scopes;
    let scopes = match scopes(form)? {
        // Also one that the configuration no longer names: the client has it.
        Some(asked) if asked.is_subset_of(allowed) => asked,
        Some(asked) => {
            let fault = scope_fault(server, &asked, allowed);
            return Err(Problem::InvalidScope(
                fault.unwrap_or(ScopeFault::NotAllowed),
            ));
        }
        None => default_scopes(server, allowed),
    };
    let access = Issuance {
        // Prefixed, so that no client can be taken for a user (RFC 9700 §4.15).
        subject: format!("{CLIENT_SUBJECT}{}", client.id),
        client: client.id.clone(),
        account: client.settings.account.clone(),
        scopes,
        resource: resource(server, form)?,
        family: None,
        auth_time: None,
        acr: None,
        amr: Vec::new(),
    };
    server.issue(access, None)
}

/// What is granted to a request that names no scope: the configured default, else all the client
/// has.
fn default_scopes(server: &AuthorizationServer, allowed: &ScopeSet) -> ScopeSet {
    let default = server.settings.default_scopes.intersection(allowed);
    if default.is_empty() {
        allowed.clone()
    } else {
        default
    }
}
