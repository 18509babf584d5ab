//! What upstreams are told of a credential's holder, as texts that every request of it shares.
//!
//! One buffer a holder, made when it is first asked for: a request takes parts of it without
//! copying. Not here: the names of the fields that carry them (`gateway::identity`). Invariant: a
//! text is ASCII; one that is not, or is empty, is absent, but for the scopes: a subject of another
//! issuer may hold anything.

use bytes::{Bytes, BytesMut};

use super::principal::Identity;

/// One of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The account.
    Account,
    /// The OAuth client.
    ClientId,
    /// The credential's public id.
    CredentialId,
    /// The scopes, separated by single spaces.
    Scopes,
    /// Who it acts as.
    Subject,
}

/// All texts, one behind the other.
#[derive(Debug)]
pub(super) struct ToldTexts {
    buffer: Bytes,
    /// Where each ends, in the order of [`Told`].
    ends: [usize; 5],
}

impl ToldTexts {
    pub(super) fn of(identity: &Identity) -> ToldTexts {
        let texts = [
            identity.account.as_ref().map(|account| account.as_str()),
            identity.client_id.as_deref(),
            Some(identity.credential_id.as_str()),
            Some(identity.scopes.as_str()),
            Some(identity.subject.as_str()),
        ];
        let mut buffer = BytesMut::new();
        let ends = texts.map(|text| {
            let told = text.filter(|text| text.is_ascii()).unwrap_or_default();
            buffer.extend_from_slice(told.as_bytes());
            buffer.len()
        });
        ToldTexts {
            buffer: buffer.freeze(),
            ends,
        }
    }

    pub(super) fn get(&self, what: Told) -> Option<Bytes> {
        let place = what as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = self.ends[place];
        // No scopes are told as such: a reader could take a missing field for no restriction.
        (start < end || what == Told::Scopes).then(|| self.buffer.slice(start..end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::CredentialKind;
    use crate::environment::Environment;
    use crate::id::{AccountId, CredentialId};
    use crate::scope::ScopeSet;

    #[test]
    fn what_is_no_ascii_is_not_told() {
        let texts = ToldTexts::of(&identity("a:read a:write"));
        let told = |what| texts.get(what);
        assert_eq!(told(Told::Account).as_deref(), Some(&b"acct_1"[..]));
        assert_eq!(told(Told::ClientId), None);
        assert_eq!(told(Told::CredentialId).as_deref(), Some(&b"jti-1"[..]));
        assert_eq!(told(Told::Scopes).as_deref(), Some(&b"a:read a:write"[..]));
        assert_eq!(told(Told::Subject), None);
    }

    #[test]
    fn no_scopes_are_told_as_an_empty_text() {
        let texts = ToldTexts::of(&identity(""));
        assert_eq!(texts.get(Told::Scopes).as_deref(), Some(&b""[..]));
    }

    fn identity(scopes: &str) -> Identity {
        Identity {
            kind: CredentialKind::AccessToken,
            credential_id: CredentialId::parse("jti-1").expect("an id"),
            subject: "https://idp.example|Zoë".into(),
            account: AccountId::parse("acct_1").ok(),
            client_id: None,
            issuer: None,
            resource: None,
            grant: None,
            jti: None,
            issued_at: crate::clock::Timestamp::from_secs(0),
            scopes: ScopeSet::parse(scopes).expect("scopes"),
            environment: Environment::Live,
            allowed_ips: Vec::new(),
            not_before: None,
            expires_at: None,
        }
    }
}
