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
        let failed = |source| AdminError::Bind {
            key: "metrics",
            address,
            source,
        };
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
    type Body = Full<Bytes>;

    async fn answer(&self, _actor: Actor, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let known = matches!(
            request.uri().path(),
            "/metrics" | "/healthz" | "/readyz" | "/version" | "/internal/jwks.json"
        );
        if known && !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed();
        }
        match request.uri().path() {
            "/metrics" => exposition(Arc::clone(&self.metrics)).await,
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

/// Written on a thread of its own: with 10,000 routes that takes 0.2 s, for which the control runtime
/// would look up no key and hear of no revocation.
async fn exposition(metrics: Arc<Metrics>) -> Response<Full<Bytes>> {
    let write = move || metrics.render() + &process::exposition();
    match tokio::task::spawn_blocking(write).await {
        Ok(text) => whole(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            text,
        ),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            refusal(status, "internal", "The metrics could not be written")
        }
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

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::task::{spawn_blocking, yield_now};

    use super::*;

    #[test]
    fn a_scrape_leaves_the_runtime_to_others() {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(1)
            .build();
        runtime.expect("a runtime").block_on(async {
            // The one thread that could write is busy, so a scrape must wait, and nobody else.
            let (free, busy) = std::sync::mpsc::channel::<()>();
            let other = spawn_blocking(move || busy.recv());
            let scrape = tokio::spawn(exposition(Arc::new(Metrics::new())));
            for _ in 0..10 {
                yield_now().await;
            }
            assert!(!scrape.is_finished());
            free.send(()).expect("it waits");
            assert_eq!(scrape.await.expect("no panic").status(), StatusCode::OK);
            other.await.expect("no panic").expect("freed");
        });
    }
}
