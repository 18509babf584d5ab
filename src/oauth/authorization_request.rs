//! An authorization request, checked in the order of identity.md §1.1.
//!
//! Invariant: what is wrong before client and redirect URI are known to belong together is told on
//! a page; what is wrong after that goes back to the client.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::form::Form;
use super::problem::{ScopeFault, note_outage};
use super::redirect::RegisteredRedirect;
use super::token::{known_resource, scope_fault};
use super::{AuthorizationServer, OwnRequest, Refusal};
use crate::id::ClientId;
use crate::scope::ScopeSet;
use crate::store::{ClientKind, ClientRecord, GrantType, PkceRule, RedirectRule, StoreError};

/// What a client asks for, checked. The form in which an interaction keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthorizationRequest {
    redirect: String,
    /// Whether the request said where to go.
    redirect_was_sent: bool,
    pub(super) state: Option<String>,
    pub(super) scopes: ScopeSet,
    pub(super) resource: Option<String>,
    pub(super) challenge: Option<String>,
    /// For the operator's login page.
    #[serde(default, skip_serializing_if = "LoginHints::is_empty")]
    pub(super) hints: LoginHints,
}

/// What a client says for a login page (OpenID Connect Core §3.1.2.1), as it said it: nothing of
/// it is checked but that it is short and has no control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LoginHints(BTreeMap<String, String>);

const HINTS: [&str; 5] = [
    "acr_values",
    "login_hint",
    "max_age",
    "prompt",
    "ui_locales",
];
const HINT_CHARS: usize = 256;

/// In bytes. RFC 6749 sets no bound; clients put a few dozen bytes there.
const LONGEST_STATE: usize = 2 * 1024;
/// In bytes, in the form that is kept.
const LONGEST_REQUEST: usize = 4 * 1024;

/// What is told to the user, because there is nobody else whom it could be told.
#[derive(Debug)]
pub(super) enum NoClient {
    /// No such client, or a disabled one.
    Client,
    /// Not well-formed, or one of the two parameters that must not be repeated is, or `state` is
    /// longer than anyone has to echo: without it the client could not take the answer for its own.
    Malformed,
    /// Not one of the client's redirect URIs.
    Redirect,
    /// Cannot be known now.
    Unavailable,
}

/// An error for the client (RFC 6749 §4.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) error: &'static str,
    pub(super) description: Option<&'static str>,
    pub(super) refusal: Refusal,
}

/// To whom the answer goes.
pub(super) struct Asking {
    pub(super) client: ClientRecord,
    pub(super) redirect: RegisteredRedirect,
    redirect_was_sent: bool,
    /// Echoed byte for byte, if it was sent.
    pub(super) state: Option<String>,
}

/// Client and redirect URI.
pub(super) async fn asking(
    server: &AuthorizationServer,
    request: &OwnRequest,
    form: &Form,
) -> Result<Asking, NoClient> {
    if form.repeats("client_id") || form.repeats("redirect_uri") {
        return Err(NoClient::Malformed);
    }
    let state = form.get("state").unwrap_or_default();
    if state.len() > LONGEST_STATE {
        return Err(NoClient::Malformed);
    }
    let id = form.get("client_id").map(ClientId::parse);
    let Some(Ok(id)) = id else {
        return Err(NoClient::Client);
    };
    let client = server.parts.store.client(&id).await?;
    let client = client.filter(|client| client.disabled_at.is_none());
    let client = client.ok_or(NoClient::Client)?;
    request.concerns(&client.id);
    let asked = form.get("redirect_uri");
    Ok(Asking {
        redirect: RegisteredRedirect::of(&client, asked).ok_or(NoClient::Redirect)?,
        client,
        redirect_was_sent: asked.is_some(),
        state: match form.repeats("state") {
            true => None,
            false => form.get("state").map(str::to_owned),
        },
    })
}

/// The rest.
pub(super) fn check(
    server: &AuthorizationServer,
    form: &Form,
    asking: &Asking,
) -> Result<AuthorizationRequest, Refused> {
    if form.has_repeats() {
        return Err(Refused::request("a parameter is repeated"));
    }
    match form.get("response_type") {
        Some("code") => {}
        Some(_) => {
            return Err(Refused::bare(
                "unsupported_response_type",
                Refusal::ResponseTypeUnknown,
            ));
        }
        None => return Err(Refused::request("response_type is missing")),
    }
    if form
        .get("response_mode")
        .is_some_and(|mode| mode != "query")
    {
        return Err(Refused::request("only response_mode=query is supported"));
    }
    let settings = &asking.client.settings;
    if !settings.grants.contains(&GrantType::AuthorizationCode) {
        return Err(Refused::bare(
            "unauthorized_client",
            Refusal::GrantTypeNotAllowed,
        ));
    }
    let challenge = challenge(form, &asking.client)?;
    let scopes = scopes(server, form, &settings.scopes)?;
    const UNKNOWN: Refused = Refused::bare("invalid_target", Refusal::ResourceNotAllowed);
    let resource = form
        .get("resource")
        .map(|asked| known_resource(server, asked).ok_or(UNKNOWN))
        .transpose()?;
    Ok(AuthorizationRequest {
        redirect: asking.redirect.as_str().to_owned(),
        redirect_was_sent: asking.redirect_was_sent,
        state: asking.state.clone(),
        scopes,
        resource,
        challenge,
        hints: hints(server, form),
    })
}

/// Where nobody would hear them they are not kept.
fn hints(server: &AuthorizationServer, form: &Form) -> LoginHints {
    if !server.settings.login.is_delegated() {
        return LoginHints::default();
    }
    let fits =
        |value: &&str| value.chars().count() <= HINT_CHARS && !value.chars().any(char::is_control);
    let said = |name: &str| {
        let value = form.get(name).filter(fits)?;
        Some((name.to_owned(), value.to_owned()))
    };
    LoginHints(HINTS.into_iter().filter_map(said).collect())
}

/// RFC 7636 §4.3, and only S256: a missing method means `plain`.
fn challenge(form: &Form, client: &ClientRecord) -> Result<Option<String>, Refused> {
    let required = client.kind == ClientKind::Public || client.settings.pkce == PkceRule::Required;
    let method = form.get("code_challenge_method");
    match (form.get("code_challenge"), method) {
        (None, None) if required => Err(Refused::request("code_challenge is missing")),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Refused::request("code_challenge is missing")),
        (Some(challenge), Some("S256")) if is_pkce_text(challenge) => {
            Ok(Some(challenge.to_owned()))
        }
        (Some(_), Some("S256")) => Err(Refused::request("code_challenge is malformed")),
        (Some(_), _) => Err(Refused::request("code_challenge_method has to be S256")),
    }
}

/// Whether a text can be a challenge or a verifier (RFC 7636 §4.1, §4.2).
pub(super) fn is_pkce_text(text: &str) -> bool {
    let unreserved =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&text.len()) && text.bytes().all(unreserved)
}

fn scopes(
    server: &AuthorizationServer,
    form: &Form,
    allowed: &ScopeSet,
) -> Result<ScopeSet, Refused> {
    let asked = match form.get("scope") {
        Some(text) => ScopeSet::parse(text).map_err(|_| Refused::scope(ScopeFault::Malformed))?,
        None => server.settings.default_scopes.intersection(allowed),
    };
    match scope_fault(server, &asked, allowed) {
        None => Ok(asked),
        Some(fault) => Err(Refused::scope(fault)),
    }
}

impl LoginHints {
    /// What was said under a name: `acr_values`, `login_hint`, `max_age`, `prompt`, `ui_locales`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl AuthorizationRequest {
    /// The form in which an interaction keeps it, of bounded size: anyone may have one kept.
    pub(super) fn kept(&self) -> Result<String, Refused> {
        let text = serde_json::to_string(self)
            .map_err(|_| Refused::bare("server_error", Refusal::Internal))?;
        match text.len() <= LONGEST_REQUEST {
            true => Ok(text),
            false => Err(Refused::request("the request is too long")),
        }
    }

    /// Where the answer goes: compared again, the client may have been changed since.
    pub(super) fn redirect(&self, client: &ClientRecord) -> Option<RegisteredRedirect> {
        RegisteredRedirect::of(client, Some(&self.redirect))
    }

    /// What the token request must say of the redirect URI: OAuth 2.1 has PKCE in its place.
    pub(super) fn redirect_rule(&self) -> RedirectRule {
        match self.redirect_was_sent && self.challenge.is_none() {
            true => RedirectRule::Required,
            false => RedirectRule::IfSent,
        }
    }
}

impl Refused {
    pub(super) const fn bare(error: &'static str, refusal: Refusal) -> Refused {
        Refused {
            error,
            description: None,
            refusal,
        }
    }

    const fn scope(fault: ScopeFault) -> Refused {
        Refused {
            error: "invalid_scope",
            description: Some(fault.description()),
            refusal: fault.refusal(),
        }
    }

    const fn request(description: &'static str) -> Refused {
        Refused {
            error: "invalid_request",
            description: Some(description),
            refusal: Refusal::RequestMalformed,
        }
    }
}

impl From<StoreError> for NoClient {
    fn from(error: StoreError) -> NoClient {
        note_outage(&error);
        NoClient::Unavailable
    }
}
