//! Puts the admin socket file in its place, and takes it away again.
//!
//! Invariants: the socket is never reachable with a wider mode than 0600, not even between bind
//! and chmod (it is made inside a private folder and moved when ready); a file that is no socket,
//! or a socket on which someone answers, is left alone.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

/// Why the socket file cannot be put in its place.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another gateway listens there.
    #[error("{0}: a process answers on this socket already")]
    InUse(PathBuf),
    /// The file system said no.
    #[error("the admin socket {path} cannot be made", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else is there, and it is not ours to remove.
    #[error("{0}: there is a file here that is not a socket")]
    NotASocket(PathBuf),
}

/// The socket file; removed with this value, if it is still the same file.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// How long a process that accepts the connection is given to do so.
const PROBE: Duration = Duration::from_secs(1);

/// Listens on `path`, replacing a socket file that nobody answers on.
pub(super) async fn place(path: &Path) -> Result<(UnixListener, SocketFile), SocketError> {
    let failed = |source| SocketError::Io {
        path: path.to_owned(),
        source,
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    private_folder(folder, Recursive::Yes).map_err(failed)?;
    vacate(path).await?;
    bind_and_move(folder, path).map_err(failed)
}

async fn vacate(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io {
        path: path.to_owned(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match tokio::time::timeout(PROBE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(error)) => Err(failed(error)),
        // A full backlog is a process, too.
        Ok(Ok(_)) | Err(_) => Err(SocketError::InUse(path.to_owned())),
    }
}

fn bind_and_move(folder: &Path, path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    // Short names: a socket path has at most 107 bytes (unix(7)).
    let nursery = folder.join(format!(".pc{}", std::process::id()));
    let newborn = nursery.join("s");
    // Left over from a crash under the same process id.
    let _ = std::fs::remove_file(&newborn);
    let _ = std::fs::remove_dir(&nursery);
    private_folder(&nursery, Recursive::No)?;
    let made = bind_private(&newborn).and_then(|(listener, there)| {
        std::fs::rename(&newborn, path)?;
        Ok((listener, SocketFile::new(path, &there)))
    });
    if made.is_err() {
        let _ = std::fs::remove_file(&newborn);
    }
    let _ = std::fs::remove_dir(&nursery);
    made
}

fn bind_private(path: &Path) -> io::Result<(UnixListener, Metadata)> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok((listener, std::fs::symlink_metadata(path)?))
}

/// Whether parents are made, too, and a folder that is there is fine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recursive {
    No,
    Yes,
}

fn private_folder(path: &Path, recursive: Recursive) -> io::Result<()> {
    DirBuilder::new()
        .recursive(recursive == Recursive::Yes)
        .mode(0o700)
        .create(path)
}

impl SocketFile {
    fn new(path: &Path, there: &Metadata) -> SocketFile {
        SocketFile {
            path: path.to_owned(),
            device: there.dev(),
            inode: there.ino(),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let same = |there: Metadata| (there.dev(), there.ino()) == (self.device, self.inode);
        // A successor may have put its own socket here.
        if std::fs::symlink_metadata(&self.path).is_ok_and(same) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
