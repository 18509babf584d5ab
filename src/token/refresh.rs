//! Refresh tokens (RFC 6749 §6).
//!
//! ```text
//! osir_rt_ base62( version 1 ‖ grant 16 ‖ generation 4 ‖ nonce 16 ‖ MAC 16 )      72 digits
//! MAC = first half of HMAC-SHA-256(key, "osir_rt_" ‖ everything before it)
//! ```
//!
//! The MAC stops forgeries before the store, and makes an old token recognisable: only what we gave
//! out carries an older generation, so its coming back is reuse (RFC 9700 §4.14.2), while whoever
//! merely learns a grant's id cannot have its family revoked. The MAC's key alone makes no working
//! token: the store keeps the hash of each live nonce. Not here: whether a token is live.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::id::GrantId;
use crate::secret::{Digest, Mac, MacKeys, Peppers, Purpose, Secret, random_bytes};

use super::OpaqueFormat;
use super::base62::{push_base62, read_base62};
use super::opaque::REFRESH_TOKEN;

const VERSION: u8 = 1;
const BODY: usize = 1 + 16 + 4 + 16;
const MAC: usize = 16;
const BYTES: usize = BODY + MAC;
/// 62^72 > 2^424.
const DIGITS: usize = 72;

/// Makes and reads the refresh tokens of one deployment.
#[derive(Clone)]
pub struct RefreshTokens {
    format: OpaqueFormat,
    keys: MacKeys,
}

/// A refresh token that we gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// The grant it belongs to.
    pub grant: GrantId,
    /// How many rotations came before it.
    pub generation: u32,
    /// The hash of its nonce.
    pub nonce: Digest,
}

/// A nonce for a token whose generation only the store can tell: its hash goes in, the
/// generation comes out, and then the token is made.
pub struct RefreshNonce(Zeroizing<[u8; 16]>);

impl RefreshTokens {
    /// Makes them under a key derived from the current pepper, and reads those of each.
    pub fn new(format: OpaqueFormat, peppers: &Peppers) -> RefreshTokens {
        RefreshTokens {
            format,
            keys: MacKeys::new(peppers, Purpose::RefreshTokens),
        }
    }

    /// Makes a token.
    pub fn mint(&self, grant: &GrantId, generation: u32, nonce: &RefreshNonce) -> Secret {
        let mut bytes = Zeroizing::new([0; BYTES]);
        let (body, mac) = bytes.split_at_mut(BODY);
        let parts = [
            &[VERSION][..],
            grant.as_bytes(),
            &generation.to_be_bytes(),
            nonce.0.as_ref(),
        ];
        for (byte, part) in body.iter_mut().zip(parts.into_iter().flatten()) {
            *byte = *part;
        }
        mac.copy_from_slice(half(&self.keys.make(&[self.prefix().as_bytes(), body])));
        let mut text = Zeroizing::new(self.prefix());
        push_base62(&mut text, bytes.as_ref(), DIGITS);
        Secret::new(std::mem::take(&mut *text))
    }

    /// Reads a token; `None` for everything that we did not make.
    pub fn read(&self, text: &str) -> Option<RefreshToken> {
        let digits = self.format.after(text, REFRESH_TOKEN)?;
        let bytes = read_base62::<BYTES>(digits, DIGITS)?;
        let (body, mac) = bytes.split_at(BODY);
        if !self.is_ours(body, mac) {
            return None;
        }
        let (version, rest) = body.split_first()?;
        let (grant, rest) = rest.split_first_chunk::<16>()?;
        let (generation, nonce) = rest.split_first_chunk::<4>()?;
        (*version == VERSION).then(|| RefreshToken {
            grant: GrantId::from_bytes(*grant),
            generation: u32::from_be_bytes(*generation),
            nonce: Digest::of_random(nonce),
        })
    }

    fn is_ours(&self, body: &[u8], mac: &[u8]) -> bool {
        self.keys
            .all(&[self.prefix().as_bytes(), body])
            .any(|own| half(&own).ct_eq(mac).into())
    }

    fn prefix(&self) -> String {
        format!("{}{REFRESH_TOKEN}", self.format)
    }
}

fn half(mac: &Mac) -> &[u8] {
    &mac.as_bytes()[..MAC]
}

impl RefreshNonce {
    /// 128 random bits.
    pub fn random() -> RefreshNonce {
        RefreshNonce(Zeroizing::new(random_bytes()))
    }

    /// What the store keeps of it.
    pub fn digest(&self) -> Digest {
        Digest::of_random(self.0.as_ref())
    }
}

impl fmt::Debug for RefreshNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshNonce(redacted)")
    }
}

impl fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshTokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Pepper;

    fn tokens() -> RefreshTokens {
        RefreshTokens::new(OpaqueFormat::new("osir"), &Pepper::of_test(b'z').into())
    }

    #[test]
    fn a_token_has_the_documented_layout() {
        let nonce = RefreshNonce(Zeroizing::new([2; 16]));
        let grant = GrantId::from_bytes([1; 16]);
        let token = tokens().mint(&grant, 7, &nonce);
        // Made with Python from the layout above.
        assert_eq!(
            token.expose(),
            "osir_rt_00Zu5hNRozZVavmi5sgcJPvpFR4zgjB3HQvUyNqFC2SF1QK6utUIKFgeiPqaDuTLpuyQZHb9"
        );
        let expected = RefreshToken {
            grant,
            generation: 7,
            nonce: nonce.digest(),
        };
        assert_eq!(tokens().read(token.expose()), Some(expected));
        let shape = OpaqueFormat::new("osir").shape(token.expose());
        assert_eq!(shape, crate::token::Shape::Foreign);
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let token = tokens().mint(&GrantId::random(), 0, &RefreshNonce::random());
        let text = token.expose();
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(tokens().read(&changed), None, "at {at}");
        }
    }

    #[test]
    fn what_is_damaged_is_no_token() {
        let token = tokens().mint(&GrantId::random(), 0, &RefreshNonce::random());
        let text = token.expose();
        for damaged in [
            String::new(),
            "osir_rt_".into(),
            text[..text.len() - 1].into(),
            format!("{text}0"),
            text.replace("_rt_", "_ac_"),
            format!("osir_rt_{}", "z".repeat(DIGITS)),
            format!("osir_rt_{}", "0".repeat(DIGITS)),
            format!("osir_rt_{}\u{e9}", "0".repeat(DIGITS - 2)),
        ] {
            assert_eq!(tokens().read(&damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_token_of_another_version_is_not_read_even_with_a_good_mac() {
        let mut bytes = [0; BYTES];
        bytes[0] = 2;
        let mac = tokens().keys.make(&[b"osir_rt_", &bytes[..BODY]]);
        bytes[BODY..].copy_from_slice(half(&mac));
        let mut text = "osir_rt_".to_owned();
        push_base62(&mut text, &bytes, DIGITS);
        assert_eq!(tokens().read(&text), None);
    }

    #[test]
    fn a_token_is_read_where_its_pepper_is_the_current_the_previous_or_the_next_one() {
        let token = tokens().mint(&GrantId::random(), 3, &RefreshNonce::random());
        let reads = |peppers: Result<Peppers, _>| {
            let tokens = RefreshTokens::new(OpaqueFormat::new("osir"), &peppers.expect("two"));
            tokens.read(token.expose()).is_some()
        };
        let other = || Peppers::from(Pepper::of_test(b'y'));
        assert!(reads(other().with_previous(Pepper::of_test(b'z'))));
        assert!(reads(other().with_next(Pepper::of_test(b'z'))));
        assert!(!reads(other().with_previous(Pepper::of_test(b'x'))));
        assert!(!reads(other().with_next(Pepper::of_test(b'x'))));
    }

    #[test]
    fn another_deployment_with_the_same_pepper_does_not_read_it() {
        let other = RefreshTokens::new(OpaqueFormat::new("acme"), &Pepper::of_test(b'z').into());
        let token = tokens().mint(&GrantId::random(), 3, &RefreshNonce::random());
        let renamed = token.expose().replace("osir", "acme");
        assert_eq!(other.read(&renamed), None);
    }
}
