//! The token desk: revokes access tokens by their id, their grant, their subject, their client or
//! their issuer, and everything of an account, for the admin API and the command line alike.
//!
//! Not here: what clients revoke themselves (RFC 7009), and whether a denial hits a token
//! ([`super::revocation`]). Invariants: tokens that pass to their `exp` whatever is denied are
//! refused here, never denied in vain; with a subject, a client, an account or our own issuer go its
//! grants, so that no refresh token brings back what was revoked; every revocation leaves an audit
//! line.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{Clock, Timestamp};
use crate::id::{
    AccountId, ClientId, CredentialId, GrantId, KeyId, LoginName, SessionId, SubjectId,
};
use crate::observe::{Actor, AuditAction, AuditEvent, AuditLog, AuditOutcome};
use crate::store::{DenialKind, GrantStanding, RevocationReason, RevokeGrant, Store, StoreError};

use super::IssuerSettings;
use issuer::{is_own, subject, whose};
use verdict::{Grants, Verdict, verdict};

mod account;
mod issuer;
mod verdict;

/// Revokes access tokens on one store.
pub struct TokenDesk {
    store: Arc<dyn Store>,
    clock: Clock,
    audit: AuditLog,
    issuers: ArcSwap<Vec<IssuerSettings>>,
}

/// A `jti`, a `sub` or a `client_id`: 1 to 255 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct TokenName(String);

/// A text that is no [`TokenName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("1 to {} printable ASCII characters", TokenName::LONGEST)]
pub struct InvalidTokenName;

/// Which tokens.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSelection {
    /// Everything of an account issued up to now: with its tokens its keys, sessions and grants.
    Account(AccountId),
    /// All of an issuer issued up to now, with all grants where it is our own.
    All,
    /// All of a client issued up to now, with its grants.
    Client(TokenName),
    /// All of a grant, for good.
    Grant(GrantId),
    /// One, for good.
    Jti(TokenName),
    /// All of a subject issued up to now, with its grants: `SUB` or `ISSUER|SUB`.
    Subject(TokenName),
}

/// A wish to revoke tokens.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeTokens {
    /// Which.
    pub tokens: TokenSelection,
    /// Whose they are, where the tokens do not say it.
    #[serde(default)]
    pub issuer: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedTokens {
    /// Since when they are refused.
    pub at: Timestamp,
    /// What was issued before this is refused: some that comes just after, rather than one let
    /// through because clocks differ. `None` where it is refused by name.
    pub issued_before: Option<Timestamp>,
    /// Grants that were ended with them.
    pub grants: Vec<GrantId>,
    /// Keys that were revoked with them.
    pub keys: Vec<KeyId>,
    /// Sessions that were ended with them.
    pub sessions: Vec<SessionId>,
}

/// Why a wish cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    /// Nobody means all tokens of everybody.
    #[error("name the issuer whose tokens are all to be revoked")]
    AllOfIssuer,
    /// What is an account's is its keys and sessions too, and may be of any issuer.
    #[error("what an account has is not of one issuer: leave the issuer out")]
    IssuerOfAccount,
    /// A subject is an id; to take the name for it would revoke nothing.
    #[error("{name} is a user's name; its subject is {subject}")]
    LoginName {
        /// What was given.
        name: LoginName,
        /// Whose tokens are meant.
        subject: SubjectId,
    },
    /// Which issuer decides whether they can be revoked at all.
    #[error("name the issuer: not every issuer's tokens can be revoked, or several have subjects")]
    IssuerNeeded,
    /// There is nothing to revoke.
    #[error("no issuer of access tokens is configured")]
    NoIssuer,
    /// interface.md §7.1.
    #[error("tokens of {0} pass to their end: the issuer has `revocation: none`")]
    NotRevocable(String),
    /// A misspelt issuer would revoke nothing.
    #[error("there is no issuer {0} in `access_tokens`")]
    UnknownIssuer(String),
}

/// Why the desk could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The wish cannot be granted.
    #[error(transparent)]
    Problem(#[from] TokenProblem),
    /// The store did not take part; whether a change was written is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such client of our own server; a misspelt id would revoke nothing.
    #[error("there is no client {0}")]
    UnknownClient(ClientId),
    /// There is no such grant (any more).
    #[error("there is no grant {0}")]
    UnknownGrant(GrantId),
}

/// What instances allow for at least, be no issuer configured.
const LEAST_SKEW: Duration = Duration::from_secs(60);
/// How long a change waits for its audit line to reach the disk.
const AUDIT_WAIT: Duration = Duration::from_secs(2);

impl RevokedTokens {
    fn at(at: Timestamp) -> RevokedTokens {
        RevokedTokens {
            at,
            issued_before: None,
            grants: Vec::new(),
            keys: Vec::new(),
            sessions: Vec::new(),
        }
    }
}

impl TokenName {
    /// The longest, as the verifier takes them.
    pub const LONGEST: usize = 255;

    /// Checks and takes a name.
    pub fn parse(text: &str) -> Result<TokenName, InvalidTokenName> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        match printable && (1..=TokenName::LONGEST).contains(&text.len()) {
            true => Ok(TokenName(text.into())),
            false => Err(InvalidTokenName),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TokenName {
    type Error = InvalidTokenName;

    fn try_from(text: String) -> Result<TokenName, InvalidTokenName> {
        TokenName::parse(&text)
    }
}

impl TokenDesk {
    /// Knows no issuer, and refuses all but grants, before [`TokenDesk::set_issuers`].
    pub(super) fn new(store: Arc<dyn Store>, clock: Clock, audit: AuditLog) -> TokenDesk {
        TokenDesk {
            store,
            clock,
            audit,
            issuers: ArcSwap::default(),
        }
    }

    /// Replaces the issuers whose tokens are accepted, at the start and after a reload.
    pub fn set_issuers(&self, issuers: &[IssuerSettings]) {
        self.issuers.store(Arc::new(issuers.to_vec()));
    }

    /// Revokes tokens. To repeat it is safe, and completes what a crash left undone.
    pub async fn revoke(
        &self,
        wish: &RevokeTokens,
        actor: Actor,
    ) -> Result<RevokedTokens, TokenError> {
        let revoked = match &wish.tokens {
            TokenSelection::Account(_) if wish.issuer.is_some() => {
                return Err(TokenProblem::IssuerOfAccount.into());
            }
            TokenSelection::Account(id) => self.revoke_account(id, actor).await?,
            TokenSelection::Grant(id) => self.revoke_grant(id).await?,
            TokenSelection::All
            | TokenSelection::Client(_)
            | TokenSelection::Jti(_)
            | TokenSelection::Subject(_) => {
                let at = self.clock.now();
                let issuers = self.issuers.load();
                self.check_is_known(wish, &issuers).await?;
                let verdict = verdict(wish, &issuers, at)?;
                let revoked = self.carry_out(verdict, at).await?;
                let by_name = matches!(wish.tokens, TokenSelection::Jti(_));
                RevokedTokens {
                    issued_before: (!by_name).then(|| at.plus(self.skew())),
                    ..revoked
                }
            }
        };
        self.audit.record(event(wish, actor, &revoked));
        if !self.audit.settle(AUDIT_WAIT).await {
            tracing::warn!("the audit line of a revocation of tokens is not on disk yet");
        }
        Ok(revoked)
    }

    /// A name that is surely meant for our own server, and that it does not know, would revoke
    /// nothing and look like a success.
    async fn check_is_known(
        &self,
        wish: &RevokeTokens,
        issuers: &[IssuerSettings],
    ) -> Result<(), TokenError> {
        let named = wish.issuer.as_deref();
        match &wish.tokens {
            TokenSelection::Client(name) => {
                let only = issuers.first().filter(|_| issuers.len() == 1);
                let issuer = whose(issuers, named)?.or(only);
                let id = ClientId::parse(&name.0).ok();
                let Some(id) = id.filter(|_| issuer.is_some_and(is_own)) else {
                    return Ok(());
                };
                let client = self.store.client(&id).await?;
                client.map(drop).ok_or(TokenError::UnknownClient(id))
            }
            // With `--issuer` it is taken as it is: a login page of the operator's gives what
            // subjects it likes.
            TokenSelection::Subject(name) if named.is_none() => {
                let (issuer, own) = subject(issuers, named, &name.0)?;
                let name = LoginName::parse(own).ok().filter(|_| is_own(issuer));
                let Some(name) = name else { return Ok(()) };
                let user = self.store.user_by_name(&name).await?;
                match user.map(|user| user.id) {
                    Some(subject) if subject.as_str() != own => {
                        Err(TokenProblem::LoginName { name, subject }.into())
                    }
                    Some(_) | None => Ok(()),
                }
            }
            TokenSelection::Account(_)
            | TokenSelection::All
            | TokenSelection::Subject(_)
            | TokenSelection::Grant(_)
            | TokenSelection::Jti(_) => Ok(()),
        }
    }

    async fn revoke_grant(&self, id: &GrantId) -> Result<RevokedTokens, TokenError> {
        let (now, why) = (self.clock.now(), RevocationReason::Operator);
        match self.store.revoke_grant(id, why, now).await? {
            RevokeGrant::Revoked(_) => Ok(RevokedTokens {
                grants: vec![*id],
                ..RevokedTokens::at(now)
            }),
            RevokeGrant::AlreadyRevoked(grant) => Ok(RevokedTokens::at(match grant.standing {
                GrantStanding::Revoked { at, .. } => at,
                GrantStanding::Active | GrantStanding::Pending => now,
            })),
            RevokeGrant::Unknown => Err(TokenError::UnknownGrant(*id)),
        }
    }

    /// First the denial: an access token that a grant gives until it is gone is refused as well.
    async fn carry_out(
        &self,
        verdict: Verdict,
        at: Timestamp,
    ) -> Result<RevokedTokens, TokenError> {
        self.store.deny(verdict.denials).await?;
        let why = RevocationReason::Operator;
        let grants = match verdict.grants {
            Grants::All => self.revoke_grants_where(|_| true, at).await?,
            Grants::Nobodys => Vec::new(),
            Grants::Of(owner) => self.store.revoke_grants(&owner, why, at).await?,
        };
        Ok(RevokedTokens {
            grants,
            ..RevokedTokens::at(at)
        })
    }

    /// By how much the clocks of issuers may differ from ours.
    fn skew(&self) -> Duration {
        let issuers = self.issuers.load();
        let skews = issuers.iter().map(|issuer| issuer.clock_skew);
        skews.fold(LEAST_SKEW, Duration::max)
    }
}

impl std::fmt::Debug for TokenDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenDesk").finish_non_exhaustive()
    }
}

fn event(wish: &RevokeTokens, actor: Actor, revoked: &RevokedTokens) -> AuditEvent {
    let (kind, id) = match &wish.tokens {
        TokenSelection::Account(id) => (DenialKind::Account, id.to_string()),
        TokenSelection::All => (DenialKind::Issuer, wish.issuer.clone().unwrap_or_default()),
        TokenSelection::Client(name) => (DenialKind::Client, name.0.clone()),
        TokenSelection::Grant(id) => (DenialKind::Grant, id.to_string()),
        TokenSelection::Jti(name) => (DenialKind::Jti, name.0.clone()),
        TokenSelection::Subject(name) => (DenialKind::Subject, name.0.clone()),
    };
    let grants = u64::try_from(revoked.grants.len()).unwrap_or(u64::MAX);
    let event = AuditEvent::new(AuditAction::TokenRevoke, actor, AuditOutcome::Done)
        .reason(kind.label())
        .count(grants);
    if let TokenSelection::Account(id) = &wish.tokens {
        return event.account(id.clone());
    }
    match CredentialId::parse(&id) {
        Ok(id) => event.credential(id),
        // Too long, or with a space: printable all the same, and JSON is escaped.
        Err(_) => event.reason(format!("{} {id}", kind.label())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::auth::{SignatureAlgorithm, TokenType};
    use crate::store::Denial;

    use super::*;
    use crate::auth::{IssuerRevocation, JwksSource};

    const AT: Timestamp = Timestamp::from_secs(1_790_000_000);
    const OWN: &str = "https://osir.com";
    const LOGGED: &str = "https://idp.example";
    const PASSING: &str = "https://passing.example";

    fn issuer(name: &str, jwks: JwksSource, revocation: IssuerRevocation) -> IssuerSettings {
        IssuerSettings {
            issuer: name.into(),
            jwks,
            audiences: Vec::new(),
            algorithms: vec![SignatureAlgorithm::Es256],
            token_type: TokenType::AccessToken,
            clock_skew: Duration::from_secs(60),
            max_lifetime: Duration::from_secs(86_400),
            revocation,
        }
    }

    fn own() -> IssuerSettings {
        issuer(OWN, JwksSource::Builtin, IssuerRevocation::Log)
    }

    fn logged() -> IssuerSettings {
        let jwks = JwksSource::File(PathBuf::from("jwks.json"));
        issuer(LOGGED, jwks, IssuerRevocation::Log)
    }

    fn passing() -> IssuerSettings {
        let jwks = JwksSource::File(PathBuf::from("other.json"));
        issuer(PASSING, jwks, IssuerRevocation::None)
    }

    /// The denials, as `kind:id`, and whether grants go too.
    fn told(
        tokens: TokenSelection,
        issuer: Option<&str>,
        issuers: &[IssuerSettings],
    ) -> Result<(Vec<String>, bool), TokenProblem> {
        let issuer = issuer.map(str::to_owned);
        let verdict = verdict(&RevokeTokens { tokens, issuer }, issuers, AT)?;
        let member = |denial: &Denial| format!("{}:{}", denial.kind.label(), denial.id);
        let denials = verdict.denials.iter().map(member).collect();
        Ok((denials, verdict.grants != Grants::Nobodys))
    }

    fn name(text: &str) -> TokenName {
        TokenName::parse(text).expect("a name")
    }

    #[test]
    fn all_of_an_issuer_are_denied_by_its_name_and_of_our_own_with_all_grants() {
        let issuers = [own(), logged(), passing()];
        let all = |issuer| told(TokenSelection::All, issuer, &issuers);
        assert_eq!(
            all(Some(LOGGED)),
            Ok((vec![format!("issuer:{LOGGED}")], false))
        );
        assert_eq!(all(Some(OWN)), Ok((vec![format!("issuer:{OWN}")], true)));
        assert_eq!(all(None), Err(TokenProblem::AllOfIssuer));
        let not_revocable = TokenProblem::NotRevocable(PASSING.into());
        assert_eq!(all(Some(PASSING)), Err(not_revocable));
        let unknown = TokenProblem::UnknownIssuer("https://x.example".into());
        assert_eq!(all(Some("https://x.example")), Err(unknown));
    }

    #[test]
    fn tokens_of_an_issuer_outside_the_log_are_refused_and_not_denied_in_vain() {
        let refused = |tokens: &TokenSelection, issuer, issuers: &[IssuerSettings]| {
            told(tokens.clone(), issuer, issuers).expect_err("a refusal")
        };
        for tokens in [
            TokenSelection::Jti(name("jti-1")),
            TokenSelection::Client(name("app-1")),
            TokenSelection::Subject(name("user-7")),
        ] {
            let not_revocable = TokenProblem::NotRevocable(PASSING.into());
            assert_eq!(refused(&tokens, None, &[passing()]), not_revocable);
            let both = [logged(), passing()];
            assert_eq!(refused(&tokens, Some(PASSING), &both), not_revocable);
            assert_eq!(refused(&tokens, None, &both), TokenProblem::IssuerNeeded);
            assert_eq!(refused(&tokens, None, &[]), TokenProblem::NoIssuer);
            let unknown = TokenProblem::UnknownIssuer("https://x.example".into());
            assert_eq!(refused(&tokens, Some("https://x.example"), &both), unknown);
            assert!(told(tokens, Some(LOGGED), &both).is_ok());
        }
        let qualified = TokenSelection::Subject(name("https://passing.example|u"));
        assert_eq!(
            refused(&qualified, None, &[own(), passing()]),
            TokenProblem::NotRevocable(PASSING.into())
        );
    }

    #[test]
    fn a_subject_is_denied_as_its_issuer_calls_it_and_ours_also_by_its_bare_id() {
        let all = [logged(), own()];
        let subject = |text, issuer| told(TokenSelection::Subject(name(text)), issuer, &all);
        let ours = Ok((
            vec![
                "subject:https://osir.com|usr_1".to_owned(),
                "subject:usr_1".to_owned(),
            ],
            true,
        ));
        assert_eq!(subject("usr_1", None), ours);
        assert_eq!(subject("https://osir.com|usr_1", None), ours);
        assert_eq!(subject("usr_1", Some(OWN)), ours);
        // No issuer can have a subject of ours revoked.
        let foreign = Ok((vec!["subject:https://idp.example|usr_1".to_owned()], false));
        assert_eq!(subject("https://idp.example|usr_1", None), foreign);
        assert_eq!(subject("usr_1", Some(LOGGED)), foreign);
    }

    #[test]
    fn a_url_before_a_bar_is_an_issuer_and_anything_else_is_of_the_subject() {
        let all = [own(), logged()];
        let subject = |text, issuer| told(TokenSelection::Subject(name(text)), issuer, &all);
        let unknown = TokenProblem::UnknownIssuer("https://osir.co".into());
        assert_eq!(subject("https://osir.co|usr_1", None), Err(unknown));
        // As a login page of the operator's may call its users.
        let ours = vec![
            "subject:https://osir.com|auth0|1".to_owned(),
            "subject:auth0|1".to_owned(),
        ];
        assert_eq!(subject("auth0|1", None), Ok((ours, true)));
        let denied = vec!["subject:https://idp.example|auth0|1".to_owned()];
        assert_eq!(
            subject("auth0|1", Some(LOGGED)),
            Ok((denied.clone(), false))
        );
        assert_eq!(
            subject("https://idp.example|auth0|1", None),
            Ok((denied, false))
        );
    }

    #[test]
    fn with_a_client_of_ours_go_its_grants_and_with_a_foreign_one_none() {
        let all = [own(), logged()];
        let client = |issuer| told(TokenSelection::Client(name("app-1")), issuer, &all);
        let denied = vec!["client:app-1".to_owned()];
        assert_eq!(client(None), Ok((denied.clone(), true)));
        assert_eq!(client(Some(OWN)), Ok((denied.clone(), true)));
        assert_eq!(client(Some(LOGGED)), Ok((denied, false)));
    }

    #[test]
    fn a_name_is_what_the_verifier_takes() {
        for wrong in ["", "ä", "a\nb", &"x".repeat(256)] {
            assert_eq!(TokenName::parse(wrong), Err(InvalidTokenName), "{wrong:?}");
        }
        let body = r#"{"tokens":{"jti":"a\u0007"}}"#;
        assert!(serde_json::from_str::<RevokeTokens>(body).is_err());
    }
}
