//! Metrics and logs. What is counted and written here holds no secret.
//!
//! Not here: what is worth counting; each room calls its own handle. Invariant: every metric
//! label comes from an enum or from a name in the config, so the number of series is bounded by
//! the config, never by traffic.

mod access_log;
mod audit_log;
mod causes;
mod metrics;

pub use access_log::{AccessLine, AccessLog, AccessLogSettings, AccessLogSink, AccessLogTarget};
pub use audit_log::{
    Actor, AuditAction, AuditCopy, AuditEvent, AuditLog, AuditLogError, AuditOutcome,
    AuditSettings, Finding, Flaw, Head, Verification, verify as verify_audit_log,
};
pub use causes::Causes;
pub use metrics::{
    Metrics, RouteMetrics, StatusCounters, StoreMetrics, TlsOutcome, TlsVersion, UpstreamMetrics,
};
