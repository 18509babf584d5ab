//! The policy, looked at without a request: `routes`, `explain`, `test` and `diff`.
//!
//! Not here: any network, any rule of its own. Invariant: it asks the same route table, the same
//! authenticator and the same checks as a live request, so what it says is what would happen.

mod explain;
mod table;
mod decision;
mod suite;
mod coverage;
mod paths;
mod diff;
mod accepted;

pub use coverage::{Cell, Coverage};
pub use decision::{Decision, Policy, PolicyParts, Question, Verdict};
pub use diff::{Change, Difference, PolicyDiff, diff};
pub use explain::{ExplainCredential, ExplainRequest, explain};
pub use suite::{Case, Expectation, ExpectedHeader, Mismatch, Outcome, Suite, SuiteReport, run};
pub use table::{RouteRow, rows};
