//! Interactions: one login and consent, from the authorization request to the redirect back; and
//! the consents that are remembered.
//!
//! An interaction is kept here and not in a signed form: it is decided once however often the form
//! is sent, and the operator's own login page and the browser, which reach different gateways, see
//! one state of it. Not here: the request itself, which is text to the store, and whether a browser
//! is the right one. Invariants: an interaction is decided once; what was decided does not change.
//!
//! ```text
//! open ──log in──▶ logged in ──decide──▶ allowed
//!   │ └─ the operator's page rejects ──▶ rejected
//!   └─ decide: no ──▶ denied
//! ```

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{AccountId, ClientId, GrantId, InteractionId, SubjectId};
use crate::scope::ScopeSet;
use crate::secret::Digest;

use super::shelf::{self, Place, Plan};
use super::{Shelf, StoreError, digest_text};

mod delegated;

pub use delegated::{AnswerLogin, DelegatedLogin, LoginAnswer, RejectReason};

/// How long an interaction is remembered past its end: whoever comes late is told so.
const LATE: Duration = Duration::from_secs(120);

/// Who logged in, and what they may grant.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Who.
    pub subject: SubjectId,
    /// The account that grants will act for.
    pub account: Option<AccountId>,
    /// What they may grant.
    pub scopes: ScopeSet,
    /// When they logged in.
    pub auth_time: Timestamp,
    /// How well (RFC 9068 §2.2.1 `acr`).
    pub acr: Option<String>,
    /// By what means (RFC 8176 `amr`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
}

/// Where an interaction stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum InteractionState {
    /// Decided: yes.
    Allowed {
        /// Who decided.
        login: Login,
        /// What they granted.
        scopes: ScopeSet,
        /// The grant that was made of it.
        grant: GrantId,
    },
    /// Decided: no.
    Denied,
    /// Somebody has logged in.
    LoggedIn(Login),
    /// Nobody has.
    Open,
    /// The operator's login page said no.
    Rejected(RejectReason),
}

/// One login and consent. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InteractionRecord {
    /// Its id.
    pub id: InteractionId,
    /// The digest of the cookie that the browser has to have.
    #[serde(with = "digest_text")]
    pub browser: Digest,
    /// The digest of the challenge that the operator's login page has; `None` where the gateway
    /// logs users in itself.
    #[serde(
        default,
        with = "digest_text::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub challenge: Option<Digest>,
    /// Who asks.
    pub client: ClientId,
    /// The checked authorization request, in the form of the room that checked it.
    pub request: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it is over.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: InteractionState,
}

/// A decision. A no needs no login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow {
        /// To what.
        scopes: ScopeSet,
        /// The grant, written already.
        grant: GrantId,
    },
    /// No.
    Deny,
}

/// What became of a new interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CreateInteraction {
    /// Written.
    Created,
    /// Nothing written: there is one of this id.
    Exists,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum AdvanceInteraction {
    /// Taken. The record as it is now.
    Advanced(InteractionRecord),
    /// It was decided before. Nothing changed.
    AlreadyDecided(InteractionRecord),
    /// It is over. Nothing changed.
    Expired,
    /// A yes, and nobody has logged in. Nothing changed.
    NotLoggedIn,
    /// There is no such interaction (any more).
    Unknown,
}

/// A consent that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentRecord {
    /// Everything that was consented to, over all times.
    pub scopes: ScopeSet,
    /// The last time.
    pub at: Timestamp,
}

/// The verbs on interactions and consents.
#[async_trait::async_trait]
pub trait InteractionStore: Send + Sync + 'static {
    /// Begins an interaction.
    async fn create_interaction(
        &self,
        record: InteractionRecord,
    ) -> Result<CreateInteraction, StoreError>;

    /// The interaction of an id.
    async fn interaction(
        &self,
        id: &InteractionId,
    ) -> Result<Option<InteractionRecord>, StoreError>;

    /// Somebody logged in; the last login before the decision counts.
    async fn log_in_interaction(
        &self,
        id: &InteractionId,
        login: Login,
        at: Timestamp,
    ) -> Result<AdvanceInteraction, StoreError>;

    /// Takes what the operator's login page says of a challenge, once.
    async fn answer_login(
        &self,
        id: &InteractionId,
        challenge: &Digest,
        answer: LoginAnswer,
        at: Timestamp,
    ) -> Result<AnswerLogin, StoreError>;

    /// Decides an interaction, once.
    async fn decide_interaction(
        &self,
        id: &InteractionId,
        decision: Decision,
        at: Timestamp,
    ) -> Result<AdvanceInteraction, StoreError>;

    /// What a user has let a client do, for not asking again.
    async fn consent(
        &self,
        client: &ClientId,
        subject: &SubjectId,
    ) -> Result<Option<ConsentRecord>, StoreError>;

    /// Adds to what a user has let a client do.
    async fn remember_consent(
        &self,
        client: &ClientId,
        subject: &SubjectId,
        scopes: ScopeSet,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Forgets it: the user is asked again.
    async fn forget_consent(
        &self,
        client: &ClientId,
        subject: &SubjectId,
        at: Timestamp,
    ) -> Result<(), StoreError>;
}

#[async_trait::async_trait]
impl<S: Shelf> InteractionStore for S {
    async fn create_interaction(
        &self,
        record: InteractionRecord,
    ) -> Result<CreateInteraction, StoreError> {
        let (place, at) = (place(&record.id), record.created_at);
        shelf::change(self, place, at, move |found| match found {
            Some(_) => Ok(Plan::keep(CreateInteraction::Exists)),
            None => record.plan(CreateInteraction::Created),
        })
        .await
    }

    async fn interaction(
        &self,
        id: &InteractionId,
    ) -> Result<Option<InteractionRecord>, StoreError> {
        shelf::read(self, place(id)).await
    }

    async fn log_in_interaction(
        &self,
        id: &InteractionId,
        login: Login,
        at: Timestamp,
    ) -> Result<AdvanceInteraction, StoreError> {
        let decide = move |found: Option<&str>| {
            advance(shelf::parse(found)?, at, |_| {
                Some(InteractionState::LoggedIn(login.clone()))
            })
        };
        shelf::change(self, place(id), at, decide).await
    }

    async fn answer_login(
        &self,
        id: &InteractionId,
        challenge: &Digest,
        answer: LoginAnswer,
        at: Timestamp,
    ) -> Result<AnswerLogin, StoreError> {
        let challenge = *challenge;
        let decide = move |found: Option<&str>| answer.decide(shelf::parse(found)?, &challenge, at);
        shelf::change(self, place(id), at, decide).await
    }

    async fn decide_interaction(
        &self,
        id: &InteractionId,
        decision: Decision,
        at: Timestamp,
    ) -> Result<AdvanceInteraction, StoreError> {
        let decide = move |found: Option<&str>| {
            advance(shelf::parse(found)?, at, |state| decided(state, &decision))
        };
        shelf::change(self, place(id), at, decide).await
    }

    async fn consent(
        &self,
        client: &ClientId,
        subject: &SubjectId,
    ) -> Result<Option<ConsentRecord>, StoreError> {
        shelf::read(self, consent_place(client, subject)).await
    }

    async fn remember_consent(
        &self,
        client: &ClientId,
        subject: &SubjectId,
        scopes: ScopeSet,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        shelf::change(self, consent_place(client, subject), at, move |found| {
            let before = shelf::parse::<ConsentRecord>(found)?.map(|consent| consent.scopes);
            let all = before.iter().chain([&scopes]).flat_map(ScopeSet::iter);
            let record = ConsentRecord {
                scopes: all.collect(),
                at,
            };
            Plan::write((), &record, None)
        })
        .await
    }

    async fn forget_consent(
        &self,
        client: &ClientId,
        subject: &SubjectId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let place = consent_place(client, subject);
        shelf::change(self, place, at, |_| Ok(Plan::remove(()))).await
    }
}

/// One step, where there is one; `None` is a yes without a login.
fn advance(
    found: Option<InteractionRecord>,
    at: Timestamp,
    step: impl FnOnce(&InteractionState) -> Option<InteractionState>,
) -> Result<Plan<AdvanceInteraction>, StoreError> {
    let refused = |answer| Ok(Plan::keep(answer));
    let Some(mut record) = found else {
        return refused(AdvanceInteraction::Unknown);
    };
    if let InteractionState::Allowed { .. }
    | InteractionState::Denied
    | InteractionState::Rejected(_) = record.state
    {
        return refused(AdvanceInteraction::AlreadyDecided(record));
    }
    if record.expires_at <= at {
        return refused(AdvanceInteraction::Expired);
    }
    let Some(state) = step(&record.state) else {
        return refused(AdvanceInteraction::NotLoggedIn);
    };
    record.state = state;
    record.plan(AdvanceInteraction::Advanced(record.clone()))
}

fn decided(state: &InteractionState, decision: &Decision) -> Option<InteractionState> {
    match (decision, state) {
        (Decision::Deny, _) => Some(InteractionState::Denied),
        (Decision::Allow { scopes, grant }, InteractionState::LoggedIn(login)) => {
            Some(InteractionState::Allowed {
                login: login.clone(),
                scopes: scopes.clone(),
                grant: *grant,
            })
        }
        (Decision::Allow { .. }, _) => None,
    }
}

impl InteractionRecord {
    /// The plan to write it.
    fn plan<T>(&self, answer: T) -> Result<Plan<T>, StoreError> {
        Plan::write(answer, self, Some(self.expires_at.plus(LATE)))
    }
}

fn place(id: &InteractionId) -> Place {
    Place::new("i", id)
}

/// Ids hold no space, so no two pairs have one place.
fn consent_place(client: &ClientId, subject: &SubjectId) -> Place {
    Place::new("con", format!("{client} {subject}"))
}
