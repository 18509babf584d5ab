//! The revocation protocol of Portcullis under shuttle, which chooses what runs next at every lock
//! and atomic: whether a look-up can be answered from before a change that was made known.
//!
//! Real: the text of
//! `src/auth/{changes,load,front,cache,cache_counters,look_ups,denial_list,revocation}.rs`, as
//! `build.rs` finds it. Modelled, in [`libraries`]: moka, tokio's `watch`, `Semaphore`, `Handle`, `timeout`
//! and `Instant`, arc-swap. Modelled, in [`stand_ins`]: the store, and the small types of other
//! rooms. Modelled, in the scenarios: the follower (`src/auth/follower.rs`), as the one thread that
//! denies, forgets, flushes and confirms, in its order. docs/decisions/0023-model-checker.md tells
//! what this proves and what it does not.

#![expect(
    dead_code,
    reason = "the protocol's files have more than the scenarios call, and mutants call less"
)]

pub mod libraries;
mod runs;
pub mod stand_ins;

// What the crate around them shares their modules' roots with.
use stand_ins::{clock, observe, secret, store, usage};

pub use runs::{explore, hunt};

include!(concat!(env!("OUT_DIR"), "/variants.rs"));
