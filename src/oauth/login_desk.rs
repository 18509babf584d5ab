//! The login desk: shows the operator's own login page what a challenge is about, and takes its
//! answer, for the admin API.
//!
//! Not here: who may ask (the admin API's door), and the browser, which goes on at
//! [`super::resume`]. Invariants: an answer grants no more than was asked for and the client may
//! have; where the browser goes next is told to whoever gave the answer and to nobody else; every
//! answer that was taken leaves an audit line.

use std::time::Duration;

use super::authorization_request::AuthorizationRequest;
use super::login_challenge::LoginChallenge;
use super::{LoginHints, OAuthSettings, resume};
use crate::auth::{DeskTools, KeyDesk};
use crate::clock::Timestamp;
use crate::id::ClientId;
use crate::observe::{Actor, AuditAction, AuditEvent, AuditOutcome};
use crate::scope::ScopeSet;
use crate::store::{
    AnswerLogin, ClientKind, ClientRecord, Consent, DelegatedLogin, InteractionRecord,
    InteractionState, LoginAnswer, RejectReason, StoreError,
};

/// Answers for interactions that were handed to the operator's login page.
#[derive(Debug)]
pub struct LoginDesk {
    tools: DeskTools,
}

/// What a challenge is about. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// Who asks.
    pub client: ClientId,
    /// What the operator called it.
    pub client_name: String,
    /// Whether it can keep a secret.
    pub client_kind: ClientKind,
    /// The host that the answer goes to, or the scheme of an app.
    pub redirect_host: String,
    /// What it asks for, each with its words from the config.
    pub scopes: Vec<(String, String)>,
    /// The resource that it asks for (RFC 8707), if it names one.
    pub resource: Option<String>,
    /// When its users are to be asked.
    pub consent: Consent,
    /// What the client said for the page; not checked.
    pub hints: LoginHints,
    /// What was answered.
    pub standing: LoginStanding,
    /// When the interaction began.
    pub created_at: Timestamp,
    /// Until when it can be answered, and the browser come back.
    pub expires_at: Timestamp,
}

/// What was answered to a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginStanding {
    /// Yes.
    Accepted,
    /// Nothing yet.
    Open,
    /// No.
    Rejected,
}

/// Why an answer is not taken. The texts are for the operator's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginProblem {
    /// Not a text that a token can hold.
    #[error("acr: 1 to 128 printable ASCII characters")]
    Acr,
    /// Not texts that a token can hold.
    #[error("amr: up to 16 texts of 1 to 64 printable ASCII characters")]
    Amr,
    /// Nobody has logged in yet who is to log in later.
    #[error("auth_time: lies ahead")]
    AuthTime,
    /// Nothing is granted.
    #[error("scopes: at least one; to grant none, reject")]
    NoScopes,
    /// More than was asked for, or than the client may have now.
    #[error("scopes: more than the client asks for and may have")]
    Scopes,
    /// RFC 9700 §4.15: a client speaks for itself under such a name.
    #[error("subject: begins with client:, as what a client does in its own name")]
    Subject,
}

/// Why the desk could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There was another answer before.
    #[error("this login was answered otherwise")]
    AnsweredOtherwise,
    /// Too late.
    #[error("this login has expired")]
    Expired,
    /// The gateway logs users in itself, or there is no authorization server.
    #[error("login is not delegated: see oauth.login")]
    NotDelegated,
    /// The answer cannot be taken.
    #[error(transparent)]
    Problem(#[from] LoginProblem),
    /// The store did not take part; whether an answer was written is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such challenge, or none at all. Never repeats what was sent.
    #[error("there is no login of this challenge")]
    Unknown,
}

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(60);
const ACR_CHARS: usize = 128;
const AMR_CHARS: usize = 64;
const MOST_AMR: usize = 16;
/// What the subject of a client's own tokens begins with.
pub(super) const CLIENT_SUBJECT: &str = "client:";

/// A login that is there, with who asks for it.
struct Found {
    record: InteractionRecord,
    client: ClientRecord,
    asked: AuthorizationRequest,
}

impl LoginDesk {
    /// Opens the desk beside a key desk: on its store, with its audit log.
    pub fn beside(desk: &KeyDesk) -> LoginDesk {
        LoginDesk {
            tools: desk.tools(),
        }
    }

    /// What a challenge is about.
    pub async fn show(
        &self,
        settings: &OAuthSettings,
        challenge: &LoginChallenge,
    ) -> Result<LoginRequest, LoginError> {
        let Found {
            record,
            client,
            asked,
        } = self.find(settings, challenge).await?;
        let redirect = asked.redirect(&client).ok_or(LoginError::Unknown)?;
        let scopes = asked.scopes.intersection(&client.settings.scopes);
        Ok(LoginRequest {
            redirect_host: redirect.shown().to_owned(),
            scopes: described(settings, &scopes),
            resource: asked.resource,
            consent: consent(&client),
            hints: asked.hints,
            standing: standing(&record.state),
            created_at: record.created_at,
            expires_at: record.expires_at,
            client: client.id,
            client_name: client.settings.name,
            client_kind: client.kind,
        })
    }

    /// Takes a yes. The answer is where the browser goes on; the same yes gives the same again.
    pub async fn accept(
        &self,
        settings: &OAuthSettings,
        challenge: &LoginChallenge,
        login: DelegatedLogin,
        actor: Actor,
    ) -> Result<String, LoginError> {
        self.check(&login)?;
        let Found { client, asked, .. } = self.find(settings, challenge).await?;
        let most = asked.scopes.intersection(&client.settings.scopes);
        if !login.scopes.is_subset_of(&most) {
            return Err(LoginProblem::Scopes.into());
        }
        let event = AuditEvent::new(AuditAction::LoginAccept, actor, AuditOutcome::Done)
            .client(client.id)
            .subject(login.subject.clone())
            .grants(login.scopes.clone(), None);
        let event = match &login.account {
            Some(account) => event.account(account.clone()),
            None => event,
        };
        let answer = LoginAnswer::Accept(login);
        self.answer(settings, challenge, answer, event).await
    }

    /// Takes a no: the browser brings the reason to the client.
    pub async fn reject(
        &self,
        settings: &OAuthSettings,
        challenge: &LoginChallenge,
        reason: RejectReason,
        actor: Actor,
    ) -> Result<String, LoginError> {
        let Found { client, .. } = self.find(settings, challenge).await?;
        let event = AuditEvent::new(AuditAction::LoginReject, actor, AuditOutcome::Done)
            .client(client.id)
            .reason(reason.code());
        let answer = LoginAnswer::Reject(reason);
        self.answer(settings, challenge, answer, event).await
    }

    async fn answer(
        &self,
        settings: &OAuthSettings,
        challenge: &LoginChallenge,
        answer: LoginAnswer,
        event: AuditEvent,
    ) -> Result<String, LoginError> {
        let (store, now) = (self.tools.store(), self.tools.now());
        let (id, digest) = (challenge.interaction(), challenge.digest());
        match store.answer_login(id, &digest, answer, now).await? {
            AnswerLogin::Answered(_) => self.tools.tell(event).await,
            AnswerLogin::Repeated(_) => {}
            AnswerLogin::AnsweredOtherwise => return Err(LoginError::AnsweredOtherwise),
            AnswerLogin::Expired => return Err(LoginError::Expired),
            AnswerLogin::Unknown => return Err(LoginError::Unknown),
        }
        Ok(resume::resume_url(settings, &self.tools.peppers(), id))
    }

    /// The login of a challenge. One whose client is gone is gone too.
    async fn find(
        &self,
        settings: &OAuthSettings,
        challenge: &LoginChallenge,
    ) -> Result<Found, LoginError> {
        if !settings.login.is_delegated() {
            return Err(LoginError::NotDelegated);
        }
        let store = self.tools.store();
        let record = store.interaction(challenge.interaction()).await?;
        let record = record.filter(|record| record.has_challenge(&challenge.digest()));
        let record = record.ok_or(LoginError::Unknown)?;
        if record.expires_at <= self.tools.now() {
            return Err(LoginError::Expired);
        }
        let client = store.client(&record.client).await?;
        let client = client.filter(|client| client.disabled_at.is_none());
        let asked = serde_json::from_str(&record.request);
        Ok(Found {
            client: client.ok_or(LoginError::Unknown)?,
            asked: asked.map_err(|_| LoginError::Expired)?,
            record,
        })
    }

    /// What can be said of an answer without its challenge.
    fn check(&self, login: &DelegatedLogin) -> Result<(), LoginProblem> {
        let printable = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        let ahead = self.tools.now().plus(SKEW);
        if login.subject.as_str().starts_with(CLIENT_SUBJECT) {
            return Err(LoginProblem::Subject);
        }
        if login.scopes.is_empty() {
            return Err(LoginProblem::NoScopes);
        }
        if login.auth_time.is_some_and(|time| time > ahead) {
            return Err(LoginProblem::AuthTime);
        }
        if login
            .acr
            .as_ref()
            .is_some_and(|acr| !printable(acr, ACR_CHARS))
        {
            return Err(LoginProblem::Acr);
        }
        match login.amr.len() <= MOST_AMR && login.amr.iter().all(|amr| printable(amr, AMR_CHARS)) {
            true => Ok(()),
            false => Err(LoginProblem::Amr),
        }
    }
}

fn described(settings: &OAuthSettings, scopes: &ScopeSet) -> Vec<(String, String)> {
    let words = |name: &str| {
        let mut known = settings.scopes.iter();
        let described = known.find(|(scope, _)| scope.as_str() == name);
        described.map_or(name, |(_, words)| words).to_owned()
    };
    scopes
        .names()
        .map(|name| (name.to_owned(), words(name)))
        .collect()
}

/// What the gateway's own page would go by: a public client is asked for each time, or never.
fn consent(client: &ClientRecord) -> Consent {
    match (client.settings.consent, client.kind) {
        (Consent::Once, ClientKind::Public) => Consent::Always,
        (consent, _) => consent,
    }
}

fn standing(state: &InteractionState) -> LoginStanding {
    match state {
        InteractionState::Allowed { .. } | InteractionState::LoggedIn(_) => LoginStanding::Accepted,
        InteractionState::Denied | InteractionState::Rejected(_) => LoginStanding::Rejected,
        InteractionState::Open => LoginStanding::Open,
    }
}
