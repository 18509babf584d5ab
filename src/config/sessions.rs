//! `sessions`: where temporary access is given, for how long, and whether in a cookie.
//!
//! Invariant: no route is for a path that the session endpoints take; nobody could reach it.

use std::time::Duration;

use crate::auth::{CredentialSettings, SessionCookie, SessionSettings};
use crate::gateway::{PathPattern, RouteSettings};
use crate::oauth::INTERACTION_COOKIE;

use super::field::{Field, Section};
use super::node::Value;
use super::pattern;
use super::report::quoted;

const SHORTEST: Duration = Duration::from_secs(60);
/// A denied session is remembered for a day at least, and must not outlive that.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_PATH: &str = "/auth/sessions";

/// Reads `sessions`.
pub(super) fn read(
    root: &Section<'_>,
    credentials: Option<&CredentialSettings>,
) -> Option<SessionSettings> {
    root.section("sessions", |section| {
        let path = section.or("path", DEFAULT_PATH.to_owned(), path);
        let ttl = section.or("ttl", Duration::from_secs(60 * 60), lifetime);
        let max_ttl = section.or("max_ttl", Duration::from_secs(12 * 60 * 60), lifetime);
        let cookie = section.optional("cookie", |field| cookie(field, credentials));
        if let (Some(ttl), Some(max_ttl)) = (ttl, max_ttl)
            && ttl > max_ttl
        {
            let written = section.get("ttl").or(section.get("max_ttl"));
            written.unwrap_or_else(|| section.field().clone()).report(
                "`ttl` is longer than `max_ttl`",
                "ttl is for whoever asks for no length; write at most max_ttl",
            );
        }
        Some(SessionSettings {
            path: path?,
            ttl: ttl?,
            max_ttl: max_ttl?,
            cookie: cookie?,
        })
    })
}

/// Reports routes that the session endpoints hide.
pub(super) fn report_hidden(
    root: &Section<'_>,
    settings: Option<&SessionSettings>,
    routes: Option<&Vec<RouteSettings>>,
) {
    let (Some(settings), Some(routes)) = (settings, routes) else {
        return;
    };
    let items = root.get("routes").and_then(|list| list.items());
    for (route, item) in routes.iter().zip(items.unwrap_or_default()) {
        let (PathPattern::Prefix(path) | PathPattern::Template(path)) = &route.pattern;
        let rest = path.strip_prefix(settings.path.as_str());
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            item.report(
                format!("{} belongs to the session endpoints", quoted(path)),
                "move the route, or the endpoints with sessions: { path: /another/path }",
            );
        }
    }
}

fn path(field: &Field<'_>) -> Option<String> {
    let text = pattern::path(field)?;
    // The authorization server's endpoints are beneath the latter two.
    let taken = ["/oauth", "/.well-known"].iter().any(|other| {
        let rest = text.strip_prefix(other);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if text == "/" || taken || text.contains(['{', '}']) {
        return field.refuse(
            format!(
                "{} cannot be the path of the session endpoints",
                quoted(text)
            ),
            "write a plain path such as /auth/sessions",
        );
    }
    Some(text.to_owned())
}

fn cookie(field: &Field<'_>, credentials: Option<&CredentialSettings>) -> Option<SessionCookie> {
    // All of its keys may be commented out by mistake; what it switches on should be meant.
    if matches!(field.value(), Value::Null) {
        return field.refuse(
            "`cookie` says nothing",
            "write cookie: {} for sessions in cookies, or remove the key",
        );
    }
    field.section(|section| {
        let name = match section.get("name") {
            Some(field) => cookie_name(&field),
            None => credentials.map(|it| format!("{}{}_session", SessionCookie::PREFIX, it.prefix)),
        };
        let origins = section.or("origins", Vec::new(), |list| list.set_of(origin));
        Some(SessionCookie::new(name?, origins?))
    })
}

/// Without the prefix, a neighbouring host could plant a session of its own.
fn cookie_name(field: &Field<'_>) -> Option<String> {
    const HINT: &str = "write __Host- and 1 to 64 of the characters a-z A-Z 0-9 _ -";
    let text = field.text()?;
    let Some(rest) = text.strip_prefix(SessionCookie::PREFIX) else {
        let message = format!("{} does not begin with __Host-", quoted(text));
        return field.refuse(message, HINT);
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=64).contains(&rest.len()) || !rest.bytes().all(allowed) {
        return field.refuse(format!("{} is no name for a cookie", quoted(text)), HINT);
    }
    if text == INTERACTION_COOKIE {
        let message = format!("{} is the cookie of the login pages", quoted(text));
        return field.refuse(message, "choose another name");
    }
    Some(text.to_owned())
}

/// As browsers write it in `Origin` (RFC 6454 §6.2): lower case, without the default port.
fn origin(field: &Field<'_>) -> Option<String> {
    const FORM: &str = "https://app.example";
    let url = field.url(FORM)?;
    if url.scheme != "https" || !url.rest.is_empty() {
        return field.refuse(
            "an origin is https, a host and perhaps a port, and nothing else",
            format!("write it as {FORM}"),
        );
    }
    let host = match url.host.contains(':') {
        true => format!("[{}]", url.host),
        false => url.host,
    };
    Some(match url.port {
        None | Some(443) => format!("https://{host}"),
        Some(port) => format!("https://{host}:{port}"),
    })
}

fn lifetime(field: &Field<'_>) -> Option<Duration> {
    field.duration_within(SHORTEST..=LONGEST, "write 60s to 24h")
}
