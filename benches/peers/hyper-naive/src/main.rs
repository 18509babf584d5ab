//! "What anyone would write": hyper + hyper-util legacy client + tokio-rustls.
//! usage: bench-hyper-naive AUTH(none|apikey|jwt) LISTEN UPSTREAM CERT KEY WORKERS CREDS_DIR
use http_body_util::{combinators::BoxBody, BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    header,
    service::service_fn,
    Method, Request, Response, StatusCode, Uri,
};
use hyper_util::{
    client::legacy::{connect::HttpConnector, Client},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use jsonwebtoken::{decode, decode_header, Algorithm, DecodingKey, Validation};
use std::{collections::HashMap, sync::Arc};
use tokio_rustls::{rustls, TlsAcceptor};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Body = BoxBody<Bytes, hyper::Error>;
#[derive(serde::Deserialize)]
struct Claims {
    scope: String,
}
enum Auth {
    None,
    ApiKey(HashMap<String, Vec<String>>),
    Jwt {
        rs: (DecodingKey, Validation),
        es: (DecodingKey, Validation),
    },
}
struct App {
    auth: Auth,
    upstream: String,
    client: Client<HttpConnector, Incoming>,
}
fn required(method: &Method, path: &str) -> Option<(&'static str, &'static str)> {
    let service = path.strip_prefix("/v1/")?.split('/').next()?;
    let service = ["domains", "vps", "email", "billing"]
        .into_iter()
        .find(|s| *s == service)?;
    Some((
        service,
        if matches!(*method, Method::GET | Method::HEAD) {
            "read"
        } else {
            "write"
        },
    ))
}
fn holds<'a>(mut scopes: impl Iterator<Item = &'a str>, need: (&str, &str)) -> bool {
    scopes.any(|s| s.split_once(':') == Some(need))
}
fn check(auth: &Auth, r: &Request<Incoming>) -> Result<(), u16> {
    if let Auth::None = auth {
        return Ok(());
    }
    let need = required(r.method(), r.uri().path()).ok_or(404u16)?;
    let h = |n: &str| r.headers().get(n).and_then(|v| v.to_str().ok());
    let ok = match auth {
        Auth::None => true,
        Auth::ApiKey(map) => holds(
            h("x-api-key")
                .and_then(|k| map.get(k))
                .ok_or(401u16)?
                .iter()
                .map(|s| s.as_str()),
            need,
        ),
        Auth::Jwt { rs, es } => {
            let t = h("authorization")
                .and_then(|v| v.strip_prefix("Bearer "))
                .ok_or(401u16)?;
            let (k, v) = match decode_header(t).map_err(|_| 401u16)?.alg {
                Algorithm::RS256 => rs,
                Algorithm::ES256 => es,
                _ => return Err(401),
            };
            holds(
                decode::<Claims>(t, k, v)
                    .map_err(|_| 401u16)?
                    .claims
                    .scope
                    .split(' '),
                need,
            )
        }
    };
    ok.then_some(()).ok_or(403)
}
fn plain(code: u16) -> Response<Body> {
    let b: &'static str = match code {
        401 => r#"{"error":"unauthorized","message":"Invalid or missing API key"}"#,
        403 => r#"{"error":"forbidden","message":"Insufficient permissions for this action"}"#,
        _ => r#"{"error":"error"}"#,
    };
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Full::from(b).map_err(|e| match e {}).boxed())
        .unwrap()
}
async fn handle(app: Arc<App>, mut r: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    if let Err(code) = check(&app.auth, &r) {
        return Ok(plain(code));
    }
    let pq = r.uri().path_and_query().map(|p| p.as_str()).unwrap_or("/");
    let host = r.uri().host().map(str::to_string);
    let Ok(uri) = format!("http://{}{}", app.upstream, pq).parse::<Uri>() else {
        return Ok(plain(400));
    };
    *r.uri_mut() = uri;
    *r.version_mut() = hyper::Version::HTTP_11;
    if let (Some(h), None) = (host, r.headers().get(header::HOST)) {
        r.headers_mut().insert(header::HOST, h.parse().unwrap());
    }
    for h in [
        "connection",
        "keep-alive",
        "te",
        "upgrade",
        "proxy-connection",
    ] {
        r.headers_mut().remove(h);
    }
    Ok(match app.client.request(r).await {
        Ok(mut p) => {
            p.headers_mut().remove("connection");
            *p.version_mut() = hyper::Version::HTTP_11;
            p.map(|b| b.boxed())
        }
        Err(_) => plain(StatusCode::BAD_GATEWAY.as_u16()),
    })
}
fn validation(a: Algorithm) -> Validation {
    let mut v = Validation::new(a);
    v.set_issuer(&["https://auth.bench.test"]);
    v.set_audience(&["portcullis-bench"]);
    v
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let read = |f: &str| std::fs::read(format!("{}/{}", a[7], f)).unwrap();
    let auth = match a[1].as_str() {
        "apikey" => Auth::ApiKey(
            String::from_utf8(read("keys.tsv"))
                .unwrap()
                .lines()
                .map(|l| {
                    let (k, s) = l.split_once('\t').unwrap();
                    (k.to_string(), s.split(' ').map(str::to_string).collect())
                })
                .collect(),
        ),
        "jwt" => Auth::Jwt {
            rs: (
                DecodingKey::from_rsa_pem(&read("rs256.pub.pem")).unwrap(),
                validation(Algorithm::RS256),
            ),
            es: (
                DecodingKey::from_ec_pem(&read("es256.pub.pem")).unwrap(),
                validation(Algorithm::ES256),
            ),
        },
        _ => Auth::None,
    };
    let pem = |f: &str| std::io::BufReader::new(std::fs::File::open(f).unwrap());
    let certs = rustls_pemfile::certs(&mut pem(&a[4]))
        .map(|c| c.unwrap())
        .collect();
    let key = rustls_pemfile::private_key(&mut pem(&a[5]))
        .unwrap()
        .unwrap();
    let mut tls = rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let rt = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(a[6].parse().unwrap())
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(async move {
        let mut con = HttpConnector::new();
        con.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(2048)
            .build(con);
        let app = Arc::new(App {
            auth,
            upstream: a[3].clone(),
            client,
        });
        let l = tokio::net::TcpListener::bind(&a[2]).await.unwrap();
        loop {
            let Ok((s, _)) = l.accept().await else {
                continue;
            };
            let (acceptor, app) = (acceptor.clone(), app.clone());
            tokio::spawn(async move {
                let _ = s.set_nodelay(true);
                let Ok(s) = acceptor.accept(s).await else {
                    return;
                };
                let svc = service_fn(move |r| handle(app.clone(), r));
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(s), svc)
                    .await;
            });
        }
    });
}
