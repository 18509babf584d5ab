//! `/v1/signing-keys`: what access tokens are signed with, as operators list and rotate it.
//!
//! Not here: when a key may sign ([`crate::auth::SigningKeyDesk`]). Invariant: only public things
//! are shown.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::body::{ok, read};
use super::problem::AdminProblem;
use super::{AdminClient, ClientError};
use crate::auth::{RotatedSigningKey, RotationHaste, SigningKeyDesk, SigningKeyOutcome};
use crate::observe::Actor;
use crate::store::{SigningAlgorithm, SigningKeyRecord, SigningKeyState};

/// One key, for reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyView {
    /// Its `kid`.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Where it stands.
    pub state: SigningKeyStanding,
    /// When it was published.
    pub created_at: String,
    /// From when it signs: past for the active key, to come for the next one.
    pub signs_at: Option<String>,
    /// Until when what it signed is verified, for a retiring key.
    pub verified_until: Option<String>,
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningKeyStanding {
    /// It signs.
    Active,
    /// It is published, and will sign.
    Next,
    /// It signs no more; what it signed is still verified.
    Retiring,
}

/// The answer to `GET /v1/signing-keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyList {
    /// The newest first.
    pub keys: Vec<SigningKeyView>,
}

/// The body of `POST /v1/signing-keys/rotate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateSigningKeyBody {
    /// How.
    pub haste: RotationHaste,
}

/// The key that a rotation leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of `RotatedSigningKey`")]
pub struct RotatedSigningKeyView {
    pub kid: String,
    pub algorithm: SigningAlgorithm,
    pub outcome: SigningKeyOutcome,
    pub signs_at: String,
}

/// What there is.
pub(super) enum Resource {
    All,
    Rotate,
}

impl Resource {
    /// From what follows `/v1/signing-keys`.
    pub(super) fn parse(rest: &[&str]) -> Result<Resource, AdminProblem> {
        match rest {
            [] => Ok(Resource::All),
            ["rotate"] => Ok(Resource::Rotate),
            _ => Err(AdminProblem::Path),
        }
    }

    pub(super) async fn carry_out(
        self,
        desk: &SigningKeyDesk,
        actor: Actor,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        match (self, request.method()) {
            (Resource::All, &Method::GET) => {
                let keys = desk.list().await?;
                let keys = keys.iter().map(SigningKeyView::from).collect();
                Ok(ok(&SigningKeyList { keys }))
            }
            (Resource::Rotate, &Method::POST) => {
                let body: RotateSigningKeyBody = read(request).await?;
                let rotated = desk.rotate(body.haste, actor).await?;
                Ok(ok(&RotatedSigningKeyView::from(rotated)))
            }
            (Resource::All, _) => Err(AdminProblem::Method("GET")),
            (Resource::Rotate, _) => Err(AdminProblem::Method("POST")),
        }
    }
}

impl AdminClient {
    /// `GET /v1/signing-keys`.
    pub async fn signing_keys(&self) -> Result<SigningKeyList, ClientError> {
        self.call(Method::GET, "/v1/signing-keys", None).await
    }

    /// `POST /v1/signing-keys/rotate`.
    pub async fn rotate_signing_key(
        &self,
        haste: RotationHaste,
    ) -> Result<RotatedSigningKeyView, ClientError> {
        let body = serde_json::to_vec(&RotateSigningKeyBody { haste });
        let body = body.expect("this type has no failing parts");
        self.call(Method::POST, "/v1/signing-keys/rotate", Some(body))
            .await
    }
}

impl SigningKeyStanding {
    /// The word for it.
    pub const fn label(self) -> &'static str {
        match self {
            SigningKeyStanding::Active => "active",
            SigningKeyStanding::Next => "next",
            SigningKeyStanding::Retiring => "retiring",
        }
    }
}

impl From<&SigningKeyRecord> for SigningKeyView {
    fn from(record: &SigningKeyRecord) -> SigningKeyView {
        let (state, signs_at, verified_until) = match record.state {
            SigningKeyState::Active { since } => (SigningKeyStanding::Active, Some(since), None),
            SigningKeyState::Next => {
                let signs_at = record.created_at.plus(SigningKeyDesk::PUBLISHED_FOR);
                (SigningKeyStanding::Next, Some(signs_at), None)
            }
            SigningKeyState::Retiring { until } => {
                (SigningKeyStanding::Retiring, None, Some(until))
            }
        };
        SigningKeyView {
            kid: record.kid.clone(),
            algorithm: record.algorithm,
            state,
            created_at: record.created_at.to_string(),
            signs_at: signs_at.map(|at| at.to_string()),
            verified_until: verified_until.map(|at| at.to_string()),
        }
    }
}

impl From<RotatedSigningKey> for RotatedSigningKeyView {
    fn from(rotated: RotatedSigningKey) -> RotatedSigningKeyView {
        RotatedSigningKeyView {
            kid: rotated.kid,
            algorithm: rotated.algorithm,
            outcome: rotated.outcome,
            signs_at: rotated.signs_at.to_string(),
        }
    }
}
