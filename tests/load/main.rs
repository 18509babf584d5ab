//! The load bench (`cargo bench --bench load`) as a user runs it, without its process; and its parts.
//!
//! The bench itself cannot hold tests: without a harness nothing runs them.

#[path = "../../benches/load/main.rs"]
#[expect(dead_code, reason = "`main` is the bench's own")]
mod load;

mod credentials;
mod histogram;
mod pace;
mod plan;
mod plot;
mod progress;
mod quantity;
mod report;
mod runs;
mod server;
mod target;
