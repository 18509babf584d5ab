//! A store that does as a test says: answers, fails, hangs, or holds its answers back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::Timestamp;
use crate::id::{InstanceId, KeyId};
use crate::secret::Digest;
use crate::store::{
    Addition, ArchiveStore, Change, Changed, CreateKey, Cursor, Denial, DenialKind, Denials,
    Entries, Entry, Event, EventStore, Fleet, FleetReach, FleetStore, Follow, Forget, Gap, Index,
    Instance, InstanceReport, KeyRecord, KeyRotated, KeyRotation, KeyStore, Member, NewKey, Place,
    Plan, Position, Rehash, ReportKind, Restored, RevokeKey, RotateKey, Shelf, StoreError,
};

/// How old each entry of the log is when it is reported as read.
pub(super) const BEHIND: Duration = Duration::from_millis(3);

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
    /// Cannot read what is there.
    Unreadable,
}

#[derive(Debug)]
pub(super) struct ScriptedStore {
    state: Mutex<State>,
    lookups: watch::Sender<Mood>,
    log: watch::Sender<Mood>,
    reports: watch::Sender<Mood>,
    counts: watch::Sender<Mood>,
    changes: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<Digest, KeyRecord>,
    documents: BTreeMap<Place, String>,
    lists: BTreeSet<(Index, Member)>,
    denials: Vec<Denial>,
    events: Vec<Event>,
    fleet: BTreeMap<InstanceId, (InstanceReport, Instant)>,
    fleet_lost: Option<Instant>,
    report_count: usize,
    /// Positions before this are lost.
    trimmed: usize,
    lookup_count: usize,
    list_count: usize,
    /// The sizes of the pages of keys that were read.
    pages: Vec<usize>,
}

impl ScriptedStore {
    pub(super) fn new() -> ScriptedStore {
        ScriptedStore {
            state: Mutex::default(),
            lookups: watch::Sender::new(Mood::Answer),
            log: watch::Sender::new(Mood::Answer),
            reports: watch::Sender::new(Mood::Answer),
            counts: watch::Sender::new(Mood::Answer),
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

    /// Reports that were taken since the beginning.
    pub(super) fn report_count(&self) -> usize {
        self.state().report_count
    }

    /// Whether reports of instances are taken; the list can be read in any mood.
    pub(super) fn set_reports(&self, mood: Mood) {
        self.reports.send_replace(mood);
    }

    /// As after FLUSHALL: neither the log is there any more, nor the list of instances.
    pub(super) fn lose_all(&self) {
        self.lose_fleet();
        self.lose_log();
    }

    /// Loses the list of instances.
    pub(super) fn lose_fleet(&self) {
        self.state().fleet.clear();
    }

    /// What an instance reported last.
    pub(super) fn reported(&self) -> Option<InstanceReport> {
        let state = self.state();
        state
            .fleet
            .values()
            .next()
            .map(|(report, _)| report.clone())
    }

    /// The sizes of the pages of keys that were read since the beginning.
    pub(super) fn pages(&self) -> Vec<usize> {
        self.state().pages.clone()
    }

    pub(super) fn set_lookups(&self, mood: Mood) {
        self.lookups.send_replace(mood);
    }

    pub(super) fn set_log(&self, mood: Mood) {
        self.log.send_replace(mood);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Additions to what is counted.
    pub(super) fn set_counts(&self, mood: Mood) {
        self.counts.send_replace(mood);
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

    /// As if restored from a copy of its beginning: no denial, no log, and `records` as they were.
    pub(super) fn roll_back(&self, records: Vec<(Digest, KeyRecord)>) {
        let mut state = self.state();
        state.denials.clear();
        state.events.clear();
        state.keys.extend(records);
        drop(state);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Whether the not-before list has it.
    pub(super) fn denies(&self, kind: DenialKind, id: &str) -> bool {
        let state = self.state();
        let mut denials = state.denials.iter();
        denials.any(|denial| denial.kind == kind && denial.id == id)
    }

    /// What is under a digest.
    pub(super) fn record(&self, digest: &Digest) -> Option<KeyRecord> {
        self.state().keys.get(digest).cloned()
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
            return Some(Follow::Gap(Gap::Trimmed));
        };
        let Some(events) = state.events.get(seen..) else {
            return Some(Follow::Gap(Gap::Behind));
        };
        let events = events.to_vec();
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
            Mood::Unreadable => return Err(StoreError::Corrupt("scripted".into())),
        }
    }
}

#[async_trait::async_trait]
impl KeyStore for ScriptedStore {
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

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let found = self
            .state()
            .keys
            .values()
            .find(|key| key.id == *id)
            .cloned();
        in_mood(&self.lookups).await?;
        Ok(found)
    }

    async fn keys(&self, _: Option<&KeyId>, _: usize) -> Result<Vec<KeyRecord>, StoreError> {
        unreachable!("requests look keys up by digest")
    }

    async fn keys_at_hand(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, KeyRecord)>, StoreError> {
        let page = {
            let mut state = self.state();
            let rest = state
                .keys
                .iter()
                .map(|(digest, key)| (*digest, key.clone()));
            let mut page: Vec<_> = rest
                .filter(|(digest, _)| after.is_none_or(|after| digest > after))
                .collect();
            page.sort_by_key(|(digest, _)| *digest);
            page.truncate(limit);
            state.pages.push(page.len());
            page
        };
        in_mood(&self.lookups).await?;
        Ok(page)
    }

    async fn create_keys(&self, _: Vec<NewKey>) -> Result<Vec<CreateKey>, StoreError> {
        unreachable!("requests create nothing")
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<RevokeKey, StoreError> {
        in_mood(&self.lookups).await?;
        let mut state = self.state();
        let Some(record) = state.keys.values_mut().find(|key| key.id == *id) else {
            return Ok(RevokeKey::Unknown);
        };
        if record.revoked_at.is_some() {
            return Ok(RevokeKey::AlreadyRevoked(record.clone()));
        }
        record.revoked_at = Some(at);
        let record = record.clone();
        drop(state);
        self.deny(Denial {
            kind: DenialKind::Key,
            id: id.to_string(),
            at,
        });
        Ok(RevokeKey::Revoked(record))
    }

    async fn rotate_key(&self, _: KeyRotation) -> Result<RotateKey, StoreError> {
        unreachable!("requests rotate nothing")
    }

    async fn key_rotation(&self, _: &KeyId) -> Result<Option<KeyRotated>, StoreError> {
        unreachable!("requests rotate nothing")
    }

    async fn rehash_key(&self, _: &KeyId, _: &Digest, _: &Digest) -> Result<Rehash, StoreError> {
        unreachable!("no test here changes its pepper")
    }
}

#[async_trait::async_trait]
impl EventStore for ScriptedStore {
    async fn deny(&self, denials: Vec<Denial>) -> Result<(), StoreError> {
        denials.into_iter().for_each(|denial| {
            ScriptedStore::deny(self, denial);
        });
        Ok(())
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

    async fn log_end(&self) -> Result<Position, StoreError> {
        Ok(self.state().end())
    }

    async fn log_holds(&self, position: &Position) -> Result<bool, StoreError> {
        let place: usize = position.as_str().parse().expect("own position");
        Ok(place >= self.state().trimmed)
    }

    fn has_reached(&self, position: &Position, target: &Position) -> bool {
        let number = |place: &Position| place.as_str().parse::<usize>().expect("own position");
        number(position) >= number(target)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl FleetStore for ScriptedStore {
    async fn report(&self, report: InstanceReport) -> Result<Option<Duration>, StoreError> {
        in_mood(&self.reports).await?;
        let mut state = self.state();
        state.report_count += 1;
        if report.kind == ReportKind::Renewal && !state.fleet.contains_key(&report.id) {
            state.fleet_lost = Some(Instant::now());
        }
        let id = report.id.clone();
        let behind = report.confirmed.is_some().then_some(BEHIND);
        state.fleet.insert(id, (report, Instant::now()));
        Ok(behind)
    }

    async fn fleet(&self) -> Result<Fleet, StoreError> {
        let state = self.state();
        let instances = state.fleet.values().map(|(report, at)| Instance {
            report: report.clone(),
            silent_for: at.elapsed(),
        });
        Ok(Fleet {
            instances: instances.collect(),
            lost: state.fleet_lost.map(|at| at.elapsed()),
            reach: FleetReach::Shared,
        })
    }

    async fn leave(&self, id: &InstanceId) -> Result<(), StoreError> {
        self.state().fleet.remove(id);
        Ok(())
    }

    async fn forget(&self, id: &InstanceId, silent_for: Duration) -> Result<Forget, StoreError> {
        let mut state = self.state();
        Ok(match state.fleet.get(id) {
            None => Forget::Unknown,
            Some((_, at)) if at.elapsed() <= silent_for => Forget::Reports,
            Some(_) => {
                state.fleet.remove(id);
                Forget::Forgotten
            }
        })
    }
}

/// Documents live in memory; look-ups of them are in the mood of all look-ups.
impl Shelf for ScriptedStore {
    async fn fetch(&self, places: Vec<Place>) -> Result<Vec<Option<String>>, StoreError> {
        let found = {
            let mut state = self.state();
            state.lookup_count += 1;
            let found = places
                .iter()
                .map(|place| state.documents.get(place).cloned());
            found.collect()
        };
        in_mood(&self.lookups).await?;
        Ok(found)
    }

    async fn members(
        &self,
        index: Index,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        in_mood(&self.lookups).await?;
        let state = self.state();
        let ours = state.lists.iter().filter(|(list, _)| *list == index);
        let rest = ours.filter(|(_, member)| {
            let after = after.as_ref();
            after.is_none_or(|after| member.as_str() > after.as_str())
        });
        Ok(rest.take(limit).map(|(_, member)| member.clone()).collect())
    }

    async fn change<T, F>(
        &self,
        place: Place,
        _: Timestamp,
        decide: F,
    ) -> Result<Changed<T>, StoreError>
    where
        T: Send + 'static,
        F: Fn(Option<&str>) -> Result<Plan<T>, StoreError> + Send + Sync + 'static,
    {
        let mut state = self.state();
        let plan = decide(state.documents.get(&place).map(String::as_str))?;
        for listing in plan.listings {
            let ours = |(list, _): &&(Index, Member)| *list == listing.index;
            let count = state.lists.iter().filter(ours).count();
            if listing.cap.is_some_and(|cap| count >= cap) {
                return Ok(Changed::Full);
            }
            state.lists.insert((listing.index, listing.member));
        }
        match plan.change {
            Change::Keep => {}
            Change::Remove => drop(state.documents.remove(&place)),
            Change::Write { text, .. } => drop(state.documents.insert(place, text)),
        }
        for entry in plan.unlistings {
            state.lists.remove(&entry);
        }
        drop(state);
        plan.denial.into_iter().for_each(|denial| {
            ScriptedStore::deny(self, denial);
        });
        plan.publish
            .into_iter()
            .for_each(|digest| self.publish(digest));
        Ok(Changed::Done(plan.answer))
    }

    async fn raise(
        &self,
        moments: Vec<(Place, Timestamp, Option<Timestamp>)>,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        for (place, moment, _) in moments {
            let before = state
                .documents
                .get(&place)
                .and_then(|text| text.parse().ok());
            let latest = moment.as_millis().max(before.unwrap_or(i64::MIN));
            state.documents.insert(place, latest.to_string());
        }
        Ok(())
    }

    async fn add(&self, additions: Vec<Addition>, _: Timestamp) -> Result<(), StoreError> {
        in_mood(&self.counts).await?;
        let mut state = self.state();
        for addition in additions {
            let before = state.documents.get(&addition.place);
            let mut sums: BTreeMap<String, u64> = before.map_or_else(BTreeMap::new, |text| {
                serde_json::from_str(text).expect("JSON")
            });
            for (name, count) in addition.counts {
                *sums.entry(name).or_default() += count;
            }
            let text = serde_json::to_string(&sums).expect("JSON");
            state.documents.insert(addition.place, text);
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl ArchiveStore for ScriptedStore {
    async fn archive(&self, _: mpsc::Sender<Entry>) -> Result<(), StoreError> {
        unreachable!("requests export nothing")
    }

    async fn restore(&self, _: Entries, _: Timestamp) -> Result<Restored, StoreError> {
        unreachable!("requests import nothing")
    }

    fn backend(&self) -> &'static str {
        "scripted"
    }
}
