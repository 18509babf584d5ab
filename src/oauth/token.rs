//! `POST /oauth/token`: which grant, and what all of them have in common.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::client_authentication::{authenticate, client_form};
use super::form::Form;
use super::issue::Issued;
use super::problem::{Problem, ScopeFault};
use super::{
    AuthorizationServer, OwnRequest, Refusal, answer, authorization_code, client_credentials,
    refresh_token,
};
use crate::scope::ScopeSet;
use crate::store::{ClientRecord, GrantRecord, GrantType};

/// RFC 6749 §5.
pub(super) async fn answer(
    server: &AuthorizationServer,
    request: &OwnRequest,
) -> Result<Response<Bytes>, Problem> {
    let form = client_form(request)?;
    let grant = form
        .get("grant_type")
        .ok_or(Problem::InvalidRequest("grant_type is missing"))?;
    let client = authenticate(server, request, &form).await?;
    let grant = match grant {
        "authorization_code" => GrantType::AuthorizationCode,
        "client_credentials" => GrantType::ClientCredentials,
        "refresh_token" => GrantType::RefreshToken,
        _ => return Err(Problem::UnsupportedGrantType),
    };
    if !client.settings.grants.contains(&grant) {
        return Err(Problem::UnauthorizedClient);
    }
    // Nothing is used up for a token that could not be signed.
    if server.parts.keys.active().is_none() {
        return Err(Problem::Unavailable);
    }
    let issued = match grant {
        GrantType::AuthorizationCode => {
            authorization_code::redeem(server, request, &form, &client).await
        }
        GrantType::ClientCredentials => client_credentials::issue(server, &form, &client),
        GrantType::RefreshToken => refresh_token::rotate(server, request, &form, &client).await,
    };
    Ok(success(&issued?))
}

/// RFC 6749 §5.1. The scope is always told: clients compare it with what they asked for.
fn success(issued: &Issued) -> Response<Bytes> {
    let mut body = serde_json::json!({
        "access_token": issued.access_token.expose(),
        "token_type": "Bearer",
        "expires_in": issued.lifetime.as_secs(),
        "scope": issued.scopes.as_str(),
    });
    if let Some(refresh) = &issued.refresh_token {
        body["refresh_token"] = refresh.expose().into();
    }
    answer::json(StatusCode::OK, &body)
}

/// The resource that a request is for, as the settings write it (RFC 8707 §2).
pub(super) fn resource(
    server: &AuthorizationServer,
    form: &Form,
) -> Result<Option<String>, Problem> {
    match form.get("resource") {
        None => Ok(None),
        Some(asked) => known_resource(server, asked)
            .map(Some)
            .ok_or(Problem::InvalidTarget),
    }
}

/// A URL without a path is the same as one with the path `/` (RFC 3986 §6.2.3).
pub(super) fn known_resource(server: &AuthorizationServer, asked: &str) -> Option<String> {
    let bare = |url: &'_ str| url.strip_suffix('/').unwrap_or(url).to_owned();
    let mut known = server.settings.resources.iter();
    known.find(|known| bare(known) == bare(asked)).cloned()
}

/// The scopes that a request names; `None` where it names none.
pub(super) fn scopes(form: &Form) -> Result<Option<ScopeSet>, Problem> {
    let text = form.get("scope");
    text.map(|text| ScopeSet::parse(text).map_err(|_| Problem::InvalidScope(ScopeFault::Malformed)))
        .transpose()
}

/// What is wrong with the scopes that a client asks for, if anything is.
pub(super) fn scope_fault(
    server: &AuthorizationServer,
    asked: &ScopeSet,
    allowed: &ScopeSet,
) -> Option<ScopeFault> {
    let known = |name: &str| {
        let mut known = server.settings.scopes.iter();
        known.any(|(scope, _)| scope.as_str() == name)
    };
    match asked {
        none if none.is_empty() => Some(ScopeFault::Missing),
        asked if !asked.names().all(known) => Some(ScopeFault::Unknown),
        asked if !asked.is_subset_of(allowed) => Some(ScopeFault::NotAllowed),
        _ => None,
    }
}

/// What a grant gives now: client and user may have been narrowed since it was made. A user who is
/// disabled ends it.
pub(super) async fn present_scopes(
    server: &AuthorizationServer,
    grant: &GrantRecord,
    client: &ClientRecord,
) -> Result<ScopeSet, Problem> {
    let scopes = grant.scopes.intersection(&client.settings.scopes);
    match server.parts.store.user(&grant.subject).await? {
        Some(user) if user.disabled_at.is_some() => {
            Err(Problem::InvalidGrant(Refusal::UserDisabled))
        }
        Some(user) => Ok(scopes.intersection(&user.scopes)),
        // A subject of the operator's own login.
        None => Ok(scopes),
    }
}
