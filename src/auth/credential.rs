//! From request headers to at most one credential, of a kind that its shape decides.
//!
//! ```text
//! Authorization: Bearer osir_live_…     scheme in any case, 1*SP, token68 (RFC 9110 §11.4)
//! X-API-Key: osir_live_…                API keys only
//! ```
//!
//! With [`super::session_cookie`], which has the other place of a credential, the only file of this
//! room that knows HTTP. Not here: whether a credential is good.
//! Invariants: two credentials are never ranked, they are an error; the kind is decided once, by
//! shape, and what was refused here reaches no cache and no store; the raw text is borrowed from
//! the request and never shown by `Debug`.

use std::fmt;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::header::{Repeated, single};
use crate::token::{OpaqueFormat, OpaqueKind, Shape};

use super::{Checksum, CredentialKind, CredentialSettings, Refusal};

/// What this deployment's opaque credentials look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialForm {
    format: OpaqueFormat,
    checksum: Checksum,
}

/// What a request carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// Nothing that this gateway reads: no credential, or one of another scheme.
    Absent,
    /// A JWT, not looked into yet.
    AccessToken(&'a str),
    /// A text that may be an API key.
    ApiKey(&'a str),
    /// Refused by its looks alone.
    Refused {
        /// The kind it pretends to be; [`CredentialKind::None`] where it pretends nothing.
        kind: CredentialKind,
        /// Why.
        refusal: Refusal,
    },
    /// A session token of the right form.
    Session(&'a str),
}

/// Why a request's credentials have no single meaning: 400 `invalid_request` (RFC 6750 §3.1).
/// Carries nothing that the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidCredentials {
    /// `X-API-Key` more than once.
    #[error("X-API-Key is there more than once")]
    ApiKeyRepeated,
    /// `Authorization` more than once.
    #[error("Authorization is there more than once")]
    AuthorizationRepeated,
    /// `Authorization` and `X-API-Key` together, whatever the scheme.
    #[error("Authorization and X-API-Key are both there")]
    Both,
    /// The session cookie more than once.
    #[error("the session cookie is there more than once")]
    CookieRepeated,
    /// `Authorization` that is not of the form of RFC 9110 §11.4, or Bearer without a token68.
    #[error("Authorization is not well-formed")]
    Syntax,
}

/// What a clear-text request gave away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed<'a> {
    credentials: Vec<Credential<'a>>,
}

pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The longest text that is looked up as an imported key.
const MAX_IMPORTED_KEY: usize = 256;

impl CredentialForm {
    /// As the config says.
    pub fn new(settings: &CredentialSettings) -> CredentialForm {
        CredentialForm {
            format: OpaqueFormat::new(settings.prefix.as_str()),
            checksum: settings.checksum,
        }
    }
}

impl CredentialForm {
    /// Whether a text is, or was meant to be, the token of a session that only a cookie carries.
    pub fn is_of_cookie(&self, text: &str) -> bool {
        matches!(
            self.format.shape(text),
            Shape::Own(OpaqueKind::CookieSession) | Shape::OwnDamaged(OpaqueKind::CookieSession)
        )
    }

    /// Whether a text gives a credential away: one of our own is somewhere in it, or a JWT. Such
    /// a text is not logged, echoed or passed on where no credential belongs.
    pub fn gives_away(&self, text: &str) -> bool {
        let dots = || text.bytes().filter(|byte| *byte == b'.').count();
        self.format.is_within(text) || (text.contains("eyJ") && dots() >= 2)
    }
}

impl<'a> Credential<'a> {
    /// The one credential of a request.
    pub fn extract(
        headers: &'a HeaderMap,
        form: &CredentialForm,
    ) -> Result<Credential<'a>, InvalidCredentials> {
        // Which of two a parser takes is up to the parser: neither is taken (security.md 78, 91).
        let authorization = single(headers, &AUTHORIZATION)
            .map_err(|Repeated| InvalidCredentials::AuthorizationRepeated)?;
        let api_key =
            single(headers, &X_API_KEY).map_err(|Repeated| InvalidCredentials::ApiKeyRepeated)?;
        match (authorization, api_key) {
            (None, None) => Ok(Credential::Absent),
            (Some(value), None) => match bearer_token(value)? {
                Some(token) => Ok(Credential::read(token, form)),
                None => Ok(Credential::Absent),
            },
            (None, Some(value)) => Ok(Credential::in_api_key_header(value, form)),
            (Some(_), Some(_)) => Err(InvalidCredentials::Both),
        }
    }

    /// A text on its own, as `explain` takes it.
    pub fn read(text: &'a str, form: &CredentialForm) -> Credential<'a> {
        match form.format.shape(text) {
            Shape::Own(OpaqueKind::ApiKey(_)) => Credential::ApiKey(text),
            Shape::Own(OpaqueKind::Session) => Credential::Session(text),
            Shape::Jwt => Credential::AccessToken(text),
            Shape::OwnDamaged(OpaqueKind::ApiKey(_)) => {
                imported(text, form, CredentialKind::ApiKey, Refusal::Checksum)
            }
            Shape::Own(OpaqueKind::CookieSession) => {
                refused(CredentialKind::Session, Refusal::WrongHeader)
            }
            Shape::OwnDamaged(OpaqueKind::CookieSession | OpaqueKind::Session) => {
                refused(CredentialKind::Session, Refusal::Checksum)
            }
            Shape::Foreign => refused(CredentialKind::None, Refusal::Foreign),
            Shape::Opaque => imported(text, form, CredentialKind::None, Refusal::Malformed),
        }
    }

    /// The kind it is, or pretends to be.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Credential::Absent => CredentialKind::None,
            Credential::AccessToken(_) => CredentialKind::AccessToken,
            Credential::ApiKey(_) => CredentialKind::ApiKey,
            Credential::Refused { kind, .. } => *kind,
            Credential::Session(_) => CredentialKind::Session,
        }
    }

    /// What the session cookie carries: its own kind of session and nothing else, so that no token
    /// that was ever shown to a script or a log works as a cookie, nor the other way round.
    pub(super) fn in_session_cookie(value: &'a [u8], form: &CredentialForm) -> Credential<'a> {
        let Ok(text) = str::from_utf8(value) else {
            return refused(CredentialKind::Session, Refusal::Malformed);
        };
        match form.format.shape(text) {
            Shape::Own(OpaqueKind::CookieSession) => Credential::Session(text),
            Shape::OwnDamaged(OpaqueKind::CookieSession) => {
                refused(CredentialKind::Session, Refusal::Checksum)
            }
            Shape::Foreign | Shape::Jwt | Shape::Own(_) | Shape::OwnDamaged(_) => {
                refused(CredentialKind::Session, Refusal::WrongHeader)
            }
            Shape::Opaque => refused(CredentialKind::Session, Refusal::Malformed),
        }
    }

    /// interface.md §7.4: any shape but an API key's is 401 here.
    fn in_api_key_header(value: &'a HeaderValue, form: &CredentialForm) -> Credential<'a> {
        let Ok(text) = value.to_str() else {
            return refused(CredentialKind::None, Refusal::Malformed);
        };
        match Credential::read(text, form) {
            other @ (Credential::AccessToken(_) | Credential::Session(_)) => {
                refused(other.kind(), Refusal::WrongHeader)
            }
            read => read,
        }
    }
}

/// Shows the kind, never the text.
impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Absent => f.write_str("Absent"),
            Credential::AccessToken(_) => f.write_str("AccessToken(redacted)"),
            Credential::ApiKey(_) => f.write_str("ApiKey(redacted)"),
            Credential::Refused { kind, refusal } => write!(f, "Refused({kind:?}, {refusal:?})"),
            Credential::Session(_) => f.write_str("Session(redacted)"),
        }
    }
}

impl InvalidCredentials {
    /// The word for it in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            InvalidCredentials::ApiKeyRepeated => "api_key_repeated",
            InvalidCredentials::AuthorizationRepeated => "authorization_repeated",
            InvalidCredentials::Both => "two_credentials",
            InvalidCredentials::CookieRepeated => "session_cookie_repeated",
            InvalidCredentials::Syntax => "credential_syntax",
        }
    }
}

impl<'a> Exposed<'a> {
    /// Everything in these headers that is or may be a credential: here nothing is ambiguous,
    /// each of two was given away.
    pub fn in_headers(headers: &'a HeaderMap, form: &CredentialForm) -> Exposed<'a> {
        let authorizations = headers.get_all(AUTHORIZATION).into_iter();
        let api_keys = headers.get_all(X_API_KEY).into_iter();
        let credentials = authorizations
            .map(|value| Exposed::in_authorization(value, form))
            .chain(api_keys.map(|value| match value.to_str() {
                Ok(text) => Credential::read(text, form),
                Err(_) => refused(CredentialKind::None, Refusal::Malformed),
            }))
            .collect();
        Exposed { credentials }
    }

    /// The label of `plaintext_refused_total`: the first kind that is one of ours.
    pub fn label(&self) -> &'static str {
        let mut kinds = self.credentials.iter().map(Credential::kind);
        match kinds.find(|kind| *kind != CredentialKind::None) {
            Some(kind) => kind.label(),
            None if self.credentials.is_empty() => "none",
            None => "other",
        }
    }

    /// The credentials, for [`super::Authenticator::identify`].
    pub fn credentials(&self) -> impl Iterator<Item = Credential<'a>> {
        self.credentials.iter().copied()
    }

    /// A key sent without `Bearer` was given away all the same.
    fn in_authorization(value: &'a HeaderValue, form: &CredentialForm) -> Credential<'a> {
        match (bearer_token(value), value.to_str()) {
            (Ok(Some(token)), _) => Credential::read(token, form),
            (_, Ok(bare)) if !bare.contains(' ') => Credential::read(bare, form),
            _ => refused(CredentialKind::None, Refusal::Malformed),
        }
    }
}

/// `Bearer` 1*SP token68; `None` is another scheme. RFC 9110 §11.1: the scheme's case is free.
fn bearer_token(value: &HeaderValue) -> Result<Option<&str>, InvalidCredentials> {
    let text = value.to_str().map_err(|_| InvalidCredentials::Syntax)?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.is_empty() || !scheme.bytes().all(is_tchar) {
        return Err(InvalidCredentials::Syntax);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = rest.trim_start_matches(' ');
    if is_token68(token) {
        Ok(Some(token))
    } else {
        Err(InvalidCredentials::Syntax)
    }
}

/// RFC 9110 §5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §11.2: 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=".
fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(allowed)
}

/// A key of the API that lived here before, where the config allows those; refused otherwise.
fn imported<'a>(
    text: &'a str,
    form: &CredentialForm,
    kind: CredentialKind,
    refusal: Refusal,
) -> Credential<'a> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    match form.checksum {
        Checksum::Optional if visible && (1..=MAX_IMPORTED_KEY).contains(&text.len()) => {
            Credential::ApiKey(text)
        }
        Checksum::Optional | Checksum::Required => refused(kind, refusal),
    }
}

const fn refused(kind: CredentialKind, refusal: Refusal) -> Credential<'static> {
    Credential::Refused { kind, refusal }
}

#[cfg(test)]
mod tests {
    use crate::auth::CacheSettings;
    use crate::environment::Environment;
    use crate::secret::Pepper;

    use super::*;

    fn form(checksum: Checksum) -> CredentialForm {
        CredentialForm::new(&CredentialSettings {
            realm: "osir".into(),
            prefix: "osir".into(),
            peppers: Pepper::of_test(b'z').into(),
            checksum,
            cache: CacheSettings {
                capacity: 1,
                fresh: std::time::Duration::ZERO,
                stale: std::time::Duration::ZERO,
                negative: std::time::Duration::ZERO,
            },
        })
    }

    fn headers(fields: &[(&'static str, &[u8])]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value).expect("header value");
                (HeaderName::from_static(name), value)
            })
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            })
    }

    /// What a request with these fields carries, under `checksum: required`.
    fn extracted(fields: &[(&'static str, &[u8])]) -> Result<String, InvalidCredentials> {
        let (headers, form) = (headers(fields), form(Checksum::Required));
        Credential::extract(&headers, &form).map(|credential| format!("{credential:?}"))
    }

    fn mint(kind: OpaqueKind) -> String {
        let minted = OpaqueFormat::new("osir").mint(kind);
        minted.secret.expose().to_owned()
    }

    fn key() -> String {
        mint(OpaqueKind::ApiKey(Environment::Live))
    }

    fn bearer(token: &str) -> Vec<u8> {
        format!("Bearer {token}").into_bytes()
    }

    #[test]
    fn a_key_comes_in_either_header_and_any_case_of_the_scheme() {
        let key = key();
        let form = form(Checksum::Required);
        for prefix in ["Bearer ", "bearer ", "BEARER ", "bEaReR   "] {
            let value = format!("{prefix}{key}");
            let headers = headers(&[("authorization", value.as_bytes())]);
            let credential = Credential::extract(&headers, &form);
            assert_eq!(credential, Ok(Credential::ApiKey(&key)), "{prefix:?}");
        }
        let headers = headers(&[("x-api-key", key.as_bytes())]);
        let credential = Credential::extract(&headers, &form);
        assert_eq!(credential, Ok(Credential::ApiKey(&key)));
    }

    #[test]
    fn the_shape_decides_the_kind() {
        let session = mint(OpaqueKind::Session);
        let mut damaged = key();
        damaged.pop();
        for (token, read) in [
            (session.as_str(), "Session(redacted)"),
            ("a.b.c", "AccessToken(redacted)"),
            (&damaged, "Refused(ApiKey, Checksum)"),
            (&session[..20], "Refused(Session, Checksum)"),
            // A prefixed text is never tried as a JWT.
            ("osir_live_a.b.c", "Refused(ApiKey, Checksum)"),
            ("osir_rt_a.b.c", "Refused(None, Foreign)"),
            ("osir_ac_abc", "Refused(None, Foreign)"),
            ("osir_cs_abc", "Refused(None, Foreign)"),
            ("opaque", "Refused(None, Malformed)"),
        ] {
            let value = bearer(token);
            let got = extracted(&[("authorization", &value)]);
            assert_eq!(got.as_deref(), Ok(read), "{token}");
        }
    }

    #[test]
    fn rows_78_and_91_two_credentials_are_an_error_never_a_choice() {
        let (good, other) = (bearer(&key()), key());
        let (a, k, other) = ("authorization", "x-api-key", other.as_bytes());
        let refuse = |fields: [(&'static str, &[u8]); 2], error| {
            assert_eq!(extracted(&fields), Err(error), "{error:?}");
        };
        let repeated = InvalidCredentials::AuthorizationRepeated;
        refuse([(a, &good), (a, &good)], repeated);
        refuse([(a, b"Basic eDp5"), (a, &good)], repeated);
        let repeated = InvalidCredentials::ApiKeyRepeated;
        refuse([(k, other), (k, other)], repeated);
        refuse([(k, b""), (k, other)], repeated);
        let both = InvalidCredentials::Both;
        refuse([(a, &good), (k, other)], both);
        refuse([(a, b"Basic eDp5"), (k, other)], both);
        refuse([(a, b""), (k, other)], both);
        refuse([(a, &good), (k, b"")], both);
    }

    #[test]
    fn authorization_that_is_not_well_formed_is_an_error() {
        let key = key();
        for value in [
            "".into(),
            "Bearer".into(),
            "Bearer ".into(),
            format!(" Bearer {key}"),
            format!("Bearer\t{key}"),
            format!("Bearer {key} "),
            format!("Bearer {key}, Bearer {key}"),
            format!("Bearer {key},"),
            format!("Bearer \"{key}\""),
            "Bearer a=b".into(),
            "Bearer ===".into(),
            "Bea(rer abc".into(),
        ] {
            let got = extracted(&[("authorization", value.as_bytes())]);
            assert_eq!(got, Err(InvalidCredentials::Syntax), "{value:?}");
        }
        let got = extracted(&[("authorization", b"Bearer \xc3\xa4")]);
        assert_eq!(got, Err(InvalidCredentials::Syntax));
    }

    #[test]
    fn another_scheme_is_no_credential() {
        for value in [
            "Basic dXNlcjpwYXNz",
            "Digest a=b, c=d",
            "Negotiate",
            "DPoP a.b.c",
        ] {
            let got = extracted(&[("authorization", value.as_bytes())]);
            assert_eq!(got.as_deref(), Ok("Absent"), "{value}");
        }
        assert_eq!(extracted(&[]).as_deref(), Ok("Absent"));
        // Only these two headers are looked at.
        let got = extracted(&[
            ("x_api_key", b"a"),
            ("proxy-authorization", b"Bearer a.b.c"),
        ]);
        assert_eq!(got.as_deref(), Ok("Absent"));
    }

    #[test]
    fn x_api_key_takes_api_keys_only() {
        let session = mint(OpaqueKind::Session);
        let cases: &[(&[u8], &str)] = &[
            (session.as_bytes(), "Refused(Session, WrongHeader)"),
            (b"a.b.c", "Refused(AccessToken, WrongHeader)"),
            (b"osir_rt_abc", "Refused(None, Foreign)"),
            (b"Bearer abc", "Refused(None, Malformed)"),
            (b"", "Refused(None, Malformed)"),
            (b"\xc3\xa4", "Refused(None, Malformed)"),
        ];
        for (value, read) in cases {
            let got = extracted(&[("x-api-key", value)]);
            assert_eq!(got.as_deref(), Ok(*read), "{value:?}");
        }
    }

    #[test]
    fn imported_keys_are_candidates_where_the_config_says_so_and_within_bounds() {
        let (optional, required) = (form(Checksum::Optional), form(Checksum::Required));
        let (longest, longer) = ("k".repeat(256), "k".repeat(257));
        for (text, candidate) in [
            ("sk_legacy-1", true),
            ("osir_live_legacy", true),
            (longest.as_str(), true),
            (&longer, false),
            ("", false),
            ("two words", false),
            ("osir_rt_abc", false),
            ("osir_sess_abc", false),
            ("a.b.c", false),
        ] {
            let is_key = Credential::read(text, &optional) == Credential::ApiKey(text);
            assert_eq!(is_key, candidate, "{text:?}");
            assert_ne!(
                Credential::read(text, &required),
                Credential::ApiKey(text),
                "{text:?}"
            );
        }
    }

    #[test]
    fn nothing_shows_a_credential() {
        let (key, session) = (key(), mint(OpaqueKind::Session));
        let form = form(Checksum::Required);
        let headers = headers(&[
            ("authorization", &bearer(&session)),
            ("x-api-key", key.as_bytes()),
            ("x-api-key", b"aaa.bbb.ccc"),
        ]);
        let shown = format!("{:?}", Exposed::in_headers(&headers, &form));
        for secret in [&key, &session, "aaa"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn clear_text_exposes_every_credential_in_it() {
        let (key, session) = (key(), mint(OpaqueKind::Session));
        let form = form(Checksum::Required);
        let (a, k) = ("authorization", "x-api-key");
        let exposes = |fields: &[(&'static str, &[u8])], label, is_key| {
            let headers = headers(fields);
            let exposed = Exposed::in_headers(&headers, &form);
            let mut credentials = exposed.credentials();
            let has_key = credentials.any(|credential| credential == Credential::ApiKey(&key));
            assert_eq!((exposed.label(), has_key), (label, is_key));
        };
        exposes(&[], "none", false);
        exposes(&[(a, b"Basic eDp5")], "other", false);
        exposes(&[(a, &bearer(&key))], "api_key", true);
        exposes(&[(a, key.as_bytes())], "api_key", true);
        exposes(&[(k, key.as_bytes())], "api_key", true);
        let beside_basic = [(a, &b"Basic eDp5"[..]), (k, key.as_bytes())];
        exposes(&beside_basic, "api_key", true);
        exposes(&[(k, session.as_bytes())], "session", false);
        let beside_token = [(a, &b"Bearer a.b.c"[..]), (k, key.as_bytes())];
        exposes(&beside_token, "access_token", true);
    }
}
