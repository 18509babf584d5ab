//! Minimal Pingora peer for the benches.
//! usage: bench-pingora AUTH(none|apikey|jwt) LISTEN UPSTREAM CERT KEY WORKERS CREDS_DIR
use async_trait::async_trait;
use bytes::Bytes;
use jsonwebtoken::{decode, decode_header, Algorithm, DecodingKey, Validation};
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;
use pingora::tls::ssl::SslVersion;
use std::collections::HashMap;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
struct Proxy {
    auth: Auth,
    upstream: String,
}
fn required(method: &http::Method, path: &str) -> Option<(&'static str, &'static str)> {
    let service = path.strip_prefix("/v1/")?.split('/').next()?;
    let service = ["domains", "vps", "email", "billing"]
        .into_iter()
        .find(|s| *s == service)?;
    let read = matches!(*method, http::Method::GET | http::Method::HEAD);
    Some((service, if read { "read" } else { "write" }))
}
fn holds<'a>(mut scopes: impl Iterator<Item = &'a str>, need: (&str, &str)) -> bool {
    scopes.any(|s| s.split_once(':') == Some(need))
}
async fn deny(s: &mut Session, code: u16) -> Result<bool> {
    let body: &[u8] = match code {
        401 => br#"{"error":"unauthorized","message":"Invalid or missing API key"}"#,
        403 => br#"{"error":"forbidden","message":"Insufficient permissions for this action"}"#,
        _ => br#"{"error":"not_found"}"#,
    };
    let mut h = ResponseHeader::build(code, Some(2))?;
    h.insert_header("content-type", "application/json")?;
    h.insert_header("content-length", body.len())?;
    s.write_response_header(Box::new(h), false).await?;
    s.write_response_body(Some(Bytes::from_static(body)), true)
        .await?;
    Ok(true)
}
#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();
    fn new_ctx(&self) {}
    async fn upstream_peer(&self, _s: &mut Session, _c: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(
            self.upstream.as_str(),
            false,
            String::new(),
        )))
    }
    async fn request_filter(&self, s: &mut Session, _c: &mut ()) -> Result<bool> {
        let verdict = {
            let r = s.req_header();
            match &self.auth {
                Auth::None => Ok(()),
                auth => match required(&r.method, r.uri.path()) {
                    None => Err(404),
                    Some(need) => match auth {
                        Auth::None => Ok(()),
                        Auth::ApiKey(map) => match r
                            .headers
                            .get("x-api-key")
                            .and_then(|k| k.to_str().ok())
                            .and_then(|k| map.get(k))
                        {
                            None => Err(401),
                            Some(sc) if holds(sc.iter().map(|s| s.as_str()), need) => Ok(()),
                            Some(_) => Err(403),
                        },
                        Auth::Jwt { rs, es } => {
                            let token = r
                                .headers
                                .get("authorization")
                                .and_then(|k| k.to_str().ok())
                                .and_then(|k| k.strip_prefix("Bearer "));
                            match token.and_then(|t| {
                                let (k, v) = match decode_header(t).ok()?.alg {
                                    Algorithm::RS256 => rs,
                                    Algorithm::ES256 => es,
                                    _ => return None,
                                };
                                decode::<Claims>(t, k, v).ok()
                            }) {
                                None => Err(401),
                                Some(d) if holds(d.claims.scope.split(' '), need) => Ok(()),
                                Some(_) => Err(403),
                            }
                        }
                    },
                },
            }
        };
        match verdict {
            Ok(()) => Ok(false),
            Err(code) => deny(s, code).await,
        }
    }
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
    let conf = ServerConf {
        threads: a[6].parse().unwrap(),
        upstream_keepalive_pool_size: 2048,
        ..Default::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut svc = http_proxy_service(
        &server.configuration,
        Proxy {
            auth,
            upstream: a[3].clone(),
        },
    );
    let mut tls = TlsSettings::intermediate(&a[4], &a[5]).unwrap();
    tls.enable_h2();
    tls.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap();
    svc.add_tls_with_settings(&a[2], None, tls);
    server.add_service(svc);
    server.run_forever();
}
