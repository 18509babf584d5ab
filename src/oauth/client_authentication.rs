//! Which client is calling (RFC 6749 §2.3, §3.2.1).
//!
//! Invariants: an unknown client and a wrong secret take the same path and get the same answer; a
//! client shows itself in one way at a time, and only in the way it was registered for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::form::{Form, decode};
use super::problem::Problem;
use super::{AuthorizationServer, OwnRequest, Refusal};
use crate::header::{Repeated, single};
use crate::id::ClientId;
use crate::media_type;
use crate::secret::{Digests, Secret};
use crate::store::{ClientAuthentication, ClientRecord};

/// How a client showed itself.
enum Shown {
    Basic(ClientName, Secret),
    Post(ClientName, Secret),
    /// Only its name.
    Name(ClientName),
}

struct ClientName(Zeroizing<String>);

/// The form of a POST from a client: RFC 6749 §3.2 and §4.1.3.
pub(super) fn client_form(request: &OwnRequest) -> Result<Form, Problem> {
    if request
        .query
        .as_deref()
        .is_some_and(|query| !query.is_empty())
    {
        return Err(Problem::InvalidRequest(
            "parameters belong into the body, not into the URL",
        ));
    }
    form_of(request).map_err(Problem::InvalidRequest)
}

/// Whether a body says of itself that it is a form.
pub(super) fn is_form(request: &OwnRequest) -> bool {
    media_type::is(&request.headers, "application/x-www-form-urlencoded")
}

/// The form in a body.
pub(super) fn form_of(request: &OwnRequest) -> Result<Form, &'static str> {
    if !is_form(request) {
        return Err("the body has to be application/x-www-form-urlencoded");
    }
    let form = Form::parse(&request.body).map_err(|_| "the body is not well-formed")?;
    match form.has_repeats() {
        true => Err("a parameter is repeated"),
        false => Ok(form),
    }
}

/// The client that sent this form.
pub(super) async fn authenticate(
    server: &AuthorizationServer,
    request: &OwnRequest,
    form: &Form,
) -> Result<ClientRecord, Problem> {
    if let Some(wait) = server.parts.throttle.client_wait(request.client) {
        return Err(Problem::TooManyFailures(wait));
    }
    let shown = shown(&request.headers, form)?;
    // Before anyone knows whether there is such a client, and under every pepper whichever fits:
    // the time tells nothing.
    let digests = shown
        .secret()
        .map(|secret| server.parts.peppers.digests(secret.expose()));
    let id = ClientId::parse(&shown.name().0);
    let record = match &id {
        Ok(id) => server.parts.store.client(id).await?,
        Err(_) => None,
    };
    let record = record.ok_or(Problem::InvalidClient(Refusal::ClientUnknown))?;
    request.concerns(&record.id);
    let proven = prove(server, &record, &shown, digests);
    match record.disabled_at {
        Some(_) => Err(Problem::InvalidClient(Refusal::ClientDisabled)),
        None => proven.map(|()| record).map_err(Problem::InvalidClient),
    }
}

fn prove(
    server: &AuthorizationServer,
    record: &ClientRecord,
    shown: &Shown,
    digests: Option<Digests>,
) -> Result<(), Refusal> {
    let way = match (&record.settings.authentication, shown) {
        (ClientAuthentication::None, Shown::Name(_)) => return Ok(()),
        (ClientAuthentication::AnySecret, Shown::Basic(..) | Shown::Post(..)) => true,
        (ClientAuthentication::Basic, Shown::Basic(..)) => true,
        (ClientAuthentication::Post, Shown::Post(..)) => true,
        _ => false,
    };
    let digests = digests.filter(|_| way).ok_or(Refusal::ClientMethod)?;
    let (parts, now) = (&server.parts, server.parts.clock.now());
    // Digests under a pepper: comparing them tells nothing of the secret.
    let mut live = record.live_secrets(now);
    let kept = live.find(|secret| digests.contains(&secret.digest));
    let kept = kept.ok_or(Refusal::ClientSecretWrong)?;
    if digests.is_outdated(&kept.digest) {
        parts
            .repepper
            .move_client_secret(&record.id, kept.digest, digests.current(), now);
    }
    Ok(())
}

fn shown(headers: &HeaderMap, form: &Form) -> Result<Shown, Problem> {
    const TWICE: Problem = Problem::InvalidRequest("the client authenticates in two ways at once");
    const MISSING: Problem = Problem::InvalidClient(Refusal::ClientMissing);
    let (name, secret) = (form.get("client_id"), form.get("client_secret"));
    let field = single(headers, &AUTHORIZATION).map_err(|Repeated| TWICE)?;
    let Some(field) = field else {
        let name = name.ok_or(MISSING)?;
        let name = ClientName(Zeroizing::new(name.to_owned()));
        return Ok(match secret {
            Some(secret) => Shown::Post(name, Secret::new(secret)),
            None => Shown::Name(name),
        });
    };
    if secret.is_some() {
        return Err(TWICE);
    }
    let (user, password) = basic(field.as_bytes()).ok_or(MISSING)?;
    // A client may name itself in the form too, but not as another.
    if name.is_some_and(|name| *name != *user) {
        return Err(TWICE);
    }
    Ok(Shown::Basic(ClientName(user), password))
}

/// RFC 7617, and in it RFC 6749 §2.3.1: each part is form-encoded. A client that leaves that out
/// sends the same bytes: our names and secrets have no character that it would change.
fn basic(field: &[u8]) -> Option<(Zeroizing<String>, Secret)> {
    let (scheme, encoded) = field.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(encoded.trim_ascii()).ok()?);
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let user = decode(&pair[..colon]).ok()?;
    let mut password = decode(&pair[colon + 1..]).ok()?;
    Some((user, Secret::new(std::mem::take(&mut *password))))
}

/// A failed authentication counts against the address it came from (OAuth 2.1 §2.4.1). Not against
/// the client: its secret has 256 random bits, and anyone could shut it out.
pub(super) fn count_failure(server: &AuthorizationServer, request: &OwnRequest, problem: &Problem) {
    if matches!(problem, Problem::InvalidClient(_)) {
        server.parts.throttle.client_failed(request.client);
    }
}

impl Shown {
    fn name(&self) -> &ClientName {
        match self {
            Shown::Basic(name, _) | Shown::Post(name, _) | Shown::Name(name) => name,
        }
    }

    fn secret(&self) -> Option<&Secret> {
        match self {
            Shown::Basic(_, secret) | Shown::Post(_, secret) => Some(secret),
            Shown::Name(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str) -> Option<(String, String)> {
        let (user, password) = basic(field.as_bytes())?;
        Some((user.to_string(), password.expose().to_owned()))
    }

    #[test]
    fn basic_credentials_are_form_encoded_pairs_under_any_case_of_the_scheme() {
        let encode = |pair: &str| STANDARD.encode(pair);
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        for scheme in ["Basic", "basic", "BASIC"] {
            let field = format!("{scheme} {}", encode("client_1:osir_cs_x"));
            assert_eq!(read(&field), pair("client_1", "osir_cs_x"));
        }
        let odd = format!("Basic {}", encode("a%3Ab:c%25d+e:f"));
        assert_eq!(read(&odd), pair("a:b", "c%d e:f"));
        for bad in [
            "Basic",
            "Basic !",
            "Bearer YTpi",
            "Basic YQ==",
            &format!("Basic {}", encode("a%:b")),
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
