//! The form of an audit line. Fields are only ever added.

use std::net::IpAddr;

use super::{Actor, AuditAction, AuditEvent, AuditOutcome};
use crate::clock::Timestamp;
use crate::id::{AccountId, ClientId, CredentialId, InstanceId, RequestId, SubjectId};
use crate::scope::ScopeSet;

/// The JSON object of one line.
#[derive(serde::Serialize)]
pub(super) struct Line<'a> {
    time: String,
    event: AuditAction,
    actor: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<&'a CredentialId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a AccountId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a ClientId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a SubjectId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a InstanceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a ScopeSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    outcome: AuditOutcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Line<'_> {
    pub(super) fn new(time: Timestamp, event: &AuditEvent) -> Line<'_> {
        let (actor, uid, address) = match event.actor {
            Actor::AdminSocket { uid } => ("admin_api", Some(uid), None),
            Actor::AdminTcp { address } => ("admin_api", None, Some(address)),
            Actor::Cli { uid } => ("cli", Some(uid), None),
            Actor::Client { address } => ("client", None, Some(address)),
            Actor::Gateway => ("gateway", None, None),
        };
        Line {
            time: time.to_string(),
            event: event.action,
            actor,
            uid,
            address,
            credential_id: event.credential.as_ref(),
            account: event.account.as_ref(),
            client: event.client.as_ref(),
            subject: event.subject.as_ref(),
            instance: event.instance.as_ref(),
            request_id: event.request.as_ref(),
            route: event.route.as_deref(),
            scopes: event.scopes.as_ref(),
            expires_at: event.expires_at.map(|at| at.to_string()),
            count: event.count,
            outcome: event.outcome,
            reason: event.reason.as_deref(),
        }
    }
}
