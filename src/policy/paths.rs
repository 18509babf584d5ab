//! Every kind of path that some patterns can tell apart, with one path of each.
//!
//! A more specific route takes paths away from the one above it, so two policies are compared not route
//! by route but path by path: of each segment, all the names that any pattern has there, and one
//! that none has. Invariant: two paths of one kind meet the same patterns.

use std::collections::BTreeSet;

use crate::gateway::PathPattern;

/// One kind of path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    /// A canonical path of this kind.
    pub(super) path: String,
    /// The kind in the form of a pattern; `*` is any other segment.
    pub(super) shown: String,
    /// Which part of what is shown.
    pub(super) part: Part,
}

/// What of a pattern is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// What is beneath it and has no pattern of its own.
    Beneath,
    /// The path itself.
    Itself,
}

struct Pattern<'a> {
    /// `None` is any segment.
    segments: Vec<Option<&'a str>>,
    is_prefix: bool,
}

struct Walk {
    other: String,
    kinds: Vec<Kind>,
}

/// A pattern, and how many of its segments the path so far has met.
type Met<'w, 'a> = (&'w Pattern<'a>, usize);

/// All kinds that these patterns can tell apart, but for what meets none.
pub(super) fn kinds<'a>(patterns: impl Iterator<Item = &'a PathPattern>) -> Vec<Kind> {
    let patterns: Vec<Pattern<'a>> = patterns.map(pattern).collect();
    let named: BTreeSet<&str> = patterns
        .iter()
        .flat_map(|pattern| pattern.segments.iter().flatten().copied())
        .collect();
    let mut other = String::from("~");
    while named.contains(other.as_str()) {
        other.push('~');
    }
    let mut walk = Walk {
        other,
        kinds: Vec::new(),
    };
    let met: Vec<Met<'_, 'a>> = patterns.iter().map(|pattern| (pattern, 0)).collect();
    walk.go(&met, false, "", "");
    walk.kinds
}

fn pattern(pattern: &PathPattern) -> Pattern<'_> {
    let (text, is_prefix) = match pattern {
        PathPattern::Prefix(text) => (text, true),
        PathPattern::Template(text) => (text, false),
    };
    let segments = text.split('/').filter(|segment| !segment.is_empty());
    let named = |segment: &'_ str| is_prefix || !segment.starts_with('{');
    Pattern {
        segments: segments.map(|it| named(it).then_some(it)).collect(),
        is_prefix,
    }
}

impl Walk {
    /// `is_beneath` is whether a prefix has been met as a whole.
    fn go(&mut self, met: &[Met<'_, '_>], is_beneath: bool, path: &str, shown: &str) {
        let (ended, open): (Vec<Met<'_, '_>>, Vec<Met<'_, '_>>) = met
            .iter()
            .partition(|(pattern, at)| *at == pattern.segments.len());
        let is_beneath = is_beneath || ended.iter().any(|(pattern, _)| pattern.is_prefix);
        if is_beneath || !ended.is_empty() {
            self.add(path, shown, Part::Itself);
        }
        let names: BTreeSet<&str> = open
            .iter()
            .filter_map(|(pattern, at)| pattern.segments[*at])
            .collect();
        for name in names {
            let next = after(&open, Some(name));
            let (path, shown) = (format!("{path}/{name}"), format!("{shown}/{name}"));
            self.go(&next, is_beneath, &path, &shown);
        }
        let next = after(&open, None);
        if !next.is_empty() {
            let path = format!("{path}/{}", self.other);
            self.go(&next, is_beneath, &path, &format!("{shown}/*"));
        } else if is_beneath {
            let path = format!("{path}/{}", self.other);
            self.add(&path, shown, Part::Beneath);
        }
    }

    fn add(&mut self, path: &str, shown: &str, part: Part) {
        let or_root = |text: &str| if text.is_empty() { "/" } else { text }.to_owned();
        self.kinds.push(Kind {
            path: or_root(path),
            shown: shown.to_owned(),
            part,
        });
    }
}

/// The patterns that a next segment meets too; `None` is a segment that none names.
fn after<'w, 'a>(open: &[Met<'w, 'a>], segment: Option<&str>) -> Vec<Met<'w, 'a>> {
    open.iter()
        .filter(|(pattern, at)| {
            let named = pattern.segments[*at];
            named.is_none() || named == segment
        })
        .map(|(pattern, at)| (*pattern, at + 1))
        .collect()
}

/// Kinds in as few words as there are: what is beneath a path and is listed with it is left out.
pub(super) fn shown(kinds: &BTreeSet<&Kind>) -> Vec<String> {
    let is_covered = |kind: &Kind| {
        kinds.iter().any(|above| {
            let rest = kind.shown.strip_prefix(&above.shown);
            rest.is_some_and(|rest| rest.starts_with('/')) && all_beneath(kinds, &above.shown)
        })
    };
    let whole = |shown: &str| has(kinds, shown, Part::Itself) && all_beneath(kinds, shown);
    let mut texts: Vec<String> = kinds
        .iter()
        .filter(|kind| !is_covered(kind))
        .map(|kind| match (kind.part, whole(&kind.shown)) {
            (_, true) => format!("{}/**", kind.shown),
            (Part::Beneath, false) => format!("{}/*/**", kind.shown),
            (Part::Itself, false) if kind.shown.is_empty() => "/".into(),
            (Part::Itself, false) => kind.shown.clone(),
        })
        .collect();
    texts.dedup();
    texts
}

fn has(kinds: &BTreeSet<&Kind>, shown: &str, part: Part) -> bool {
    let mut kinds = kinds.iter();
    kinds.any(|kind| kind.shown == shown && kind.part == part)
}

/// Whether whatever is beneath it and has no pattern of its own is here.
fn all_beneath(kinds: &BTreeSet<&Kind>, shown: &str) -> bool {
    let other = format!("{shown}/*");
    has(kinds, shown, Part::Beneath)
        || (has(kinds, &other, Part::Itself) && all_beneath(kinds, &other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_of(patterns: &[PathPattern]) -> Vec<(String, String, Part)> {
        let kinds = kinds(patterns.iter());
        kinds
            .into_iter()
            .map(|kind| (kind.path, kind.shown, kind.part))
            .collect()
    }

    #[test]
    fn each_name_and_one_that_nobody_has_is_tried_at_each_segment() {
        let patterns = [
            PathPattern::Prefix("/v1/a".into()),
            PathPattern::Template("/v1/{x}/b".into()),
            PathPattern::Template("/v1/~".into()),
        ];
        let found = shown_of(&patterns);
        let expected = [
            ("/v1/a", "/v1/a", Part::Itself),
            ("/v1/a/b", "/v1/a/b", Part::Itself),
            ("/v1/a/b/~~", "/v1/a/b", Part::Beneath),
            ("/v1/a/~~", "/v1/a", Part::Beneath),
            ("/v1/~", "/v1/~", Part::Itself),
            ("/v1/~/b", "/v1/~/b", Part::Itself),
            ("/v1/~~/b", "/v1/*/b", Part::Itself),
        ];
        let expected = expected.map(|(path, shown, part)| (path.into(), shown.into(), part));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_root_is_a_path_too() {
        let patterns = [PathPattern::Template("/".into())];
        assert_eq!(shown_of(&patterns), [("/".into(), "".into(), Part::Itself)]);
        let kinds = kinds([PathPattern::Prefix("/".into())].iter());
        assert_eq!(shown(&kinds.iter().collect()), ["/**"]);
    }

    #[test]
    fn what_is_beneath_is_told_once() {
        let kinds = kinds(
            [
                PathPattern::Prefix("/v1/a".into()),
                PathPattern::Template("/v1/a/{x}/b".into()),
            ]
            .iter(),
        );
        assert_eq!(shown(&kinds.iter().collect()), ["/v1/a/**"]);
        let beneath = kinds.iter().filter(|kind| kind.shown != "/v1/a");
        assert_eq!(shown(&beneath.collect()), ["/v1/a/*/**"]);
    }
}
