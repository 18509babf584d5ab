//! The JSON of the admin API, as both its server and its client see it.
//!
//! Times are RFC 3339 texts. Not here: what is allowed (the key desk decides); turning a body
//! into a wish checks only forms.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::UsageView;
use crate::auth::{
    CountedUsage, KeyPage, KeyProblem, KeyRotationStatus, NewKeyRequest, RotateKeyRequest,
    RotatedKey, parse_allowed_ip,
};
use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::{AccountId, KeyId, RequestId};
use crate::policy::{ExplainCredential, ExplainRequest};
use crate::scope::{Scope, ScopeSet};
use crate::secret::Secret;
use crate::store::KeyRecord;

/// One key, for reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of `KeyRecord`")]
pub struct KeyView {
    pub id: KeyId,
    pub account: AccountId,
    pub name: String,
    pub env: Environment,
    pub scopes: ScopeSet,
    pub hint: String,
    pub created_at: String,
    pub not_before: Option<String>,
    pub expires_at: Option<String>,
    pub revoked_at: Option<String>,
    pub allowed_ips: Vec<String>,
}

/// One key with how far its last rotation has come, and what it was used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDetails {
    /// The key.
    #[serde(flatten)]
    pub key: KeyView,
    /// Left out where it never was rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationView>,
    /// What it was used for lately.
    pub usage: UsageView,
}

/// How far a rotation has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of `KeyRotationStatus`")]
pub struct RotationView {
    pub rotated_at: String,
    pub last_seen: Option<String>,
    pub previous_last_seen: Option<String>,
    pub previous_ends_at: String,
}

/// The body of `POST /v1/keys/{id}/rotate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateKeyBody {
    /// How long the old secret goes on working, in seconds.
    pub overlap: u64,
    /// Names the wish: asked again under the same name, the answer is the same.
    pub request_id: String,
}

/// A key with its new secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RotatedKeyView {
    /// The public id, which stays.
    pub id: KeyId,
    /// The new secret.
    #[serde(serialize_with = "expose", deserialize_with = "take")]
    pub key: Secret,
    /// What it may do.
    pub scopes: ScopeSet,
    /// When it stops working; `null` is never.
    pub expires_at: Option<String>,
    /// When the old secret stops working.
    pub previous_ends_at: String,
    /// Sessions that were ended with the old secret.
    pub sessions_ended: usize,
}

/// One page of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// In the order of their ids.
    pub keys: Vec<KeyView>,
    /// Ask again with `?after=` this; `null` is the end.
    pub next: Option<KeyId>,
}

/// A new key with its secret: the only form in which one leaves the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreatedKey {
    /// The public id.
    pub id: KeyId,
    /// The key itself.
    #[serde(serialize_with = "expose", deserialize_with = "take")]
    pub key: Secret,
    /// What it may do.
    pub scopes: ScopeSet,
    /// When it stops working; `null` is never.
    pub expires_at: Option<String>,
}

/// The answer to a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedKey {
    /// Whether it was live until now.
    pub outcome: Revocation,
    /// The key as it is now.
    pub key: KeyView,
}

/// Whether a revoked key was live until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// It was revoked before.
    AlreadyRevoked,
    /// It was live.
    Revoked,
}

/// The body of `POST /v1/keys`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members of `NewKeyRequest`")]
pub struct NewKeyBody {
    pub account: String,
    pub name: String,
    pub scopes: Vec<String>,
    #[serde(default)]
    pub env: Option<Environment>,
    #[serde(default)]
    pub not_before: Option<String>,
    #[serde(default)]
    pub expires_at: Option<String>,
    #[serde(default)]
    pub allowed_ips: Vec<String>,
}

/// The body of `POST /v1/explain`: at most one of `key`, `token` and `scopes`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members of `ExplainRequest`")]
pub struct ExplainBody {
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub host: Option<String>,
    #[serde(default)]
    pub address: Option<IpAddr>,
    #[serde(
        default,
        serialize_with = "expose_some",
        deserialize_with = "take_some"
    )]
    pub key: Option<Secret>,
    #[serde(
        default,
        serialize_with = "expose_some",
        deserialize_with = "take_some"
    )]
    pub token: Option<Secret>,
    #[serde(default)]
    pub scopes: Option<ScopeSet>,
}

/// Why a body is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BodyProblem {
    /// More than one of `key`, `token` and `scopes`.
    #[error("at most one of `key`, `token` and `scopes`")]
    Credentials,
    /// A member that is read, but not understood.
    #[error(transparent)]
    Key(#[from] KeyProblem),
    /// Not JSON, or not of this form.
    #[error("the body is not what this resource takes: {0}")]
    Json(#[source] serde_json::Error),
}

impl From<&KeyRecord> for KeyView {
    fn from(record: &KeyRecord) -> KeyView {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        KeyView {
            id: record.id.clone(),
            account: record.account.clone(),
            name: record.name.clone(),
            env: record.environment,
            scopes: record.scopes.clone(),
            hint: record.hint.clone(),
            created_at: record.created_at.to_string(),
            not_before: text(record.not_before),
            expires_at: text(record.expires_at),
            revoked_at: text(record.revoked_at),
            allowed_ips: record.allowed_ips.iter().map(ToString::to_string).collect(),
        }
    }
}

impl KeyDetails {
    /// From what the key desk gave.
    pub fn new(
        record: &KeyRecord,
        rotation: Option<KeyRotationStatus>,
        usage: &CountedUsage,
    ) -> KeyDetails {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        KeyDetails {
            key: KeyView::from(record),
            rotation: rotation.map(|status| RotationView {
                rotated_at: status.rotated_at.to_string(),
                last_seen: text(status.last_seen),
                previous_last_seen: text(status.previous_last_seen),
                previous_ends_at: status.previous_ends_at.to_string(),
            }),
            usage: UsageView::new(record, usage),
        }
    }
}

impl From<RotatedKey> for RotatedKeyView {
    fn from(rotated: RotatedKey) -> RotatedKeyView {
        RotatedKeyView {
            id: rotated.record.id,
            key: rotated.secret,
            scopes: rotated.record.scopes,
            expires_at: rotated.record.expires_at.map(|at| at.to_string()),
            previous_ends_at: rotated.previous_ends_at.to_string(),
            sessions_ended: rotated.sessions_ended,
        }
    }
}

impl From<&RotateKeyRequest> for RotateKeyBody {
    fn from(request: &RotateKeyRequest) -> RotateKeyBody {
        RotateKeyBody {
            overlap: request.overlap.as_secs(),
            request_id: request.request.to_string(),
        }
    }
}

impl TryFrom<RotateKeyBody> for RotateKeyRequest {
    type Error = BodyProblem;

    fn try_from(body: RotateKeyBody) -> Result<RotateKeyRequest, BodyProblem> {
        Ok(RotateKeyRequest {
            overlap: Duration::from_secs(body.overlap),
            request: RequestId::parse(&body.request_id).map_err(|_| KeyProblem::RequestId)?,
        })
    }
}

impl From<&KeyPage> for KeyList {
    fn from(page: &KeyPage) -> KeyList {
        KeyList {
            keys: page.keys.iter().map(KeyView::from).collect(),
            next: page.next.clone(),
        }
    }
}

impl CreatedKey {
    /// From what the key desk gave.
    pub fn new(record: &KeyRecord, key: Secret) -> CreatedKey {
        CreatedKey {
            id: record.id.clone(),
            key,
            scopes: record.scopes.clone(),
            expires_at: record.expires_at.map(|at| at.to_string()),
        }
    }
}

impl From<&NewKeyRequest> for NewKeyBody {
    fn from(request: &NewKeyRequest) -> NewKeyBody {
        NewKeyBody {
            account: request.account.to_string(),
            name: request.name.clone(),
            scopes: request.scopes.names().map(str::to_owned).collect(),
            env: Some(request.environment),
            not_before: request.not_before.map(|at| at.to_string()),
            expires_at: request.expires_at.map(|at| at.to_string()),
            allowed_ips: request
                .allowed_ips
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }
}

impl TryFrom<NewKeyBody> for NewKeyRequest {
    type Error = BodyProblem;

    fn try_from(body: NewKeyBody) -> Result<NewKeyRequest, BodyProblem> {
        let scopes = body.scopes.iter().map(|name| Scope::parse(name));
        let allowed_ips = body.allowed_ips.iter().map(|text| parse_allowed_ip(text));
        Ok(NewKeyRequest {
            account: AccountId::parse(&body.account).map_err(|_| KeyProblem::Account)?,
            name: body.name,
            environment: body.env.unwrap_or(Environment::Live),
            scopes: scopes
                .collect::<Result<_, _>>()
                .map_err(|_| KeyProblem::Scope)?,
            not_before: instant("not_before", body.not_before)?,
            expires_at: instant("expires_at", body.expires_at)?,
            allowed_ips: allowed_ips.collect::<Result<_, _>>()?,
        })
    }
}

fn instant(name: &'static str, text: Option<String>) -> Result<Option<Timestamp>, KeyProblem> {
    text.map(|text| Timestamp::parse_rfc3339(&text).ok_or(KeyProblem::Instant(name)))
        .transpose()
}

impl From<&ExplainRequest> for ExplainBody {
    fn from(request: &ExplainRequest) -> ExplainBody {
        let (key, token, scopes) = match request.credential.clone() {
            ExplainCredential::Key(key) => (Some(key), None, None),
            ExplainCredential::None => (None, None, None),
            ExplainCredential::Scopes(scopes) => (None, None, Some(scopes)),
            ExplainCredential::Token(token) => (None, Some(token), None),
        };
        ExplainBody {
            method: request.method.clone(),
            path: request.path.clone(),
            host: request.host.clone(),
            address: request.address,
            key,
            token,
            scopes,
        }
    }
}

impl TryFrom<ExplainBody> for ExplainRequest {
    type Error = BodyProblem;

    fn try_from(body: ExplainBody) -> Result<ExplainRequest, BodyProblem> {
        let credential = match (body.key, body.token, body.scopes) {
            (Some(key), None, None) => ExplainCredential::Key(key),
            (None, Some(token), None) => ExplainCredential::Token(token),
            (None, None, Some(scopes)) => ExplainCredential::Scopes(scopes),
            (None, None, None) => ExplainCredential::None,
            _ => return Err(BodyProblem::Credentials),
        };
        Ok(ExplainRequest {
            method: body.method,
            path: body.path,
            host: body.host,
            address: body.address,
            credential,
        })
    }
}

pub(super) fn expose<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

pub(super) fn expose_some<S: Serializer>(
    secret: &Option<Secret>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_some(secret.expose()),
        None => serializer.serialize_none(),
    }
}

pub(super) fn take<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

pub(super) fn take_some<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Secret>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.map(Secret::new))
}
