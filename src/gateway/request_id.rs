//! The id that one request has in its answer, in logs and at the upstream.
//!
//! A well-formed one from the client is kept, so that a caller can find its own request in both
//! logs; anything else is replaced (`security.md` row 80). Invariant: an id is 1 to 128 characters
//! of `[A-Za-z0-9._~+/=:-]`.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;
use http::header::{HeaderMap, HeaderValue};

use super::forward::X_REQUEST_ID;
use crate::auth::CredentialForm;
use crate::secret::random_bytes;

/// Makes one worker's ids: 64 random bits that name the worker's run, then a counter. Unique, not
/// secret.
#[derive(Debug)]
pub(super) struct RequestIds {
    run: u64,
    next: Cell<u64>,
    /// Room for the next ones: an allocation for many, since an id is shared by request, answer
    /// and record.
    room: RefCell<BytesMut>,
}

/// Characters of an id, and how many are made room for at once.
const LENGTH: usize = 32;
const AT_ONCE: usize = 64;

impl RequestIds {
    pub(super) fn new() -> RequestIds {
        RequestIds {
            run: u64::from_be_bytes(random_bytes()),
            next: Cell::new(0),
            room: RefCell::default(),
        }
    }

    /// The client's, or a new one.
    /// A credential is no id, whoever sends it as one.
    pub(super) fn of(&self, headers: Option<&HeaderMap>, form: &CredentialForm) -> HeaderValue {
        let mut sent = headers
            .into_iter()
            .flat_map(|headers| headers.get_all(X_REQUEST_ID));
        match (sent.next(), sent.next()) {
            (Some(id), None) if is_well_formed(id, form) => id.clone(),
            _ => self.fresh(),
        }
    }

    fn fresh(&self) -> HeaderValue {
        let count = self.next.get();
        self.next.set(count.wrapping_add(1));
        let mut text = [0u8; LENGTH];
        write_hex(self.run, &mut text[..16]);
        write_hex(count, &mut text[16..]);
        let mut room = self.room.borrow_mut();
        if room.capacity() < LENGTH {
            *room = BytesMut::with_capacity(AT_ONCE * LENGTH);
        }
        room.extend_from_slice(&text);
        let text = room.split().freeze();
        HeaderValue::from_maybe_shared(text).expect("hex digits are visible ASCII")
    }
}

fn write_hex(number: u64, into: &mut [u8]) {
    for (position, digit) in into.iter_mut().enumerate() {
        let nibble = usize::try_from((number >> (60 - 4 * position)) & 0xf).unwrap_or(0);
        *digit = b"0123456789abcdef"[nibble];
    }
}

fn is_well_formed(id: &HeaderValue, form: &CredentialForm) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~+/=:-".contains(&byte);
    let text = id.to_str().unwrap_or_default();
    (1..=128).contains(&text.len()) && text.bytes().all(allowed) && !form.gives_away(text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::{CacheSettings, Checksum, CredentialSettings};
    use crate::secret::Pepper;

    fn form() -> CredentialForm {
        CredentialForm::new(&CredentialSettings {
            realm: "osir".into(),
            prefix: "osir".into(),
            peppers: Pepper::of_test(b'z').into(),
            checksum: Checksum::Required,
            cache: CacheSettings {
                capacity: 1,
                fresh: Duration::from_secs(60),
                stale: Duration::from_secs(300),
                negative: Duration::from_secs(2),
            },
        })
    }

    fn answer(sent: &[&str]) -> String {
        let ids = RequestIds {
            room: RefCell::default(),
            run: 0xfeed,
            next: Cell::new(1),
        };
        let mut headers = HeaderMap::new();
        for id in sent {
            headers.append(
                X_REQUEST_ID,
                HeaderValue::from_str(id).expect("a header value"),
            );
        }
        ids.of(Some(&headers), &form())
            .to_str()
            .expect("ASCII")
            .to_owned()
    }

    #[test]
    fn row_80_only_one_well_formed_id_is_kept() {
        let fresh = "000000000000feed0000000000000001";
        assert_eq!(answer(&["a1b2-c3:d4"]), "a1b2-c3:d4");
        for sent in [
            &[][..],
            &[""],
            &["a", "a"],
            &["a b"],
            &["a\"b"],
            &["é"],
            &[&"a".repeat(129)],
            &["x-osir_live_abc"],
            &["eyJhbGciOiJFUzI1NiJ9.e30.c2ln"],
        ] {
            assert_eq!(answer(sent), fresh, "{sent:?}");
        }
    }
}
