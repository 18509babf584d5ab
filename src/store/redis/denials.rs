//! The not-before list.

use std::collections::HashMap;

use ::redis::cmd;

use crate::clock::Timestamp;
use crate::store::{Denial, Denials, StoreError, retention};

use super::fault::Fault;
use super::lane::Lane;
use super::link::Connection;
use super::{layout, log};

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

/// The whole list.
pub(super) async fn all(lane: &Lane) -> Result<Denials, StoreError> {
    // The position first: a denial that the scan misses comes after it in the log.
    let position = lane.call(log::end).await?;
    let mut members = HashMap::new();
    let mut cursor = 0;
    loop {
        let (next, page) = lane.call(|c| scan(c, cursor)).await?;
        members.extend(page);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let entries = members
        .into_iter()
        .map(|(member, at)| Denial::from_member(&member, at))
        .collect::<Result<_, _>>()?;
    Ok(Denials { position, entries })
}

/// One page of the list and the cursor of the next. Whatever is on the list from the first page to
/// the last is seen, perhaps twice.
async fn scan(
    mut connection: Connection,
    cursor: u64,
) -> Result<(u64, Vec<(String, Timestamp)>), Fault> {
    let mut command = cmd("ZSCAN");
    command
        .arg(layout::DENIALS)
        .arg(cursor)
        .arg("COUNT")
        .arg(1000);
    let (next, page): (u64, Vec<(String, f64)>) = command.query_async(&mut connection).await?;
    let page = page
        .into_iter()
        // Whole milliseconds, far below 2^53: the score holds them exactly.
        .map(|(member, at)| (member, Timestamp::from_millis(at as i64)))
        .collect();
    Ok((next, page))
}
