//! `GET /oauth/interaction/{id}`: the page that an interaction is at, and opening an interaction
//! for the forms that follow.

use bytes::Bytes;
use http::Response;

use super::authorization_request::AuthorizationRequest;
use super::browser::{Browser, is_same_site};
use super::client_authentication::form_of;
use super::form::Form;
use super::page::{self, Message, Notice};
use super::problem::note_outage;
use super::redirect::RegisteredRedirect;
use super::{AuthorizationServer, Endpoint, OwnRequest, login_cookie};
use crate::store::{ClientRecord, InteractionRecord, InteractionState, StoreError};

/// An interaction in the browser that it belongs to.
pub(super) struct Opened {
    pub(super) record: InteractionRecord,
    pub(super) client: ClientRecord,
    pub(super) asked: AuthorizationRequest,
    pub(super) redirect: RegisteredRedirect,
    pub(super) browser: Browser,
}

/// The page.
pub(super) async fn answer(server: &AuthorizationServer, request: &OwnRequest) -> Response<Bytes> {
    let opened = match open(server, request).await {
        Ok(opened) => opened,
        Err(notice) => return page::notice(&server.settings.realm, notice),
    };
    match &opened.record.state {
        InteractionState::Open => page::login(server, &opened, Message::None),
        InteractionState::LoggedIn(login) => page::consent(server, &opened, login),
        // The back button.
        InteractionState::Allowed { .. }
        | InteractionState::Denied
        | InteractionState::Rejected(_) => page::notice(&server.settings.realm, Notice::Used),
    }
}

/// The interaction of a request, if it is this browser's, its client is still there, and its time
/// is not over.
pub(super) async fn open(
    server: &AuthorizationServer,
    request: &OwnRequest,
) -> Result<Opened, Notice> {
    let id = request.own.interaction.as_ref().ok_or(Notice::Unknown)?;
    let browser = Browser::of(&request.headers).ok_or(Notice::Unknown)?;
    let record = server.parts.store.interaction(id).await?;
    // Of another browser's there is nothing to be learnt: not even that it exists.
    let record = record.filter(|record| record.browser == browser.digest());
    // One that was begun under another setting is not carried on under this one.
    let delegated = server.settings.login.is_delegated();
    let record = record.filter(|record| record.challenge.is_some() == delegated);
    let record = record.ok_or(Notice::Unknown)?;
    if record.expires_at <= server.parts.clock.now() {
        return Err(Notice::Expired);
    }
    // A login form is answered with a password, which is as good: the second of two clicks.
    let needs_none = delegated || request.own.endpoint == Endpoint::Login;
    if !needs_none && !login_cookie::is_there(&server.parts.peppers, &record, &request.headers) {
        return Err(Notice::Unknown);
    }
    let client = server.parts.store.client(&record.client).await?;
    let client = client.filter(|client| client.disabled_at.is_none());
    let client = client.ok_or(Notice::UnknownClient)?;
    request.concerns(&client.id);
    let asked: AuthorizationRequest =
        serde_json::from_str(&record.request).map_err(|_| Notice::Expired)?;
    let redirect = asked.redirect(&client).ok_or(Notice::UnknownRedirect)?;
    Ok(Opened {
        record,
        client,
        asked,
        redirect,
        browser,
    })
}

/// The same for a form that a page of ours has sent.
pub(super) async fn open_form(
    server: &AuthorizationServer,
    request: &OwnRequest,
) -> Result<(Opened, Form), Notice> {
    let form = form_of(request).map_err(|_| Notice::Malformed)?;
    let opened = open(server, request).await?;
    let sent = opened
        .browser
        .sent(&server.parts.peppers, &opened.record.id, form.get("token"));
    match sent && is_same_site(&request.headers, &server.settings) {
        true => Ok((opened, form)),
        false => Err(Notice::Forged),
    }
}

impl From<StoreError> for Notice {
    fn from(error: StoreError) -> Notice {
        note_outage(&error);
        Notice::Unavailable
    }
}
