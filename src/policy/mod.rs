//! The policy, looked at without a request: `routes`, `explain`, and later `test` and `diff`.
