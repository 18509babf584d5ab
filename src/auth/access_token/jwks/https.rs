//! One GET over TLS: no proxy, no redirect, no kept connection, everything bounded.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, HOST, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::token::jwt::MAX_SET_LEN;

use super::super::AccessTokensError;
use super::fetch::{Document, FetchError, Origin};
use super::schedule::max_age;

/// For name look-up, TCP and TLS.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// For everything.
const TOTAL_DEADLINE: Duration = Duration::from_secs(5);

/// An `https://` URL.
pub(super) struct HttpsOrigin {
    uri: Uri,
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    tls: TlsConnector,
}

/// Why a key set URL is not one to fetch from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJwksUrl {
    /// Not an absolute URL with a host.
    #[error("it is not an absolute URL with a host name or address")]
    Malformed,
    /// Keys that come in clear text are anyone's keys.
    #[error("it is not https")]
    Scheme,
    /// User names and passwords in URLs end up in logs.
    #[error("it has a user name or password in it")]
    UserInfo,
}

impl HttpsOrigin {
    pub(super) fn new(
        issuer: &str,
        url: &str,
        ca: Option<&Path>,
    ) -> Result<HttpsOrigin, AccessTokensError> {
        let (uri, host) = parse(url).map_err(|source| invalid(issuer, source))?;
        let server_name = ServerName::try_from(host.clone())
            .map_err(|_| invalid(issuer, InvalidJwksUrl::Malformed))?;
        let roots = match ca {
            Some(path) => private_roots(path)?,
            None => public_roots(),
        };
        Ok(HttpsOrigin {
            port: uri.port_u16().unwrap_or(443),
            uri,
            host,
            server_name,
            tls: TlsConnector::from(Arc::new(client_config(roots))),
        })
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, FetchError> {
        let connect = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
            self.tls.connect(self.server_name.clone(), tcp).await
        };
        match timeout(CONNECT_DEADLINE, connect).await {
            Ok(connected) => connected.map_err(FetchError::Connect),
            Err(_) => Err(FetchError::Deadline),
        }
    }

    async fn exchange(&self, stream: TlsStream<TcpStream>) -> Result<Document, FetchError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(FetchError::Exchange)?;
        let mut answer = pin!(async {
            let response = sender.send_request(self.request()).await;
            document(response.map_err(FetchError::Exchange)?).await
        });
        // The connection is driven here and not by a task of its own: it ends with this fetch.
        tokio::select! {
            document = &mut answer => document,
            // Closed behind a complete answer: what was read is still to be taken.
            _ = connection => answer.await,
        }
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let authority = self
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        Request::get(self.uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(HOST, authority)
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(
                USER_AGENT,
                concat!("portcullis/", env!("CARGO_PKG_VERSION")),
            )
            .header(CONNECTION, "close")
            .body(Empty::new())
            .expect("path and authority come from a parsed URI")
    }
}

#[async_trait]
impl Origin for HttpsOrigin {
    async fn fetch(&self) -> Result<Document, FetchError> {
        let fetch = async { self.exchange(self.connect().await?).await };
        match timeout(TOTAL_DEADLINE, fetch).await {
            Ok(fetched) => fetched,
            Err(_) => Err(FetchError::Deadline),
        }
    }
}

/// Only a 200 is a key set: a redirect would let a URL that the operator never wrote choose keys.
async fn document(response: Response<Incoming>) -> Result<Document, FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let cache_control = response.headers().get(CACHE_CONTROL);
    let max_age = cache_control.and_then(|field| max_age(field.to_str().ok()?));
    let body = Limited::new(response.into_body(), MAX_SET_LEN)
        .collect()
        .await;
    Ok(Document {
        body: body.map_err(FetchError::Body)?.to_bytes(),
        max_age,
    })
}

fn parse(url: &str) -> Result<(Uri, String), InvalidJwksUrl> {
    let uri: Uri = url.parse().map_err(|_| InvalidJwksUrl::Malformed)?;
    if uri.scheme() != Some(&http::uri::Scheme::HTTPS) {
        return Err(InvalidJwksUrl::Scheme);
    }
    let authority = uri.authority().ok_or(InvalidJwksUrl::Malformed)?;
    if authority.as_str().contains('@') {
        return Err(InvalidJwksUrl::UserInfo);
    }
    let host = authority.host();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = bare.unwrap_or(host).to_owned();
    Ok((uri, host))
}

fn invalid(issuer: &str, source: InvalidJwksUrl) -> AccessTokensError {
    AccessTokensError::Url {
        issuer: issuer.into(),
        source,
    }
}

fn private_roots(path: &Path) -> Result<RootCertStore, AccessTokensError> {
    read_roots(path).map_err(|source| AccessTokensError::Ca {
        path: path.into(),
        source,
    })
}

fn read_roots(path: &Path) -> io::Result<RootCertStore> {
    let pem = std::fs::read(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots
            .add(certificate.map_err(io::Error::other)?)
            .map_err(io::Error::other)?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("no certificate in it"));
    }
    Ok(roots)
}

fn public_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    roots
}

fn client_config(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls_with_a_host_and_nothing_secret_are_fetched() {
        for (url, reason) in [
            ("http://idp.example/jwks", InvalidJwksUrl::Scheme),
            ("file:///etc/passwd", InvalidJwksUrl::Malformed),
            ("idp.example", InvalidJwksUrl::Scheme),
            ("/jwks", InvalidJwksUrl::Scheme),
            ("https://u:p@idp.example/jwks", InvalidJwksUrl::UserInfo),
            ("https:///jwks", InvalidJwksUrl::Malformed),
            ("https://idp.example/a b", InvalidJwksUrl::Malformed),
        ] {
            assert_eq!(parse(url).err(), Some(reason), "{url}");
        }
        let hosts = ["https://[::1]:8443/jwks", "https://idp.example/jwks?a=b"]
            .map(|url| parse(url).expect("valid").1);
        assert_eq!(hosts, ["::1", "idp.example"]);
    }
}
