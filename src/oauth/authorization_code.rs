//! `grant_type=authorization_code` (RFC 6749 §4.1.3, RFC 7636 §4.5).
//!
//! Not here: what makes a code good, which is one atomic verb of the store.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::authorization_request::is_pkce_text;
use super::form::Form;
use super::issue::{Issuance, Issued};
use super::problem::Problem;
use super::token::{present_scopes, resource};
use super::{AuthorizationServer, OwnRequest, Refusal};
use crate::clock::Timestamp;
use crate::observe::AuditAction;
use crate::secret::Digest;
use crate::store::{
    ClientRecord, GrantRecord, GrantStanding, GrantType, NewRefresh, Redeem, RedeemCode,
    RevocationReason,
};
use crate::token::RefreshNonce;

/// Redeems a code.
pub(super) async fn redeem(
    server: &AuthorizationServer,
    asking: &OwnRequest,
    form: &Form,
    client: &ClientRecord,
) -> Result<Issued, Problem> {
    let code = form
        .get("code")
        .ok_or(Problem::InvalidRequest("code is missing"))?;
    let asked = resource(server, form)?;
    let parts = &server.parts;
    let id = parts
        .format
        .grant_of_code(code)
        .ok_or(Problem::InvalidGrant(Refusal::CodeUnknown))?;
    // All that the answer needs is read before the code is used up. A foreign client learns nothing
    // of the grant; the store checks it again.
    let grant = parts.store.grant(&id).await?;
    let grant = grant.ok_or(Problem::InvalidGrant(Refusal::CodeUnknown))?;
    if grant.client != client.id {
        return Err(Problem::InvalidGrant(Refusal::CodeForeign));
    }
    require_target(&grant, asked.as_deref())?;
    let scopes = present_scopes(server, &grant, client).await?;
    let nonce = RefreshNonce::random();
    let wants_refresh = client.settings.grants.contains(&GrantType::RefreshToken);
    let challenge = form.get("code_verifier").map(sent_challenge).transpose()?;
    let request = RedeemCode {
        grant: id,
        code: digest(server, code, &grant),
        client: client.id.clone(),
        redirect: form.get("redirect_uri").map(str::to_owned),
        challenge,
        refresh: wants_refresh.then(|| NewRefresh {
            nonce: nonce.digest(),
            idle: server.settings.refresh.idle,
        }),
        at: parts.clock.now(),
    };
    let at = request.at;
    let outcome = parts.store.redeem_code(request).await?;
    if let Redeem::Replayed(grant) = &outcome
        && is_revoked_now(grant, at)
    {
        server.tell_reuse(AuditAction::CodeReplay, asking, grant);
    }
    let grant = redeemed(outcome)?;
    end_if_disabled(server, &grant).await?;
    let access = Issuance::of_grant(&grant, asked, scopes);
    let refresh = grant.refresh.as_ref().map(|state| {
        parts
            .refresh_tokens
            .mint(&grant.id, state.generation, &nonce)
    });
    server.issue(access, refresh)
}

/// The digest to compare with: a code of before a change of the pepper is kept under another one.
fn digest(server: &AuthorizationServer, code: &str, grant: &GrantRecord) -> Digest {
    let digests = server.parts.peppers.digests(code);
    match digests.contains(&grant.code.digest) {
        true => grant.code.digest,
        false => digests.current(),
    }
}

fn redeemed(outcome: Redeem) -> Result<Box<GrantRecord>, Problem> {
    match outcome {
        Redeem::Redeemed(grant) => Ok(grant),
        Redeem::PkceUnexpected => Err(Problem::InvalidRequest(
            "code_verifier was sent, but no code_challenge before",
        )),
        Redeem::Replayed(grant) => {
            tracing::warn!(
                client = %grant.client,
                subject = %grant.subject,
                "a code came a second time: its grant is revoked"
            );
            Err(Problem::InvalidGrant(Refusal::CodeUsed))
        }
        Redeem::ClientMismatch => Err(Problem::InvalidGrant(Refusal::CodeForeign)),
        Redeem::Expired => Err(Problem::InvalidGrant(Refusal::CodeExpired)),
        Redeem::PkceMismatch => Err(Problem::InvalidGrant(Refusal::CodeVerifierWrong)),
        Redeem::RedirectMismatch => Err(Problem::InvalidGrant(Refusal::RedirectMismatch)),
        Redeem::Revoked => Err(Problem::InvalidGrant(Refusal::GrantRevoked)),
        Redeem::Unknown => Err(Problem::InvalidGrant(Refusal::CodeUnknown)),
    }
}

/// Whether this replay has revoked the grant: what is replayed again and again is told once.
fn is_revoked_now(grant: &GrantRecord, now: Timestamp) -> bool {
    matches!(grant.standing, GrantStanding::Revoked { at, why: RevocationReason::CodeReplayed } if at == now)
}

/// RFC 8707 §2.2: what was granted, or all of it.
fn require_target(grant: &GrantRecord, asked: Option<&str>) -> Result<(), Problem> {
    match (grant.resource.as_deref(), asked) {
        (Some(granted), Some(asked)) if granted != asked => Err(Problem::InvalidTarget),
        _ => Ok(()),
    }
}

/// A user who was disabled after [`present_scopes`] had asked: a gateway of before may have done
/// that, which ends no grant whose code was not redeemed. If the store cannot say, the denial that
/// came with it still stands.
async fn end_if_disabled(server: &AuthorizationServer, grant: &GrantRecord) -> Result<(), Problem> {
    let store = &server.parts.store;
    let Ok(Some(user)) = store.user(&grant.subject).await else {
        return Ok(());
    };
    if user.disabled_at.is_none() {
        return Ok(());
    }
    let (why, now) = (RevocationReason::Operator, server.parts.clock.now());
    // Revoked now or before: there is no grant any more.
    let _ = store.revoke_grant(&grant.id, why, now).await?;
    Err(Problem::InvalidGrant(Refusal::UserDisabled))
}

/// RFC 7636 §4.1: 43 to 128 unreserved characters, so that nobody can guess it. A client that made
/// its challenge of anything less gets no token for it.
fn sent_challenge(verifier: &str) -> Result<String, Problem> {
    match is_pkce_text(verifier) {
        true => Ok(challenge_of(verifier)),
        false => Err(Problem::InvalidGrant(Refusal::CodeVerifierWrong)),
    }
}

/// RFC 7636 §4.2, S256.
fn challenge_of(verifier: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    URL_SAFE_NO_PAD.encode(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_the_hash_of_its_verifier() {
        // RFC 7636 appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(challenge_of(verifier), challenge);
    }
}
