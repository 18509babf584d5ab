//! `POST /oauth/interaction/{id}/decision`, and what follows a decision: the code.
//!
//! Invariant: an interaction gives at most one grant and one code, however often its form is sent:
//! both follow from its id under a key that only we have.

use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{HeaderValue, Response};

use super::authorize::{go_to, send_back};
use super::endpoint::interaction_path;
use super::interaction::{Opened, open_form};
use super::login::needs_consent;
use super::page::{self, Notice};
use super::{AuthorizationServer, OwnRequest, Refusal};
use crate::clock::Timestamp;
use crate::id::{GrantId, InteractionId};
use crate::scope::ScopeSet;
use crate::secret::{Pepper, Purpose, Secret};
use crate::store::{
    AdvanceInteraction, ClientKind, ClientRecord, CodeState, Consent, CreateGrant, Decision,
    GrantRecord, GrantStanding, InteractionState, Login, RejectReason,
};
use crate::token::OpaqueFormat;

/// RFC 6749 §4.1.2 allows ten minutes; a client needs a second.
const CODE: Duration = Duration::from_secs(60);

/// What a decision comes to.
pub(super) enum Ending {
    Code(Secret),
    Denied,
    Rejected(RejectReason),
}

/// Takes a decision.
pub(super) async fn answer(server: &AuthorizationServer, request: &OwnRequest) -> Response<Bytes> {
    let (opened, form) = match open_form(server, request).await {
        Ok(opened) => opened,
        Err(notice) => return page::notice(&server.settings.realm, notice),
    };
    let ending = match (form.get("decision"), &opened.record.state) {
        (Some("deny"), _) => deny(server, &opened).await,
        (Some("allow"), InteractionState::LoggedIn(login)) => allow(server, &opened, login).await,
        // The second of two clicks.
        (Some("allow"), InteractionState::Allowed { login, grant, .. }) => {
            same_again(server, &opened, login, grant).await
        }
        (Some("allow"), InteractionState::Denied) => Err(Notice::Used),
        (Some("allow"), InteractionState::Open) => return to_page(request, &opened.record.id),
        _ => Err(Notice::Malformed),
    };
    let response = end(server, request, &opened, ending);
    opened.browser.renew(response)
}

/// After a login: to the client if nothing is left to ask, else to the page that asks.
pub(super) async fn go_on(
    server: &AuthorizationServer,
    request: &OwnRequest,
    opened: Opened,
) -> Response<Bytes> {
    let InteractionState::LoggedIn(login) = &opened.record.state else {
        return to_page(request, &opened.record.id);
    };
    let response = match needs_consent(server, &opened, login).await {
        Ok(true) => to_page(request, &opened.record.id),
        Ok(false) => {
            let ending = allow(server, &opened, login).await;
            end(server, request, &opened, ending)
        }
        Err(notice) => end(server, request, &opened, Err(notice)),
    };
    opened.browser.renew(response)
}

fn to_page(request: &OwnRequest, id: &InteractionId) -> Response<Bytes> {
    let path = HeaderValue::try_from(interaction_path(id));
    go_to(request, path.expect("an id is visible ASCII"))
}

/// Sends the browser to the client, or tells on a page why not.
pub(super) fn end(
    server: &AuthorizationServer,
    request: &OwnRequest,
    opened: &Opened,
    ending: Result<Ending, Notice>,
) -> Response<Bytes> {
    let (redirect, state) = (&opened.redirect, opened.asked.state.as_deref());
    match ending {
        Ok(Ending::Code(code)) => {
            send_back(server, request, redirect, state, &[("code", code.expose())])
        }
        Ok(Ending::Denied) => {
            let denied = [("error", "access_denied")];
            Refusal::UserDenied.mark(send_back(server, request, redirect, state, &denied))
        }
        Ok(Ending::Rejected(reason)) => {
            let rejected = [("error", reason.code())];
            Refusal::LoginRejected.mark(send_back(server, request, redirect, state, &rejected))
        }
        Err(Notice::Unavailable) => {
            let later = [("error", "temporarily_unavailable")];
            Refusal::Unavailable.mark(send_back(server, request, redirect, state, &later))
        }
        Err(notice) => page::notice(&server.settings.realm, notice),
    }
}

async fn deny(server: &AuthorizationServer, opened: &Opened) -> Result<Ending, Notice> {
    let (id, now) = (&opened.record.id, server.parts.clock.now());
    let store = &server.parts.store;
    match store.decide_interaction(id, Decision::Deny, now).await? {
        AdvanceInteraction::Advanced(_) => Ok(Ending::Denied),
        AdvanceInteraction::AlreadyDecided(record) => match record.state {
            InteractionState::Denied => Ok(Ending::Denied),
            _ => Err(Notice::Used),
        },
        AdvanceInteraction::Expired
        | AdvanceInteraction::NotLoggedIn
        | AdvanceInteraction::Unknown => Err(Notice::Expired),
    }
}

/// Granted is what was asked for, of what the client may have, of what the user may give.
pub(super) fn granted(opened: &Opened, login: &Login) -> ScopeSet {
    let asked = &opened.asked.scopes;
    asked
        .intersection(&opened.client.settings.scopes)
        .intersection(&login.scopes)
}

/// Makes the grant and its code, and decides the interaction.
pub(super) async fn allow(
    server: &AuthorizationServer,
    opened: &Opened,
    login: &Login,
) -> Result<Ending, Notice> {
    let scopes = granted(opened, login);
    if scopes.is_empty() {
        return deny(server, opened).await;
    }
    let store = &server.parts.store;
    let now = server.parts.clock.now();
    let made = Made::now(server, &opened.record.id, login);
    let record = grant_record(server, opened, login, &made, now);
    // Before the decision: a decided interaction has its grant. That it exists is: decided before.
    let (CreateGrant::Created | CreateGrant::Exists) = store.create_grant(record).await?;
    let decision = Decision::Allow {
        scopes: scopes.clone(),
        grant: made.grant,
    };
    match store
        .decide_interaction(&opened.record.id, decision, now)
        .await?
    {
        AdvanceInteraction::Advanced(_) => {
            remember(server, opened, login, scopes).await;
            Ok(Ending::Code(made.code))
        }
        AdvanceInteraction::AlreadyDecided(record) => match record.state {
            InteractionState::Allowed { login, grant, .. } => {
                same_again(server, opened, &login, &grant).await
            }
            _ => Err(Notice::Used),
        },
        AdvanceInteraction::Expired
        | AdvanceInteraction::NotLoggedIn
        | AdvanceInteraction::Unknown => Err(Notice::Expired),
    }
}

/// So that the same is not asked again. If that fails, it is asked again. What the operator's page
/// has asked is the page's to remember.
async fn remember(server: &AuthorizationServer, opened: &Opened, login: &Login, scopes: ScopeSet) {
    if server.settings.login.is_delegated() || !may_remember(&opened.client) {
        return;
    }
    let (store, now) = (&server.parts.store, server.parts.clock.now());
    let (client, subject) = (&opened.client.id, &login.subject);
    if let Err(error) = store.remember_consent(client, subject, scopes, now).await {
        let cause: &dyn std::error::Error = &error;
        tracing::warn!(cause, "a consent could not be remembered");
    }
}

/// The same code once more, while nobody has used it: a client that got it twice and redeemed it
/// twice would lose its grant.
pub(super) async fn same_again(
    server: &AuthorizationServer,
    opened: &Opened,
    login: &Login,
    grant: &GrantId,
) -> Result<Ending, Notice> {
    let made = Made::before(server, &opened.record.id, login, grant);
    let made = made.ok_or(Notice::Used)?;
    let now = server.parts.clock.now();
    let record = server.parts.store.grant(grant).await?;
    let waiting = record.is_some_and(|record| {
        matches!(record.standing, GrantStanding::Pending) && now < record.code.expires_at
    });
    match waiting {
        true => Ok(Ending::Code(made.code)),
        false => Err(Notice::Used),
    }
}

fn grant_record(
    server: &AuthorizationServer,
    opened: &Opened,
    login: &Login,
    made: &Made,
    now: Timestamp,
) -> GrantRecord {
    let asked = &opened.asked;
    GrantRecord {
        id: made.grant,
        client: opened.client.id.clone(),
        subject: login.subject.clone(),
        account: login.account.clone(),
        scopes: granted(opened, login),
        resource: asked.resource.clone(),
        auth_time: login.auth_time,
        acr: login.acr.clone(),
        amr: login.amr.clone(),
        created_at: now,
        expires_at: now.plus(server.settings.refresh.absolute),
        standing: GrantStanding::Pending,
        code: CodeState {
            digest: server.parts.peppers.current().digest(made.code.expose()),
            redirect: opened.redirect.as_str().to_owned(),
            redirect_rule: asked.redirect_rule(),
            challenge: asked.challenge.clone(),
            expires_at: now.plus(CODE),
            redeemed_at: None,
            wrong_verifiers: 0,
        },
        refresh: None,
    }
}

/// The grant and the code of an interaction and a login: who logs in as another makes another.
struct Made {
    grant: GrantId,
    code: Secret,
}

impl Made {
    fn now(server: &AuthorizationServer, id: &InteractionId, login: &Login) -> Made {
        let parts = &server.parts;
        Made::from(parts.peppers.current(), &parts.format, id, login)
    }

    /// What was made when this grant was; `None` where that was under a pepper that is forgotten.
    fn before(
        server: &AuthorizationServer,
        id: &InteractionId,
        login: &Login,
        grant: &GrantId,
    ) -> Option<Made> {
        let parts = &server.parts;
        let mut made = parts
            .peppers
            .all()
            .map(|pepper| Made::from(pepper, &parts.format, id, login));
        made.find(|made| made.grant == *grant)
    }

    fn from(pepper: &Pepper, format: &OpaqueFormat, id: &InteractionId, login: &Login) -> Made {
        let key = hmac::Key::new(hmac::HMAC_SHA256, pepper.derive(Purpose::Answers).as_ref());
        let bits = |what: &str| {
            let (subject, time) = (&login.subject, login.auth_time.as_millis());
            let tag = hmac::sign(&key, format!("{what} {id} {subject} {time}").as_bytes());
            let mut bits = zeroize::Zeroizing::new([0; 32]);
            bits.copy_from_slice(tag.as_ref());
            bits
        };
        let mut grant = [0; 16];
        grant.copy_from_slice(&bits("grant")[..16]);
        let grant = GrantId::from_bytes(grant);
        Made {
            code: format.mint_code_from(&grant, &bits("code")),
            grant,
        }
    }
}

/// Whether the client's users are ever asked.
pub(super) fn is_asked(client: &ClientRecord) -> bool {
    client.settings.consent != Consent::Never
}

/// Whether a consent spares the next one. Not for a public client: any app on the device could
/// call itself by its name (RFC 8252 §8.6).
pub(super) fn may_remember(client: &ClientRecord) -> bool {
    client.settings.consent == Consent::Once && client.kind == ClientKind::Confidential
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SubjectId;

    #[test]
    fn an_interaction_has_one_code_for_a_user_and_others_have_others() {
        let pepper = Pepper::new(b"0123456789abcdefghijklmnopqrstuvwxyz").expect("strong");
        let format = OpaqueFormat::new("osir");
        let made = |id, subject| {
            let id = InteractionId::parse(id).expect("an id");
            let login = Login {
                subject: SubjectId::parse(subject).expect("an id"),
                account: None,
                scopes: ScopeSet::empty(),
                auth_time: Timestamp::from_secs(1),
                acr: None,
                amr: Vec::new(),
            };
            let made = Made::from(&pepper, &format, &id, &login);
            assert_eq!(format.grant_of_code(made.code.expose()), Some(made.grant));
            (made.grant, made.code.expose().to_owned())
        };
        let one = made("int_1", "usr_1");
        assert_eq!(made("int_1", "usr_1"), one);
        for other in [made("int_2", "usr_1"), made("int_1", "usr_2")] {
            assert!(other.0 != one.0 && other.1 != one.1);
        }
    }
}
