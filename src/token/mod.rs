//! Making and checking token strings. No IO, no store, no clock.
//!
//! Not here: whether a well-formed token is known, live or allowed ([`crate::auth`]).

mod base62;
mod internal;
mod opaque;
mod code;
mod refresh;
pub mod jwt;

pub use internal::{
    INTERNAL_TOKEN_ISSUER, INTERNAL_TOKEN_TYPE, InternalKeyError, InternalTokenSigner,
};
pub use opaque::{MintedSecret, OpaqueFormat, OpaqueKind, Shape};
pub use refresh::{RefreshNonce, RefreshToken, RefreshTokens};
