//! Access tokens against hostile tokens (security.md rows 81-93) and hostile key set servers.

#[path = "../support/jwks_issuer.rs"]
mod jwks_issuer;
#[path = "../support/jwks_server.rs"]
mod jwks_server;

mod attacks;
mod bench;
mod fetching;
