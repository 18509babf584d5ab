//! What a backend offers beneath the identity verbs: documents, each of which changes atomically,
//! and indexes that list them.
//!
//! A verb reads a document, decides, and writes it; [`Shelf::change`] makes that one step. The
//! embedded store does it in a transaction. Redis compares and swaps in a script, and decides anew
//! when someone else was faster: what was decided is always about the document that it replaces.
//! So a decision is a pure function of a document, written once, and may be asked more than once.
//!
//! The order of a change is: lists, denial, document, event, and last what comes off a list. A
//! crash may end it anywhere. Then a listed document may not be there, which lists pass over; a
//! denied one may still look live, which nobody is let in with, because the denial stands; none
//! works that is not listed. Invariant: a decision to deny is never undone by deciding anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::secret::Digest;

use super::{Denial, StoreError};

/// The name of a document: `kind:id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(String);

impl Place {
    pub(super) fn new(kind: &'static str, id: impl std::fmt::Display) -> Place {
        Place(format!("{kind}:{id}"))
    }

    /// From [`Place::as_str`].
    pub(super) fn from_text(text: String) -> Place {
        Place(text)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(String);

impl Index {
    pub(super) fn new(kind: &'static str, owner: impl std::fmt::Display) -> Index {
        Index(format!("{kind}:{owner}"))
    }

    /// From [`Index::as_str`].
    pub(super) fn from_text(text: String) -> Index {
        Index(text)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One entry of a list: an id with the end of its document's life in front, so that a list is in
/// the order of ends, and what has ended is a range at its beginning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(String);

/// Digits of milliseconds: enough until the year 5138, and all nines for what does not end.
const END_DIGITS: usize = 14;
const LATEST: i64 = 10i64.pow(14) - 1;

impl Member {
    pub(super) fn new(until: Option<Timestamp>, id: impl std::fmt::Display) -> Member {
        let mut member = Member::floor(until);
        // Writing to a `String` cannot fail.
        let _ = write!(member.0, "{id}");
        member
    }

    /// Before every entry that ends at `until` or later.
    pub(super) fn floor(until: Option<Timestamp>) -> Member {
        let millis = until.map_or(LATEST, |until| until.as_millis().clamp(0, LATEST));
        Member(format!("{millis:0END_DIGITS$}:"))
    }

    pub(super) fn from_text(text: String) -> Option<Member> {
        let (end, _) = text.split_once(':')?;
        (end.len() == END_DIGITS && end.bytes().all(|digit| digit.is_ascii_digit()))
            .then_some(Member(text))
    }

    /// The whole entry.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The end that is in it.
    pub(super) fn until(&self) -> Option<Timestamp> {
        let millis = self.0.get(..END_DIGITS)?.parse().ok()?;
        (millis != LATEST).then_some(Timestamp::from_millis(millis))
    }

    fn id(&self) -> &str {
        self.0.get(END_DIGITS + 1..).unwrap_or_default()
    }
}

/// Where a list goes on. Opaque.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// From text that [`Cursor::as_str`] gave.
    pub fn new(text: impl Into<String>) -> Cursor {
        Cursor(text.into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Ask again from here; `None` is the end.
    pub next: Option<Cursor>,
}

/// A place on a list that a document is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Which list.
    pub index: Index,
    /// The entry.
    pub member: Member,
    /// When the entry may go.
    pub until: Option<Timestamp>,
    /// How many entries there may be with this one.
    pub cap: Option<usize>,
}

/// What is to become of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// It goes.
    Remove,
    /// It is this from now on.
    Write {
        /// The document.
        text: String,
        /// When it may go by itself.
        until: Option<Timestamp>,
    },
}

/// A decision about a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<T> {
    /// What the verb answers.
    pub answer: T,
    /// What becomes of the document.
    pub change: Change,
    /// Lists it has to be on before it is written.
    pub listings: Vec<Listing>,
    /// What is denied before it is written.
    pub denial: Option<Denial>,
    /// What is told to have changed once it is written.
    pub publish: Option<Digest>,
    /// Lists it comes off once it is written.
    pub unlistings: Vec<(Index, Member)>,
}

impl<T> Plan<T> {
    fn of(answer: T, change: Change) -> Plan<T> {
        Plan {
            answer,
            change,
            listings: Vec::new(),
            denial: None,
            publish: None,
            unlistings: Vec::new(),
        }
    }

    pub(super) fn keep(answer: T) -> Plan<T> {
        Plan::of(answer, Change::Keep)
    }

    pub(super) fn remove(answer: T) -> Plan<T> {
        Plan::of(answer, Change::Remove)
    }

    pub(super) fn write(
        answer: T,
        record: &impl Serialize,
        until: Option<Timestamp>,
    ) -> Result<Plan<T>, StoreError> {
        let text = serde_json::to_string(record);
        let text = text.map_err(|error| StoreError::Unavailable(error.into()))?;
        Ok(Plan::of(answer, Change::Write { text, until }))
    }

    pub(super) fn listed(mut self, listings: impl IntoIterator<Item = Listing>) -> Plan<T> {
        self.listings.extend(listings);
        self
    }

    pub(super) fn unlisted(mut self, listings: impl IntoIterator<Item = Listing>) -> Plan<T> {
        let entries = listings.into_iter().map(|l| (l.index, l.member));
        self.unlistings.extend(entries);
        self
    }

    pub(super) fn denied(mut self, denial: Denial) -> Plan<T> {
        self.denial = Some(denial);
        self
    }

    pub(super) fn published(mut self, digest: Digest) -> Plan<T> {
        self.publish = Some(digest);
        self
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Changed<T> {
    /// Carried out.
    Done(T),
    /// A list is full. Nothing changed.
    Full,
}

/// What is to be added to a document that counts things by name: a flat JSON object of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Which document; made with the first addition.
    pub place: Place,
    /// How many more of each. All the numbers of a document stay below 10^14, up to which Redis' Lua
    /// writes them whole.
    pub counts: BTreeMap<String, u64>,
    /// When the document may go by itself.
    pub until: Option<Timestamp>,
}

/// What a backend offers.
pub trait Shelf: Send + Sync + 'static {
    /// Documents, in the order of the places.
    fn fetch(
        &self,
        places: Vec<Place>,
    ) -> impl Future<Output = Result<Vec<Option<String>>, StoreError>> + Send;

    /// Up to `limit` entries of a list, beginning after `after`.
    fn members(
        &self,
        index: Index,
        after: Option<Cursor>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Member>, StoreError>> + Send;

    /// Carries out what `decide` makes of a document.
    fn change<T, F>(
        &self,
        place: Place,
        at: Timestamp,
        decide: F,
    ) -> impl Future<Output = Result<Changed<T>, StoreError>> + Send
    where
        T: Send + 'static,
        F: Fn(Option<&str>) -> Result<Plan<T>, StoreError> + Send + Sync + 'static;

    /// Makes documents that are one moment the later of what they are and what is given here.
    fn raise(
        &self,
        moments: Vec<(Place, Timestamp, Option<Timestamp>)>,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Adds to documents that count, each atomically: what several add at a time is all there. After
    /// an error some may have been added.
    fn add(
        &self,
        additions: Vec<Addition>,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A change of a document that no cap is on.
pub(super) async fn change<T, F>(
    shelf: &impl Shelf,
    place: Place,
    at: Timestamp,
    decide: F,
) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: Fn(Option<&str>) -> Result<Plan<T>, StoreError> + Send + Sync + 'static,
{
    match shelf.change(place, at, decide).await? {
        Changed::Done(answer) => Ok(answer),
        Changed::Full => Err(StoreError::Corrupt("a list without a cap is full".into())),
    }
}

/// A document as what it is.
pub(super) async fn read<R: DeserializeOwned>(
    shelf: &impl Shelf,
    place: Place,
) -> Result<Option<R>, StoreError> {
    let mut found = shelf.fetch(vec![place]).await?;
    parse(found.pop().flatten().as_deref())
}

/// Reads a record. One with a field that is not known is refused: a newer version may have added a
/// restriction that this one would not see.
pub(super) fn parse<R: DeserializeOwned>(text: Option<&str>) -> Result<Option<R>, StoreError> {
    let record = text.map(serde_json::from_str).transpose();
    // Not the error's own text: it may quote what it met, and that may be a password's hash.
    record.map_err(|error| {
        let what = std::any::type_name::<R>().rsplit("::").next();
        let what = what.unwrap_or_default();
        StoreError::Corrupt(format!("a {what}, at its byte {}", error.column()))
    })
}

/// Part of a list: of the entries after `after`, what they name and `keep` keeps.
pub(super) async fn page<R: DeserializeOwned>(
    shelf: &impl Shelf,
    index: Index,
    after: Option<&Cursor>,
    limit: usize,
    place: impl Fn(&str) -> Place,
    keep: impl Fn(&R) -> bool,
) -> Result<Page<R>, StoreError> {
    let mut items = Vec::new();
    let mut after = after.cloned();
    while items.len() < limit {
        let wanted = (limit - items.len()).min(500);
        let members = shelf.members(index.clone(), after.clone(), wanted).await?;
        let complete = members.len() < wanted;
        if let Some(last) = members.last() {
            after = Some(Cursor(last.as_str().into()));
        }
        let places = members.iter().map(|member| place(member.id())).collect();
        for text in shelf.fetch(places).await? {
            items.extend(parse::<R>(text.as_deref())?.filter(&keep));
        }
        if complete {
            return Ok(Page { items, next: None });
        }
    }
    Ok(Page { items, next: after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_in_the_order_of_ends_and_what_does_not_end_is_last() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        let members = [
            Member::new(at(-1), "z"),
            Member::new(at(9), "b"),
            Member::new(at(10), "a"),
            Member::new(None, "a"),
        ];
        assert!(members.is_sorted());
        assert!(members[1] < Member::floor(at(10)) && Member::floor(at(10)) < members[2]);
        assert_eq!(members[3].id(), "a");
        assert_eq!(members[1].as_str(), "00000000000009:b");
        for text in ["", "a", "9:b", "0000000000000x:b"] {
            assert_eq!(Member::from_text(text.into()), None, "{text}");
        }
    }
}
