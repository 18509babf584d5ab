//! When secrets were last seen, and what keys were used for. Beside the records, so that use does
//! not disturb what a record says, and no cache has to be told.
//!
//! Uses are counted by key and day of UTC, a document each, which goes by itself after
//! [`Day::KEPT`] days. Invariant: counts of several gateways add up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::scope::Scope;
use crate::secret::Digest;

use super::shelf::{Addition, Place, Plan, change, parse};
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

/// A day of UTC, counted from the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

/// How often a key was used, and what for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Requests that were let through.
    pub requests: u64,
    /// Of those, by granted scope, how many needed it.
    pub used: BTreeMap<Scope, u64>,
    /// Requests that were refused for the want of a scope.
    pub missing: BTreeMap<Scope, u64>,
}

/// What one gateway has to tell of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUses {
    /// Which.
    pub key: KeyId,
    /// On which day.
    pub day: Day,
    /// When it was seen last; `None` is that there is nothing new.
    pub seen_at: Option<Timestamp>,
    /// More of these.
    pub uses: Uses,
}

/// What the store knows of one key's use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUsage {
    /// When it was seen last, or a session that it gave; `None` is never, as far as anybody counted.
    pub seen_at: Option<Timestamp>,
    /// In all of the days that were asked for.
    pub uses: Uses,
}

/// The verbs on sights and uses.
#[async_trait::async_trait]
pub trait UsageStore: Send + Sync + 'static {
    /// Remembers sights; a later one that is known already stands. Nothing else comes of it: what
    /// was ended does not come back.
    async fn touch(&self, touches: Vec<Touch>) -> Result<(), StoreError>;

    /// When each secret was last seen, in the order asked.
    async fn last_seen(&self, digests: Vec<Digest>) -> Result<Vec<Option<Timestamp>>, StoreError>;

    /// A gateway counts from now on. Answers since when any did: the first time stands.
    async fn begin_usage(&self, at: Timestamp) -> Result<Timestamp, StoreError>;

    /// Since when uses are counted; `None` is: not yet.
    async fn usage_began(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Adds uses. After an error some may have been added: whoever repeats it may count them twice.
    async fn add_usage(&self, uses: Vec<KeyUses>, at: Timestamp) -> Result<(), StoreError>;

    /// What each key was used for from `since` to `until`, both included, in the order asked.
    async fn usage(
        &self,
        keys: Vec<KeyId>,
        since: Day,
        until: Day,
    ) -> Result<Vec<KeyUsage>, StoreError>;
}

/// Documents asked for at once, so that others get their turn in between.
const FETCH: usize = 1000;
/// The name of [`Uses::requests`] in a document; those of scopes have a letter and a space in front.
const REQUESTS: &str = "r";

impl Day {
    /// How many days are kept.
    pub const KEPT: u32 = 90;

    /// The day of an instant.
    pub const fn of(at: Timestamp) -> Day {
        Day(at.as_secs().div_euclid(DAY_SECS))
    }

    /// The day that many days before.
    pub const fn back(self, days: u32) -> Day {
        Day(self.0.saturating_sub(days as i64))
    }

    /// Its first instant.
    pub const fn start(self) -> Timestamp {
        Timestamp::from_secs(self.0.saturating_mul(DAY_SECS))
    }

    /// When what was counted on it may go: whoever asks for all that is kept still finds it.
    fn ends(self) -> Timestamp {
        let days = u64::from(Day::KEPT) + 1;
        self.start().plus(Duration::from_secs(days * 86_400))
    }

    fn through(self, last: Day) -> impl Iterator<Item = Day> {
        (self.0..=last.0).map(Day)
    }
}

const DAY_SECS: i64 = 86_400;

impl Uses {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.requests == 0 && self.used.is_empty() && self.missing.is_empty()
    }

    /// These, too.
    pub fn add(&mut self, more: &Uses) {
        self.requests = self.requests.saturating_add(more.requests);
        for (sums, counts) in [
            (&mut self.used, &more.used),
            (&mut self.missing, &more.missing),
        ] {
            for (scope, count) in counts {
                let sum = sums.entry(scope.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
    }

    fn to_counts(&self) -> BTreeMap<String, u64> {
        let requests = (self.requests > 0).then(|| (REQUESTS.to_owned(), self.requests));
        let used = self.used.iter().map(|(s, n)| (format!("u {s}"), *n));
        let missing = self.missing.iter().map(|(s, n)| (format!("m {s}"), *n));
        requests.into_iter().chain(used).chain(missing).collect()
    }

    /// Names of a later version are passed over: nothing is decided by them.
    fn of_counts(counts: BTreeMap<String, u64>) -> Uses {
        let mut uses = Uses::default();
        for (name, count) in counts {
            let scope = |text| Scope::parse(text).ok();
            if name == REQUESTS {
                uses.requests = count;
            } else if let Some(scope) = name.strip_prefix("u ").and_then(scope) {
                uses.used.insert(scope, count);
            } else if let Some(scope) = name.strip_prefix("m ").and_then(scope) {
                uses.missing.insert(scope, count);
            }
        }
        uses
    }
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

    async fn begin_usage(&self, at: Timestamp) -> Result<Timestamp, StoreError> {
        change(self, beginning(), at, move |found| match moment(found)? {
            Some(first) => Ok(Plan::keep(first)),
            None => Plan::write(at, &at, None),
        })
        .await
    }

    async fn usage_began(&self) -> Result<Option<Timestamp>, StoreError> {
        let found = self.fetch(vec![beginning()]).await?.pop().flatten();
        moment(found.as_deref())
    }

    async fn add_usage(&self, uses: Vec<KeyUses>, at: Timestamp) -> Result<(), StoreError> {
        // First, since it may be repeated.
        let seen = uses.iter().filter_map(|one| Some((one, one.seen_at?)));
        let seen: Vec<_> = seen.map(|(one, at)| (last(&one.key), at, None)).collect();
        if !seen.is_empty() {
            self.raise(seen, at).await?;
        }
        let uses = uses.iter().filter(|one| !one.uses.is_empty());
        let additions = uses.map(|one| Addition {
            place: day(&one.key, one.day),
            counts: one.uses.to_counts(),
            until: Some(one.day.ends()),
        });
        let additions: Vec<_> = additions.collect();
        if additions.is_empty() {
            return Ok(());
        }
        self.add(additions, at).await
    }

    async fn usage(
        &self,
        keys: Vec<KeyId>,
        since: Day,
        until: Day,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let found = fetch(self, keys.iter().map(last).collect()).await?;
        let seen = found.iter().map(|text| moment(text.as_deref()));
        let seen: Vec<_> = seen.collect::<Result<_, _>>()?;
        let mut usage: Vec<KeyUsage> = seen
            .iter()
            .map(|seen_at| KeyUsage {
                seen_at: *seen_at,
                uses: Uses::default(),
            })
            .collect();
        let mut whose = Vec::new();
        for (index, (key, seen)) in keys.iter().zip(&seen).enumerate() {
            let Some(seen) = seen else { continue };
            // Nothing is counted of a key that is not seen. The last sight may be told a little
            // late.
            let last = Day::of(seen.plus(Duration::from_secs(3600))).min(until);
            whose.extend(since.through(last).map(|at| (index, day(key, at))));
        }
        let places = whose.iter().map(|(_, place)| place.clone()).collect();
        for ((index, _), text) in whose.iter().zip(fetch(self, places).await?) {
            let counts: Option<BTreeMap<String, u64>> = parse(text.as_deref())?;
            let uses = Uses::of_counts(counts.unwrap_or_default());
            usage[*index].uses.add(&uses);
        }
        Ok(usage)
    }
}

/// Documents, some at a time.
async fn fetch(shelf: &impl Shelf, places: Vec<Place>) -> Result<Vec<Option<String>>, StoreError> {
    let mut found = Vec::with_capacity(places.len());
    for some in places.chunks(FETCH) {
        found.extend(shelf.fetch(some.to_vec()).await?);
    }
    Ok(found)
}

fn place(digest: &Digest) -> Place {
    Place::new("u", digest.to_text())
}

/// When uses were first counted.
fn beginning() -> Place {
    Place::new("ub", "")
}

/// When a key was last seen.
fn last(key: &KeyId) -> Place {
    Place::new("ul", key)
}

/// What a key was used for on one day.
fn day(key: &KeyId, day: Day) -> Place {
    Place::new("ud", format!("{}:{key}", day.0))
}

fn moment(text: Option<&str>) -> Result<Option<Timestamp>, StoreError> {
    let millis = text.map(str::parse).transpose();
    let millis = millis.map_err(|_| StoreError::Corrupt("when a secret was seen".into()))?;
    Ok(millis.map(Timestamp::from_millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_one_of_utc_and_is_kept_for_ninety_more() {
        let at = |text| Timestamp::parse_rfc3339(text).expect("an instant");
        let day = Day::of(at("2026-11-30T23:59:59.999Z"));
        assert_eq!(day.start(), at("2026-11-30T00:00:00Z"));
        assert_eq!(Day::of(at("2026-12-01T00:00:00Z")).back(1), day);
        assert_eq!(Day::of(day.ends()).back(Day::KEPT + 1), day);
        assert_eq!(Day::of(Timestamp::from_millis(-1)), Day(-1));
    }

    #[test]
    fn what_a_later_version_counts_is_passed_over() {
        let scope = |text| Scope::parse(text).expect("a scope");
        let uses = Uses {
            requests: 3,
            used: [(scope("u"), 2)].into(),
            missing: [(scope("r"), 1)].into(),
        };
        let mut counts = uses.to_counts();
        counts.extend([("x y".to_owned(), 9), ("bytes".to_owned(), 9)]);
        assert_eq!(Uses::of_counts(counts), uses);
    }
}
