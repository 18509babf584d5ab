//! May this caller do this? Scopes, address and environment, on every request.
//!
//! Not here: who the caller is ([`crate::auth`]). Invariant: only [`authorize`] makes an
//! [`Authorized`]; what a route needs and what a caller has are compared here and nowhere else,
//! by live requests and by `explain` alike.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Access, Intake, Reason, Rejection, Route};
use crate::auth::{Bearer, Principal};
use crate::environment::Environment;
use crate::scope::ScopeSet;

/// Who wants something.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The holder of a verified credential.
    Known(Principal),
    /// Anyone: the route is public, and no credential was looked at.
    Public,
}

/// A request that may be carried out.
///
/// ```compile_fail
/// // Only `authorize` makes one: the fields are private and there is no constructor.
/// let _ = portcullis::gateway::Authorized { intake: todo!(), route: todo!(), caller: todo!() };
/// ```
#[derive(Debug)]
pub struct Authorized {
    pub(super) intake: Intake,
    pub(super) route: Arc<Route>,
    pub(super) caller: Caller,
}

/// Lets a request through, or says why not. Either is counted as a use of a key.
pub(super) fn authorize(
    intake: Intake,
    route: &Arc<Route>,
    caller: Caller,
    upstream: Environment,
) -> Result<Authorized, Rejection> {
    if let Caller::Known(principal) = &caller {
        for check in CHECKS {
            let asked = Asked {
                route,
                client: intake.client(),
                upstream,
            };
            if !check.allows(&asked, principal) {
                check.count(route, principal);
                return Err(check.rejection(route));
            }
        }
        principal.count_use(route.settings().access.scopes());
    }
    Ok(Authorized {
        intake,
        route: Arc::clone(route),
        caller,
    })
}

/// One of the checks, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The credential may be used from the client's address.
    Address,
    /// A test credential reaches only a test upstream.
    Environment,
    /// The credential has the route's scopes.
    Scope,
}

/// Every check in order.
pub const CHECKS: [Check; 3] = [Check::Address, Check::Environment, Check::Scope];

/// What a caller is checked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The route.
    pub route: &'a Route,
    /// The client's address.
    pub client: IpAddr,
    /// The world of the route's upstream.
    pub upstream: Environment,
}

impl Check {
    /// Whether the check lets the caller through.
    pub fn allows(self, asked: &Asked<'_>, bearer: &impl Bearer) -> bool {
        match self {
            Check::Address => bearer.allows_address(asked.client),
            Check::Environment => {
                bearer.environment() == Environment::Live || asked.upstream == Environment::Test
            }
            Check::Scope => allows_scopes(&asked.route.settings().access, bearer.scopes()),
        }
    }

    /// The reason it gives.
    pub const fn reason(self) -> Reason {
        match self {
            Check::Address => Reason::Address,
            Check::Environment => Reason::Environment,
            Check::Scope => Reason::Scope,
        }
    }

    /// Counts that it did not let this caller through.
    fn count(self, route: &Route, principal: &Principal) {
        if let (Check::Scope, Some(needed)) = (self, route.settings().access.scopes()) {
            principal.count_missing(needed);
        }
    }

    fn rejection(self, route: &Route) -> Rejection {
        let challenge = match self {
            Check::Scope => route.challenges().scope.clone(),
            Check::Address | Check::Environment => None,
        };
        Rejection::with_challenge(self.reason(), challenge)
    }
}

/// Whether these scopes are enough.
pub fn allows_scopes(access: &Access, granted: &ScopeSet) -> bool {
    match access {
        Access::Scopes(required) => required.is_subset_of(granted),
        Access::AnyScope(accepted) => accepted.intersects(granted),
        Access::Authenticated | Access::Public { .. } => true,
    }
}
