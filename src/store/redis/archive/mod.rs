//! All of the servers' keys that are ours: out by `SCAN`, in by scripts that let stand what is there.
//!
//! `SCAN` is no snapshot. Whatever is there from its beginning to its end is met, perhaps twice, as
//! long as no key changes its server ([`scan`]); each entry is as it was when it was read. So the log's position is taken first, and what was denied
//! since comes last: no revocation is missing, though the record that it is about may have been read
//! before. Not here: what is carried ([`crate::store::archive`]).

use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Timestamp;
use crate::store::archive::{ArchiveStore, Entries, Entry, Restored, taken};
use crate::store::{Denial, Event, EventStore as _, Follow, StoreError};

use super::RedisStore;

mod read;
mod scan;
mod write;

use read::send;
use scan::Scan;
use write::Batch;

/// Keys asked for, and entries written, at once: few enough for one deadline.
const BATCH: usize = 100;

#[async_trait::async_trait]
impl ArchiveStore for RedisStore {
    async fn archive(&self, to: mpsc::Sender<Entry>) -> Result<(), StoreError> {
        let denials = self.denials().await?;
        send(&to, denials.entries.into_iter().map(Entry::Denial)).await?;
        let mut scan = Scan::begin(&self.lane).await?;
        while let Some(names) = scan.next().await? {
            read::send_named(self, names, &to).await?;
        }
        let late = match self.follow(&denials.position, Duration::ZERO).await? {
            Follow::Events { events, .. } => events.into_iter().filter_map(denial).collect(),
            Follow::Gap(_) => self.denials().await?.entries,
        };
        send(&to, late.into_iter().map(Entry::Denial)).await
    }

    async fn restore(&self, mut entries: Entries, at: Timestamp) -> Result<Restored, StoreError> {
        let mut restored = Restored::default();
        loop {
            // A little of a local file, read by a command that does nothing else meanwhile.
            let batch = entries.by_ref().take(BATCH).map(taken);
            let batch = Batch::sort(batch, at)?;
            if batch.is_empty() {
                return Ok(restored);
            }
            batch.restore(&self.lane, at, &mut restored).await?;
        }
    }

    fn backend(&self) -> &'static str {
        "redis"
    }
}

fn denial(event: Event) -> Option<Denial> {
    match event {
        Event::Deny(denial) => Some(denial),
        Event::Publish(_) => None,
    }
}
