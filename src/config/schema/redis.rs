//! The shape of `store.redis`.
//!
//! Not here: what its values have to be ([`crate::config`]'s reader of the store). Invariant: as for
//! all shapes, tests hold it to the reader.

#![expect(dead_code, reason = "the shapes are only described, never built")]

use schemars::JsonSchema;

use super::shapes::Certificate;
use super::values::{Duration, Secret};

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [
    { "required": ["url"] }, { "required": ["sentinel"] }, { "required": ["cluster"] },
]))]
pub(super) struct Redis {
    /// One server, or an address that always leads to the primary: `redis://host:port/db` or
    /// `rediss://host:port/db`, without user and password.
    url: Option<String>,
    /// Instead of `url`: the sentinels that name the primary.
    sentinel: Option<Sentinel>,
    /// Instead of `url`: some servers of a Cluster, each `redis://host:port` or `rediss://host:port`.
    #[schemars(length(min = 1))]
    cluster: Option<Vec<String>>,
    /// The ACL user; Redis' `default` where it is left out.
    username: Option<String>,
    /// The user's password.
    password: Option<Secret>,
    /// PEM file of the CA that the servers' certificates must chain to; the public ones where it is left out.
    ca: Option<String>,
    /// What is shown to servers and sentinels that ask for a certificate.
    certificate: Option<Certificate>,
    /// The deadline of each command.
    #[schemars(extend("default" = "250ms"))]
    timeout: Option<Duration>,
    /// The file in which this gateway keeps the revocations that it has seen, made when missing; `off` keeps none.
    #[schemars(extend("default" = "data/revocations.redb"))]
    memory: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Sentinel {
    /// All sentinels, each `redis://host:port` or `rediss://host:port`; the servers that they watch
    /// are reached in the same way.
    #[schemars(length(min = 1))]
    addresses: Vec<String>,
    /// The name of the primary in `sentinel monitor`.
    primary: String,
    /// The ACL user at the sentinels; Redis' `default` where it is left out.
    username: Option<String>,
    /// The user's password at the sentinels.
    password: Option<Secret>,
}
