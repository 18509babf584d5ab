//! What a request may cost. For now: the size of its body.
//!
//! Invariant: only [`admit`] makes an [`Admitted`], and only that can be forwarded.

use std::time::Duration;

use hyper::body::Body as _;

use super::{Authorized, GatewaySettings, Reason, Rejection};

/// A request that may be carried out and is within its limits.
///
/// ```compile_fail
/// // Only `limit::admit` makes one: the fields are private and there is no constructor.
/// let _ = portcullis::gateway::Admitted { authorized: todo!(), max_body: 0 };
/// ```
#[derive(Debug)]
pub struct Admitted {
    pub(super) authorized: Authorized,
    /// Most bytes of body that may pass; a declared length is within it already.
    pub(super) max_body: u64,
    /// How long its body may pause.
    pub(super) body_idle: Duration,
}

/// Refuses a declared length beyond the limit before anything is sent to the upstream; a body of
/// unknown length is counted as it passes.
pub(super) fn admit(
    authorized: Authorized,
    settings: &GatewaySettings,
) -> Result<Admitted, Rejection> {
    let max_body = authorized
        .route
        .settings()
        .max_body
        .unwrap_or(settings.max_body);
    if authorized.intake.body.size_hint().lower() > max_body {
        return Err(Reason::PayloadTooLarge.into());
    }
    Ok(Admitted {
        authorized,
        max_body,
        body_idle: settings.body_idle,
    })
}
