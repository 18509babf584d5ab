//! The metrics and health listener: `/metrics`, `/healthz`, `/readyz`, `/version`, and nothing
//! else (security.md row 109: an admin API behind a metrics port is a way in).

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::AdminError;
use super::listener::{Listener, Service, json, serve, whole};
use super::live::LiveGateway;
use super::process;
use crate::observe::{Actor, Metrics};

/// What the listener tells.
pub struct Vitals {
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Whether traffic should come.
    pub gateway: Arc<dyn LiveGateway>,
}

/// The listener: bound, not yet answering.
#[derive(Debug)]
pub struct MetricsListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsListener {
    /// Binds.
    pub async fn bind(address: SocketAddr) -> Result<MetricsListener, AdminError> {
        let failed = |source| AdminError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(MetricsListener { listener, address })
    }

    /// Where it listens; the port is the real one, also if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`.
    pub async fn serve(self, vitals: Vitals, shutdown: impl Future<Output = ()>) {
        serve(Listener::Tcp(self.listener), Arc::new(vitals), shutdown).await;
    }
}

impl Service for Vitals {
    async fn answer(&self, _actor: Actor, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let known = matches!(
            request.uri().path(),
            "/metrics" | "/healthz" | "/readyz" | "/version" | "/internal/jwks.json"
        );
        if known && !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed();
        }
        match request.uri().path() {
            "/metrics" => self.exposition(),
            "/healthz" => whole(StatusCode::OK, "text/plain; charset=utf-8", "ok"),
            "/readyz" => self.readiness(),
            "/version" => version(),
            // For upstreams with `identity: jwt`; public keys only.
            "/internal/jwks.json" => json(StatusCode::OK, self.gateway.internal_jwks().to_string()),
            _ => refusal(StatusCode::NOT_FOUND, "not_found", "There is nothing here"),
        }
    }
}

impl Vitals {
    fn exposition(&self) -> Response<Full<Bytes>> {
        let text = self.metrics.render() + &process::exposition();
        whole(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            text,
        )
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let readiness = self.gateway.readiness();
        let status = if readiness.missing.is_empty() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        json(status, readiness.to_json().to_string())
    }
}

fn version() -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "name": "portcullis", "version": env!("CARGO_PKG_VERSION") });
    json(StatusCode::OK, body.to_string())
}

fn method_not_allowed() -> Response<Full<Bytes>> {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = refusal(status, "method_not_allowed", "Only GET and HEAD");
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn refusal(status: StatusCode, error: &str, message: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": error, "message": message });
    json(status, body.to_string())
}
