//! The pepper in use, and those beside it while it changes.
//!
//! ```text
//! every instance:   pepper old,  next_pepper new         learns the new one
//! one after the other:  pepper new,  previous_pepper old     makes everything under it
//! every instance:   pepper new                           forgets the old one
//! ```
//!
//! What is made is made under the current one; what comes along is looked for under each of the
//! three, so that instances on either side of a step take what the other has made. Not here: moving
//! what is at rest from the one before to the current one. Invariant: the three differ.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Digest, Pepper};

/// The peppers of a deployment.
#[derive(Clone, Debug)]
pub struct Peppers {
    current: Pepper,
    previous: Option<Pepper>,
    next: Option<Pepper>,
}

/// Peppers that a reload may replace. All clones are one.
#[derive(Clone, Debug)]
pub struct LivePeppers(Arc<ArcSwap<Peppers>>);

/// The digests of one secret, under each of the peppers.
#[derive(Clone, Copy, Debug)]
pub struct Digests {
    current: Digest,
    previous: Option<Digest>,
    next: Option<Digest>,
}

/// A pepper that is there already: one of the two is most likely not what was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the same pepper is there already")]
pub struct SamePepper;

impl Peppers {
    /// With the pepper before.
    pub fn with_previous(mut self, previous: Pepper) -> Result<Peppers, SamePepper> {
        self.require_new(&previous)?;
        self.previous = Some(previous);
        Ok(self)
    }

    /// With the pepper that comes next.
    pub fn with_next(mut self, next: Pepper) -> Result<Peppers, SamePepper> {
        self.require_new(&next)?;
        self.next = Some(next);
        Ok(self)
    }

    /// What is made is made under this one.
    pub fn current(&self) -> &Pepper {
        &self.current
    }

    /// The one before: what is known by it moves to the current one.
    pub fn previous(&self) -> Option<&Pepper> {
        self.previous.as_ref()
    }

    /// The one that other instances may make things under already.
    pub fn next(&self) -> Option<&Pepper> {
        self.next.as_ref()
    }

    /// All of them, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &Pepper> {
        std::iter::once(&self.current).chain(self.others())
    }

    /// Those beside the current one, the one before first.
    pub fn others(&self) -> impl Iterator<Item = &Pepper> {
        self.previous.iter().chain(&self.next)
    }

    /// Whether a pepper is one of these.
    pub fn knows(&self, pepper: &Pepper) -> bool {
        self.all().any(|known| known.is(pepper))
    }

    /// The digests of a secret. The work depends on the configuration alone.
    pub fn digests(&self, secret: &str) -> Digests {
        let digest = |pepper: &Pepper| pepper.digest(secret);
        Digests {
            current: digest(&self.current),
            previous: self.previous.as_ref().map(digest),
            next: self.next.as_ref().map(digest),
        }
    }

    fn require_new(&self, pepper: &Pepper) -> Result<(), SamePepper> {
        match self.knows(pepper) {
            true => Err(SamePepper),
            false => Ok(()),
        }
    }
}

/// One that does not change.
impl From<Pepper> for Peppers {
    fn from(current: Pepper) -> Peppers {
        Peppers {
            current,
            previous: None,
            next: None,
        }
    }
}

/// The same peppers in the same places.
impl PartialEq for Peppers {
    fn eq(&self, other: &Peppers) -> bool {
        let same = |one: Option<&Pepper>, other: Option<&Pepper>| match (one, other) {
            (Some(one), Some(other)) => one.is(other),
            (None, None) => true,
            _ => false,
        };
        self.current.is(&other.current)
            && same(self.previous(), other.previous())
            && same(self.next(), other.next())
    }
}

impl LivePeppers {
    /// Until the first replacement these.
    pub fn new(peppers: Peppers) -> LivePeppers {
        LivePeppers(Arc::new(ArcSwap::from_pointee(peppers)))
    }

    /// Those of now. One piece of work loads them once.
    pub fn load(&self) -> Arc<Peppers> {
        self.0.load_full()
    }

    /// Puts others in their place.
    pub fn replace(&self, peppers: Peppers) {
        self.0.store(Arc::new(peppers));
    }
}

impl Digests {
    /// Under the current pepper.
    pub fn current(&self) -> Digest {
        self.current
    }

    /// Whether a store's digest is of this secret.
    pub fn contains(&self, kept: &Digest) -> bool {
        self.all().any(|digest| digest == *kept)
    }

    /// Whether a store's digest is of this secret and under the pepper before: it is to be moved.
    pub fn is_outdated(&self, kept: &Digest) -> bool {
        self.previous.as_ref() == Some(kept)
    }

    /// All of them, the current one first.
    pub fn all(&self) -> impl Iterator<Item = Digest> {
        std::iter::once(self.current)
            .chain(self.previous)
            .chain(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changing() -> Peppers {
        let peppers = Peppers::from(Pepper::of_test(b'b')).with_previous(Pepper::of_test(b'a'));
        let peppers = peppers.and_then(|peppers| peppers.with_next(Pepper::of_test(b'c')));
        peppers.expect("three")
    }

    #[test]
    fn the_three_differ() {
        let one = || Peppers::from(Pepper::of_test(b'a'));
        assert_eq!(one().with_next(Pepper::of_test(b'a')), Err(SamePepper));
        assert_eq!(one().with_previous(Pepper::of_test(b'a')), Err(SamePepper));
        let two = one().with_previous(Pepper::of_test(b'b')).expect("two");
        assert_eq!(
            two.clone().with_next(Pepper::of_test(b'b')),
            Err(SamePepper)
        );
        assert!(two.with_next(Pepper::of_test(b'c')).is_ok());
    }

    #[test]
    fn a_secret_is_known_by_each_and_outdated_by_the_one_before_alone() {
        let digests = changing().digests("hush");
        for (last, outdated) in [(b'a', true), (b'b', false), (b'c', false)] {
            let kept = Pepper::of_test(last).digest("hush");
            assert_eq!(
                (digests.contains(&kept), digests.is_outdated(&kept)),
                (true, outdated)
            );
        }
        assert_eq!(digests.current(), Pepper::of_test(b'b').digest("hush"));
        for kept in [
            Pepper::of_test(b'd').digest("hush"),
            Pepper::of_test(b'a').digest("hash"),
        ] {
            assert!(!digests.contains(&kept) && !digests.is_outdated(&kept));
        }
    }

    #[test]
    fn peppers_are_the_same_by_what_they_are_and_where_they_stand() {
        assert_eq!(changing(), changing());
        assert_ne!(changing(), Peppers::from(Pepper::of_test(b'b')));
        let swapped = Peppers::from(Pepper::of_test(b'b')).with_previous(Pepper::of_test(b'c'));
        let swapped = swapped.and_then(|peppers| peppers.with_next(Pepper::of_test(b'a')));
        assert_ne!(Ok(changing()), swapped);
        assert!(
            changing().knows(&Pepper::of_test(b'c')) && !changing().knows(&Pepper::of_test(b'd'))
        );
        assert_eq!(
            format!("{:?}", Peppers::from(Pepper::of_test(b'a'))),
            "Peppers { current: Pepper(redacted), previous: None, next: None }"
        );
    }
}
