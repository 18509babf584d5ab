//! The authorization server over the wire: a real gateway over TLS, with clients and users in its
//! store. Each row of identity.md §1.1 and §1.2 is a test here.

#[path = "../wire/support/mod.rs"]
#[expect(unreachable_pub, reason = "a test binary has no outside")]
#[expect(
    dead_code,
    unused_imports,
    reason = "the tests of the wire use more of it"
)]
mod support;

#[expect(unreachable_pub, reason = "a test binary has no outside")]
mod house;

mod token;
mod refresh;
mod revoke;
mod metadata;
mod authorize;
mod delegated;
mod pages;
mod outage;
mod rollback;
mod registry;
mod pepper;
mod rotation;
mod rules_authorize;
mod rules_token;
mod rules_tokens_given;
mod rules_metadata;
mod rules_resource;
mod races;
mod abuse;
mod misplaced;
mod audit;
mod own_cookie;
mod leaks;
mod refusals;
