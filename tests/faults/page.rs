//! docs/reliability.md has every fault.

use crate::fault::ALL;
use crate::report;

/// Also writes the page, where `WRITE_RELIABILITY` says what about: the machine and the command.
/// Its name sorts last, and it runs by itself then (`scripts/faults`).
#[test]
fn the_page_tells_of_every_fault() {
    if let Some(about) = std::env::var_os("WRITE_RELIABILITY") {
        let rows = report::rows();
        assert_eq!(rows.len(), ALL.len(), "a fault has not run: {rows:#?}");
        assert!(rows.iter().all(|row| row.wrong_allows == 0));
        report::write(&rows, about.to_str().expect("a text"));
    }
    assert_eq!(report::told(), ALL);
}
