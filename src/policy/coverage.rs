//! What of a policy its tests have tried: routes × methods × scopes.
//!
//! For each route and method there is something to try: that those get in who should, and that each
//! single thing that is asked for is asked for. Invariant: only a test that passed counts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::decision::{Decision, Policy, Verdict};
use super::suite::Case;
use crate::auth::{Bearer as _, Supposed};
use crate::gateway::{Access, Reason};
use crate::scope::ScopeSet;

/// How much was tried.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// How many things there are to try.
    pub total: usize,
    /// How many were.
    pub covered: usize,
    /// The others.
    pub missing: Vec<Cell>,
}

/// One thing to try.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cell {
    /// The route.
    pub route: String,
    /// The method.
    pub method: String,
    /// By whom, and what should come out.
    pub trial: String,
}

/// Notes what was tried.
pub(super) struct Tally<'a> {
    access: BTreeMap<&'a str, &'a Access>,
    cells: Vec<Cell>,
    seen: BTreeSet<Cell>,
}

const ALLOWED: &str = "allowed";
const NOBODY: &str = "refused without a credential";

impl<'a> Tally<'a> {
    pub(super) fn new(policy: &'a Policy) -> Tally<'a> {
        let mut tally = Tally {
            access: BTreeMap::new(),
            cells: Vec::new(),
            seen: BTreeSet::new(),
        };
        for (route, _) in policy.routes() {
            let settings = route.settings();
            tally.access.insert(&settings.name, &settings.access);
            for method in &settings.methods {
                let cell = |trial| Cell {
                    route: settings.name.clone(),
                    method: method.to_string(),
                    trial,
                };
                tally
                    .cells
                    .extend(trials(&settings.access).into_iter().map(cell));
            }
        }
        tally
    }

    pub(super) fn note(&mut self, case: &Case, decision: &Decision<'_>) {
        let Some((route, access)) = decision
            .route
            .and_then(|route| Some((route, self.access.get(route)?)))
        else {
            return;
        };
        let caller = case.caller.as_ref();
        let shown = tried(access, caller, decision.verdict);
        self.seen.extend(shown.into_iter().map(|trial| Cell {
            route: route.to_owned(),
            method: case.method.clone(),
            trial,
        }));
    }

    pub(super) fn coverage(self) -> Coverage {
        let Tally { cells, seen, .. } = self;
        let total = cells.len();
        let missing: Vec<Cell> = cells
            .into_iter()
            .filter(|cell| !seen.contains(cell))
            .collect();
        Coverage {
            total,
            covered: total - missing.len(),
            missing,
        }
    }
}

/// What there is to try of an access rule.
fn trials(access: &Access) -> Vec<String> {
    let refused = [NOBODY.to_owned()];
    match access {
        Access::Public { .. } => vec![ALLOWED.into()],
        Access::Authenticated => [ALLOWED.into()].into_iter().chain(refused).collect(),
        Access::Scopes(required) => [ALLOWED.into()]
            .into_iter()
            .chain(required.names().map(lacking))
            .chain(refused)
            .collect(),
        Access::AnyScope(accepted) => accepted
            .names()
            .map(by)
            .chain([lacking_all(accepted)])
            .chain(refused)
            .collect(),
    }
}

/// What a request has tried of an access rule.
fn tried(access: &Access, caller: Option<&Supposed>, verdict: Verdict) -> Vec<String> {
    let granted = caller.map(|caller| caller.scopes().clone());
    match (verdict, access, granted) {
        (Verdict::Deny(Reason::Missing), _, _) => vec![NOBODY.into()],
        (Verdict::Allow, Access::AnyScope(accepted), Some(granted)) => {
            let used = accepted.intersection(&granted);
            let mut names = used.names();
            match (names.next(), names.next()) {
                (Some(only), None) => vec![by(only)],
                _ => Vec::new(),
            }
        }
        (Verdict::Allow, _, _) => vec![ALLOWED.into()],
        (Verdict::Deny(Reason::Scope), Access::Scopes(required), Some(granted)) => {
            let mut missed = required.names().filter(|name| !has(&granted, name));
            match (missed.next(), missed.next()) {
                (Some(only), None) => vec![lacking(only)],
                _ => Vec::new(),
            }
        }
        (Verdict::Deny(Reason::Scope), Access::AnyScope(accepted), _) => {
            vec![lacking_all(accepted)]
        }
        _ => Vec::new(),
    }
}

fn has(granted: &ScopeSet, name: &str) -> bool {
    granted.names().any(|granted| granted == name)
}

fn by(scope: &str) -> String {
    format!("allowed by {scope} alone")
}

fn lacking(scope: &str) -> String {
    format!("refused for lack of {scope} alone")
}

fn lacking_all(accepted: &ScopeSet) -> String {
    format!("refused for lack of all of {accepted}")
}
