//! The policy, looked at without a request: `routes` and `explain`, and later `test` and `diff`.
//!
//! Not here: any network, any rule of its own. Invariant: it asks the same route table, the same
//! authenticator and the same checks as a live request, so what it says is what would happen.

mod explain;
mod table;

pub use explain::{ExplainCredential, ExplainRequest, explain};
pub use table::{RouteRow, rows};
