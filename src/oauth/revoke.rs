//! `POST /oauth/revoke` (RFC 7009).
//!
//! Invariant: a token that is unknown, dead or another client's gets the same empty 200, and
//! nothing happens to it.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::client_authentication::{authenticate, client_form};
use super::own_token::{self, OwnToken};
use super::problem::Problem;
use super::{AuthorizationServer, OwnRequest, answer};
use crate::store::{Denial, DenialKind, RevocationReason, RevokeGrant};

/// Revokes a token.
pub(super) async fn answer(
    server: &AuthorizationServer,
    request: &OwnRequest,
) -> Result<Response<Bytes>, Problem> {
    let form = client_form(request)?;
    let client = authenticate(server, request, &form).await?;
    let token = form
        .get("token")
        .ok_or(Problem::InvalidRequest("token is missing"))?;
    let (store, now) = (&server.parts.store, server.parts.clock.now());
    match own_token::read(server, token).await? {
        OwnToken::Access(claims) if claims.client_id == client.id.as_str() => {
            let denial = Denial {
                kind: DenialKind::Jti,
                id: claims.jti.clone(),
                at: now,
            };
            store.deny(vec![denial]).await?;
            server.tell_access_revoked(request, &client.id, &claims);
        }
        // RFC 7009 §2.1: with a refresh token goes the grant, and with that its access tokens.
        OwnToken::Refresh(_, grant) if grant.client == client.id => {
            let why = RevocationReason::Client;
            // Revoked now, before, or gone: all the same to the client.
            if let RevokeGrant::Revoked(grant) = store.revoke_grant(&grant.id, why, now).await? {
                server.tell_grant_revoked(request, &grant);
            }
        }
        OwnToken::Other => return Err(Problem::UnsupportedTokenType),
        OwnToken::Access(_) | OwnToken::Refresh(..) | OwnToken::None => {}
    }
    Ok(answer::empty(StatusCode::OK))
}
