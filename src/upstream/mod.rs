//! Upstreams: endpoints, one connection pool a worker, and the exchange of one request for one
//! answer.
//!
//! Not here: who may send what ([`crate::gateway`]). Invariants: a pooled connection is reused
//! only after a complete answer to a completely sent request; dropping an exchange closes its
//! connection; every wait has a deadline from [`UpstreamSettings`].

mod attention;
mod body;
mod connection;
mod error;
mod http1;
mod http2;
mod pool;
mod response_guard;
mod settings;
mod target;
mod wait;

pub use body::{RequestBody, RequestBodyFault, Trailers, UpstreamBody};
pub use error::UpstreamError;
pub use pool::Pool;
pub use settings::{Endpoint, HostHeader, IdentityMode, Protocol, UpstreamSettings};
pub use target::{Target, TargetError};
