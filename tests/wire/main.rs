//! What the gateway does on the wire: real TLS, real sockets, exact bytes.
//!
//! One binary for all of it, so that it links once. Rows are those of the security page.

#[expect(unreachable_pub, reason = "a test binary has no outside")]
mod support;

mod audit;
mod credentials;
mod edge_cases;
mod errors;
mod forwarding;
mod framing;
mod headers;
mod leaks;
mod lifecycle;
mod matrix;
mod outage;
mod outage_table;
mod rollback;
mod session_cookies;
mod sessions;
mod tokens;
mod upstream_faults;
mod usage;
