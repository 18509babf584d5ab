//! Private keys at rest while the pepper changes: opened under each, sealed anew under the current
//! one.
//!
//! Invariant: what the next pepper has sealed is left alone, so that instances on either side of a
//! change do not seal against each other.

use zeroize::Zeroizing;

use super::SigningKeys;
use crate::observe::Causes;
use crate::sealed::Sealed;
use crate::secret::Peppers;
use crate::store::{Rehash, SigningKeyRecord};

/// Which pepper has sealed a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealedUnder {
    Current,
    Next,
    Previous,
}

/// The private half, in PKCS#8; `None` where no pepper opens it.
pub(super) fn open(
    record: &SigningKeyRecord,
    peppers: &Peppers,
) -> Option<(Zeroizing<Vec<u8>>, SealedUnder)> {
    let candidates = [
        (Some(peppers.current()), SealedUnder::Current),
        (peppers.previous(), SealedUnder::Previous),
        (peppers.next(), SealedUnder::Next),
    ];
    candidates.into_iter().find_map(|(pepper, under)| {
        let opened = record.private.open(pepper?, &record.kid).ok()?;
        Some((opened, under))
    })
}

impl SigningKeys {
    /// Seals under the current pepper what the one before has sealed. Of two instances that do so
    /// at the same time one writes; what fails is tried again at the next reading.
    pub(super) async fn reseal(&self, records: &[SigningKeyRecord]) {
        let peppers = self.peppers.load();
        if peppers.previous().is_none() {
            return;
        }
        for record in records {
            let Some((pkcs8, SealedUnder::Previous)) = open(record, &peppers) else {
                continue;
            };
            let (kid, now) = (&record.kid, self.clock.now());
            let new = Sealed::seal(peppers.current(), kid, &pkcs8);
            let resealed = self
                .store
                .reseal_signing_key(kid, &record.private, new, now);
            match resealed.await {
                Ok(Rehash::Rehashed) => {
                    tracing::info!(kid, "a signing key was sealed under the new pepper");
                }
                Ok(Rehash::Unknown) => {}
                Err(error) => {
                    tracing::warn!(kid, cause = %Causes(&error), "a signing key is not sealed anew yet");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::SigningKeyDesk;
    use crate::clock::Timestamp;
    use crate::secret::Pepper;
    use crate::store::{SigningAlgorithm, SigningKeyState};

    #[test]
    fn a_key_opens_under_each_pepper_and_says_which() {
        let new =
            SigningKeyDesk::draft(&Pepper::of_test(b'a'), SigningAlgorithm::Es256).expect("a key");
        let record = SigningKeyRecord {
            kid: new.kid,
            algorithm: new.algorithm,
            public: new.public,
            private: new.private,
            created_at: Timestamp::from_secs(1_790_000_000),
            state: SigningKeyState::Next,
        };
        let under = |peppers: &Peppers| open(&record, peppers).map(|(_, under)| under);
        let other = || Peppers::from(Pepper::of_test(b'b'));
        let (before, after) = (
            other().with_previous(Pepper::of_test(b'a')).expect("two"),
            other().with_next(Pepper::of_test(b'a')).expect("two"),
        );
        assert_eq!(
            under(&Pepper::of_test(b'a').into()),
            Some(SealedUnder::Current)
        );
        assert_eq!(under(&before), Some(SealedUnder::Previous));
        assert_eq!(under(&after), Some(SealedUnder::Next));
        assert_eq!(under(&other()), None);
    }
}
