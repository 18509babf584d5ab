//! A wall clock that a test can put forward under a running process, by libfaketime.
//!
//! Monotonic time goes on as it is: no machine's leaps.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A process that has [`StepClock::environment`] sees the machine's clock until it is stepped.
pub(crate) struct StepClock {
    file: PathBuf,
}

impl StepClock {
    /// Kept in a file of `folder`.
    pub(crate) fn in_folder(folder: &Path) -> StepClock {
        let clock = StepClock {
            file: folder.join("clock"),
        };
        clock.write("+0");
        clock
    }

    /// From now on it is so much later. Its process sees it within a second.
    pub(crate) fn step(&self, ahead: Duration) {
        self.write(&format!("+{}", ahead.as_secs()));
    }

    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let file = self.file.to_str().expect("a plain path");
        let library = library();
        let library = library.to_str().expect("a plain path");
        // libc's allocator before jemalloc's, which asks for the time before libfaketime is ready.
        let preload = format!("{library} libc.so.6");
        [
            ("LD_PRELOAD", preload.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            // Its name before.
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn write(&self, offset: &str) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, offset).expect("the folder is ours");
        std::fs::rename(&new, &self.file).expect("the same folder");
    }
}

/// Where Debian has it: `/usr/lib/x86_64-linux-gnu/faketime`, or that of another machine.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten();
    let candidates = folders
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    candidates
        .into_iter()
        .find(|library| library.exists())
        .expect("libfaketime is installed: these tests need it, `apt-get install faketime`")
}
