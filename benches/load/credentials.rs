//! The credentials that requests carry, in rotation.
//!
//! Not here: where they come from. Invariant: they are kept as header values that are marked sensitive, so
//! that `Debug` hides them and HTTP/2 does not index them.

use http::{HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use portcullis::secret::Secret;

use super::arguments::HeaderForm;

/// Header values ready to be sent.
#[derive(Debug)]
pub(crate) struct Credentials {
    field: HeaderName,
    values: Vec<HeaderValue>,
}

/// One of them cannot be sent. It says which, not what.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("credential {0} is empty or has characters that no header field takes")]
pub(crate) struct Unsendable(usize);

impl Credentials {
    pub(crate) fn new(form: HeaderForm, secrets: &[Secret]) -> Result<Credentials, Unsendable> {
        let (field, prefix) = match form {
            HeaderForm::Bearer => (header::AUTHORIZATION, "Bearer "),
            HeaderForm::XApiKey => (HeaderName::from_static("x-api-key"), ""),
        };
        let values = secrets.iter().enumerate().map(|(place, secret)| {
            let text = Zeroizing::new(format!("{prefix}{}", secret.expose()));
            let mut value = HeaderValue::from_str(&text).map_err(|_| Unsendable(place + 1))?;
            if secret.expose().is_empty() {
                return Err(Unsendable(place + 1));
            }
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Credentials {
            field,
            values: values.collect::<Result<_, _>>()?,
        })
    }

    /// One credential a line; empty lines are passed over.
    pub(crate) fn lines(text: &str) -> Vec<Secret> {
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .map(Secret::new)
            .collect()
    }

    pub(crate) fn field(&self) -> &HeaderName {
        &self.field
    }

    /// The credential of a turn; none if there are none at all.
    pub(crate) fn at(&self, turn: usize) -> Option<&HeaderValue> {
        let place = turn.checked_rem(self.values.len())?;
        self.values.get(place)
    }

    pub(crate) fn count(&self) -> usize {
        self.values.len()
    }
}
