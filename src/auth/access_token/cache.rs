//! Tokens that passed every check, for the few minutes in which they come again.
//!
//! Only successes: a flood of bad tokens finds nothing to fill. Invariant: the key is a hash of
//! the whole token, so neither a changed signature nor another issuer's token finds an entry, and
//! a memory dump holds no usable token.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moka::Expiry;
use moka::future::Cache;

use crate::clock::Timestamp;

use super::VerifiedToken;
use crate::auth::front::{self, Booking, Front};

/// The longest that a verdict is kept.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// SHA-256 of a whole token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

/// How long an entry may stay: `min(exp + skew, 5 min)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freshness(Duration);

/// A verified token and what it depends on.
pub(super) struct Cached {
    pub(super) hash: TokenHash,
    pub(super) token: Arc<VerifiedToken>,
    /// Its place among the configured issuers.
    pub(super) issuer: usize,
    /// The key set that verified it. When that changes the entry no longer counts.
    pub(super) generation: u64,
    /// From then on it is expired: `exp` and the allowed skew. Checked at each use, because the
    /// cache forgets by its own clock, and late.
    pub(super) end: Timestamp,
    pub(super) freshness: Freshness,
    pub(super) booking: Booking,
}

pub(super) struct TokenCache {
    front: Front<Cached>,
    cache: Cache<TokenHash, Arc<Cached>>,
}

impl TokenHash {
    pub(super) fn of(token: &str) -> TokenHash {
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        TokenHash(bytes)
    }

    /// A public name for a token without a usable `jti`: 96 bits, from which nothing leads back.
    pub(super) fn short_id(&self) -> String {
        let mut text = URL_SAFE_NO_PAD.encode(self.0);
        text.truncate(16);
        format!("jwt_{text}")
    }
}

impl Freshness {
    pub(super) fn until(end: Timestamp, now: Timestamp) -> Freshness {
        Freshness(end.since(now).min(MAX_AGE))
    }
}

impl TokenCache {
    pub(super) fn new(capacity: u64) -> TokenCache {
        TokenCache {
            front: Front::new(capacity),
            cache: Cache::builder()
                .max_capacity(capacity)
                .expire_after(ByFreshness)
                .build(),
        }
    }

    pub(super) async fn get(&self, hash: &TokenHash) -> Option<Arc<Cached>> {
        let now = tokio::time::Instant::now();
        if let Some(cached) = self.front.get(&hash.0, now) {
            return Some(cached);
        }
        let cached = self.cache.get(hash).await?;
        self.front.put(&cached, now);
        Some(cached)
    }

    pub(super) async fn insert(&self, cached: Cached) {
        let cached = Arc::new(cached);
        self.front.put(&cached, tokio::time::Instant::now());
        self.cache.insert(cached.hash, cached).await;
    }
}

impl front::Entry for Cached {
    fn digest(&self) -> &[u8; 32] {
        &self.hash.0
    }

    fn booking(&self) -> &Booking {
        &self.booking
    }
}

struct ByFreshness;

impl Expiry<TokenHash, Arc<Cached>> for ByFreshness {
    fn expire_after_create(
        &self,
        _: &TokenHash,
        cached: &Arc<Cached>,
        _created_at: Instant,
    ) -> Option<Duration> {
        Some(cached.freshness.0)
    }

    fn expire_after_update(
        &self,
        _: &TokenHash,
        cached: &Arc<Cached>,
        _updated_at: Instant,
        _before: Option<Duration>,
    ) -> Option<Duration> {
        Some(cached.freshness.0)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_93_an_entry_ends_with_its_token_and_after_five_minutes_at_the_latest() {
        let now = Timestamp::from_secs(1000);
        let until = |secs| Freshness::until(Timestamp::from_secs(secs), now).0;
        assert_eq!(until(1042), Duration::from_secs(42));
        assert_eq!(until(90_000), MAX_AGE);
        assert_eq!(until(999), Duration::ZERO);
    }

    #[test]
    fn row_92_the_cache_key_covers_every_byte_of_the_token() {
        let hash = TokenHash::of("aaaa.bbbb.cccc");
        for other in [
            "baaa.bbbb.cccc",
            "aaaa.bbbc.cccc",
            "aaaa.bbbb.cccd",
            "aaaa.bbbb.ccc",
        ] {
            assert_ne!(TokenHash::of(other), hash, "{other}");
        }
    }

    #[test]
    fn a_short_id_is_the_beginning_of_the_hash() {
        // printf 'a.b.c' | openssl dgst -sha256 -binary | base64
        let id = TokenHash::of("a.b.c").short_id();
        assert_eq!(id, "jwt_hF4wRIgJ4ryJWOsC");
        assert_eq!(
            format!("{:?}", TokenHash::of("a.b.c")),
            "TokenHash(redacted)"
        );
    }
}
