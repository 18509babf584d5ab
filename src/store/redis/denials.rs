//! The not-before list.

use std::collections::HashMap;

use ::redis::cmd;

use crate::clock::Timestamp;
use crate::store::{Denial, Denials, StoreError, retention};

use super::fault::Fault;
use super::lane::Lane;
use super::link::Connection;
use super::{layout, log};

/// Entries read at once.
const PAGE: usize = 1000;

/// Puts a denial on the list and into the log.
pub(super) async fn deny(connection: &mut Connection, denial: &Denial) -> Result<(), Fault> {
    let script = &layout::DENY.script;
    let mut invocation = script.key(layout::DENIALS);
    invocation.key(layout::LOG);
    invocation
        .arg(retention::DENIALS.as_millis().to_string())
        .arg(retention::EVENTS);
    invocation.arg(denial.member()).arg(denial.at.as_millis());
    let _entry: String = invocation.invoke_async(connection).await?;
    Ok(())
}

/// The whole list, page by page in the order of time. Not by a cursor of the server's: it would
/// mean nothing to the server that takes over between two pages, and entries would be missed.
pub(super) async fn all(lane: &Lane) -> Result<Denials, StoreError> {
    // The position first: a denial that the list does not have yet comes after it in the log.
    let position = lane.call(log::end).await?;
    let mut members = HashMap::new();
    let (mut from, mut limit) = (None, PAGE);
    loop {
        let page = lane.call(|c| page(c, from, limit)).await?;
        let complete = page.len() < limit;
        let last = page.last().map(|(_, at)| *at);
        members.extend(page);
        if complete {
            break;
        }
        // So many of one moment that a page does not get past it.
        limit = if last == from { limit * 2 } else { PAGE };
        from = last;
    }
    let entries = members
        .into_iter()
        .map(|(member, at)| Denial::from_member(&member, at))
        .collect::<Result<_, _>>()?;
    Ok(Denials { position, entries })
}

/// The earliest entries from a moment on, those of that moment again.
async fn page(
    mut connection: Connection,
    from: Option<Timestamp>,
    limit: usize,
) -> Result<Vec<(String, Timestamp)>, Fault> {
    let from = from.map_or("-inf".into(), |from| from.as_millis().to_string());
    let mut command = cmd("ZRANGE");
    command.arg(layout::DENIALS).arg(from).arg("+inf");
    command.arg("BYSCORE").arg("LIMIT").arg(0).arg(limit);
    command.arg("WITHSCORES");
    let page: Vec<(String, f64)> = command.query_async(&mut connection).await?;
    let page = page
        .into_iter()
        // Whole milliseconds, far below 2^53: the score holds them exactly.
        .map(|(member, at)| (member, Timestamp::from_millis(at as i64)))
        .collect();
    Ok(page)
}
