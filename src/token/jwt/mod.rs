//! JSON Web Tokens in compact form (RFC 7515, RFC 7519) and the public keys that verify them.
//!
//! Not here: which issuers, audiences and times are good, and where keys come from
//! ([`crate::auth`]). Invariants: an algorithm belongs to a key and never to a header, so
//! [`UnverifiedJwt::verify`] can be talked into nothing; no claim but `iss` can be read before the
//! signature was checked; nothing named by a header (`jku`, `x5u`, `x5c`, `jwk`) is ever used.

mod algorithm;
mod compact;
mod key;
mod key_set;
mod members;
mod signing_key;

pub use algorithm::SignatureAlgorithm;
pub use compact::{InvalidJwt, MAX_LEN, UnverifiedJwt};
pub use key::{UnusableKey, VerificationKey};
pub use key_set::{Choice, InvalidKeySet, KeySet, MAX_KEYS, MAX_SET_LEN};
pub use members::{InvalidMembers, Members, WrongType};
pub use signing_key::{InvalidSigningKey, SigningKey};
