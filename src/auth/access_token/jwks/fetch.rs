//! What a fetch gives, and how it can fail.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::token::jwt::InvalidKeySet;

/// Where a key set document comes from.
#[async_trait]
pub(super) trait Origin: Send + Sync + 'static {
    /// Fetches it once, within a deadline of its own.
    async fn fetch(&self) -> Result<Document, FetchError>;
}

/// A document as received.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) body: Bytes,
    /// How long its server lets it be kept.
    pub(super) max_age: Option<Duration>,
}

/// Why no key set was had. What the server sent is not in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error("no answer in time")]
    Deadline,
    #[error("the exchange broke off")]
    Exchange(#[source] hyper::Error),
    #[error("the body could not be read whole, or is too long")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer was {0}")]
    Status(http::StatusCode),
    #[error("no usable key set")]
    KeySet(#[from] InvalidKeySet),
}

impl FetchError {
    /// The `outcome` label of `jwks_fetches_total`.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            FetchError::Body(_) => "body",
            FetchError::Connect(_) => "connect",
            FetchError::Deadline => "deadline",
            FetchError::Exchange(_) => "exchange",
            FetchError::KeySet(_) => "key_set",
            FetchError::Status(_) => "status",
        }
    }
}
