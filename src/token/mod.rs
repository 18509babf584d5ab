//! Making and checking token strings. No IO, no store, no clock.
//!
//! Not here: whether a well-formed token is known, live or allowed ([`crate::auth`]).

mod opaque;
pub mod jwt;

pub use opaque::{MintedSecret, OpaqueFormat, OpaqueKind, Shape};
