//! `portcullis store …`: the whole store as one file, out of a running gateway or the store itself,
//! and into a store.
//!
//! Invariants: a file is in its place only once it is whole and was read again; nobody but its owner
//! can read it; an import is read to its end before anything of it is written, from wherever it
//! comes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Subcommand;
use tokio::sync::mpsc;

use super::manage::{Desk, client_of_environment, open_store};
use super::output::{self, Format, say};
use super::{Cli, Failure, runtime};
use crate::auth::ArchiveDesk;
use crate::store::{ExportReader, Restored};

/// What to do with a whole store.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write everything that the store holds into one file: keys, sessions, clients, users, grants,
    /// consents, signing keys and what is revoked. Works on a running gateway. The file holds no
    /// secret, but is as private as the store.
    Export {
        /// The file; `-` is standard output.
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Take a file of `store export` into the store that the configuration names. Works on the store
    /// itself: an embedded one must not be in use.
    Import {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// Also where the store is not empty: what is there stays as it is. Completes an import
        /// that broke off.
        #[arg(long)]
        merge: bool,
    },
}

/// Pieces on their way.
const QUEUE: usize = 2;

pub(super) fn run(cli: &Cli, command: &Command) -> Result<(), Failure> {
    runtime()?.block_on(async {
        match command {
            Command::Export { file } => export(cli, file).await,
            Command::Import { file, merge } => import(cli, file, *merge).await,
        }
    })
}

async fn export(cli: &Cli, file: &Path) -> Result<(), Failure> {
    let desk = Desk::open(cli).await?;
    if file.as_os_str() == "-" {
        return fetch(&desk, io::stdout()).await;
    }
    let part = PartialFile::make(file)?;
    fetch(&desk, part.file.try_clone()?).await?;
    let entries = part.finish(file)?;
    let place = file.display().to_string();
    match cli.format {
        Format::Json => output::json(&serde_json::json!({ "file": place, "entries": entries })),
        Format::Table => say(format_args!("{entries} entries exported to {place}")),
    }
}

async fn fetch(desk: &Desk, mut to: impl Write) -> Result<(), Failure> {
    let (pieces, mut taken) = mpsc::channel::<Bytes>(QUEUE);
    let write = async move {
        while let Some(piece) = taken.recv().await {
            to.write_all(&piece)?;
        }
        to.flush()
    };
    let (written, asked) = tokio::join!(write, ask(desk, pieces));
    // Where nobody takes the pieces, the export ends with an error of its own: the first is told.
    // A reader who went away has no whole export, so that is a failure here.
    written.map_err(|error| anyhow::anyhow!("the export was not taken to its end: {error}"))?;
    asked
}

async fn ask(desk: &Desk, to: mpsc::Sender<Bytes>) -> Result<(), Failure> {
    match desk {
        Desk::Gateway(client) => client.export_store(to).await?,
        Desk::Store(desk) => {
            let export = ArchiveDesk::beside(desk).export(Desk::actor());
            let export = export.expect("a desk of our own has nothing under way");
            export.run(to).await?;
        }
    }
    Ok(())
}

/// A file beside the one that it becomes.
struct PartialFile {
    file: File,
    path: PathBuf,
}

impl PartialFile {
    fn make(whole: &Path) -> Result<PartialFile, Failure> {
        let mut name = whole.file_name().context("no name of a file")?.to_owned();
        name.push(".part");
        let path = whole.with_file_name(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(anyhow::Error::new(error)
                    .context(path.display().to_string())
                    .into());
            }
            Ok(()) | Err(_) => {}
        }
        let file = private(&path).with_context(|| path.display().to_string())?;
        Ok(PartialFile { file, path })
    }

    /// Reads it again, and puts it in its place.
    fn finish(self, whole: &Path) -> Result<usize, Failure> {
        self.file.sync_all()?;
        let read = || {
            let mut entries = 0;
            for entry in ExportReader::begin(BufReader::new(File::open(&self.path)?))? {
                entry?;
                entries += 1;
            }
            anyhow::Ok(entries)
        };
        let entries = read().context("what was exported is not whole")?;
        fs::rename(&self.path, whole).with_context(|| whole.display().to_string())?;
        Ok(entries)
    }
}

/// Whatever comes of it, no part is left behind.
impl Drop for PartialFile {
    fn drop(&mut self) {
        // Gone already where it has become the whole.
        let _ = fs::remove_file(&self.path);
    }
}

/// A new file that nobody else can read, also not through a name that leads to it.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path)
}

async fn import(cli: &Cli, file: &Path, merge: bool) -> Result<(), Failure> {
    if client_of_environment(cli)?.is_some() {
        return Err(Failure::Usage(
            "`store import` works on the store that a configuration names, not through a running \
             gateway: unset PORTCULLIS_ADMIN"
                .into(),
        ));
    }
    let name = match file.as_os_str() == "-" {
        true => "standard input".into(),
        false => file.display().to_string(),
    };
    let file = match file.as_os_str() == "-" {
        true => spooled(&mut io::stdin().lock()).context("standard input")?,
        false => File::open(file).with_context(|| name.clone())?,
    };
    let config = cli.load_config()?;
    let desk = open_store(&config)?;
    let archive = ArchiveDesk::beside(&desk);
    let restored = archive.import(file, merge, Desk::actor());
    let restored = restored.await.with_context(|| name)?;
    tell(cli, &restored)
}

fn tell(cli: &Cli, restored: &Restored) -> Result<(), Failure> {
    match cli.format {
        Format::Json => output::json(restored),
        Format::Table => say(format_args!(
            "{} written, {} there already, {} denials",
            restored.written, restored.existing, restored.denials
        )),
    }
}

/// All of it in a file without a name, since it is read more than once.
fn spooled(from: &mut impl io::Read) -> io::Result<File> {
    let name = format!(
        "portcullis-import-{:016x}",
        u64::from_be_bytes(crate::secret::random_bytes())
    );
    let path = std::env::temp_dir().join(name);
    let mut file = private(&path)?;
    fs::remove_file(&path)?;
    io::copy(from, &mut file)?;
    Ok(file)
}
