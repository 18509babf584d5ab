//! What the operator's own login page says of an interaction that was handed to it.
//!
//! Whoever answers shows the interaction's challenge. Not here: who may answer at all (the admin
//! API's door), and whether the browser that comes back is the right one. Invariants: a challenge
//! is answered once, and the same answer said again is the same answer; challenges are compared in
//! constant time, and a wrong one is the same as an unknown interaction.

use subtle::ConstantTimeEq as _;

use crate::clock::Timestamp;
use crate::id::{AccountId, SubjectId};
use crate::scope::ScopeSet;
use crate::secret::Digest;
use crate::store::StoreError;
use crate::store::shelf::Plan;

use super::{InteractionRecord, InteractionState, Login};

/// Somebody logged in at the operator's page, and agreed to something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegatedLogin {
    /// Who.
    pub subject: SubjectId,
    /// The account that the grant will act for.
    pub account: Option<AccountId>,
    /// What they grant.
    pub scopes: ScopeSet,
    /// When they logged in; `None` is now.
    pub auth_time: Option<Timestamp>,
    /// How well (RFC 9068 §2.2.1 `acr`).
    pub acr: Option<String>,
    /// By what means (RFC 8176 `amr`).
    pub amr: Vec<String>,
}

/// Why nobody logged in, or why nothing is granted: what the client is told (RFC 6749 §4.1.2.1,
/// OpenID Connect Core §3.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The user, or the operator, said no.
    AccessDenied,
    /// The user has to choose an account, and must not be asked.
    AccountSelectionRequired,
    /// The user has to agree, and must not be asked.
    ConsentRequired,
    /// The user has to do something else, and must not be asked.
    InteractionRequired,
    /// The user has to log in, and must not be asked.
    LoginRequired,
    /// The page failed.
    ServerError,
    /// The page cannot answer now.
    TemporarilyUnavailable,
}

/// What the operator's page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginAnswer {
    /// Yes.
    Accept(DelegatedLogin),
    /// No.
    Reject(RejectReason),
}

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum AnswerLogin {
    /// Taken. The record as it is now.
    Answered(InteractionRecord),
    /// There was another answer before. Nothing changed.
    AnsweredOtherwise,
    /// The interaction is over. Nothing changed.
    Expired,
    /// The same answer was given before. Nothing changed.
    Repeated(InteractionRecord),
    /// There is no such interaction (any more), or this is not its challenge.
    Unknown,
}

impl RejectReason {
    /// The `error` that the client gets.
    pub const fn code(self) -> &'static str {
        match self {
            RejectReason::AccessDenied => "access_denied",
            RejectReason::AccountSelectionRequired => "account_selection_required",
            RejectReason::ConsentRequired => "consent_required",
            RejectReason::InteractionRequired => "interaction_required",
            RejectReason::LoginRequired => "login_required",
            RejectReason::ServerError => "server_error",
            RejectReason::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

impl InteractionRecord {
    /// Whether it was handed to the operator's page under this challenge.
    pub fn has_challenge(&self, challenge: &Digest) -> bool {
        let own = self.challenge.as_ref();
        own.is_some_and(|own| own.as_bytes().ct_eq(challenge.as_bytes()).into())
    }
}

impl LoginAnswer {
    pub(super) fn decide(
        &self,
        found: Option<InteractionRecord>,
        challenge: &Digest,
        at: Timestamp,
    ) -> Result<Plan<AnswerLogin>, StoreError> {
        let found = found.filter(|record| record.has_challenge(challenge));
        let Some(mut record) = found else {
            return Ok(Plan::keep(AnswerLogin::Unknown));
        };
        if record.expires_at <= at {
            return Ok(Plan::keep(AnswerLogin::Expired));
        }
        if record.state != InteractionState::Open {
            return Ok(Plan::keep(match self.is_that_of(&record.state) {
                true => AnswerLogin::Repeated(record),
                false => AnswerLogin::AnsweredOtherwise,
            }));
        }
        record.state = match self {
            LoginAnswer::Accept(login) => InteractionState::LoggedIn(login.at(at)),
            LoginAnswer::Reject(reason) => InteractionState::Rejected(*reason),
        };
        record.plan(AnswerLogin::Answered(record.clone()))
    }

    /// Whether this answer led to a state.
    fn is_that_of(&self, state: &InteractionState) -> bool {
        match (self, state) {
            (
                LoginAnswer::Accept(given),
                InteractionState::LoggedIn(login) | InteractionState::Allowed { login, .. },
            ) => given.at(login.auth_time) == *login,
            (LoginAnswer::Reject(given), InteractionState::Rejected(reason)) => given == reason,
            (LoginAnswer::Accept(_) | LoginAnswer::Reject(_), _) => false,
        }
    }
}

impl DelegatedLogin {
    fn at(&self, now: Timestamp) -> Login {
        Login {
            subject: self.subject.clone(),
            account: self.account.clone(),
            scopes: self.scopes.clone(),
            auth_time: self.auth_time.unwrap_or(now),
            acr: self.acr.clone(),
            amr: self.amr.clone(),
        }
    }
}
