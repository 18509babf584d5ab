//! Claims as types: what is there has the type that it must have, or the token is refused.
//!
//! A library that takes `"exp": "never"` for "no `exp`" lets such a token live for ever
//! (CVE-2026-25537); here a wrong type is never the same as absent. The one exception is scopes,
//! where the safe reading of something odd is "none".

use serde_json::{Number, Value};

use crate::auth::Refusal;
use crate::clock::Timestamp;
use crate::id::AccountId;
use crate::scope::{Scope, ScopeSet};
use crate::token::jwt::{Members, WrongType};

/// The longest subject and client id (OpenID Connect Core §2 for `sub`).
const MAX_NAME: usize = 255;
/// The end of the year 9999, in seconds: the last date that RFC 3339 can write.
const MAX_SECS: i64 = 253_402_300_799;

/// The claims that are looked at.
pub(super) struct Claims<'a> {
    audiences: Vec<&'a str>,
    pub(super) subject: &'a str,
    pub(super) expires_at: Timestamp,
    pub(super) issued_at: Option<Timestamp>,
    pub(super) not_before: Option<Timestamp>,
    pub(super) id: Option<&'a str>,
    pub(super) client: Option<&'a str>,
    pub(super) account: Option<AccountId>,
    pub(super) grant: Option<&'a str>,
    pub(super) scopes: ScopeSet,
    binding: Binding,
}

/// Whether a key or certificate of its holder must be shown with the token (RFC 7800 `cnf`).
#[derive(PartialEq, Eq)]
enum Binding {
    Bearer,
    Key,
}

impl<'a> Claims<'a> {
    pub(super) fn read(claims: &'a Members) -> Result<Claims<'a>, Refusal> {
        Ok(Claims {
            audiences: audiences(claims)?,
            subject: name(claims, "sub")?.ok_or(Refusal::Claims)?,
            expires_at: date(claims, "exp")?.ok_or(Refusal::Claims)?,
            issued_at: date(claims, "iat")?,
            not_before: date(claims, "nbf")?,
            id: claims.string("jti")?,
            client: client(claims)?,
            account: account(claims)?,
            grant: claims.string("fam")?,
            scopes: scopes(claims),
            binding: if claims.contains("cnf") {
                Binding::Key
            } else {
                Binding::Bearer
            },
        })
    }

    /// RFC 7519 §4.1.3: the first that is one of ours, byte for byte.
    pub(super) fn audience_among(&self, ours: &[String]) -> Option<&'a str> {
        let is_ours = |audience: &&str| ours.iter().any(|our| our == audience);
        self.audiences.iter().copied().find(is_ours)
    }

    pub(super) fn is_bound(&self) -> bool {
        self.binding == Binding::Key
    }
}

fn audiences(claims: &Members) -> Result<Vec<&str>, Refusal> {
    match claims.value("aud") {
        Some(Value::String(one)) => Ok(vec![one]),
        _ => Ok(claims.strings("aud")?.ok_or(Refusal::Claims)?),
    }
}

/// RFC 9068 §2.2 `client_id`; `azp` where an issuer from before it says only that.
fn client(claims: &Members) -> Result<Option<&str>, Refusal> {
    let (own, authorized) = (name(claims, "client_id")?, name(claims, "azp")?);
    Ok(own.or(authorized))
}

/// A damaged account must not turn into "no account": what an upstream shows to callers without
/// one is not ours to know.
fn account(claims: &Members) -> Result<Option<AccountId>, Refusal> {
    let text = claims.string("acct")?;
    text.map(|text| AccountId::parse(text).map_err(|_| Refusal::Claims))
        .transpose()
}

/// Printable ASCII, because it goes into headers and logs.
fn name<'a>(claims: &'a Members, claim: &str) -> Result<Option<&'a str>, Refusal> {
    let Some(text) = claims.string(claim)? else {
        return Ok(None);
    };
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if text.is_empty() || text.len() > MAX_NAME || !printable {
        return Err(Refusal::Claims);
    }
    Ok(Some(text))
}

/// RFC 7519 §2 `NumericDate`: a JSON number of seconds, also with a fraction. Never a string.
fn date(claims: &Members, claim: &str) -> Result<Option<Timestamp>, Refusal> {
    match claims.value(claim) {
        None => Ok(None),
        Some(Value::Number(number)) => timestamp(number).map(Some).ok_or(Refusal::Claims),
        Some(_) => Err(Refusal::Claims),
    }
}

fn timestamp(number: &Number) -> Option<Timestamp> {
    if let Some(secs) = number.as_i64() {
        return (-MAX_SECS..=MAX_SECS)
            .contains(&secs)
            .then(|| Timestamp::from_secs(secs));
    }
    let secs = number.as_f64()?;
    #[expect(clippy::cast_precision_loss, reason = "MAX_SECS is far below 2^53")]
    let in_range = secs.abs() <= MAX_SECS as f64;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounded down, and in range by the line above"
    )]
    let millis = (secs * 1000.0).floor() as i64;
    in_range.then(|| Timestamp::from_millis(millis))
}

/// RFC 9068 §2.2.3 `scope`, in the forms that issuers use: one string with single spaces, or an
/// array with one name each; `scp` only where there is no `scope`. Anything else is no scope at
/// all: a name is never mended into another one.
fn scopes(claims: &Members) -> ScopeSet {
    let value = claims.value("scope").or_else(|| claims.value("scp"));
    let scopes = match value {
        Some(Value::String(text)) => ScopeSet::parse(text).ok(),
        Some(Value::Array(names)) => names.iter().map(scope).collect(),
        _ => None,
    };
    scopes.unwrap_or_else(ScopeSet::empty)
}

fn scope(name: &Value) -> Option<Scope> {
    Scope::parse(name.as_str()?).ok()
}

impl From<WrongType> for Refusal {
    fn from(_: WrongType) -> Refusal {
        Refusal::Claims
    }
}

#[cfg(test)]
mod tests;
