//! A map of bounded size that forgets what was longest untouched, many at a time.
//!
//! Two generations: what is touched is young; once the young are half of what may be, they are the
//! old, and the old of before are forgotten. Invariant: what was touched last is there, until as many
//! others as half the bound were touched after it; nobody empties the map at a stroke.

use std::collections::HashMap;
use std::hash::Hash;

/// The map.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// An empty one for so many entries.
    pub(super) fn new(most: usize) -> Recent<K, V> {
        Recent {
            young: HashMap::new(),
            old: HashMap::new(),
            half: most / 2,
        }
    }

    /// What is there, which does not touch it.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// The same, to change it, which does not touch it either.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }

    /// Touches an entry, and makes it if it is not there.
    pub(super) fn touch(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.young.contains_key(&key) {
            let known = self.old.remove(&key);
            if self.young.len() >= self.half {
                self.old = std::mem::take(&mut self.young);
            }
            if let Some(value) = known {
                return self.young.entry(key).or_insert(value);
            }
        }
        self.young.entry(key).or_insert_with(make)
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_stays_and_what_is_longest_untouched_goes() {
        let mut recent = Recent::new(8);
        *recent.touch(0, || 0) += 7;
        for other in 1..1000 {
            let _ = recent.touch(other, || 0);
            // Touched once in each generation, it outlives them all.
            if other % 3 == 0 {
                assert_eq!(*recent.touch(0, || 0), 7, "{other}");
            }
            assert!(recent.young.len() + recent.old.len() <= 8, "{other}");
        }
        assert!(recent.get(&998).is_some() && recent.get(&990).is_none());
        recent.remove(&0);
        assert!(recent.get(&0).is_none() && recent.get_mut(&0).is_none());
    }
}
