//! `POST /oauth/interaction/{id}/decision`, and what follows a decision: the code.
//!
//! Invariant: an interaction gives at most one grant and one code, however often its form is sent:
//! both follow from its id under a key that only we have.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response};

use super::authorize::{go_to, send_back};
use super::endpoint::interaction_path;
use super::interaction::{Opened, open_form};
use super::login::needs_consent;
use super::page::{self, Notice};
use super::{AuthorizationServer, OwnRequest, Refusal, login_cookie};
use crate::clock::Timestamp;
use crate::id::{GrantId, InteractionId};
use crate::observe::Causes;
use crate::scope::ScopeSet;
use crate::secret::{Mac, MacKeys, Peppers, Purpose, Secret};
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
        (Some("deny"), _) => deny(server, request, &opened).await,
        (Some("allow"), InteractionState::LoggedIn(login)) => {
            allow(server, request, &opened, login).await
        }
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
            let ending = allow(server, request, &opened, login).await;
            end(server, request, &opened, ending)
        }
        Err(notice) => end(server, request, &opened, Err(notice)),
    };
    let mut response = opened.browser.renew(response);
    let pepper = server.parts.peppers.current();
    login_cookie::add(pepper, &opened.record, &mut response);
    response
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

async fn deny(
    server: &AuthorizationServer,
    request: &OwnRequest,
    opened: &Opened,
) -> Result<Ending, Notice> {
    let (id, now) = (&opened.record.id, server.parts.clock.now());
    let store = &server.parts.store;
    match store.decide_interaction(id, Decision::Deny, now).await? {
        AdvanceInteraction::Advanced(_) => {
            server.tell_denial(request, opened);
            Ok(Ending::Denied)
        }
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
    request: &OwnRequest,
    opened: &Opened,
    login: &Login,
) -> Result<Ending, Notice> {
    let scopes = granted(opened, login);
    if scopes.is_empty() {
        return deny(server, request, opened).await;
    }
    let store = &server.parts.store;
    let now = server.parts.clock.now();
    let parts = &server.parts;
    let made = Made::now(&parts.peppers, &parts.format, &opened.record.id, login);
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
            server.tell_consent(request, opened, login, (&made.grant, scopes.clone()));
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
    let delegated = server.settings.login.is_delegated();
    if delegated || !may_remember(&opened.client) || is_for_one_of_several(server, opened) {
        return;
    }
    let (store, now) = (&server.parts.store, server.parts.clock.now());
    let (client, subject) = (&opened.client.id, &login.subject);
    if let Err(error) = store.remember_consent(client, subject, scopes, now).await {
        tracing::warn!(cause = %Causes(&error), "a consent could not be remembered");
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
    let (parts, id) = (&server.parts, &opened.record.id);
    let made = Made::before(&parts.peppers, &parts.format, id, login, grant);
    let made = made.ok_or(Notice::Used)?;
    let now = parts.clock.now();
    let record = parts.store.grant(grant).await?;
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
    fn now(peppers: &Peppers, format: &OpaqueFormat, id: &InteractionId, login: &Login) -> Made {
        let keys = MacKeys::new(peppers, Purpose::Answers);
        let [grant, code] = Made::messages(id, login);
        let (grant, code) = (keys.make(&[&grant]), keys.make(&[&code]));
        Made::from(format, &grant, &code)
    }

    /// What was made when this grant was; `None` where that was under a pepper that is forgotten.
    fn before(
        peppers: &Peppers,
        format: &OpaqueFormat,
        id: &InteractionId,
        login: &Login,
        grant: &GrantId,
    ) -> Option<Made> {
        let keys = MacKeys::new(peppers, Purpose::Answers);
        let [of_grant, of_code] = Made::messages(id, login);
        keys.all(&[&of_grant])
            .zip(keys.all(&[&of_code]))
            .map(|(grant, code)| Made::from(format, &grant, &code))
            .find(|made| made.grant == *grant)
    }

    fn messages(id: &InteractionId, login: &Login) -> [Vec<u8>; 2] {
        let (subject, time) = (&login.subject, login.auth_time.as_millis());
        ["grant", "code"].map(|what| format!("{what} {id} {subject} {time}").into_bytes())
    }

    fn from(format: &OpaqueFormat, grant: &Mac, code: &Mac) -> Made {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&grant.as_bytes()[..16]);
        let grant = GrantId::from_bytes(bytes);
        Made {
            code: format.mint_code_from(&grant, code.as_bytes()),
            grant,
        }
    }
}

/// The resource that a request is for, where it is another than the default: then a consent that is
/// remembered, which says nothing of it, spares nobody the next one.
pub(super) fn other_resource<'a>(
    server: &AuthorizationServer,
    opened: &'a Opened,
) -> Option<&'a str> {
    let asked = opened.asked.resource.as_deref()?;
    let default = server.settings.resources.first().map(String::as_str);
    (default != Some(asked)).then_some(asked)
}

/// A consent to one resource of several is not kept: one that is kept is also good for a request
/// that names none, whose grant is for each that there is.
fn is_for_one_of_several(server: &AuthorizationServer, opened: &Opened) -> bool {
    opened.asked.resource.is_some() && server.settings.resources.len() > 1
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
    use crate::secret::Pepper;

    #[test]
    fn an_interaction_has_one_code_for_a_user_and_others_have_others() {
        let (old, new) = (Pepper::of_test(b'a'), Pepper::of_test(b'b'));
        let peppers = Peppers::from(old.clone());
        let changed = Peppers::from(new).with_previous(old).expect("two peppers");
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
            let made = Made::now(&peppers, &format, &id, &login);
            assert_eq!(format.grant_of_code(made.code.expose()), Some(made.grant));
            assert_ne!(Made::now(&changed, &format, &id, &login).grant, made.grant);
            let again = Made::before(&changed, &format, &id, &login, &made.grant);
            assert_eq!(
                again.expect("the pepper before").code.expose(),
                made.code.expose()
            );
            (made.grant, made.code.expose().to_owned())
        };
        let one = made("int_1", "usr_1");
        assert_eq!(made("int_1", "usr_1"), one);
        for other in [made("int_2", "usr_1"), made("int_1", "usr_2")] {
            assert!(other.0 != one.0 && other.1 != one.1);
        }
    }
}
