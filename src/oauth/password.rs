//! Passwords of builtin users: Argon2id (RFC 9106), off the request path, a few at a time.
//!
//! Invariants: an unknown user costs the same work as a known one; at most [`AT_ONCE`] hashes run
//! (19 MiB each), and at most [`WAITING`] wait: whoever comes then is told to come again.

use std::fmt;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq as _;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::secret::{Secret, random_bytes};
use crate::store::PasswordHash;

/// How many are hashed at once.
const AT_ONCE: usize = 2;
/// How many more may wait: at 25 ms each, well under a second.
const WAITING: usize = 30;
/// OWASP's least for Argon2id: 19 MiB, two passes, one lane.
const COST: Cost = Cost {
    memory: 19_456,
    passes: 2,
    lanes: 1,
};
const HASH: usize = 32;

/// The one place where passwords are hashed.
pub struct Passwords {
    control: Handle,
    running: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// Compared where there is no user.
    nobody: PasswordHash,
}

/// Too many are waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// What a password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The right one, kept at a cost of before: this is its hash at the cost of now.
    Outdated(PasswordHash),
    /// The right one.
    Right,
    /// Not the right one, or nobody's.
    Wrong,
}

/// A password in the form that is kept: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
#[derive(Clone, PartialEq, Eq)]
pub struct HashedPassword {
    cost: Cost,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory: u32,
    passes: u32,
    lanes: u32,
}

impl Passwords {
    pub(super) fn new(control: Handle) -> Passwords {
        let nobody = HashedPassword {
            cost: COST,
            salt: random_bytes::<16>().to_vec(),
            hash: random_bytes::<HASH>().to_vec(),
        };
        Passwords {
            control,
            running: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            nobody: nobody.to_hash(),
        }
    }

    /// Compares a password with a hash; without a hash, after the same work, it is wrong.
    pub(super) async fn verify(
        &self,
        hash: Option<PasswordHash>,
        password: Secret,
    ) -> Result<Verdict, Busy> {
        let place = Arc::clone(&self.queue).try_acquire_owned();
        let _place = place.map_err(|_| Busy)?;
        let _turn = self.running.acquire().await.map_err(|_| Busy)?;
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        let work = move || verdict(&hash, &password);
        let verdict = self.control.spawn_blocking(work).await;
        Ok(match verdict {
            Ok(verdict) if known => verdict,
            Ok(_) | Err(_) => Verdict::Wrong,
        })
    }
}

fn verdict(hash: &PasswordHash, password: &Secret) -> Verdict {
    match HashedPassword::parse(hash) {
        Some(hash) if !hash.fits(password) => Verdict::Wrong,
        Some(hash) if hash.cost == COST => Verdict::Right,
        Some(_) => Verdict::Outdated(HashedPassword::new(password).to_hash()),
        None => Verdict::Wrong,
    }
}

impl HashedPassword {
    /// Hashes a password with a new salt. Takes 25 ms: not for a thread that serves requests.
    pub fn new(password: &Secret) -> HashedPassword {
        let salt = random_bytes::<16>().to_vec();
        let hash = derive(COST, &salt, password, HASH)
            .expect("a salt of 16 bytes and the cost that OWASP names are in Argon2's bounds");
        HashedPassword {
            cost: COST,
            salt,
            hash,
        }
    }

    /// The form that is kept.
    pub fn to_hash(&self) -> PasswordHash {
        let Cost {
            memory,
            passes,
            lanes,
        } = self.cost;
        let (salt, hash) = (
            STANDARD_NO_PAD.encode(&self.salt),
            STANDARD_NO_PAD.encode(&self.hash),
        );
        PasswordHash::new(format!(
            "$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}"
        ))
    }

    fn parse(hash: &PasswordHash) -> Option<HashedPassword> {
        let mut parts = hash.as_str().split('$');
        let (Some(""), Some("argon2id"), Some("v=19")) = (parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let mut costs = parts.next()?.split(',');
        let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.parse::<u32>().ok();
        let cost = Cost {
            memory: cost("m=")?,
            passes: cost("t=")?,
            lanes: cost("p=")?,
        };
        let mut bytes = || STANDARD_NO_PAD.decode(parts.next()?).ok();
        let (salt, hash) = (bytes()?, bytes()?);
        (parts.next().is_none() && hash.len() >= 16).then_some(HashedPassword { cost, salt, hash })
    }

    fn fits(&self, password: &Secret) -> bool {
        let derived = derive(self.cost, &self.salt, password, self.hash.len());
        derived.is_some_and(|derived| derived.ct_eq(&self.hash).into())
    }
}

fn derive(cost: Cost, salt: &[u8], password: &Secret, length: usize) -> Option<Vec<u8>> {
    let params = Params::new(cost.memory, cost.passes, cost.lanes, Some(length)).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = vec![0; length];
    let password = password.expose().as_bytes();
    argon2.hash_password_into(password, salt, &mut hash).ok()?;
    Some(hash)
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl fmt::Debug for HashedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedPassword(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32 -e` of the reference
    /// implementation.
    const REFERENCE: &str =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    #[test]
    fn a_hash_of_the_reference_implementation_is_read() {
        let hash = HashedPassword::parse(&PasswordHash::new(REFERENCE)).expect("a hash");
        assert!(hash.fits(&Secret::new("password")));
        assert!(!hash.fits(&Secret::new("Password")));
        assert_eq!(hash.to_hash().as_str(), REFERENCE);
    }

    #[test]
    fn what_is_no_hash_fits_nothing() {
        for text in [
            "",
            "$argon2id$v=19$",
            "$argon2i$v=19$m=8,t=1,p=1$c29tc2FsdA$AAAA",
            "plain",
        ] {
            assert!(
                HashedPassword::parse(&PasswordHash::new(text)).is_none(),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let passwords = Passwords::new(Handle::current());
        let hash = HashedPassword::new(&Secret::new("hunter2")).to_hash();
        let right = passwords.verify(Some(hash.clone()), Secret::new("hunter2"));
        assert_eq!(right.await, Ok(Verdict::Right));
        let wrong = passwords.verify(Some(hash), Secret::new("hunter3"));
        assert_eq!(wrong.await, Ok(Verdict::Wrong));
        let nobody = passwords.verify(None, Secret::new("hunter2"));
        assert_eq!(nobody.await, Ok(Verdict::Wrong));
    }

    #[tokio::test]
    async fn a_right_password_of_another_cost_is_hashed_anew() {
        let passwords = Passwords::new(Handle::current());
        let old = Some(PasswordHash::new(REFERENCE));
        let wrong = passwords.verify(old.clone(), Secret::new("Password"));
        assert_eq!(wrong.await, Ok(Verdict::Wrong));
        let verdict = passwords.verify(old, Secret::new("password")).await;
        let Ok(Verdict::Outdated(new)) = verdict else {
            panic!("not outdated: {verdict:?}");
        };
        assert!(new.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let again = passwords.verify(Some(new), Secret::new("password"));
        assert_eq!(again.await, Ok(Verdict::Right));
    }

    #[tokio::test]
    async fn whoever_finds_the_queue_full_is_told_so_at_once() {
        let passwords = Passwords::new(Handle::current());
        let queue = Arc::clone(&passwords.queue);
        let full = u32::try_from(AT_ONCE + WAITING).expect("small");
        let _full = queue.try_acquire_many(full).expect("nobody waits");
        assert_eq!(passwords.verify(None, Secret::new("x")).await, Err(Busy));
    }
}
