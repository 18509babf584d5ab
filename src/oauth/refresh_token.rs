//! `grant_type=refresh_token` (RFC 6749 §6, RFC 9700 §4.14.2): a new pair for an old token.
//!
//! Not here: what makes a token good, and what its reuse ends: one atomic verb of the store. A
//! forged token does not reach the store.

use super::form::Form;
use super::issue::{Issuance, Issued};
use super::problem::{Problem, ScopeFault};
use super::token::{present_scopes, resource, scopes};
use super::{AuthorizationServer, OwnRequest, Refusal};
use crate::observe::AuditAction;
use crate::scope::ScopeSet;
use crate::store::{ClientKind, ClientRecord, Grace, GrantRecord, Rotate, RotateRefresh};
use crate::token::{RefreshNonce, RefreshToken};

/// How many live tokens one generation may have.
const SIBLINGS: usize = 3;

/// Rotates a refresh token.
pub(super) async fn rotate(
    server: &AuthorizationServer,
    asking: &OwnRequest,
    form: &Form,
    client: &ClientRecord,
) -> Result<Issued, Problem> {
    let text = form
        .get("refresh_token")
        .ok_or(Problem::InvalidRequest("refresh_token is missing"))?;
    let (scopes, target) = (scopes(form)?, resource(server, form)?);
    let parts = &server.parts;
    let token = parts
        .refresh_tokens
        .read(text)
        .ok_or(Problem::InvalidGrant(Refusal::RefreshUnknown))?;
    let grant = parts.store.grant(&token.grant).await?;
    // A foreign client learns nothing of the grant; the store checks it again.
    let grant = grant.ok_or(Problem::InvalidGrant(Refusal::RefreshUnknown))?;
    if grant.client != client.id {
        return Err(Problem::InvalidGrant(Refusal::RefreshForeign));
    }
    // A store that lost data says that it is active (interface.md §7.3); here it was seen to end.
    if server.authenticator.denies_family(&grant.id.family()) {
        return Err(Problem::InvalidGrant(Refusal::GrantRevoked));
    }
    let present = present_scopes(server, &grant, client).await?;
    let narrowed = narrowed(&grant, &present, scopes.as_ref())?;
    let nonce = RefreshNonce::random();
    let request = rotation(server, &token, client, &nonce, (scopes, target.clone()));
    let outcome = parts.store.rotate_refresh(request).await?;
    if let Rotate::Reused(grant) = &outcome {
        server.tell_reuse(AuditAction::RefreshReuse, asking, grant);
    }
    let (generation, grant) = rotated(outcome)?;
    let refresh = parts.refresh_tokens.mint(&grant.id, generation, &nonce);
    let access = Issuance::of_grant(&grant, target, narrowed);
    server.issue(access, Some(refresh))
}

/// What the access token gets: never more than was granted and still is, and the refresh token
/// goes on with all of it. Whether it was granted at all is the store's to say, with the token.
pub(super) fn narrowed(
    grant: &GrantRecord,
    present: &ScopeSet,
    asked: Option<&ScopeSet>,
) -> Result<ScopeSet, Problem> {
    let given = asked.map_or_else(|| present.clone(), |asked| asked.intersection(present));
    match given.is_empty() && !grant.scopes.is_empty() {
        true => Err(Problem::InvalidScope(ScopeFault::NotGranted)),
        false => Ok(given),
    }
}

fn rotation(
    server: &AuthorizationServer,
    token: &RefreshToken,
    client: &ClientRecord,
    nonce: &RefreshNonce,
    (scopes, resource): (Option<ScopeSet>, Option<String>),
) -> RotateRefresh {
    let refresh = &server.settings.refresh;
    let grace = match client.kind {
        // Whoever repeats it has shown the client's secret.
        ClientKind::Confidential => Grace {
            window: refresh.grace,
            siblings: SIBLINGS,
        },
        ClientKind::Public => Grace::NONE,
    };
    RotateRefresh {
        grant: token.grant,
        generation: token.generation,
        nonce: token.nonce,
        next: nonce.digest(),
        client: client.id.clone(),
        scopes,
        resource,
        idle: refresh.idle,
        grace,
        at: server.parts.clock.now(),
    }
}

fn rotated(outcome: Rotate) -> Result<(u32, Box<GrantRecord>), Problem> {
    match outcome {
        Rotate::Rotated { generation, grant } => Ok((generation, grant)),
        Rotate::ScopeExceeded => Err(Problem::InvalidScope(ScopeFault::NotGranted)),
        Rotate::ResourceExceeded => Err(Problem::InvalidTarget),
        Rotate::Reused(grant) => {
            tracing::warn!(
                client = %grant.client,
                subject = %grant.subject,
                "an old refresh token came back: its grant is revoked"
            );
            Err(Problem::InvalidGrant(Refusal::RefreshReused))
        }
        Rotate::Future => {
            tracing::error!("a refresh token is newer than the store: was it restored?");
            Err(Problem::InvalidGrant(Refusal::RefreshFuture))
        }
        Rotate::ClientMismatch => Err(Problem::InvalidGrant(Refusal::RefreshForeign)),
        Rotate::Expired => Err(Problem::InvalidGrant(Refusal::RefreshExpired)),
        Rotate::Revoked => Err(Problem::InvalidGrant(Refusal::GrantRevoked)),
        Rotate::Unknown => Err(Problem::InvalidGrant(Refusal::RefreshUnknown)),
    }
}
