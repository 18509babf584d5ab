//! `POST /oauth/introspect` (RFC 7662).
//!
//! A client sees its own tokens; a confidential client without any grant is a resource server, and
//! sees all. Invariant: about whatever else, `{"active":false}` and not a word more (§2.2).

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::client_authentication::{authenticate, client_form};
use super::issue::Claims;
use super::own_token::{self, OwnToken};
use super::problem::Problem;
use super::{AuthorizationServer, OwnRequest, Refusal, answer};
use crate::scope::ScopeSet;
use crate::store::{ClientKind, ClientRecord, GrantRecord};

/// Tells of a token.
pub(super) async fn answer(
    server: &AuthorizationServer,
    request: &OwnRequest,
) -> Result<Response<Bytes>, Problem> {
    let form = client_form(request)?;
    let client = authenticate(server, request, &form).await?;
    // §2.1: the caller is authenticated; a public client shows nothing but a name.
    if client.kind == ClientKind::Public {
        return Err(Problem::InvalidClient(Refusal::ClientMethod));
    }
    let token = form
        .get("token")
        .ok_or(Problem::InvalidRequest("token is missing"))?;
    let told = match own_token::read(server, token).await? {
        OwnToken::Access(claims) if may_see(&client, &claims.client_id) => access(&claims),
        OwnToken::Refresh(token, grant) => {
            match own_token::refreshable(server, &token, &grant, &client).await? {
                Some(scopes) => refresh(server, &grant, &scopes),
                None => inactive(),
            }
        }
        OwnToken::Access(_) | OwnToken::None | OwnToken::Other => inactive(),
    };
    Ok(answer::json(StatusCode::OK, &told))
}

fn inactive() -> Value {
    json!({ "active": false })
}

fn may_see(client: &ClientRecord, owner: &str) -> bool {
    client.id.as_str() == owner || client.settings.grants.is_empty()
}

fn access(claims: &Claims) -> Value {
    let mut told = json!(claims);
    told["active"] = true.into();
    told["token_type"] = "Bearer".into();
    told
}

/// With the scopes that a refresh would give: client and user may have fewer now than were granted.
fn refresh(server: &AuthorizationServer, grant: &GrantRecord, scopes: &ScopeSet) -> Value {
    let idle = grant.refresh.as_ref().map(|state| state.idle_at);
    let end = idle.map_or(grant.expires_at, |idle| idle.min(grant.expires_at));
    json!({
        "active": true,
        "iss": server.settings.issuer,
        "client_id": grant.client.as_str(),
        "sub": grant.subject.as_str(),
        "scope": scopes.as_str(),
        "exp": end.as_secs(),
    })
}
