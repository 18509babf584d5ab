//! What a token of ours says, whichever kind it is, when a client hands it in to be revoked or
//! looked at (RFC 7009 §2.1, RFC 7662 §2.1). The hint is not needed: the shape tells the kind.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::AuthorizationServer;
use super::issue::Claims;
use super::problem::Problem;
use super::refresh_token::narrowed;
use super::token::present_scopes;
use crate::auth::{Credential, Failure};
use crate::scope::ScopeSet;
use crate::store::{ClientRecord, GrantRecord, GrantStanding, GrantType};
use crate::token::{RefreshToken, Shape};

/// A token that we gave out.
pub(super) enum OwnToken {
    /// An access token that is good now.
    Access(Box<Claims>),
    /// Nothing that is good now.
    None,
    /// An API key or session: not a token of this server.
    Other,
    /// A refresh token of a grant that there is, live or not.
    Refresh(RefreshToken, Box<GrantRecord>),
}

/// Reads a token.
pub(super) async fn read(server: &AuthorizationServer, text: &str) -> Result<OwnToken, Problem> {
    match server.parts.format.shape(text) {
        Shape::Foreign => refresh(server, text).await,
        Shape::Jwt => access(server, text).await,
        Shape::Opaque => Ok(OwnToken::None),
        Shape::Own(_) | Shape::OwnDamaged(_) => Ok(OwnToken::Other),
    }
}

async fn refresh(server: &AuthorizationServer, text: &str) -> Result<OwnToken, Problem> {
    let Some(token) = server.parts.refresh_tokens.read(text) else {
        return Ok(OwnToken::None);
    };
    let grant = server.parts.store.grant(&token.grant).await?;
    Ok(grant.map_or(OwnToken::None, |grant| {
        OwnToken::Refresh(token, Box::new(grant))
    }))
}

/// Verified and looked up on the not-before list as a request's would be, then read.
async fn access(server: &AuthorizationServer, text: &str) -> Result<OwnToken, Problem> {
    let credential = Credential::AccessToken(text);
    match server.authenticator.inspect(credential, None).await {
        Ok(principal) if principal.issuer() == Some(server.settings.issuer.as_str()) => {}
        Ok(_) | Err(Failure::Absent | Failure::Refused(_)) => return Ok(OwnToken::None),
        Err(Failure::Unavailable(_)) => return Err(Problem::Unavailable),
    }
    let claims = text.split('.').nth(1).unwrap_or_default();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
    Ok(match serde_json::from_slice(&claims) {
        Ok(claims) => OwnToken::Access(Box::new(claims)),
        // Signed by us, and not with our claims: made by another version. Not ours to judge.
        Err(_) => OwnToken::None,
    })
}

/// The scopes that a refresh would give now; `None` where it would give no token.
pub(super) async fn refreshable(
    server: &AuthorizationServer,
    token: &RefreshToken,
    grant: &GrantRecord,
    client: &ClientRecord,
) -> Result<Option<ScopeSet>, Problem> {
    let may_refresh = client.settings.grants.contains(&GrantType::RefreshToken);
    if grant.client != client.id || !may_refresh || !is_live(server, token, grant) {
        return Ok(None);
    }
    let present = match present_scopes(server, grant, client).await {
        // A user who is disabled.
        Err(Problem::InvalidGrant(_)) => return Ok(None),
        present => present?,
    };
    Ok(narrowed(grant, &present, None).ok())
}

/// Whether a refresh token is the newest of a grant that goes on.
fn is_live(server: &AuthorizationServer, token: &RefreshToken, grant: &GrantRecord) -> bool {
    let now = server.parts.clock.now();
    let current = grant.refresh.as_ref().is_some_and(|state| {
        state.generation == token.generation
            && state.live.contains(&token.nonce)
            && now < state.idle_at
    });
    current && matches!(grant.standing, GrantStanding::Active) && now < grant.expires_at
}
