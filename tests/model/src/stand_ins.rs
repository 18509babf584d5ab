//! The small types of other rooms that the protocol's files name, and a store that scenarios write.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    pub capacity: u64,
    pub fresh: Duration,
    pub stale: Duration,
    pub negative: Duration,
}

#[derive(Clone, Debug)]
pub struct IssuerSettings {
    pub clock_skew: Duration,
    pub max_lifetime: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Unavailable(Unavailable),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    Lease,
    Store,
}

/// Nothing is counted here.
pub mod usage {
    #[derive(Debug)]
    pub struct UsageBook;
}

pub mod secret {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Digest([u8; 32]);

    impl Digest {
        pub const fn from_bytes(bytes: [u8; 32]) -> Digest {
            Digest(bytes)
        }

        pub const fn as_bytes(&self) -> &[u8; 32] {
            &self.0
        }
    }

    pub fn random_bytes<const N: usize>() -> [u8; N] {
        [0; N]
    }
}

pub mod observe {
    use crate::libraries::IntCounter;

    #[derive(Debug, Default)]
    pub struct Metrics {
        pub credential_cache: Family,
    }

    #[derive(Debug, Default)]
    pub struct Family;

    impl Family {
        pub fn with_label_values(&self, _labels: &[&str]) -> IntCounter {
            IntCounter
        }
    }
}

pub mod clock {
    use std::time::Duration;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Timestamp(Duration);

    impl Timestamp {
        pub const fn from_secs(seconds: u64) -> Timestamp {
            Timestamp(Duration::from_secs(seconds))
        }

        pub fn plus(self, duration: Duration) -> Timestamp {
            Timestamp(self.0 + duration)
        }

        pub fn minus(self, duration: Duration) -> Timestamp {
            Timestamp(self.0.saturating_sub(duration))
        }
    }
}

pub mod store {
    use std::fmt;

    use crate::clock::Timestamp;
    use crate::secret::Digest;

    /// What a scenario wrote, read at one moment of the load.
    pub trait Store: Send + Sync {
        fn version(&self, digest: Digest) -> Result<Option<u64>, StoreError>;
    }

    #[derive(Debug)]
    pub struct StoreError;

    impl fmt::Display for StoreError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the store failed")
        }
    }

    #[derive(Clone, Debug)]
    pub struct Denial {
        pub kind: DenialKind,
        pub id: String,
        pub at: Timestamp,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum DenialKind {
        Account,
        Client,
        Grant,
        Issuer,
        Jti,
        Key,
        Session,
        Subject,
    }
}
