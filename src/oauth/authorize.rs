//! `GET` and `POST /oauth/authorize` (RFC 6749 §4.1.1): from a client's request to an interaction
//! with its user.

use std::time::Duration;

use bytes::Bytes;
use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderValue, Method, Response, StatusCode};

use super::authorization_request::{
    Asking, AuthorizationRequest, NoClient, Refused, asking, check,
};
use super::browser::Browser;
use super::client_authentication::is_form;
use super::endpoint::interaction_path;
use super::form::Form;
use super::page::{self, Notice};
use super::redirect::RegisteredRedirect;
use super::{AuthorizationServer, LoginChallenge, LoginMode, OwnRequest, Refusal, answer};
use crate::id::InteractionId;
use crate::observe::Causes;
use crate::store::{InteractionRecord, InteractionState};

/// How long a user may take.
const INTERACTION: Duration = Duration::from_secs(10 * 60);

/// Begins an interaction, or tells why not: on a page, or to the client.
pub(super) async fn answer(server: &AuthorizationServer, request: &OwnRequest) -> Response<Bytes> {
    let form = match form(request) {
        Ok(form) => form,
        Err(no_client) => return refuse(server, &no_client),
    };
    let asking = match asking(server, request, &form).await {
        Ok(asking) => asking,
        Err(no_client) => return refuse(server, &no_client),
    };
    let begun = match check(server, &form, &asking) {
        Ok(checked) => begin(server, request, &asking, &checked).await,
        Err(refused) => Err(refused),
    };
    begun.unwrap_or_else(|refused| {
        let parameters = refused.parameters();
        refused.refusal.mark(send_back(
            server,
            request,
            &asking.redirect,
            asking.state.as_deref(),
            &parameters,
        ))
    })
}

fn form(request: &OwnRequest) -> Result<Form, NoClient> {
    let parameters = match request.method {
        Method::POST if is_form(request) => &request.body[..],
        Method::POST => return Err(NoClient::Malformed),
        _ => request.query.as_deref().unwrap_or_default().as_bytes(),
    };
    // What is repeated is told to the client, once it is known which.
    Form::parse(parameters).map_err(|_| NoClient::Malformed)
}

async fn begin(
    server: &AuthorizationServer,
    request: &OwnRequest,
    asking: &Asking,
    checked: &AuthorizationRequest,
) -> Result<Response<Bytes>, Refused> {
    const FAILED: Refused = Refused::bare("server_error", Refusal::Internal);
    let kept = checked.kept()?;
    if !server.parts.starts.take(request.client) {
        return Ok(page::notice(&server.settings.realm, Notice::TooMany));
    }
    let browser = Browser::of(&request.headers).unwrap_or_else(Browser::new);
    let now = server.parts.clock.now();
    let id = InteractionId::random();
    let (challenge, location) = match &server.settings.login {
        LoginMode::Builtin => {
            let path = HeaderValue::try_from(interaction_path(&id)).map_err(|_| FAILED)?;
            (None, path)
        }
        LoginMode::Delegated(page) => {
            let challenge = LoginChallenge::of(&id);
            (Some(challenge.digest()), page.location(&challenge))
        }
    };
    let record = InteractionRecord {
        id,
        browser: browser.digest(),
        challenge,
        client: asking.client.id.clone(),
        request: kept,
        created_at: now,
        expires_at: now.plus(INTERACTION),
        state: InteractionState::Open,
    };
    if let Err(error) = server.parts.store.create_interaction(record).await {
        tracing::warn!(cause = %Causes(&error), "an interaction could not be kept");
        return Err(Refused::bare(
            "temporarily_unavailable",
            Refusal::Unavailable,
        ));
    }
    let mut response = go_to(request, location);
    response.headers_mut().insert(SET_COOKIE, browser.cookie());
    Ok(response)
}

impl Refused {
    fn parameters(self) -> Vec<(&'static str, &'static str)> {
        let description = self.description.map(|text| ("error_description", text));
        std::iter::once(("error", self.error))
            .chain(description)
            .collect()
    }
}

/// Sends the browser to the client, with `state` and `iss` (RFC 9207 §2).
pub(super) fn send_back(
    server: &AuthorizationServer,
    request: &OwnRequest,
    redirect: &RegisteredRedirect,
    state: Option<&str>,
    parameters: &[(&str, &str)],
) -> Response<Bytes> {
    let mut all = parameters.to_vec();
    all.extend(state.map(|state| ("state", state)));
    all.push(("iss", server.settings.issuer.as_str()));
    go_to(request, redirect.location(&all))
}

/// 303 after a POST, so that no form goes on to the next server (RFC 9700 §4.12).
pub(super) fn go_to(request: &OwnRequest, location: HeaderValue) -> Response<Bytes> {
    let mut response = answer::empty(match request.method {
        Method::POST => StatusCode::SEE_OTHER,
        _ => StatusCode::FOUND,
    });
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    page::forbid_framing(headers);
    response
}

fn refuse(server: &AuthorizationServer, no_client: &NoClient) -> Response<Bytes> {
    let notice = match no_client {
        NoClient::Client => Notice::UnknownClient,
        NoClient::Malformed => Notice::Malformed,
        NoClient::Redirect => Notice::UnknownRedirect,
        NoClient::Unavailable => Notice::Unavailable,
    };
    page::notice(&server.settings.realm, notice)
}
