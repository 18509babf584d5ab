//! The file: opened for its owner alone, and by one process at a time.
//!
//! Not here: what is in it. Invariants: whoever has the file has its lock, from before the first
//! byte is read until the last handle is dropped; a file that was there and holds nothing is told,
//! not filled: what it held is lost, and an empty store in its place would hide that.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::store::StoreError;

/// Opens or makes the file, with mode 0600 whatever it was before, in folders that are made with
/// mode 0700 where they are missing.
pub(super) fn open(path: &Path) -> Result<File, StoreError> {
    let (file, is_new) = open_private(path).map_err(|error| failed(path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let path = path.to_owned();
            return Err(StoreError::Locked { path });
        }
        Err(TryLockError::Error(error)) => return Err(failed(path, &error)),
    }
    let length = file.metadata().map_err(|error| failed(path, &error))?.len();
    if length == 0 && !is_new {
        return Err(StoreError::Corrupt(format!(
            "{} is empty, which no store is: put a backup in its place, or remove it to begin \
             with an empty store",
            path.display()
        )));
    }
    Ok(file)
}

/// An error at opening, with the file's name.
pub(super) fn named(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt(what) => StoreError::Corrupt(format!("{}: {what}", path.display())),
        StoreError::Locked { .. } => StoreError::Locked {
            path: path.to_owned(),
        },
        other => other,
    }
}

/// Puts a new file's name on the disk.
pub(super) fn keep_name(path: &Path) -> Result<(), StoreError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> StoreError {
    let error = io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    StoreError::Unavailable(error.into())
}

/// The file, and whether it was made now.
pub(in crate::store) fn open_private(path: &Path) -> io::Result<(File, bool)> {
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let (file, is_new) = match options.clone().create_new(true).open(path) {
        Ok(file) => (file, true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => (options.open(path)?, false),
        Err(error) => return Err(error),
    };
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok((file, is_new))
}
