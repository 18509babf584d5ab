//! What is asked: an https URL and where to connect for it.

use std::fmt;
use std::net::SocketAddr;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;

/// A URL that may be asked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    uri: Uri,
    authority: HeaderValue,
    host: String,
    name: ServerName<'static>,
    connect_to: Option<SocketAddr>,
}

/// Why a URL may not be asked. The URL is not repeated: it may hold a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("--url is not an absolute URL: https://HOST[:PORT]/PATH")]
    Form,
    #[error("--url names no host that a certificate could be for")]
    Host,
    #[error("--url is not https: a key is never sent in clear text")]
    NotHttps,
    #[error("--url holds a user name or password; use --key-file")]
    UserInformation,
}

impl Target {
    pub(crate) fn parse(url: &str, connect_to: Option<SocketAddr>) -> Result<Target, TargetError> {
        let uri: Uri = url.parse().map_err(|_| TargetError::Form)?;
        match uri.scheme() {
            None => return Err(TargetError::Form),
            Some(scheme) if *scheme != Scheme::HTTPS => return Err(TargetError::NotHttps),
            Some(_) => {}
        }
        let authority = uri.authority().ok_or(TargetError::Form)?.as_str();
        if authority.contains('@') {
            return Err(TargetError::UserInformation);
        }
        let host = uri.host().ok_or(TargetError::Form)?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| TargetError::Host)?;
        let authority = HeaderValue::from_str(authority).map_err(|_| TargetError::Form)?;
        Ok(Target {
            uri,
            authority,
            host,
            name,
            connect_to,
        })
    }

    /// The whole URL, as HTTP/2 sends it.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The path and query, as HTTP/1 sends it (RFC 9112 §3.2.1).
    pub(crate) fn origin_form(&self) -> Uri {
        let path = self.uri.path_and_query().cloned();
        Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
    }

    /// The value of `Host`.
    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The name that the certificate must be for.
    pub(crate) fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// Every address to try, in order.
    pub(crate) async fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        if let Some(address) = self.connect_to {
            return Ok(vec![address]);
        }
        let port = self.uri.port_u16().unwrap_or(443);
        Ok(tokio::net::lookup_host((self.host.as_str(), port))
            .await?
            .collect())
    }

    /// The host as the URL gives it, without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

/// Without the query's content, which may be a secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        write!(f, "https://{authority}{}", self.uri.path())?;
        match self.uri.query() {
            Some(_) => f.write_str("?…"),
            None => Ok(()),
        }
    }
}
