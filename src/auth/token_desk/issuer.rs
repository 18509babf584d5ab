//! Whose tokens are meant, where a wish names the issuer or leaves it out.
//!
//! Invariant: an issuer whose tokens pass to their `exp` whatever is denied is never the answer.

use super::TokenProblem;
use crate::auth::{IssuerRevocation, IssuerSettings, JwksSource};

/// The issuer that is named; `None` where it does not matter, because the log speaks for all.
pub(super) fn whose<'a>(
    issuers: &'a [IssuerSettings],
    named: Option<&str>,
) -> Result<Option<&'a IssuerSettings>, TokenProblem> {
    if let Some(name) = named {
        return find(issuers, name).map(Some);
    }
    if issuers.is_empty() {
        return Err(TokenProblem::NoIssuer);
    }
    let refusals = issuers.iter().filter_map(|issuer| revocable(issuer).err());
    let refusals: Vec<TokenProblem> = refusals.collect();
    match refusals.first() {
        None => Ok(None),
        Some(first) if refusals.len() == issuers.len() => Err(first.clone()),
        Some(_) => Err(TokenProblem::IssuerNeeded),
    }
}

/// Whose subject it is, and what that issuer calls it. `ISSUER|SUB` is how upstreams and sessions
/// are told; a bare one is our own server's, or the only issuer's.
pub(super) fn subject<'a>(
    issuers: &'a [IssuerSettings],
    named: Option<&str>,
    text: &'a str,
) -> Result<(&'a IssuerSettings, &'a str), TokenProblem> {
    let after = |issuer: &IssuerSettings| text.strip_prefix(&*issuer.issuer)?.strip_prefix('|');
    if let Some(name) = named {
        let issuer = find(issuers, name)?;
        return Ok((issuer, after(issuer).unwrap_or(text)));
    }
    let qualified = issuers.iter().find(|issuer| after(issuer).is_some());
    let issuer = match (qualified, issuers) {
        (Some(issuer), _) => issuer,
        // Issuers are URLs, and so is a misspelt one. `auth0|7` is a subject with a bar of its own.
        (None, _)
            if let Some((before, _)) = text.split_once('|')
                && before.contains("://") =>
        {
            return Err(TokenProblem::UnknownIssuer(before.into()));
        }
        (None, []) => return Err(TokenProblem::NoIssuer),
        (None, [only]) => only,
        (None, _) => {
            let own = issuers.iter().find(|issuer| is_own(issuer));
            own.ok_or(TokenProblem::IssuerNeeded)?
        }
    };
    Ok((revocable(issuer)?, after(issuer).unwrap_or(text)))
}

fn find<'a>(issuers: &'a [IssuerSettings], name: &str) -> Result<&'a IssuerSettings, TokenProblem> {
    let found = issuers.iter().find(|issuer| issuer.issuer == name);
    revocable(found.ok_or_else(|| TokenProblem::UnknownIssuer(name.into()))?)
}

fn revocable(issuer: &IssuerSettings) -> Result<&IssuerSettings, TokenProblem> {
    match issuer.revocation {
        IssuerRevocation::Log => Ok(issuer),
        IssuerRevocation::None => Err(TokenProblem::NotRevocable(issuer.issuer.clone())),
    }
}

pub(super) fn is_own(issuer: &IssuerSettings) -> bool {
    issuer.jwks == JwksSource::Builtin
}
