//! Notices that the configuration, a certificate, a key set or a CA file has changed.
//!
//! Folders are watched, not files: editors and Kubernetes replace a file rather than write it.
//! Invariant: a burst of changes is one event, given when it has been quiet for a moment, so that
//! a certificate and its key are read together.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::auth::JwksSource;
use crate::config::Config;

/// Watches the files of one configuration.
pub(super) struct FileWatch {
    changes: UnboundedReceiver<()>,
    /// Watches as long as it lives; `None` where the machine has no inotify left.
    _watcher: Option<RecommendedWatcher>,
}

/// How long it must have been quiet.
const QUIET: Duration = Duration::from_millis(250);
/// What Kubernetes renames when it updates a mounted volume.
const KUBERNETES_LINK: &str = "..data";

impl FileWatch {
    pub(super) fn new(config_path: &Path, config: &Config) -> FileWatch {
        let files = files_of(config_path, config);
        let names: BTreeSet<OsString> = files
            .iter()
            .filter_map(|file| file.file_name())
            .map(Into::into)
            .collect();
        let (sender, changes) = unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| concerns(&event, &names)) {
                let _ = sender.send(());
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            for folder in folders_of(&files) {
                watcher.watch(&folder, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "file changes are not noticed; send SIGHUP to reload");
        }
        FileWatch {
            changes,
            _watcher: watcher.ok(),
        }
    }

    /// Waits for a change, and until it is quiet again. Never ends without a watcher.
    pub(super) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        while let Ok(Some(())) = tokio::time::timeout(QUIET, self.changes.recv()).await {}
    }
}

fn concerns(event: &Event, names: &BTreeSet<OsString>) -> bool {
    let written = !matches!(event.kind, EventKind::Access(_));
    let named = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name == KUBERNETES_LINK || names.contains(name))
    };
    written && event.paths.iter().any(named)
}

fn files_of(config_path: &Path, config: &Config) -> Vec<PathBuf> {
    let certificates = config
        .edge
        .certificates
        .iter()
        .flat_map(|files| [&files.cert, &files.key]);
    let key_sets = config
        .issuers
        .iter()
        .filter_map(|issuer| match &issuer.jwks {
            JwksSource::Builtin => None,
            JwksSource::File(path) => Some(path),
            JwksSource::Url { ca, .. } => ca.as_ref(),
        });
    let trusted = config
        .upstreams
        .iter()
        .filter_map(|upstream| upstream.ca.as_ref());
    let others = certificates.chain(key_sets).chain(trusted).cloned();
    std::iter::once(config_path.to_owned())
        .chain(others)
        .collect()
}

fn folders_of(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let folder = |file: &PathBuf| match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    files.iter().map(folder).collect()
}
