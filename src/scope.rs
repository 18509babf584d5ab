//! Scopes: what a credential may do, as ordered sets of names.
//!
//! Not here: which scopes exist (the config's catalogue) and which a route needs
//! ([`crate::gateway`]). Invariant: a [`ScopeSet`] is sorted and without repeats, so equal sets are
//! equal texts, and no comparison but those here decides an authorization.

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

/// A sorted set of scopes. Cheap to clone, and in one piece of memory: it is looked at on every
/// request, with another credential's set each time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScopeSet {
    /// The names in order, separated by single spaces, which no name holds.
    text: Arc<str>,
}

impl ScopeSet {
    /// The set of no scopes.
    pub fn empty() -> ScopeSet {
        ScopeSet { text: "".into() }
    }

    /// Parses names separated by single spaces (RFC 6749 §3.3 `scope`). The empty text is the
    /// empty set; two spaces in a row, or any other separator, are refused.
    pub fn parse(text: &str) -> Result<ScopeSet, InvalidScope> {
        if text.is_empty() {
            return Ok(ScopeSet::empty());
        }
        text.split(' ').map(Scope::parse).collect()
    }

    /// The names in order, separated by single spaces: the form of RFC 6749 `scope` and of
    /// `X-Auth-Scopes`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether every scope of this set is in `granted`.
    pub fn is_subset_of(&self, granted: &ScopeSet) -> bool {
        self.names().all(|name| granted.has(name))
    }

    /// Whether at least one scope of this set is in `granted`.
    pub fn intersects(&self, granted: &ScopeSet) -> bool {
        self.names().any(|name| granted.has(name))
    }

    /// The scopes that are in both sets.
    pub fn intersection(&self, other: &ScopeSet) -> ScopeSet {
        let names: Vec<&str> = self.names().filter(|name| other.has(name)).collect();
        ScopeSet {
            text: names.join(" ").into(),
        }
    }

    /// Whether `scope` is in the set.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.has(scope.as_str())
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.names().map(|name| Scope(name.into()))
    }

    /// The scopes' names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        // The empty text would be one empty name.
        self.text.split(' ').filter(|name| !name.is_empty())
    }

    /// Whether there is no scope in the set.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether a scope of this name is in the set.
    pub fn has(&self, scope: &str) -> bool {
        self.names().any(|name| name == scope)
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> ScopeSet {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort();
        scopes.dedup();
        let names: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
        ScopeSet {
            text: names.join(" ").into(),
        }
    }
}

/// [`ScopeSet::as_str`].
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for ScopeSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
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
