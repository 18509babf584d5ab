//! A store that does as a test says: answers, fails, hangs, or holds its answers back.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::secret::Digest;
use crate::store::{
    CreateKey, Denial, Denials, Event, Follow, KeyRecord, NewKey, Position, RevokeKey, Store,
    StoreError,
};

/// How a kind of call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Answer,
    /// Answers after the record was changed once more.
    Change,
    Fail,
    Hang,
    /// Reads what there is at once, and answers with it when the mood changes.
    Hold,
    Panic,
}

#[derive(Debug)]
pub(super) struct ScriptedStore {
    state: Mutex<State>,
    lookups: watch::Sender<Mood>,
    log: watch::Sender<Mood>,
    changes: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<Digest, KeyRecord>,
    denials: Vec<Denial>,
    events: Vec<Event>,
    /// Positions before this are lost.
    trimmed: usize,
    lookup_count: usize,
    list_count: usize,
}

impl ScriptedStore {
    pub(super) fn new() -> ScriptedStore {
        ScriptedStore {
            state: Mutex::default(),
            lookups: watch::Sender::new(Mood::Answer),
            log: watch::Sender::new(Mood::Answer),
            changes: watch::Sender::new(0),
        }
    }

    /// Look-ups of keys since the beginning.
    pub(super) fn lookup_count(&self) -> usize {
        self.state().lookup_count
    }

    /// Readings of the not-before list since the beginning.
    pub(super) fn list_count(&self) -> usize {
        self.state().list_count
    }

    pub(super) fn set_lookups(&self, mood: Mood) {
        self.lookups.send_replace(mood);
    }

    pub(super) fn set_log(&self, mood: Mood) {
        self.log.send_replace(mood);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Puts a record there without a word in the log.
    pub(super) fn put(&self, digest: Digest, record: KeyRecord) {
        self.state().keys.insert(digest, record);
    }

    /// Takes a record away without a word in the log.
    pub(super) fn remove(&self, digest: &Digest) {
        self.state().keys.remove(digest);
    }

    pub(super) fn publish(&self, digest: Digest) {
        self.append(Event::Publish(digest));
    }

    pub(super) fn deny(&self, denial: Denial) {
        self.state().denials.push(denial.clone());
        self.append(Event::Deny(denial));
    }

    /// Loses the log up to now; what is in the list stays.
    pub(super) fn lose_log(&self) {
        let mut state = self.state();
        state.events.clear();
        state.trimmed += 1_000_000;
        drop(state);
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn append(&self, event: Event) {
        self.state().events.push(event);
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics under this lock")
    }

    fn follow_now(&self, position: &Position) -> Option<Follow> {
        let state = self.state();
        let from: usize = position.as_str().parse().expect("own position");
        let Some(seen) = from.checked_sub(state.trimmed) else {
            return Some(Follow::Gap);
        };
        let events = state.events[seen..].to_vec();
        (!events.is_empty()).then(|| Follow::Events {
            position: state.end(),
            events,
        })
    }
}

impl State {
    fn end(&self) -> Position {
        Position::new((self.trimmed + self.events.len()).to_string())
    }
}

/// Answers as the mood is; `Hold` waits for it to change.
async fn in_mood(mood: &watch::Sender<Mood>) -> Result<(), StoreError> {
    let mut mood = mood.subscribe();
    loop {
        let now = *mood.borrow_and_update();
        match now {
            Mood::Answer | Mood::Change => return Ok(()),
            Mood::Fail => return Err(StoreError::Unavailable("scripted".into())),
            Mood::Hang => std::future::pending().await,
            Mood::Hold => mood.changed().await.expect("the sender is borrowed"),
            Mood::Panic => panic!("scripted"),
        }
    }
}

#[async_trait::async_trait]
impl Store for ScriptedStore {
    async fn key_by_digest(&self, digest: &Digest) -> Result<Option<KeyRecord>, StoreError> {
        let record = {
            let mut state = self.state();
            state.lookup_count += 1;
            state.keys.get(digest).cloned()
        };
        if *self.lookups.borrow() == Mood::Change {
            self.publish(*digest);
            // Long enough for the follower to see it.
            sleep(Duration::from_millis(1)).await;
        }
        in_mood(&self.lookups).await?;
        Ok(record)
    }

    async fn key(&self, _: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        unreachable!("requests look keys up by digest")
    }

    async fn keys(&self, _: Option<&KeyId>, _: usize) -> Result<Vec<KeyRecord>, StoreError> {
        unreachable!("requests look keys up by digest")
    }

    async fn create_keys(&self, _: Vec<NewKey>) -> Result<Vec<CreateKey>, StoreError> {
        unreachable!("requests create nothing")
    }

    async fn revoke_key(&self, _: &KeyId, _: Timestamp) -> Result<RevokeKey, StoreError> {
        unreachable!("requests revoke nothing")
    }

    async fn denials(&self) -> Result<Denials, StoreError> {
        in_mood(&self.log).await?;
        let mut state = self.state();
        state.list_count += 1;
        Ok(Denials {
            position: state.end(),
            entries: state.denials.clone(),
        })
    }

    async fn follow(&self, position: &Position, wait: Duration) -> Result<Follow, StoreError> {
        let mut changes = self.changes.subscribe();
        in_mood(&self.log).await?;
        if let Some(answer) = self.follow_now(position) {
            return Ok(answer);
        }
        let _timed_out = timeout(wait, changes.changed()).await;
        in_mood(&self.log).await?;
        Ok(self.follow_now(position).unwrap_or(Follow::Events {
            position: position.clone(),
            events: Vec::new(),
        }))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
