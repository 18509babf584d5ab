//! What a wish to revoke tokens comes to: denials, and whose grants go with them. Pure.

use super::issuer::{is_own, subject, whose};
use super::{RevokeTokens, TokenProblem, TokenSelection};
use crate::auth::IssuerSettings;
use crate::clock::Timestamp;
use crate::id::{ClientId, SubjectId};
use crate::store::{Denial, DenialKind, GrantOwner};

/// What a wish comes to.
pub(super) struct Verdict {
    pub(super) denials: Vec<Denial>,
    /// Whose grants go too.
    pub(super) grants: Grants,
}

/// Whose grants go with what is denied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Grants {
    All,
    Nobodys,
    Of(GrantOwner),
}

impl From<Option<GrantOwner>> for Grants {
    fn from(owner: Option<GrantOwner>) -> Grants {
        owner.map_or(Grants::Nobodys, Grants::Of)
    }
}

/// What a wish comes to, at this moment and with these issuers.
pub(super) fn verdict(
    wish: &RevokeTokens,
    issuers: &[IssuerSettings],
    at: Timestamp,
) -> Result<Verdict, TokenProblem> {
    let issuer = wish.issuer.as_deref();
    let denial = |kind, id: &str| Denial {
        kind,
        id: id.into(),
        at,
    };
    Ok(match &wish.tokens {
        TokenSelection::Account(id) => Verdict {
            denials: vec![denial(DenialKind::Account, id.as_str())],
            grants: Grants::Nobodys,
        },
        TokenSelection::All => {
            let issuer = issuer.ok_or(TokenProblem::AllOfIssuer)?;
            let is_ours = whose(issuers, Some(issuer))?.is_some_and(is_own);
            Verdict {
                denials: vec![denial(DenialKind::Issuer, issuer)],
                grants: match is_ours {
                    true => Grants::All,
                    false => Grants::Nobodys,
                },
            }
        }
        TokenSelection::Client(name) => {
            let is_ours = whose(issuers, issuer)?.is_none_or(is_own);
            let id = ClientId::parse(name.as_str()).ok().filter(|_| is_ours);
            Verdict {
                denials: vec![denial(DenialKind::Client, name.as_str())],
                grants: id.map(GrantOwner::Client).into(),
            }
        }
        TokenSelection::Jti(name) => {
            whose(issuers, issuer)?;
            Verdict {
                denials: vec![denial(DenialKind::Jti, name.as_str())],
                grants: Grants::Nobodys,
            }
        }
        TokenSelection::Subject(name) => {
            let (issuer, own) = subject(issuers, issuer, name.as_str())?;
            let mut denials = vec![format!("{}|{own}", issuer.issuer)];
            // What users of our own are denied by, when they are disabled.
            let id = SubjectId::parse(own).ok().filter(|_| is_own(issuer));
            denials.extend(id.as_ref().map(SubjectId::to_string));
            let denials = denials.iter().map(|id| denial(DenialKind::Subject, id));
            Verdict {
                denials: denials.collect(),
                grants: id.map(GrantOwner::Subject).into(),
            }
        }
        TokenSelection::Grant(id) => Verdict {
            denials: vec![denial(DenialKind::Grant, id.family().as_str())],
            grants: Grants::Nobodys,
        },
    })
}
