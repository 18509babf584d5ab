//! The key report: which keys may more than they use, are not used, or do not end.
//!
//! Not here: counting ([`crate::auth::usage`]), and the commands that mend what is found. Invariant: a
//! key is called unused or idle only if it was there, and uses were counted, for as long as that is
//! about.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{KeyDesk, KeyError};
use crate::clock::Timestamp;
use crate::id::{AccountId, KeyId, RequestId};
use crate::scope::{Scope, ScopeSet};
use crate::store::{Day, KeyRecord, KeyRotated, KeyUsage, StoreError};

/// What a report is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportQuery {
    /// Over how many days uses are looked at: 1 to [`Day::KEPT`].
    pub days: u32,
    /// Without use for this long, a key is idle.
    pub idle: Duration,
    /// Only this account's keys.
    pub account: Option<AccountId>,
}

/// A part of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPage {
    /// Keys that work, in the order of their ids.
    pub keys: Vec<KeyReport>,
    /// Ask again beginning after this id; `None` is the end.
    pub next: Option<KeyId>,
}

/// What there is to say of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyReport {
    /// The key.
    pub record: KeyRecord,
    /// What it was used for.
    pub usage: CountedUsage,
    /// Whether it is too young, or uses are counted for too short a time, to say what it does not use.
    pub is_young: bool,
    /// What should be mended.
    pub findings: Vec<Finding>,
}

/// What one key was used for over some days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedUsage {
    /// Over how many.
    pub days: u32,
    /// Since when its uses are counted; `None` is not yet.
    pub counted_since: Option<Timestamp>,
    /// The counts.
    pub usage: KeyUsage,
}

/// What should be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It ends within two weeks.
    ExpiresSoon(Timestamp),
    /// It was not seen for too long, or never.
    Idle(Option<Timestamp>),
    /// It never ends.
    NoExpiry,
    /// After a rotation the secret before is still in use.
    OldSecretSeen {
        /// When last.
        last_seen: Timestamp,
        /// When it stops working.
        ends_at: Timestamp,
        /// The wish of the rotation: asked again, it shows the new secret again.
        request: RequestId,
    },
    /// These are granted, and no request needed them.
    UnusedScopes(ScopeSet),
}

/// What findings are made of.
struct Facts<'a> {
    record: &'a KeyRecord,
    usage: &'a CountedUsage,
    old_secret: Option<Finding>,
    query: &'a ReportQuery,
    now: Timestamp,
}

/// How far ahead an end is told.
const SOON: Duration = Duration::from_secs(14 * DAY);
/// Over how many days `key show` tells uses.
const SHOWN_DAYS: u32 = 30;
/// Rotations asked for at once.
const AT_ONCE: usize = 32;
const DAY: u64 = 24 * 60 * 60;

impl KeyDesk {
    /// Some of the keys that work, with what should be mended. Looks through up to `limit` keys.
    pub async fn report(
        &self,
        query: &ReportQuery,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Result<ReportPage, KeyError> {
        let page = self.list(after, limit, query.account.as_ref()).await?;
        let now = self.now();
        let works = |record: &KeyRecord| {
            record.revoked_at.is_none() && record.expires_at.is_none_or(|end| now < end)
        };
        let records: Vec<KeyRecord> = page.keys.into_iter().filter(works).collect();
        let usage = self.usage_of(&records, query.days).await?;
        let old_secrets = self.old_secrets(&records, now).await?;
        let keys = records.into_iter().zip(usage).zip(old_secrets);
        let keys = keys.map(|((record, usage), old_secret)| {
            let facts = Facts {
                record: &record,
                usage: &usage,
                old_secret,
                query,
                now,
            };
            let (is_young, findings) = (facts.are_young(days(query.days)), facts.findings());
            KeyReport {
                record,
                usage,
                is_young,
                findings,
            }
        });
        Ok(ReportPage {
            keys: keys.collect(),
            next: page.next,
        })
    }

    /// What one key was used for lately.
    pub async fn usage(&self, record: &KeyRecord) -> Result<CountedUsage, KeyError> {
        let record = std::slice::from_ref(record);
        let usage = self.usage_of(record, SHOWN_DAYS).await?.pop();
        let missing = || StoreError::Corrupt("no answer on the use of a key".into());
        Ok(usage.ok_or_else(missing)?)
    }

    async fn usage_of(
        &self,
        records: &[KeyRecord],
        days: u32,
    ) -> Result<Vec<CountedUsage>, StoreError> {
        let (began, today) = (self.store.usage_began().await?, Day::of(self.now()));
        let ids = records.iter().map(|record| record.id.clone()).collect();
        let found = self.store.usage(ids, today.back(days), today).await?;
        let usage = records.iter().zip(found).map(|(record, usage)| {
            let works = record
                .created_at
                .max(record.not_before.unwrap_or(record.created_at));
            CountedUsage {
                days,
                counted_since: began.map(|began| began.max(works)),
                usage,
            }
        });
        Ok(usage.collect())
    }

    /// Of each key that was rotated whether the secret before is still in use.
    async fn old_secrets(
        &self,
        records: &[KeyRecord],
        now: Timestamp,
    ) -> Result<Vec<Option<Finding>>, StoreError> {
        let mut rotations = self.rotations(records).await?;
        for rotated in &mut rotations {
            rotated.take_if(|rotated| rotated.previous_ends_at <= now);
        }
        let digests = rotations.iter().flatten().map(|rotated| rotated.previous);
        let mut seen = self.store.last_seen(digests.collect()).await?.into_iter();
        let finding = |rotated: KeyRotated| {
            // Before the rotation everybody used it.
            let last_seen = seen.next().flatten().filter(|at| *at > rotated.at)?;
            Some(Finding::OldSecretSeen {
                last_seen,
                ends_at: rotated.previous_ends_at,
                request: rotated.request,
            })
        };
        let mut finding = finding;
        Ok(rotations
            .into_iter()
            .map(|one| one.and_then(&mut finding))
            .collect())
    }

    async fn rotations(
        &self,
        records: &[KeyRecord],
    ) -> Result<Vec<Option<KeyRotated>>, StoreError> {
        let mut found = vec![None; records.len()];
        let (mut asked, mut left) = (JoinSet::new(), records.iter().enumerate());
        loop {
            while asked.len() < AT_ONCE
                && let Some((place, record)) = left.next()
            {
                let (store, id) = (self.store.clone(), record.id.clone());
                asked.spawn(async move { store.key_rotation(&id).await.map(|it| (place, it)) });
            }
            let Some(answer) = asked.join_next().await else {
                return Ok(found);
            };
            let answer = answer.map_err(|error| StoreError::Unavailable(error.into()))?;
            let (place, rotated) = answer?;
            found[place] = rotated;
        }
    }
}

impl Facts<'_> {
    fn findings(mut self) -> Vec<Finding> {
        let idle = self.idle();
        let unused = match idle {
            // To name each scope beside that says nothing more.
            Some(_) => None,
            None => self.unused(),
        };
        let ends = match self.record.expires_at {
            None => Some(Finding::NoExpiry),
            Some(end) if end <= self.now.plus(SOON) => Some(Finding::ExpiresSoon(end)),
            Some(_) => None,
        };
        let found = [idle, unused, ends, self.old_secret.take()];
        found.into_iter().flatten().collect()
    }

    fn are_young(&self, age: Duration) -> bool {
        let since = self.usage.counted_since;
        since.is_none_or(|since| since > self.now.minus(age))
    }

    fn idle(&self) -> Option<Finding> {
        let (seen, latest) = (self.usage.usage.seen_at, self.now.minus(self.query.idle));
        let is_idle = seen.is_none_or(|seen| seen < latest) && !self.are_young(self.query.idle);
        is_idle.then_some(Finding::Idle(seen))
    }

    fn unused(&self) -> Option<Finding> {
        if self.are_young(days(self.query.days)) {
            return None;
        }
        let used = &self.usage.usage.uses.used;
        let unused = |scope: &Scope| !used.contains_key(scope);
        let unused: ScopeSet = self.record.scopes.iter().filter(unused).collect();
        (!unused.is_empty()).then_some(Finding::UnusedScopes(unused))
    }
}

fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::store::Uses;

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn ago(count: u32) -> Timestamp {
        NOW.minus(days(count))
    }

    fn record() -> KeyRecord {
        KeyRecord {
            id: KeyId::parse("key_1").expect("an id"),
            account: AccountId::parse("acct_1").expect("an id"),
            name: "CI".into(),
            environment: Environment::Live,
            scopes: ScopeSet::parse("a b c").expect("scopes"),
            created_at: ago(60),
            not_before: None,
            expires_at: Some(NOW.plus(days(60))),
            revoked_at: None,
            allowed_ips: Vec::new(),
            hint: String::new(),
        }
    }

    /// What is found of a key that was last seen that many days ago, and needed these scopes.
    fn findings(
        record: &KeyRecord,
        since: Option<Timestamp>,
        seen: Option<u32>,
        used: &[&str],
    ) -> Vec<Finding> {
        let scope = |name: &&str| (Scope::parse(name).expect("a scope"), 1);
        let usage = CountedUsage {
            days: 30,
            counted_since: since,
            usage: KeyUsage {
                seen_at: seen.map(ago),
                uses: Uses {
                    used: used.iter().map(scope).collect(),
                    ..Uses::default()
                },
            },
        };
        let query = ReportQuery {
            days: 30,
            idle: days(30),
            account: None,
        };
        let facts = Facts {
            record,
            usage: &usage,
            old_secret: None,
            query: &query,
            now: NOW,
        };
        facts.findings()
    }

    fn unused(scopes: &str) -> Vec<Finding> {
        let scopes = ScopeSet::parse(scopes).expect("scopes");
        vec![Finding::UnusedScopes(scopes)]
    }

    #[test]
    fn what_is_granted_and_not_used_is_found() {
        let (key, since) = (record(), Some(ago(31)));
        assert_eq!(findings(&key, since, Some(1), &["a", "b", "c"]), []);
        assert_eq!(findings(&key, since, Some(1), &["b"]), unused("a c"));
        assert_eq!(findings(&key, since, Some(29), &[]), unused("a b c"));
        assert_eq!(
            findings(&key, since, Some(31), &[]),
            [Finding::Idle(Some(ago(31)))]
        );
        assert_eq!(findings(&key, since, None, &[]), [Finding::Idle(None)]);
    }

    #[test]
    fn what_was_not_watched_for_long_enough_is_not_called_unused() {
        let key = record();
        for since in [None, Some(ago(29)), Some(NOW)] {
            assert_eq!(findings(&key, since, None, &[]), [], "{since:?}");
            assert_eq!(findings(&key, since, Some(0), &["a"]), [], "{since:?}");
        }
        assert_eq!(
            findings(&key, Some(ago(30)), Some(0), &["a"]),
            unused("b c")
        );
    }

    #[test]
    fn a_key_without_an_end_or_with_one_near_is_found_at_any_age() {
        let (all, mut key) = (["a", "b", "c"], record());
        key.expires_at = None;
        assert_eq!(findings(&key, None, Some(0), &all), [Finding::NoExpiry]);
        for (end, is_soon) in [(13, true), (14, true), (15, false)] {
            let end = NOW.plus(days(end));
            key.expires_at = Some(end);
            let found = findings(&key, None, Some(0), &all);
            let soon = Finding::ExpiresSoon(end);
            assert_eq!(found.contains(&soon), is_soon, "{end}");
        }
    }
}
