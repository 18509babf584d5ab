//! Four small upstreams that answer with what they received, so that one can see what arrives:
//! identity headers, and no credential.

use std::convert::Infallible;
use std::net::SocketAddr;
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

/// The seed's services.
pub(super) const SERVICES: [&str; 4] = ["domains", "vps", "email", "billing"];

/// The upstreams, on a thread of their own until this is dropped.
pub(super) struct Upstreams {
    addresses: [SocketAddr; 4],
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstreams {
    /// Binds ports of the system's choice on loopback.
    pub(super) fn start() -> std::io::Result<Upstreams> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listeners: Vec<TcpListener> = runtime.block_on(async {
            let mut all = Vec::with_capacity(SERVICES.len());
            for _ in SERVICES {
                all.push(TcpListener::bind(("127.0.0.1", 0)).await?);
            }
            Ok::<_, std::io::Error>(all)
        })?;
        let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); 4];
        for (address, listener) in addresses.iter_mut().zip(&listeners) {
            *address = listener.local_addr()?;
        }
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("demo-upstreams".into())
            .spawn(move || {
                runtime.block_on(async move {
                    for (service, listener) in SERVICES.into_iter().zip(listeners) {
                        tokio::spawn(serve(service, listener));
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

    /// In the order of [`SERVICES`].
    pub(super) fn addresses(&self) -> &[SocketAddr; 4] {
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

async fn serve(service: &'static str, listener: TcpListener) {
    while let Ok((tcp, _)) = listener.accept().await {
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(service, request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(tcp), answer);
            if let Err(error) = connection.await {
                tracing::debug!(%error, service, "a connection to a demo upstream broke");
            }
        });
    }
}

async fn answer(
    service: &'static str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
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
    Ok(response)
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
