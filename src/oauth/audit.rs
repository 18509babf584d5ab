//! What the endpoints leave in the audit log.
//!
//! Not here: what operators and their login page do ([`super::registry`], [`super::login_desk`]).
//! Invariants: a line takes a credential of ours that was verified (a login, a code, a token), and
//! each of them makes one once, so that nobody can flood the log; it has ids and no token; no
//! request waits for the disk.

use super::decision::granted;
use super::interaction::Opened;
use super::issue::Claims;
use super::{AuthorizationServer, Endpoint, OwnRequest};
use crate::id::{ClientId, CredentialId, GrantId, SubjectId};
use crate::observe::{Actor, AuditAction, AuditEvent, AuditOutcome};
use crate::scope::ScopeSet;
use crate::store::{GrantRecord, InteractionState, Login};

impl AuthorizationServer {
    /// A user granted a client what it asked for, or had before.
    pub(super) fn tell_consent(
        &self,
        request: &OwnRequest,
        opened: &Opened,
        login: &Login,
        (grant, scopes): (&GrantId, ScopeSet),
    ) {
        let event = event(AuditAction::ConsentGive, request, AuditOutcome::Done);
        let event = event.grants(scopes, None);
        let event = named(event, grant);
        self.tell_decision(
            request,
            opened,
            login,
            match request.own.endpoint {
                Endpoint::Login => event.reason("not_asked"),
                _ => event,
            },
        );
    }

    /// A user who had logged in said no, or has nothing of what the client asked for. What a browser
    /// says before a login is nobody's word.
    pub(super) fn tell_denial(&self, request: &OwnRequest, opened: &Opened) {
        let InteractionState::LoggedIn(login) = &opened.record.state else {
            return;
        };
        let event = event(AuditAction::ConsentDeny, request, AuditOutcome::Done);
        self.tell_decision(
            request,
            opened,
            login,
            match granted(opened, login).is_empty() {
                true => event.reason("nothing_to_grant"),
                false => event,
            },
        );
    }

    fn tell_decision(
        &self,
        request: &OwnRequest,
        opened: &Opened,
        login: &Login,
        event: AuditEvent,
    ) {
        // The operator's page has left its own line.
        if request.own.endpoint == Endpoint::Resume {
            return;
        }
        let event = event
            .client(opened.client.id.clone())
            .subject(login.subject.clone());
        self.parts.tell(match &login.account {
            Some(account) => event.account(account.clone()),
            None => event,
        });
    }

    /// A code or refresh token came back that was used before: its grant is revoked now.
    pub(super) fn tell_reuse(
        &self,
        action: AuditAction,
        request: &OwnRequest,
        grant: &GrantRecord,
    ) {
        let event = event(action, request, AuditOutcome::Denied);
        self.parts.tell(about(event, grant));
    }

    /// A client gave its refresh token back, and with it the grant.
    pub(super) fn tell_grant_revoked(&self, request: &OwnRequest, grant: &GrantRecord) {
        let event = event(AuditAction::TokenRevoke, request, AuditOutcome::Done).reason("grant");
        self.parts.tell(about(event, grant));
    }

    /// A client gave its access token back.
    pub(super) fn tell_access_revoked(
        &self,
        request: &OwnRequest,
        client: &ClientId,
        claims: &Claims,
    ) {
        let mut event = event(AuditAction::TokenRevoke, request, AuditOutcome::Done)
            .reason("jti")
            .client(client.clone());
        if let Ok(jti) = CredentialId::parse(&claims.jti) {
            event = event.credential(jti);
        }
        if let Ok(subject) = SubjectId::parse(&claims.sub) {
            event = event.subject(subject);
        }
        self.parts.tell(event);
    }
}

fn event(action: AuditAction, request: &OwnRequest, outcome: AuditOutcome) -> AuditEvent {
    let address = request.client;
    AuditEvent::new(action, Actor::Client { address }, outcome)
}

fn about(event: AuditEvent, grant: &GrantRecord) -> AuditEvent {
    let event = named(event, &grant.id)
        .client(grant.client.clone())
        .subject(grant.subject.clone());
    match &grant.account {
        Some(account) => event.account(account.clone()),
        None => event,
    }
}

/// By the id that operators revoke it by.
fn named(event: AuditEvent, grant: &GrantId) -> AuditEvent {
    match CredentialId::parse(&grant.to_string()) {
        Ok(id) => event.credential(id),
        Err(_) => event,
    }
}
