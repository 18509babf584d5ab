//! Every metric by name, as resolved handles.
//!
//! The request path never looks a label up: routes and upstreams get their handles once, when a
//! configuration is compiled ([`Metrics::route`], [`Metrics::upstream`]), and the rest are fields.
//! Names, units and labels are the contract of `docs/metrics.md`.

use std::sync::OnceLock;

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The registry and its families.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_duration: HistogramVec,
    upstream_duration: HistogramVec,
    upstream_connections: IntGaugeVec,
    upstream_healthy: IntGaugeVec,
    store_operations: IntCounterVec,
    /// `portcullis_authentications_total{kind,outcome,reason}`.
    pub authentications: IntCounterVec,
    /// `portcullis_authorization_denied_total{route,reason}`.
    pub authorization_denied: IntCounterVec,
    /// `portcullis_credential_cache_total{cache,outcome}`.
    pub credential_cache: IntCounterVec,
    /// `portcullis_store_operation_duration_seconds`.
    pub store_operation_duration: Histogram,
    /// `portcullis_revocation_propagation_seconds`: from a revocation's being written to the store's
    /// having heard that this instance has applied it.
    pub revocation_propagation: Histogram,
    /// `portcullis_revocation_lease_age_seconds`: since the log was last confirmed.
    pub revocation_lease_age: prometheus::Gauge,
    /// `portcullis_fleet_report_failures_total`: reports that the store did not take.
    pub fleet_report_failures: IntCounter,
    /// `portcullis_fleet_report_age_seconds`: since the last that it took; 0 while it does.
    pub fleet_report_age: prometheus::Gauge,
    /// `portcullis_revocation_log_gaps_total{cause}`: times that events may have been missed.
    pub revocation_log_gaps: IntCounterVec,
    /// `portcullis_revocations_restored_total`: revocations that the store had lost.
    pub revocations_restored: IntCounter,
    /// `portcullis_revocation_memory_failures_total`: tries to keep them in a file.
    pub revocation_memory_failures: IntCounter,
    /// `portcullis_revocations_unwitnessed_total`: those that no replica of the store acknowledged.
    pub revocations_unwitnessed: IntCounter,
    /// `portcullis_plaintext_refused_total{credential}`.
    pub plaintext_refused: IntCounterVec,
    tls_handshakes: IntCounterVec,
    /// `portcullis_tls_certificate_expiry_timestamp_seconds{certificate}`.
    pub tls_certificate_expiry: IntGaugeVec,
    /// `portcullis_connections{listener}`.
    pub connections: IntGaugeVec,
    /// `portcullis_worker_connections{worker}`.
    pub worker_connections: IntGaugeVec,
    /// `portcullis_connections_refused_total{reason}`.
    pub connections_refused: IntCounterVec,
    /// `portcullis_inflight_requests`.
    pub inflight_requests: IntGauge,
    /// `portcullis_malformed_requests_total{reason}`.
    pub malformed_requests: IntCounterVec,
    /// `portcullis_jwks_fetches_total{issuer,outcome}`.
    pub jwks_fetches: IntCounterVec,
    /// `portcullis_config_last_reload_success`: 1 or 0.
    pub config_last_reload_success: IntGauge,
    /// `portcullis_config_reloads_total{outcome}`.
    pub config_reloads: IntCounterVec,
    config_info: IntGaugeVec,
    /// `portcullis_oauth_logins_total{outcome}`.
    pub oauth_logins: IntCounterVec,
    /// `portcullis_panics_total`: bugs that cost one request each.
    pub panics: IntCounter,
    /// `portcullis_audit_dropped_total`.
    pub audit_dropped: IntCounter,
    /// `portcullis_access_log_dropped_total`.
    pub access_log_dropped: IntCounter,
    /// `portcullis_usage_dropped_total`.
    pub usage_dropped: IntCounter,
}

/// The handles of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    /// `portcullis_request_duration_seconds{route}`.
    pub duration: Histogram,
    requests: StatusCounters,
}

/// One counter for each method and status, resolved when first used.
///
/// Room for a class of statuses (2xx, 4xx, …) is made with the first of it: a cell for each
/// status from the start took 64 KiB a route, 610 MiB with 10,000 routes.
#[derive(Debug)]
pub struct StatusCounters {
    family: IntCounterVec,
    route: String,
    classes: [OnceLock<Box<[OnceLock<IntCounter>; CLASS]>>; METHODS.len() * CLASSES],
}

/// The handles of one upstream.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    /// `portcullis_upstream_duration_seconds{upstream}`: to the answer's head.
    pub duration: Histogram,
    /// `portcullis_upstream_connections{upstream}`.
    pub connections: IntGauge,
    /// `portcullis_upstream_healthy{upstream}`: 1 or 0.
    pub healthy: IntGauge,
}

/// The handles of one store operation.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// Answered.
    pub ok: IntCounter,
    /// Not answered.
    pub error: IntCounter,
}

/// The negotiated protocol of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// The handshake ended before one was chosen.
    None,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsOutcome {
    /// Not finished in time.
    Deadline,
    /// A protocol error, or the client went away.
    Failed,
    /// Done.
    Ok,
}

/// Methods with a label of their own; any other counts as the last.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];
/// Classes of statuses, 1xx to 5xx, and the statuses of each.
const CLASSES: usize = 5;
const CLASS: usize = 100;

/// From 0.5 ms to 60 s: requests, upstream answers, store look-ups.
const DURATION_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

impl Metrics {
    /// Registers every family.
    ///
    /// # Panics
    /// When a name is registered twice or is not valid: a bug in this function.
    #[rustfmt::skip] // A table: one line for each metric.
    pub fn new() -> Metrics {
        let families = Families {
            registry: Registry::new_custom(Some("portcullis".into()), None)
                .expect("the namespace is valid"),
        };
        let metrics = Metrics {
            requests: families.counters("requests_total", "Answered requests.", &["route", "method", "status"]),
            request_duration: families.histograms("request_duration_seconds", "From a request's head to its answer's end.", &["route"]),
            upstream_duration: families.histograms("upstream_duration_seconds", "From sending a request to its answer's head.", &["upstream"]),
            upstream_connections: families.gauges("upstream_connections", "Open connections to an upstream.", &["upstream"]),
            upstream_healthy: families.gauges("upstream_healthy", "Whether the last exchange with an upstream worked.", &["upstream"]),
            authentications: families.counters("authentications_total", "Credentials looked at.", &["kind", "outcome", "reason"]),
            authorization_denied: families.counters("authorization_denied_total", "Requests of known callers that were not allowed.", &["route", "reason"]),
            credential_cache: families.counters("credential_cache_total", "Look-ups in the credential caches.", &["cache", "outcome"]),
            store_operations: families.counters("store_operations_total", "Calls to the store.", &["op", "outcome"]),
            store_operation_duration: families.histogram("store_operation_duration_seconds", "How long the store took to answer."),
            revocation_propagation: families.histogram("revocation_propagation_seconds", "From a revocation's being written to its being confirmed by this instance."),
            revocation_lease_age: families.gauge("revocation_lease_age_seconds", "Since the revocation log was last confirmed."),
            fleet_report_failures: families.counter("fleet_report_failures_total", "Reports of this instance that the store did not take."),
            fleet_report_age: families.gauge("fleet_report_age_seconds", "Since the store last took a report of this instance, where it does not."),
            revocation_log_gaps: families.counters("revocation_log_gaps_total", "Times that the revocation log did not go on from where it was read to.", &["cause"]),
            revocations_restored: families.counter("revocations_restored_total", "Revocations that the store had lost and was told again."),
            revocation_memory_failures: families.counter("revocation_memory_failures_total", "Failed tries to keep revocations in a file."),
            revocations_unwitnessed: families.register(IntCounter::new("revocations_unwitnessed_total", "Revocations that no replica of the store acknowledged at once.").expect("valid name")),
            plaintext_refused: families.counters("plaintext_refused_total", "Clear-text requests refused, by the kind of credential they exposed.", &["credential"]),
            tls_handshakes: families.counters("tls_handshakes_total", "TLS handshakes.", &["version", "outcome"]),
            tls_certificate_expiry: families.gauges("tls_certificate_expiry_timestamp_seconds", "When a certificate ends.", &["certificate"]),
            connections: families.gauges("connections", "Open client connections.", &["listener"]),
            worker_connections: families.gauges("worker_connections", "Open client connections of a worker.", &["worker"]),
            connections_refused: families.counters("connections_refused_total", "Connections closed at a cap.", &["reason"]),
            inflight_requests: families.register(IntGauge::new("inflight_requests", "Requests being answered.").expect("valid name")),
            malformed_requests: families.counters("malformed_requests_total", "Requests that no parser may read.", &["reason"]),
            jwks_fetches: families.counters("jwks_fetches_total", "Fetches of key sets.", &["issuer", "outcome"]),
            config_last_reload_success: families.register(IntGauge::new("config_last_reload_success", "Whether the last reload took.").expect("valid name")),
            config_reloads: families.counters("config_reloads_total", "Reloads of the configuration.", &["outcome"]),
            config_info: families.gauges("config_info", "The configuration that is live.", &["digest"]),
            oauth_logins: families.counters("oauth_logins_total", "Logins with name and password, by how they ended.", &["outcome"]),
            panics: families.register(IntCounter::new("panics_total", "Bugs, each of which cost one request.").expect("valid name")),
            audit_dropped: families.register(IntCounter::new("audit_dropped_total", "Audit lines that could not be written.").expect("valid name")),
            access_log_dropped: families.counter("access_log_dropped_total", "Access-log lines that could not be kept."),
            usage_dropped: families.counter("usage_dropped_total", "Uses of keys that were counted and could not be kept."),
            registry: families.registry.clone(),
        };
        let build_info = families.gauges("build_info", "The running version.", &["version"]);
        build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        metrics.config_last_reload_success.set(1);
        metrics
    }

    /// The handles of a route.
    pub fn route(&self, route: &str) -> RouteMetrics {
        RouteMetrics {
            duration: self.request_duration.with_label_values(&[route]),
            requests: StatusCounters {
                family: self.requests.clone(),
                route: route.into(),
                classes: [const { OnceLock::new() }; METHODS.len() * CLASSES],
            },
        }
    }

    /// The handles of an upstream.
    pub fn upstream(&self, upstream: &str) -> UpstreamMetrics {
        UpstreamMetrics {
            duration: self.upstream_duration.with_label_values(&[upstream]),
            connections: self.upstream_connections.with_label_values(&[upstream]),
            healthy: self.upstream_healthy.with_label_values(&[upstream]),
        }
    }

    /// The handles of a store operation; `op` is a verb of [`crate::store::Store`].
    pub fn store(&self, op: &'static str) -> StoreMetrics {
        StoreMetrics {
            ok: self.store_operations.with_label_values(&[op, "ok"]),
            error: self.store_operations.with_label_values(&[op, "error"]),
        }
    }

    /// Counts a handshake.
    pub fn tls_handshake(&self, version: TlsVersion, outcome: TlsOutcome) {
        let version = match version {
            TlsVersion::None => "none",
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        };
        let outcome = match outcome {
            TlsOutcome::Deadline => "deadline",
            TlsOutcome::Failed => "failed",
            TlsOutcome::Ok => "ok",
        };
        self.tls_handshakes
            .with_label_values(&[version, outcome])
            .inc();
    }

    /// Names the live configuration; the one before is forgotten.
    pub fn set_config(&self, digest: &str) {
        self.config_info.reset();
        self.config_info.with_label_values(&[digest]).set(1);
    }

    /// The text exposition format, version 0.0.4.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        let families = self.registry.gather();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::error!(%error, "the metrics could not be written");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl RouteMetrics {
    /// Counts one answered request.
    pub fn count(&self, method: &http::Method, status: http::StatusCode) {
        self.requests.count(method, status);
    }
}

impl StatusCounters {
    fn count(&self, method: &http::Method, status: http::StatusCode) {
        let other = METHODS.len() - 1;
        let method = METHODS
            .iter()
            .position(|name| *name == method.as_str())
            .unwrap_or(other);
        let status = usize::from(status.as_u16()).clamp(100, 599);
        let class = &self.classes[method * CLASSES + status / CLASS - 1];
        let cells = class.get_or_init(|| Box::new([const { OnceLock::new() }; CLASS]));
        let cell = &cells[status % CLASS];
        cell.get_or_init(|| {
            self.family
                .with_label_values(&[&self.route, METHODS[method], &status.to_string()])
        })
        .inc();
    }
}

/// Makes families and registers them.
struct Families {
    registry: Registry,
}

impl Families {
    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.registry
            .register(Box::new(collector.clone()))
            .expect("each name is registered once");
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help).expect("valid name"))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels).expect("valid name"))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels).expect("valid name"))
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Gauge {
        let family = self.register(GaugeVec::new(Opts::new(name, help), &[]).expect("valid name"));
        family.with_label_values::<&str>(&[])
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS.to_vec());
        self.register(HistogramVec::new(opts, labels).expect("valid name"))
    }

    fn histogram(&self, name: &str, help: &str) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS.to_vec());
        self.register(Histogram::with_opts(opts).expect("valid name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_takes_little_memory_until_it_is_asked_for() {
        let route = Metrics::new().route("r");
        assert!(size_of_val(&route.requests) <= 1024);
        assert!(route.requests.classes.iter().all(|c| c.get().is_none()));
        // Also the outermost statuses that `http` can hold have a cell.
        for status in [100, 599, 600, 999] {
            let status = http::StatusCode::from_u16(status).expect("three digits");
            route.count(&http::Method::GET, status);
        }
        let room = route.requests.classes.iter();
        assert_eq!(room.filter(|class| class.get().is_some()).count(), 2);
    }

    #[test]
    fn a_request_shows_under_its_route_method_and_status() {
        let metrics = Metrics::new();
        let route = metrics.route("domains-read");
        route.count(&http::Method::GET, http::StatusCode::OK);
        route.count(
            &http::Method::from_bytes(b"BREW").expect("token"),
            http::StatusCode::OK,
        );
        let text = metrics.render();
        for line in [
            r#"portcullis_requests_total{method="GET",route="domains-read",status="200"} 1"#,
            r#"portcullis_requests_total{method="other",route="domains-read",status="200"} 1"#,
            concat!(
                r#"portcullis_build_info{version=""#,
                env!("CARGO_PKG_VERSION"),
                r#""} 1"#
            ),
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
        }
    }
}
