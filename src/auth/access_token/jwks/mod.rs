//! An issuer's key set: read once from a file, or fetched and kept fresh on the control runtime.
//!
//! Workers only read a published set; no request ever fetches. Invariants: nothing but a set with
//! at least one usable key replaces another; a change of keys is a new generation; nothing that a
//! token says chooses what is fetched.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::auth::{Failure, IssuerSettings, JwksSource, Refusal, SignatureAlgorithm, Unavailable};
use crate::observe::Metrics;
use crate::token::jwt::{Choice, KeySet, MAX_SET_LEN, UnusableKey, VerificationKey};

use super::AccessTokensError;
use https::HttpsOrigin;
use published::{Published, PublishedKeys};
use refresh::{Answer, Refresh};

mod demand;
mod fetch;
mod https;
mod published;
mod refresh;
mod schedule;
mod unknown_kids;

pub use https::InvalidJwksUrl;
pub use published::OwnKeys;

/// The keys of one issuer, as they are now.
pub(super) struct Keys {
    published: Arc<PublishedKeys>,
    source: Source,
}

enum Source {
    File,
    Own,
    Url(Refresh),
}

/// A key, and the generation of the set that it was found in.
pub(super) struct FoundKey {
    key: Arc<VerificationKey>,
    generation: u64,
}

impl Keys {
    pub(super) fn new(
        settings: &IssuerSettings,
        own: &OwnKeys,
        metrics: &Arc<Metrics>,
        control: &Handle,
    ) -> Result<Keys, AccessTokensError> {
        let mut published = Arc::new(PublishedKeys::default());
        let source = match &settings.jwks {
            JwksSource::Builtin => {
                published = Arc::clone(&own.0);
                Source::Own
            }
            JwksSource::File(path) => {
                published.publish(read_file(path, settings)?);
                Source::File
            }
            JwksSource::Url { url, ca } => {
                let origin = HttpsOrigin::new(&settings.issuer, url, ca.as_deref())?;
                let published = Arc::clone(&published);
                Source::Url(Refresh::start(
                    origin, settings, published, metrics, control,
                ))
            }
        };
        Ok(Keys { published, source })
    }

    /// The generation of the present set; `None` while there is no set.
    pub(super) fn generation(&self) -> Option<u64> {
        self.published.generation()
    }

    /// The key that a token asks for. For one that is not in the set the issuer may be asked
    /// again, for which this waits.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> Result<FoundKey, Failure> {
        match self.look(id, algorithm)? {
            Some(found) => Ok(found),
            None => self.find_anew(id, algorithm).await,
        }
    }

    /// Resolves when the first attempt to have keys is over, whatever came of it.
    pub(super) async fn first_attempt(&self) {
        if let Source::Url(refresh) = &self.source {
            refresh.first_attempt().await;
        }
    }

    fn look(
        &self,
        id: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> Result<Option<FoundKey>, Failure> {
        let Some(published) = self.published.current() else {
            self.ask_without_waiting();
            return Err(Failure::Unavailable(Unavailable::Jwks));
        };
        let Published { generation, keys } = &*published;
        match keys.choose(id, algorithm) {
            Choice::Absent => Ok(None),
            Choice::Key(key) => Ok(Some(FoundKey {
                key,
                generation: *generation,
            })),
            Choice::OtherAlgorithm => Err(Failure::Refused(Refusal::Algorithm)),
        }
    }

    /// An issuer that never answered may answer now, but no request waits for it.
    fn ask_without_waiting(&self) {
        if let Source::Url(refresh) = &self.source {
            refresh.ask();
        }
    }

    /// The issuer may have begun to use a key that we have not seen.
    async fn find_anew(
        &self,
        id: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> Result<FoundKey, Failure> {
        const UNKNOWN: Failure = Failure::Refused(Refusal::UnknownSigningKey);
        let Source::Url(refresh) = &self.source else {
            return Err(UNKNOWN);
        };
        if refresh.knows_as_unknown(id) {
            return Err(UNKNOWN);
        }
        let answer = refresh.ask_and_wait().await;
        if let Some(found) = self.look(id, algorithm)? {
            return Ok(found);
        }
        match answer {
            Answer::Fresh => refresh.remember_as_unknown(id),
            Answer::Recent => {}
            // Absent from what we have, but what we have may be old: no verdict.
            Answer::None => return Err(Failure::Unavailable(Unavailable::Jwks)),
        }
        Err(UNKNOWN)
    }
}

impl FoundKey {
    pub(super) fn key(&self) -> &VerificationKey {
        &self.key
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

fn read_file(path: &Path, settings: &IssuerSettings) -> Result<KeySet, AccessTokensError> {
    let mut json = Vec::new();
    let longest = u64::try_from(MAX_SET_LEN).unwrap_or(u64::MAX);
    File::open(path)
        // One byte more than a set may have, so that a longer one is seen to be longer.
        .and_then(|file| file.take(longest.saturating_add(1)).read_to_end(&mut json))
        .map_err(|source| AccessTokensError::KeySetFile {
            path: path.into(),
            source,
        })?;
    let keys = KeySet::parse(&json, &settings.algorithms);
    let keys = keys.map_err(|source| AccessTokensError::KeySet {
        path: path.into(),
        source,
    })?;
    warn_of_unusable(&settings.issuer, keys.unusable());
    Ok(keys)
}

fn warn_of_unusable(issuer: &str, unusable: &[(usize, UnusableKey)]) {
    for (position, reason) in unusable {
        tracing::warn!(issuer, position, %reason, "a key of the key set is not used");
    }
}
