//! Four small upstreams that answer with what they received, so that one can see what arrives:
//! identity headers, and no credential. And the page of the demo's app ([`super::callback`]).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::callback::Callback;

/// The seed's services.
pub(super) const SERVICES: [&str; 4] = ["domains", "vps", "email", "billing"];

/// The upstreams, on a thread of their own until this is dropped.
pub(super) struct Upstreams {
    addresses: UpstreamAddresses,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where they listen.
#[derive(Clone, Copy)]
pub(super) struct UpstreamAddresses {
    /// In the order of [`SERVICES`].
    pub(super) services: [SocketAddr; 4],
    pub(super) app: SocketAddr,
}

/// What answers on a connection.
#[derive(Clone)]
enum Upstream {
    App(Arc<Callback>),
    Service(&'static str),
}

impl Upstreams {
    /// Binds ports of the system's choice on loopback.
    pub(super) fn start(app: &Arc<Callback>) -> std::io::Result<Upstreams> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let bind = || runtime.block_on(TcpListener::bind(("127.0.0.1", 0)));
        let mut listeners = Vec::with_capacity(SERVICES.len() + 1);
        let mut services = [SocketAddr::from(([127, 0, 0, 1], 0)); 4];
        for (address, service) in services.iter_mut().zip(SERVICES) {
            let listener = bind()?;
            *address = listener.local_addr()?;
            listeners.push((Upstream::Service(service), listener));
        }
        let listener = bind()?;
        let addresses = UpstreamAddresses {
            services,
            app: listener.local_addr()?,
        };
        listeners.push((Upstream::App(Arc::clone(app)), listener));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("demo-upstreams".into())
            .spawn(move || {
                runtime.block_on(async move {
                    for (upstream, listener) in listeners {
                        tokio::spawn(serve(upstream, listener));
                    }
                    // An error is: the sender was dropped, which is the same wish.
                    let _ = stopped.await;
                });
            })?;
        Ok(Upstreams {
            addresses,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> &UpstreamAddresses {
        &self.addresses
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(upstream: Upstream, listener: TcpListener) {
    while let Ok((tcp, _)) = listener.accept().await {
        let upstream = upstream.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(&upstream, request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(tcp), answer);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a demo upstream broke");
            }
        });
    }
}

async fn answer(
    upstream: &Upstream,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    match upstream {
        Upstream::App(callback) => Ok(callback.answer(request.uri().query().unwrap_or_default())),
        Upstream::Service(service) => Ok(echo(service, request).await),
    }
}

async fn echo(service: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_or(0, |body| body.to_bytes().len());
    let text = json!({
        "service": service,
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
        "query": parts.uri.query(),
        "received": received(&parts.headers),
        "body_bytes": bytes,
    });
    let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Every header field; several of one name are joined.
fn received(headers: &header::HeaderMap) -> Value {
    let mut all = serde_json::Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter();
        let values: Vec<_> = values
            .map(|v| String::from_utf8_lossy(v.as_bytes()))
            .collect();
        all.insert(name.as_str().into(), values.join(", ").into());
    }
    all.into()
}
