//! Portcullis: an edge API gateway that authenticates and authorizes every request before
//! anything reaches an upstream, and fails closed.
//!
//! The rooms, from the bottom up; each may import only from the ones above it in this list
//! (`tests/architecture.rs` checks it). The request path starts in [`edge`], is told in
//! [`gateway`], and is put together in [`app`].

pub mod scope;
pub mod secret;
pub mod sealed;
pub mod clock;
pub mod id;
pub mod environment;
mod header;
mod local_executor;
mod media_type;
mod patience;
mod pieces;
mod upload;

pub mod observe;
pub mod token;
pub mod store;
pub mod edge;
pub mod auth;
pub mod oauth;
pub mod upstream;
pub mod gateway;
pub mod policy;
pub mod admin;
pub mod config;
pub mod app;
pub mod dev;
pub mod cli;
