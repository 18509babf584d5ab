//! `POST /oauth/interaction/{id}/login`: the builtin login.
//!
//! Invariant: an unknown name, a wrong password and a disabled user get the same answer, after the
//! same work.

use bytes::Bytes;
use http::Response;

use super::decision::{self, is_asked};
use super::interaction::{Opened, open_form};
use super::page::{self, Message, Notice};
use super::password::{Busy, Verdict};
use super::throttle::Held;
use super::{AuthorizationServer, OwnRequest};
use crate::id::LoginName;
use crate::observe::Causes;
use crate::secret::Secret;
use crate::store::{AdvanceInteraction, Login, UserRecord};

/// Far longer than any password, far shorter than a form.
pub(super) const LONGEST_PASSWORD: usize = 1024;

/// Why nobody is logged in.
enum Failed {
    Busy,
    Notice(Notice),
    TooMany(std::time::Duration),
    Wrong,
}

/// Logs a user in and goes on: to the consent page, or to the client if none is needed.
pub(super) async fn answer(server: &AuthorizationServer, request: &OwnRequest) -> Response<Bytes> {
    let (opened, form) = match open_form(server, request).await {
        Ok(opened) => opened,
        Err(notice) => return page::notice(&server.settings.realm, notice),
    };
    let name = form.get("name").unwrap_or_default();
    let password = Secret::new(form.get("password").unwrap_or_default());
    let checked = check(server, request, name, password).await;
    count(server, checked.as_ref().err());
    let user = match checked {
        Ok(user) => user,
        Err(failed) => return refuse(server, &opened, &failed),
    };
    match log_in(server, opened, &user).await {
        Ok(opened) => decision::go_on(server, request, opened).await,
        Err(notice) => page::notice(&server.settings.realm, notice),
    }
}

/// Counts how a login ended.
fn count(server: &AuthorizationServer, failed: Option<&Failed>) {
    let outcome = match failed {
        None => "ok",
        Some(Failed::Busy) => "busy",
        Some(Failed::Notice(_)) => "error",
        Some(Failed::TooMany(_)) => "throttled",
        Some(Failed::Wrong) => "wrong",
    };
    let logins = &server.parts.metrics.oauth_logins;
    logins.with_label_values(&[outcome]).inc();
}

async fn check(
    server: &AuthorizationServer,
    request: &OwnRequest,
    name: &str,
    password: Secret,
) -> Result<UserRecord, Failed> {
    let attempt = server.parts.throttle.try_login(name, request.client)?;
    let compared = compare(server, name, password).await;
    match &compared {
        Ok(_) => attempt.succeeded(),
        // As it was counted.
        Err(Failed::Wrong) => drop(attempt),
        Err(_) => attempt.give_back(),
    }
    let (user, verdict) = compared?;
    keep(server, &user, verdict).await;
    Ok(user)
}

async fn compare(
    server: &AuthorizationServer,
    name: &str,
    password: Secret,
) -> Result<(UserRecord, Verdict), Failed> {
    let user = match LoginName::parse(name) {
        Ok(name) => server
            .parts
            .store
            .user_by_name(&name)
            .await
            .map_err(unavailable)?,
        Err(_) => None,
    };
    let hash = user.as_ref().map(|user| user.password.clone());
    let fits = password.expose().len() <= LONGEST_PASSWORD;
    let verdict = server.parts.passwords.verify(hash, password).await;
    let verdict = verdict.map_err(|Busy| Failed::Busy)?;
    let right = fits && verdict != Verdict::Wrong;
    let user = user.filter(|user| right && user.disabled_at.is_none());
    user.map(|user| (user, verdict)).ok_or(Failed::Wrong)
}

/// Keeps a password that was hashed anew, unless it was changed meanwhile. If that fails, the next
/// login does it.
async fn keep(server: &AuthorizationServer, user: &UserRecord, verdict: Verdict) {
    let Verdict::Outdated(hash) = verdict else {
        return;
    };
    let (before, now) = (Some(user.password.clone()), server.parts.clock.now());
    let store = &server.parts.store;
    if let Err(error) = store.set_password(&user.name, hash, before, now).await {
        tracing::warn!(cause = %Causes(&error), "a password that was hashed anew could not be kept");
    }
}

impl From<Held> for Failed {
    fn from(held: Held) -> Failed {
        match held {
            Held::Busy => Failed::Busy,
            Held::Wait(wait) => Failed::TooMany(wait),
        }
    }
}

fn unavailable(error: crate::store::StoreError) -> Failed {
    Failed::Notice(error.into())
}

async fn log_in(
    server: &AuthorizationServer,
    mut opened: Opened,
    user: &UserRecord,
) -> Result<Opened, Notice> {
    let now = server.parts.clock.now();
    let login = Login {
        subject: user.id.clone(),
        account: Some(user.account.clone()),
        scopes: user.scopes.clone(),
        auth_time: now,
        acr: None,
        amr: Vec::new(),
    };
    let id = &opened.record.id;
    let logged_in = server
        .parts
        .store
        .log_in_interaction(id, login, now)
        .await?;
    opened.record = match logged_in {
        AdvanceInteraction::Advanced(record) => record,
        AdvanceInteraction::AlreadyDecided(_) => return Err(Notice::Used),
        AdvanceInteraction::Expired
        | AdvanceInteraction::NotLoggedIn
        | AdvanceInteraction::Unknown => return Err(Notice::Expired),
    };
    Ok(opened)
}

fn refuse(server: &AuthorizationServer, opened: &Opened, failed: &Failed) -> Response<Bytes> {
    match failed {
        Failed::Busy => page::login(server, opened, Message::Busy),
        Failed::Notice(notice) => page::notice(&server.settings.realm, *notice),
        Failed::TooMany(wait) => page::login(server, opened, Message::TooMany(*wait)),
        Failed::Wrong => page::login(server, opened, Message::Wrong),
    }
}

/// Whether the user still has to be asked.
pub(super) async fn needs_consent(
    server: &AuthorizationServer,
    opened: &Opened,
    login: &Login,
) -> Result<bool, Notice> {
    if !is_asked(&opened.client) {
        return Ok(false);
    }
    if !decision::may_remember(&opened.client) || decision::other_resource(server, opened).is_some()
    {
        return Ok(true);
    }
    let known = server
        .parts
        .store
        .consent(&opened.client.id, &login.subject)
        .await?;
    let wanted = opened.asked.scopes.intersection(&login.scopes);
    Ok(!known.is_some_and(|consent| wanted.is_subset_of(&consent.scopes)))
}
