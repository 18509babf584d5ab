//! The not-before list.

use redb::{
    ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, TableDefinition,
    WriteTransaction,
};

use crate::clock::Timestamp;
use crate::store::{Denial, Event, StoreError};

use super::log;

/// [`Denial::member`] → milliseconds since the epoch.
const DENIALS: TableDefinition<'_, &str, i64> = TableDefinition::new("denials");

/// Drops denials from before `horizon`.
pub(super) fn forget(transaction: &WriteTransaction, horizon: Timestamp) -> Result<(), StoreError> {
    // Made here where it is missing, so that readers find it.
    let mut denials = transaction.open_table(DENIALS)?;
    denials.retain(|_, at| at >= horizon.as_millis())?;
    Ok(())
}

/// Puts a denial on the list, never earlier than it was there before, and into the log.
pub(super) fn deny(transaction: &WriteTransaction, denial: Denial) -> Result<(), StoreError> {
    let mut denials = transaction.open_table(DENIALS)?;
    let member = denial.member();
    let before = denials.get(&*member)?.map(|at| at.value());
    let at = denial.at.as_millis().max(before.unwrap_or(i64::MIN));
    denials.insert(&*member, at)?;
    log::append(transaction, &Event::Deny(denial))
}

pub(super) fn all(transaction: &ReadTransaction) -> Result<Vec<Denial>, StoreError> {
    let denials = transaction.open_table(DENIALS)?;
    let mut entries = Vec::with_capacity(usize::try_from(denials.len()?).unwrap_or(0));
    for entry in denials.iter()? {
        let (member, at) = entry?;
        let at = Timestamp::from_millis(at.value());
        entries.push(Denial::from_member(member.value(), at)?);
    }
    Ok(entries)
}
