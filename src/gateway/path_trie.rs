//! Path patterns by segment: of all patterns that fit, the most specific one.
//!
//! At each segment a literal beats a parameter, and a parameter beats a prefix that ended further
//! up; a branch that leads nowhere is left again. (matchit, the usual crate for this, refuses a
//! parameter beneath a prefix: `/v1/domains/{id}/transfer` beside everything under `/v1/domains`.)
//! Invariant: the answer depends on the set of patterns, never on the order in which they were
//! added.

use std::collections::BTreeMap;

use http::Method;

use super::PathPattern;

/// The methods a route may name, in the order in which `Allow` lists them.
pub const METHODS: [Method; 7] = [
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
];

/// The patterns of one host.
#[derive(Debug, Default)]
pub(super) struct PathTrie {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literals: BTreeMap<Box<str>, Node>,
    parameter: Option<Box<Node>>,
    /// For exactly this path.
    here: PathEntry,
    /// For this path and everything beneath it.
    beneath: PathEntry,
}

/// The routes of one pattern, by method: indices into the config's routes.
#[derive(Debug, Default)]
pub(super) struct PathEntry {
    by_method: [Option<Slot>; METHODS.len()],
}

/// A route in a [`PathEntry`].
#[derive(Clone, Copy, Debug)]
struct Slot {
    route: usize,
    specificity: Specificity,
}

/// Of two routes for the same path and method, the whole path wins over the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    Prefix,
    WholePath,
}

impl PathTrie {
    /// Adds a route's pattern, or tells which route was there before for one of its methods.
    pub(super) fn insert(
        &mut self,
        pattern: &PathPattern,
        methods: &[Method],
        route: usize,
    ) -> Result<(), (usize, Method)> {
        match pattern {
            PathPattern::Template(template) => {
                let slot = Slot {
                    route,
                    specificity: Specificity::WholePath,
                };
                self.node(template).here.insert(methods, slot)
            }
            PathPattern::Prefix(prefix) => {
                let slot = Slot {
                    route,
                    specificity: Specificity::Prefix,
                };
                let node = self.node(prefix.trim_end_matches('/'));
                node.here.insert(methods, slot)?;
                node.beneath.insert(methods, slot)
            }
        }
    }

    /// The entry of the most specific pattern for a canonical path.
    pub(super) fn find(&self, path: &str) -> Option<&PathEntry> {
        self.root.find(path.strip_prefix('/'))
    }

    /// The node of a pattern, made if missing. The empty pattern is the root.
    fn node(&mut self, pattern: &str) -> &mut Node {
        let mut node = &mut self.root;
        for segment in pattern.split('/').skip(1) {
            node = match segment.starts_with('{') {
                true => node.parameter.get_or_insert_default(),
                false => node.literals.entry(segment.into()).or_default(),
            };
        }
        node
    }
}

impl Node {
    /// `rest` is what follows this node's slash; `None` if the path ends here.
    fn find(&self, rest: Option<&str>) -> Option<&PathEntry> {
        let Some(rest) = rest else {
            return self.here.non_empty();
        };
        // Many servers take `/a/` for `/a`: whoever owns `/a` owns both, so that a slash does not
        // lead past a stricter route to a broader one (security.md row 68).
        if rest.is_empty()
            && !self.literals.contains_key("")
            && let Some(here) = self.here.non_empty()
        {
            return Some(here);
        }
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        let literal = self.literals.get(segment).and_then(|node| node.find(rest));
        let parameter = || {
            let node = self.parameter.as_deref().filter(|_| !segment.is_empty())?;
            node.find(rest)
        };
        literal
            .or_else(parameter)
            .or_else(|| self.beneath.non_empty())
    }
}

impl PathEntry {
    /// The route for a method.
    pub(super) fn route(&self, method: &Method) -> Option<usize> {
        let position = METHODS.iter().position(|known| known == method)?;
        self.by_method[position].map(|slot| slot.route)
    }

    /// The methods that have a route.
    pub(super) fn methods(&self) -> impl Iterator<Item = &'static Method> {
        static KNOWN: [Method; METHODS.len()] = METHODS;
        KNOWN
            .iter()
            .zip(&self.by_method)
            .filter(|(_, slot)| slot.is_some())
            .map(|(method, _)| method)
    }

    fn non_empty(&self) -> Option<&PathEntry> {
        self.by_method.iter().any(Option::is_some).then_some(self)
    }

    fn insert(&mut self, methods: &[Method], slot: Slot) -> Result<(), (usize, Method)> {
        for (position, method) in METHODS.iter().enumerate() {
            if !methods.contains(method) {
                continue;
            }
            match self.by_method[position] {
                Some(before) if before.specificity == slot.specificity => {
                    return Err((before.route, method.clone()));
                }
                Some(before) if before.specificity > slot.specificity => {}
                _ => self.by_method[position] = Some(slot),
            }
        }
        Ok(())
    }
}
