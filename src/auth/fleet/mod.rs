//! This instance as one of a fleet: it reports itself, and proves to the others what it has read.
//!
//! ```text
//! follower ──has read up to──▶ reporter ──report──▶ store ◀──list── whoever revokes and waits
//!    ▲                            │
//!    └──may it confirm? ── membership ◀── when the store last took a report
//! ```
//!
//! Not here: the list itself ([`crate::store::FleetStore`]), and what is revoked. Invariants: whoever
//! serves is on the list, because no lease is confirmed without a report that the store took before;
//! neither the reading of the log nor a request waits for a report.

mod forget;
mod membership;
mod presence;
mod reporter;
mod fleet_desk;
mod proof;

pub use fleet_desk::{FleetDesk, FleetOverview, InstanceStanding, InstanceState};
pub use forget::{ForgetError, ForgottenInstance};
pub(super) use presence::News;
pub use presence::Presence;
pub use proof::{Begun, Confirmation, ConfirmationOutcome, Doubt, Proof};
pub use reporter::{Announcement, Reporter, ReporterParts};
