//! The event log: a stream, read page by page, waited for on a connection of its own.
//!
//! A [`Position`] is `r{epoch}/{entry id}`. The entry itself must still be in the stream: trimming,
//! `FLUSHALL`, a restored snapshot, a failover that lost writes and another server all show as its
//! absence. The epoch tells two servers apart whose clocks gave out the same id. Each page comes with
//! the server's word that it is a primary which is not cut off; without it there is no answer.

use std::time::Duration;

use ::redis::streams::{StreamId, StreamRangeReply};
use ::redis::{cmd, pipe};
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::secret::{Digest, random_bytes};
use crate::store::{Denial, Event, Follow, Gap, Position, StoreError};

use super::fault::Fault;
use super::lane::Lane;
use super::link::{Connection, Link};
use super::{layout, server};

/// Entries read at once.
const PAGE: usize = 1000;

/// A [`Position`], read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    epoch: String,
    entry: String,
}

impl Place {
    pub(super) fn parse(position: &Position) -> Option<Place> {
        let (epoch, entry) = position.as_str().strip_prefix('r')?.split_once('/')?;
        order(entry)?;
        Some(Place {
            epoch: epoch.into(),
            entry: entry.into(),
        })
    }

    fn position(&self) -> Position {
        Position::new(format!("r{}/{}", self.epoch, self.entry))
    }

    /// The value that the log was begun with.
    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The entry's id in the stream.
    pub(super) fn entry(&self) -> &str {
        &self.entry
    }

    /// When it was written, in milliseconds of the store's clock.
    pub(super) fn millis(&self) -> Option<i64> {
        self.entry.split_once('-')?.0.parse().ok()
    }

    /// Entries of one log are numbered by time, and within a millisecond.
    fn number(&self) -> Option<(u64, u64)> {
        let (millis, number) = self.entry.split_once('-')?;
        Some((millis.parse().ok()?, number.parse().ok()?))
    }
}

/// Whether `position` is `target` or comes after it in the same log.
pub(super) fn has_reached(position: &Position, target: &Position) -> bool {
    let (Some(position), Some(target)) = (Place::parse(position), Place::parse(target)) else {
        return false;
    };
    position.epoch == target.epoch && position.number() >= target.number()
}

/// Whether the entry is still there, and the log the one that it was of.
pub(super) async fn holds(mut connection: Connection, place: &Place) -> Result<bool, Fault> {
    let (page, epoch): (StreamRangeReply, Option<String>) = pipe()
        .cmd("XRANGE")
        .arg(layout::LOG)
        .arg(&place.entry)
        .arg(&place.entry)
        .get(layout::EPOCH)
        .query_async(&mut connection)
        .await?;
    Ok(!page.ids.is_empty() && epoch.as_ref() == Some(&place.epoch))
}

/// The position after the newest entry; begins the log where there is none.
pub(super) async fn end(mut connection: Connection) -> Result<Position, Fault> {
    let epoch = format!("{:016x}", u64::from_le_bytes(random_bytes()));
    let (epoch, entry) = layout::END
        .script
        .key(layout::EPOCH)
        .key(layout::LOG)
        .arg(epoch)
        .invoke_async(&mut connection)
        .await?;
    let replication: String = server::replication().query_async(&mut connection).await?;
    server::primary(&replication)?;
    Ok(Place { epoch, entry }.position())
}

/// Every event after `place`, waiting up to `wait` for the first. Gives the connection back for
/// the next time.
pub(super) async fn follow(
    lane: &Lane,
    link: Option<Link>,
    place: Place,
    wait: Duration,
) -> Result<(Link, Follow), StoreError> {
    let until = Instant::now() + wait;
    let (link, found) = all_after(lane, link, place.clone()).await?;
    let empty = matches!(&found, Follow::Events { events, .. } if events.is_empty());
    let rest = until.saturating_duration_since(Instant::now());
    // `BLOCK 0` would wait for ever.
    if !empty || rest < Duration::from_millis(1) {
        return Ok((link, found));
    }
    await_entry(lane, &link, &place, rest).await?;
    // Woken or not, the log is read again: only that is as of now, and checked for gaps.
    all_after(lane, Some(link), place).await
}

/// Waits until there is an entry after `place`, at most for `rest`. If the caller goes away, so
/// does the connection, and with it the wait.
async fn await_entry(
    lane: &Lane,
    link: &Link,
    place: &Place,
    rest: Duration,
) -> Result<(), StoreError> {
    let mut command = cmd("XREAD");
    command.arg("COUNT").arg(1);
    command.arg("BLOCK").arg(rest.as_millis().to_string());
    command.arg("STREAMS").arg(layout::LOG).arg(&place.entry);
    lane.wait_on(link, &command, rest).await
}

/// Reads to the log's end, however many pages that takes: an answer that stopped in between would
/// pass for proof that nothing else was revoked. Each page has a deadline of its own: one for all of
/// them, which a log that has grown misses each time, would never let it be read.
async fn all_after(
    lane: &Lane,
    mut link: Option<Link>,
    mut place: Place,
) -> Result<(Link, Follow), StoreError> {
    let mut events = Vec::new();
    loop {
        let (used, page) = lane.call_on(link, |c| page_after(c, place)).await?;
        match page {
            Page::Gap(gap) => return Ok((used, Follow::Gap(gap))),
            Page::More(more, to) => {
                events.extend(more);
                place = to;
            }
            Page::Last(more, to) => {
                events.extend(more);
                let position = to.position();
                return Ok((used, Follow::Events { position, events }));
            }
        }
        link = Some(used);
    }
}

/// What came after a place, and up to where.
enum Page {
    Gap(Gap),
    Last(Vec<Event>, Place),
    More(Vec<Event>, Place),
}

async fn page_after(mut connection: Connection, mut place: Place) -> Result<Page, Fault> {
    let (page, epoch, replication): (StreamRangeReply, Option<String>, String) = pipe()
        .cmd("XRANGE")
        .arg(layout::LOG)
        .arg(&place.entry)
        .arg("+")
        .arg("COUNT")
        .arg(PAGE)
        .get(layout::EPOCH)
        .add_command(server::replication())
        .query_async(&mut connection)
        .await?;
    // The word of any other server would prove nothing.
    server::primary(&replication)?;
    let known = page
        .ids
        .first()
        .is_some_and(|first| first.id == place.entry);
    if !known || epoch.as_ref() != Some(&place.epoch) {
        return gap(connection, &place).await.map(Page::Gap);
    }
    let mut events = Vec::new();
    for entry in &page.ids[1..] {
        events.extend(event(entry)?);
    }
    if let Some(last) = page.ids.last() {
        place.entry.clone_from(&last.id);
    }
    Ok(match page.ids.len() < PAGE {
        true => Page::Last(events, place),
        false => Page::More(events, place),
    })
}

/// What became of the log that had `place`.
async fn gap(mut connection: Connection, place: &Place) -> Result<Gap, Fault> {
    let (first, epoch): (StreamRangeReply, Option<String>) = pipe()
        .cmd("XRANGE")
        .arg(layout::LOG)
        .arg("-")
        .arg("+")
        .arg("COUNT")
        .arg(1)
        .get(layout::EPOCH)
        .query_async(&mut connection)
        .await?;
    Ok(match (epoch, first.ids.first()) {
        (None, _) | (Some(_), None) => Gap::Emptied,
        (Some(epoch), Some(_)) if epoch != place.epoch => Gap::Another,
        (Some(_), Some(first)) if order(&place.entry) < order(&first.id) => Gap::Trimmed,
        (Some(_), Some(_)) => Gap::Behind,
    })
}

/// The place of an entry among the others, by its id.
fn order(entry: &str) -> Option<(u64, u64)> {
    let (millis, number) = entry.split_once('-')?;
    Some((millis.parse().ok()?, number.parse().ok()?))
}

/// An entry of no known kind is an error, not skipped: it may be a revocation by a newer version.
fn event(entry: &StreamId) -> Result<Option<Event>, Fault> {
    let unreadable = || Fault::corrupt("an entry of the log");
    if entry.map.contains_key("begin") {
        return Ok(None);
    }
    if let Some(text) = entry.get::<String>("publish") {
        let digest = Digest::from_text(&text).ok_or_else(unreadable)?;
        return Ok(Some(Event::Publish(digest)));
    }
    let member = entry.get::<String>("deny").ok_or_else(unreadable)?;
    let at = entry.get::<i64>("at").ok_or_else(unreadable)?;
    Denial::from_member(&member, Timestamp::from_millis(at))
        .map(|denial| Some(Event::Deny(denial)))
        .map_err(|_| unreadable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_reached_from_itself_and_from_later_ones_of_the_same_log() {
        let reached =
            |position, target| has_reached(&Position::new(position), &Position::new(target));
        assert!(reached("rab/12-3", "rab/12-3"));
        assert!(reached("rab/12-10", "rab/12-9"), "numbers, not texts");
        assert!(reached("rab/100-0", "rab/99-7"));
        assert!(!reached("rab/12-2", "rab/12-3"));
        assert!(!reached("rab/11-9", "rab/12-0"));
        // Of another log, or of no log of ours.
        assert!(!reached("rcd/100-0", "rab/12-3"));
        assert!(!reached("e100-0000", "rab/12-3"));
        assert!(!reached("rab/100-0", ""));
    }

    #[test]
    fn only_positions_of_this_store_are_read() {
        let place = Place::parse(&Position::new("r00ff/12-3")).expect("own form");
        assert_eq!(place.position().as_str(), "r00ff/12-3");
        for foreign in [
            "",
            "e12-00ff",
            "r00ff/12",
            "r00ff/$",
            "r00ff/-",
            "r00ff/1-2-3",
        ] {
            assert_eq!(Place::parse(&Position::new(foreign)), None, "{foreign}");
        }
    }
}
