//! What is denied, by kind and id: the not-before list as every request reads it.
//!
//! Requests read a list that never changes; a batch of events makes the next one. To copy all of it
//! for each batch would cost the more the longer the list has grown (1.9 ms with 100,000 denials),
//! so each kind is kept in parts, and a denial copies one. Not here: what a denial means
//! ([`super::revocation`]). Invariant: a denial of keys stays for good, one of tokens for at least as
//! long as a token lives, however the wall clock steps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::{Denial, DenialKind};

/// The list. A clone shares all parts with the original.
#[derive(Clone, Debug, Default)]
pub(super) struct DenialList {
    by_kind: BTreeMap<DenialKind, Arc<Parts>>,
}

/// The denials of one kind.
#[derive(Clone, Debug)]
struct Parts([Arc<Part>; PARTS]);

/// The ids of this part.
#[derive(Clone, Debug, Default)]
struct Part(HashMap<Box<str>, Denied>);

/// One id.
#[derive(Clone, Copy, Debug)]
struct Denied {
    /// Since when.
    at: Timestamp,
    /// How long this process had lived when it heard so.
    heard: Duration,
}

/// Now, by both clocks: what one of them calls recent is not forgotten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The wall clock, which may be wrong for a while.
    pub(super) wall: Timestamp,
    /// For how long this process has lived.
    pub(super) lived: Duration,
}

/// With 100,000 denials a part has some 400.
const PARTS: usize = 256;

impl DenialList {
    /// Since when this is denied, if it is.
    pub(super) fn at(&self, kind: DenialKind, id: &str) -> Option<Timestamp> {
        let part = &self.by_kind.get(&kind)?.0[part_of(id)];
        part.0.get(id).map(|denied| denied.at)
    }

    /// Every denial that `before`, an earlier state of this list, does not have, or has earlier.
    pub(super) fn news_since(&self, before: &DenialList) -> Vec<Denial> {
        let mut news = Vec::new();
        for (kind, parts) in &self.by_kind {
            let old = before.by_kind.get(kind);
            for (place, part) in parts.0.iter().enumerate() {
                let old = old.map(|old| &old.0[place]);
                if old.is_some_and(|old| Arc::ptr_eq(old, part)) {
                    continue;
                }
                let before = |id: &str| Some(old?.0.get(id)?.at);
                let entries = part.0.iter().map(|(id, denied)| (id, denied.at));
                let new = entries.filter(|(id, at)| before(id) < Some(*at));
                news.extend(new.map(|(id, at)| Denial {
                    kind: *kind,
                    id: id.to_string(),
                    at,
                }));
            }
        }
        news
    }

    /// Adds a denial; of two with one id the later counts. The copy of its part leaves those of
    /// tokens behind that were denied, and heard of, longer ago than `life`, which no living token
    /// can meet.
    pub(super) fn add(&mut self, denial: Denial, now: Moment, life: Duration) {
        let parts = Arc::make_mut(self.by_kind.entry(denial.kind).or_default());
        let part = &mut parts.0[part_of(&denial.id)];
        if Arc::get_mut(part).is_none() && hits(denial.kind) == Hit::Tokens {
            *part = Arc::new(part.living(now, life));
        }
        let (at, heard) = (denial.at, now.lived);
        let entries = &mut Arc::make_mut(part).0;
        let denied = entries.entry(denial.id.into());
        let denied = denied.or_insert(Denied { at, heard });
        if denied.at < at {
            *denied = Denied { at, heard };
        }
    }
}

impl Default for Parts {
    fn default() -> Parts {
        Parts(std::array::from_fn(|_| Arc::default()))
    }
}

impl Part {
    fn living(&self, now: Moment, life: Duration) -> Part {
        let ended = now.wall.minus(life);
        let lives = |it: &Denied| it.at > ended || now.lived < it.heard.saturating_add(life);
        let living = self.0.iter().filter(|(_, denied)| lives(denied));
        Part(living.map(|(id, denied)| (id.clone(), *denied)).collect())
    }
}

/// FNV-1a, then multiplied once more, because its upper bits hardly depend on the last characters.
/// Whoever could choose ids that meet in one part would make adding to it as slow as it was without
/// parts, and nothing else: within a part the map's own hash counts.
fn part_of(id: &str) -> usize {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let [first, ..] = (hash ^ (hash >> 32))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .to_be_bytes();
    usize::from(first)
}

/// What a denial hits: keys may live for ever.
#[derive(PartialEq, Eq)]
enum Hit {
    Keys,
    Tokens,
}

fn hits(kind: DenialKind) -> Hit {
    match kind {
        // An account's keys are hit too.
        DenialKind::Account | DenialKind::Key => Hit::Keys,
        DenialKind::Client
        | DenialKind::Grant
        | DenialKind::Issuer
        | DenialKind::Jti
        | DenialKind::Session
        | DenialKind::Subject => Hit::Tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_secs(1_790_000_000);
    const LIFE: Duration = Duration::from_secs(24 * 60 * 60);
    const NOW: Moment = Moment {
        wall: AT,
        lived: Duration::ZERO,
    };

    fn list(kind: DenialKind, count: usize) -> DenialList {
        let mut list = DenialList::default();
        for number in 0..count {
            list.add(denial(kind, number, AT), NOW, LIFE);
        }
        list
    }

    fn denial(kind: DenialKind, number: usize, at: Timestamp) -> Denial {
        Denial {
            kind,
            id: format!("id_{number}"),
            at,
        }
    }

    /// How many entries of `after` lie in parts that `before` does not share.
    fn copied(before: &DenialList, after: &DenialList, kind: DenialKind) -> usize {
        let pairs = before.by_kind[&kind].0.iter().zip(&after.by_kind[&kind].0);
        pairs
            .filter(|(before, after)| !Arc::ptr_eq(before, after))
            .map(|(_, after)| after.0.len())
            .sum()
    }

    #[test]
    fn one_more_denial_copies_a_small_part_of_a_long_list() {
        let before = list(DenialKind::Key, 10_000);
        let mut after = before.clone();
        after.add(denial(DenialKind::Key, 10_000, AT), NOW, LIFE);
        let copied = copied(&before, &after, DenialKind::Key);
        assert!((1..=200).contains(&copied), "{copied}");
        let denied = |number| after.at(DenialKind::Key, &format!("id_{number}"));
        assert!((0..=10_000).all(|number| denied(number) == Some(AT)));
        assert_eq!(denied(10_001), None);
        assert_eq!(after.at(DenialKind::Account, "id_0"), None);
    }

    #[test]
    fn what_is_new_in_a_list_is_told_and_nothing_else() {
        let before = list(DenialKind::Key, 1_000);
        assert_eq!(before.news_since(&before.clone()), []);
        assert_eq!(before.news_since(&DenialList::default()).len(), 1_000);
        let mut after = before.clone();
        let later = Timestamp::from_secs(1_790_000_001);
        let mut added = vec![
            denial(DenialKind::Jti, 1, AT),
            denial(DenialKind::Key, 3, later),
            denial(DenialKind::Key, 1_000, AT),
        ];
        for denial in [&added[..], &[denial(DenialKind::Key, 7, AT)]].concat() {
            after.add(denial, NOW, LIFE);
        }
        let mut news = after.news_since(&before);
        for denials in [&mut news, &mut added] {
            denials.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
        }
        assert_eq!(news, added);
    }

    /// A list of 1,000, and 10,000 that came to it at `now`; how many of the first are left.
    fn left_of_the_first(kind: DenialKind, now: Moment) -> usize {
        let mut list = list(kind, 1_000);
        for number in 1_000..11_000 {
            // As the list is changed: while requests read the one before.
            let mut next = list.clone();
            next.add(denial(kind, number, now.wall), now, LIFE);
            list = next;
        }
        assert!((1_000..11_000).all(|n| list.at(kind, &format!("id_{n}")) == Some(now.wall)));
        let first = (0..1_000).filter(|number| list.at(kind, &format!("id_{number}")).is_some());
        first.count()
    }

    #[test]
    fn denials_of_ended_tokens_leave_as_new_ones_come() {
        let later = Moment {
            wall: AT.plus(LIFE),
            lived: LIFE,
        };
        assert_eq!(left_of_the_first(DenialKind::Jti, later), 0);
        assert_eq!(left_of_the_first(DenialKind::Key, later), 1_000);
    }

    #[test]
    fn what_one_of_the_clocks_calls_recent_stays() {
        let ahead = Moment {
            wall: AT.plus(1_000 * LIFE),
            lived: LIFE - Duration::from_millis(1),
        };
        let behind = Moment {
            wall: AT.plus(LIFE).minus(Duration::from_millis(1)),
            lived: 1_000 * LIFE,
        };
        for now in [ahead, behind] {
            assert_eq!(left_of_the_first(DenialKind::Jti, now), 1_000);
        }
    }
}
