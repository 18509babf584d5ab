//! `GET /oauth/interaction/{id}/resume`: the browser comes back from the operator's login page.
//!
//! Invariants: only the browser that began the interaction (its cookie) and that the page has
//! answered (the verifier) comes any further; nothing is granted before it does.

use bytes::Bytes;
use http::Response;

use super::decision::{self, Ending};
use super::endpoint::interaction_path;
use super::form::Form;
use super::interaction::{Opened, open};
use super::login_challenge::{is_verified, verifier};
use super::page::{self, Notice};
use super::{AuthorizationServer, OAuthSettings, OwnRequest};
use crate::id::InteractionId;
use crate::secret::Peppers;
use crate::store::InteractionState;

/// What the browser brings the verifier in.
const VERIFIER: &str = "login_verifier";

/// Goes on with what the operator's page said: to the client, with a code or an error.
pub(super) async fn answer(server: &AuthorizationServer, request: &OwnRequest) -> Response<Bytes> {
    match resume(server, request).await {
        Ok((opened, ending)) => decision::end(server, request, &opened, ending),
        Err(notice) => page::notice(&server.settings.realm, notice),
    }
}

async fn resume(
    server: &AuthorizationServer,
    request: &OwnRequest,
) -> Result<(Opened, Result<Ending, Notice>), Notice> {
    let query = request.query.as_deref().unwrap_or_default();
    let form = Form::parse(query.as_bytes()).map_err(|_| Notice::Malformed)?;
    let opened = open(server, request).await?;
    let (peppers, id) = (&server.parts.peppers, &opened.record.id);
    // As little to be learnt as by a browser without the cookie.
    if form.repeats(VERIFIER) || !is_verified(peppers, id, form.get(VERIFIER)) {
        return Err(Notice::Unknown);
    }
    let ending = match &opened.record.state {
        InteractionState::LoggedIn(login) => decision::allow(server, request, &opened, login).await,
        // Loaded again.
        InteractionState::Allowed { login, grant, .. } => {
            decision::same_again(server, &opened, login, grant).await
        }
        InteractionState::Denied => Ok(Ending::Denied),
        InteractionState::Rejected(reason) => Ok(Ending::Rejected(*reason)),
        // A verifier, and no answer: the store was restored from an older copy.
        InteractionState::Open => Err(Notice::Expired),
    };
    Ok((opened, ending))
}

/// Where the operator's page sends the browser: the same for the same interaction.
pub(super) fn resume_url(
    settings: &OAuthSettings,
    peppers: &Peppers,
    id: &InteractionId,
) -> String {
    let (host, path) = (&settings.authorize_host, interaction_path(id));
    let verifier = verifier(peppers, id);
    format!("https://{host}{path}/resume?{VERIFIER}={verifier}")
}
