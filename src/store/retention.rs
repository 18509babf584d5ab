//! How long a store remembers what it no longer strictly needs.
//!
//! Both bounds are safe to reach: a trimmed event shows as [`Follow::Gap`](super::Follow::Gap) to
//! whoever still needed it, and a trimmed denial names something that is refused anyway (a revoked
//! key's own record says so for ever; a token, grant or session denied this long ago has ended).

use std::time::Duration;

/// How many events the log keeps at least.
pub(super) const EVENTS: u64 = 100_000;

/// How long the not-before list keeps a denial: the longest life of anything it can name, which
/// is a refresh token's absolute 90 days.
pub const DENIALS: Duration = Duration::from_secs(90 * 24 * 60 * 60);
