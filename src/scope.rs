//! Scopes: what a credential may do, as ordered sets of names.
//!
//! Not here: which scopes exist (the config's catalogue) and which a route needs
//! ([`crate::gateway`]). Invariant: a [`ScopeSet`] is sorted and without repeats, so
//! "required ⊆ granted" is one merge, and no other comparison decides an authorization.

use std::fmt;
use std::sync::Arc;

/// One scope name: a `scope-token` of RFC 6749 §3.3, compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

/// Why a text is not a scope name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is one or more of the characters %x21 %x23-5B %x5D-7E (RFC 6749 §3.3)")]
pub struct InvalidScope;

impl Scope {
    /// Parses one scope name. Refuses the empty text, spaces, quotes, backslashes and
    /// anything outside printable ASCII.
    pub fn parse(name: &str) -> Result<Scope, InvalidScope> {
        let allowed = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if !name.is_empty() && name.bytes().all(allowed) {
            Ok(Scope(name.into()))
        } else {
            Err(InvalidScope)
        }
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sorted set of scopes. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScopeSet(Arc<[Scope]>);

impl ScopeSet {
    /// The set of no scopes.
    pub fn empty() -> ScopeSet {
        ScopeSet(Arc::new([]))
    }

    /// Parses names separated by single spaces (RFC 6749 §3.3 `scope`). The empty text is the
    /// empty set; two spaces in a row, or any other separator, are refused.
    pub fn parse(text: &str) -> Result<ScopeSet, InvalidScope> {
        if text.is_empty() {
            return Ok(ScopeSet::empty());
        }
        text.split(' ').map(Scope::parse).collect()
    }

    /// Whether every scope of this set is in `granted`.
    pub fn is_subset_of(&self, granted: &ScopeSet) -> bool {
        self.0.iter().all(|scope| granted.contains(scope))
    }

    /// Whether at least one scope of this set is in `granted`.
    pub fn intersects(&self, granted: &ScopeSet) -> bool {
        self.0.iter().any(|scope| granted.contains(scope))
    }

    /// The scopes that are in both sets.
    pub fn intersection(&self, other: &ScopeSet) -> ScopeSet {
        self.0
            .iter()
            .filter(|scope| other.contains(scope))
            .cloned()
            .collect()
    }

    /// Whether `scope` is in the set.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.binary_search(scope).is_ok()
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether there is no scope in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> ScopeSet {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort();
        scopes.dedup();
        ScopeSet(scopes.into())
    }
}

/// Space-separated, in order: the form of RFC 6749 `scope` and of `X-Auth-Scopes`.
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl serde::Serialize for ScopeSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Scope::as_str))
    }
}

impl<'de> serde::Deserialize<'de> for ScopeSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ScopeSet, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names
            .iter()
            .map(|name| Scope::parse(name).map_err(serde::de::Error::custom))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> ScopeSet {
        ScopeSet::parse(text).expect("test scopes are valid")
    }

    #[test]
    fn required_is_compared_as_whole_names() {
        let granted = set("domains:read domains:write");
        assert!(set("domains:read").is_subset_of(&granted));
        assert!(!set("domains:rea").is_subset_of(&granted));
        assert!(!set("domains:read vps:read").is_subset_of(&granted));
        assert!(set("vps:read domains:write").intersects(&granted));
        assert!(!set("Domains:read").intersects(&granted));
    }

    #[test]
    fn the_empty_set_is_a_subset_of_everything_and_meets_nothing() {
        assert!(ScopeSet::empty().is_subset_of(&ScopeSet::empty()));
        assert!(!ScopeSet::empty().intersects(&set("a")));
    }

    #[test]
    fn only_single_spaces_separate() {
        for text in ["a  b", " a", "a ", "a\tb", "a,b\"", "a\\b", "é"] {
            assert!(ScopeSet::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(set("b a b").to_string(), "a b");
    }
}
