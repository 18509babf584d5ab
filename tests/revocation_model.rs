//! No schedule of requests, loads and the follower brings a changed credential back:
//! docs/decisions/0023-model-checker.md. `PORTCULLIS_MODEL_ITERATIONS=200000` looks deeper.
//!
//! Each mutant breaks one line of the protocol, and must be caught by a scenario: what the scenarios
//! look for can be seen.

use portcullis_model::real::scenarios;
use portcullis_model::{explore, hunt};

/// A test for each scenario, with the protocol as it is.
macro_rules! holds {
    ($($scenario:ident)*) => {
        mod holds {
            $(#[test]
            fn $scenario() {
                super::explore(super::scenarios::$scenario);
            })*
        }
    };
}

/// A test for each mutant, with the scenario that catches it and what is then said.
macro_rules! is_caught {
    ($($mutant:ident by $scenario:ident: $message:literal;)*) => {
        mod is_caught {
            $(#[test]
            #[should_panic(expected = $message)]
            fn $mutant() {
                super::hunt(portcullis_model::$mutant::scenarios::$scenario);
            })*
        }
    };
}

holds! {
    changes_are_forgotten
    changes_are_forgotten_beside_refreshes
    changes_are_flushed
    what_is_new_is_not_absent
    a_load_across_a_change_is_void
    a_load_across_a_gap_is_void
    a_store_that_fails_is_no_verdict
    nobody_waits_for_a_lost_load
    what_is_denied_stays_denied
}

is_caught! {
    validity_taken_after_the_load by changes_are_forgotten: "was known";
    load_joined_after_the_change by changes_are_forgotten: "was known";
    load_joined_after_the_flush by changes_are_flushed: "was known";
    load_across_a_change_taken by a_load_across_a_change_is_void: "a load across a change was taken";
    hit_taken_unchecked by changes_are_forgotten: "was known";
    absence_taken_unchecked by what_is_new_is_not_absent: "a new key is taken for none";
    change_not_counted by changes_are_forgotten: "was known";
    load_that_nobody_runs by nobody_waits_for_a_lost_load: "deadlock";
    denial_forgotten_with_the_next by what_is_denied_stays_denied: "the first was let through";
}
