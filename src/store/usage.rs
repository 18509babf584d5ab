//! When secrets were last seen. Beside the records, so that use does not disturb what a record
//! says, and no cache has to be told.

use crate::clock::Timestamp;
use crate::secret::Digest;

use super::shelf::Place;
use super::{Shelf, StoreError};

/// A sight of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Which.
    pub digest: Digest,
    /// When.
    pub seen_at: Timestamp,
    /// Until when that may matter; `None` is for ever.
    pub keep_until: Option<Timestamp>,
}

/// The verbs on sights.
#[async_trait::async_trait]
pub trait UsageStore: Send + Sync + 'static {
    /// Remembers sights; a later one that is known already stands. Nothing else comes of it: what
    /// was ended does not come back.
    async fn touch(&self, touches: Vec<Touch>) -> Result<(), StoreError>;

    /// When each secret was last seen, in the order asked.
    async fn last_seen(&self, digests: Vec<Digest>) -> Result<Vec<Option<Timestamp>>, StoreError>;
}

#[async_trait::async_trait]
impl<S: Shelf> UsageStore for S {
    async fn touch(&self, touches: Vec<Touch>) -> Result<(), StoreError> {
        let Some(latest) = touches.iter().map(|touch| touch.seen_at).max() else {
            return Ok(());
        };
        let moments = touches.into_iter();
        let moments = moments.map(|t| (place(&t.digest), t.seen_at, t.keep_until));
        self.raise(moments.collect(), latest).await
    }

    async fn last_seen(&self, digests: Vec<Digest>) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let found = self.fetch(digests.iter().map(place).collect()).await?;
        found.iter().map(|text| moment(text.as_deref())).collect()
    }
}

fn place(digest: &Digest) -> Place {
    Place::new("u", digest.to_text())
}

fn moment(text: Option<&str>) -> Result<Option<Timestamp>, StoreError> {
    let millis = text.map(str::parse).transpose();
    let millis = millis.map_err(|_| StoreError::Corrupt("when a secret was seen".into()))?;
    Ok(millis.map(Timestamp::from_millis))
}
