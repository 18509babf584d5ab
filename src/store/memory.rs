//! What one instance has seen of a store's log, in a file of its own: denials, and up to where.
//!
//! For stores that are elsewhere and may lose data; the embedded store is its own memory. Not here:
//! when it is written, and what a loss means ([`crate::auth`]). Invariants: the position is written
//! in one transaction with the denials before it, so it is never ahead of them; what the store itself
//! keeps no longer is dropped when the file is opened; the file is readable by its owner only, and
//! holds public ids, no secret and no digest.

use std::fmt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::clock::Timestamp;

use super::embedded::open_private;
use super::{Denial, Position, StoreError, retention};

/// [`Denial::member`] → milliseconds since the epoch.
const DENIALS: TableDefinition<'_, &str, i64> = TableDefinition::new("denials");
/// One row: the position, which names the store's epoch too.
const SEEN: TableDefinition<'_, &str, &str> = TableDefinition::new("seen");
const POSITION: &str = "position";

/// Bytes of pages that redb keeps in memory.
const PAGE_CACHE: usize = 1 << 20;

/// The open file.
pub struct Memory {
    database: Database,
}

/// What was in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Up to where the log was seen; `None` is: not at all.
    pub position: Option<Position>,
    /// What was denied, within the store's retention.
    pub denials: Vec<Denial>,
}

impl Memory {
    /// Opens the file, or makes it and the directories above it. One that cannot be read any more is
    /// put aside, and its name is given.
    pub fn open(path: &Path, now: Timestamp) -> Result<(Memory, Option<PathBuf>), StoreError> {
        match Memory::open_whole(path, now) {
            Err(StoreError::Corrupt(_)) => {
                let aside = path.with_extension("unreadable");
                let moved = std::fs::rename(path, &aside);
                moved.map_err(|error| StoreError::Unavailable(error.into()))?;
                Ok((Memory::open_whole(path, now)?, Some(aside)))
            }
            opened => Ok((opened?, None)),
        }
    }

    fn open_whole(path: &Path, now: Timestamp) -> Result<Memory, StoreError> {
        let opened = open_private(path);
        let (file, _) = opened.map_err(|error| StoreError::Unavailable(error.into()))?;
        let database = Builder::new()
            .set_cache_size(PAGE_CACHE)
            .set_check_integrity_on_open(true)
            .create_with_backend(FileBackend::new(file)?)?;
        let memory = Memory { database };
        memory.forget(now.minus(retention::DENIALS))?;
        Ok(memory)
    }

    /// All of it.
    pub fn read(&self) -> Result<Remembered, StoreError> {
        let transaction = self.database.begin_read()?;
        let seen = transaction.open_table(SEEN)?;
        let position = seen.get(POSITION)?.map(|text| Position::new(text.value()));
        let mut denials = Vec::new();
        for entry in transaction.open_table(DENIALS)?.iter()? {
            let (member, at) = entry?;
            let at = Timestamp::from_millis(at.value());
            denials.push(Denial::from_member(member.value(), at)?);
        }
        Ok(Remembered { position, denials })
    }

    /// Adds denials, of two with one name the later, and up to where all were seen; it is on disk
    /// when this returns.
    pub fn keep(&self, denials: &[Denial], position: &Position) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(DENIALS)?;
            for denial in denials {
                let member = denial.member();
                let before = table.get(&*member)?.map_or(i64::MIN, |at| at.value());
                table.insert(&*member, denial.at.as_millis().max(before))?;
            }
            transaction
                .open_table(SEEN)?
                .insert(POSITION, position.as_str())?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Drops denials from before `horizon`, and makes the tables of a new file.
    fn forget(&self, horizon: Timestamp) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(SEEN)?;
        transaction
            .open_table(DENIALS)?
            .retain(|_, at| at >= horizon.as_millis())?;
        transaction.commit()?;
        Ok(())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use crate::store::DenialKind;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn denial(id: &str, at: Timestamp) -> Denial {
        Denial {
            kind: DenialKind::Key,
            id: id.into(),
            at,
        }
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart_and_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/memory.redb");
        let (memory, aside) = Memory::open(&path, NOW).expect("it opens");
        assert_eq!(
            (memory.read().ok(), aside),
            (Some(Remembered::default()), None)
        );
        let (first, later) = (
            denial("a", NOW),
            denial("a", NOW.plus(Duration::from_secs(1))),
        );
        let position = Position::new("r1/2-3");
        for denial in [&first, &later, &first] {
            let kept = memory.keep(std::slice::from_ref(denial), &position);
            kept.expect("it is kept");
        }
        assert!(matches!(
            Memory::open(&path, NOW),
            Err(StoreError::Locked { .. })
        ));
        drop(memory);
        let (memory, _) = Memory::open(&path, NOW).expect("it opens");
        let remembered = Remembered {
            position: Some(position),
            denials: vec![later],
        };
        assert_eq!(memory.read().ok(), Some(remembered));
        let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode(&path) & 0o777, 0o600);
        assert_eq!(mode(&folder.path().join("new")) & 0o777, 0o700);
    }

    #[test]
    fn what_the_store_has_dropped_is_dropped_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("memory.redb");
        let (memory, _) = Memory::open(&path, NOW).expect("it opens");
        let old = denial("old", NOW.minus(retention::DENIALS));
        let kept = memory.keep(std::slice::from_ref(&old), &Position::new("r1/2-3"));
        kept.expect("it is kept");
        assert_eq!(memory.read().expect("readable").denials, [old]);
        drop(memory);
        let later = NOW.plus(Duration::from_millis(1));
        let (memory, _) = Memory::open(&path, later).expect("it opens");
        assert_eq!(memory.read().expect("readable").denials, []);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_put_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("memory.redb");
        std::fs::write(&path, "no database at all").expect("written");
        let (memory, aside) = Memory::open(&path, NOW).expect("it opens");
        assert_eq!(memory.read().ok(), Some(Remembered::default()));
        let aside = aside.expect("it was put aside");
        let text = std::fs::read_to_string(aside).expect("it is kept");
        assert_eq!(text, "no database at all");
    }
}
